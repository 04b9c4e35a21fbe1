"""Redirects requests without TLS to the HTTPS URL, for a site that is served with TLS.

Rules:
- GET and HEAD get 301, which every client knows. Other methods get 308, which keeps the method and
  the content (RFC 9110, 15.4.9); after 301, a client may send GET instead.
- The redirect names the port of the site. But if the client uses port 80 and the server listens on
  another, ports are being mapped; then port 443 is taken to be mapped as well.
- Files in /.well-known/acme-challenge/ are served without TLS, because a certificate authority
  requests them before there is a certificate (RFC 8555, 8.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.fields import host_name
from portico.site.pages import errors
from portico.site.target import path_names

if TYPE_CHECKING:
    from portico.http.content_sink import ContentSink
    from portico.http.message import ProtocolError, RequestHead, Response
    from portico.site.hosts import Hosts
    from portico.site.origin.freshness import Dependencies
    from portico.site.site import Site

_CHALLENGES = [".well-known", "acme-challenge"]
HTTP_PORT, HTTPS_PORT = 80, 443


class ToHttps:
    """Answers in place of `site` on `port`, without TLS; `https_port` is that of the site."""

    def __init__(self, site: Site, hosts: Hosts, port: int, https_port: int) -> None:
        self._site = site
        self._hosts = hosts
        self._port = port
        self._https_port = https_port
        self.freshness = site.freshness
        self.fields_read = site.fields_read

    def answer(self, request: RequestHead) -> tuple[Response | ContentSink, Dependencies]:
        """Return the redirect, or the file of a challenge. Raises as `Site.answer` does."""
        if _is_challenge(request):
            return self._site.answer(request)
        response = self._redirect(request)
        if request.method == "HEAD":
            response.content = ()
        return response, None

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """Return the response to a malformed request."""
        return self._site.refuse(problem, request)

    def _redirect(self, request: RequestHead) -> Response:
        host = host_name(request.authority)
        if not host or not request.path.startswith("/"):
            return errors.error(400, request, "This address leads to HTTPS, but of no host.")
        if not self._hosts.are_meant(request.authority):
            return errors.error(421, request, "This is not a host of this server.")
        port = request.authority.rpartition("]")[2].partition(":")[2] or str(HTTP_PORT)
        is_mapped = port == str(HTTP_PORT) != str(self._port)
        port = "" if is_mapped or self._https_port == HTTPS_PORT else f":{self._https_port}"
        query = "" if request.query is None else f"?{request.query}"
        status = 301 if request.method in {"GET", "HEAD"} else 308
        return errors.redirect(status, f"https://{host}{port}{request.path}{query}")


def _is_challenge(request: RequestHead) -> bool:
    """Whether the request is for a file of an ACME challenge. Raises ProtocolError."""
    if request.method not in {"GET", "HEAD"} or not request.path.startswith("/"):
        return False
    *folder, name = path_names(request.path)
    return folder == _CHALLENGES and name != ""

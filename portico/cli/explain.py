"""`portico explain URL`: how a request would be answered, step by step, and why.

Rule: the response is made by the same code and from the same folder as when serving. No socket is
opened, and nothing is written.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from portico.cli.terminal import (
    STOPPED,
    Parser,
    UsageError,
    add_help,
    add_option,
    count,
    printable,
    report,
    show,
)
from portico.config.config import Config, check_root
from portico.config.options import OPTIONS, SERVING, WRITING
from portico.http.h1.head import HeadParser
from portico.http.message import ProtocolError, Response
from portico.http.status import REASONS
from portico.site.compression.cache import CompressionCache
from portico.site.hosts import LOOPBACK_HOSTS
from portico.site.origin.folder import Folder
from portico.site.resources import Resources
from portico.site.site import Site
from portico.site.uploads.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from portico.http.content_sink import ContentSink
    from portico.http.message import RequestHead
    from portico.site.origin.freshness import Dependencies

INTRO = """\
Show how Portico answers a request, step by step, and why: which rule, which
file, which compression, which condition. URL is a path, or a URL of this site.
"""

OUTRO = """\
examples:
  portico explain /about site
  portico explain /app.js site -H 'Accept-Encoding: br'
  portico explain /film.webm site -H 'Range: bytes=0-99' -X HEAD
  portico explain http://www.example.org/old site --allow-host www.example.org
  portico explain -X PUT --user alice /inbox/a.txt --config portico.toml
"""

_URL = re.compile(r"(?:https?://([^/?#]*))?(/[^#]*)?(?:#.*)?", re.ASCII | re.IGNORECASE)
_MEMORY = 1 << 20
_WITH_CONTENT = frozenset({"MKCOL", "PATCH", "POST", "PUT"})


def run(argv: Sequence[str]) -> int:
    """Explain the request that the arguments describe, and return the exit code.

    Raises ConfigError for a mistake in the arguments.
    """
    values = vars(parser().parse(argv))
    url, method = values.pop("url"), values.pop("method")
    lines, user = values.pop("field"), values.pop("user")
    config = Config.load(values, os.environ)
    check_root(config, or_file=True)
    head = _head(method, url, lines)
    explanation = Explanation(config, user)
    try:
        explanation.show(head)
    except ProtocolError as problem:
        show(f"    Request: {problem.detail}")
        explanation.show_response(explanation.site.refuse(problem))
    return STOPPED


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser("portico explain", "URL [DIR] [-H HEADER]... [options]", INTRO, OUTRO)
    add = made.add_argument
    add("url", metavar="URL", help="A path such as /about, or a URL.")
    field = "A request header, such as 'Range: bytes=0-9'; repeatable."
    add("-H", dest="field", metavar="HEADER", action="append", default=[], help=field)
    add("-X", dest="method", metavar="METHOD", default="GET", help="The method. (default: GET)")
    user = "Take the request for one of this user, without a password."
    add("--user", dest="user", metavar="NAME", help=user)
    about_site = made.add_argument_group("how the site is served")
    for option in OPTIONS:
        if option.group in {SERVING, WRITING} or option.name in {"allow_host", "config"}:
            add_option(about_site, option)
    add_help(about_site)
    return made


def _head(method: str, url: str, lines: Sequence[str]) -> bytes:
    """Return the head of the request. Raises UsageError if it cannot be sent."""
    found = _URL.fullmatch(url)
    if found is None or not (found[1] or found[2]):
        raise UsageError(f"not a path such as /about, nor an http URL: {url!r}")
    given = {line.partition(":")[0].strip().lower() for line in lines}
    own = {"host": found[1] or "localhost", "accept": "*/*"}
    if method in _WITH_CONTENT:
        own["expect"] = "100-continue"  # so the answer comes before any content
    fields = [f"{name.title()}: {value}" for name, value in own.items() if name not in given]
    target = (found[2] or "/").replace(" ", "%20")  # as browsers do with what people type
    text = "\r\n".join([f"{method} {target} HTTP/1.1", *fields, *lines, "", ""])
    if re.search(r"[\r\n]", "".join(lines) + method + url):
        raise UsageError("the URL or a header contains a line break")
    return text.encode("utf-8", "surrogateescape")


class Explanation:
    """A site as it would be served, that prints the steps to each response."""

    def __init__(self, config: Config, user: str | None = None) -> None:
        """`user` is the assumed sender of the requests; None to judge their credentials."""
        self._worked = False
        folder = Folder(config, _MEMORY)
        copies = CompressionCache(_MEMORY, self._work) if config.compress else None
        hosts = (*LOOPBACK_HOSTS, *config.allow_hosts)
        resources = Resources(
            config,
            hosts,
            copies,
            report,
            users=None if user is None else _Assumed(user),
            uploads=Uploads(config, only_looks=True),
        )
        self.site = Site(folder, resources, note=_note)

    def show(self, head: bytes) -> None:
        """Print how the request with this head is answered. Raises ProtocolError."""
        request = HeadParser(self.site.fields_read).parse(head)
        show(f"{request.method} {printable(request.target)}, for {printable(request.authority)}")
        response, dependencies = self.site.answer(request)
        self.show_response(response, dependencies)
        if self._worked:
            show("\nOnce it is compressed:")
            self.site.freshness.begin_round()
            response, dependencies = self.site.answer(request)
            self.show_response(response, dependencies)

    def show_response(
        self, response: Response | ContentSink, dependencies: Dependencies = None
    ) -> None:
        """Print the head of a response, the length of its content, and whether it is cached."""
        if not isinstance(response, Response):
            response.abort()
            show("\n    HTTP/1.1 100 Continue\n\n    The content of the request would be taken.")
            return
        show(f"\n    HTTP/1.1 {response.status} {REASONS.get(response.status, '')}".rstrip())
        for name, value in response.fields:
            show(f"    {name}: {printable(value)}")
        show(f"\n    {_content(response)}")
        if dependencies:
            files = count(len(dependencies), "path")
            show(f"    Cached; checked for changes on disk with each request: {files}.")
        elif dependencies is not None:
            show("    Cached; it depends on no file.")
        else:
            show("    Not cached: it is made anew for each request.")

    def _work(self, steps: Iterator[None]) -> bool:
        """Run a job, which the server would run in the background, to its end."""
        self._worked = True
        for _ in steps:
            pass
        return True


class _Assumed:
    """Takes `user` for the sender of every request, without checking credentials."""

    def __init__(self, user: str) -> None:
        self._user = user

    def who(self, _request: RequestHead, *, may_wait: bool) -> str | None:  # noqa: ARG002
        return self._user


def _content(response: Response) -> str:
    if response.is_stream:
        return "The body is made while it is sent."
    return f"Body: {count(sum(map(len, response.content)), 'byte')}"


def _note(text: str, *values: object) -> None:
    shown = [printable(value) if isinstance(value, str) else value for value in values]
    show(f"    {text % tuple(shown)}")

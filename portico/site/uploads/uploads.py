"""From a request that changes what is served to its response, or to what takes its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http import digests
from portico.http.message import Response
from portico.site.origin.open_file import Waiting
from portico.site.origin.writable import Current, Refused, WritableFolder
from portico.site.pages import errors
from portico.site.target import path_names
from portico.site.uploads.form import Form, is_form
from portico.site.uploads.rules import (
    Terms,
    check_conditions,
    check_content_fields,
    check_served,
    claimed_digests,
    writable_names,
)
from portico.site.uploads.sink import PLACE, Upload, as_refused, too_large
from portico.site.uploads.space import Space
from portico.site.uploads.whole import NewFolder, WholeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from portico.config.config import Config
    from portico.http.content_sink import ContentSink
    from portico.http.message import RequestHead
    from portico.site.uploads.sink import Store

    Answer = Callable[[RequestHead, frozenset[str]], Response | ContentSink]

WRITE_FIELDS = digests.SENT | {
    "content-encoding",
    "content-range",
    "content-type",
    "origin",
    "sec-fetch-site",
}
"""Fields of a request that matter here, besides its conditions."""


_METHODS = {"create": ("PUT", "POST"), "replace": ("PUT",), "delete": ("DELETE",)}
"""The methods that a right allows."""


class Uploads:
    """Takes requests that change the files below one folder."""

    def __init__(self, config: Config, *, may_wait: bool) -> None:
        """Without `may_wait`, Waiting is raised where the response depends on the disk."""
        self._config = config
        self._may_wait = may_wait
        self._folder = WritableFolder(config.root, sync=config.sync)
        self._space = Space(self._folder, config.keep_free)

    def answer(self, request: RequestHead, rights: frozenset[str]) -> Response | ContentSink:
        """Return the response to a request, or what takes its content. Raises Waiting."""
        answers: dict[str, Answer] = {
            "PUT": self._put,
            "POST": self._post,
            "DELETE": self._delete,
        }
        try:
            return answers[request.method](request, rights)
        except (Refused, OSError) as problem:
            return self._refuse(request)(as_refused(problem))

    def sweep(self) -> Iterator[None]:
        """Remove what killed processes left behind; a job for the background."""
        self._folder.sweep()
        yield

    def _put(self, request: RequestHead, rights: frozenset[str]) -> Upload:
        names = writable_names(request.path)
        check_content_fields(request)
        if not rights & {"create", "replace"}:
            raise Refused(403, "Nothing may be written here.")
        self._check_length(request)
        store: Store
        if names[-1] == "":
            store = NewFolder(self._folder, names[:-1])
            if request.content_length > 0:
                raise Refused(400, "A folder has no content.")
        else:
            terms = Terms(request.method, request.fields, names[-1], rights)
            claims = claimed_digests(request)
            length = max(0, request.content_length)
            store = WholeFile(self._folder, self._space, names, terms, claims, length)
        return self._upload(store, request)

    def _post(self, request: RequestHead, rights: frozenset[str]) -> Upload:
        names = path_names(request.path)
        if names[-1] != "":
            raise Refused(405, "A form can be sent to a folder, at a path that ends with a slash.")
        if not is_form(request):
            raise Refused(415, "What is sent to a folder must be a form: multipart/form-data.")
        if "create" not in rights:
            raise Refused(403, "No file can be created here.")
        check_served(names[:-1])
        check_content_fields(request)
        self._check_length(request)
        wants_page = is_page(request)
        store = Form(self._folder, self._space, names[:-1], request, rights, wants_page=wants_page)
        return self._upload(store, request)

    def _check_length(self, request: RequestHead) -> None:
        if 0 < self._config.max_upload < request.content_length:
            raise Refused(413, too_large(self._config.max_upload))

    def _upload(self, store: Store, request: RequestHead) -> Upload:
        """Return what takes the content. Where the client waits for 100, it is judged before."""
        if request.expects_continue:
            self._need_disk()
            store.prepare()
        return Upload(store, self._config.max_upload, self._refuse(request))

    def _delete(self, request: RequestHead, rights: frozenset[str]) -> Response:
        def check(current: Current) -> None:
            if current.status is None or (is_folder and not current.is_folder):
                raise Refused(404, "There is nothing of that name.")
            check_conditions(request.method, request.fields, current)

        names = writable_names(request.path)
        is_folder = names[-1] == ""
        if "delete" not in rights:
            raise Refused(403, "Nothing may be deleted here.")
        self._need_disk()
        self._folder.delete(names[:-1] if is_folder else names, check)
        return Response(204, [])

    def _need_disk(self) -> None:
        if not self._may_wait:
            raise Waiting(PLACE)

    def _refuse(self, request: RequestHead) -> Callable[[Refused], Response]:
        """Return what makes the response that refuses `request`."""

        def refuse(problem: Refused) -> Response:
            response = errors.error(problem.status, request, problem.detail)
            if self._config.cors:
                errors.add_cors(response)
            return response

        return refuse


def methods_of(rights: Iterable[str]) -> tuple[str, ...]:
    """Return the methods that these rights allow."""
    return tuple(dict.fromkeys([method for right in rights for method in _METHODS[right]]))


def is_page(request: RequestHead) -> bool:
    """Whether a person's browser has sent a form: it wants to see a page then."""
    return "text/html" in (request.get("accept") or "").lower()


def is_cross_site(request: RequestHead) -> bool:
    """Whether a page of another site may have sent the request, with a browser's help.

    Browsers tell by Sec-Fetch-Site where a request comes from, older ones by Origin.
    """
    site = request.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.get("origin")
    return origin is not None and origin.partition("://")[2] != request.authority

"""From a request that changes what is served to its response, or to what takes its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http import digests
from portico.http.message import Response
from portico.site.origin.open_file import Waiting
from portico.site.origin.writable import Current, Refused, WritableFolder
from portico.site.pages import errors
from portico.site.uploads.rules import (
    Terms,
    check_conditions,
    check_content_fields,
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

WRITE_FIELDS = digests.SENT | {"content-encoding", "content-range", "origin", "sec-fetch-site"}
"""Fields of a request that matter here, besides its conditions."""


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
        answer = self._put if request.method == "PUT" else self._delete
        try:
            return answer(request, rights)
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
        most = self._config.max_upload
        if 0 < most < request.content_length:
            raise Refused(413, too_large(most))
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
        if request.expects_continue:
            self._need_disk()
            store.prepare()
        return Upload(store, most, self._refuse(request))

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
    methods = {"create": "PUT", "replace": "PUT", "delete": "DELETE"}
    return tuple(dict.fromkeys([methods[right] for right in rights]))


def is_cross_site(request: RequestHead) -> bool:
    """Whether a page of another site may have sent the request, with a browser's help.

    Browsers tell by Sec-Fetch-Site where a request comes from, older ones by Origin.
    """
    site = request.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.get("origin")
    return origin is not None and origin.partition("://")[2] != request.authority

"""Answers the requests that change files, or returns the sinks that take their content."""

from __future__ import annotations

from _thread import allocate_lock
from functools import partial
from typing import TYPE_CHECKING

from portico.http import digests
from portico.http.message import Response
from portico.site.origin.open_file import Waiting
from portico.site.origin.writable import Current, Refused, WritableFolder
from portico.site.pages import errors
from portico.site.target import path_names
from portico.site.uploads import resumable
from portico.site.uploads.form import Form, is_form
from portico.site.uploads.parts import Parts
from portico.site.uploads.resumable import (
    TUS_VERSION,
    Append,
    Door,
    Rejected,
    creates,
    finish,
    is_tus,
    limit_field,
    method_of,
    rejection,
    tus_fields,
    upload_id,
)
from portico.site.uploads.rules import (
    Terms,
    check_conditions,
    check_content_fields,
    check_served,
    check_writable,
    claimed_digests,
)
from portico.site.uploads.sink import PLACE, Upload, as_refused, too_large
from portico.site.uploads.space import Space
from portico.site.uploads.whole import NewFolder, WholeFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from portico.config.config import Config
    from portico.http.content_sink import ContentSink
    from portico.http.message import Field, RequestHead
    from portico.site.access import RightsFor
    from portico.site.uploads.sink import Store

WRITE_FIELDS = (
    digests.SENT
    | resumable.FIELDS
    | {"content-encoding", "content-range", "origin", "sec-fetch-site"}
)
"""The request header fields, in lower case, that uploads read besides the conditions."""


_METHODS = {
    "create": ("PUT", "POST", "PATCH", "MKCOL"),
    "replace": ("PUT", "POST", "PATCH"),
    "delete": ("DELETE",),
}
"""The methods that each right allows. To cancel an upload that was begun, no right is needed."""
MOST_AT_ONCE = 256
"""The maximum number of uploads under way in one worker. Each may hold a descriptor, half a MiB,
and as much again in the kernel."""


class Uploads:
    """Answers the requests that change files below one folder. Thread-safe."""

    def __init__(self, config: Config, *, only_looks: bool = False) -> None:
        """With `only_looks` requests are answered, but nothing is changed."""
        self.config = config
        self.only_looks = only_looks
        self.base = path_names(config.base)[:-1]
        """The path under which the folder is served, as names."""
        self.folder = WritableFolder(config.root, sync=config.sync, base=self.base)
        self.space = Space(self.folder, config.keep_free)
        self.parts = Parts(self.folder, sync=config.sync)
        self._lock = allocate_lock()
        self._under_way = 0

    def answer(
        self, request: RequestHead, rights_for: RightsFor, *, may_wait: bool
    ) -> Response | ContentSink:
        """Return the response to a request, or the sink that takes its content.

        `rights_for` returns the client's rights to a path, given its names below the base. Raises
        Waiting if the response depends on the disk, unless `may_wait`.
        """
        one = _One(self, request, rights_for, may_wait=may_wait)
        try:
            return one.answer()
        except (Refused, OSError) as problem:
            return self.refuse(as_refused(problem), request)

    def options(self) -> list[Field]:
        """Return the header fields of OPTIONS that tell how files can be uploaded."""
        if not {"create", "replace"} & {*self.config.allows}:
            return []
        most = self.config.max_upload
        return [*tus_fields(most), limit_field(most, self.config.upload_expiry)]

    def sweep(self) -> Iterator[None]:
        """Remove what killed processes have left, and expired uploads; a job for the background."""
        self.folder.sweep()
        yield
        self.parts.expire(self.config.upload_expiry)
        yield

    def refuse(self, problem: Refused, request: RequestHead) -> Response:
        """Return the response to a refused request."""
        if isinstance(problem, Rejected):
            response = rejection(problem)
        else:
            response = errors.error(problem.status, request, problem.detail)
            if is_tus(request):
                response.fields = [*response.fields, ("Tus-Resumable", TUS_VERSION)]
        if self.config.cors:
            errors.add_cors(response)
        return response

    def upload(self, store: Store, request: RequestHead, interim: Sequence[Response]) -> Upload:
        """Return a sink that gives the content of a request to `store`.

        Raises Rejected(503) if MOST_AT_ONCE uploads are under way.
        """
        with self._lock:
            if self._under_way >= MOST_AT_ONCE:
                raise Rejected(503, "Too many uploads are under way.", [("Retry-After", "1")])
            self._under_way += 1
            under_way = self._under_way
        most, refuse = self.config.max_upload, partial(self.refuse, request=request)
        return Upload(
            store, most, refuse, interim,
            under_way=under_way, syncs=self.config.sync, on_close=self._ended,
        )  # fmt: skip

    def _ended(self) -> None:
        with self._lock:
            self._under_way -= 1


class _One:
    """One request; see `Uploads.answer` for the arguments."""

    def __init__(
        self, uploads: Uploads, request: RequestHead, rights_for: RightsFor, *, may_wait: bool
    ) -> None:
        self._uploads = uploads
        self._request = request
        self._rights_for = rights_for
        self._may_wait = may_wait

    def answer(self) -> Response | ContentSink:
        """Return the response to the request, or the sink that takes its content."""
        method = self._request.method
        names = self._names()
        name = upload_id(names)
        if name is not None:
            return self._go_on(name)
        if method == "POST":
            return self._post(names)
        check_writable(names)
        if method == "DELETE":
            return self._delete(names)
        if method == "PUT":
            return self._put(names)
        if method == "MKCOL":
            return self._make_folder(names)
        raise Refused(405, "Only an upload that was begun can be gone on with so.")

    def _put(self, names: tuple[str, ...]) -> Upload:
        request, uploads = self._request, self._uploads
        rights = self._rights_to_store(names)
        if creates(request):
            return self._begin(names, rights)
        store: Store
        if names[-1] == "":
            if "create" not in rights:
                raise Refused(403, "Nothing may be created here.")
            store = NewFolder(uploads.folder, names[:-1])
            if request.content_length > 0:
                raise Refused(400, "A folder has no content.")
        else:
            terms = Terms(request.method, request.fields, names[-1], rights)
            store = WholeFile(
                uploads.folder, uploads.space, names, terms,
                claimed_digests(request), max(0, request.content_length),
            )  # fmt: skip
        return self._take(store)

    def _post(self, names: tuple[str, ...]) -> Upload:
        request, uploads = self._request, self._uploads
        if names[-1] != "":
            raise Refused(405, "Files can be sent to a folder, at a path that ends with a slash.")
        if creates(request):
            names = (*names[:-1], self._door().file_name())
            check_served(names)
            return self._begin(names, self._rights_to_store(names))
        if not is_form(request):
            raise Refused(415, "What is sent to a folder must be a form: multipart/form-data.")
        check_served(names[:-1])
        rights = self._rights_to_store(names)
        if "create" not in rights:
            raise Refused(403, "No file can be created here.")
        wants_page = "text/html" in (request.get("accept") or "").lower()
        folder, space, rights_for = uploads.folder, uploads.space, self._rights_for
        return self._take(
            Form(folder, space, names[:-1], request, rights_for, wants_page=wants_page)
        )

    def _make_folder(self, names: tuple[str, ...]) -> Upload:
        """Answer MKCOL (RFC 4918, 9.3), which creates a folder, but none of those above it."""
        if self._request.content_length:
            raise Refused(415, "A folder has no content.")
        if "create" not in self._rights_for(names):
            raise Refused(403, "Nothing may be created here.")
        folder = names[:-1] if names[-1] == "" else names
        return self._take(NewFolder(self._uploads.folder, folder, makes_above=False))

    def _delete(self, names: tuple[str, ...]) -> Response:
        def check(current: Current) -> None:
            if current.status is None or (is_folder and not current.is_folder):
                raise Refused(404, "There is nothing of that name.")
            check_conditions(request.method, request.fields, current)

        request = self._request
        is_folder = names[-1] == ""
        if "delete" not in self._rights_for(names):
            raise Refused(403, "Nothing may be deleted here.")
        self._need_disk()
        folder = self._uploads.folder
        change = folder.look if self._uploads.only_looks else folder.delete
        change(names[:-1] if is_folder else names, check)
        return Response(204, [])

    # Resumable uploads

    def _begin(self, names: tuple[str, ...], rights: frozenset[str]) -> Upload:
        """Create a resumable upload for the file `names`; the request may bring content."""
        uploads = self._uploads
        door = self._door()
        note = door.new_note(names)
        self._need_disk()
        uploads.folder.look(names, Terms("PUT", note.conditions, names[-1], rights).check)
        uploads.space.check(note.length or 0)
        if uploads.only_looks:
            return uploads.upload(NewFolder(uploads.folder, names), self._request, ())
        name = uploads.parts.create(note)
        try:
            return self._append(door, name, is_creation=True)
        except (Refused, OSError):  # the client does not learn the URL, so nobody can go on
            with uploads.parts.open(name) as part:
                part.remove()
            raise

    def _go_on(self, name: str) -> Response | Upload:
        """Answer a request for the URL of an upload."""
        method = method_of(self._request)
        door = self._door()
        self._need_disk()
        only_looks = self._uploads.only_looks
        if method == "PATCH" and not only_looks:
            return self._append(door, name, is_creation=False)
        with self._uploads.parts.open(name) as part:
            if method == "HEAD" or only_looks:
                part.sync()
                if door.takes_for_done(part) and not only_looks:
                    finish(part, self._rights_for)
                return door.head_response(part)
            if method == "DELETE":
                part.remove()
                return Response(204, [("Tus-Resumable", TUS_VERSION)] if door.is_tus else [])
        raise Refused(405, "An upload can be asked for its offset, appended to, and cancelled.")

    def _append(self, door: Door, name: str, *, is_creation: bool) -> Upload:
        uploads = self._uploads
        store = Append(
            uploads.parts, uploads.space, door, name, self._rights_for, is_creation=is_creation
        )
        return uploads.upload(store, self._request, door.interim(name) if is_creation else ())

    def _door(self) -> Door:
        config = self._uploads.config
        url_path = self._uploads.folder.url_path
        return Door(self._request, config.max_upload, config.upload_expiry, url_path)

    # Shared helpers

    def _names(self) -> tuple[str, ...]:
        """Return the names of the request's path below the base. Raises Refused."""
        names, base = path_names(self._request.path), self._uploads.base
        if len(names) <= len(base) or names[: len(base)] != base:
            raise Refused(403, "Only what is below the base of this site can be changed.")
        return names[len(base) :]

    def _rights_to_store(self, names: tuple[str, ...]) -> frozenset[str]:
        """Return the client's rights to a path.

        Raises Refused if the client may neither create nor replace a file there, and for content
        that is too large, coded, or only a part of a file.
        """
        request, most = self._request, self._uploads.config.max_upload
        rights = self._rights_for(names)
        if not rights & {"create", "replace"}:
            raise Refused(403, "Nothing may be written here.")
        check_content_fields(request)
        if 0 < most < request.content_length:
            raise Refused(413, too_large(most))
        return rights

    def _take(self, store: Store) -> Upload:
        """Return a sink that gives the content to `store`.

        If the client waits for 100 (Continue), raises Refused now if the content cannot be stored.
        """
        if self._request.expects_continue:
            self._need_disk()
            store.prepare()
        return self._uploads.upload(store, self._request, ())

    def _need_disk(self) -> None:
        if not self._may_wait:
            raise Waiting(PLACE)


def methods_of(rights: Iterable[str]) -> tuple[str, ...]:
    """Return the methods that these rights allow."""
    return tuple(dict.fromkeys([method for right in rights for method in _METHODS[right]]))


def is_cross_site(request: RequestHead) -> bool:
    """Return whether a page of another site may have made a browser send the request.

    Browsers tell in Sec-Fetch-Site where a request comes from, older ones in Origin. A page that
    came without TLS is one of another site, if the request comes over TLS.
    """
    site = request.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.get("origin")
    if origin is None:
        return False
    scheme, _, authority = origin.partition("://")
    return authority != request.authority or (request.is_secure and scheme != "https")

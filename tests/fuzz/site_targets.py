"""Targets in portico.site and portico.config: paths, rules files, users, options, uploads.

What writes does so in a folder in memory, where there is one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from portico.config.config import Config, ConfigError
from portico.http.h1.content import ContentReader
from portico.http.h1.head import HeadParser, head_end
from portico.http.h1.serialize import field_lines
from portico.http.message import Field, ProtocolError, RequestHead, Response
from portico.site.access import Access
from portico.site.origin.open_file import Waiting
from portico.site.rules.headers import SIZE_LIMIT, parse_headers
from portico.site.rules.pattern import normal_path
from portico.site.rules.redirects import LOCATION_LIMIT, find_cycles, parse_redirects
from portico.site.target import encode_path, is_safe, path_names, reference
from portico.site.uploads.rules import check_served
from portico.site.uploads.uploads import Uploads
from portico.site.users import Users, is_name, read_users, verify
from tests.fuzz.http_targets import places, value_of
from tests.http.h1.feeding import BARE, cut

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FOLDER = Path(tempfile.mkdtemp(prefix="portico-fuzz-", dir=_MEMORY))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def _path_of(octets: bytes) -> tuple[str, str | None]:
    """Return path and query as the parser of heads gives them; "/" for what it refuses."""
    with contextlib.suppress(ProtocolError):
        request = HeadParser().parse(b"GET " + octets + b" HTTP/1.0\r\n\r\n")
        return request.path, request.query
    return "/", None


def target(octets: bytes) -> None:
    path, _ = _path_of(octets)
    with contextlib.suppress(ProtocolError):
        for name in path_names(path, windows=True):
            assert is_safe(name, windows=True)
            assert ":" not in name
    try:
        names = path_names(path)
    except ProtocolError:
        return
    assert all(is_safe(name) for name in names)
    assert all(names[:-1]), "an empty name between others"
    written = encode_path(names)
    assert path_names(written) == names
    if {".", ".."}.isdisjoint(re.split("/|(?i:%2f)", re.sub("(?i)%2e", ".", path))):
        assert normal_path(path) == written, "rules and files see different paths"
    assert normal_path(written) == written
    for base in ("/", "/a/b%20/c", path):
        assert path_names(_joined(base, reference(base, names))) == names


def _joined(base: str, reference: str) -> str:
    """Return the path to which a reference leads from a path (RFC 3986, 5.2; WHATWG URL)."""
    found: list[str] = []
    *folder, _ = re.sub("(?i)%2e", ".", base).split("/")[1:]
    segments = [*folder, *reference.split("/")]
    for segment in segments:
        if segment == "..":
            del found[-1:]
        elif segment != ".":
            found.append(segment)
    return "/" + "/".join([*found, *([""] if segments[-1] in {".", ".."} else [])])


def _spelled_otherwise(path: str) -> str:
    """Return another spelling of a path: what stands for itself is encoded."""
    return re.sub(
        "%([0-9A-Fa-f]{2})|([A-Za-z0-9._~-])",
        lambda found: f"%{ord(found[2]):02x}" if found[2] else found[0].swapcase(),
        path,
    )


def redirects(octets: bytes) -> None:
    """A line with a request target; then the file."""
    asked, _, text = octets.partition(b"\n")
    path, query = _path_of(asked)
    rules, _ = parse_redirects(text.decode("utf-8", "replace"))
    find_cycles(rules)
    for host in ("", "a.example"):
        found = rules.match(path, query, host)
        other = rules.match(_spelled_otherwise(path), query, host)
        assert found == other, "another spelling evades a rule"
        for rule in rules.rules:
            place, *rest = rule.sample()
            rules.match(rest[0] or "/", rest[1], place)
        if found is None:
            continue
        (rule,) = (rule for rule in rules.rules if rule.line == found.line)
        assert re.fullmatch("[!-~]+", found.location)
        assert len(found.location) < 3 * LOCATION_LIMIT + len(query or "")
        if not rule.destination.origin:
            assert re.match("/(?!/)", found.location), "a path leads to another host"
        else:
            assert found.location.startswith(rule.destination.origin)
            assert found.status not in {200, 404}


_OWN: list[Field] = [("Content-Length", "5"), ("Vary", "Accept-Encoding"), ("ETag", '"a"')]


def headers(octets: bytes) -> None:
    """A line with a request target; then the file."""
    asked, _, text = octets.partition(b"\n")
    path, _ = _path_of(asked)
    rules, _ = parse_headers(text.decode("utf-8", "replace"))
    fields, lines = rules.apply(path, "a.example", _OWN)
    assert rules.apply(_spelled_otherwise(path), "a.example", _OWN) == (fields, lines)
    assert len(field_lines(fields)) <= SIZE_LIMIT + 200
    named = [(name.lower(), value) for name, value in fields]
    assert [value for name, value in named if name == "content-length"] == ["5"]
    assert not {"transfer-encoding", "connection", "upgrade"} & {name for name, _ in named}
    assert [value for name, value in named if name == "etag"] in ([], ['"a"'])
    assert any(name == "vary" and value.startswith("Accept-Enc") for name, value in named)


_CHEAP = re.compile(
    r"\$scrypt\$ln=[0-9],r=[0-8],p=[0-4]\$|\$2[aby]\$0[0-4]\$"
    r"|\$argon2id\$(?!.*[mtp]=[0-9]{3}|.*[tp]=[0-9]{2})"
)
"""Hashes that take little time to verify."""


def users(octets: bytes) -> None:
    """A line with the value of Authorization; then the file of users."""
    credentials, _, text = octets.partition(b"\n")
    path = _FOLDER / "users"
    path.write_bytes(text)
    with contextlib.suppress(ConfigError):
        hashes, tokens, _ = read_users(str(path))
        assert all(map(is_name, (*hashes, *tokens.values())))
        for hashed in filter(_CHEAP.match, hashes.values()):
            verify("password", hashed)
    request = RequestHead("GET", "/", 1, (("authorization", value_of(credentials)),))
    request.peer = "192.0.2.1"
    known = Users(str(path), lambda _: None)
    with contextlib.suppress(Waiting):
        known.who(request, may_wait=False)
    if value_of(credentials)[:7].lower() == "bearer ":
        name = known.who(request, may_wait=True)
        assert name is None or name.encode() in text


def config(octets: bytes) -> None:
    path = _FOLDER / "portico.toml"
    path.write_bytes(octets)
    try:
        found = Config.load({"config": str(path)}, {})
    except ConfigError:
        return
    settings = found.settings()
    assert Config(settings).settings() == settings
    with contextlib.suppress(ConfigError):
        assert Access(found).rights(("a",), None) <= {"read", "create", "replace", "delete"}


def _names(folder: str | Path) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


class _Site:
    """A folder that is written to, beside one that must not change."""

    def __init__(self, name: str) -> None:
        self.above = _FOLDER / name
        self.root = self.above / "root"
        shutil.rmtree(self.above, ignore_errors=True)
        (self.root / "folder").mkdir(parents=True)
        (self.root / "old.txt").write_bytes(b"old")
        (self.above / "outside").write_bytes(b"outside")
        (self.root / "out").symlink_to(self.above)
        self.open = len(_names("/dev/fd"))
        self._uploads = Uploads(
            Config.of(
                root=str(self.root), allow="write", max_upload=1 << 20, sync=False, keep_free=0
            )
        )

    def send(self, request: RequestHead, pieces: list[bytes]) -> Response:
        """Return the response to a request with this content."""
        rights = frozenset({"read", "create", "replace", "delete"})
        try:
            sink = self._uploads.answer(request, lambda _: rights, may_wait=True)
        except ProtocolError as problem:
            return Response(problem.status, [])
        if isinstance(sink, Response):
            return sink
        try:
            for piece in filter(None, pieces):
                self._done(partial(sink.write, piece))
            response = self._done(sink.finish)
        except ProtocolError as problem:
            sink.abort()
            return Response(problem.status, [])
        assert isinstance(response, Response)
        return response

    def _done(self, step: Callable[[], object]) -> object:
        for _ in range(3):
            try:
                return step()
            except Waiting as wait:
                work = wait.work
                if work is not None:
                    work()
        raise AssertionError("it waits for ever")

    def check(self) -> dict[str, bytes]:
        """Return all files by name, after a look at what must not have happened."""
        assert len(_names("/dev/fd")) <= self.open, "a descriptor was left open"
        assert _names(self.above) == {"outside", "root"}
        assert (self.above / "outside").read_bytes() == b"outside"
        found = {}
        for folder, names, files in os.walk(self.root):
            if folder == str(self.root) and ".portico" in names:
                names.remove(".portico")
                hidden = _names(self.root / ".portico")
                assert hidden <= {"uploads"}, "a temporary file was left"
            for name in files:
                path = Path(folder, name).relative_to(self.root)
                check_served(path.parts)
                found[str(path)] = Path(folder, name).read_bytes()
        return found


def uploads(octets: bytes) -> None:
    """Requests as on one connection. `/UP` is the path of the upload that was begun last."""
    site, parser, upload, offset = _Site("uploads"), HeadParser(), "/UP", 0
    for _ in range(6):
        try:
            end = head_end(octets)
            if end < 0:
                break
            request = parser.parse(octets[:end])
            content, octets = ContentReader(request.content_length).feed(octets[end:])
        except ProtocolError:
            break
        is_going_on = request.path == "/UP"
        if is_going_on:
            request.path = upload
        response = site.send(request, cut(content, places(content)))
        field_lines(response.fields)
        assert response.status in {*range(200, 206), *range(400, 424), 460, 501, 503, 507}
        fields = {name.lower(): value for name, value in response.fields}
        location, told = fields.get("location", ""), fields.get("upload-offset")
        good = response.status < 300
        if good and location.startswith("/.portico/uploads/"):
            upload = location
        elif good and is_going_on and request.method == "PATCH" and told is not None:
            assert int(told) in {offset, offset + len(content)}
        offset = int(told or "0") if good else offset
        files = site.check()
        if request.method == "PUT" and good and "upload-complete" not in dict(request.fields):
            name = "/".join(path_names(request.path))
            assert (
                "tus-resumable" in dict(request.fields)
                or name[-1:] == "/"
                or (files[name] == content)
            )


def form(octets: bytes) -> None:
    """The content of a form whose boundary is `limit`."""
    fields = [("content-type", "multipart/form-data; boundary=limit")]
    came = []
    for pieces in ([octets], cut(octets, places(octets))):
        request = RequestHead("POST", "/folder/", 1, tuple(fields))
        request.path, request.content_length = "/folder/", len(octets)
        site = _Site("form")
        status = site.send(request, pieces).status
        files = site.check()
        assert status in {201, 303, 400, 403, 409, 413, 415}
        assert (len(files) > 1) == (status == 201)
        came.append((status, files))
    # The library sees a bare LF in the head of a part only where what has come ends in that head,
    # and what stands before the first boundary only until it has dropped it.
    is_broken = BARE.search(octets) or not octets.startswith(b"--limit")
    if not (is_broken and 400 in {status for status, _ in came}):
        assert came[0] == came[1], "the pieces in which it comes change it"

"""Uploads that are broken off and gone on with, by both protocols."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from base64 import b64encode
from pathlib import Path

import pytest

from portico import Server
from portico.site.uploads.parts import FOLDER
from tests.server.clients import Answer, Client, eventually, get, request
from tests.server.conftest import Connect, Serve

CONTENT = os.urandom(700_000)
HALF = 300_000
TUS = "Tus-Resumable: 1.0.0"
TUS_TYPE = "Content-Type: application/offset+octet-stream"
DRAFT = "Upload-Draft-Interop-Version: 8"
DRAFT_TYPE = "Content-Type: application/partial-upload"
NAMED = f"Upload-Metadata: filename {b64encode(b'f.bin').decode()},is_private"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    return root


@pytest.fixture
def server(serve: Serve, root: Path) -> Server:
    return serve(root, allow="create,replace")


def send(client: Client, method: str, path: str, *lines: str, content: bytes = b"") -> Answer:
    length = [] if method in {"HEAD", "DELETE"} else [f"Content-Length: {len(content)}"]
    return client.ask(request(method, path, *length, *lines) + content, method=method)


def begin_tus(client: Client, *lines: str) -> str:
    answer = send(client, "POST", "/sub/", TUS, NAMED, f"Upload-Length: {len(CONTENT)}", *lines)
    assert answer.status == 201
    return answer.fields["location"]


def begin_draft(client: Client, content: bytes = b"", *lines: str) -> str:
    answer = send(client, "PUT", "/sub/f.bin", "Upload-Complete: ?0", *lines, content=content)
    assert answer.status == 201
    assert answer.fields["upload-complete"] == "?0"
    return answer.fields["location"]


def append_tus(client: Client, url: str, offset: int, content: bytes, *lines: str) -> Answer:
    at = f"Upload-Offset: {offset}"
    return send(client, "PATCH", url, TUS, TUS_TYPE, at, *lines, content=content)


def append_draft(
    client: Client, url: str, offset: int, content: bytes, *lines: str, last: bool = False
) -> Answer:
    fields = (f"Upload-Offset: {offset}", f"Upload-Complete: ?{int(last)}", DRAFT_TYPE)
    return send(client, "PATCH", url, *fields, *lines, content=content)


def left(root: Path) -> list[str]:
    """The files of uploads."""
    return sorted(path.name for path in root.joinpath(*FOLDER).iterdir())


def test_tus_from_the_beginning_to_the_end(client: Client, root: Path) -> None:
    url = begin_tus(client)
    answer = send(client, "HEAD", url, TUS)
    assert (answer.status, answer.fields["upload-offset"]) == (200, "0")
    assert answer.fields["upload-length"] == str(len(CONTENT))
    assert answer.fields["upload-metadata"] == NAMED.partition(": ")[2]
    assert answer.fields["cache-control"] == "no-store"
    answer = append_tus(client, url, 0, CONTENT[:HALF])
    assert (answer.status, answer.fields["upload-offset"]) == (204, str(HALF))
    assert "upload-expires" in answer.fields
    assert not (root / "sub" / "f.bin").exists()
    assert append_tus(client, url, 0, CONTENT[:10]).status == 409
    answer = append_tus(client, url, HALF, CONTENT[HALF:])
    assert (answer.status, answer.fields["upload-offset"]) == (204, str(len(CONTENT)))
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT
    assert client.ask(get("/sub/f.bin")).fields["etag"] == answer.fields["etag"]
    answer = send(client, "HEAD", url, TUS)  # it may have missed the response
    assert answer.fields["upload-offset"] == answer.fields["upload-length"] == str(len(CONTENT))
    assert left(root) == [Path(url).name + ".json"]


def test_tus_creates_with_content_and_learns_the_length_late(client: Client, root: Path) -> None:
    lines = (TUS, NAMED, TUS_TYPE, "Upload-Defer-Length: 1")
    answer = send(client, "POST", "/sub/", *lines, content=CONTENT[:HALF])
    assert (answer.status, answer.fields["upload-offset"]) == (201, str(HALF))
    url = answer.fields["location"]
    assert send(client, "HEAD", url, TUS).fields["upload-defer-length"] == "1"
    length = f"Upload-Length: {len(CONTENT)}"
    assert append_tus(client, url, HALF, CONTENT[HALF:], length).status == 204
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["sha1", "sha256"])
def test_tus_checks_sums(client: Client, name: str) -> None:
    url = begin_tus(client)
    right = b64encode(hashlib.new(name, CONTENT[:10]).digest()).decode()
    wrong = b64encode(hashlib.new(name, b"other").digest()).decode()
    assert (
        append_tus(client, url, 0, CONTENT[:10], f"Upload-Checksum: {name} {wrong}").status == 460
    )
    assert (
        append_tus(client, url, 0, CONTENT[:10], f"Upload-Checksum: {name} {right}").status == 204
    )


def test_tus_methods_and_versions(client: Client, root: Path) -> None:
    fields = send(client, "OPTIONS", "/sub/").fields
    assert fields["tus-version"] == "1.0.0"
    assert "creation-with-upload" in fields["tus-extension"]
    assert "max-size=" in fields["upload-limit"]
    answer = send(client, "POST", "/sub/", "Tus-Resumable: 0.2.2", NAMED, "Upload-Length: 1")
    assert (answer.status, answer.fields["tus-version"]) == (412, "1.0.0")
    url = begin_tus(client)
    override = "X-HTTP-Method-Override: PATCH"
    lines = (TUS, TUS_TYPE, override, "Upload-Offset: 0")
    assert send(client, "POST", url, *lines, content=CONTENT[:10]).status == 204
    assert send(client, "DELETE", url, TUS).status == 204
    assert send(client, "HEAD", url, TUS).status == 404
    assert left(root) == []


def test_the_draft_from_the_beginning_to_the_end(client: Client, root: Path) -> None:
    url = begin_draft(client, CONTENT[:HALF])
    answer = send(client, "HEAD", url)
    assert (answer.status, answer.fields["upload-offset"]) == (204, str(HALF))
    assert answer.fields["upload-complete"] == "?0"
    assert "max-age=" in answer.fields["upload-limit"]
    answer = append_draft(client, url, HALF, CONTENT[HALF : HALF + 10])
    assert (answer.status, answer.fields["upload-offset"]) == (204, str(HALF + 10))
    answer = append_draft(client, url, HALF, b"x")
    assert (answer.status, answer.fields["upload-offset"]) == (409, str(HALF + 10))
    problem = json.loads(answer.content)
    assert problem["type"].endswith("#mismatching-upload-offset")
    assert (problem["expected-offset"], problem["provided-offset"]) == (HALF + 10, HALF)
    answer = append_draft(client, url, HALF + 10, CONTENT[HALF + 10 :], last=True)
    assert (answer.status, answer.fields["upload-complete"]) == (201, "?1")
    assert answer.fields["location"] == "/sub/f.bin"
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT
    assert client.ask(get("/sub/f.bin")).fields["etag"] == answer.fields["etag"]
    assert send(client, "HEAD", url).fields["upload-complete"] == "?1"
    answer = append_draft(client, url, len(CONTENT), b"", last=True)
    assert json.loads(answer.content)["type"].endswith("#completed-upload")


@pytest.mark.parametrize(("line", "told"), [(DRAFT, True), ("X: y", False)])
def test_the_draft_tells_at_once_where_to_go_on(
    client: Client, root: Path, line: str, told: bool
) -> None:
    """104 only for clients that speak it."""
    length = f"Content-Length: {len(CONTENT)}"
    client.send(request("PUT", "/sub/f.bin", "Upload-Complete: ?1", length, line))
    if told:
        status, fields = client.head()
        assert (status, fields["upload-draft-interop-version"]) == (104, "8")
        assert fields["location"].startswith("/.portico/uploads/")
    answer = client.ask(CONTENT)
    assert (answer.status, answer.fields["upload-complete"]) == (201, "?1")
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "disposition",
    [
        'attachment; filename="n\\"m.bin"',
        "attachment; filename=n.bin",
        "attachment; filename=\"x\"; filename*=UTF-8''n%C3%A4.bin",
        'attachment; filename="../n.bin"',
    ],
)
def test_the_draft_names_a_file_in_a_folder(client: Client, disposition: str) -> None:
    lines = ("Upload-Complete: ?1", f"Content-Disposition: {disposition}")
    answer = send(client, "POST", "/sub/", *lines, content=b"x")
    if '\\"' in disposition:
        assert answer.status == 400
    else:
        assert answer.status == 201
        assert answer.fields["location"].startswith("/sub/n")


@pytest.mark.parametrize(
    ("method", "path", "lines", "content", "status"),
    [
        ("POST", "/sub/", ["Upload-Complete: ?1"], b"x", 400),
        ("POST", "/sub/", [TUS, "Upload-Length: 1"], b"", 400),
        ("POST", "/sub/", [TUS, NAMED], b"", 400),
        ("POST", "/sub/", [TUS, NAMED, "Upload-Length: 99999999999"], b"", 413),
        ("POST", "/sub/", [TUS, NAMED, "Upload-Length: -1"], b"", 400),
        ("POST", "/sub/", [TUS, NAMED, "Upload-Length: 1", "Upload-Checksum: md5 x"], b"", 400),
        ("PUT", "/sub/f", ["Upload-Complete: yes"], b"x", 400),
        ("PUT", "/sub/f", ["Upload-Complete: ?1", "Upload-Length: 5"], b"x", 400),
        ("PUT", "/.x", ["Upload-Complete: ?1"], b"x", 403),
        ("PUT", "/sub/f", ["Upload-Complete: ?0", "If-Match: *"], b"x", 412),
        ("PATCH", "/sub/f", ["Upload-Complete: ?0", DRAFT_TYPE], b"x", 405),
        ("PATCH", "/.portico/uploads/x", [DRAFT_TYPE, "Upload-Complete: ?0"], b"x", 404),
        ("HEAD", "/.portico/uploads/" + "0" * 32, [], b"", 404),
        ("HEAD", "/.portico/uploads/../../../x", [], b"", 400),
        ("GET", "/.portico/uploads/", [], b"", 404),
    ],
)
def test_what_is_refused(
    client: Client,
    root: Path,
    method: str,
    path: str,
    lines: list[str],
    content: bytes,
    status: int,
) -> None:
    assert send(client, method, path, *lines, content=content).status == status
    assert not root.joinpath(*FOLDER).exists() or left(root) == []


@pytest.mark.parametrize("draft", [False, True], ids=["tus", "draft"])
def test_a_broken_connection_is_gone_on_with(
    serve: Serve, connect: Connect, root: Path, draft: bool
) -> None:
    """On another server, as after a restart; what came before is kept."""
    first = connect(serve(root, allow="create"))
    url = begin_draft(first) if draft else begin_tus(first)
    lines = [DRAFT_TYPE, "Upload-Complete: ?1"] if draft else [TUS, TUS_TYPE]
    length = f"Content-Length: {len(CONTENT)}"
    first.send(request("PATCH", url, *lines, "Upload-Offset: 0", length), CONTENT[:HALF])
    stored = root.joinpath(*FOLDER, Path(url).name)
    eventually(lambda: stored.stat().st_size > 0)
    first.vanish()
    second = connect(serve(root, allow="create"))
    answer = send(second, "HEAD", url, *([] if draft else [TUS]))
    offset = int(answer.fields["upload-offset"])
    assert 0 < offset <= HALF
    if draft:
        assert append_draft(second, url, offset, CONTENT[offset:], last=True).status == 201
    else:
        assert append_tus(second, url, offset, CONTENT[offset:]).status == 204
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT


def test_a_newer_request_ends_the_older(serve: Serve, connect: Connect, root: Path) -> None:
    """Although the older connection is still open, as after a change of networks."""
    server = serve(root, allow="create")
    old, new = connect(server), connect(server)
    url = begin_tus(old)
    length = f"Content-Length: {len(CONTENT)}"
    old.send(request("PATCH", url, TUS, TUS_TYPE, "Upload-Offset: 0", length), CONTENT[:HALF])
    stored = root.joinpath(*FOLDER, Path(url).name)
    eventually(lambda: stored.stat().st_size > 0)
    offset = int(send(new, "HEAD", url, TUS).fields["upload-offset"])
    assert append_tus(new, url, offset, CONTENT[offset : offset + 10]).status == 204
    old.send_as_far_as_possible([CONTENT[HALF:]])
    assert old.answer().status == 409
    offset += 10
    assert append_tus(new, url, offset, CONTENT[offset:]).status == 204
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT


def test_rights_and_conditions_are_asked_again_at_the_end(client: Client, root: Path) -> None:
    url = begin_draft(client, CONTENT[:HALF], "If-None-Match: *")
    (root / "sub" / "f.bin").write_bytes(b"somebody else's")
    assert append_draft(client, url, HALF, CONTENT[HALF:], last=True).status == 412
    assert (root / "sub" / "f.bin").read_bytes() == b"somebody else's"


def test_the_digest_of_the_whole_is_verified(client: Client, root: Path) -> None:
    digest = b64encode(hashlib.sha256(b"other").digest()).decode()
    url = begin_draft(client, CONTENT[:HALF], f"Repr-Digest: sha-256=:{digest}:")
    assert append_draft(client, url, HALF, CONTENT[HALF:], last=True).status == 400
    assert not (root / "sub" / "f.bin").exists()


def test_a_drop_box_can_be_used_without_the_right_to_see(
    serve: Serve, connect: Connect, root: Path
) -> None:
    access = ["/sub/* anonymous=create", "/* anonymous=read"]
    client = connect(serve(root, allow="create", access=access))
    url = begin_tus(client)
    assert append_tus(client, url, 0, CONTENT[:HALF]).status == 204
    assert send(client, "HEAD", url, TUS).fields["upload-offset"] == str(HALF)
    assert append_tus(client, url, HALF, CONTENT[HALF:]).status == 204
    assert client.ask(get("/sub/f.bin")).status == 403
    assert send(client, "DELETE", url, TUS).status == 204


def test_what_nobody_goes_on_with_is_removed(serve: Serve, connect: Connect, root: Path) -> None:
    client = connect(serve(root, allow="create"))
    begin_draft(client, b"old")
    young = begin_draft(client, b"young")
    for name in (f"{'0' * 32}.json.new", "1" * 32, f"{'2' * 32}.owner"):  # a crash left these
        root.joinpath(*FOLDER, name).touch()
    for path in root.joinpath(*FOLDER).iterdir():
        if Path(young).name in path.name:
            continue
        os.utime(path, (time.time() - 100, time.time() - 100))
    serve(root, allow="create", upload_expiry=50)
    eventually(lambda: all(name.startswith(Path(young).name) for name in left(root)))
    assert send(client, "HEAD", young).status == 204


@pytest.mark.parametrize("is_linked", [False, True])
def test_an_end_that_a_crash_cut_short_is_told_truly(
    client: Client, root: Path, *, is_linked: bool
) -> None:
    """A client of tus that hears of all its bytes takes its file for stored, for ever."""
    url = begin_tus(client)
    content = root / url[1:]
    content.write_bytes(CONTENT)
    if is_linked:  # the crash came later
        (root / "sub" / "f.bin").hardlink_to(content)
    answer = send(client, "HEAD", url, TUS)
    assert (answer.status, answer.fields["upload-offset"]) == (200, str(len(CONTENT)))
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT
    assert left(root) == [content.name + ".json"]
    (root / "sub" / "f.bin").unlink()
    assert send(client, "HEAD", url, TUS).status == 200
    assert not (root / "sub" / "f.bin").exists()


def test_an_end_that_was_refused_is_refused_again(client: Client, root: Path) -> None:
    url = begin_tus(client, "If-None-Match: *")
    (root / "sub" / "f.bin").write_bytes(b"somebody else's")
    assert append_tus(client, url, 0, CONTENT).status == 412
    assert send(client, "HEAD", url, TUS).status == 412
    assert (root / "sub" / "f.bin").read_bytes() == b"somebody else's"


def test_an_end_that_took_too_long_can_be_asked_for(
    serve: Serve, connect: Connect, root: Path
) -> None:
    client = connect(serve(root, allow="create", send_timeout=0.3))
    url = begin_tus(client)
    folder = os.open(root / "sub", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert append_tus(client, url, 0, CONTENT).status == 503
    os.close(folder)
    client = connect(serve(root, allow="create"))
    answer = send(client, "HEAD", url, TUS)
    assert (answer.status, answer.fields["upload-offset"]) == (200, str(len(CONTENT)))
    assert (root / "sub" / "f.bin").read_bytes() == CONTENT

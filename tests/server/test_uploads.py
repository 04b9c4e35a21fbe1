"""PUT and DELETE on a server, by a client that does what it is told."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from base64 import b64encode
from pathlib import Path

import pytest

from portico import ConfigError, Server
from portico.config.config import Config, check_writing
from portico.site.dotfiles import STAGING
from tests.server.clients import Client, chunked, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.uploading import FORM, delete, files, part, put

LARGE = os.urandom(3_000_000)


@pytest.fixture
def server(serve: Serve, root: Path) -> Server:
    return serve(root, allow="write")


def digest(name: str, content: bytes) -> str:
    """A member of Content-Digest."""
    octets = hashlib.new(name.replace("-", ""), content).digest()
    return f"{name}=:{b64encode(octets).decode()}:"


@pytest.mark.parametrize("content", [b"", b"new", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_a_file_is_created_then_replaced(
    client: Client, root: Path, content: bytes, coded: bool
) -> None:
    for status in (201, 204):
        if coded:
            head = request("PUT", "/a/b/c.txt", "Transfer-Encoding: chunked")
            pieces = [content[:10], content[10:70000], content[70000:]]
            answer = client.ask(head, chunked(*filter(None, pieces)))
        else:
            answer = put(client, "/a/b/c.txt", content)
        assert (answer.status, answer.content) == (status, b"")
        got = client.ask(get("/a/b/c.txt"))
        assert (got.content, got.fields["etag"]) == (content, answer.fields["etag"])
    assert (root / "a/b/c.txt").read_bytes() == content
    assert not list((root / STAGING).iterdir())


def test_files_are_written_below_a_base(serve: Serve, connect: Connect, root: Path) -> None:
    """Rights are for the paths of URLs, and nothing outside of it is changed."""
    access = ["/my/docs/folder/* anonymous=read,create,replace,delete", "/* anonymous=read"]
    client = connect(serve(root, allow="write", base="/my/docs/", access=access))
    put_there = "/my/docs/folder/new.txt"
    answer = put(client, put_there, b"new")
    assert (answer.status, answer.fields["location"]) == (201, put_there)
    assert client.ask(get(put_there)).content == b"new"
    assert client.ask(request("MKCOL", "/my/docs/folder/made")).status == 201
    form = part("a.txt", b"a") + b"--limit--\r\n"
    answer = client.ask(
        request("POST", "/my/docs/folder/", FORM, f"Content-Length: {len(form)}") + form
    )
    assert json.loads(answer.content)["files"][0]["path"] == "/my/docs/folder/a.txt"
    answer = put(client, "/my/docs/folder/b.bin", b"ab", "Upload-Complete: ?0")
    assert answer.fields["location"].startswith("/my/docs/.portico/uploads/")
    head = request("PATCH", answer.fields["location"], "Content-Length: 1", "Upload-Offset: 2",
                   "Upload-Complete: ?1", "Content-Type: application/partial-upload")  # fmt: skip
    answer = client.ask(head + b"c")
    assert (answer.status, answer.fields["location"]) == (201, "/my/docs/folder/b.bin")
    assert (root / "folder" / "b.bin").read_bytes() == b"abc"
    assert delete(client, put_there).status == 204
    assert put(client, "/my/docs/other.txt", b"x").status == 403
    assert put(client, "/my/docs/folder/page.html", b"<p>").status == 201
    page = client.ask(get("/my/docs/folder/page.html"))
    assert page.fields["content-security-policy"] == "sandbox"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("/new.txt", 403), ("/docs", 403), ("/docs2/new.txt", 403), ("/folder/a", 403)),
        *(("/docs/", 405), ("/docs/_headers", 403), ("/docs/.env", 403), ("/docs/../a", 403)),
        *(("/docs/docs/", 201), ("/docs/_headers/a", 403)),
    ],
)
def test_nothing_is_written_outside_of_a_base(
    serve: Serve, connect: Connect, root: Path, path: str, status: int
) -> None:
    before = files(root)
    client = connect(serve(root, allow="write", base="/docs/"))
    assert put(client, path, b"").status == status
    assert files(root) == before or status == 201


@pytest.mark.parametrize("path", ["/./new", "/a/../new", "//new", "/%2Fnew", "/%6eew"])
def test_each_spelling_of_a_path_writes_the_same_file(
    client: Client, root: Path, path: str
) -> None:
    answer = put(client, path, b"new")
    assert (answer.status, answer.fields["location"]) == (201, "/new")
    assert (root / "new").read_bytes() == b"new"
    assert delete(client, path).status == 204


def test_a_large_file_has_the_tag_that_get_gives(client: Client) -> None:
    content = bytes(9 << 20)
    tag = put(client, "/large", content).fields["etag"]
    assert client.ask(request("HEAD", "/large"), method="HEAD").fields["etag"] == tag


def test_mode_and_owner_are_those_of_any_new_file(client: Client, root: Path) -> None:
    put(client, "/file.txt", b"new")
    (root / "other.txt").write_bytes(b"")
    assert (root / "file.txt").stat().st_mode == (root / "other.txt").stat().st_mode


def test_folders_are_made_and_deleted(client: Client, root: Path) -> None:
    assert put(client, "/new/folder/", b"").status == 201
    assert (root / "new" / "folder").is_dir()
    assert put(client, "/new/folder/", b"").status == 405
    assert put(client, "/new/other/", b"x").status == 400
    assert delete(client, "/new/").status == 409
    assert delete(client, "/new/folder/").status == 204
    assert delete(client, "/new").status == 204
    assert not (root / "new").exists()


def test_mkcol_makes_one_folder(client: Client, root: Path) -> None:
    def make(path: str, *lines: str, content: bytes = b"") -> int:
        return client.ask(request("MKCOL", path, *lines) + content).status

    assert [make("/new"), make("/new"), make("/none/new/"), make("/file.txt")] == [
        201,
        405,
        409,
        405,
    ]
    assert make("/other", "Content-Length: 1", content=b"x") == 415
    assert make("/new/below/") == 201
    assert (root / "new" / "below").is_dir()


def test_files_are_deleted(client: Client, root: Path) -> None:
    assert delete(client, "/file.txt").status == 204
    assert client.ask(get("/file.txt")).status == 404
    assert delete(client, "/file.txt").status == 404
    assert delete(client, "/folder/file.txt/").status == 404
    assert (root / "folder" / "file.txt").exists()


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        ("/folder", [], 409),
        ("/file.txt/below", [], 409),
        ("/", [], 405),
        ("/way-out/new.txt", [], 403),
        ("/way-out", [], 403),
        ("/link.txt", [], 403),
        ("/.hidden", [], 403),
        ("/.portico/x", [], 403),
        ("/folder/.git/config", [], 403),
        ("/_redirects", [], 403),
        ("/_HEADERS", [], 403),
        ("/_headers/x", [], 403),  # nor may a folder take that name
        ("/portico.toml/", [], 403),
        ("/folder/Portico.toml", [], 403),  # where somebody may start Portico some day
        ("/a%00b", [], 400),
        ("/a%0ab", [], 400),
        ("/a%5cb", [], 400),
        ("/con%3ax", [], 400),
        ("/folder/CON", [], 400),
        ("/con.txt", [], 400),
        ("/f" * 101, [], 400),
        ("/%e2%80%ae.txt", [], 400),
        ("/%ff", [], 400),
        ("/dot.", [], 400),
        ("/GIT~1/config", [], 400),
        ("/" + "n" * 256, [], 400),
        ("/a.txt", ["Content-Range: bytes 0-2/3"], 400),
        ("/a.txt", ["Content-Encoding: gzip"], 415),
        ("/a.txt", ["Content-Digest: sha-256=:AAAA:"], 400),
        ("/a.txt", ["Sec-Fetch-Site: cross-site"], 403),
        ("/a.txt", ["Sec-Fetch-Site: same-site"], 403),
        ("/a.txt", ["Origin: http://elsewhere"], 403),
        ("/a.txt", ["Origin: null"], 403),
        ("/file.txt", ['If-Match: "other"'], 412),
        ("/file.txt", ["If-None-Match: *"], 412),
        ("/file.txt", ["If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT"], 412),
        ("/new.txt", ["If-Match: *"], 412),
        ("/none/file.txt", ["If-Match: *"], 412),
    ],
)
@pytest.mark.parametrize("expects", [False, True], ids=["", "expects"])
def test_what_is_refused_changes_nothing(
    client: Client, root: Path, path: str, lines: list[str], status: int, expects: bool
) -> None:
    """With Expect there is the final status at once, and no 100."""
    before = files(root)
    if expects:
        answer = client.ask(
            request("PUT", path, "Content-Length: 3", "Expect: 100-continue", *lines)
        )
    else:
        answer = put(client, path, b"new", *lines)
    assert answer.status == status
    assert files(root) == before
    assert (root.parent / "outside" / "file.txt").read_bytes() == b"outside"
    assert not (root.parent / "outside" / "new.txt").exists()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Sec-Fetch-Site: same-origin"],
        ["Sec-Fetch-Site: none"],
        ["Origin: http://localhost"],
        ["If-Match: *"],
        ["Content-Encoding: identity"],
        [f"Repr-Digest: {digest('sha-256', b'new')}"],
        [f"Content-Digest: md5=:x:, {digest('sha-512', b'new')}"],
    ],
)
def test_what_is_taken(client: Client, root: Path, lines: list[str]) -> None:
    assert put(client, "/file.txt", b"new", *lines).status == 204
    assert (root / "file.txt").read_bytes() == b"new"


def test_a_wrong_digest_stores_nothing(client: Client, root: Path) -> None:
    line = f"Content-Digest: {digest('sha-256', b'other')}"
    assert put(client, "/file.txt", b"new", line).status == 400
    assert (root / "file.txt").read_bytes() == b"old"


def test_the_client_that_waits_for_100_gets_it(client: Client, root: Path) -> None:
    client.send(request("PUT", "/new.txt", "Content-Length: 3", "Expect: 100-continue"))
    assert client.head()[0] == 100
    assert client.ask(b"new").status == 201
    assert (root / "new.txt").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("allow", "statuses", "allowed"),
    [
        ("create", [201, 403, 405], "GET, HEAD, OPTIONS, PUT, POST, PATCH, MKCOL"),
        ("replace", [403, 204, 405], "GET, HEAD, OPTIONS, PUT, POST, PATCH"),
        ("delete", [405, 405, 204], "GET, HEAD, OPTIONS, DELETE"),
        ("create,replace", [201, 204, 405], "GET, HEAD, OPTIONS, PUT, POST, PATCH, MKCOL"),
    ],
)
def test_only_what_is_allowed(
    serve: Serve, connect: Connect, root: Path, allow: str, statuses: list[int], allowed: str
) -> None:
    client = connect(serve(root, allow=allow))
    answers = [
        put(client, "/new.txt", b"new"),
        put(client, "/file.txt", b"new"),
        delete(client, "/file.txt"),
    ]
    assert [answer.status for answer in answers] == statuses
    assert all(each.fields["allow"] == allowed for each in answers if each.status == 405)
    assert client.ask(request("OPTIONS", "/file.txt")).fields["allow"] == allowed


def test_what_changes_another_path_needs_the_right_to_replace(
    serve: Serve, connect: Connect, root: Path
) -> None:
    client = connect(serve(root, allow="create"))
    (root / "page.html").touch()
    for name in ("file.txt.gz", "page", "folder.html"):  # coded, or at the clean URL of another
        assert put(client, f"/{name}", b"new").status == 403, name
    for name in ("alone.gz", "page2", "new.html"):
        assert put(client, f"/{name}", b"new").status == 201, name


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_what_is_too_large_is_refused(
    serve: Serve, connect: Connect, root: Path, coded: bool
) -> None:
    client = connect(serve(root, allow="write", max_upload=1000))
    if coded:
        head = request("PUT", "/new.txt", "Transfer-Encoding: chunked")
        client.send_as_far_as_possible([head, chunked(bytes(1001))])
        answer = client.answer()
    else:
        answer = put(client, "/new.txt", bytes(1001))
    assert answer.status == 413
    assert put(connect(serve(root, allow="write")), "/new.txt", bytes(1001)).status == 201


def test_space_on_the_disk_is_kept_free(serve: Serve, connect: Connect, root: Path) -> None:
    client = connect(serve(root, allow="write", keep_free="1024G"))
    assert put(client, "/new.txt", b"new").status == 507
    assert client.ask(get("/file.txt")).content == b"old"


def test_of_many_that_replace_one_state_one_wins(
    serve: Serve, connect: Connect, root: Path
) -> None:
    """On two servers of the same folder, as if they were processes."""
    servers = [serve(root, allow="write") for _ in range(2)]
    tag = connect(servers[0]).ask(get("/file.txt")).fields["etag"]
    clients = [connect(servers[number % 2]) for number in range(50)]
    answers: list[tuple[int, int]] = []

    def replace(number: int) -> None:
        content = b"%d" % number * 30_000
        answers.append(
            (put(clients[number], "/file.txt", content, f"If-Match: {tag}").status, number)
        )

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for status, number in answers if status == 204]
    assert len(winners) == 1
    assert sorted(status for status, _ in answers) == [204] + [412] * 49
    assert (root / "file.txt").read_bytes() == b"%d" % winners[0] * 30_000


@pytest.mark.parametrize("sent", [0, 2, 2_000_000])
def test_a_client_that_vanishes_leaves_nothing(
    serve: Serve, connect: Connect, root: Path, sent: int
) -> None:
    server = serve(root, allow="write")
    before = files(root)
    client = connect(server)
    client.send(request("PUT", "/file.txt", "Content-Length: 3000000"), LARGE[:sent])
    client.vanish()
    other = connect(server)
    eventually(lambda: other.ask(get("/file.txt")).content == b"old")
    assert files(root) == before


def test_what_a_killed_process_left_is_removed(serve: Serve, root: Path) -> None:
    """But not what another process is writing at this moment."""
    (root / STAGING).mkdir()
    left, locked = root / STAGING / ".new-left", root / STAGING / ".new-locked"
    left.touch()
    with locked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        serve(root, allow="write")
        eventually(lambda: not left.exists())
        assert locked.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_writing_from_elsewhere_has_to_be_asked_for(root: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="--insecure-writes"):
        Server(root, host=host, allow="create")
    Server(root, host=host, allow="create", insecure_writes=True)
    Server(root, host=host)


def test_lan_is_elsewhere_and_a_single_file_is_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--insecure-writes"):
        check_writing(Config.of(lan=True, allows="create"))
    (tmp_path / "film.mp4").touch()
    with pytest.raises(ConfigError, match="not a single file"):
        Server(tmp_path / "film.mp4", allows="create")

"""Uploads by clients that lie or leave, into folders that others change, on disks that fail."""

from __future__ import annotations

import gzip
import os
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portico import Server
from portico.site.dotfiles import STAGING
from portico.site.origin.writable import WritableFolder
from tests.server.clients import Answer, Client, chunked, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import worker_of
from tests.server.uploading import FORM, delete, files, part, put

LARGE = os.urandom(1_000_000)
TUS = "Tus-Resumable: 1.0.0"
TUS_TYPE = "Content-Type: application/offset+octet-stream"
CONTINUE = "Expect: 100-continue"


@pytest.fixture
def server(serve: Serve, root: Path) -> Server:
    return serve(root, allow="write")


def form(name: str, content: bytes) -> bytes:
    return part(name, content) + b"--limit--\r\n"


def metadata(name: str) -> str:
    return f"Upload-Metadata: filename {b64encode(name.encode()).decode()}"


Rest = Callable[[], Answer]


def begun_put(client: Client, content: bytes) -> Rest:
    """Begin to replace /folder/file.txt; what is returned sends the content."""
    client.send(request("PUT", "/folder/file.txt", f"Content-Length: {len(content)}", CONTINUE))
    assert client.head()[0] == 100
    client.send(content[:-1])
    return lambda: client.ask(content[-1:])


def begun_form(client: Client, content: bytes) -> Rest:
    content = form("file.txt", content)
    length = f"Content-Length: {len(content)}"
    client.send(request("POST", "/folder/", FORM, length, CONTINUE))
    assert client.head()[0] == 100
    client.send(content[:-1])
    return lambda: client.ask(content[-1:])


def begun_tus(client: Client, content: bytes) -> Rest:
    length = f"Upload-Length: {len(content)}"
    answer = client.ask(request("POST", "/folder/", TUS, metadata("file.txt"), length))
    url = answer.fields["location"]
    length = f"Content-Length: {len(content)}"
    head = request("PATCH", url, TUS, TUS_TYPE, "Upload-Offset: 0", length)
    return lambda: client.ask(head + content)


DOORS = {"put": begun_put, "form": begun_form, "tus": begun_tus}


def swap_folder(root: Path, outside: Path) -> None:
    (root / "folder").rename(root.parent / "moved")
    (root / "folder").symlink_to(outside)


def swap_file(root: Path, outside: Path) -> None:
    (root / "folder" / "file.txt").unlink()
    (root / "folder" / "file.txt").symlink_to(outside / "file.txt")


def hang_file(root: Path, _outside: Path) -> None:
    (root / "folder" / "file.txt").unlink()
    (root / "folder" / "file.txt").symlink_to("nowhere")


def pipe(root: Path, _outside: Path) -> None:
    (root / "folder" / "file.txt").unlink()
    os.mkfifo(root / "folder" / "file.txt")


def make_folder(root: Path, _outside: Path) -> None:
    (root / "folder" / "file.txt").unlink()
    (root / "folder" / "file.txt").mkdir()


def make_file(root: Path, _outside: Path) -> None:
    (root / "folder").rename(root.parent / "moved")
    (root / "folder").write_bytes(b"in the way")


def replace_folder(root: Path, _outside: Path) -> None:
    (root / "folder").rename(root.parent / "moved")
    (root / "folder").mkdir()


def remove_folder(root: Path, _outside: Path) -> None:
    (root / "folder").rename(root.parent / "moved")


def link_hard(root: Path, outside: Path) -> None:
    (root / "folder" / "file.txt").unlink()
    os.link(outside / "file.txt", root / "folder" / "file.txt")


Swap = Callable[[Path, Path], None]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("content", [b"new", LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("swap", "statuses"),
    [
        (swap_folder, {403}),
        (swap_file, {403}),
        (hang_file, {403}),
        (pipe, {403}),
        (make_folder, {409}),
        (make_file, {409}),
        (replace_folder, {201, 204}),
        (remove_folder, {201, 204, 404}),
        (link_hard, {201, 204}),
    ],
)
def test_what_is_swapped_during_an_upload_gains_nothing(
    client: Client, root: Path, door: str, content: bytes, swap: Swap, statuses: set[int]
) -> None:
    """Neither outside the root, nor through another name of the file, is anything changed."""
    outside = root.parent / "outside"
    rest = DOORS[door](client, content)
    swap(root, outside)
    status = rest().status
    assert status in statuses
    assert files(outside) == {"file.txt": b"outside"}
    if status < 300:
        assert (root / "folder" / "file.txt").read_bytes() == content
    eventually(lambda: not list(root.rglob(".new-*")))


@pytest.mark.parametrize("kind", ["link", "file"])
def test_the_folder_of_what_is_being_written_is_no_way_out(
    client: Client, root: Path, kind: str
) -> None:
    staging, outside = root / STAGING, root.parent / "outside"
    if kind == "link":
        staging.symlink_to(outside)
    else:
        staging.write_bytes(b"")
    refused = 403 if kind == "link" else 409
    assert put(client, "/file.txt", b"new").status == refused
    answer = client.ask(request("POST", "/folder/", TUS, metadata("n"), "Upload-Length: 1"))
    assert answer.status == refused
    assert (root / "file.txt").read_bytes() == b"old"
    assert files(outside) == {"file.txt": b"outside"}


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        ".x",
        ".portico",
        "a\0b",
        "a\nb",
        "\u202ea",
        "x" * 256,
        "a:b",
        "dot.",
        "_headers/..",
    ],
)
def test_no_door_takes_a_name_that_is_not_served(client: Client, root: Path, name: str) -> None:
    before = files(root)
    assert client.ask(
        request("POST", "/folder/", TUS, metadata(name), "Upload-Length: 1")
    ).status in {400, 403}
    assert files(root) == before


@pytest.mark.parametrize(
    "disposition", ["filename*=UTF-8''%ff", "filename*=UTF-8''%ED%A0%80", 'filename="\xff"']
)
def test_a_name_that_is_no_text_is_refused(client: Client, disposition: str) -> None:
    line = f"Content-Disposition: attachment; {disposition}"
    assert client.ask(request("POST", "/folder/", "Upload-Complete: ?1", line)).status == 400


SHORT = [
    request("PUT", "/new.txt", "Content-Length: 3") + b"new",
    request("PUT", "/file.txt", "Transfer-Encoding: chunked", CONTINUE) + chunked(b"ne", b"w"),
    request("PUT", "/file.txt", "Content-Length: 3", "Upload-Complete: ?1") + b"new",
    request("POST", "/folder/", FORM, f"Content-Length: {len(form('a', b'new'))}")
    + form("a", b"new"),
]


@pytest.mark.parametrize("whole", SHORT, ids=["put", "chunked", "draft", "form"])
@pytest.mark.parametrize("resets", [True, False], ids=["resets", "says no more"])
def test_a_client_that_goes_at_any_octet_leaves_nothing(
    serve: Serve, connect: Connect, root: Path, whole: bytes, resets: bool
) -> None:
    server = serve(root, allow="write")
    before = files(root)
    for end in range(1, len(whole)):
        with Client(server.url) as client:
            client.send(whole[:end])
            if resets:
                client.vanish()
            else:
                client.half_close()
    uploads = worker_of(server)._resources.uploads
    eventually(lambda: worker_of(server).connections == 0)
    eventually(lambda: uploads._under_way == 0)
    left = {name: octets for name, octets in files(root).items() if STAGING not in name}
    assert left == before
    client = connect(server)
    client.send(whole)
    while (status := client.head()[0]) == 100:
        pass
    assert status in {201, 204}


@pytest.mark.parametrize("lines", [[], [CONTINUE]], ids=["", "expects"])
@pytest.mark.parametrize(("path", "status"), [("/.hidden", 403), ("/folder", 409)])
def test_who_goes_on_after_a_refusal_gets_the_answer(
    client: Client, lines: list[str], path: str, status: int
) -> None:
    client.send_as_far_as_possible(
        [request("PUT", path, f"Content-Length: {len(LARGE)}", *lines), LARGE]
    )
    assert client.answer().status == status


@pytest.mark.parametrize(
    ("method", "path", "lines", "content", "name"),
    [
        ("PUT", "/n", ["Content-Length: 0", CONTINUE], b"", "n"),
        ("PUT", "/n", ["Transfer-Encoding: chunked"], chunked(), "n"),
        ("PUT", "/n", ["Upload-Complete: ?1", "Content-Length: 0"], b"", "n"),
        ("POST", "/", [TUS, metadata("n"), "Upload-Length: 0", "Content-Length: 0"], b"", "n"),
        ("POST", "/", [FORM, f"Content-Length: {len(form('n', b''))}"], form("n", b""), "n"),
    ],
)
def test_an_empty_file_comes_by_every_door(
    client: Client, root: Path, method: str, path: str, lines: list[str], content: bytes, name: str
) -> None:
    client.send(request(method, path, *lines), *filter(None, [content]))
    if CONTINUE in lines:
        assert client.head()[0] == 100
    assert client.answer().status == 201
    assert (root / name).read_bytes() == b""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("content", [b"new", LARGE], ids=["small", "large"])
def test_a_server_that_stops_lets_go_of_what_is_under_way(
    root: Path, door: str, content: bytes
) -> None:
    with Server(root, allow="write", grace=0.05) as server, Client(server.url) as client:
        DOORS[door](client, content)
        server.stop()
    assert (root / "folder" / "file.txt").read_bytes() == b"old"
    eventually(lambda: not list(root.rglob(".new-*")))


def test_pipelined_requests_see_the_changes_before_them(client: Client, root: Path) -> None:
    for content in (b"one", LARGE, b"three"):
        length = f"Content-Length: {len(content)}"
        client.send(request("PUT", "/file.txt", length) + content + get("/file.txt") * 2)
        assert client.answer().status == 204
        for _ in range(2):
            assert client.answer().content == content
    client.send(request("DELETE", "/file.txt") + get("/file.txt"))
    assert [client.answer().status for _ in range(2)] == [204, 404]
    assert not (root / "file.txt").exists()


def test_a_file_that_is_replaced_is_whole_for_those_who_read_it(
    serve: Serve, connect: Connect, root: Path
) -> None:
    """50 have begun to read the old one, and get it to its end."""
    server = serve(root, allow="write")
    old, new = (bytes([number]) * (4 << 20) for number in (1, 2))
    (root / "file.bin").write_bytes(old)
    readers = [connect(server, receive_buffer=8192) for _ in range(50)]
    for reader in readers:
        reader.send(get("/file.bin"))
    heads = [reader.head() for reader in readers]
    assert put(connect(server), "/file.bin", new).status == 204
    for reader, (status, fields) in zip(readers, heads, strict=True):
        reader.hurry()
        assert (status, reader.content(fields)) == (200, old)
    assert connect(server).ask(get("/file.bin")).content == new


@pytest.mark.parametrize("call", ["append", "put", "put_octets"])
def test_a_fault_of_ours_stores_nothing_and_is_told(
    client: Client,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    call: str,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(call)

    monkeypatch.setattr(WritableFolder, call, fail)
    content = b"new" if call == "put_octets" else LARGE
    client.send_as_far_as_possible(
        [request("PUT", "/file.txt", f"Content-Length: {len(content)}"), content]
    )
    assert client.answer().status == 500
    assert f"ValueError: {call}" in capfd.readouterr().err
    assert (root / "file.txt").read_bytes() == b"old"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A file system of 2 MiB, mounted with further options."""
    root = tmp_path / "disk"
    root.mkdir()

    def mount(*options: str) -> Path:
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            ",".join(["size=2m", *options]),
            "tests",
            str(root),
        ]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        return root

    yield mount
    subprocess.run(["umount", "-l", root], capture_output=True, check=False)


def test_a_full_disk_loses_nothing(
    serve: Serve, connect: Connect, small_disk: Callable[..., Path]
) -> None:
    root = small_disk()
    for name, content in (("file.txt", b"old"), ("filling", bytes(1_200_000))):
        (root / name).write_bytes(content)
    server = serve(root, allow="write", keep_free=0)
    client = connect(server)
    late = "Upload-Defer-Length: 1"
    url = client.ask(request("POST", "/", TUS, metadata("n"), late)).fields["location"]
    coded = "Transfer-Encoding: chunked"
    for head, content in (
        (request("PUT", "/file.txt", coded), LARGE),
        (request("PUT", "/new/new.txt", f"Content-Length: {len(LARGE)}"), LARGE),
        (request("POST", "/", FORM, coded), form("file.txt", LARGE)),
        (request("PATCH", url, TUS, TUS_TYPE, "Upload-Offset: 0", coded), LARGE),
    ):
        with Client(server.url) as other:
            pieces = [content] if coded.encode() not in head else [chunked(content)]
            other.send_as_far_as_possible([head, *pieces])
            assert other.answer().status == 507
        assert client.ask(get("/file.txt")).content == b"old"
    offset = int(client.ask(request("HEAD", url, TUS), method="HEAD").fields["upload-offset"])
    assert 0 < offset < len(LARGE)
    assert delete(client, "/filling").status == 204
    lines = [TUS, TUS_TYPE, f"Upload-Offset: {offset}", f"Upload-Length: {len(LARGE)}"]
    rest = LARGE[offset:]
    answer = client.ask(request("PATCH", url, *lines, f"Content-Length: {len(rest)}") + rest)
    assert answer.status == 204
    assert (root / "n").read_bytes() == LARGE
    assert not list(root.rglob(".new-*"))


def test_a_disk_that_cannot_be_written_is_served(
    serve: Serve, connect: Connect, small_disk: Callable[..., Path]
) -> None:
    root = small_disk()
    (root / "file.txt").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", root], check=True)
    client = connect(serve(root, allow="write", keep_free=0))
    for answer in (
        put(client, "/file.txt", b"new"),
        put(client, "/new/", b""),
        put(client, "/new/new.txt", b"new"),
        delete(client, "/file.txt"),
        client.ask(request("POST", "/", TUS, metadata("n"), "Upload-Length: 1")),
    ):
        assert answer.status == 403
    assert client.ask(get("/file.txt")).content == b"old"


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("page.html", "/folder/page.html"),
        ("page.html", "/folder/page"),
        ("index.html", "/folder/"),
        ("404.html", "/folder/none"),
        ("a.svg", "/folder/a.svg"),
        ("b.html.gz", "/folder/b.html"),
    ],
)
def test_a_page_that_was_uploaded_runs_without_rights(
    serve: Serve, connect: Connect, root: Path, stored: str, asked: str
) -> None:
    """Whatever way leads to it."""
    access = ["/folder/* anonymous=read,create", "/* anonymous=read"]
    client = connect(serve(root, allow="create", access=access))
    page = gzip.compress(b"<p>") if stored.endswith(".gz") else b"<p>"
    assert put(client, f"/folder/{stored}", page).status == 201
    (root / "own.html").write_bytes(b"<p>")
    answer = client.ask(get(asked, "Accept: text/html", "Accept-Encoding: gzip"))
    assert answer.content == page
    assert answer.fields["content-security-policy"] == "sandbox"
    assert "content-security-policy" not in client.ask(get("/own.html")).fields


def test_a_form_needs_the_right_to_each_file(serve: Serve, connect: Connect, root: Path) -> None:
    """Not only to their folder."""
    access = ["/folder/file.txt users=replace", "/* anonymous=read,create,replace"]
    client = connect(serve(root, allow="write", access=access, users="/dev/null"))
    for name, status in (("file.txt", 409), ("other.txt", 201)):
        content = form(name, b"new")
        length = f"Content-Length: {len(content)}"
        assert client.ask(request("POST", "/folder/", FORM, length) + content).status == status
    assert (root / "folder" / "file.txt").read_bytes() == b"old"


def test_the_tag_of_a_compressed_copy_names_the_state_of_the_file(
    client: Client, root: Path
) -> None:
    """It is what a page's own script sees, whose requests accept gzip whether it asks or not."""
    (root / "page.html").write_bytes(b"<p>text</p>" * 1000)
    coded = get("/page.html", "Accept-Encoding: gzip")
    eventually(lambda: "content-encoding" in client.ask(coded).fields)
    tag = client.ask(coded).fields["etag"]
    plain = client.ask(get("/page.html", "Accept-Encoding: identity")).fields["etag"]
    assert tag != plain
    assert put(client, "/page.html", b"new", f"If-None-Match: {tag}").status == 412
    assert put(client, "/page.html", b"new", f'If-Match: "other", {tag}').status == 204
    assert put(client, "/page.html", b"newer", f"If-Match: {tag}").status == 412

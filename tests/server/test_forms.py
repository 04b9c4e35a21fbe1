"""POST of a form to a folder: its files are stored, all of them or none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from portico import Server
from portico.site.uploads import form
from tests.server.clients import Answer, Client, get, request
from tests.server.conftest import Connect, Serve
from tests.server.uploading import FORM, part

LARGE = bytes(range(256)) * 4000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "old.txt").write_bytes(b"old")
    return root


@pytest.fixture
def server(serve: Serve, root: Path) -> Server:
    return serve(root, allow="write")


def post(client: Client, *parts: bytes, path: str = "/folder/", accept: str = "*/*") -> Answer:
    content = b"".join(parts) + b"--limit--\r\n"
    return client.ask(
        request(
            "POST", path, f"Content-Length: {len(content)}", f"Accept: {accept}",
            FORM,
        ) + content
    )  # fmt: skip


def test_each_file_is_stored(client: Client, root: Path) -> None:
    answer = post(
        client, part("a.txt", b"a"), part(None, b"x"), part("b.bin", LARGE), part("", b"")
    )
    assert answer.status == 201
    told = json.loads(answer.content)["files"]
    assert [(each["name"], each["path"], each["size"]) for each in told] == [
        ("a.txt", "/folder/a.txt", 1),
        ("b.bin", "/folder/b.bin", len(LARGE)),
    ]
    for each in told:
        got = client.ask(get(each["path"]))
        assert got.fields["etag"] == each["etag"]
    assert (root / "folder" / "b.bin").read_bytes() == LARGE


def test_a_person_sees_the_folder_again(client: Client) -> None:
    answer = post(client, part("a.txt", b"a"), accept="text/html,*/*;q=0.8")
    assert (answer.status, answer.fields["location"]) == (303, "./")


@pytest.mark.parametrize(
    ("filename", "stored"),
    [
        ("C:\\\\dir\\\\name.txt", "name.txt"),
        ("../../name.txt", "name.txt"),
        ("/etc/name.txt", "name.txt"),
        ("e\u0301.txt", "\u00e9.txt"),
    ],
)
def test_only_the_last_name_of_a_path_counts(
    client: Client, root: Path, filename: str, stored: str
) -> None:
    assert post(client, part(filename, b"new")).status == 201
    assert sorted(path.name for path in (root / "folder").iterdir()) == sorted([stored, "old.txt"])


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([part("..", b"x")], 403),
        ([part(".hidden", b"x")], 403),
        ([part("a\tb", b"x")], 400),
        ([part("new.txt", b"x"), part("new.txt", b"y")], 409),
        ([part("x" * 300, b"x")], 400),
        ([b"--limit\r\nno header\r\n\r\nx\r\n"], 400),
        ([b"--limit\r\n" + b"A: b\r\n" * 20 + b"\r\nx\r\n"], 400),
        ([part(f"{number}.txt", b"") for number in range(form.MOST_FILES)], 413),
    ],
)
def test_what_is_refused_stores_nothing(
    client: Client, root: Path, parts: list[bytes], status: int
) -> None:
    assert post(client, part("first.txt", b"x"), *parts).status == status
    assert [path.name for path in (root / "folder").iterdir()] == ["old.txt"]


def test_all_or_none(serve: Serve, connect: Connect, root: Path) -> None:
    client = connect(serve(root, allow="create"))
    assert post(client, part("new.txt", b"new"), part("old.txt", b"new")).status == 409
    assert [path.name for path in (root / "folder").iterdir()] == ["old.txt"]
    client = connect(serve(root, allow="create,replace"))
    assert post(client, part("new.txt", b"new"), part("old.txt", b"new")).status == 201
    assert (root / "folder" / "old.txt").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/folder", "multipart/form-data; boundary=limit", 405),
        ("/none/", "multipart/form-data; boundary=limit", 404),
        ("/folder/old.txt/", "multipart/form-data; boundary=limit", 409),
        ("/folder/", "multipart/form-data", 400),
        ("/folder/", "application/json", 415),
    ],
)
def test_other_posts(client: Client, path: str, kind: str, status: int) -> None:
    content = part("a.txt", b"a") + b"--limit--\r\n"
    head = request("POST", path, f"Content-Length: {len(content)}", f"Content-Type: {kind}")
    assert client.ask(head + content).status == status


def test_the_end_of_the_form_is_missed(client: Client, root: Path) -> None:
    content = part("a.txt", b"a")
    head = request(
        "POST", "/folder/", f"Content-Length: {len(content)}",
        FORM,
    )  # fmt: skip
    assert client.ask(head + content).status == 400
    assert not (root / "folder" / "a.txt").exists()


def test_without_the_library(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "multipart", None)
    answer = post(client, part("a.txt", b"a"))
    assert answer.status == 501
    assert b"pip install" in answer.content

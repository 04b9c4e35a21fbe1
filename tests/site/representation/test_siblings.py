"""Precompressed siblings: which one a client gets, and which ones are no siblings at all."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import brotli
import pytest
import zstandard

from portico.site.origin.folder import Folder
from portico.site.origin.protocol import File, Found, Missing, Precompressed
from tests.site.asking import Client, age, content, fields, settle_all, vary
from tests.site.on_disk import no_waiting
from tests.unprivileged import public_folder, unprivileged

PLAIN = b"<p>plain"
CODED = {
    "br": brotli.compress(PLAIN),
    "zstd": zstandard.compress(PLAIN),
    "gzip": gzip.compress(PLAIN, mtime=0),
}
SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}


def put(root: Path, name: str, *codings: str, plain: bytes | None = PLAIN) -> None:
    """A file with coded siblings, all of one date."""
    if plain is not None:
        (root / name).write_bytes(plain)
        age(root / name)
    for coding in codings:
        (root / (name + SUFFIXES[coding])).write_bytes(CODED[coding])
        age(root / (name + SUFFIXES[coding]))


@pytest.fixture
def client(tmp_path: Path) -> Client:
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    put(root, "page.html", "br", "zstd", "gzip")
    put(root, "gzip.css", "gzip")
    put(root, "alone.js")
    put(root, "only.js", "br", "gzip", plain=None)
    put(root / "folder", "index.html", "br", "gzip", plain=None)
    return Client(root)


def chosen(client: Client, path: str, accept: str | None) -> str | int:
    """The coding of the answer, or its status when there is none."""
    lines = () if accept is None else (f"Accept-Encoding: {accept}",)
    response = client.ask(path, *lines)
    if response.status != 200:
        return response.status
    coding = fields(response).get("Content-Encoding", "identity")
    assert content(response) == CODED.get(coding, PLAIN)
    assert fields(response)["Content-Length"] == str(len(content(response)))
    return coding


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, "identity"),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1, br;q=0.9", "gzip"),
        ("br;q=0, *", "zstd"),
        ("deflate, compress", "identity"),
        ("identity;q=0, compress", 406),
        ("*;q=0", 406),
    ],
)
def test_the_clients_qualities_decide(client: Client, accept: str | None, coding: str) -> None:
    assert chosen(client, "/page.html", accept) == coding


@pytest.mark.parametrize("path", ["/only.js", "/folder/"])
@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("br", "br"),
        ("gzip, br;q=0.5", "gzip"),
        ("*", "br"),
        (None, "br"),
        ("zstd, gzip", "gzip"),
        ("identity;q=0, br", "br"),
        ("identity", 406),
        ("zstd", 406),
        ("*;q=0", 406),
        ("", 406),
    ],
)
def test_what_lies_there_in_coded_form_only(
    client: Client, path: str, accept: str | None, coding: str | int
) -> None:
    assert chosen(client, path, accept) == coding
    response = client.ask(path, *(() if accept is None else (f"Accept-Encoding: {accept}",)))
    assert "accept-encoding" in vary(response)
    if coding != 406:
        kind = "text/javascript" if path == "/only.js" else "text/html"
        assert fields(response)["Content-Type"] == f"{kind}; charset=utf-8"


def test_where_nothing_is_coded_nothing_varies_but_refusals_count(client: Client) -> None:
    assert vary(client.ask("/alone.js", "Accept-Encoding: br")) == set()
    refused = client.ask("/alone.js", "Accept-Encoding: identity;q=0")
    assert refused.status == 406
    assert "accept-encoding" in vary(refused)


@pytest.mark.parametrize("path", ["/page.html", "/gzip.css", "/only.js", "/folder/"])
def test_every_answer_of_a_resource_with_codings_varies(client: Client, path: str) -> None:
    for accept in ("gzip", "br", "identity", "zstd", "*;q=0"):
        line = f"Accept-Encoding: {accept}"
        whole = client.ask(path, line)
        assert "accept-encoding" in vary(whole)
        if whole.status == 200:
            tag = fields(whole)["ETag"]
            unchanged = client.ask(path, line, f"If-None-Match: {tag}")
            assert (unchanged.status, vary(unchanged)) == (304, {"accept-encoding"})
            part = client.ask(path, line, "Range: bytes=1-2")
            assert (part.status, vary(part)) == (206, {"accept-encoding"})


def test_each_coding_has_a_tag_of_its_own(client: Client) -> None:
    tags = {
        fields(client.ask("/page.html", f"Accept-Encoding: {coding}"))["ETag"]
        for coding in ("identity", "br", "zstd", "gzip")
    }
    assert len(tags) == 4


def test_sibling_itself_can_be_asked_for(client: Client) -> None:
    response = client.ask("/page.html.gz", "Accept-Encoding: gzip")
    assert content(response) == CODED["gzip"]
    assert fields(response)["Content-Type"] == "application/gzip"
    assert not {"Content-Encoding", "Vary"} & fields(response).keys()


def test_sibling_of_a_sibling_is_not_looked_for(client: Client) -> None:
    (client.root / "page.html.gz.br").write_bytes(b"twice")
    assert "Content-Encoding" not in fields(client.ask("/page.html.gz", "Accept-Encoding: br"))


def test_stale_sibling_is_ignored(client: Client) -> None:
    age(client.root / "page.html", 1_500_000_000)
    for accept in ("br", "gzip", "*"):
        assert chosen(client, "/page.html", accept) == "identity"
    assert chosen(client, "/page.html", "gzip, identity;q=0") == 406
    age(client.root / "page.html.gz", 1_500_000_000)  # as old as the page is not stale
    assert chosen(client, "/page.html", "br, gzip") == "gzip"
    age(client.root / "page.html.br", 1_600_000_000)
    assert chosen(client, "/page.html", "br, gzip") == "br"


def test_sibling_that_is_stale_by_a_nanosecond_is_stale(client: Client) -> None:
    os.utime(client.root / "gzip.css", ns=(0, 10**18 + 1))
    os.utime(client.root / "gzip.css.gz", ns=(0, 10**18))
    assert chosen(client, "/gzip.css", "gzip") == "identity"


@pytest.mark.parametrize("kind", ["folder", "fifo", "to nowhere", "to itself", "out"])
def test_sibling_that_is_no_file_of_ours_is_none(client: Client, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("alone.js", "none.js"):
        sibling = client.root / f"{name}.br"
        if kind == "folder":
            sibling.mkdir()
        elif kind == "fifo":
            os.mkfifo(sibling)
        elif kind == "to nowhere":
            sibling.symlink_to("nowhere")
        elif kind == "to itself":
            sibling.symlink_to(sibling.name)
        else:
            sibling.symlink_to(tmp_path / "secret")
    with no_waiting():
        assert chosen(client, "/alone.js", "br") == "identity"
        assert chosen(client, "/alone.js", "br, identity;q=0") == 406
        assert chosen(client, "/none.js", "br") == 404
        assert chosen(client, "/none.js", "identity") == 404


def test_sibling_in_a_folder_outside_tells_nothing(client: Client, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    put(tmp_path / "outside", "page.html", "br", plain=None)
    (client.root / "out").symlink_to(tmp_path / "outside")
    for accept in ("br", "gzip", "identity"):
        assert chosen(client, "/out/page.html", accept) == 404
        assert chosen(client, "/out/none.html", accept) == 404


def test_next_best_is_sent_where_the_best_leads_out(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (client.root / "gzip.css.br").symlink_to(tmp_path / "secret")
    assert chosen(client, "/gzip.css", "br, gzip;q=0.5") == "gzip"
    (client.root / "only.js.br").unlink()
    (client.root / "only.js.br").symlink_to(tmp_path / "secret")
    assert chosen(client, "/only.js", "br, gzip;q=0.5") == "gzip"


def test_sibling_behind_a_link_within_the_root_is_one(client: Client) -> None:
    (client.root / "alone.js.br").symlink_to("page.html.br")
    assert chosen(client, "/alone.js", "br") == "br"


def test_sibling_lies_beside_the_name_that_was_asked_for(client: Client) -> None:
    (client.root / "folder" / "link.html").symlink_to("../page.html")
    assert chosen(client, "/folder/link.html", "br") == "identity"
    put(client.root / "folder", "link.html", "gzip", plain=None)
    assert chosen(client, "/folder/link.html", "br, gzip") == "gzip"


@pytest.mark.parametrize(
    ("coding", "octets", "fault"),
    [
        *[(coding, b"", "empty") for coding in SUFFIXES],
        *[(coding, PLAIN, "original|format") for coding in SUFFIXES],
        ("gzip", CODED["zstd"], "format"),
        ("zstd", CODED["gzip"], "format"),
        ("br", CODED["gzip"], "format"),
        ("gzip", gzip.compress(PLAIN + b"more", mtime=0), "another length"),
        ("gzip", CODED["gzip"][:-1], "another length"),
    ],
)
def test_sibling_that_is_not_what_its_name_says_is_reported_once_and_not_sent(
    client: Client, coding: str, octets: bytes, fault: str
) -> None:
    (client.root / ("alone.js" + SUFFIXES[coding])).write_bytes(octets)
    for _ in range(2):
        assert chosen(client, "/alone.js", coding) == "identity"
        assert chosen(client, "/alone.js", f"{coding}, identity;q=0") == 406
    [report] = client.reports
    assert report.startswith(f"'alone.js{SUFFIXES[coding]}'")
    assert re.search(fault, report)
    (client.root / ("alone.js" + SUFFIXES[coding])).write_bytes(CODED[coding])
    assert chosen(client, "/alone.js", coding) == coding


@pytest.mark.parametrize("octets", [b"", PLAIN, CODED["zstd"]])
def test_file_that_is_only_there_in_a_coding_that_it_is_not_in_is_missing(
    client: Client, octets: bytes
) -> None:
    (client.root / "none.js.gz").write_bytes(octets)
    assert chosen(client, "/none.js", "gzip") == 404
    assert "none.js.gz" in client.reports[0]


def test_hidden_file_has_no_sibling_to_show(client: Client) -> None:
    put(client.root, ".env", "gzip")
    put(client.root, ".only", "gzip", plain=None)
    (client.root / ".git").mkdir()
    put(client.root / ".git", "config", "gzip", plain=None)
    for path in ("/.env", "/.env.gz", "/.only", "/.only.gz", "/.git/config", "/.git/config.gz"):
        assert chosen(client, path, "gzip") == 404


def test_sibling_that_may_not_be_read_is_passed_over() -> None:
    with public_folder() as root:
        put(root, "page.html", "br", "gzip")
        (root / "page.html.br").chmod(0)
        with unprivileged():
            client = Client(root)
            assert chosen(client, "/page.html", "br, gzip") == "gzip"
            assert chosen(client, "/page.html", "br") == "identity"


# What the folder itself says


def look(folder: Folder, name: str) -> Found:
    folder.freshness.begin_round()
    return folder.look_up((name,))


def test_folder_tells_the_codings_in_our_order(client: Client) -> None:
    found = look(client.folder, "page.html")
    assert isinstance(found, File)
    assert found.codings == ("br", "zstd", "gzip")
    assert found.names == ("page.html",)
    only = look(client.folder, "only.js")
    assert isinstance(only, Precompressed)
    assert (only.name, only.names, only.codings) == ("only.js", ("only.js",), ("br", "gzip"))
    index = client.folder.look_up(("folder", ""))
    assert isinstance(index, Precompressed)
    assert index.names == ("folder", "index.html")
    assert isinstance(look(client.folder, "none"), Missing)
    assert isinstance(look(client.folder, "only"), Missing)


def test_known_file_is_looked_at_again_when_a_sibling_comes(client: Client) -> None:
    settle_all(client.root)
    first = look(client.folder, "alone.js")
    assert look(client.folder, "alone.js") is first
    put(client.root, "alone.js", "gzip", plain=None)
    second = look(client.folder, "alone.js")
    assert isinstance(first, File)
    assert isinstance(second, File)
    assert (first.codings, second.codings) == ((), ("gzip",))
    assert second.content == first.content


def test_refusals_of_a_coded_file_vary_by_the_same(client: Client) -> None:
    for line in ("Range: bytes=1000-1010", 'If-Match: "x"'):
        refusal = client.ask("/page.html", "Accept-Encoding: gzip", line)
        assert refusal.status in {412, 416}
        assert vary(refusal) == {"accept", "accept-encoding"}

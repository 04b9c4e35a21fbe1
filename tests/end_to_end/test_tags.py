"""One entity tag for one state of a file: at once and later, after a restart, on every worker.

Programs that read parts of a file compare its tag each time, and give up where it differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portico.site.origin.etags import sha256, tag_of, tag_of_large
from tests.end_to_end.serving import settle
from tests.server.clients import Client, get, request
from tests.server.processes.supervised import Supervised, needs_proc

SIZES = {"of 100 KB": 100_000, "of 5 MB": 5 << 20, "of 20 MB": 20 << 20}
DAY = 86_400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    return root


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def content(request: pytest.FixtureRequest) -> bytes:
    size: int = request.param
    return os.urandom(size)


@contextmanager
def serving(root: Path, *options: str) -> Iterator[Supervised]:
    with Supervised(root.parent, str(root), "--port", "0", *options) as server:
        yield server.start()
        assert server.end() == 0, server.said


def tag(server: Supervised, path: str = "/file", method: str = "HEAD") -> str:
    with Client(server.url) as client:
        return client.ask(request(method, path), method=method).fields["etag"]


def test_it_is_the_same_at_once_and_once_it_has_settled(root: Path, content: bytes) -> None:
    with serving(root) as server:
        (root / "file").write_bytes(content)
        first = tag(server)
        assert tag(server, method="GET") == first
        settle(root / "file")
        assert tag(server) == first
        with Client(server.url) as client:  # and while the reply is kept
            again = {client.ask(get("/file")).fields["etag"] for _ in range(5)}
        assert again == {first}


def test_it_is_the_same_after_a_restart(root: Path, content: bytes) -> None:
    (root / "file").write_bytes(content)
    with serving(root) as server:
        first = tag(server)
    with serving(root) as server:
        assert tag(server) == first
    with serving(root, "--workers", "2") as server:
        assert tag(server) == first
        server.reload()
        assert tag(server) == first


def test_it_is_the_same_on_every_worker(root: Path, content: bytes) -> None:
    (root / "file").write_bytes(content)
    with serving(root, "--workers", "2") as server:
        clients = [Client(server.url) for _ in range(20)]
        for client in clients:
            client.send(request("HEAD", "/file"))
        tags = {client.answer("HEAD").fields["etag"] for client in clients}
        for client in clients:
            client.close()
        assert len(tags) == 1


def test_a_download_goes_on_after_a_restart(root: Path, content: bytes) -> None:
    (root / "file").write_bytes(content)
    half = len(content) // 2
    with serving(root) as server, Client(server.url) as client:
        answer = client.ask(get("/file", f"Range: bytes=0-{half - 1}"))
        assert (answer.status, answer.content) == (206, content[:half])
    condition = f"If-Range: {answer.fields['etag']}"
    with serving(root) as server, Client(server.url) as client:
        answer = client.ask(get("/file", f"Range: bytes={half}-", condition))
        assert (answer.status, answer.content) == (206, content[half:])


def test_replicas_agree(root: Path, content: bytes, tmp_path: Path) -> None:
    """Whatever the date is, up to a size; above, where it is preserved."""
    other = tmp_path / "replica" / "site"
    other.mkdir(parents=True)
    for folder, mtime in ((root, DAY), (other, 2 * DAY)):
        (folder / "file").write_bytes(content)
        os.utime(folder / "file", (mtime, mtime))
    with serving(root) as server, serving(other) as replica:
        is_hashed = len(content) <= 8 << 20
        assert (tag(server) == tag(replica)) is is_hashed
        os.utime(other / "file", (DAY, DAY))
        assert tag(server) == tag(replica)


def test_another_content_has_another_tag(root: Path, content: bytes) -> None:
    (root / "file").write_bytes(content)
    with serving(root) as server:
        tags = {tag(server)}
        (root / "file").write_bytes(content[::-1])  # perhaps within one tick of the clock
        settle(root / "file")
        tags.add(tag(server))
        with Client(server.url) as client:
            condition = f"If-Range: {min(tags)}", f"If-Match: {min(tags)}"
            client.send(get("/file", *condition))
            assert client.answer().status in {200, 412}
        assert len(tags) == 2


def test_where_it_comes_from(root: Path, content: bytes) -> None:
    (root / "file").write_bytes(content)
    with serving(root) as server:
        is_hashed = len(content) <= 8 << 20
        expected = tag_of(sha256(content)) if is_hashed else tag_of_large((root / "file").stat())
        assert tag(server) == expected


@needs_proc
def test_what_is_too_large_to_be_hashed_costs_no_time(root: Path) -> None:
    """At most 0.1 s of a processor for 20 GB."""
    size = 20 << 30
    with (root / "file").open("wb") as file:
        file.truncate(size)
        file.seek(size - 10)
        file.write(b"0123456789")
    with serving(root) as server, Client(server.url) as client:
        client.ask(get("/none"))  # so that all code is loaded
        before = processor_time(server)
        answer = client.ask(request("HEAD", "/file"), method="HEAD")
        assert answer.fields["content-length"] == f"{size}"
        etag = answer.fields["etag"]
        for lines in ((), (f"If-Range: {etag}",), (f"If-Match: {etag}",)):
            answer = client.ask(get("/file", f"Range: bytes={size - 10}-{size - 6}", *lines))
            assert (answer.status, answer.content) == (206, b"01234")
            assert answer.fields["etag"] == etag
        assert processor_time(server) - before <= 0.1


def processor_time(server: Supervised) -> float:
    """Seconds that its processes have used."""
    ticks = 0
    for pid in (server.popen.pid, *server.workers):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_program_that_compares_the_tag_with_each_part(root: Path, content: bytes) -> None:
    """What DuckDB does: HEAD, then parts over several connections, and each has the same tag."""
    (root / "file").write_bytes(content)
    with serving(root, "--workers", "2") as server:
        for _ in range(2):
            with Client(server.url) as client:
                head = client.ask(request("HEAD", "/file"), method="HEAD").fields
            assert head["accept-ranges"] == "bytes"
            size, read = int(head["content-length"]), []
            for start in range(0, size, 1 << 20):
                with Client(server.url) as client:
                    end = min(start + (1 << 20), size) - 1
                    answer = client.ask(get("/file", f"Range: bytes={start}-{end}"))
                assert answer.status == 206
                assert answer.fields["etag"] == head["etag"]
                assert answer.fields["last-modified"] == head["last-modified"]
                read.append(answer.content)
            assert b"".join(read) == content
            settle(root / "file")


def test_duckdb_reads_a_database(root: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    package = pytest.importorskip("duckdb_extension_httpfs")
    httpfs = next(Path(package.__file__).parent.glob("**/httpfs.duckdb_extension"))
    with duckdb.connect(root / "file.db") as made:
        made.execute(
            "CREATE TABLE t AS SELECT range AS n, md5(range::text) AS s FROM range(2000000)"
        )
    assert (root / "file.db").stat().st_size > 28_000_000
    with duckdb.connect() as reader, serving(root, "--workers", "2") as server:
        reader.execute(f"LOAD '{httpfs}'")
        reader.execute(f"ATTACH '{server.url}file.db' AS far (READ_ONLY)")
        for columns in ("count(s)", "sum(n), max(s)"):
            found = reader.execute(f"SELECT {columns} FROM far.t WHERE s > '8'").fetchone()
            assert found[0] > 0
            settle(root / "file.db")

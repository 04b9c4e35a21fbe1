"""Sites on a file system that is slow, hangs or dies: all is answered, and what is local at once.

Beside a request that waits, another is answered while the first still waits: no test measures time.
"""

from __future__ import annotations

import errno
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.serving import settle
from tests.end_to_end.slow_mount import SlowMount
from tests.server.clients import Answer, Client, eventually, get
from tests.server.processes.supervised import Supervised

PATIENCE = 60
SMALL = b"a small file"
MIDDLE = os.urandom(300_000)
LARGE = os.urandom(10 << 20)
RULES = "/old /small.txt 302\n"


def fill(root: Path) -> None:
    (root / "folder").mkdir()
    (root / "small.txt").write_bytes(SMALL)
    (root / "middle.bin").write_bytes(MIDDLE)
    (root / "large.bin").write_bytes(LARGE)
    (root / "folder" / "inside.txt").write_bytes(SMALL)
    (root / "folder" / "other.txt").write_bytes(SMALL)
    (root / "_redirects").write_text(RULES)
    settle(*root.rglob("*"))


@pytest.fixture
def slow_site(slow_mount: SlowMount) -> SlowMount:
    """A site of which every part lies on the slow file system."""
    fill(slow_mount.source)
    return slow_mount


@pytest.fixture
def mixed_site(slow_mount: SlowMount, tmp_path: Path) -> Iterator[tuple[Path, SlowMount]]:
    """A local site with a folder in it, `far`, that is a slow file system of its own."""
    root = tmp_path / "mixed"
    (root / "far").mkdir(parents=True)
    fill(root)
    (slow_mount.source / "distant.txt").write_bytes(SMALL)
    settle(slow_mount.source / "distant.txt")
    with SlowMount(slow_mount.source, root / "far") as mount:
        yield root, mount


@contextmanager
def serving(root: Path, folder: Path, *options: str) -> Iterator[Supervised]:
    """The command, which ends by SIGTERM, and has said nothing that it should not."""
    place = folder / "serving"
    place.mkdir()
    with Supervised(place, str(root), "--port", "0", *options) as server:
        eventually_serves(server)
        yield server
        is_stopped = "Stopped" in server.said
        assert server.end(None if is_stopped else signal.SIGTERM) == 0, server.said
        assert "Exception" not in server.said, server.said


def eventually_serves(server: Supervised) -> None:
    """Wait until it serves, which may take longer than it ever does on a local disk."""
    end = time.monotonic() + PATIENCE
    while "Press Ctrl+C" not in server.said:
        assert server.popen.poll() is None, server.said
        assert time.monotonic() < end
        time.sleep(0.01)


def stop(server: Supervised) -> None:
    """Have it stop, while the disk still hangs."""
    server.send(signal.SIGTERM)
    server.hears("Stopped after")
    assert not server.accepts()


def ask(server: Supervised, path: str, *lines: str) -> Answer:
    with Client(server.url) as client:
        client.socket.settimeout(PATIENCE)
        return client.ask(get(path, *lines))


class Case(NamedTuple):
    """A request, the status of the response, and what its content has to have in it."""

    path: str
    lines: tuple[str, ...]
    status: int
    content: bytes


CASES = (
    Case("/small.txt", (), 200, SMALL),
    Case("/small.txt", ("Range: bytes=2-4",), 206, SMALL[2:5]),
    Case("/middle.bin", (), 200, MIDDLE),
    Case("/middle.bin", ("Range: bytes=200000-200010",), 206, MIDDLE[200_000:200_011]),
    Case("/middle.bin", ("Range: bytes=10-20,100000-100010",), 206, MIDDLE[100_000:100_011]),
    Case("/large.bin", (), 200, LARGE),
    Case("/none", (), 404, b""),
    Case("/folder/none", (), 404, b""),
    Case("/nowhere/none", (), 404, b""),
    Case("/folder/", (), 200, b"inside.txt"),
    Case("/folder", (), 301, b""),
    Case("/old", (), 302, b""),
)


def assert_all_is_answered(server: Supervised) -> None:
    """Ask for everything at once."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        answers = [pool.submit(ask, server, case.path, *case.lines) for case in CASES]
        for case, answer in zip(CASES, answers, strict=True):
            status, _fields, content = answer.result()
            assert status == case.status, case
            assert content == case.content or (len(content) < 20_000 and case.content in content), (
                case[:3]
            )


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_site_on_a_slow_disk_is_served(
    slow_site: SlowMount, tmp_path: Path, seconds: float
) -> None:
    slow_site.delay(seconds)
    with serving(slow_site.path, tmp_path, "--send-timeout", "60") as server:
        assert_all_is_answered(server)
        assert_all_is_answered(server)


def test_a_site_on_a_disk_of_a_second_is_served(slow_site: SlowMount, tmp_path: Path) -> None:
    slow_site.delay(1, "open", "read", "opendir", "readdir")
    with serving(slow_site.path, tmp_path, "--send-timeout", "60") as server:
        cases = [case for case in CASES if case.path != "/large.bin"]
        with ThreadPoolExecutor(len(cases)) as pool:
            answers = [pool.submit(ask, server, case.path, *case.lines) for case in cases]
            assert [one.result().status for one in answers] == [case.status for case in cases]


def test_a_change_shows_in_the_next_answer(slow_site: SlowMount, tmp_path: Path) -> None:
    with serving(slow_site.path, tmp_path) as server:
        assert ask(server, "/small.txt").content == SMALL
        (slow_site.source / "small.txt").write_bytes(b"changed")
        assert ask(server, "/small.txt").content == b"changed"
        assert ask(server, "/new").status == 404
        (slow_site.source / "_redirects").write_text("/new /small.txt 303\n")
        assert ask(server, "/new").status == 303
        (slow_site.source / "_redirects").unlink()
        (slow_site.source / "new.html").write_bytes(b"page")
        assert ask(server, "/new").content == b"page"
        coded = gzip.compress(b"page")
        (slow_site.source / "new.html.gz").write_bytes(coded)
        answer = ask(server, "/new", "Accept-Encoding: gzip")
        assert answer.fields["content-encoding"] == "gzip"
        (slow_site.source / "new.html").unlink()
        assert ask(server, "/new", "Accept-Encoding: gzip").content == coded
        answer = ask(server, "/new.html", "Accept-Encoding: identity;q=0, gzip")
        assert answer.content == coded


def test_a_folder_of_many_names_is_not_read_to_find_siblings(
    slow_site: SlowMount, tmp_path: Path
) -> None:
    for number in range(1000):
        (slow_site.source / "folder" / f"{number}.txt").touch()
    coded = gzip.compress((slow_site.source / "folder" / "inside.txt").read_bytes())
    (slow_site.source / "folder" / "inside.txt.gz").write_bytes(coded)
    with serving(slow_site.path, tmp_path) as server:
        answer = ask(server, "/folder/inside.txt", "Accept-Encoding: gzip")
        assert answer.content == coded
        assert answer.fields["content-encoding"] == "gzip"
        assert ask(server, "/folder/none").status == 404
        assert b"1,003 files" in ask(server, "/folder/").content


@pytest.mark.parametrize(
    ("path", "status", "most"),
    [("/small.txt", 200, 26), ("/none", 404, 22), ("/folder/none", 404, 40), ("/folder/", 200, 46)],
)
def test_few_questions_are_asked(
    slow_mount: SlowMount, tmp_path: Path, path: str, status: int, most: int
) -> None:
    """A bound of the design, with room for what the kernel asks again when it is late.

    For the listing of /folder/ that includes /folder.html, which would come before it.
    """
    fill(slow_mount.source)
    (slow_mount.source / "_redirects").unlink()
    with serving(slow_mount.path, tmp_path) as server:
        ask(server, "/small.txt")
        # Without a delay the kernel may answer what it was asked within the same tick.
        slow_mount.delay(0.02)
        slow_mount.asked()
        assert ask(server, path).status == status
        asked = slow_mount.asked()
        assert asked.total() <= most, asked


def test_what_hangs_is_answered_when_its_time_is_over(slow_site: SlowMount, tmp_path: Path) -> None:
    with serving(slow_site.path, tmp_path, "--send-timeout", "1", "--health", "/health") as server:
        assert ask(server, "/small.txt").status == 200
        slow_site.hang()
        for path in ("/small.txt", "/none", "/folder/"):
            assert ask(server, path).status == 503
        assert ask(server, "/health").status == 200
        assert slow_site.hanging()
        slow_site.release()
        eventually(lambda: ask(server, "/small.txt").status == 200)
        slow_site.hang()
        assert ask(server, "/small.txt").status == 503
        stop(server)
        # The kernel ends no thread that waits for a file system in user space.
        slow_site.release()


def test_a_file_that_hangs_while_it_is_sent_is_cut(slow_site: SlowMount, tmp_path: Path) -> None:
    with serving(slow_site.path, tmp_path, "--send-timeout", "1") as server:
        with Client(server.url, receive_buffer=65536) as client:
            client.send(get("/large.bin"))
            status, _ = client.head()
            assert status == 200
            slow_site.hang("read")
            assert len(client.until_end()) < len(LARGE)
        slow_site.release()
        assert ask(server, "/large.bin").content == LARGE


def test_an_error_of_the_disk_in_the_middle_of_a_response_cuts_it(
    slow_site: SlowMount, tmp_path: Path
) -> None:
    with serving(slow_site.path, tmp_path) as server:
        with Client(server.url, receive_buffer=65536) as client:
            client.send(get("/large.bin"))
            assert client.head()[0] == 200
            slow_site.fail(errno.EIO, "read")
            assert len(client.until_end()) < len(LARGE)
        server.hears("portico: a response was cut short: Input/output error")
        slow_site.release()
        assert ask(server, "/large.bin").content == LARGE


def test_a_file_system_that_dies_is_answered_for(slow_site: SlowMount, tmp_path: Path) -> None:
    with serving(slow_site.path, tmp_path, "--send-timeout", "5") as server:
        with Client(server.url, receive_buffer=65536) as client:
            client.send(get("/large.bin"))
            assert client.head()[0] == 200
            slow_site.kill()
            assert len(client.until_end()) < len(LARGE)
        for case in CASES:
            assert ask(server, case.path, *case.lines).status == 503, case[:2]


def test_what_dies_while_it_hangs_is_answered(slow_site: SlowMount, tmp_path: Path) -> None:
    with (
        serving(slow_site.path, tmp_path) as server,
        Client(server.url) as client,
    ):
        slow_site.hang()
        client.send(get("/small.txt"))
        eventually(slow_site.hanging)
        slow_site.kill()
        assert client.answer().status == 503


@pytest.mark.parametrize("kinds", [(), ("read",)], ids=["all", "read"])
@pytest.mark.parametrize("ends", ["released", "dead", "over"])
def test_local_files_are_answered_while_others_wait(
    mixed_site: tuple[Path, SlowMount], tmp_path: Path, kinds: tuple[str, ...], ends: str
) -> None:
    root, mount = mixed_site
    seconds = "2" if ends == "over" else "60"
    with serving(root, tmp_path, "--send-timeout", seconds) as server, ExitStack() as stack:
        assert ask(server, "/far/distant.txt").content == SMALL
        mount.hang(*kinds)
        waiting = [stack.enter_context(Client(server.url)) for _ in range(12)]
        for client in waiting:
            client.send(get("/far/distant.txt"))
        eventually(mount.hanging)
        for case in CASES:
            if ends != "over":  # else it may be over before all are asked
                assert ask(server, case.path, *case.lines).status == case.status
                assert not any(client.received for client in waiting)
        if ends == "released":
            mount.release()
        elif ends == "dead":
            mount.kill()
        answers = [client.answer() for client in waiting]
        assert {one.status for one in answers} == {200 if ends == "released" else 503}
        assert ask(server, "/small.txt").content == SMALL
        if ends == "over":
            stop(server)
            mount.release()


def test_those_who_go_take_their_work_with_them(
    mixed_site: tuple[Path, SlowMount], tmp_path: Path
) -> None:
    """So that what is asked of the disk when it works again is only what is still wanted."""
    root, mount = mixed_site
    with serving(root, tmp_path, "--send-timeout", "60") as server:
        assert ask(server, "/far/distant.txt").status == 200
        mount.hang()
        for _ in range(100):
            with Client(server.url) as client:
                client.send(get("/far/distant.txt"))
                client.vanish()
        eventually(mount.hanging)
        assert ask(server, "/small.txt").status == 200
        with Client(server.url) as client:
            client.send(get("/far/distant.txt"))
            assert ask(server, "/small.txt").status == 200
            mount.asked()
            mount.release()
            assert client.answer().content == SMALL
        assert mount.asked()["open"] <= 9  # eight were under way


@pytest.mark.parametrize("is_local", [False, True])
def test_a_hidden_file_has_no_other_name(
    slow_site: SlowMount, tmp_path: Path, is_local: bool
) -> None:
    """As on disks of Windows, GIT~1 is .git there: a name counts only if the folder lists it."""
    root = slow_site.source if is_local else slow_site.path
    for name in (".git/config", "_headers", "own~1.txt", "own."):
        (slow_site.source / name).parent.mkdir(exist_ok=True)
        (slow_site.source / name).write_bytes(SMALL)
    assert is_local or (root / "GIT~1" / "config").exists()
    with serving(root, tmp_path) as server:
        for path in ("/GIT~1/config", "/GIT~1/", "/GIT~1", "/_HEADE~1"):
            assert ask(server, path).status == 404
        for path in ("/own~1.txt", "/own."):
            assert ask(server, path).content == SMALL


@pytest.mark.parametrize("seconds", [0, 0.05])
@pytest.mark.parametrize(
    ("path", "shown"),
    [("/small.txt", "200 OK"), ("/none", "404 Not Found"), ("/folder/", "200 OK"), ("/old", "302")],
)
def test_explain_tells_of_a_slow_disk(
    slow_site: SlowMount, seconds: float, path: str, shown: str
) -> None:
    slow_site.delay(seconds)
    result = explain(slow_site, path)
    assert shown in result.stdout
    assert result.stderr == ""


def test_explain_tells_of_a_dead_disk(slow_site: SlowMount) -> None:
    slow_site.kill()
    result = explain(slow_site, "/small.txt")
    assert result.returncode != 0
    assert result.stderr.startswith("portico: ")
    assert "Traceback" not in result.stderr


def explain(mount: SlowMount, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portico", "explain", path, str(mount.path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

"""`--health PATH`: 200 while the server serves, 503 once it has been told to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from portico import Server
from portico.cli.main import main
from portico.config.config import Config
from portico.server.net.listeners import bind, url_of
from portico.server.worker import Worker
from tests.server.clients import Answer, Client, eventually, get, request
from tests.server.processes.supervised import Supervised, needs_proc

PATH = "/-/health"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A site that has a file and rules for everything."""
    site = tmp_path / "site"
    (site / "-").mkdir(parents=True)
    (site / "-" / "health").write_bytes(b"a file")
    (site / "small.txt").write_bytes(b"small")
    (site / "_redirects").write_text("/* /small.txt 302!\n")
    (site / "_headers").write_text("/*\n  X-Site: yes\n")
    return tmp_path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def is_well(answer: Answer) -> bool:
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    assert "x-site" not in answer.fields
    assert answer.status in {200, 503}
    return answer.status == 200


def test_before_rules_files_and_hosts(root: Path) -> None:
    with Server(root / "site", health=PATH) as server, Client(server.url) as client:
        for _ in range(4):  # the reply may be cached
            answer = client.ask(get(PATH))
            assert is_well(answer)
            assert answer.content == b"ok\n"
            assert is_well(client.ask(get(f"{PATH}?from=proxy")))
            foreign = f"GET {PATH} HTTP/1.1\r\nHost: backend.example:8080\r\n\r\n".encode()
            assert is_well(client.ask(foreign))
            assert client.ask(foreign.replace(b"/-/health", b"/small.txt")).status == 421
            answer = client.ask(request("HEAD", PATH), method="HEAD")
            assert is_well(answer)
            assert answer.fields["content-length"] == "3"
        assert client.ask(request("POST", PATH)).status == 405
        for other in ("/-/", "/-/health/", "/-/healthy", "/-/%68ealth", "/"):
            assert client.ask(get(other)).status == 302
        assert client.ask(b"GET /-/health HTTP/1.0\r\n\r\n").content == b"ok\n"


def test_without_the_option_it_is_a_path_like_all_others(root: Path) -> None:
    (root / "site" / "_redirects").unlink()
    with Server(root / "site") as server, Client(server.url) as client:
        assert client.ask(get(PATH)).content == b"a file"


def test_explain_tells(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "portico.toml").write_text(f"root = 'site'\nhealth = '{PATH}'\n")
    assert main(["explain", PATH, "--config", str(root / "portico.toml")]) == 0
    assert "Health: this is the path of --health" in capsys.readouterr().out


@needs_proc
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_with_503(root: Path, stack: ExitStack, workers: str) -> None:
    options = ("site", "--port", "0", "--workers", workers, "--health", PATH, "--grace", "3600")
    portico = stack.enter_context(Supervised(root, *options)).start()
    clients = [stack.enter_context(Client(portico.url)) for _ in range(3)]
    for client in clients:  # keep-alive connections, on which the next request has begun
        assert is_well(client.ask(get(PATH)))
        assert not client.has_news()
        client.send(get(PATH)[:10])
    with Client(portico.url) as mark:  # what was sent before is there now
        mark.ask(get("/small.txt"))
    portico.send(signal.SIGTERM)
    eventually(lambda: not portico.accepts())
    for client in clients:
        answer = client.ask(get(PATH)[10:])
        assert not is_well(answer)
        assert answer.content == b"stopping\n"
        assert answer.closes
        client.close()
    assert portico.end(None) == 0
    assert portico.logged.count(f'"GET {PATH} HTTP/1.1" 503 9\n') == 3
    assert portico.logged.count(f'"GET {PATH} HTTP/1.1" 200 3\n') == 3


@needs_proc
def test_a_reload_is_no_illness(root: Path, stack: ExitStack) -> None:
    """An old worker still says that the server is well, since the new ones are."""
    options = ("site", "--port", "0", "--workers", "2", "--health", PATH, "--grace", "3600")
    portico = stack.enter_context(Supervised(root, *options)).start()
    clients = [stack.enter_context(Client(portico.url)) for _ in range(4)]
    for client in clients:
        assert is_well(client.ask(get(PATH)))
    portico.reload()
    for client in clients:
        answer = client.ask(get(PATH))
        assert is_well(answer)
        assert answer.closes
        client.close()
    assert portico.end() == 0


def test_a_retired_worker_can_still_be_told_to_end(root: Path, stack: ExitStack) -> None:
    config = Config.of(root=str(root / "site"), port=0, health=PATH, grace=3600)
    listeners = bind(config)
    url, worker = url_of(listeners[0]), Worker(config, listeners)
    thread = threading.Thread(target=worker.run)
    thread.start()
    idle, asking = (stack.enter_context(Client(url)) for _ in range(2))
    for client in (idle, asking):
        assert is_well(client.ask(get(PATH)))
    asking.send(get(PATH)[:10])
    worker.retire()
    answer = idle.ask(get(PATH))
    assert is_well(answer)
    worker.stop()
    eventually(lambda: worker._responder.hurries)
    assert not is_well(asking.ask(get(PATH)[10:]))
    idle.close()
    asking.close()
    thread.join()


@needs_proc
def test_a_worker_that_is_ended_says_so_itself(root: Path, stack: ExitStack) -> None:
    options = ("site", "--port", "0", "--workers", "2", "--health", PATH, "--grace", "3600")
    portico = stack.enter_context(Supervised(root, *options)).start()
    client = stack.enter_context(Client(portico.url))
    assert is_well(client.ask(get(PATH)))
    client.send(get(PATH)[:10])
    with Client(portico.url) as mark:
        mark.ask(get("/small.txt"))
    for pid in portico.workers:
        os.kill(pid, signal.SIGTERM)
    portico.hears("has been told to end; another takes its place")
    eventually(lambda: portico.said.count("has been told to end") == 2)
    assert not is_well(client.ask(get(PATH)[10:]))
    client.close()
    with Client(portico.url) as another:
        assert is_well(another.ask(get(PATH)))
    assert portico.end() == 0

"""Idle connections are held, seen when they are closed, and measured beside active ones."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from bench import check, idle, running, scenarios, servers
from bench.measure import Plan
from bench.setup import ROOT

PORTICO = servers.by_names(["portico"])[0]


def test_a_connection_is_open_until_its_peer_closes_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert idle.is_open(ours)
        theirs.close()
        assert not idle.is_open(ours)


def test_each_connection_of_a_crowd_has_had_its_answer_and_lives(plan: Plan) -> None:
    scenarios.make_files(plan.site, {"page"})
    with running.running(PORTICO, plan.setup(PORTICO, idle.SCENARIO), plan.cores.server) as live:
        aim = check.aim_at(idle.SCENARIO, live)
        with idle.crowd(aim, 250) as clients:
            assert len({client.getsockname() for client in clients}) == 250
            assert all(idle.is_open(client) for client in clients)
        wrong = replace(aim, head=aim.head.replace("/page.html", "/missing"))
        with pytest.raises(ValueError, match="answered 404"), idle.crowd(wrong, 1):
            pass
        closing = replace(aim, head=aim.head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        with pytest.raises(ValueError, match="closed the connection"), idle.crowd(closing, 1):
            pass


def test_a_server_is_measured_without_and_with_idle_connections(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "COUNT", 200)
    started: list[tuple[str, str]] = []
    (found,) = idle.measure(plan, [PORTICO], lambda *words: started.append(words))
    assert (found.server, found.problem, found.lost) == ("portico", None, 0)
    assert (len(found.quiet), len(found.crowded)) == (1, 1)
    assert found.per_connection() is not None
    assert found.ratio(lambda one: one.cost("request")) is not None
    assert "--max-connections 16384 --idle-timeout 600" in started[0][1]
    assert idle.Crowding.from_json(found.to_json()) == found


def test_where_too_few_files_may_be_open_this_is_said_before_anything_starts() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))\n"
        "from bench import idle\n"
        "try: idle.allow_files()\n"
        "except ValueError as problem: print(problem)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert said.stdout == "needs 11,000 open files, and 500 is the limit (ulimit -n)\n"

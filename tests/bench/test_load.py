"""What the loads are told to send, and what is made of their reports."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest

from bench import load, parts, scenarios
from bench.client import Aim
from bench.load import RATE, Seen
from bench.process import running
from bench.runner import Bench
from bench.scenarios import SMALL, Scenario
from bench.servers import by_names
from bench.steady import Steady

MISSING = scenarios.by_names(["missing"])[0]
LIMIT, PORTICO = by_names(["limit"])[0], by_names(["portico"])[0]
WRK = """\
Running 1s test @ http://127.0.0.1:39187/
bench-result: {"requests": 77312, "bytes": 100505600, "seconds": 1.100213, "p50": 610, \
"p99": 7480, "p999": 9301, "failures": {"connect": 0, "read": 2, "write": 0, "status": 0, \
"timeout": 1}}
"""


def sample(requests: int, size: int, **failures: int) -> Seen:
    return Seen(requests, requests * size, 1.0, failures=failures)


def test_the_report_of_wrk_is_read_and_kinds_without_failures_are_dropped() -> None:
    failures = {"read": 2, "timeout": 1}
    assert load.parse(WRK) == Seen(77312, 100505600, 1.100213, 610, 7480, 9301, 0, failures)
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize(
    ("seen", "scenario", "requests", "failures"),
    [
        (sample(1000, 500, status=40), SMALL, 960, {"status": 40}),
        (sample(1000, 500, status=1000), MISSING, 1000, {}),
        (sample(1000, 500, status=990), MISSING, 990, {"status": 10}),
        (sample(1000, 500, status=800), scenarios.FLOODS[0], 1000, {}),
        (sample(10000, 500), SMALL, 10000, {}),
        (sample(10000, 400), SMALL, 10000, {"length": 2000}),
        # Answers that were cut off by the end of the slice are no failures.
        (Seen(100, 100 * 500 + 64 * 499, 1.0), SMALL, 100, {}),
    ],
)
def test_what_is_wrong_is_a_failure_and_no_request(
    seen: Seen, scenario: Scenario, requests: int, failures: dict[str, int]
) -> None:
    judged = load.judge(seen, scenario, 500)
    assert (judged.requests, judged.failures) == (requests, failures)


def test_numbered_heads_of_two_slices_have_no_number_in_common_and_one_length() -> None:
    browser = scenarios.by_names(["browser"])[0]
    first, second = (load.told(browser, Aim(0, "", 0), turn)["BENCH_FIRST"] for turn in (-1, 0))
    assert int(second) - int(first) == load.NUMBERS_PER_ROUND
    assert len(first) == len(second)


@pytest.mark.parametrize("scenario", [one for one in scenarios.SCENARIOS if one.limit])
def test_the_c_loop_gives_the_answer_of_each_scenario_and_wrk_counts_it(
    scenario: Scenario, bench: Bench
) -> None:
    scenarios.make_files(bench.site, {scenario.files, "page"})
    setup = bench.setup(LIMIT, scenario, "limit")
    with running(LIMIT, setup, bench.cores.server) as live:
        one = bench.contender(live, replace(scenario, warm=0.1))
        assert one.aim.keeps == (not scenario.closes)
        seen = one.load(0.2, 0)
    assert seen.requests > 0
    assert seen.failures == {}


def test_a_neighbour_runs_until_it_is_told_to_stop(bench: Bench) -> None:
    scenarios.make_files(bench.site, {"page", "10m"})
    kinds = {kind.name: kind for kind in parts.NEIGHBOURS}
    large = replace(kinds["stall"], request=Scenario("stall", files="10m", connections=20))
    few = replace(kinds["crowd"], request=Scenario("crowd", connections=20))
    setup = bench.setup(PORTICO, SMALL, "neighbours", crowd=True)
    with running(PORTICO, setup, bench.cores.server) as live:
        page = bench.contender(live, replace(SMALL, warm=0.1)).aim
        for kind in (kinds["pipeline"], kinds["churn"]):
            with parts.busy(kind, page) as more:
                load.steady(page, 0.1, 0.3, 0)
            assert more["got"] > 0
        for kind in (few, large):
            aim = bench.contender(live, replace(kind.request, warm=0.1)).aim
            with parts.holding(kind, aim) as more:
                seen = load.steady(page, 0.1, 0.3, 0)
            assert 0 < more["got"] <= 20
    assert 0 < seen.requests <= 0.3 * RATE + 1, "none that is due after the end is sent"
    assert seen.failures == {}
    assert 0 < seen.p50 <= seen.p99 <= seen.p999


def test_a_server_that_stands_still_pays_for_all_that_had_to_wait() -> None:
    """It answers each connection once and then no more; the schedule goes on."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:

        def answer_once() -> None:
            kept.extend(listener.accept()[0] for _ in range(4))
            for connection in kept:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        steady = Steady(listener.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n", len(answer), 100)
        for _ in range(4):
            steady.open()
        steady.run(0.1)
        thread.join()
        seen = steady.run(0.4)
        for connection in [*kept, *(one.connection for one in steady.clients.values())]:
            connection.close()
    assert seen.requests == 0
    assert seen.p50 >= 100_000, "forty were due, the one in the middle 0.2 s before the end"


@pytest.mark.parametrize(("sent", "kind"), [(b"HTTP/1.1 404 No\r\n\r\n", "status"), (b"", "read")])
def test_an_answer_that_is_not_the_right_one_is_a_failure(sent: bytes, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        steady = Steady(listener.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n", 40, 10)
        steady.open()
        with listener.accept()[0] as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            steady.receive(steady.free[0])
        for one in steady.clients.values():
            one.connection.close()
    assert steady.failures[kind] == 1
    assert len(steady.clients) == 1, "another one has taken its place"


def test_a_load_that_cannot_start_is_an_error_with_its_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        aim = Aim(listener.getsockname()[1], "", 1)
    with pytest.raises(ValueError, match="Connection refused"):
        load.steady(aim, 0, 0.1, 0)

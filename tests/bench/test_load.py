"""What the load is told to send, and what is made of its report."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import check, load, machine, measure, running, scenarios, servers
from bench.load import Aim, Load, Sample
from bench.scenarios import Scenario
from bench.setup import Pythons, Setup

SMALL, MISSING, CONNECT = (
    scenarios.by_names([name])[0] for name in ("small", "missing", "connect")
)
WRK = """\
Running 1s test @ http://127.0.0.1:39187/
  1 threads and 64 connections
  Latency Distribution
     50%    0.61ms
  77312 requests in 1.10s, 95.87MB read
Requests/sec:  70283.64
bench-result: {"requests": 77312, "bytes": 100505600, "microseconds": 1100213, "p50": 610, \
"p99": 7480, "p999": 9301, "failures": {"connect": 0, "read": 2, "write": 0, "status": 0, \
"timeout": 1}}
"""


def sample(requests: int, size: int, **failures: int) -> Sample:
    return Sample(requests, requests * size, 1.0, 1, 2, 3, failures)


def test_the_report_of_wrk_is_read_and_kinds_without_failures_are_dropped() -> None:
    seen = load.parse_result(WRK)
    assert (seen.requests, seen.bytes, seen.seconds) == (77312, 100505600, 1.100213)
    assert (seen.p50, seen.p99, seen.p999) == (610, 7480, 9301)
    assert seen.failures == {"read": 2, "timeout": 1}


def test_a_load_that_reports_nothing_is_an_error_with_its_words() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse_result("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_an_unexpected_status_is_a_failure_and_no_request() -> None:
    judged = load.judge(sample(1000, 500, status=40), SMALL, 500)
    assert judged.requests == 960
    assert judged.failures == {"status": 40}


def test_where_404_is_right_every_other_status_is_the_failure() -> None:
    assert load.judge(sample(1000, 500, status=1000), MISSING, 500).failures == {}
    judged = load.judge(sample(1000, 500, status=990), MISSING, 500)
    assert (judged.requests, judged.failures) == (990, {"status": 10})


def test_answers_of_another_length_show_in_the_sum_of_bytes() -> None:
    assert load.judge(sample(10000, 500), SMALL, 500).failures == {}
    assert load.judge(sample(10000, 400), SMALL, 500).failures == {"length": 2000}


def test_answers_cut_off_by_the_end_of_a_slice_are_no_failures() -> None:
    cut = Sample(100, 100 * 500 + 64 * 499, 1.0, 1, 2, 3)
    assert load.judge(cut, SMALL, 500).failures == {}


def test_the_client_for_new_connections_has_counted_for_itself() -> None:
    judged = load.judge(sample(1000, 500, status=5), CONNECT, 500)
    assert (judged.requests, judged.failures) == (1000, {"status": 5})


def test_text_with_quotes_and_line_ends_becomes_a_lua_string() -> None:
    assert load.lua_text('a"b\\c\r\n') == '"a\\"b\\\\c\\r\\n"'


def test_numbered_heads_of_two_slices_have_no_number_in_common() -> None:
    browser = scenarios.by_names(["browser"])[0]
    head = scenarios.head(browser, 80)
    first, second = (load.script(browser, head, turn).splitlines()[0] for turn in (0, 1))
    assert first == "local n = 1000000000"
    assert second == "local n = 1010000000"


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_head_is_one_whole_request(scenario: Scenario) -> None:
    head = scenarios.head(scenario, 8080).replace("{n}", "7")
    lines = head.split("\r\n")
    assert lines[0] == f"GET {scenario.path.replace('{n}', '7')} HTTP/1.1"
    assert lines[1] == "Host: 127.0.0.1:8080"
    assert lines[-2:] == ["", ""]
    assert all(": " in line for line in lines[1:-2])


def test_a_program_that_outlasts_its_time_is_killed() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        load.run_to_end(["sleep", "60"], 0.05)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
@pytest.mark.parametrize(
    "scenario", [one for one in scenarios.SCENARIOS if one.floor], ids=lambda one: one.name
)
def test_the_c_loop_gives_the_answer_of_each_scenario(
    scenario: Scenario, plan: measure.Plan
) -> None:
    scenarios.make_files(plan.site, {scenario.files, "page"})
    limit = servers.by_names(["limit"])[0]
    with running.running(limit, plan.setup(limit, scenario), plan.cores.server) as live:
        aim = check.aim_at(scenario, live)
    assert aim.keeps == (not scenario.new_connection)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
@pytest.mark.parametrize("name", ["small", "browser", "random-2000", "connect", "missing"])
def test_the_load_counts_the_answers_of_the_c_loop(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_bytes(b"x" * 1000)
    scenario = scenarios.by_names([name])[0]
    pythons, folder = Pythons("", ""), tmp_path / "limit-of-test"
    setup = Setup(tmp_path, folder, 0, pythons, page, closes=scenario.new_connection)
    limit = servers.by_names(["limit"])[0]
    with running.running(limit, setup, machine.pick_cores().server) as live:
        head = scenarios.head(scenario, live.setup.port)
        size = check.fetch(live.setup.port, head.replace("{n}", "0")).wire_size
        seen = Load(tmp_path).run(scenario, Aim(live.setup.port, head, size), 1, 0)
    if name == "missing":
        # The loop answers 200 to everything; where 404 is right, all of that has failed.
        assert seen.requests == 0
        assert seen.failures["status"] > 0
    else:
        assert seen.requests > 0
        assert not {"status", "length"} & set(seen.failures)

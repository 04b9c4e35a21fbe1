"""Each part measures Portico, or says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import against, parts, report, scenarios, servers, uploads
from bench.process import StartError, running
from bench.runner import Bench, cost, take
from bench.scenarios import SMALL, Scenario

PORTICO = servers.by_names(["portico"])[0]
LIMIT = servers.by_names(["limit"])[0]


def test_a_scenario_has_a_slice_for_each_server_and_round(bench: Bench) -> None:
    bench.record.rounds = 2
    logged = replace(scenarios.by_names(["small-log"])[0], warm=0.1)
    parts.measure_scenario(bench, [PORTICO], logged)
    slices = bench.record.select("scenarios", "small-log", "portico")
    assert [one.round for one in slices] == [0, 1]
    assert all(cost(one) for one in slices)
    assert bench.record.remarks == [], "each answer is logged"
    assert not bench.record.failed()


@pytest.mark.parametrize(("name", "kind"), [("distinct", "pages"), ("listing-changed", "folder")])
def test_what_is_asked_for_the_first_time_or_changes(
    name: str, kind: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scenarios.FILES, kind, replace(scenarios.FILES[kind], count=50))
    bench.record.rounds = 2
    scenario = scenarios.by_names([name])[0]
    once = bool(scenario.once)
    scenario = replace(scenario, once=50 * once, warm=0.1)
    parts.measure_scenario(bench, [PORTICO], scenario)
    assert not bench.record.failed()
    requests = [one.seen.requests for one in bench.record.select("scenarios", name, "portico")]
    assert requests == [49, 49] if once else min(requests) > 0
    starts = (bench.folder / f"{name}-portico" / "output.txt").read_text().count("Press Ctrl+C")
    assert starts == (2 if once else 1), "each is asked for once by a server that has just started"
    path = scenarios.FILES[kind].path
    assert len(list((bench.site / path).parent.iterdir())) == 50


def test_a_server_that_does_not_start_or_answers_wrongly_has_its_reason(bench: Bench) -> None:
    broken = replace(PORTICO, command="/no/server")
    part = replace(scenarios.by_names(["range"])[0], files="page", part=(0, 10), status=200)
    parts.measure_scenario(bench, [broken, replace(PORTICO, name="wrong")], part)
    first, second = bench.record.remarks
    assert first.text.startswith("left out: portico cannot be started: ")
    assert second.text == "left out: answered 206 instead of 200"
    assert bench.record.failed()


@pytest.mark.parametrize("name", ["idle", "workers", "startup", "memory", "newcomers", "trickle"])
def test_a_part_is_measured_and_has_its_table(
    name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "IDLE_CONNECTIONS", 200)
    monkeypatch.setattr(parts, "STARTS", 1)
    monkeypatch.setattr(parts, "MEMORY_REQUESTS", 1)
    monkeypatch.setattr(parts, "MEMORY_SLICE", 0.5)
    monkeypatch.setattr(parts, "NEWCOMERS_SECONDS", 0.2)
    few = [replace(kind, request=replace(kind.request, connections=4)) for kind in parts.CROWDS]
    monkeypatch.setattr(parts, "CROWDS", few)
    monkeypatch.setattr(parts, "TRICKLING", 8)
    for kind in ("pages", "folder"):
        monkeypatch.setitem(scenarios.FILES, kind, replace(scenarios.FILES[kind], count=20))
    parts.measure(name, bench, [PORTICO], named=False)
    assert bench.record.remarks == []
    (table,) = report.tables(bench.record, name)
    assert all(row["server"] == "Portico" for row in table.rows)
    assert "" not in {text for row in table.rows for text in list(row.values())[1:4]}
    assert "Portico" in report.render(bench.record)


def test_uploads_and_their_readers_are_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "GIB", 4 * scenarios.MIB)
    monkeypatch.setattr(uploads, "TRIES", 1)
    parts.measure("uploads", bench, [PORTICO], named=True)
    parts.measure("readers", bench, [PORTICO], named=True)
    assert bench.record.remarks == []
    (table,) = report.tables(bench.record, "uploads")
    assert [row["per"] for row in table.rows] == ["MiB", "MiB", "request", "request"]
    (table,) = report.tables(bench.record, "readers")
    assert float(table.rows[0]["uploads get MiB/s"].replace(",", "")) > 0
    assert not bench.record.failed()
    assert "eight clients upload" in report.render(bench.record)


def test_neighbours_and_axes_are_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portico, and along the axis a server that answers everything alike, which is found out."""
    churn = next(kind for kind in parts.NEIGHBOURS if kind.name == "churn")
    points = {"0": Scenario("empty", files="empty", warm=0.1)}
    monkeypatch.setattr(parts, "NEIGHBOURS", [churn])
    monkeypatch.setattr(parts, "AXES", [parts.Axis("size", "size", points)])
    monkeypatch.setattr(parts, "TRIES", 1)
    monkeypatch.setattr(parts, "SCALING_SECONDS", 0.2)
    parts.measure("neighbours", bench, [PORTICO], named=True)
    parts.measure("scaling", bench, [PORTICO, LIMIT], named=True)
    alone, beside = bench.record.slices[:2]
    assert (alone.variant, beside.variant) == ("alone", "beside")
    assert beside.more["got"] > 0
    assert bench.record.select("scaling size", "0", "portico")
    (remark,) = bench.record.remarks
    assert (remark.server, remark.text) == ("limit", "left out: sent 1024 bytes instead of 0")


def test_a_part_that_fails_is_a_remark_and_no_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise StartError("x: ended\n  early")

    monkeypatch.setitem(parts.PARTS, "memory", fail)
    parts.measure("memory", bench, [], named=True)
    assert "bench: memory: x: ended early" in capsys.readouterr().err
    assert bench.record.failed()
    assert "## Not measured\n\n- memory: x: ended early" in report.render(bench.record)


def test_a_disturbed_slice_is_made_again(bench: Bench) -> None:
    scenarios.make_files(bench.site, {"page"})
    with running(PORTICO, bench.setup(PORTICO, SMALL, "again"), bench.cores.server) as live:
        contender = bench.contender(live, replace(SMALL, warm=0.1))
        seen = replace(contender.load(0.5, 0), p99=100.0)
        lags = iter([90.0, 90.0, 0.0])
        contender.load = lambda _seconds, _turn: replace(seen, lag=next(lags))
        contender.tries = 3
        assert take(("part", "case"), contender, 0, 0.1).seen.requests == seen.requests
        assert list(lags) == []


@pytest.mark.parametrize(
    ("used", "share"), [([0.5, 0.0, 0.5], 0.5), ([0.3, 0.1], 0.25), ([1.0], 0.0), ([], 0.0)]
)
def test_the_share_of_the_lesser_worker(used: list[float], share: float) -> None:
    assert parts.lesser_share(used) == pytest.approx(share)


def test_two_checkouts_are_compared_pair_by_pair(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.record.rounds = 2
    against.compare(bench, servers.ROOT, [replace(SMALL, warm=0.1)])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("small ")
    assert len(bench.record.select("against", "small", "other")) == 2
    assert not bench.record.failed()


def test_the_interval_of_a_median_is_counted_off_from_the_ends() -> None:
    assert against.median_interval(range(5)) == (0, 4)
    assert against.median_interval(range(6)) == (0, 5)
    assert against.median_interval(range(20)) == (5, 14)

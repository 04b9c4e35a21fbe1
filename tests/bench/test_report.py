"""A record goes to JSON and back, into Markdown, and into drawings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import __main__ as command
from bench import parts, plot, record, report, table
from bench.record import Participant, Record
from bench.running import StartError

CANNED = Path(__file__).with_name("record.json")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def canned() -> Record:
    return record.load(CANNED)


def test_a_record_survives_json(canned: Record, tmp_path: Path) -> None:
    record.save(canned, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(CANNED.read_text())


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"format": 0}')
    with pytest.raises(ValueError, match="no record of format"):
        record.load(path)


def test_costs_and_ratios_come_from_cpu_time_and_requests(canned: Record) -> None:
    small = canned.results[0]
    cells = {cell.server: cell for cell in small.cells}
    assert cells["portico"].costs("request", 2) == pytest.approx([8.0, 8.0])
    assert cells["nginx"].costs("request", 2) == pytest.approx([16.0, 20.0])
    ratio = small.ratio("portico", "nginx")
    assert ratio is not None
    assert ratio == pytest.approx((0.45, 0.4, 0.5, 2))


def test_cost_per_mib_is_divided_by_what_was_sent(canned: Record) -> None:
    large = next(one for one in canned.results if one.scenario.unit == "MiB")
    cell = next(one for one in large.cells if one.server == "portico")
    assert cell.costs("MiB", 2) == pytest.approx([160_000 / (20_000 * 1280 / 2**20)] * 2)


def test_the_table_names_failures_reasons_and_connections_not_kept(canned: Record) -> None:
    heading, rows = table.scenario_rows(canned, canned.results[0])
    assert heading[0] == "server"
    by_server = {row[0]: row for row in rows}
    assert by_server["Portico"][1] == "8.00"
    assert by_server["nginx"][-2] == "0.45 (0.40-0.50)"
    assert by_server["http.server"][-1] == "failures: 3 timeout; closes connections"
    left_out = next(one for one in canned.results if one.scenario.name == "range")
    _, rows = table.scenario_rows(canned, left_out)
    assert ["http.server", *[""] * 7, "left out: answered 200 instead of 206"] in rows


def test_a_log_shorter_than_the_answers_is_a_failure(canned: Record) -> None:
    cell = canned.results[0].cells[0]
    cell.logged = 39_000
    assert cell.failures() == {"answers not logged": 1000}


def test_the_page_has_every_scenario_server_and_figure(canned: Record) -> None:
    page = report.render(canned)
    for heading in ("small", "range", "100k"):
        assert f"\n### {heading}\n" in page
    assert "| small | 8.00 µs | 0.45 (0.40-0.50) |" in page
    assert "| Portico | 55.0 | 50.0-60.0 | 3 |  | 12.0 MiB |" in page
    assert "| 15.0 MiB | 25.0 MiB |" in page
    assert "| CPU | Example CPU |" in page
    assert "$ nginx $PORT" in page


def test_idle_connections_are_shown_beside_their_absence(canned: Record) -> None:
    heading, rows = table.idle_rows(canned)
    ours, nginx, granian = (dict(zip(heading, row, strict=True)) for row in rows)
    assert ours["CPU µs/request"] == "8.00 → 9.00"
    assert ours["with / without"] == "1.12 (1.00-1.25)"
    assert ours["p99"] == "0.70 ms → 0.83 ms"
    assert ours["p99 at best"] == "0.60 ms → 0.66 ms"
    assert ours["p99, with / without"] == "1.18 (1.10-1.25)"
    assert ours["KiB per idle"] == "2.0"
    assert nginx["remarks"] == "failures: 7 idle connections closed, 3 timeout"
    assert granian["remarks"] == "left out: had 4,100 connections after 30 seconds"
    assert "64 connections ask for the small page" in report.render(canned)


def test_two_workers_are_shown_beside_one(canned: Record) -> None:
    heading, rows = table.workers_rows(canned)
    ours, nginx = (dict(zip(heading, row, strict=True)) for row in rows)
    assert ours["CPU µs/request, one"] == "8.00"
    assert ours["two / one"] == "1.05 (1.00-1.10)"
    assert ours["lesser share"] == "48%"
    assert nginx["remarks"] == "left out: nginx ended with code 1"
    assert "\n## Two workers\n" in report.render(canned)


def test_of_too_few_answers_no_latency_is_shown(canned: Record) -> None:
    large = next(one for one in canned.results if one.scenario.unit == "MiB")
    cell = large.cells[0]
    few = replace(cell.slices[0].sample, requests=0, p50=0, p99=0, p999=0)
    cell.slices = [replace(one, sample=few) for one in cell.slices]
    heading, rows = table.scenario_rows(canned, large)
    row = dict(zip(heading, rows[0], strict=True))
    assert (row["CPU µs/MiB"], row["MiB/s"], row["p50"]) == ("6,554", "24", "")


def test_what_could_not_be_measured_is_said(
    canned: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.failed(canned), "Portico answered the range wrongly"
    canned.results = [one for one in canned.results if one.scenario.name != "range"]
    assert not command.failed(canned)
    with parts.noting(canned, "memory"):
        raise StartError("x: ended\n  early")
    assert canned.problems == ["memory: x: ended early"]
    assert "bench: memory: x: ended early" in capsys.readouterr().err
    assert "- memory: x: ended early" in report.render(canned)
    assert command.failed(canned)


def test_each_table_of_the_page_has_as_many_cells_in_every_row(canned: Record) -> None:
    for block in report.render(canned).split("\n\n"):
        if block.startswith("|"):
            counts = {line.count("|") for line in block.splitlines()}
            assert len(counts) == 1, block


def test_the_drawings_are_well_formed_and_name_all_bars(canned: Record) -> None:
    drawings = report.drawings(canned)
    assert set(drawings) == {report.ALL, report.SMALL}
    for text in drawings.values():
        root = ET.fromstring(text)
        labels = [node.text for node in root.iter(f"{SVG}text")]
        assert "Portico" in labels
        assert "8.00" in labels
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for node in root.iter(f"{SVG}rect"):
            assert float(node.attrib["x"]) + float(node.attrib["width"]) <= width
            assert float(node.attrib["y"]) + float(node.attrib["height"]) <= height


def test_bars_are_sorted_and_those_far_off_are_cut(canned: Record) -> None:
    panel = plot.panels(canned, ["small"])[0]
    costs = [bar.cost.median for bar in panel.bars]
    assert costs == sorted(costs)
    assert panel.longest == pytest.approx(18.0 * plot.CUT)
    root = ET.fromstring(plot.draw("t", "n", [panel], 1))
    assert len(list(root.iter(f"{SVG}polygon"))) == sum(cost > panel.longest for cost in costs)


def test_text_in_a_drawing_is_escaped(canned: Record) -> None:
    panel = plot.panels(canned, ["small"])[0]._replace(title='<a> & "b"')
    root = ET.fromstring(plot.draw("t", "n", [panel], 1))
    assert '<a> & "b"' in [node.text for node in root.iter(f"{SVG}text")]


def test_a_configuration_that_differs_by_scenario_is_shown_with_the_difference() -> None:
    server = Participant("x", "X", "contender", "1").configured("small", "a\nlog off\nz")
    assert server.configured("browser", "a\nlog off\nz") == server
    more = server.configured("small-log", "a\nlog on\nz").configuration
    assert more == "a\nlog off\nz\n--- in small-log, besides or instead\nlog on"


def test_the_command_reports_what_a_file_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--from-json", str(CANNED), "--report", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "benchmarks-cpu.svg",
        "benchmarks-small.svg",
        "benchmarks.md",
    ]
    assert "0.45 (0.40-0.50)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scenario", "none"], "no scenario 'none'"),
        (["--server", "none"], "no server 'none'"),
        (["--python", "/no/python"], "no interpreter '/no/python'"),
        (["--from-json", "/no/file"], "/no/file"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: ")
    assert said in error
    assert error.count("\n") == 1

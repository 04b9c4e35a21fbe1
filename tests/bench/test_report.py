"""Ratios, tables, the page and its plots, made of a record that was not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import __main__ as command
from bench import report
from bench.runner import Record, ratio, spread
from tests.bench.conftest import one


def test_a_ratio_is_taken_round_by_round() -> None:
    ours = [one("a", "b", "c", turn, cost) for turn, cost in enumerate((1, 2, 3))]
    theirs = [one("a", "b", "d", turn, 4) for turn in (0, 2)]
    assert ratio(ours, theirs) == (0.5, 0.25, 0.75, 2)
    assert str(ratio(ours, theirs)) == "0.50 (0.25-0.75)"
    assert str(ratio(ours[:1], theirs)) == "0.25"
    assert spread([]) is None


def test_a_record_survives_json(canned: Record, tmp_path: Path) -> None:
    canned.save(tmp_path / "record.json")
    assert Record.load(tmp_path / "record.json") == canned
    (tmp_path / "other.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="no record of format"):
        Record.load(tmp_path / "other.json")


def test_a_row_has_the_cost_the_ratio_and_the_reason_for_what_is_missing(canned: Record) -> None:
    nginx = report.scenario_table(canned, "small").rows[1]
    assert nginx["CPU µs/request"] == "18.0"
    assert nginx["Portico / it"] == "0.45 (0.40-0.50)"
    assert nginx["p50"] == "0.40 ms"
    assert report.scenario_table(canned, "10m").rows[1]["MiB/s"] == "1,000"
    assert report.scenario_table(canned, "range").rows[2]["remarks"] == (
        "left out: answered 200 instead of 206"
    )
    depth = report.tables(canned, "scaling")[0].rows[0]
    assert (depth["Portico"], depth["Portico / Nginx"]) == ("10.0", "0.50")


def test_a_server_with_one_variant_only_has_no_figures(canned: Record) -> None:
    canned.slices.append(replace(one("workers", "small", "nginx", 0, 9), variant="1"))
    canned.remark("workers", "small", "nginx", "left out: no second one")
    (row,) = report.tables(canned, "workers")[0].rows
    assert row == {"case": "", "server": "Nginx", "remarks": "left out: no second one"}


def test_each_table_of_the_page_has_as_many_cells_in_every_row(canned: Record) -> None:
    page = report.render(canned)
    assert "$" not in page
    assert "## Bad neighbours" not in page, "it was not measured"
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_only_portico_s_own_failures_fail_the_run(canned: Record) -> None:
    assert not canned.failed()
    canned.slices[-1].seen.failures["read"] = 3
    assert not canned.failed(), "it is nginx that failed"
    canned.slices[0].seen.failures["read"] = 3
    assert canned.failed()
    assert canned.remarks_on("scenarios", "small", "portico") == "failures: 3 read"


def test_the_command_reports_what_a_file_holds(
    canned: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    canned.save(tmp_path / "record.json")
    words = ["--from-json", str(tmp_path / "record.json"), "--report", str(tmp_path / "docs")]
    assert command.main(words) == 0
    assert "0.45 (0.40-0.50)" in capsys.readouterr().out
    assert len(list((tmp_path / "docs").iterdir())) == 4
    for name in ("cpu", "small", "scaling"):
        nodes = ET.parse(tmp_path / "docs" / f"benchmarks-{name}.svg").iter()
        texts = {"".join(node.itertext()).strip() for node in nodes}
        assert {"Portico", "10" if name == "scaling" else "8.00"} <= texts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scenario", "none"], "no scenario 'none'"),
        (["--server", "none"], "no server 'none'"),
        (["--python", "/no/python"], "no interpreter '/no/python'"),
        (["--from-json", "/no/file"], "/no/file"),
        (["--rounds", "-1"], "there must be one round"),
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

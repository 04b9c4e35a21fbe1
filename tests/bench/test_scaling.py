"""The axes of the scaling plot: what is asked for is there, measured, told and drawn."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import curves, machine, measure, printing, record, report, rows, scaling, servers
from bench.load import Load
from bench.ratios import Spread
from bench.record import Record
from bench.scaling import AXES, Axis, Curve
from bench.setup import Pythons

CANNED = Path(__file__).with_name("record.json")
SVG = "{http://www.w3.org/2000/svg}"
BY_NAME = {axis.name: axis for axis in AXES}


def shorter(axis: Axis, count: int) -> Axis:
    """Only the first values."""
    return replace(axis, values=axis.values[:count], shown=axis.shown[:count])


@pytest.fixture
def told() -> Record:
    """A record with two axes, one of them with a gap and with costs far apart."""
    canned = record.load(CANNED)
    canned.scaling = [
        Curve("depth", "portico", [[8.0, 9.0]] * 6),
        Curve("depth", "nginx", [[16.0, 9.0]] * 6, {"16": "3 status"}),
        Curve("size", "portico", [[10.0 * 4**n, None] for n in range(10)]),
        Curve("size", "nginx", [[None, None], *([20.0 * 4**n, None] for n in range(1, 10))]),
    ]
    return canned


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_each_value_has_its_words_and_its_own_question(axis: Axis) -> None:
    assert len(axis.values) == len(axis.shown) == len(set(axis.shown))
    assert list(axis.values) == sorted(axis.values)
    assert len({scaling.point(axis, value) for value in axis.values}) == len(axis.values)


def test_the_files_are_those_that_the_points_ask_for(tmp_path: Path) -> None:
    axes = tuple(shorter(axis, 3) for axis in AXES)
    scaling.make_files(tmp_path, axes)
    for axis in axes:
        for value in axis.values:
            at = scaling.point(axis, value)
            for n in range(max(at.choices, 1)):
                path = tmp_path / at.path.lstrip("/").replace("{n}", str(n))
                assert path.stat().st_size == (value if axis.name == "size" else 1024)
            assert at.path.count("/") - 2 == value or axis.name != "depth"
    many = [
        path.read_bytes()
        for path in (tmp_path / "scale" / "files").iterdir()
        if path.stem[0].isdigit()
    ]
    assert len(set(many)) == len(many) == 1000


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux offers")
def test_a_server_is_measured_along_each_axis(tmp_path: Path) -> None:
    """Portico really, and a server that answers everything alike, which is found out."""
    (tmp_path / "site").mkdir()
    pythons = Pythons(sys.executable, sys.executable)
    cores, load = machine.pick_cores(), Load(tmp_path)
    said: list[str] = []
    plan = measure.Plan(tmp_path, tmp_path / "site", pythons, cores, load, 1, 1, said.append)
    axes = tuple(shorter(axis, 1) for axis in AXES)
    found = scaling.measure(plan, servers.by_names(["portico", "limit"]), axes)
    ours = [one for one in found if one.server == "portico"]
    assert [one.axis for one in ours] == [axis.name for axis in AXES]
    for curve in ours:
        assert curve.problems == {}
        cost = curve.at(0)
        assert cost is not None
        assert cost.median > 0
    limit = {one.axis: one for one in found if one.server == "limit"}
    assert limit["connections"].at(0) is not None
    assert limit["size"].at(0) is None
    assert limit["size"].problems == {"0": "did not announce the 0 bytes of the file"}
    assert "scaling: depth 0, round 1 of 1" in said


def test_curves_survive_json(told: Record, tmp_path: Path) -> None:
    record.save(told, tmp_path / "record.json")
    assert record.load(tmp_path / "record.json").scaling == told.scaling


def test_the_rows_have_costs_ratios_and_remarks(told: Record) -> None:
    assert [axis.name for axis in rows.axes(told)] == ["depth", "size"]
    heading, found = rows.scaling_rows(told, BY_NAME["depth"])
    assert heading == ["depth", "Portico", "nginx", "Portico / nginx", "remarks"]
    assert found[0] == ["0", "8.50", "12.5", "0.75 (0.50-1.00)", ""]
    assert found[-1][-1] == "nginx: 3 status"
    assert rows.scaling_rows(told, BY_NAME["size"])[1][0] == ["0", "10.0", "", "", ""]


def test_the_page_shows_them(told: Record, capsys: pytest.CaptureFixture[str]) -> None:
    page = report.render(told)
    assert "(benchmarks-scaling.svg)" in page
    assert "| 1 MiB | 40,960 | 81,920 | 0.50 |" in page
    printing.print_record(told)
    assert "scaling: folders above a file of 1 KiB" in capsys.readouterr().out


def test_a_scale_is_logarithmic_only_where_it_must_be(told: Record) -> None:
    depth, size = (curves.scale(panel) for panel in curves.panels(told))
    assert depth == curves.Scale(0.0, 20.0, False, [0.0, 5.0, 10.0, 15.0, 20.0])
    assert size.logarithmic
    assert (size.at(size.low), size.at(size.high)) == (0, 1)
    assert depth.at(10.0) == pytest.approx(0.5)


@pytest.mark.parametrize("high", [0.03, 0.9, 1.0, 7.0, 49.0, 101.0, 99_999.0])
def test_a_scale_holds_its_costs_and_has_a_few_marks(high: float) -> None:
    cost = Spread(high, high, high, 1)
    scale = curves.scale(curves.Panel("a", "b", ("1",), [curves.Line("x", [cost])]))
    assert scale.high >= high
    assert 2 <= len(scale.marks) <= 7


def test_the_drawing_is_well_formed_and_stays_within_itself(told: Record) -> None:
    root = ET.fromstring(report.drawings(told)[report.SCALING])
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    lines = list(root.iter(f"{SVG}polyline"))
    assert [len(line.attrib["points"].split()) for line in lines] == [6, 6, 10, 9]
    for line in lines:
        for place in line.attrib["points"].split():
            x, y = map(float, place.split(","))
            assert 0 < x < width
            assert 0 < y < height
    texts = [node.text for node in root.iter(f"{SVG}text")]
    assert {"depth", "size", "Portico", "nginx", "256 MiB"} <= set(texts)

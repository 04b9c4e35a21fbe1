"""The tables are whole, and what they say of a server becomes a command and a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import scenarios, servers
from bench.parts import AXES, CROWDS, NEIGHBOURS
from bench.scenarios import SCENARIOS, SMALL, Scenario
from bench.servers import CONFIGS, SERVERS, Server, Setup

LOGGED = scenarios.by_names(["small-log"])[0]
CODED = scenarios.by_names(["precompressed"])[0]


def setup(tmp_path: Path, scenario: Scenario = SMALL, **more: bool | int) -> Setup:
    return replace(
        Setup(tmp_path / "site", tmp_path, scenario, "python3", "peers/python", 8080),
        **more,  # type: ignore[arg-type]
    )


def written(server: Server, told: Setup) -> str:
    """The command and its file."""
    text = " ".join(server.words(told))
    if server.file:
        server.write_file(told)
        text += "\n" + (told.folder / server.file).read_text()
    return text


@pytest.mark.parametrize("scenario", [*SCENARIOS, *scenarios.FLOODS], ids=lambda one: one.name)
def test_every_head_is_one_whole_request(scenario: Scenario) -> None:
    lines = scenarios.head(scenario, 8080, "/static").replace("{n}", "7").split("\r\n")
    assert lines[0] == f"GET /static{scenario.target.replace('{n}', '7')} HTTP/1.1"
    assert lines[1] == "Host: 127.0.0.1:8080"
    assert lines[-2:] == ["", ""]
    assert all(": " in line for line in lines[1:-2])


def test_files_are_the_same_on_every_run_and_large_ones_take_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios.make_files(tmp_path, {"page", "packed", "empty"})
    page = (tmp_path / "page.html").read_bytes()
    assert len(page) == 1024
    assert page == scenarios.content("page.html", 1024)
    assert (tmp_path / "packed.html.gz").stat().st_size < 16 * 1024
    monkeypatch.setattr(scenarios, "SPARSE", 1000)
    scenarios.make_file(tmp_path / "hole", 1 << 24)
    assert (tmp_path / "hole").stat().st_size == 1 << 24
    assert (tmp_path / "hole").stat().st_blocks * 512 < 1 << 20


def test_what_the_tables_ask_for_is_there() -> None:
    asked = [*SCENARIOS, *(one.request for one in (*NEIGHBOURS, *CROWDS))]
    asked += [point for axis in AXES for point in axis.points.values()]
    for scenario in asked:
        assert scenario.path or scenario.files in scenarios.FILES
        numbers = max(scenario.chooses, scenario.once)
        assert numbers <= scenarios.FILES[scenario.files].count or scenario.status == 0
    assert {one.file for one in SERVERS if one.file} == {
        path.name.removesuffix(".in") for path in CONFIGS.iterdir()
    }


@pytest.mark.parametrize("server", SERVERS, ids=lambda one: one.name)
def test_a_server_is_told_its_port_and_nothing_has_stopped_to_fill_in(
    server: Server, tmp_path: Path
) -> None:
    for told in (setup(tmp_path), setup(tmp_path, LOGGED, workers=2, crowd=True, lists=True)):
        text = written(server, told)
        assert "8080" in text
        assert "$" not in text


@pytest.mark.parametrize(
    ("name", "scenario", "more", "words"),
    [
        ("portico", SMALL, {}, "--no-access-log"),
        ("portico", LOGGED, {}, "--log-format common"),
        ("portico", SMALL, {"workers": 2}, "--workers 2"),
        ("portico", SMALL, {"crowd": True}, "--max-connections 16384"),
        ("nginx", LOGGED, {}, "access.log combined buffer"),
        ("portico", SMALL, {"stores": True}, "--allow write --max-upload 0 --no-sync"),
        ("nginx", SMALL, {"lists": True}, "autoindex on;"),
        ("nginx", SMALL, {"stores": True}, "dav_methods PUT;"),
        ("nginx-tuned", SMALL, {"workers": 2}, "8080 deferred reuseport backlog"),
        ("lighttpd", SMALL, {"crowd": True}, "server.max-fds = 24576"),
        ("h2o", CODED, {}, "file.send-compressed: ON"),
        ("h2o", SMALL, {"lists": True}, "file.dirlisting: ON"),
        ("caddy", CODED, {}, "precompressed gzip"),
        ("http.server", SMALL, {}, "def log_message"),
        ("granian", SMALL, {"crowd": True}, "--backpressure 12000"),
    ],
)
def test_what_is_asked_of_a_server_changes_how_it_is_started(
    name: str, scenario: Scenario, more: dict[str, bool | int], words: str, tmp_path: Path
) -> None:
    server = servers.by_names([name])[0]
    assert words in written(server, setup(tmp_path, scenario, **more))


def test_a_version_is_what_the_commands_say() -> None:
    server = replace(SERVERS[0], versions=[("", "echo x/1.22.1,"), ("Python", "echo $own 3.11.2")])
    assert server.version("python", "") == "1.22.1, Python 3.11.2"
    assert replace(server, versions=[("", "/no/program -v")]).version("", "") is None

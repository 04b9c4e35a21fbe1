from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portico import __version__
from portico.cli.banner import banner, duration, remarks, warnings
from portico.cli.main import main
from portico.cli.serve import COMMON, parse
from portico.cli.terminal import UsageError, wants_color
from portico.config.config import Config
from portico.config.kinds import SWITCH
from portico.config.options import OPTIONS
from portico.server.processes.sandbox import describe
from tests.server.clients import Client, get
from tests.server.processes.supervised import Supervised

# Long enough for any machine; what is waited for comes in milliseconds.
PATIENCE = 60
PAGE = b"<p>Hello"


# --- understanding the command line


def test_each_flag_sets_its_option_and_no_other() -> None:
    assert parse([]) == {}
    assert parse(["--", "-site"]) == {"root": "-site"}
    line = "site --port=0 --allow-host a.test --allow-host b.test --no-listing --access-log"
    assert parse(line.split()) == {
        "root": "site",
        "port": "0",
        "allow_host": ["a.test", "b.test"],
        "listing": False,
        "access_log": True,
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--prot 80", "no such option: --prot; did you mean --port?"),
        ("--prot=80", "no such option: --prot; did you mean --port?"),
        ("-q 80", "no such option: -q"),
        ("--por 80", "no such option: --por; did you mean --port?"),
        ("--no-list", "no such option: --no-list; did you mean --no-listing?"),
        ("--xyzzy", "no such option: --xyzzy"),
        ("--port", "-p/--port needs a value"),
        ("--listing=no", "--listing/--no-listing takes no value, but has 'no'"),
        ("a b", "unexpected argument: 'b'"),
        ("a 80", "unexpected argument: '80'; for a port: --port 80"),
    ],
)
def test_mistakes_on_the_command_line(line: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--port", "99999"], "--port: '99999' is not a whole number from 0 to 65535"),
        (["--port", "-1"], "--port: '-1' is not a whole number from 0 to 65535"),
        (["--color", "pink"], "--color: 'pink' is not auto, always or never"),
        (["--workers", "0.5"], "--workers: '0.5' is not a whole number from 1 to 1024, or auto"),
        (["--listen", ":1", "--port", "2"], "--listen: cannot be combined with port"),
        (
            ["--listen", "unix:no/www"],
            "no such folder: 'no', for the unix socket 'no/www'",
        ),
        (
            ["--workers", "2", "--listen", "192.0.2.1:80"],
            "192.0.2.1 is not an address of this machine",
        ),
        (["none"], "no such file or folder: 'none'"),
        (["8000"], "no such file or folder: '8000'; for a port: --port 8000"),
        (
            ["--header", "Date: x"],
            "--header 'Date: x': Date belongs to the server; it cannot be set.",
        ),
        ([""], "DIR: '' is not the path of a folder or of a file"),
        (
            ["--config", "no\nne"],
            "cannot read no\\nne: No such file or directory",
        ),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    argv: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == f"portico: error: {complaint}\n"


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--prot", "80"], "portico"),
        (["check", "--strct"], "portico check"),
    ],
)
def test_a_line_that_makes_no_sense_gets_a_hint(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.endswith(f"\n{hint} --help shows the options.\n")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("chek site", "unexpected argument: 'site'; did you mean check?"),
        ("chek", "no such file or folder: 'chek'; did you mean check?"),
        ("missing", "no such file or folder: 'missing'\n"),
    ],
)
def test_a_command_that_is_spelled_wrong_is_suggested(
    line: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert complaint in capsys.readouterr().err


# --- help


@pytest.mark.parametrize(
    ("flag", "shown", "most"),
    [("--help", COMMON, 60), ("--help-all", {option.name for option in OPTIONS}, 999)],
)
def test_help_names_what_is_common_or_everything(
    flag: str, shown: Collection[str], most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([flag]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert max(map(len, lines)) < 80
    assert len(lines) <= most
    assert "examples:" in lines
    words = " ".join(text.split())
    named = {option.name for option in OPTIONS if option.meaning in words}
    assert named == set(shown)
    for option in OPTIONS:
        if option.name in shown:
            assert option.flag.replace("--", "--[no-]" if option.kind is SWITCH else "--") in words
            default = "" if option.default is False else option.shown_default
            assert not default or f"(default: {default})" in words


def test_help_examples_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    main(["-h"])
    _, _, examples = capsys.readouterr().out.partition("examples:\n")
    commands = [line.split("  ")[1].split() for line in examples.split("\n\n")[0].splitlines()]
    assert len(commands) >= 3
    for command in commands:
        assert command[0] == "portico"
        Config.load(parse(command[1:]), {})


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"portico {__version__}\n"


# --- the banner


def test_banner_shows_folder_addresses_metrics_and_warnings() -> None:
    urls, metrics = ["http://a:1/", "http://b:1/"], "http://c:2/metrics"
    lines = [
        f"Portico {__version__} serves /srv/si\\x1bte with 3 workers",
        "",
        "    http://a:1/",
        "    http://b:1/",
        "",
        f"Metrics: {metrics}",
        "",
        "Note this.",
        "Warning: be careful.",
        "Press Ctrl+C to stop.",
    ]
    text = banner("/srv/si\x1bte", urls, workers=3, metrics=metrics, color=False)
    text += remarks(["Note this."], ["be careful."], color=False)
    assert text.splitlines() == lines
    text = banner("/srv", urls, workers=1, metrics="", color=True)
    assert "\x1b[1m/srv\x1b[0m" in text
    assert "\x1b[36mhttp://a:1/\x1b[0m" in text


@pytest.mark.parametrize(
    ("root", "local", "warned"),
    [
        ("/", True, "whole file system"),
        ("/home/user", True, "whole home directory"),
        ("/home", True, "whole home directory"),
        ("/home/user/site", True, ""),
        ("/home/use", True, ""),
        ("/srv", False, "on your network"),
    ],
)
def test_warnings(root: str, local: bool, warned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    found = warnings(root, local=local)
    assert len(found) == bool(warned)
    assert warned in "".join(found)


def test_durations() -> None:
    seconds = (0.2, 59.9, 60, 3599, 3600, 86_399, 200_000)
    expected = ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "23 h 59 min", "2 d 7 h"]
    assert list(map(duration, seconds)) == expected


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    controller, terminal = os.openpty()
    reader, pipe = os.pipe()
    try:
        assert wants_color("auto", terminal)
        assert not wants_color("auto", pipe)
        assert not wants_color("never", terminal)
        assert wants_color("always", pipe)
        monkeypatch.setenv("TERM", "dumb")
        assert not wants_color("auto", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        assert not wants_color("auto", terminal)
        assert wants_color("always", terminal)
        monkeypatch.setenv("NO_COLOR", "")
        assert wants_color("auto", terminal)
    finally:
        for descriptor in (controller, terminal, reader, pipe):
            os.close(descriptor)


# --- the whole process


@pytest.fixture
def running(site: Path, tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(tmp_path, str(site), "--port", "0") as process:
        yield process.start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_a_signal_and_says_so_in_one_line(
    running: Supervised, site: Path, number: signal.Signals
) -> None:
    banner = running.said
    assert banner.splitlines() == [
        f"Portico {__version__} serves {site}",
        "",
        f"    {running.url}",
        "",
        *filter(None, [describe(Config.of(root=str(site)), is_refused=False)]),
        "Press Ctrl+C to stop.",
    ]
    assert urlsplit(running.url).hostname == "localhost"
    assert running.content("/page.html") == PAGE
    assert running.end(number) == 0
    assert '"GET /page.html HTTP/1.1" 200 8' in running.logged
    assert running.logged.count("\n") == 1
    (said,) = running.said.removeprefix(banner).splitlines()
    assert said.startswith("Stopped after 1 request in ")
    assert said.endswith(" s.")


def test_a_port_in_use_is_named(
    running: Supervised, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(urlsplit(running.url).port)
    assert main([str(site), "--port", port]) == 2
    error = capsys.readouterr().err
    assert error.startswith("portico: error: ")
    assert port in error
    assert "--port" in error
    assert error.count("\n") == 1
    assert running.content("/page.html") == PAGE


def test_options_come_from_the_environment_and_the_file(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "portico.toml"
    file.write_text('root = "site"\nport = 0\naccess_log = false\n')
    environ = {"PORTICO_CONFIG": str(file), "PORTICO_HOST": "localhost"}
    with Supervised(tmp_path, environ=environ).start() as process:
        assert f"serves {site}\n" in process.said
        assert process.url.startswith("http://localhost:")
        assert process.content("/page.html") == PAGE
        assert process.end() == 0
        assert process.logged == ""


def test_beyond_loopback_there_is_a_warning(site: Path, tmp_path: Path) -> None:
    options = [str(site), "--port", "0", "--host", "0.0.0.0"]
    with Supervised(tmp_path, *options).start() as process:
        assert "Warning: everyone on your network" in process.said


def test_an_application_without_its_page_is_warned_of(site: Path, tmp_path: Path) -> None:
    with Supervised(tmp_path, str(site), "--port", "0", "--spa").start() as process:
        assert "Warning: no index.html in this folder" in process.said


def test_each_address_is_shown_and_serves(site: Path, tmp_path: Path) -> None:
    addresses = ["--listen", "127.0.0.1:0", "--listen", "unix:www", "--listen", "127.0.0.2:0"]
    with Supervised(tmp_path, str(site), *addresses).start() as process:
        first, unix, second = process.urls
        assert unix == "unix:www"
        for url in (first, second):
            with Client(url) as client:
                assert client.ask(get("/page.html")).content == PAGE
        assert "Warning" not in process.said
        assert process.end() == 0
    assert not (tmp_path / "www").exists()


def test_one_process_takes_no_harm_from_a_hangup(running: Supervised) -> None:
    running.send(signal.SIGHUP)
    running.hears("portico: not reloaded: that needs --workers 2 or more, or auto\n")
    assert running.content("/page.html") == PAGE
    assert running.end() == 0


@pytest.mark.parametrize("word", ["--help", "--version"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_for_a_reader_that_has_left_is_no_error(word: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "portico", word]
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    try:
        result = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environ
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


def shell(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", script, "sh", sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_serves_without_any_standard_stream(site: Path) -> None:
    """Closed streams leave numbers free, and a socket that took number 1 would get the log."""
    script = """
        "$1" -m portico "$2" --port "$3" <&- >&- 2>&- &
        for _ in $(seq 100); do
          curl --silent --fail --max-time 10 "http://127.0.0.1:$3/page.html" && break
          sleep 0.1
        done
        kill -s INT $!
        wait $!
        echo "; $?"
    """
    if shell("command -v curl").returncode != 0:
        pytest.skip("there is no curl on this machine")
    assert shell(script, str(site), str(free_port())).stdout == "<p>Hello; 0\n"


def test_a_terminal_that_cannot_show_a_name_gets_escapes(tmp_path: Path) -> None:
    folder = tmp_path / "\u6d77"
    folder.mkdir()
    (folder / "\u6d77.txt").write_text("sea")
    environ = {"PYTHONIOENCODING": "latin-1"}
    with Supervised(tmp_path, str(folder), "-p", "0", environ=environ).start() as process:
        assert f"serves {tmp_path}/\\u6d77\n" in process.said
        assert process.content("/%E6%B5%B7.txt") == b"sea"
        assert process.end() == 0, process.said
    for command in (
        ["explain", "/\u6d77.txt", "\u6d77"],
        ["check", "\u6d77"],
        ["compress", "\u6d77"],
    ):
        line = [sys.executable, "-m", "portico", *command]
        env = {**os.environ, **environ}
        assert subprocess.run(line, cwd=tmp_path, env=env, check=False).returncode == 0


def test_ctrl_c_before_the_server_is_ready_is_no_traceback(tmp_path: Path) -> None:
    """A configuration file that never comes: the process waits for it, and is interrupted."""
    fifo = tmp_path / "portico.toml"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "portico", "--config", str(fifo)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as popen:
        writer = os.open(fifo, os.O_WRONLY)  # returns when the other side has opened it
        try:
            popen.send_signal(signal.SIGINT)
            out, err = popen.communicate(timeout=PATIENCE)
        finally:
            os.close(writer)
    assert (popen.returncode, out, err) == (130, "", "")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_main_puts_signal_handlers_back(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In this very process: `main` serves, another thread asks and then sends the signal."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    port = free_port()
    answers: list[bytes] = []

    def visit() -> None:
        url = f"http://127.0.0.1:{port}/page.html"
        while not answers:
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as response:
                    answers.append(response.read())
            except urllib.error.URLError:
                time.sleep(0.05)  # it does not listen yet
        os.kill(os.getpid(), signal.SIGTERM)

    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    assert main([str(site), "--port", str(port), "--no-access-log", "--no-sandbox"]) == 0
    visitor.join()
    assert answers == [PAGE]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert "Stopped after 1 request" in capfd.readouterr().err

"""What people use in the first minutes: a port, a browser, one file, the phones in the network."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portico.cli.banner import qr_code
from tests.server.clients import PATIENCE, Client, eventually, get
from tests.server.processes.supervised import Supervised


def test_a_busy_default_port_takes_the_next_free_one(site: Path, tmp_path: Path) -> None:
    busy = None
    with suppress(OSError):  # then somebody else holds it, which does as well
        busy = socket.create_server(("127.0.0.1", 8080))
    try:
        with Supervised(tmp_path, str(site), "--bind", "127.0.0.1").start() as portico:
            assert 8080 < (urlsplit(portico.url).port or 0) < 8100
            assert "\nPort 8080 is in use, so another one was taken.\n" in portico.said
            assert portico.content("/page.html") == b"<p>Hello"
    finally:
        if busy is not None:
            busy.close()


def test_a_file_is_served_alone(site: Path, tmp_path: Path) -> None:
    (site / "my film.html").write_text("film")
    (site / "my film.html.gz").write_bytes(b"not this")
    (site / "_headers").write_text("/*\n  X-Rule: yes\n")
    with Supervised(tmp_path, str(site / "my film.html"), "-p", "0").start() as portico:
        assert portico.url.endswith("/my%20film.html")
        with Client(portico.url) as client:
            film = client.ask(get("/my%20film.html", "Accept-Encoding: gzip"))
            assert (film.content, film.fields.get("x-rule")) == (b"film", None)
            listed = json.loads(client.ask(get("/", "Accept: application/json")).content)
            assert [entry["name"] for entry in listed["entries"]] == ["my film.html"]
            for other in ("/page.html", "/page", "/_headers", "/my%20film.html.gz"):
                assert client.ask(get(other)).status == 404


def test_options_come_from_the_file_in_the_current_folder(site: Path) -> None:
    (site / "portico.toml").write_text('port = 0\nheader = ["X-Robots-Tag: noindex"]\n')
    with Supervised(site).start() as portico, Client(portico.url) as client:
        assert "\nOptions are read from portico.toml.\n" in portico.said
        assert client.ask(get("/portico.toml")).status == 404
        assert client.ask(get("/page.html")).fields["x-robots-tag"] == "noindex"


def test_open_starts_the_browser(site: Path, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o755)
    environ = {"BROWSER": f"{browser} %s"}
    with Supervised(tmp_path, str(site), "-o", "-p0", environ=environ).start() as portico:
        eventually(opened.exists)
        assert opened.read_text() == portico.url


def test_lan_shows_a_qr_code_on_a_terminal(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segno = pytest.importorskip("segno")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "portico", str(site), "--lan", "--port", "0"]
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL) as popen:
        os.close(theirs)
        said = ""
        with closing(io.FileIO(ours)) as terminal, suppress(OSError):  # EIO at its end
            while chunk := terminal.read(4096):
                said += chunk.decode()
                if "█" in said and said.count("Press") == 1 and said.endswith("/\r\n"):
                    popen.send_signal(signal.SIGINT)
                    said += "Press"  # once is enough
        assert popen.wait(PATIENCE) == 0
    assert "Warning: everyone on your network can read this folder." in said
    urls = [word for word in said.split() if word.startswith("http://") and "127." not in word]
    drawn = io.StringIO()
    outward = next(url for url in urls if "[::1]" not in url and "localhost" not in url)
    segno.make(outward, error="l", micro=False).terminal(out=drawn, border=2, compact=True)
    assert drawn.getvalue().splitlines()[3] in said


def test_without_a_network_there_is_no_qr_code() -> None:
    assert "no network address" in qr_code(["http://127.0.0.1:1/", "http://[::1]:1/"], color=False)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_during_a_download_says_what_it_waits_for_and_what_was_cut(
    site: Path, tmp_path: Path, workers: str
) -> None:
    with (site / "film.mp4").open("wb") as film:
        film.truncate(1 << 30)
    options = ("-p", "0", "--workers", workers, "--log-format", "short", "--grace", "60")
    with Supervised(tmp_path, str(site), *options).start() as portico:
        with Client(portico.url) as client:
            client.send(get("/film.mp4"))
            client.socket.recv(1000)
            portico.send(signal.SIGINT)
            portico.hears("waiting up to 60 s for 1 response to finish; Ctrl+C again stops at once")
            assert portico.end(signal.SIGINT) == 0
        assert " 200 GET  /film.mp4 " in portico.logged
        assert portico.logged.endswith(" cut off\n")
        assert portico.said.endswith("; 1 response cut off.\n")

"""The commands of docs/uploads.md, one after another, as a newcomer types them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.end_to_end.serving import installed
from tests.server.clients import PATIENCE
from tests.server.processes.supervised import Supervised

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = REPOSITORY / "docs" / "uploads.md"
SERVES = re.compile(r"^portico (?!passwd|explain)(.*)$", re.MULTILINE)


def test_every_command_does_what_it_says(tmp_path: Path) -> None:
    installed("curl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    binary = tmp_path / "bin" / "portico"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m portico "$@"\n')
    binary.chmod(0o755)
    path = f"{binary.parent}:{os.environ['PATH']}"
    environ = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY), "PORTICO_PORT": port}
    said = ""
    with ExitStack() as servers:
        for block in re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
            serves = SERVES.search(block)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", SERVES.sub("", block).replace("8080", port)],
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
            said += done.stdout
            if serves:
                servers.close()
                options = serves[1].split()
                servers.enter_context(Supervised(tmp_path, *options, environ=environ).start())
    assert (tmp_path / "shared" / "two.txt").read_text() == "hello\n"
    assert (tmp_path / "shared" / "a" / "b" / "other.txt").exists()
    large = (tmp_path / "large.bin").read_bytes()
    assert (tmp_path / "shared" / "inbox" / "large.bin").read_bytes() == large
    assert "100 Continue" in said
    assert "404 Not Found" in said  # what would be deleted is not there yet
    assert "\n401\n" in said
    assert "Upload-Offset: 1000000" in said

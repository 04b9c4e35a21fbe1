"""What h11, llhttp and nginx made of the messages, as docs/framing.md tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from tests.conformance.others import nginx_version
from tests.differential.messages import MESSAGES
from tests.differential.nginx import by_nginx
from tests.differential.readers import READERS, VERSIONS

RECORD = Path(__file__).parent / "record.json"


class Recorded(NamedTuple):
    """What one version of a reader made of each case, by its name."""

    version: str
    readings: dict[str, str]


def recorded() -> dict[str, Recorded]:
    """What is on record of each reader."""
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    return {name: Recorded(*each) for name, each in known.items()}


def record() -> None:
    """Let all of them read, and write it down. Needs nginx."""
    version = nginx_version()
    if version is None:
        raise SystemExit("nginx is not installed")
    names = [messages.name for messages in MESSAGES]
    streams = [messages.sent for messages in MESSAGES]
    found = {
        name: Recorded(VERSIONS[name], dict(zip(names, map(str, map(read, streams)), strict=True)))
        for name, read in READERS.items()
    }
    found["nginx"] = Recorded(version, dict(zip(names, map(str, by_nginx(streams)), strict=True)))
    RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

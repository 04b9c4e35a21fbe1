"""What a server is told before it starts, and what starts it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Pythons:
    """The interpreter that runs Portico and http.server, and the one that has the frameworks."""

    own: str
    peers: str


@dataclass(frozen=True)
class Setup:
    """One server for one scenario: *folder* is its own, *log* where its access log goes.

    ``coded``: coded siblings of files are to be used.  ``crowd``: ten thousand connections will
    wait.  ``status``, ``page`` and ``part`` are the one answer of a server that knows only one:
    this file, or its bytes from the first number on and before the second.
    """

    site: Path
    folder: Path
    port: int
    pythons: Pythons
    page: Path
    log: Path | None = None
    closes: bool = False
    coded: bool = False
    status: int = 200
    part: tuple[int, int] | None = None
    crowd: bool = False
    workers: int = 1


@dataclass(frozen=True)
class Launch:
    """The command, the files to write into the server's folder first, and its environment.

    ``logs_to_output``: the access log is what the server writes to its standard streams.
    """

    words: list[str]
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    logs_to_output: bool = False
    working_folder: Path | None = None


def anonymous(text: str, setup: Setup) -> str:
    """*text* without the paths and numbers of this run, for a report."""
    names = {str(setup.log): "$LOG"} if setup.log else {}
    names |= {
        str(setup.folder): "$FOLDER",
        f"{setup.folder.parent}/limit": "limit",
        str(setup.site): "$SITE",
        setup.pythons.own: "python3",
        setup.pythons.peers: "python3",
        str(ROOT): "$CHECKOUT",
        str(setup.port): "$PORT",
    }
    for value, name in names.items():
        text = text.replace(value, name)
    return text

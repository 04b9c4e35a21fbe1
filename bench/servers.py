"""The servers of ``servers.toml``: how they are found, configured and started."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from string import Template

from bench import scenarios
from bench.scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = Path(__file__).resolve().parent / "configs"
TABLE = Path(__file__).with_name("servers.toml")
# Those that can be told to run several workers.
WITH_WORKERS = ("portico", "nginx", "nginx-tuned", "lighttpd", "h2o")
# Who takes part in the slower measurements unless others are named.
CLOSEST = ("portico", "nginx", "h2o")


@dataclass(frozen=True)
class Setup:
    """One server for one scenario, in a *folder* of its own.

    ``crowd``: thousands of connections will be open, ``few``: no more than 200 may be, where there
    is an option for that.  ``lists``: folders are to be listed.  ``stores``: files can be put;
    ``syncs``: one is on the disk before it is answered, if the server can do that.
    """

    site: Path
    folder: Path
    scenario: Scenario
    own: str
    peers: str
    port: int = 0
    workers: int = 1
    crowd: bool = False
    few: bool = False
    lists: bool = False
    stores: bool = False
    syncs: bool = False

    @property
    def log(self) -> Path | None:
        """Where the access log goes, if there is to be one."""
        return self.folder / "access.log" if self.scenario.log else None

    def conditions(self) -> dict[str, bool]:
        """What the options of a server can depend on."""
        return {
            "root": os.geteuid() == 0,
            "log": self.scenario.log,
            "coded": bool(self.scenario.coding),
            "several": self.workers > 1,
            "crowd": self.crowd,
            "few": self.few,
            "lists": self.lists or self.scenario.lists,
            "stores": self.stores,
            "unsynced": self.stores and not self.syncs,
        }

    def values(self) -> dict[str, object]:
        """What the names in a template stand for."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "logfile": self.log,
            "program": self.folder.parent / "limit",
            "after": "close" if self.scenario.closes else "keep",
        }


@dataclass(frozen=True)
class Server:
    """One entry of the table, where the fields are explained.

    ``checkout`` is where Portico is started, and whose modules it imports.
    """

    name: str
    title: str
    versions: Sequence[tuple[str, str]]
    command: str
    file: str = ""
    options: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    kind: str = "contender"
    prefix: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    checkout: Path | None = None
    logs_to_output: bool = False

    def fill(self, template: str, setup: Setup) -> str:
        """A template with its options and names replaced."""
        holds = setup.conditions()
        texts = {
            name: yes if holds[condition] else no
            for name, (condition, yes, no) in self.options.items()
        }
        return Template(Template(template).safe_substitute(texts)).substitute(setup.values())

    def words(self, setup: Setup) -> list[str]:
        """The command."""
        first, *rest = shlex.split(self.fill(self.command, setup))
        return [find(first), *rest]

    def write_file(self, setup: Setup) -> None:
        """Write what the command reads."""
        if self.kind == "limit":
            (setup.folder / "answer").write_bytes(fixed_answer(setup.scenario, setup.site))
        if self.file:
            template = CONFIGS.joinpath(f"{self.file}.in").read_text()
            (setup.folder / self.file).write_text(self.fill(template, setup))

    def version(self, own: str, peers: str) -> str | None:
        """What the server says of its version; None where it is not to be had."""
        found = []
        for label, command in self.versions:
            first, *rest = shlex.split(Template(command).substitute(own=own, peers=peers))
            try:
                said = subprocess.run(
                    [find(first), *rest], capture_output=True, timeout=30, check=True, cwd=ROOT
                )
            except (OSError, subprocess.SubprocessError):
                return None
            number = re.search(rb"\d+(\.\d+)+[^\s,)]*", said.stdout + said.stderr)
            if number is None:
                return None
            found.append(f"{label} {number.group().decode()}".strip())
        return ", ".join(found)


def find(name: str) -> str:
    """A program on the path, or where Debian hides servers from users."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or name


def fixed_answer(scenario: Scenario, site: Path) -> bytes:
    """The answer of the C loop: its head has the fields that the web servers send, too."""
    path = scenarios.file_of(scenario, site)
    path = path.with_name(f"{path.name}.gz") if scenario.coding else path
    page = site / scenarios.FILES["page"].path
    body = (path if path.is_file() else page).read_bytes()[slice(*scenario.part or (None,))]
    body = {304: b"", 404: body[: scenarios.ERROR_PAGE]}.get(scenario.status, body)
    lines = [
        f"HTTP/1.1 {scenario.status} {HTTPStatus(scenario.status).phrase}",
        "Server: limit",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
        "Content-Type: text/html; charset=utf-8",
        'ETag: "0123456789abcdef"',
        "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    lines += [f"Content-Length: {len(body)}"] if scenario.status != 304 else []
    lines += [f"Content-Encoding: {scenario.coding}"] if scenario.coding else []
    lines += ["Connection: close"] if scenario.closes else []
    if scenario.part:
        lines.append(f"Content-Range: bytes {scenario.part[0]}-{scenario.part[1] - 1}/*")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_table() -> tuple[Server, ...]:
    """The servers of ``servers.toml``."""
    found = []
    for name, row in tomllib.loads(TABLE.read_text()).items():
        asked = [*row.pop("versions", []), *map(package, row.pop("packages", []))]
        checkout = ROOT if name == "portico" else None
        found.append(Server(name=name, versions=asked, checkout=checkout, **row))
    return tuple(found)


def package(name: str) -> tuple[str, str]:
    """The command that says the version of a Python package in the peers' interpreter."""
    question = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    return name, f"$peers -c {shlex.quote(question)} {name}"


SERVERS = read_table()


def by_names(names: list[str] | None) -> list[Server]:
    """The servers of these names in the table's order, or all; ValueError names a wrong one."""
    known = [server.name for server in SERVERS]
    for name in names or ():
        if name not in known:
            raise ValueError(f"no server {name!r}; there are {', '.join(known)}")
    return [server for server in SERVERS if not names or server.name in names]

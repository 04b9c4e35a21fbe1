"""What is asked of the servers: the scenarios of ``scenarios.toml`` and the files they need."""

from __future__ import annotations

import gzip
import random
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("scenarios.toml")
PLAIN = ("User-Agent: bench", "Accept: */*")
MIB = 2**20
# The length of an error page that says no more than it must.
ERROR_PAGE = 150
# Files above this size are holes: zeros that take no room on the disk.  They are read once, after
# which their pages are in memory like those of other files.
SPARSE = 64 * MIB


@dataclass(frozen=True)
class Files:
    """*count* files of *size* bytes at *path*, in which ``{n}`` is a number.

    ``packed`` ones have a sibling in gzip.
    """

    path: str
    size: int
    count: int = 1
    packed: bool = False


@dataclass(frozen=True)
class Scenario:
    """One kind of request, and how the load sends it.

    ``{n}`` in the path or a field is a running number that no slice repeats (``counts``), a random
    one below ``chooses``, or each number below ``once``, once since the server was started.
    ``renames`` are two names of a file, between which it changes before each request.
    ``status`` 0 allows any.  ``part`` is the range of bytes that is asked for.
    ``unit`` is what the CPU time is divided by: requests answered, MiB sent, or ``answer``,
    which counts an answer that was cut short by the end of a slice in part.
    ``limit`` says that the C loop, which knows one small answer only, can take part.
    ``seconds`` is how long a slice must be at least.  ``batch`` requests are sent at a time.
    ``gathers`` says that all connections are open before the first request is sent.
    """

    name: str
    title: str = ""
    path: str = ""
    files: str = "page"
    fields: Sequence[str] = PLAIN
    status: int = 200
    connections: int = 64
    counts: bool = False
    chooses: int = 0
    once: int = 0
    renames: Sequence[str] = ()
    revalidates: bool = False
    coding: str = ""
    part: Sequence[int] = ()
    closes: bool = False
    log: bool = False
    unit: str = "request"
    limit: bool = False
    seconds: float = 0
    threads: int = 1
    batch: int = 1
    gathers: bool = False
    warm: float = 0.3

    @property
    def target(self) -> str:
        """The path, which is that of the files unless another is given."""
        return self.path or f"/{FILES[self.files].path}"

    @property
    def lists(self) -> bool:
        """Whether a folder is asked for."""
        return self.target.endswith("/")


ROWS = tomllib.loads(TABLE.read_text())
FILES = {name: Files(**row) for name, row in ROWS["files"].items()}
SCENARIOS = tuple(Scenario(name, **row) for name, row in ROWS["scenarios"].items())
SMALL = SCENARIOS[0]
BY_NAME = {one.name: one for one in SCENARIOS}
FLOODS = tuple(Scenario(name, **row) for name, row in ROWS["floods"].items())


def by_names(names: list[str] | None) -> list[Scenario]:
    """The scenarios of these names in the table's order, or all; ValueError names a wrong one."""
    for name in names or ():
        if name not in BY_NAME:
            raise ValueError(f"no scenario {name!r}; there are {', '.join(BY_NAME)}")
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]


def make_files(site: Path, kinds: set[str]) -> None:
    """Write the files of these kinds that are not there yet; the same bytes on every run.

    Portico sends no ranges of a large file that has changed a moment ago; the moment passes here.
    """
    new = {kind for kind in kinds if not (site / FILES[kind].path.format(n=0)).exists()}
    for files in map(FILES.__getitem__, sorted(new)):
        for n in range(files.count):
            path = site / files.path.format(n=n)
            make_file(path, files.size)
            if files.packed:
                packed = gzip.compress(path.read_bytes(), mtime=0)
                path.with_name(f"{path.name}.gz").write_bytes(packed)
    if new:
        time.sleep(0.5)


def make_file(path: Path, size: int) -> None:
    """Write a file: a page of plain text for ``.html``, noise or a hole for everything else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if size <= SPARSE:
        path.write_bytes(content(path.name, size))
        return
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def content(name: str, size: int) -> bytes:
    """The bytes of a file, which depend on its name and size alone."""
    if not name.endswith(".html"):
        return random.Random(name).randbytes(size)
    start, end = b"<!doctype html>\n<title>Page</title>\n<p>", b"</p>\n"
    text = b"All work and no cache makes a dull server. " * (size // 40 + 1)
    return start + text[: size - len(start) - len(end)] + end


def head(scenario: Scenario, port: int, prefix: str = "", more: Sequence[str] = ()) -> str:
    """The request head as the load sends it, with ``{n}`` still in it."""
    lines = [f"GET {prefix}{scenario.target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [*scenario.fields, *more]
    lines += [f"Accept-Encoding: {scenario.coding}"] if scenario.coding else []
    if scenario.part:
        lines.append(f"Range: bytes={scenario.part[0]}-{scenario.part[1] - 1}")
    lines += ["Connection: close"] if scenario.closes else []
    return "\r\n".join([*lines, "", ""])


def file_of(scenario: Scenario, site: Path) -> Path:
    """The file that is asked for when ``{n}`` is 0."""
    return site / scenario.target.partition("?")[0].lstrip("/").replace("{n}", "0")

"""What is asked of the servers: a table of scenarios and the files they need.

Rule: a scenario is data.  A new one is a new row of ``SCENARIOS``; a new kind of file is a new row
of ``FILES``.  ``{n}`` in a head is a running number (``counts``) or a choice (``chooses``).
"""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass, replace
from pathlib import Path

CHROME = (
    "Connection: keep-alive",
    "Cache-Control: max-age=0",
    'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    (
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Chrome/124.0.0.0 Safari/537.36"
    ),
    (
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
        "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
    ),
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
)
PLAIN = ("User-Agent: bench", "Accept: */*")
MIB = 2**20
# A body beyond this many bytes is compared piece by piece, and asked for once to warm up.
LARGE = 64 * MIB
# The length of an error page that says no more than it must.
ERROR_PAGE = 150


@dataclass(frozen=True)
class Files:
    """Files of one kind: *count* of them, of *size* bytes, named by *pattern* with ``{n}``.

    ``packed`` ones have a coded sibling, made by gzip.  ``hollow`` ones are zeros that take no room
    on the disk; once they are in the page cache, they cost the kernel what others cost.
    """

    pattern: str
    size: int
    count: int = 1
    packed: bool = False
    hollow: bool = False


@dataclass(frozen=True)
class Scenario:
    """One kind of request, and how the load sends it.

    ``unit`` is what the CPU time is divided by: a request, or a MiB of what was sent.
    ``coding`` is the content coding that the answer must have.
    ``floor`` says that the C loop, which knows one small answer only, can take part.
    ``seconds`` is how long a slice must be at least, and ``threads`` how many send the load.
    """

    name: str
    title: str
    path: str
    files: str
    fields: tuple[str, ...] = PLAIN
    status: int = 200
    connections: int = 64
    counts: bool = False
    chooses: int = 0
    revalidates: bool = False
    coding: str = ""
    slice_of: tuple[int, int] | None = None
    new_connection: bool = False
    log: bool = False
    unit: str = "request"
    floor: bool = False
    seconds: int = 1
    threads: int = 1

    @property
    def large(self) -> bool:
        """Whether the answer is too large to be kept in memory."""
        return self.slice_of is None and FILES[self.files].size > LARGE

    def with_connections(self, connections: int) -> Scenario:
        """The same with another number of connections."""
        return replace(self, connections=connections)


FILES = {
    "page": Files("page.html", 1024),
    "packed": Files("packed.html", 16 * 1024, packed=True),
    "100k": Files("100k.bin", 100 * 1024),
    "10m": Files("10m.bin", 10 * MIB),
    "1g": Files("1g.bin", 1024 * MIB, hollow=True),
    "many": Files("many/{n}.bin", 8 * 1024, 2000),
    "memory": Files("memory/{n}.html", 1024, 20_000),
}

SCENARIOS = (
    Scenario(
        "small",
        "1 KiB page, the same short head again and again",
        "/page.html",
        "page",
        floor=True,
    ),
    Scenario(
        "browser",
        "1 KiB page, a browser's head whose cookie differs in every request",
        "/page.html",
        "page",
        (*CHROME, "Cookie: theme=dark; session={n}"),
        counts=True,
        floor=True,
    ),
    Scenario(
        "connect",
        "1 KiB page, a new connection for each request",
        "/page.html",
        "page",
        (*PLAIN, "Connection: close"),
        new_connection=True,
        floor=True,
    ),
    Scenario(
        "missing",
        "A path that does not exist: 404",
        "/missing.html",
        "page",
        status=404,
        floor=True,
    ),
    Scenario(
        "conditional",
        "1 KiB page that the client has already: 304",
        "/page.html",
        "page",
        status=304,
        revalidates=True,
        floor=True,
    ),
    Scenario(
        "precompressed",
        "16 KiB page that lies there in gzip, too",
        "/packed.html",
        "packed",
        (*PLAIN, "Accept-Encoding: gzip"),
        coding="gzip",
        floor=True,
    ),
    Scenario(
        "random-2000",
        "2,000 files of 8 KiB, chosen at random",
        "/many/{n}.bin",
        "many",
        chooses=2000,
        floor=True,
    ),
    Scenario("100k", "A file of 100 KiB", "/100k.bin", "100k", unit="MiB"),
    Scenario(
        "range",
        "16 KiB out of 10 MiB: 206",
        "/10m.bin",
        "10m",
        (*PLAIN, "Range: bytes=5000000-5016383"),
        status=206,
        slice_of=(5_000_000, 5_016_384),
        floor=True,
    ),
    Scenario("10m", "A file of 10 MiB", "/10m.bin", "10m", connections=4, unit="MiB"),
    Scenario("1g", "A file of 1 GiB", "/1g.bin", "1g", connections=4, unit="MiB", seconds=2),
    Scenario(
        "small-log",
        "1 KiB page, the access log written to a file",
        "/page.html",
        "page",
        log=True,
    ),
)


def by_names(names: list[str] | None) -> list[Scenario]:
    """The scenarios of these names in the table's order, or all; ValueError names a wrong one."""
    known = {scenario.name for scenario in SCENARIOS}
    for name in names or ():
        if name not in known:
            raise ValueError(f"no scenario {name!r}; there are {', '.join(sorted(known))}")
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]


def make_files(site: Path, kinds: set[str]) -> None:
    """Write the files of these kinds below *site*; the same bytes on every run."""
    for kind in sorted(kinds):
        files = FILES[kind]
        for n in range(files.count):
            path = site / files.pattern.format(n=n)
            path.parent.mkdir(parents=True, exist_ok=True)
            if files.hollow:
                with path.open("wb") as file:
                    file.truncate(files.size)
                continue
            path.write_bytes(content(path.name, files.size))
            if files.packed:
                packed = gzip.compress(path.read_bytes(), mtime=0)
                path.with_name(f"{path.name}.gz").write_bytes(packed)


def content(name: str, size: int) -> bytes:
    """The bytes of a file: a page of plain text for ``.html``, noise for everything else."""
    if not name.endswith(".html"):
        return random.Random(name).randbytes(size)
    start, end = b"<!doctype html>\n<title>Page</title>\n<p>", b"</p>\n"
    text = b"All work and no cache makes a dull server. " * (size // 40 + 1)
    return start + text[: size - len(start) - len(end)] + end


def head(scenario: Scenario, port: int, prefix: str = "", more: tuple[str, ...] = ()) -> str:
    """The request head as the load sends it, with ``{n}`` still in it."""
    lines = [f"GET {prefix}{scenario.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    return "\r\n".join([*lines, *scenario.fields, *more, "", ""])


def fixed_answer(scenario: Scenario, site: Path) -> tuple[Path, tuple[int, int] | None]:
    """The file that an answer is taken from when ``{n}`` is 0, and the part of it unless all."""
    if scenario.status not in (200, 206):
        return site / FILES["page"].pattern, (0, 0 if scenario.status == 304 else ERROR_PAGE)
    path = site / FILES[scenario.files].pattern.format(n=0)
    return path.with_name(path.name + ".gz") if scenario.coding else path, scenario.slice_of


def expected_body(scenario: Scenario, site: Path) -> bytes | None:
    """The body the right answer has when ``{n}`` is 0; None where it is the server's own text."""
    if scenario.status == 304:
        return b""
    if scenario.status not in (200, 206):
        return None
    whole = (site / scenario.path.lstrip("/").format(n=0)).read_bytes()
    return whole[slice(*scenario.slice_of)] if scenario.slice_of else whole

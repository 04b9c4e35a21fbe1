"""The report: a record as Markdown, with its drawings beside it; pure but for ``write``."""

from __future__ import annotations

from pathlib import Path

from bench import curves, idle, plot, rows, scaling, table
from bench.measure import Result
from bench.neighbours import CONNECTIONS, RATE
from bench.neighbours import NEIGHBOURS as NEIGHBOUR_KINDS
from bench.record import Record

PAGE = "benchmarks.md"
ALL = "benchmarks-cpu.svg"
SMALL = "benchmarks-small.svg"
SCALING = "benchmarks-scaling.svg"

METHOD = """\
The servers of a scenario are started together, each with one worker, and take turns under load:
a slice of {seconds} s each (at least 2 s for files of 1 GiB), {rounds} rounds (the slower
references only in the first two), each round beginning with the next server. So whatever slows the
machine for a while slows all of them.
Servers run on one core, the load on another: [wrk](https://github.com/wg/wrk) with one thread,
and for new connections a small client of our own, compiled on the spot (`bench/connect.c`).

- **CPU** is the time the server's processes used, by the kernel's own clocks, user and system,
  divided by the requests answered (or by the MiB sent). It says what a request costs, also where
  the load could not keep the server busy.
- **busy** is the share of its core that the server used. Below 100 % the load was the limit, and
  requests per second say more about wrk than about the server.
- **ratio** is Portico's CPU time divided by the other's, taken within each round: the median, with
  the smallest and the largest in brackets. Below 1, Portico costs less.
- Before it is timed, each server is asked once, and status, length and bytes of its answer are
  checked. One that answers wrongly is left out of that scenario. During the slices, answers of
  another status or length and errors of sockets are failures; remarks list them.
- What a server does once for a file (Portico hashes it, for its tag) is over before the first
  slice: the bench waits until the server is idle.
- **C loop (limit)** receives and sends fixed bytes and does nothing else (`bench/limit.c`): in
  each scenario with small answers those of the right answer, under a head of usual length. Its
  404 is a page of 150 bytes. It is no web server, and shows what the kernel alone costs.
"""

START = """\
From starting the command to its first answer, in turn, on one core; and the proportional memory
(PSS) of the processes at that moment.
"""

MEMORY = """\
100,000 different heads and paths, a fifth of the paths files and the rest 404, asked for at
random; the processes' resident, proportional and private memory before and after. Proportional
memory (PSS) counts a page that several processes share in part for each, so that the sum over
workers is right; RSS counts it for each in full.
"""

IDLE = """\
{active} connections ask for the small page as fast as they are answered, without and with {count}
further connections, each of which has made one request and waits; a slice of each in every round,
in turn first. "with / without" is taken within a round; "p99 at best" is that of the least
disturbed slice of each kind. A server takes part if it has all of these connections and none is
closed by the end of the slice, with a limit on connections and open files that allows it.

The memory is the growth of the processes' PSS while the idle connections come, divided by their
number. What the kernel holds for each socket is not in it.
"""

WORKERS = """\
Each server runs twice, with one worker and with two, both allowed on both cores, and so is the
load (two threads of wrk; one process for new connections); a slice of each in every round, in
turn first. Where two workers cost no more for a request than one, two cores serve twice as much.
Requests per second say little here, since the load takes the larger part of both cores. "lesser
share" is how evenly the requests were spread: of the CPU time that the two busiest threads used,
the part of the second; 50 % is even.
"""

NEIGHBOURS = """\
{connections} connections, kept alive, send {rate:,} requests a second for a page of 1 KiB, at fixed
moments, whether or not those before were answered; latency runs from the moment at which a request
was due. Slices of {seconds} s, alone and beside one bad neighbour, take turns; the ratio is that of
the two p99 of a pair. *Own lag* (99 % stay below) is how late the measuring client itself was: it
shares its core with the neighbour, which runs at the least priority. What the neighbour got is what
it cost: a server that gives it less disturbs the others less. A slice in which others took the
cores is made again; where that did not help, the remarks call it disturbed, and its figures say
more about the machine than about the server.

{kinds}

Each neighbour comes alone, and on loopback, where a download is faster than any network.
"""

SCALED = """\
CPU time per request along four axes: keep-alive connections, all of them in use; files of 1 KiB,
asked for at random; folders above a file; the size of a file. There are {connections} connections,
but {few} for the size, and as many as the first axis says. Each asks again as soon as it has its
answer. Slices of {slice} s, {rounds} rounds, the servers in turn. Of large answers the client
copies only the first octets, and an answer that a slice cuts short counts in part. Files above
16 MiB are holes; no disk is touched. Portico keeps ready replies in 8 MiB: beyond some 1,400 small
files in use, `--cache-size` should be larger (docs/deploying.md), which these figures leave out.
"""

LIMITS = """\
- One machine, loopback, no network card, no TLS, files in the page cache. A disk or a network in
  the way changes more than the choice of server.
- The kernel does part of the work of TCP in the name of whoever runs at that moment. On loopback
  some of the server's sending is done in the load's name, and the other way round.
- The load waits for an answer before it asks again. Latencies are those of a server under as much
  load as it bears, with {connections} connections at once; they leave out the requests that a slow
  answer kept from being sent. They compare servers with each other, no more.
- An answer of 1 GiB is seldom complete when its slice ends: its cost is per MiB that arrived, and
  what was still in the sockets' buffers counts for nothing (under 2 %). Such a file holds zeros
  that take no room on the disk, and lies in the page cache.
- Idle connections that are open for seconds have been neither slow nor hostile.
- In a slice of a second, one short disturbance decides p99, and sooner p99.9. On a machine that is
  shared, compare them within a row first.
- A server that is not kept busy finds fewer requests each time it wakes, and so pays more for
  each. This touches the fastest most.
- A virtual machine shares its cores with strangers. The spread shows how much that disturbed;
  differences smaller than the spread are none.
- The servers do not do the same. nginx, h2o, lighttpd and Caddy can do much that Portico cannot.
- The configurations are what we take to be fast for each server. A correction is welcome.
"""


def render(record: Record) -> str:
    """The whole page."""
    method = METHOD.format(seconds=record.seconds, rounds=record.rounds)
    parts = ["# Benchmarks", _preface(record)]
    if record.results:
        parts += ["## In short", summary(record)]
        parts += [f"![CPU time per request, by scenario and server]({ALL})"]
        parts += ["## How it is measured", method, "## Scenarios"]
    for result in record.results:
        parts += [_heading(result), table.markdown(*table.scenario_rows(record, result))]
    if record.startup is not None:
        parts += ["## Start", START, table.markdown(*table.startup_rows(record))]
    if record.memory:
        parts += ["## Memory", MEMORY, table.markdown(*table.memory_rows(record))]
    if record.idle:
        text = IDLE.format(active=idle.SCENARIO.connections, count=f"{idle.COUNT:,}")
        parts += ["## Idle connections", text, table.markdown(*table.idle_rows(record))]
    if record.workers:
        parts += ["## Two workers", WORKERS, table.markdown(*table.workers_rows(record))]
    if record.neighbours:
        parts += ["## Bad neighbours", neighbours(record)]
    if record.scaling:
        parts += ["## Scaling", f"![{curves.TITLE}]({SCALING})", scaled(record)]
    if record.problems:
        parts += ["## Not measured", "\n".join(f"- {one}" for one in record.problems)]
    parts += ["## What the figures do not show", LIMITS.format(connections=_connections(record))]
    parts += [
        "## Machine",
        table.markdown(["", "value"], [list(x) for x in record.machine.items()]),
    ]
    parts += ["## Servers", _versions(record), *_configurations(record)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def neighbours(record: Record) -> str:
    """What bad neighbours do to the others."""
    kinds = "\n".join(f"- **{one.name}** {one.title}." for one in NEIGHBOUR_KINDS)
    text = NEIGHBOURS.format(
        connections=CONNECTIONS, rate=RATE, seconds=record.seconds, kinds=kinds
    )
    return f"{text}\n{table.markdown(*rows.neighbour_rows(record))}"


def scaled(record: Record) -> str:
    """How the cost of a request grows, axis by axis."""
    text = SCALED.format(
        connections=scaling.CONNECTIONS,
        few=scaling.FEW,
        slice=scaling.SECONDS,
        rounds=min(record.rounds, scaling.ROUNDS),
    )
    tables = [
        f"### {axis.name}\n\nBy {axis.title}; CPU µs per request.\n\n"
        + table.markdown(*rows.scaling_rows(record, axis))
        for axis in rows.axes(record)
    ]
    return "\n\n".join([text.strip(), *tables])


def summary(record: Record) -> str:
    """One row per scenario: what ours costs, and the ratio to each contender."""
    base = record.base()
    peers = [one for one in record.servers if one.kind != "reference" and one.name != base]
    heading = ["CPU time", record.title(base), *(f"/ {one.title}" for one in peers)]
    rows = []
    for result in record.results:
        ours = next((cell for cell in result.cells if cell.server == base), None)
        cost = ours.cost(result.scenario.unit) if ours else None
        own = f"{table.figure(cost.median)} {_unit(result)}" if cost else "-"
        ratios = [str(result.ratio(base, peer.name) or "") for peer in peers]
        rows.append([result.scenario.name, own, *ratios])
    return table.markdown(heading, rows)


def drawings(record: Record) -> dict[str, str]:
    """The SVG files of a report by name."""
    title = "CPU time of the server per request"
    note = "One core, shorter is better; the line spans all rounds. A gap marks a bar cut short."
    found = {ALL: plot.draw(title, note, plot.panels(record), 2)}
    small = plot.panels(record, ["small"])
    if small:
        found[SMALL] = plot.draw(title, note, small, 1)
    found = found if record.results else {}
    if record.scaling:
        found[SCALING] = curves.draw(curves.panels(record))
    return found


def write(record: Record, folder: Path) -> list[Path]:
    """Write the page and its drawings into *folder*; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {PAGE: render(record), **drawings(record)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _preface(record: Record) -> str:
    return (
        f"Written by `python3 -m bench --report docs` on {record.made}; run it to get your own"
        " figures. It uses those of the servers below that it finds."
    )


def _heading(result: Result) -> str:
    scenario = result.scenario
    kind = "new" if scenario.new_connection else "keep-alive"
    load = f"{scenario.connections} {kind} connections at once"
    return f"### {scenario.name}\n\n{scenario.title}; {load}."


def _unit(result: Result) -> str:
    return "µs" if result.scenario.unit == "request" else "µs/MiB"


def _connections(record: Record) -> str:
    counts = sorted({result.scenario.connections for result in record.results}, reverse=True)
    return " or ".join(str(count) for count in counts) or str(idle.SCENARIO.connections)


def _versions(record: Record) -> str:
    rows = [[one.title, one.version] for one in record.servers]
    return table.markdown(["server", "version"], rows)


def _configurations(record: Record) -> list[str]:
    return [
        f"<details><summary>{one.title}</summary>\n\n```\n{one.configuration}\n```\n\n</details>"
        for one in record.servers
        if one.configuration
    ]

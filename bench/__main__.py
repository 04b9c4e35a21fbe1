"""``python3 -m bench``: choose, run, print, write.

1. Read the options; find the servers and the load.
2. Scenario by scenario: measure, and print the table at once.
3. Measure start, memory, idle connections, workers, bad neighbours, and how the cost scales.
4. Write JSON and the report, if asked for.

Every child has ended when the command does, also after Ctrl+C.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import (
    against,
    idle,
    machine,
    measure,
    memory,
    neighbours,
    parts,
    record,
    report,
    scenarios,
    servers,
    startup,
    workers,
)
from bench.load import Load
from bench.printing import print_part, print_record, print_result, say
from bench.running import StartError
from bench.setup import Pythons

EXAMPLES = """\
examples:
  python3 -m bench                                    everything, about 17 minutes
  python3 -m bench --scenario small --server portico --server nginx
  python3 -m bench scenarios --rounds 2               a quick look, without start and memory
  python3 -m bench memory --requests 100000
  python3 -m bench idle --server portico --server nginx
  python3 -m bench neighbours --server portico --server nginx --server lighttpd
  python3 -m bench scaling --rounds 1
  python3 -m bench --against ../before                paired runs of two checkouts
  python3 -m bench --peers-python /tmp/peers/bin/python --report docs --json result.json
  python3 -m bench --from-json result.json --report docs

It wants two idle cores, wrk, and whichever servers are to be compared.
"""
PARTS = ("scenarios", *parts.PARTS)
STOPS = (signal.SIGINT, signal.SIGTERM)
# What one slice takes beyond its seconds: wrk starting and ending.
OVERHEAD_SECONDS = 0.15


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(
        prog="python3 -m bench",
        description="Run Portico beside other servers and print what a request costs each of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = words.add_argument
    add("part", nargs="?", choices=PARTS, help="only this part (default: all)")
    add("--scenario", action="append", metavar="NAME", help="only this one; repeatable")
    add("--server", action="append", metavar="NAME", help="only this one; repeatable")
    add("--against", type=Path, metavar="CHECKOUT", help="compare with another checkout of Portico")
    add("--seconds", type=duration, help="length of a slice (default: 1; with --against 0.5)")
    add("--rounds", type=positive, help="slices per server and scenario (default: 5, or 20)")
    add("--connections", type=positive, metavar="N", help="instead of each scenario's own number")
    add("--starts", type=positive, default=startup.TIMES, help="starts per server (default: 15)")
    add(
        "--requests",
        type=positive,
        default=memory.REQUESTS,
        help="requests of the memory measurement (default: 1000000)",
    )
    add("--python", default=sys.executable, help="interpreter for Portico and http.server")
    add("--peers-python", default=sys.executable, help="interpreter that has uvicorn and the like")
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add("--report", type=Path, metavar="DIR", help="write benchmarks.md and its drawings")
    add("--from-json", type=Path, metavar="FILE", help="measure nothing; report what FILE holds")
    add("--list", action="store_true", help="list scenarios and servers, and which are here")
    return words


def duration(text: str) -> float:
    """Seconds, at least a tenth of one, for argparse."""
    number = float(text)
    if not number >= 0.1:
        raise argparse.ArgumentTypeError("must be at least 0.1")
    return number


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(words: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = parser().parse_args(words)
    before = {order: signal.signal(order, interrupted) for order in STOPS}
    try:
        return bench(options)
    except KeyboardInterrupt:
        say("")
        print("bench: stopped; all servers have ended", file=sys.stderr)
        return 130
    except (ValueError, FileNotFoundError, StartError, subprocess.CalledProcessError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    finally:
        for order, handler in before.items():
            signal.signal(order, handler)


def interrupted(_: int, __: object) -> None:
    """Stop once; while the children are being ended, further requests to stop change nothing."""
    for order in STOPS:
        signal.signal(order, signal.SIG_IGN)
    raise KeyboardInterrupt


def bench(options: argparse.Namespace) -> int:
    """What ``main`` does, with the options read."""
    names = options.scenario or (list(against.SCENARIOS) if options.against else None)
    chosen = [wider(one, options.connections) for one in scenarios.by_names(names)]
    options.rounds = options.rounds or (against.ROUNDS if options.against else 5)
    options.seconds = options.seconds or (against.SECONDS if options.against else 1)
    if options.from_json:
        done = record.load(options.from_json)
        print_record(done)
        write(done, options)
        return 0
    pythons = Pythons(interpreter(options.python), interpreter(options.peers_python))
    versions = {one.name: one.version(pythons) for one in servers.by_names(options.server)}
    present = [one for one in servers.by_names(options.server) if versions[one.name]]
    if options.list:
        print_list(versions)
        return 0
    if not present:
        raise ValueError("none of these servers is installed; --list shows which are")
    done = record.Record(
        dt.datetime.now(dt.UTC).date().isoformat(),
        options.rounds,
        options.seconds,
        machine.describe(),
        [
            record.Participant(one.name, one.title, one.kind, versions[one.name] or "")
            for one in present
        ],
    )
    cores = machine.pick_cores()
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as name, machine.on_core(cores.load):
        folder = Path(name)
        folder.chmod(0o755)
        plan = measure.Plan(
            folder,
            folder / "site",
            pythons,
            cores,
            Load(folder),
            options.rounds,
            options.seconds,
            say,
        )
        if options.against:
            scenarios.make_files(plan.site, {one.files for one in chosen} | {"page"})
            return 0 if against.compare(plan, options.against, chosen) else 1
        run(plan, done, (present, chosen), options)
    write(done, options)
    return 1 if failed(done) else 0


def run(
    plan: measure.Plan,
    done: record.Record,
    what: tuple[list[servers.Server], list[scenarios.Scenario]],
    options: argparse.Namespace,
) -> None:
    """Measure the chosen parts into *done*, printing each as it comes."""
    present, chosen = what
    narrow = options.scenario is not None or options.server is not None
    wanted = [options.part] if options.part else PARTS[:1] if narrow else PARTS
    before = machine.stolen()
    if "scenarios" in wanted:
        print(announce(plan, present, chosen))
        scenarios.make_files(plan.site, {one.files for one in chosen} | {"page"})
        for scenario in chosen:
            result, configured = measure.run(plan, scenario, present)
            done.results.append(result)
            parts.remember(done, scenario.name, configured)
            say("")
            print_result(done, result)
    for part in PARTS[1:]:
        if part in wanted:
            parts.take(part, plan, present, done, options)
            print_part(done, part)
    stolen, ticks = (now - then for now, then in zip(machine.stolen(), before, strict=True))
    done.machine["taken by the hypervisor"] = f"{stolen / max(ticks, 1):.1%} of all CPU time"


def wider(scenario: scenarios.Scenario, connections: int | None) -> scenarios.Scenario:
    """The scenario, with another number of connections if one was given."""
    return scenario if connections is None else scenario.with_connections(connections)


def interpreter(name: str) -> str:
    """The full path of an interpreter; ValueError if there is none."""
    found = shutil.which(name)
    if found is None:
        raise ValueError(f"no interpreter {name!r}")
    return str(Path(found).absolute())


def announce(
    plan: measure.Plan, present: list[servers.Server], chosen: list[scenarios.Scenario]
) -> str:
    """What is about to happen and how long it will take."""
    seconds = sum(
        max(plan.seconds, scenario.seconds) + OVERHEAD_SECONDS
        for server in present
        for scenario in chosen
        for turn in range(plan.rounds)
        if measure.takes_part(server, scenario, plan.rounds, turn)
    )
    cores = f"servers on core {plan.cores.server}, load on core {plan.cores.load}"
    if plan.cores.server == plan.cores.load:
        cores = "one core for servers and load: the figures compare, but poorly"
    return (
        f"{len(present)} servers, {len(chosen)} scenarios, {plan.rounds} rounds of"
        f" {plan.seconds} s, about {max(seconds / 60, 1):.0f} min; {cores}"
    )


def print_list(versions: dict[str, str | None]) -> None:
    """Scenarios, and servers with their versions."""
    print("scenarios:")
    for scenario in scenarios.SCENARIOS:
        print(f"  {scenario.name:13}{scenario.title}")
    print("servers:")
    for name, version in versions.items():
        print(f"  {name:13}{version or 'not installed'}")


def write(done: record.Record, options: argparse.Namespace) -> None:
    """JSON and report, as far as asked for."""
    if options.json:
        record.save(done, options.json)
        print(f"\nwrote {options.json}")
    if options.report:
        for path in report.write(done, options.report):
            print(f"wrote {path}")


def failed(done: record.Record) -> bool:
    """Whether Portico answered anything wrongly, or something could not be measured."""
    own: list[measure.Cell | idle.Crowding | workers.Crew | neighbours.Beside] = [
        *done.idle,
        *done.workers,
        *done.neighbours,
    ]
    own += [cell for result in done.results for cell in result.cells]
    return (
        bool(done.problems)
        or any(one.problem or one.failures() for one in own if one.server == "portico")
        or any(one.problems for one in done.scaling if one.server == "portico")
    )


if __name__ == "__main__":
    sys.exit(main())

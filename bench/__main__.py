"""``python3 -m bench``: choose, run, print, write.

The exit code is 1 if Portico answered anything wrongly or something could not be measured, and 2
for a wrong option.  Every child has ended when the command does, also after Ctrl+C.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench import against, machine, parts, report, scenarios, servers
from bench.process import StartError
from bench.runner import Bench, Participant, Record
from bench.scenarios import Scenario
from bench.servers import Server

EXAMPLES = """\
examples:
  python3 -m bench --scenario small --server portico --server nginx
  python3 -m bench scenarios --rounds 2               a quick look, without start and memory
  python3 -m bench --against ../before                another checkout of Portico beside this one
  python3 -m bench --peers-python /tmp/peers/bin/python --report docs

All of it takes about 30 minutes, and wants two idle cores, wrk, and whichever servers there are.
"""
ROUNDS, SECONDS = 5, 1.0
STOPS = (signal.SIGINT, signal.SIGTERM)


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(
        prog="python3 -m bench",
        description="Run Portico beside other servers and print what a request costs each of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = words.add_argument
    add("part", nargs="?", choices=report.PARTS, help="only this part (default: all)")
    add("--scenario", action="append", metavar="NAME", help="only this one; repeatable")
    add("--server", action="append", metavar="NAME", help="only this one; repeatable")
    add("--against", type=Path, metavar="CHECKOUT", help="compare with another checkout of Portico")
    add("--seconds", type=float, help="length of a slice (default: 1; with --against 0.5)")
    add("--rounds", type=int, help="slices per server and scenario (default: 5, or 20)")
    add("--python", default=sys.executable, help="interpreter for Portico and http.server")
    add("--peers-python", default=sys.executable, help="interpreter that has uvicorn and the like")
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add("--report", type=Path, metavar="DIR", help="write benchmarks.md and its plots")
    add("--from-json", type=Path, metavar="FILE", help="measure nothing; report what FILE holds")
    add("--list", action="store_true", help="list scenarios and servers, and which are here")
    return words


def main(words: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = parser().parse_args(words)
    before = {order: signal.signal(order, interrupted) for order in STOPS}
    try:
        return bench(options)
    except KeyboardInterrupt:
        print("\nbench: stopped; all servers have ended", file=sys.stderr)
        return 130
    except (ValueError, FileNotFoundError, ModuleNotFoundError, StartError) as problem:
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
    names = options.scenario or (against.SCENARIOS if options.against else None)
    chosen = scenarios.by_names(names)
    if options.from_json:
        record = Record.load(options.from_json)
        for part in report.PARTS:
            report.print_part(record, part)
        write(record, options)
        return 0
    rounds = options.rounds or (against.ROUNDS if options.against else ROUNDS)
    seconds = options.seconds or (against.SECONDS if options.against else SECONDS)
    if rounds < 1 or seconds < 0.1:
        raise ValueError("there must be one round at least, and a tenth of a second")
    own, peers = interpreter(options.python), interpreter(options.peers_python)
    candidates = servers.by_names(["portico"] if options.against else options.server)
    versions = {one.name: one.version(own, peers) for one in candidates}
    if options.list:
        for scenario in scenarios.SCENARIOS:
            print(f"scenario {scenario.name:17}{scenario.title}")
        for name, version in versions.items():
            print(f"server   {name:17}{version or 'not installed'}")
        return 0
    present = [one for one in candidates if versions[one.name]]
    if shutil.which("wrk") is None:
        raise FileNotFoundError("wrk is needed as the load (Debian: apt install wrk)")
    if not present:
        raise ValueError("none of these servers is installed; --list shows which are")
    record = Record(
        dt.datetime.now(dt.UTC).date().isoformat(),
        rounds,
        seconds,
        machine.describe(),
        [Participant(one.name, one.title, one.kind, versions[one.name] or "") for one in present],
    )
    cores = machine.pick_cores()
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as name, machine.on_core(cores.load):
        Path(name).chmod(0o755)
        run = Bench(Path(name), own, peers, cores, record)
        if options.against:
            against.compare(run, options.against.resolve(), chosen)
        else:
            measure(run, present, chosen, options)
    write(record, options)
    return 1 if record.failed() else 0


def measure(
    run: Bench, present: list[Server], chosen: list[Scenario], options: argparse.Namespace
) -> None:
    """Measure the chosen parts, printing each as it comes."""
    narrow = options.scenario is not None or options.server is not None
    wanted = ["scenarios"] if narrow else list(report.PARTS)
    stolen_before, ticks_before = machine.stolen()
    print(
        f"{len(present)} servers, {len(chosen)} scenarios, {run.record.rounds} rounds of"
        f" {run.record.seconds:g} s; servers on core {run.cores.server},"
        f" load on core {run.cores.load}"
    )
    for part in [options.part] if options.part else wanted:
        if part == "scenarios":
            for scenario in chosen:
                parts.measure_scenario(run, present, scenario)
                table = report.scenario_table(run.record, scenario.name)
                print(f"\n{table.title}\n{table}", flush=True)
        else:
            parts.measure(part, run, present, named=options.server is not None)
            report.print_part(run.record, part)
    stolen, ticks = machine.stolen()
    share = (stolen - stolen_before) / max(ticks - ticks_before, 1)
    run.record.machine["taken by the hypervisor"] = f"{share:.1%} of all CPU time"


def interpreter(name: str) -> str:
    """The full path of an interpreter; ValueError if there is none."""
    found = shutil.which(name)
    if found is None:
        raise ValueError(f"no interpreter {name!r}")
    return str(Path(found).absolute())


def write(record: Record, options: argparse.Namespace) -> None:
    """JSON and report, as far as asked for."""
    if options.json:
        record.save(options.json)
        print(f"\nwrote {options.json}")
    if options.report:
        for path in report.write(record, options.report):
            print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())

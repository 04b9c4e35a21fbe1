"""Fuzzes Portico's parsers, one after another: `python3 -m tests.fuzz --seconds 600 [TARGET...]`.

Needs the dependency group `fuzz`. Each target runs in a process of its own, with the inputs in
tests/fuzz/corpus and whatever atheris makes of them, and adds a row to a table of Markdown. An
input for which a target raises, takes SLOW seconds or more memory than it should is printed as a
line for that corpus, so that the test suite tries it from then on.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import corpora

SLOW = 1.0
"""Seconds of processor that an input may take: a thousand times what is usual, so what takes longer
does not take linear time."""
KEPT = 2048
"""Octets of a target's corpus in the repository, as `--distil` makes it."""


class Run(NamedTuple):
    """What came of one target."""

    target: str
    executions: int
    seconds: float
    """Of processor time."""
    edges: int
    finds: int

    def row(self) -> str:
        """Return it as a row of a table."""
        figures = f"{self.executions:,} | {self.seconds:,.0f} | {self.edges:,} | {self.finds}"
        return f"| {self.target} | {figures} |"


def fuzz(target: str, options: list[str]) -> None:
    """Fuzz in this process, which ends with that."""
    import atheris

    with atheris.instrument_imports(include=["portico"]):
        from tests.fuzz.targets import TARGETS
    check = TARGETS[target].check

    def once(octets: bytes) -> None:
        begun = time.thread_time()
        check(octets)
        if (taken := time.thread_time() - begun) > SLOW:
            raise AssertionError(f"{len(octets)} octets took {taken:.1f} s")

    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


def run(target: str, seconds: float, kept: Path, *, distils: bool) -> Run:
    """Fuzz one target in another process."""
    from tests.fuzz.targets import TARGETS

    folder = kept / target
    corpus, found = folder / "corpus", folder / "found"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    begins_with = [*corpora.read(target), *TARGETS[target].more]
    for octets in begins_with:
        (corpus / sha256(octets).hexdigest()).write_bytes(octets)
    words = folder / "words"
    words.write_text(corpora.dictionary(begins_with))
    limits = [f"-max_len={TARGETS[target].longest}", "-timeout=60", "-rss_limit_mb=1024"]
    more = [f"-max_total_time={seconds:.0f}", f"-dict={words}", "-print_final_stats=1"]
    begun, used = time.time(), _processor_seconds()
    said = _child(target, [*limits, *more, f"-artifact_prefix={found}/", str(corpus)])
    used = _processor_seconds() - used
    finds = sorted(path for path in found.iterdir() if path.stat().st_mtime > begun)
    if finds:
        _say(said[-6000:])
    for path in finds:
        _say(f"tests/fuzz/corpus/{target}.txt: {corpora.escaped(path.read_bytes())}")
    if distils:
        _distil(target, {path.read_bytes() for path in corpus.iterdir()} - {*begins_with})
    executions = re.findall(r"number_of_executed_units: *(\d+)", said) or re.findall(
        r"#(\d+)", said
    )
    edges = re.findall(r"cov: (\d+)", said)
    return Run(target, int((executions or "0")[-1]), used, int((edges or "0")[-1]), len(finds))


def _processor_seconds() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _child(target: str, options: list[str]) -> str:
    """Run libFuzzer with these options; return what it has said."""
    command = [sys.executable, "-m", "tests.fuzz", "--child", target, *options]
    return subprocess.run(command, stderr=subprocess.PIPE, errors="replace", check=False).stderr


def _distil(target: str, grown: set[bytes]) -> None:
    """Keep, beside what the corpus has, the shortest of the inputs that have reached more code."""
    inputs = corpora.read(target)
    room = KEPT - sum(map(len, inputs))
    for octets in sorted(grown, key=len):
        room -= len(octets)
        if room < 0:
            break
        inputs.append(octets)
    corpora.write(target, inputs)


def main(arguments: list[str]) -> int:
    """Fuzz the targets named, or all."""
    if arguments[:1] == ["--child"]:
        fuzz(arguments[1], arguments[2:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python3 -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--keep", type=Path, help="a folder in which the corpora grow")
    parser.add_argument("--distil", action="store_true", help="add a few KB to the corpora here")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    asked = parser.parse_args(arguments)
    if unknown := set(asked.targets) - TARGETS.keys():
        parser.error(f"no targets: {', '.join(sorted(unknown))}")
    names = asked.targets or list(TARGETS)
    with tempfile.TemporaryDirectory() as temporary:
        kept = asked.keep or Path(temporary)
        _say("| target | executions | CPU seconds | edges | finds |")
        _say("| --- | --: | --: | --: | --: |")
        finds = 0
        for name in names:
            done = run(name, asked.seconds / len(names), kept, distils=asked.distil)
            _say(done.row())
            finds += done.finds
    return finds > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

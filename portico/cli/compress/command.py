"""`portico compress`: write the coded siblings (`app.js.br`, `.zst`, `.gz`) of a whole site.

Rule: only what is missing or stale is written. A sibling is stale when it is older than its
original, as the server has it. One that would save less than 5 % is not written, and a stale one in
its place is removed. Siblings without an original are left alone: they may be all there is.
Limit: an original that is replaced by an older file, with its old time, does not make a sibling
stale; `--force` writes all anew.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from portico.cli.compress.processes import PREFIX, SUFFIX, Crew, Task, Written
from portico.cli.terminal import (
    FOUND,
    INTERRUPTED,
    STDERR,
    STOPPED,
    Parser,
    UsageError,
    formatter,
    printable,
    say,
)
from portico.config.config import Config, ConfigError, check_root, cores, suggestion
from portico.site.compression.encoders import SUFFIXES, WORTH_FROM, available
from portico.site.pages.listing import human_size
from portico.site.representation.media import is_compressible, media_type
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import is_hidden, is_safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

INTRO = """\
Write compressed files (app.js.br, app.js.zst, app.js.gz) beside the originals
of a site, as small as each coding allows. The server sends them to whoever
takes them. Only what is missing or older than its original is written.
"""

OUTRO = """\
examples:
  portico compress               the current folder, in all codings
  portico compress site --dry-run
                                 what would be written to the folder "site"
  portico compress --coding gzip,br
                                 only these two

The exit code is 1 if a file could not be read or written; all others are done
nevertheless. br and zstd need libraries: pip install brotli zstandard
"""

JOBS_LIMIT = 256
"""Threads; each may need some 200 MiB of memory for a large file."""

_ABANDONED = 3600
"""Seconds after which a temporary file belongs to a process that was killed."""

_CURE = "pip install brotli zstandard"

Names = tuple[str, ...]


def run(argv: Sequence[str]) -> int:
    """Carry out `portico compress` with these arguments. Returns the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    wanted = _parse(argv)
    root = check_root(Config.of(root=wanted.root))
    codings = _codings(wanted.coding)
    absent = [coding for coding in SUFFIXES if coding not in available()]
    if absent and not wanted.coding and not wanted.quiet:
        say(f"No {' and no '.join(absent)} without a library: {_CURE}\n")
    survey = Survey(root, codings, force=wanted.force)
    if not wanted.dry_run:
        return _compress(survey, wanted.jobs, quiet=wanted.quiet)
    if not wanted.quiet:
        _tell(_forecast(survey))
    return _complain(survey.troubles)


def _compress(survey: Survey, jobs: int, *, quiet: bool) -> int:
    crew = Crew(survey.root, survey.tasks)
    bar = Bar(crew, survey.tasks, shown=not quiet and os.isatty(STDERR))
    try:
        survey.sweep()
        crew.work(min(jobs, len(survey.tasks)), bar.draw)
    except KeyboardInterrupt:
        bar.clear()
        done = f"{len(crew.written):,} of {_count(len(survey.tasks), 'compressed file')}"
        say(f"Stopped: {done} written, each of them whole. The next run does the rest.\n")
        return INTERRUPTED
    bar.clear()
    if not quiet:
        _tell(_summary(survey, crew))
    return _complain([*survey.troubles, *crew.troubles])


class Survey:
    """What there is to compress in a site, and which siblings are up to date."""

    def __init__(self, root: str, codings: Sequence[str], *, force: bool) -> None:
        """`root` is a real path. With `force` nothing counts as up to date."""
        self.root = root
        self.originals = self.octets = 0
        """The files that can be compressed, and the sum of their sizes."""
        self.tasks: list[Task] = []
        self.kept: list[Written] = []
        """The siblings that are up to date."""
        self.troubles: list[str] = []
        self._abandoned: list[str] = []
        for names, path, status in self._files():
            self.originals += 1
            self.octets += status.st_size
            for coding in codings:
                modified, size = _sibling(path + SUFFIXES[coding])
                if not force and size is not None and modified >= status.st_mtime_ns:
                    self.kept.append(Written(coding, status.st_size, size))
                else:
                    original = "/".join(names), path
                    exists = size is not None
                    self.tasks.append(Task(coding, original, status.st_size, exists=exists))

    def sweep(self) -> None:
        """Remove the temporary files of runs that were killed."""
        for path in self._abandoned:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _files(self) -> Iterator[tuple[Names, str, os.stat_result]]:
        """The files that can be compressed, each by its names below the root and its path."""
        folders: list[Names] = [()]
        while folders:
            above = folders.pop()
            path = os.path.join(self.root, *above)
            try:
                with os.scandir(path) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError as problem:
                self._note("/".join(above) or path, problem)
                continue
            for entry in entries:
                names = (*above, entry.name)
                try:
                    if (status := self._judge(entry, names)) is None:
                        continue
                except OSError as problem:
                    self._note("/".join(names), problem)
                    continue
                if stat.S_ISDIR(status.st_mode):
                    folders.append(names)
                else:
                    yield names, entry.path, status

    def _judge(self, entry: os.DirEntry[str], names: Names) -> os.stat_result | None:
        """The status of a folder to walk or a file to compress; None for all else."""
        if is_hidden(names) or not is_safe(entry.name):
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                self._note_temporary(entry)
            return None
        if entry.is_dir(follow_symlinks=False):
            return entry.stat(follow_symlinks=False)
        if not is_compressible(media_type(entry.name)):
            return None  # so is every coded sibling
        if is_rules_file(names):
            return None
        if entry.is_symlink() and not self._contains(entry.path):
            return None
        status = entry.stat()
        large_enough = stat.S_ISREG(status.st_mode) and status.st_size >= WORTH_FROM
        return status if large_enough else None

    def _contains(self, path: str) -> bool:
        real = os.path.realpath(path)
        return os.path.exists(real) and real.startswith(os.path.join(self.root, ""))

    def _note_temporary(self, entry: os.DirEntry[str]) -> None:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _ABANDONED:
            self._abandoned.append(entry.path)

    def _note(self, name: str, problem: OSError) -> None:
        self.troubles.append(f"cannot read {name}: {problem.strerror or problem}")


def _sibling(path: str) -> tuple[int, int | None]:
    """When the file at `path` was modified (ns), and its size; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, None
    return status.st_mtime_ns, status.st_size if stat.S_ISREG(status.st_mode) else None


class Bar:
    """A line on the terminal that shows how far the crew has got."""

    def __init__(self, crew: Crew, tasks: Sequence[Task], *, shown: bool) -> None:
        self._crew = crew
        self._tasks = len(tasks)
        self._effort = sum(task.effort for task in tasks)
        self._shown = shown
        self._last = ""

    def draw(self) -> None:
        """Show how far it is now."""
        if not self._shown:
            return
        share = self._crew.effort / max(self._effort, 1)
        count = f"{self._crew.finished:,} of {_count(self._tasks, 'file')}"
        width = max(0, min(40, _columns() - len(count) - 12))
        full = int(share * width)
        text = f"[{'#' * full}{'.' * (width - full)}] {int(share * 100):3} %  {count}"
        if text != self._last:
            say("\r" + text.ljust(len(self._last)))
            self._last = text

    def clear(self) -> None:
        """Leave the line empty, also of the ^C that a terminal shows."""
        if self._last:
            say(f"\r{' ' * (len(self._last) + 2)}\r")
            self._last = ""


def _columns() -> int:
    try:
        return os.get_terminal_size(STDERR).columns or 80
    except OSError:
        return 80


def _forecast(survey: Survey) -> str:
    """What would be written."""
    names = [f"{task.name}{SUFFIXES[task.coding]}" for task in survey.tasks]
    lines = [f"would write {printable(name)}" for name in names]
    counts = f"{_count(len(names), 'compressed file')} to write, {len(survey.kept):,} up to date"
    return "\n".join([*lines, f"{_count(survey.originals, 'file')} considered: {counts}.\n"])


def _summary(survey: Survey, crew: Crew) -> str:
    """What was written, and what the site's siblings save, those included that were there."""
    counts = [
        f"{_count(len(crew.written), 'compressed file')} written",
        f"{len(survey.kept):,} up to date",
        f"{crew.worthless:,} not worth it",
    ]
    lines = [f"{_count(survey.originals, 'file')} considered: {', '.join(counts)}."]
    best = ""
    for coding in SUFFIXES:
        made = [each for each in (*survey.kept, *crew.written) if each.coding == coding]
        before, after = sum(each.before for each in made), sum(each.after for each in made)
        if not made:
            continue
        sizes = f"{human_size(before):>9} -> {human_size(after):>9}"
        lines.append(
            f"  {coding:<4} {sizes}  ({after / before:.0%} of {_count(len(made), 'file')})"
        )
        saved = f"{human_size(before - after)} of {human_size(survey.octets)}"
        best = best or f"A client that takes {coding} saves {saved}."
    return "\n".join([*lines, best]).rstrip() + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _complain(troubles: Iterable[str]) -> int:
    """Say what went wrong. Returns the exit code."""
    code = STOPPED
    for trouble in troubles:
        say(f"portico: error: {printable(trouble)}\n")
        code = FOUND
    return code


def _tell(text: str) -> None:
    """Write to stdout, in whatever letters it has, as long as somebody reads it."""
    letters = getattr(sys.stdout, "encoding", None) or "ascii"
    with contextlib.suppress(OSError):
        sys.stdout.write(text.encode(letters, "backslashreplace").decode(letters))


def _codings(asked: Sequence[str]) -> list[str]:
    """The codings to write, in the order of preference. Raises ConfigError."""
    words = [word.strip() for listed in asked for word in listed.split(",")]
    for word in words:
        if word not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            near = suggestion(word, SUFFIXES) or f"; there are {known}"
            raise UsageError(f"--coding: there is no coding {word!r}{near}")
        if word not in available():
            raise ConfigError(f"--coding: {word} needs a library that is not installed: {_CURE}")
    return [coding for coding in available() if coding in words or not words]


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= JOBS_LIMIT:
        msg = f"{text!r} is not a number from 1 to {JOBS_LIMIT}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The values of all options. Raises UsageError."""
    parser = Parser(
        prog="portico compress",
        usage="portico compress [options] [DIR]",
        description=INTRO,
        epilog=OUTRO,
        formatter_class=formatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add("root", nargs="?", default=".", metavar="DIR", help="Folder of the site (default: .).")
    codings = "Only these codings, of br, zstd and gzip; repeatable (default: all there are)."
    add("--coding", action="append", default=[], metavar="LIST", help=codings)
    jobs = "How many files to compress at a time (default: one on each core)."
    add("--jobs", type=_jobs, default=min(cores(), JOBS_LIMIT), metavar="N", help=jobs)
    add("--force", action="store_true", help="Write also what is up to date.")
    add("--dry-run", action="store_true", help="Only tell what would be written.")
    add("--quiet", action="store_true", help="Tell nothing but what goes wrong.")
    add("-h", "--help", action="help", help="Show this text.")
    wanted, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0].partition("=")[0]
        if word.startswith("-"):
            known = ["--coding", "--jobs", "--force", "--dry-run", "--quiet", "--help"]
            raise UsageError(f"there is no option {word}{suggestion(word, known)}")
        raise UsageError(f"one folder is compressed, so {word!r} is too much")
    return wanted

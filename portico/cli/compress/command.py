"""`portico compress`: write the compressed files (`app.js.br`, `.zst`, `.gz`) of a whole site.

Rule: only missing and stale compressed files are written. A compressed file is stale when it is
older than its original; the server uses the same rule. A compressed file that would save less than
5 % is not written, and an existing stale one is removed. Compressed files without an original are
left alone.
Limit: if an original is replaced by an older file that keeps its time, the compressed files do not
become stale; `--force` writes all of them again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from portico.cli.compress.writing import (
    PREFIX,
    SUFFIX,
    Task,
    Writer,
    Written,
    child_processes,
    remove,
)
from portico.cli.terminal import (
    FOUND,
    INTERRUPTED,
    STDERR,
    STOPPED,
    Parser,
    UsageError,
    add_help,
    complain,
    count,
    printable,
    say,
    show,
)
from portico.cli.walk import walk
from portico.config.config import Config, ConfigError, check_root, suggestion
from portico.config.kinds import cores
from portico.site.compression.encoders import SUFFIXES, WORTH_FROM, available
from portico.site.pages.listing import human_size
from portico.site.representation.content_type import BEGINNING, reads_beginning, refined
from portico.site.representation.media import is_compressible, media_type
from portico.site.target import is_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.cli.walk import Item

INTRO = """\
Write compressed files (app.js.br, app.js.zst, app.js.gz) beside the originals
of a site, as small as each coding allows. The server sends them to clients
that accept them. Only what is missing or older than its original is written.
"""

OUTRO = """\
examples:
  portico compress               the current folder, in all codings
  portico compress site --dry-run
                                 what would be written to the folder "site"
  portico compress --coding gzip,br
                                 only these two

The exit code is 1 if a file could not be read or written; all others are done
nevertheless. br and zstd need: pip install 'portico-server[compression]'
"""

JOBS_LIMIT = 256
"""Most processes; each may need some 200 MiB of memory for a large file."""

_ABANDONED = 3600
"""Age in seconds from which on a temporary file is taken to be left by a killed process."""

_CURE = "pip install 'portico-server[compression]'"


def run(argv: Sequence[str]) -> int:
    """Run `portico compress` with these arguments, and return the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    options = parser().parse(argv)
    root = check_root(Config.of(root=options.root))
    codings = _codings(options.coding)
    absent = [coding for coding in SUFFIXES if coding not in available()]
    if absent and not options.coding and not options.quiet:
        say(f"No {' and no '.join(absent)} without a library: {_CURE}\n")
    survey = Survey(root, codings, force=options.force)
    errors = survey.errors
    if options.dry_run:
        text = _forecast(survey)
    else:
        writer = Writer(root, survey.tasks)
        try:
            _write(survey, writer, options.jobs, bar_shown=not options.quiet and os.isatty(STDERR))
        except KeyboardInterrupt:
            done = f"{len(writer.written):,} of {count(len(survey.tasks), 'compressed file')}"
            say(f"Stopped: {done} written, each of them whole. The next run does the rest.\n")
            return INTERRUPTED
        text = _summary(survey, writer)
        errors += writer.errors
    if not options.quiet:
        show(text)
    for error in errors:
        complain(error)
    return FOUND if errors else STOPPED


def _write(survey: Survey, writer: Writer, jobs: int, *, bar_shown: bool) -> None:
    """Remove abandoned temporary files, and write the missing and stale compressed files.

    Raises KeyboardInterrupt.
    """
    for path in survey.abandoned:
        remove(*os.path.split(path))
    if survey.tasks:
        bar = Bar(writer)
        try:
            writer.run(child_processes(jobs), jobs, bar.draw if bar_shown else lambda: None)
        finally:
            bar.clear()


class Survey:
    """The files of a site to compress, and the compressed files that are up to date."""

    def __init__(self, root: str, codings: Sequence[str], *, force: bool) -> None:
        """`root` is a real path. With `force`, no compressed file counts as up to date."""
        self.originals = self.octets = 0
        """The number of files that can be compressed, and the sum of their sizes in bytes."""
        self.tasks: list[Task] = []
        self.kept: list[Written] = []
        """The compressed files that are up to date."""
        self.abandoned: list[str] = []
        """The temporary files of runs that were killed."""
        self.errors: list[str] = []
        for folder in walk(root, through_links=False):
            for name, problem in [
                (folder.shown or root, folder.problem),
                *((item.shown, item.problem) for item in folder.items),
            ]:
                if problem is not None:
                    self.errors.append(f"cannot read {name}: {problem.strerror or problem}")
            for item in folder.items:
                if item.is_file and item.status is not None:
                    self._add(item, item.status, codings, force=force)

    def _add(
        self, item: Item, status: os.stat_result, codings: Sequence[str], *, force: bool
    ) -> None:
        """Add the tasks for a file, or note the file as a temporary one."""
        if item.name.startswith(PREFIX) and item.name.endswith(SUFFIX) and not item.is_link:
            if time.time() - status.st_mtime > _ABANDONED:
                self.abandoned.append(item.path)
            return
        size = status.st_size
        if size < WORTH_FROM or not item.is_served or not all(map(is_safe, item.names)):
            return
        if not is_compressible(_content_type(item)):
            return  # including all compressed files
        self.originals += 1
        self.octets += size
        for coding in codings:
            known = _file_status(item.path + SUFFIXES[coding])
            if known is not None and not force and known.st_mtime_ns >= status.st_mtime_ns:
                self.kept.append(Written(coding, size, known.st_size))
            else:
                self.tasks.append(Task(coding, item.shown, item.path, size))


def _content_type(item: Item) -> str:
    kind = media_type(item.name, item.names)
    if reads_beginning(item.name):
        with contextlib.suppress(OSError), open(item.path, "rb") as file:
            return refined(kind, item.name, file.read(BEGINNING))
    return kind


def _file_status(path: str) -> os.stat_result | None:
    """Return the status of the regular file at `path`; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


class Bar:
    """A line on the terminal that shows the progress of a writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._effort = sum(task.effort for task in writer.tasks)
        self._last = ""

    def draw(self) -> None:
        """Show the present progress."""
        share = self._writer.effort / self._effort
        files = f"{self._writer.finished:,} of {count(len(self._writer.tasks), 'file')}"
        columns = os.get_terminal_size(STDERR).columns or 80
        width = max(0, min(40, columns - len(files) - 12))
        full = int(share * width)
        text = f"[{'#' * full}{'.' * (width - full)}] {int(share * 100):3} %  {files}"
        if text != self._last:
            say("\r" + text.ljust(len(self._last)))
            self._last = text

    def clear(self) -> None:
        """Clear the line, including the ^C that a terminal shows."""
        if self._last:
            say(f"\r{' ' * (len(self._last) + 2)}\r")


def _forecast(survey: Survey) -> str:
    """Return the result of --dry-run: the compressed files that would be written."""
    names = [f"{task.name}{task.suffix}" for task in survey.tasks]
    lines = [f"would write {printable(name)}" for name in names]
    counts = f"{count(len(names), 'compressed file')} to write, {len(survey.kept):,} up to date"
    return "\n".join([*lines, f"{count(survey.originals, 'file')} considered: {counts}."])


def _summary(survey: Survey, writer: Writer) -> str:
    """Return the result: what was written, and what all compressed files of the site save."""
    counts = [
        f"{count(len(writer.written), 'compressed file')} written",
        f"{len(survey.kept):,} up to date",
        f"{writer.not_worth:,} not worth it",
    ]
    lines = [f"{count(survey.originals, 'file')} considered: {', '.join(counts)}."]
    best: list[str] = []
    for coding in SUFFIXES:
        files = [each for each in (*survey.kept, *writer.written) if each.coding == coding]
        if not files:
            continue
        before, after = sum(each.before for each in files), sum(each.after for each in files)
        sizes = f"{human_size(before):>9} -> {human_size(after):>9}"
        lines.append(
            f"  {coding:<4} {sizes}  ({after / before:.0%} of {count(len(files), 'file')})"
        )
        saved = f"{human_size(before - after)} of {human_size(survey.octets)}"
        best = best or [f"A client that accepts {coding} saves {saved}."]
    return "\n".join([*lines, *best])


def _codings(lists: Sequence[str]) -> list[str]:
    """Return the codings to write, in the order of preference. Raises ConfigError."""
    words = [word.strip() for listed in lists for word in listed.split(",")]
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


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser("portico compress", "[options] [DIR]", INTRO, OUTRO)
    add = made.add_argument
    add("root", nargs="?", default=".", metavar="DIR", help="Folder of the site (default: .).")
    codings = "Only these codings, of br, zstd and gzip; repeatable (default: all there are)."
    add("--coding", action="append", default=[], metavar="LIST", help=codings)
    jobs = "How many files to compress at a time (default: one on each core)."
    add("--jobs", type=_jobs, default=min(cores(), JOBS_LIMIT), metavar="N", help=jobs)
    add("--force", action="store_true", help="Write also what is up to date.")
    add("--dry-run", action="store_true", help="Only tell what would be written.")
    add("--quiet", action="store_true", help="Tell nothing but what goes wrong.")
    add_help(made)
    return made

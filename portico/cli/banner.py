"""What the server says at its start and at its end, and what it warns of."""

from __future__ import annotations

import os

from portico import __version__
from portico.cli.terminal import STDERR, printable, wants_color

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.config.config import Config


def banner(
    config: Config, root: str, urls: list[str], warnings: list[str], metrics: str = ""
) -> str:
    """What is shown at the start: the folder, its addresses, and what the operator should know.

    `metrics` is where the metrics are, if anywhere.
    """
    lit = wants_color(config.color, STDERR)

    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if lit else text

    by = f" with {config.workers} workers" if config.workers > 1 else ""
    lines = [f"Portico {__version__} serves {paint('1', printable(root))}{by}", ""]
    lines += [f"    {paint('36', url)}" for url in urls]
    lines.append("")
    lines += [f"Metrics: {paint('36', metrics)}", ""] if metrics else []
    lines += [paint("33", f"Warning: {text}") for text in warnings]
    lines += ["Press Ctrl+C to stop.", ""]
    return "\n".join(lines)


def what_to_know(root: str, *, local: bool) -> list[str]:
    """Warnings: of a folder that holds far too much, and if not only this machine can reach it."""
    found = []
    home = os.path.realpath(os.path.expanduser("~"))
    if root == os.sep:
        found.append("this is the whole file system of this machine.")
    elif home == root or home.startswith(root + os.sep):
        found.append("your whole home directory lies in this folder.")
    if not local:
        found.append("whoever can reach this machine over the network can read this folder.")
    return found


def farewell(requests: int, seconds: float) -> str:
    """What is said at the end."""
    over = "\r" if os.isatty(STDERR) else ""  # over the ^C that the terminal has shown
    answered = "1 request" if requests == 1 else f"{requests} requests"
    return f"{over}Stopped after {answered} in {duration(seconds)}; every connection closed.\n"


def duration(seconds: float) -> str:
    """A time as one says it: the largest unit, and from the hour on the next one as well."""
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"

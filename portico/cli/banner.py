"""What the server tells the operator when it starts and stops, and what it warns of."""

from __future__ import annotations

import os

from portico import __version__
from portico.cli.terminal import BOLD, CYAN, STDERR, YELLOW, paint, printable, wants_color
from portico.site.origin.fingerprint import is_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.config.config import Config


def banner(
    config: Config, root: str, urls: list[str], warnings: list[str], metrics: str = ""
) -> str:
    """Return what is shown at the start.

    `metrics` is the URL of the metrics, or empty.
    """
    color = wants_color(config.color, STDERR)
    workers = f" with {config.workers} workers" if config.workers > 1 else ""
    folder = paint(printable(root), BOLD, color=color)
    lines = [f"Portico {__version__} serves {folder}{workers}", ""]
    lines += [f"    {paint(url, CYAN, color=color)}" for url in urls]
    lines.append("")
    lines += [f"Metrics: {paint(metrics, CYAN, color=color)}", ""] if metrics else []
    lines += [paint(f"Warning: {text}", YELLOW, color=color) for text in warnings]
    lines += ["Press Ctrl+C to stop.", ""]
    return "\n".join(lines)


def what_to_know(root: str, *, local: bool) -> list[str]:
    """Return warnings: about a folder that holds too much, and about readers in the network."""
    found = []
    if root == os.sep:
        found.append("this is the whole file system of this machine.")
    elif is_below(os.path.realpath(os.path.expanduser("~")), root):
        found.append("your whole home directory lies in this folder.")
    if not local:
        found.append("everyone who can reach this machine over the network can read this folder.")
    return found


def farewell(requests: int, seconds: float) -> str:
    """Return what is shown at the end."""
    over = "\r" if os.isatty(STDERR) else ""  # over the ^C that the terminal has shown
    answered = "1 request" if requests == 1 else f"{requests} requests"
    return f"{over}Stopped after {answered} in {duration(seconds)}; every connection closed.\n"


def duration(seconds: float) -> str:
    """Return a time in its largest unit, and from an hour on in the next one as well."""
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"

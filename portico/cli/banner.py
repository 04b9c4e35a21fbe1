"""The texts for the operator when the server starts and stops, with warnings."""

from __future__ import annotations

import os
import re
import sys

from portico import __version__
from portico.cli.terminal import (
    BOLD,
    CYAN,
    STDERR,
    YELLOW,
    count,
    line_start,
    paint,
    printable,
    report,
)
from portico.config.kinds import UNIX
from portico.site.origin.fingerprint import is_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.config.config import Config


_OWN = re.compile(r"//(?:localhost|127\.|\[::1\])")
"""Occurs in a URL that only this machine can open."""


def banner(root: str, urls: Sequence[str], *, workers: int, metrics: str, color: bool) -> str:
    """Return the text that is shown first.

    `urls` are those of the site, and `metrics` is the URL of the metrics, or empty.
    """
    several = f" with {workers} workers" if workers > 1 else ""
    folder = paint(printable(root), BOLD, color=color)
    lines = [f"Portico {__version__} serves {folder}{several}", ""]
    lines += [f"    {paint(url, CYAN, color=color)}" for url in urls]
    lines.append("")
    lines += [f"Metrics: {paint(metrics, CYAN, color=color)}", ""] if metrics else []
    return "\n".join([*lines, ""])


def remarks(noted: Sequence[str], warned: Sequence[str], *, color: bool) -> str:
    """Return the text below the banner: lines from `notes` and from `warnings`."""
    lines = [printable(text) for text in noted]
    lines += [paint(f"Warning: {text}", YELLOW, color=color) for text in warned]
    return "\n".join([*lines, "Press Ctrl+C to stop.", ""])


def warnings(root: str, *, local: bool, writable: bool = False) -> list[str]:
    """Return warnings: about a root that contains too much, and about access from the network.

    `local` tells whether only this machine can connect, `writable` whether no password is needed to
    write.
    """
    found = []
    if root == os.sep:
        found.append("this is the whole file system of this machine.")
    elif is_below(os.path.realpath(os.path.expanduser("~")), root):
        found.append("your whole home directory is in this folder.")
    if not local:
        what = "file" if os.path.isfile(root) else "folder"
        rights = "read and change" if writable else "read"
        found.append(f"everyone on your network can {rights} this {what}.")
    return found


def notes(config: Config, urls: Sequence[str]) -> list[str]:
    """Return notes about what the operator may not expect: options from a file, another port.

    `urls` are those of the sockets that Portico has opened itself.
    """
    found = [f"Options are read from {config.config}."] if config.config else []
    own = f":{config.port}/"
    if {"port", "listen"}.isdisjoint(config.given) and urls and own not in urls[0]:
        found.append(f"Port {config.port} is in use, so another one was taken.")
    return found


def qr_code(urls: Sequence[str], *, color: bool) -> str:
    """Return a QR code of the first URL that another machine can open, or a line of advice.

    Empty if stderr cannot show the code.
    """
    url = next((url for url in urls if not _OWN.search(url)), None)
    if url is None:
        return "This machine seems to have no network address.\n"
    if not os.isatty(STDERR):
        return ""
    try:
        "▀▄█".encode(sys.stderr.encoding)
        import io

        import segno
    except UnicodeEncodeError:
        return ""
    except ImportError:
        return "For a QR code of this address: pip install 'portico-server[qr]'\n"
    drawn = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out=drawn, border=2, compact=True)
    lines = drawn.getvalue().splitlines()
    # White on black, so that the code is not inverted on a light terminal.
    return "".join(f"{paint(line, '97;40', color=color)}\n" for line in (*lines, url))


def open_browser(url: str) -> None:
    """Open `url` in the browser, without waiting for the browser."""
    graphic = os.name == "nt" or sys.platform == "darwin"
    if url.startswith(UNIX) or not (
        graphic or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()
    ):
        report("no browser can be opened here")  # a text browser would take this terminal
        return
    import subprocess

    # In a child process, since the sandbox is about to restrict this one.
    program = "import sys, webbrowser; webbrowser.open(sys.argv[1])"
    subprocess.Popen([sys.executable, "-P", "-c", program, url])  # noqa: S603 (our own URL)


def farewell(requests: int, cut: int, seconds: float) -> str:
    """Return the text that is shown at the end. `cut` is the number of incomplete responses."""
    lost = f"; {count(cut, 'response')} cut off" if cut else ""
    return (
        f"{line_start()}Stopped after {count(requests, 'request')} in {duration(seconds)}{lost}.\n"
    )


def duration(seconds: float) -> str:
    """Return a duration in its largest unit, from an hour on in the two largest ones."""
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"

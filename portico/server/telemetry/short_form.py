"""The short form of the access log, for people: `14:03:22 200 GET /notes/a.pdf   1.2 MiB  38 ms`.

Rule: a line fits the terminal's width. A target that is too long loses its middle, since its end
names the file; a narrow terminal loses the other columns first. Without a terminal, nothing is left
out.
"""

from __future__ import annotations

from portico.server.telemetry.ends import BY_CLIENT, BY_SERVER, COMPLETE, TIMED_OUT
from portico.site.pages.listing import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.server.telemetry.ends import Line

_METHOD_LIMIT = 10
"""Characters of a method that are shown; methods in use are not longer."""
_NARROW, _NARROWEST = 72, 48
"""Terminal widths, in columns, below which the time of day, and also size and duration, are left
out."""

# The color of a status by its first digit: green, cyan, yellow, red.
_COLORS = {"2": "32", "3": "36", "4": "33", "5": "31"}
_RED, _DIM = "31", "2"
_MARKS = {COMPLETE: "", BY_CLIENT: " aborted", BY_SERVER: " cut off", TIMED_OUT: " timed out"}


def colored(status: str) -> str:
    """Return a status in the color of its class, as a terminal sequence."""
    return f"\x1b[{_COLORS.get(status[0], '0')}m{status}\x1b[0m"


def describe(line: str, status: int) -> tuple[str, str]:
    """Return the column of status and method, and the target, of an escaped request line."""
    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0] or rest
    return f"{status} {method[:_METHOD_LIMIT]:<4}", target


def short_line(clock: str, line: Line, now: float, *, width: int, color: bool) -> str:
    """Return a line of at most `width` columns; 0 is no limit. Its text is from `describe`."""
    _, (start, target), length, began, end = line
    last = f"{human_size(length):>9} {_duration(now - began):>7}"
    if width and width < _NARROWEST:
        last = ""
    last += _MARKS[end]
    if width and width < _NARROW:
        clock = ""
    if width:
        room = max(1, width - 1 - len(f"{clock} {start} {last}"))
        target = f"{_shortened(target, room):<{room}}"
    if color:
        start = colored(start[:3]) + start[3:]
        clock = f"\x1b[{_DIM}m{clock}\x1b[0m"
        last = f"\x1b[{_DIM if end == COMPLETE else _RED}m{last}\x1b[0m"
    return f"{clock} {start} {target} {last}".strip() + "\n"


def _shortened(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    end = max(0, room - 3) * 2 // 3
    start = max(0, room - 3 - end)
    return f"{text[:start]}...{text[len(text) - end :]}"[:room]


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"

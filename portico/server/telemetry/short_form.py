"""The access log for people: `14:03:22 200 GET /notes/a.pdf   1.2 MiB  38 ms`, fit to the terminal.

Rule: what does not fit is taken out of the middle of the target, since its end says which file it
is; in a narrow terminal the other columns go first. Without a terminal, nothing is left out.
"""

from __future__ import annotations

from portico.site.pages.listing import human_size

_METHOD_LIMIT = 10
"""Characters of a method that are shown: no method that is in use is longer."""
_NARROW, _NARROWEST = 72, 48
"""Columns of a terminal below which the time of day is left out; and size and duration as well."""

# The color of a status by its first digit: green, cyan, yellow, red.
COLORS = {"2": "32", "3": "36", "4": "33", "5": "31"}
_RED, _DIM = "31", "2"


def describe(line: str, status: int) -> tuple[str, str]:
    """Return status and method, and the target, of a request line that was made printable."""
    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0] or rest
    return f"{status} {method[:_METHOD_LIMIT]:<4}", target


def short_line(
    clock: str,
    text: tuple[str, str],
    length: int,
    seconds: float,
    *,
    cut: bool,
    width: int,
    color: bool,
) -> str:
    """Return a line of at most `width` columns; 0 is no limit. `describe` makes `text`.

    `length` bytes of content were sent, `seconds` after the request; `cut`: there should be more.
    """
    start, target = text
    end = f"{human_size(length):>9} {_duration(seconds):>7}"
    if width and width < _NARROWEST:
        end = ""
    end += " cut off" if cut else ""
    if width and width < _NARROW:
        clock = ""
    if width:
        room = max(1, width - 1 - len(f"{clock} {start} {end}"))
        target = f"{_shortened(target, room):<{room}}"
    if color:
        start = f"\x1b[{COLORS.get(start[0], '0')}m{start[:3]}\x1b[0m{start[3:]}"
        clock, end = f"\x1b[{_DIM}m{clock}\x1b[0m", f"\x1b[{_RED if cut else _DIM}m{end}\x1b[0m"
    return f"{clock} {start} {target} {end}".strip() + "\n"


def _shortened(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    end = max(0, room - 3) * 2 // 3
    start = max(0, room - 3 - end)
    return f"{text[:start]}...{text[len(text) - end :]}"[:room]


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"

"""The access log for people: what fits into how wide a terminal."""

from __future__ import annotations

import re

import pytest

from portico.server.telemetry.ends import BY_CLIENT, BY_SERVER, COMPLETE, TIMED_OUT
from portico.server.telemetry.short_form import describe, short_line

LINE = "GET /movies/a-long-name-of-a-film.mp4 HTTP/1.1"


def line(*, width: int = 0, end: str = COMPLETE, color: bool = False) -> str:
    text = describe(LINE, 206)
    exchange = ("192.0.2.1", text, 1 << 20, 5.0, end)
    return short_line("14:03:22", exchange, 5.0384, width=width, color=color)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (0, "14:03:22 206 GET  /movies/a-long-name-of-a-film.mp4   1.0 MiB   38 ms"),
        (72, "14:03:22 206 GET  /movies/a-long-name-of-a-film.mp4      1.0 MiB   38 ms"),
        (60, "206 GET  /movies/a-...-name-of-a-film.mp4   1.0 MiB   38 ms"),
        (40, "206 GET  /movies/a...ame-of-a-film.mp4"),
        (10, "206 GET  ."),
    ],
)
def test_a_line_fits_the_terminal(width: int, expected: str) -> None:
    assert line(width=width) == expected + "\n"


def test_the_end_of_a_target_is_kept() -> None:
    assert re.search(r" /mov\S*\.\.\.\S*film\.mp4 ", line(width=60))


@pytest.mark.parametrize(
    ("end", "mark"), [(BY_CLIENT, "aborted"), (BY_SERVER, "cut off"), (TIMED_OUT, "timed out")]
)
def test_what_did_not_end_well_is_marked_and_colors_take_no_room(end: str, mark: str) -> None:
    assert line(end=end).endswith(f"38 ms {mark}\n")
    colored = line(end=end, width=80, color=True)
    assert "\x1b[32m206\x1b[0m" in colored
    assert re.sub(r"\x1b\[[0-9]*m", "", colored) == line(end=end, width=80)


@pytest.mark.parametrize(
    ("request_line", "shown"),
    [
        ("GET", ("400 GET ", "")),
        ("A" * 3000, ("400 AAAAAAAAAA", "")),
        ("GET /a b HTTP/1.1", ("400 GET ", "/a b")),
    ],
)
def test_a_request_line_may_be_anything(request_line: str, shown: tuple[str, str]) -> None:
    assert describe(request_line, 400) == shown

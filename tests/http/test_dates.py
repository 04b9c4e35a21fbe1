"""Dates, against the standard library's own ways to write them."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.dates import common_log_date, imf_fixdate
from tests.http.h1.effort import THOROUGH

END_OF_9999 = 253_402_300_799
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


def test_the_example_of_the_rfc() -> None:
    """RFC 9110, 5.6.7."""
    assert imf_fixdate(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT"


@THOROUGH
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_date_from_year_1_to_9999(moment: datetime) -> None:
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert imf_fixdate(seconds) == email.utils.format_datetime(moment, usegmt=True)


@THOROUGH
@given(st.integers(0, END_OF_9999), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_fraction_is_dropped(seconds: int, fraction: float) -> None:
    time_of_change = seconds + fraction
    assert imf_fixdate(time_of_change) == imf_fixdate(int(time_of_change))


@THOROUGH
@given(st.floats() | st.integers())
def test_any_number_gives_a_date_of_the_right_form(seconds: float) -> None:
    """RFC 9110, 5.6.7: a damaged time stamp on disk still makes a field that can be parsed."""
    assert time.strptime(
        imf_fixdate(seconds).replace(" 0000 ", " 0001 "), "%a, %d %b %Y %H:%M:%S GMT"
    )


@pytest.mark.parametrize(
    "seconds", [float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 10**30, END_OF_9999 + 1]
)
def test_what_no_calendar_holds_is_the_epoch(seconds: float) -> None:
    assert imf_fixdate(seconds) == EPOCH


@pytest.fixture
def _time_zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The process in the zone of the test's parameter, afterwards in its own again."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("_time_zone", "expected"),
    [
        ("UTC", "06/Nov/1994:08:49:37 +0000"),
        ("XXX-5:30", "06/Nov/1994:14:19:37 +0530"),
        ("XXX+3:30", "06/Nov/1994:05:19:37 -0330"),
        ("XXX+12", "05/Nov/1994:20:49:37 -1200"),
        ("XXX-14", "06/Nov/1994:22:49:37 +1400"),
    ],
    indirect=["_time_zone"],
)
@pytest.mark.usefixtures("_time_zone")
def test_the_log_has_local_time(expected: str) -> None:
    assert common_log_date(784_111_777) == expected
    assert common_log_date(784_111_777.9) == expected


@THOROUGH
@given(st.integers(0, END_OF_9999))
def test_the_log_date_against_strftime(seconds: int) -> None:
    """Python leaves the process in the C locale for times, so its month names are English."""
    local = time.localtime(seconds)
    assert common_log_date(seconds) == time.strftime("%d/%b/%Y:%H:%M:%S %z", local)

"""Dates: written and parsed, against the standard library's own ways to do either."""

from __future__ import annotations

import calendar
import email.utils
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.dates import common_log_date, imf_fixdate, parse_http_date
from tests.http.h1.effort import EFFORT

NOW = 1_700_000_000
"""14 November 2023, 22:13:20."""
BEGIN_OF_0 = -62_167_219_200
END_OF_9999 = 253_402_300_799
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"
LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@EFFORT
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_date_from_year_1_to_9999(moment: datetime) -> None:
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    expected = email.utils.format_datetime(moment, usegmt=True)
    assert imf_fixdate(seconds) == imf_fixdate(seconds + 0.5) == expected


@EFFORT
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


@EFFORT
@given(st.integers(0, END_OF_9999))
def test_the_log_date_against_strftime(seconds: int) -> None:
    """Python leaves the process in the C locale for times, so its month names are English."""
    local = time.localtime(seconds)
    assert common_log_date(seconds) == time.strftime("%d/%b/%Y:%H:%M:%S %z", local)


# Parsing


def at(year: int, month: int = 1, day: int = 1, *clock: int) -> int:
    return calendar.timegm((year, month, day, *clock, *(0,) * (3 - len(clock))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Tue, 29 Feb 2000 12:00:00 GMT", at(2000, 2, 29, 12)),
        ("Thu, 29 Feb 2024 12:00:00 GMT", at(2024, 2, 29, 12)),
        ("Fri, 01 Mar 2024 00:00:00 GMT", at(2024, 3, 1)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", at(2017)),
        ("Sat Dec 31 23:59:60 2016", at(2017)),
        ("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Sun Nov 06 08:49:37 1994", 784_111_777),
        ("Fri, 31 Dec 9999 23:59:59 GMT", END_OF_9999),
    ],
)
def test_all_forms_and_their_edges(text: str, expected: int) -> None:
    """A leap second is in the grammar; a day-name that is not the date's is still one of seven."""
    assert parse_http_date(text, NOW) == expected


NO_DATES = """
0
784111777
1994-11-06T08:49:37Z
sun, 06 Nov 1994 08:49:37 GMT
Sun, 06 nov 1994 08:49:37 GMT
Sun, 06 Nov 1994 08:49:37 gmt
Sun, 06 Nov 1994 08:49:37 UTC
Sun, 06 Nov 1994 08:49:37 +0000
Sun, 6 Nov 1994 08:49:37 GMT
Sun, 06 Nov 94 08:49:37 GMT
Sun,  6 Nov 1994 08:49:37 GMT
Sun 06 Nov 1994 08:49:37  GMT
Day, 06 Nov 1994 08:49:37 GMT
Sun, 06-Nov-1994 08:49:37 GMT
Sun, 06 Nov 1994 08.49:37 GMT
Sun, 06 Nov 1994 08:49.37 GMT
 Sun, 06 Nov 1994 08:49:37 GMT
Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT
Sun, 00 Nov 1994 08:49:37 GMT
Sun, 31 Nov 1994 08:49:37 GMT
Sun, 32 Dec 1994 08:49:37 GMT
Sun, 29 Feb 1994 08:49:37 GMT
Sun, 29 Feb 1900 08:49:37 GMT
Sun, 30 Feb 2000 08:49:37 GMT
Sun, 06 Nov 1994 24:00:00 GMT
Sun, 06 Nov 1994 23:60:00 GMT
Sun, 06 Nov 1994 08:49:60 GMT
Sun, 06 Nov 1994 23:59:61 GMT
Sun, +6 Nov 1994 08:49:37 GMT
Sun, 06 Nov 1_94 08:49:37 GMT
Sun, 06 Nov 199\u0664 08:49:37 GMT
Sun, 06 Nov 199\xb2 08:49:37 GMT
Sunday, 06-Nov-94 08:49:37 UTC
Sun, 06-Nov-94 08:49:37 GMT
Sunday, 06 Nov 94 08:49:37 GMT
Sunday, 06-Nov-1994 08:49:37 GMT
Sunday, 06-Nov-9\xb2 08:49:37 GMT
Sunday, 06-Nov-94 8:49:37 GMT
Sun Nov 6 08:49:37 1994
Sun Nov 6  08:49:37 1994
Sun Nov    08:49:37 1994
Sun Nov  0 08:49:37 1994
Sun Nov  6 08:49:37 1994 GMT
Sunday Nov  6 08:49:37 94""".splitlines()


@pytest.mark.parametrize("text", [*NO_DATES, "Sun, 06 Nov 1994 08:49:37 GMT ", "Sunday, "])
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_http_date(text, NOW) is None


@pytest.mark.parametrize(
    ("year", "now", "expected"),
    [
        ("94", at(2023), 1994),
        ("23", at(2023), 2023),
        ("72", at(2023), 2072),
        ("74", at(2023), 1974),
        ("00", at(2023), 2000),
        ("99", at(1994), 1999),
        ("30", at(1994), 2030),
        ("50", at(1994), 1950),
        ("05", at(2095), 2105),
        ("46", at(2095), 2046),
    ],
)
def test_a_two_digit_year_is_at_most_fifty_years_ahead(year: str, now: int, expected: int) -> None:
    """RFC 9110, 5.6.7: beyond that it is the most recent year in the past with these digits."""
    assert parse_http_date(f"Sunday, 06-Nov-{year} 08:49:37 GMT", now) == at(
        expected, 11, 6, 8, 49, 37
    )


def test_fifty_years_are_counted_to_the_date_and_not_to_its_year() -> None:
    now = at(2023, 6, 1)
    exactly = at(2073) - 50 * 31556952  # years of 365.2425 days
    assert parse_http_date("Sunday, 01-Jan-73 00:00:00 GMT", exactly) == at(2073)
    assert parse_http_date("Sunday, 01-Jan-73 00:00:00 GMT", exactly - 1) == at(1973)
    assert parse_http_date("Sunday, 01-Jan-73 00:00:00 GMT", now) == at(2073)
    assert parse_http_date("Sunday, 01-Dec-73 00:00:00 GMT", now) == at(1973, 12)


def test_a_leap_day_belongs_to_the_year_that_is_meant() -> None:
    """2000 had one, 2100 will have none."""
    text = "Tuesday, 29-Feb-00 00:00:00 GMT"
    assert parse_http_date(text, at(2023)) == at(2000, 2, 29)
    assert parse_http_date(text, at(2060)) is None


@EFFORT
@given(st.integers(BEGIN_OF_0, END_OF_9999))
def test_it_inverts_imf_fixdate(seconds: int) -> None:
    assert parse_http_date(imf_fixdate(seconds), NOW) == seconds


@EFFORT
@given(st.integers(BEGIN_OF_0, END_OF_9999))
def test_the_asctime_form_of_any_date(seconds: int) -> None:
    year, *_ = moment = time.gmtime(seconds)
    text = f"{time.asctime(moment)[:20]}{year:04}"
    assert parse_http_date(text, NOW) == seconds


@EFFORT
@given(st.integers(at(1974), at(2073)))
def test_the_rfc_850_form_of_any_date_near_now(seconds: int) -> None:
    moment = time.gmtime(seconds)
    text = f"{LONG_DAYS[moment.tm_wday]}, {time.strftime('%d-%b-%y %H:%M:%S GMT', moment)}"
    assert parse_http_date(text, NOW) == seconds


@EFFORT
@given(
    st.sampled_from(
        [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Thu, 29 Feb 2024 23:59:60 GMT",
        ]
    ),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("0123456789 :,-+_GMTNovFeb\xb2"))),
)
def test_whatever_is_read_is_what_the_standard_library_reads(
    text: str, changes: list[tuple[int, str]]
) -> None:
    """`email.utils` reads far more than these forms.

    It takes two digits up to 68 for 20xx, as our rule does at the end of 2018, and expands four
    digits below 100 as if they were two.
    """
    for place, character in changes:
        text = text[:place] + character + text[place + 1 :]
    seconds = parse_http_date(text, at(2019) - 1)
    if seconds is not None and seconds >= at(1000):
        parsed = email.utils.parsedate(text)
        assert parsed is not None
        assert seconds == calendar.timegm(parsed)

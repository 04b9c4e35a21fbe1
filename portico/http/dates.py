"""Dates in the formats of HTTP (RFC 9110, 5.6.7) and of access logs."""

from __future__ import annotations

import time
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# Each month's length, and the number of days before it in a year that begins in March: the leap
# day is then the last day of the year, and shifts no month.
_MARCH_YEAR = {
    "Mar": (31, 0),
    "Apr": (30, 31),
    "May": (31, 61),
    "Jun": (30, 92),
    "Jul": (31, 122),
    "Aug": (31, 153),
    "Sep": (30, 184),
    "Oct": (31, 214),
    "Nov": (30, 245),
    "Dec": (31, 275),
    "Jan": (31, 306),
    "Feb": (29, 337),
}
_MARCH_OF_YEAR_0 = -719468
"""1 March of year 0, in days since the epoch."""
_FIFTY_YEARS = 50 * 31556952
"""In seconds, with Gregorian years of mean length."""


@lru_cache(maxsize=256)
def imf_fixdate(seconds: float) -> str:
    """Return `seconds` since the epoch as an IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT".

    Does not use strftime, which depends on the locale. A time outside the years 0 to 9999 (a
    damaged mtime) becomes the epoch.
    """
    try:
        year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    except (OverflowError, OSError, ValueError):
        return imf_fixdate(0)
    if not 0 <= year <= 9999:
        return imf_fixdate(0)
    return (
        f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} "
        f"{hour:02}:{minute:02}:{second:02} GMT"
    )


def common_log_date(seconds: float) -> str:
    """Return `seconds` since the epoch as local time: "06/Nov/1994:08:49:37 +0000"."""
    local = time.localtime(seconds)
    minutes = local.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    return (
        f"{local.tm_mday:02}/{_MONTHS[local.tm_mon - 1]}/{local.tm_year:04}:"
        f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02} {sign}{hours:02}{minutes:02}"
    )


def parse_http_date(value: str, now: float) -> int | None:
    """Return an HTTP-date in seconds since the epoch; None if `value` is not an HTTP-date.

    Accepts the three forms of RFC 9110, 5.6.7, with their exact case and spaces. A day that the
    month does not have is invalid; the day-name is not compared with the date. A leap second counts
    as the second after it. A two-digit year is in the latest century in which the date is at most
    50 years after `now`, in seconds since the epoch.
    """
    if len(value) == 29:
        name, day, month, year = value[:3], value[5:7], value[8:11], value[12:16]
        clock = value[17:25]
        if name in _DAYS and value == f"{name}, {day} {month} {year} {clock} GMT":
            return _epoch_seconds(year, month, day, clock)
    elif len(value) == 24:
        name, month, day, clock, year = value[:3], value[4:7], value[8:10], value[11:19], value[20:]
        if name in _DAYS and value == f"{name} {month} {day} {clock} {year}":
            return _epoch_seconds(year, month, f"0{day[1]}" if day[0] == " " else day, clock)
    else:
        name, _, rest = value.partition(", ")
        day, month, year, clock = rest[:2], rest[3:6], rest[7:9], rest[10:18]
        if name in _LONG_DAYS and rest == f"{day}-{month}-{year} {clock} GMT":
            if not (year.isdigit() and year.isascii()):
                return None
            latest = time.gmtime(now).tm_year + 50
            latest -= (latest - int(year)) % 100
            seconds = _epoch_seconds(f"{latest:04}", month, day, clock)
            if seconds is None or seconds <= now + _FIFTY_YEARS:
                return seconds
            return _epoch_seconds(f"{latest - 100:04}", month, day, clock)
    return None


def _epoch_seconds(year: str, month: str, day: str, clock: str) -> int | None:
    """Return a date and a time "HH:MM:SS" in seconds since the epoch; None if they are invalid."""
    hour, minute, second = clock[:2], clock[3:5], clock[6:]
    if month not in _MARCH_YEAR or clock[2] != ":" or clock[5] != ":":
        return None
    digits = year + day + hour + minute + second
    if not (digits.isdigit() and digits.isascii()):
        return None
    if not (hour <= "23" and minute <= "59" and second <= "59") and clock != "23:59:60":
        return None
    length, before = _MARCH_YEAR[month]
    number, of_month = int(year), int(day)
    leap = number % 4 == 0 and (number % 100 != 0 or number % 400 == 0)
    if not 1 <= of_month <= length or (month == "Feb" and of_month == 29 and not leap):
        return None
    if month in ("Jan", "Feb"):
        number -= 1
    days = number * 365 + number // 4 - number // 100 + number // 400 + before + of_month - 1
    return (_MARCH_OF_YEAR_0 + days) * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second)

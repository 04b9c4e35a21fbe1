"""Preconditions: whether to perform a request, and whether with its Range (RFC 9110, 13).

Each field has one function that says True (the condition holds), False (it does not) or None (the
field is absent, or to be ignored); `evaluate` asks them in the order of section 13.2.2.
Rule: a malformed field never gains anything. Malformed tags match none, so If-Match fails, and
If-None-Match answers a read in full and refuses a write; malformed dates are ignored, as 13.1.3 and
13.1.4 demand.
Limit: the caller evaluates only what would succeed without conditions (13.2.1), and clamps the
modification date to the clock before it becomes a validator (8.8.2.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from portico.http.dates import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final, Literal

    from portico.http.message import Field

    Outcome = Literal[0, 200, 304, 412]
    Tags = list[str] | tuple[str, ...]

PROCEED: Final = 0
"""Perform the request; a Range field applies."""
IGNORE_RANGE: Final = 200
"""Perform the request as if it had no Range field: If-Range names another version."""
NOT_MODIFIED: Final = 304
"""Answer 304 (Not Modified)."""
PRECONDITION_FAILED: Final = 412
"""Answer 412 (Precondition Failed)."""

FIELDS = frozenset(
    {"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
"""The fields evaluated here, in lower case."""

_READING = frozenset({"GET", "HEAD"})
_SELECTING_NOTHING = frozenset({"CONNECT", "OPTIONS", "TRACE"})

# What etagc excludes (RFC 9110, 8.8.3): etagc = %x21 / %x23-7E / obs-text.
_NOT_ETAGC = re.compile(r"[^!#-~\x80-\xff]")


class Validators:
    """What identifies the selected representation as it is now (RFC 9110, 8.8)."""

    __slots__ = ("etag", "exists", "last_modified", "tags")

    def __init__(
        self,
        etag: str | None,
        last_modified: int | None,
        aliases: Iterable[str] = (),
        *,
        exists: bool = True,
    ) -> None:
        self.etag = etag
        """The entity tag as it is sent, quotes included; None where there is none."""
        self.last_modified = last_modified
        """Whole seconds since the epoch, as sent in Last-Modified; None where there are none."""
        self.exists = exists
        """Is there a current representation at all?"""
        self.tags = tuple(aliases) if etag is None else (etag, *aliases)
        """`etag` and its aliases: further tags that have stood for exactly the same octets."""


NOTHING = Validators(None, None, exists=False)
"""The validators of a resource that has no representation yet."""


def is_conditional(fields: Iterable[Field]) -> bool:
    """Is any field among `fields` a precondition? Without one, `evaluate` says PROCEED."""
    for name, _ in fields:  # noqa: SIM110 - a generator for any() takes four times as long
        if name in FIELDS:
            return True
    return False


def evaluate(
    get: Callable[[str], str | None], method: str, validators: Validators, now: float
) -> Outcome:
    """What a request's preconditions come to, in the order of RFC 9110, 13.2.2.

    1. If-Match, if present: when false, 412; when true, go on at 3.
    2. If-Unmodified-Since, if there is no If-Match: when false, 412.
    3. If-None-Match, if present: when false, 304 for GET and HEAD, 412 for other methods; when
       true, go on at 5.
    4. If-Modified-Since, for GET and HEAD without If-None-Match: when false, 304.
    5. If-Range, for GET with Range: when false, the Range is ignored.
    6. Otherwise the request is performed.

    `get` gives a field's value by its name in lower case, several lines joined, as
    `RequestHead.get` does; `now` is the Date of the answer, in seconds since the epoch. Methods
    that select no representation have no preconditions (13.2.1).
    """
    if method in _SELECTING_NOTHING:
        return PROCEED
    held = if_match(get("if-match"), validators)
    if held is None:
        held = if_unmodified_since(get("if-unmodified-since"), validators, now)
    if held is False:
        return PRECONDITION_FAILED
    reading = method in _READING
    held = if_none_match(get("if-none-match"), validators, method)
    if held is None and reading:
        held = if_modified_since(get("if-modified-since"), validators, now)
    if held is False:
        return NOT_MODIFIED if reading else PRECONDITION_FAILED
    if (
        method == "GET"
        and (value := get("if-range")) is not None
        and get("range") is not None
        and not if_range_holds(value, validators, now)
    ):
        return IGNORE_RANGE
    return PROCEED


def if_match(value: str | None, validators: Validators) -> bool | None:
    """Is the current representation one of those that the client names (RFC 9110, 13.1.1)?"""
    if value is None:
        return None
    if value == "*":
        return validators.exists
    return strong_match(entity_tags(value) or (), validators.tags)


def if_unmodified_since(value: str | None, validators: Validators, now: float) -> bool | None:
    """Is the representation no younger than the client's date (RFC 9110, 13.1.4)?"""
    if value is None or validators.last_modified is None:
        return None
    date = parse_http_date(value, now)
    return None if date is None else validators.last_modified <= date


def if_none_match(value: str | None, validators: Validators, method: str) -> bool | None:
    """Is the current representation none of those that the client names (RFC 9110, 13.1.2)?

    `method` decides what a malformed value means: a read is answered in full, and a write, which
    somebody meant to restrict, is not performed.
    """
    if value is None:
        return None
    if value.removeprefix("W/") == validators.etag:
        return False
    if value == "*":
        return not validators.exists
    tags = entity_tags(value)
    if tags is None:
        return method in _READING
    return not weak_match(tags, validators.tags)


def if_modified_since(value: str | None, validators: Validators, now: float) -> bool | None:
    """Is the representation younger than the client's date (RFC 9110, 13.1.3)?

    A date in the future is taken as it stands: RFC 9110 no longer calls it invalid.
    """
    if value is None or validators.last_modified is None:
        return None
    date = parse_http_date(value, now)
    return None if date is None else validators.last_modified > date


def if_range_holds(value: str, validators: Validators, now: float) -> bool:
    """Does the client's part belong to the current representation (RFC 9110, 13.1.5)?

    A tag has to match strongly; its aliases count, for they stood for the same octets. A date has
    to be the very date of Last-Modified and a strong validator: one whose second was over when the
    answer is made, because until then the file could change and keep its date (8.8.2.2).
    """
    if '"' in value[:3]:
        return strong_match((value,), validators.tags)
    date = parse_http_date(value, now)
    return date is not None and date == validators.last_modified and now >= date + 1


def strong_match(ones: Tags, others: Tags) -> bool:
    """Is a tag of `ones` the same as one of `others`, both strong (RFC 9110, 8.8.3.2)?"""
    return any(tag in ones and tag[:2] != "W/" for tag in others)


def weak_match(ones: Tags, others: Tags) -> bool:
    """Is a tag of `ones` the same as one of `others`, weak or not (RFC 9110, 8.8.3.2)?"""
    opaque = [tag.removeprefix("W/") for tag in ones]
    return any(tag.removeprefix("W/") in opaque for tag in others)


def entity_tags(value: str) -> list[str] | None:
    """The members of a list of entity tags, or None where it is malformed (RFC 9110, 8.8.3).

    Commas may stand in a tag; quotes cannot, so they cut the value into what lies between tags and
    what lies in them. Empty list elements are skipped (5.6.1.2).
    """
    pieces = value.split('"')
    if len(pieces) % 2 == 0 or pieces[-1].strip(" \t,"):
        return None
    opaque = pieces[1::2]
    if _NOT_ETAGC.search("".join(opaque)):
        return None
    tags: list[str] = []
    for before, tag in zip(pieces[::2], opaque, strict=False):
        gap = before.removesuffix("W/")
        if gap.strip(" \t,") or (tags and "," not in gap):
            return None
        tags.append(f'{before[len(gap) :]}"{tag}"')
    return tags

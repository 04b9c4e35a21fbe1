"""Preconditions: whether to perform a request, and whether its Range applies (RFC 9110, 13).

There is one function for each field. It returns True if the condition holds, False if not, and None
if the field is absent or must be ignored. `evaluate` calls them in the order of section 13.2.2.
Malformed fields: a malformed list of entity tags matches nothing, so If-Match fails. A malformed
If-None-Match holds for GET and HEAD, which get the whole content, and fails for other methods, so
that nothing is overwritten. A malformed date is ignored (13.1.3, 13.1.4).
Limit: the caller evaluates only requests that would succeed without conditions (13.2.1), and never
passes a modification date in the future (8.8.2.1).
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
"""Perform the request as if it had no Range field, since If-Range does not hold."""
NOT_MODIFIED: Final = 304
"""Respond with 304 (Not Modified)."""
PRECONDITION_FAILED: Final = 412
"""Respond with 412 (Precondition Failed)."""

FIELDS = frozenset(
    {"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
"""The fields evaluated here, in lower case."""

_READS = frozenset({"GET", "HEAD"})
_UNCONDITIONAL = frozenset({"CONNECT", "OPTIONS", "TRACE"})
"""Methods that select no representation, and so have no preconditions (RFC 9110, 13.2.1)."""

# A character that is not etagc (RFC 9110, 8.8.3): etagc = %x21 / %x23-7E / obs-text.
_NOT_ETAGC = re.compile(r"[^!#-~\x80-\xff]")


class Validators:
    """The validators of the current representation (RFC 9110, 8.8)."""

    __slots__ = ("etag", "exists", "last_modified", "shares_date")

    def __init__(
        self,
        etag: str | None,
        last_modified: int | None,
        *,
        exists: bool = True,
        shares_date: bool = False,
    ) -> None:
        self.etag = etag
        """The entity tag with its quotes, as in ETag; None if the representation has none."""
        self.last_modified = last_modified
        """Last-Modified in seconds since the epoch; None if the representation has none."""
        self.exists = exists
        """Whether there is a current representation."""
        self.shares_date = shares_date
        """Whether the client may have another representation with the same date."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The entity tag, if there is one."""
        return () if self.etag is None else (self.etag,)


NOTHING = Validators(None, None, exists=False)
"""The validators of a resource that has no representation yet."""


def is_conditional(fields: Iterable[Field]) -> bool:
    """Return whether `fields` contain a precondition. Without one, `evaluate` returns PROCEED."""
    for name, _ in fields:  # noqa: SIM110 - a generator for any() takes four times as long
        if name in FIELDS:
            return True
    return False


def evaluate(
    get: Callable[[str], str | None], method: str, validators: Validators, now: float
) -> Outcome:
    """Evaluate a request's preconditions in the order of RFC 9110, 13.2.2.

    1. If-Match, if present: if false, 412; if true, continue at 3.
    2. If-Unmodified-Since, if there is no If-Match: if false, 412.
    3. If-None-Match, if present: if false, 304 for GET and HEAD, 412 for other methods; if true,
       continue at 5.
    4. If-Modified-Since, for GET and HEAD without If-None-Match: if false, 304.
    5. If-Range, for GET with Range: if false, the Range is ignored.
    6. Otherwise the request is performed.

    `get` returns a field's value by its name in lower case, with repeated lines joined, like
    `RequestHead.get`. `now` is the Date of the response, in seconds since the epoch.
    """
    if method in _UNCONDITIONAL:
        return PROCEED
    held = if_match(get("if-match"), validators)
    if held is None:
        held = if_unmodified_since(get("if-unmodified-since"), validators, now)
    if held is False:
        return PRECONDITION_FAILED
    is_read = method in _READS
    held = if_none_match(get("if-none-match"), validators, method)
    if held is None and is_read:
        held = if_modified_since(get("if-modified-since"), validators, now)
    if held is False:
        return NOT_MODIFIED if is_read else PRECONDITION_FAILED
    if (
        method == "GET"
        and (value := get("if-range")) is not None
        and get("range") is not None
        and not if_range_holds(value, validators, now)
    ):
        return IGNORE_RANGE
    return PROCEED


def if_match(value: str | None, validators: Validators) -> bool | None:
    """Return whether If-Match lists the current representation (RFC 9110, 13.1.1)."""
    if value is None:
        return None
    if value == "*":
        return validators.exists
    return strong_match(entity_tags(value) or (), validators.tags)


def if_unmodified_since(value: str | None, validators: Validators, now: float) -> bool | None:
    """Return whether Last-Modified is not later than the date in `value` (RFC 9110, 13.1.4)."""
    if value is None or validators.last_modified is None:
        return None
    date = parse_http_date(value, now)
    return None if date is None else validators.last_modified <= date


def if_none_match(value: str | None, validators: Validators, method: str) -> bool | None:
    """Return whether If-None-Match does not list the current representation (RFC 9110, 13.1.2).

    A malformed value holds for GET and HEAD, and fails for any other `method`.
    """
    if value is None:
        return None
    if value.removeprefix("W/") == validators.etag:
        return False
    if value == "*":
        return not validators.exists
    tags = entity_tags(value)
    if tags is None:
        return method in _READS
    return not weak_match(tags, validators.tags)


def if_modified_since(value: str | None, validators: Validators, now: float) -> bool | None:
    """Return whether Last-Modified is later than the date in `value` (RFC 9110, 13.1.3).

    A date in the future is valid, unlike in the obsolete RFC 7232.
    """
    unmodified = if_unmodified_since(value, validators, now)
    return None if unmodified is None else not unmodified


def if_range_holds(value: str, validators: Validators, now: float) -> bool:
    """Return whether If-Range identifies the current representation (RFC 9110, 13.1.5).

    A tag must match by strong comparison. A date must equal Last-Modified and be a strong validator
    (8.8.2.2): no other representation shares the date, and the second that it names is over at
    `now`, because within that second the file could change again and keep the date.
    """
    if '"' in value[:3]:
        return strong_match((value,), validators.tags)
    if validators.shares_date:
        return False
    date = parse_http_date(value, now)
    return date is not None and date == validators.last_modified and now >= date + 1


def strong_match(ones: Tags, others: Tags) -> bool:
    """Return whether the lists share a tag by strong comparison (RFC 9110, 8.8.3.2)."""
    return any(tag in ones and tag[:2] != "W/" for tag in others)


def weak_match(ones: Tags, others: Tags) -> bool:
    """Return whether the lists share a tag by weak comparison (RFC 9110, 8.8.3.2)."""
    opaque = [tag.removeprefix("W/") for tag in ones]
    return any(tag.removeprefix("W/") in opaque for tag in others)


def entity_tags(value: str) -> list[str] | None:
    """Return the members of a list of entity tags; None if malformed (RFC 9110, 8.8.3).

    A tag may contain commas but no quotes, so the value is split at the quotes, into the parts
    between tags and the parts inside them. Empty list elements are skipped (5.6.1.2).
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

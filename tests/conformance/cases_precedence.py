"""RFC 9110, 13.2.2: the order in which preconditions are evaluated, by their combinations."""

from __future__ import annotations

from tests.conformance.case import MUST, Case, Check, ask, case
from tests.conformance.checks import part, status, whole
from tests.conformance.served import EARLIER, IMF, TEXT

FULL, PART = whole(TEXT), part(TEXT, 5, 9)
NOT_MODIFIED, FAILED = status(304), status(412)

MATCH, NO_MATCH = "If-Match: {etag}", 'If-Match: "other"'
NONE_MATCH, NONE_MATCH_FAILS = 'If-None-Match: "other"', "If-None-Match: {etag}"
MODIFIED, MODIFIED_FAILS = f"If-Modified-Since: {EARLIER}", f"If-Modified-Since: {IMF}"
UNMODIFIED, UNMODIFIED_FAILS = f"If-Unmodified-Since: {IMF}", f"If-Unmodified-Since: {EARLIER}"
RANGE, BEYOND = "Range: bytes=5-9", "Range: bytes=5000-"
IF_RANGE, IF_RANGE_FAILS = "If-Range: {etag}", 'If-Range: "other"'


def order(name: str, rule: str, lines: tuple[str, ...], check: Check, method: str = "GET") -> Case:
    """A request under several conditions, after one that tells the tag."""
    first, second = ask("/text.txt"), ask("/text.txt", *lines, method=method)
    return case(name, "9110 13.2.2", MUST, rule, first, second, check=check)


# fmt: off
CASES: tuple[Case, ...] = (
    order("match-true-none-match-false", "Step 1, true: go on at step 3, where If-None-Match "
          "fails: 304.", (MATCH, NONE_MATCH_FAILS), NOT_MODIFIED),
    order("match-false-none-match-false", "Step 1, false: 412, before If-None-Match is looked at.",
          (NO_MATCH, NONE_MATCH_FAILS), FAILED),
    order("match-false-none-match-true", "Step 1, false: 412, also where If-None-Match holds.",
          (NO_MATCH, NONE_MATCH), FAILED),
    order("match-true-unmodified-false", "With If-Match step 2 is skipped: If-Unmodified-Since, "
          "though false, is ignored.", (MATCH, UNMODIFIED_FAILS), FULL),
    order("match-false-unmodified-true",
          "With If-Match step 2 is skipped: If-Unmodified-Since, though true, is ignored.",
          (UNMODIFIED, NO_MATCH), FAILED),
    order("match-true-modified-false", "Step 1, true: go on to step 4, where If-Modified-Since "
          "fails: 304.", (MATCH, MODIFIED_FAILS), NOT_MODIFIED),
    order("match-true-both-since-false", "Steps 1 and 4: If-Unmodified-Since is ignored, "
          "If-Modified-Since is not.", (MATCH, UNMODIFIED_FAILS, MODIFIED_FAILS), NOT_MODIFIED),
    order("match-star-none-match-star", "If-Match: * holds, If-None-Match: * does not: 304.",
          ("If-Match: *", "If-None-Match: *"), NOT_MODIFIED),
    order("unmodified-false-none-match-false", "Step 2, false: 412, before If-None-Match.",
          (UNMODIFIED_FAILS, NONE_MATCH_FAILS), FAILED),
    order("unmodified-true-none-match-false", "Step 2, true: go on at step 3: 304.",
          (UNMODIFIED, NONE_MATCH_FAILS), NOT_MODIFIED),
    order("unmodified-true-none-match-true", "Steps 2 and 3, true: the method is performed.",
          (UNMODIFIED, NONE_MATCH), FULL),
    order("unmodified-false-modified-false", "Step 2, false: 412, before If-Modified-Since.",
          (MODIFIED_FAILS, UNMODIFIED_FAILS), FAILED),
    order("unmodified-true-modified-false", "Step 2, true, and step 4, false: 304.",
          (UNMODIFIED, MODIFIED_FAILS), NOT_MODIFIED),
    order("none-match-true-modified-false", "With If-None-Match step 4 is skipped: "
          "If-Modified-Since, though false, is ignored.", (MODIFIED_FAILS, NONE_MATCH), FULL),
    order("none-match-false-modified-true", "With If-None-Match step 4 is skipped: "
          "If-Modified-Since, though true, is ignored.",
          (MODIFIED, NONE_MATCH_FAILS), NOT_MODIFIED),
    order("none-match-false-range", "Step 3, false: 304, and the Range does not matter.",
          (RANGE, NONE_MATCH_FAILS), NOT_MODIFIED),
    order("none-match-false-beyond",
          "Step 3, false: 304, also with a Range that cannot be satisfied.",
          (BEYOND, NONE_MATCH_FAILS), NOT_MODIFIED),
    order("modified-false-range", "Step 4, false: 304, and the Range does not matter.",
          (RANGE, MODIFIED_FAILS), NOT_MODIFIED),
    order("match-false-range", "Step 1, false: 412, and the Range does not matter.",
          (RANGE, NO_MATCH), FAILED),
    order("match-false-beyond", "Step 1, false: 412, also with a Range that cannot be satisfied.",
          (BEYOND, NO_MATCH), FAILED),
    order("match-true-range",
          "If-Match holds and the Range can be satisfied: 206.", (MATCH, RANGE), PART),
    order("match-true-beyond", "If-Match holds, the Range cannot be satisfied: 416.",
          (MATCH, BEYOND), status(416)),
    order("unmodified-false-range", "If-Unmodified-Since fails: 412, not the range.",
          (UNMODIFIED_FAILS, RANGE), FAILED),
    order("unmodified-true-range", "If-Unmodified-Since holds: the range.",
          (UNMODIFIED, RANGE), PART),
    order("none-match-true-range", "If-None-Match holds: the range.", (NONE_MATCH, RANGE), PART),
    order("modified-true-range", "If-Modified-Since holds: the range.", (MODIFIED, RANGE), PART),
    order("none-match-true-if-range-true", "Steps 3 and 5, true: 206.",
          (NONE_MATCH, RANGE, IF_RANGE), PART),
    order("none-match-true-if-range-false", "Step 3, true, and step 5, false: the whole, 200.",
          (NONE_MATCH, RANGE, IF_RANGE_FAILS), FULL),
    order("none-match-false-if-range-true", "Step 3, false: 304, before If-Range.",
          (NONE_MATCH_FAILS, RANGE, IF_RANGE), NOT_MODIFIED),
    order("none-match-false-if-range-false", "Step 3, false: 304, also where If-Range is false.",
          (IF_RANGE_FAILS, RANGE, NONE_MATCH_FAILS), NOT_MODIFIED),
    order("match-false-if-range-true", "Step 1, false: 412, before If-Range.",
          (RANGE, IF_RANGE, NO_MATCH), FAILED),
    order("match-true-if-range-false", "Step 1, true, and step 5, false: the whole, 200.",
          (MATCH, RANGE, IF_RANGE_FAILS), FULL),
    order("modified-false-if-range-false", "Step 4, false: 304, before If-Range.",
          (MODIFIED_FAILS, RANGE, IF_RANGE_FAILS), NOT_MODIFIED),
    order("all-true", "All five conditions hold: 206.",
          (MATCH, UNMODIFIED, NONE_MATCH, MODIFIED, RANGE, IF_RANGE), PART),
    order("all-false", "All five are false: step 1 decides, 412.",
          (IF_RANGE_FAILS, MODIFIED_FAILS, NONE_MATCH_FAILS, UNMODIFIED_FAILS, NO_MATCH, RANGE),
          FAILED),
    order("head-match-false-none-match-false",
          "The order is the same for HEAD: step 1, false, 412.",
          (NO_MATCH, NONE_MATCH_FAILS), FAILED, "HEAD"),
    order("head-match-true-none-match-false",
          "The order is the same for HEAD: step 1, true, and step 3, false, 304.",
          (MATCH, NONE_MATCH_FAILS), NOT_MODIFIED, "HEAD"),
    order("head-if-range-false", "Step 5 is not for HEAD, which has no ranges: 200.",
          (RANGE, IF_RANGE_FAILS), status(200), "HEAD"),
)
# fmt: on

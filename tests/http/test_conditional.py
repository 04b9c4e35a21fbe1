"""Preconditions, one field after another and then all of them together (RFC 9110, 13)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.conditional import (
    FIELDS,
    IGNORE_RANGE,
    NOT_MODIFIED,
    NOTHING,
    PRECONDITION_FAILED,
    PROCEED,
    Validators,
    entity_tags,
    evaluate,
    if_match,
    if_modified_since,
    if_none_match,
    if_range_holds,
    if_unmodified_since,
    is_conditional,
    strong_match,
    weak_match,
)
from portico.http.message import RequestHead
from tests.http.h1.effort import EFFORT

MODIFIED = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
OBSOLETE_FORMS = ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
NO_DATES = ["", "0", "yesterday", f"{DATE}, {DATE}", "Sun, 06 Nov 1994 08:49:37 +0000"]
NOW = MODIFIED + 1_000_000

CURRENT = Validators('"v2"', MODIFIED)
WEAK = Validators('W/"v2"', MODIFIED)
UNDATED = Validators('"v2"', None)
UNTAGGED = Validators(None, MODIFIED)

ETAGC = "!" + "".join(map(chr, [*range(0x23, 0x7F), *range(0x80, 0x100)]))
opaque = st.text(ETAGC, max_size=10)
tags = st.builds("{}{}".format, st.sampled_from(["", "W/"]), opaque.map('"{}"'.format))
near_tags = st.text(st.sampled_from('W/"a, *\t'))


# Entity tags


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
        ('"1"', '"2"', False, False),
        ('""', '""', True, True),
        ('"a"', '"A"', False, False),
    ],
)
def test_the_table_of_comparisons(one: str, other: str, strong: bool, weak: bool) -> None:
    """RFC 9110, 8.8.3.2, table 3, and that opaque tags are compared character by character."""
    assert strong_match([one], [other]) is strong
    assert strong_match([other], [one]) is strong
    assert weak_match([one], [other]) is weak
    assert weak_match([other], [one]) is weak


@EFFORT
@given(st.lists(tags), st.lists(tags), tags)
def test_comparisons_are_symmetric_and_find_what_both_lists_have(
    ones: list[str], others: list[str], shared: str
) -> None:
    assert strong_match(ones, others) is strong_match(others, ones)
    assert weak_match(ones, others) is weak_match(others, ones)
    assert weak_match(ones, others) or not strong_match(ones, others)
    assert weak_match([*ones, shared], [shared, *others])
    assert strong_match([*ones, shared], [shared, *others]) or shared.startswith("W/")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('""', ['""']),
        ('"xyzzy", "r2d2xxxx", "c3piozzzz"', ['"xyzzy"', '"r2d2xxxx"', '"c3piozzzz"']),
        ('"a"\t ,\t W/"b"', ['"a"', 'W/"b"']),
        ('"a,b", "c, d"', None),  # a space is no etagc
        ('"a,b", ",", ",W/"', ['"a,b"', '","', '",W/"']),
        ('"W/", W/"W/"', ['"W/"', 'W/"W/"']),
        ('"\\", "b"', ['"\\"', '"b"']),  # a backslash escapes nothing
        ('"\xe9\xff"', ['"\xe9\xff"']),
        (', ,"a",, "b" ,', ['"a"', '"b"']),
        ("", []),
        (" , ,\t", []),
        *((text, None) for text in ("*", '*, "a"', '"a", *', "*, *", "a", "'a'", '"a', 'a"')),
        *((text, None) for text in ('"a" "b"', '"a""b"', '"a"W/"b"', '"a", w/"b"', 'W/ "b"')),
        *((text, None) for text in ('W/W/"a"', 'W/"a", W/', '"a"; q=1', '"a b"', '"a\tb"')),
        *((text, None) for text in ('"\x7f"', '"\u0142"')),
    ],
)
def test_lists_of_entity_tags(value: str, expected: list[str] | None) -> None:
    """RFC 9110, 8.8.3 for a tag and 5.6.1.2 for empty elements."""
    assert entity_tags(value) == expected


@EFFORT
@given(st.lists(tags), st.sampled_from([",", ", ", " ,\t,, "]))
def test_a_list_that_was_joined_is_taken_apart_again(members: list[str], comma: str) -> None:
    assert entity_tags(comma.join(members)) == members


# If-Match


@pytest.mark.parametrize(
    ("value", "validators", "expected"),
    [
        (None, CURRENT, None),
        *((value, CURRENT, True) for value in ('"v2"', '"v1", "v2"', "*")),
        *((value, CURRENT, False) for value in ('"v1"', 'W/"v2"')),
        *((value, CURRENT, False) for value in ("", "v2", '"v2", *', '"v2" "v1"')),  # malformed
        *((value, WEAK, False) for value in ('W/"v2"', '"v2"')),
        ("*", UNTAGGED, True),
        ('"v2"', UNTAGGED, False),
        *((value, NOTHING, False) for value in ("*", '"v2"')),
    ],
)
def test_if_match(value: str | None, validators: Validators, expected: bool | None) -> None:
    """RFC 9110, 13.1.1: by strong comparison; what is malformed names no tag."""
    assert if_match(value, validators) is expected


# If-None-Match


@pytest.mark.parametrize(
    ("value", "validators", "expected"),
    [
        (None, CURRENT, None),
        *((value, CURRENT, False) for value in ('"v2"', 'W/"v2"', '"v1", W/"v2"', "*")),
        *((value, CURRENT, True) for value in ('"v1","v3",', '"V2"', "")),
        *((value, WEAK, False) for value in ('W/"v2"', '"v2"')),
        ("*", UNTAGGED, False),
        ('"v2"', UNTAGGED, True),
        *((value, NOTHING, True) for value in ("*", '"v2"')),
    ],
)
def test_if_none_match(value: str | None, validators: Validators, expected: bool | None) -> None:
    """RFC 9110, 13.1.2: by weak comparison, for any method."""
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert if_none_match(value, validators, method) is expected


@pytest.mark.parametrize("value", ["v2", '"v2', '"v2", *', "*, *", '"v1" "v2"', '"v2";', "W/*"])
def test_a_malformed_if_none_match_never_saves_a_transfer_nor_permits_a_write(value: str) -> None:
    assert if_none_match(value, CURRENT, "GET") is True
    assert if_none_match(value, CURRENT, "HEAD") is True
    assert if_none_match(value, CURRENT, "PUT") is False


# Dates


@pytest.mark.parametrize(
    ("value", "modified"),
    [
        (EARLIER, True),
        (DATE, False),
        (LATER, False),
        *((text, False) for text in OBSOLETE_FORMS),
        ("Fri, 31 Dec 9999 23:59:59 GMT", False),
        *((text, None) for text in NO_DATES),
        (None, None),
    ],
)
def test_dates(value: str | None, modified: bool | None) -> None:
    """RFC 9110, 13.1.3 and 13.1.4: all three forms; no date, or several, and the field is ignored.

    A date in the future is a date.
    """
    assert if_modified_since(value, CURRENT, NOW) is modified
    assert if_unmodified_since(value, CURRENT, NOW) is (None if modified is None else not modified)


@pytest.mark.parametrize("validators", [UNDATED, NOTHING])
def test_dates_are_ignored_where_there_is_no_modification_date(validators: Validators) -> None:
    assert if_modified_since(LATER, validators, NOW) is None
    assert if_unmodified_since(EARLIER, validators, NOW) is None


# If-Range


@pytest.mark.parametrize(
    ("value", "validators", "expected"),
    [
        *((value, CURRENT, True) for value in ('"v2"', DATE, *OBSOLETE_FORMS)),
        *((value, CURRENT, False) for value in ('"v1"', 'W/"v2"', "v2", "*", EARLIER, LATER)),
        *((value, CURRENT, False) for value in ('"v1", "v2"', '"v2", "v2"')),  # one tag, no list
        *((value, CURRENT, False) for value in NO_DATES),
        *((value, WEAK, False) for value in ('W/"v2"', '"v2"')),
        ('"v2"', UNTAGGED, False),
        *((DATE, validators, False) for validators in (UNDATED, NOTHING)),
    ],
)
def test_if_range(value: str, validators: Validators, expected: bool) -> None:
    """RFC 9110, 13.1.5: a strong tag, or exactly the date; a false one costs only the range."""
    assert if_range_holds(value, validators, NOW) is expected


@pytest.mark.parametrize(
    ("age", "strong"),
    [(-1, False), (0, False), (0.5, False), (0.999, False), (1, True), (1.5, True), (60, True)],
)
def test_a_date_is_strong_when_its_second_is_over(age: float, strong: bool) -> None:
    """RFC 9110, 8.8.2.2: Date at least one second after Last-Modified."""
    assert if_range_holds(DATE, CURRENT, MODIFIED + age) is strong
    assert if_range_holds('"v2"', CURRENT, MODIFIED + age)


# All together (RFC 9110, 13.2.2)


@pytest.mark.parametrize("method", ["CONNECT", "OPTIONS", "TRACE"])
def test_methods_that_select_nothing_have_no_preconditions(method: str) -> None:
    """RFC 9110, 13.2.1."""
    values = {"if-match": '"v1"', "if-none-match": "*"}
    assert evaluate(values.get, method, CURRENT, NOW) == PROCEED


def test_several_lines_of_a_field_are_one_list() -> None:
    """RFC 9110, 5.3; for dates, 13.1.3: several members, and the field is ignored."""
    head = RequestHead(
        "GET", "/", 1, (("if-none-match", '"v1"'), ("host", "a"), ("if-none-match", '"v2"'))
    )
    assert evaluate(head.get, "GET", CURRENT, NOW) == NOT_MODIFIED
    head.fields = (("if-modified-since", DATE), ("if-modified-since", DATE))
    assert evaluate(head.get, "GET", CURRENT, NOW) == PROCEED


# For each field: its value, and what the condition says (None: absent, or ignored although there).
STATES: dict[str, list[tuple[str | None, bool | None]]] = {
    "if-match": [(None, None), ('"v2"', True), ('"v1"', False), ("junk", False)],
    "if-unmodified-since": [(None, None), (LATER, True), (EARLIER, False), ("junk", None)],
    "if-none-match": [(None, None), ('"v1"', True), ('W/"v2"', False), ("*", False)],
    "if-modified-since": [(None, None), (EARLIER, True), (DATE, False), ("junk", None)],
    "if-range": [(None, None), ('"v2"', True), ('W/"v2"', False), ("junk", False)],
    "range": [(None, None), ("bytes=0-", None)],
}


def precedence(method: str, given: dict[str, tuple[str | None, bool | None]]) -> int:
    """The flow of RFC 9110, 13.2.2, told backwards: an earlier step overrules a later one."""
    answer: int = PROCEED
    if method == "GET" and given["range"][0] and given["if-range"][1] is False:
        answer = IGNORE_RANGE
    reading = method in {"GET", "HEAD"}
    if reading and given["if-none-match"][0] is None and given["if-modified-since"][1] is False:
        answer = NOT_MODIFIED
    if given["if-none-match"][1] is False:
        answer = NOT_MODIFIED if reading else PRECONDITION_FAILED
    if given["if-match"][0] is None and given["if-unmodified-since"][1] is False:
        answer = PRECONDITION_FAILED
    if given["if-match"][1] is False:
        answer = PRECONDITION_FAILED
    return answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_every_combination_of_fields(method: str) -> None:
    for combination in itertools.product(*STATES.values()):
        states = dict(zip(STATES, combination, strict=True))
        present = {name: value for name, (value, _) in states.items() if value is not None}
        assert evaluate(present.get, method, CURRENT, NOW) == precedence(method, states), present


@EFFORT
@given(
    st.dictionaries(
        st.sampled_from([*sorted(FIELDS), "range", "accept"]),
        st.text() | near_tags | tags | st.sampled_from([DATE, EARLIER, LATER, "*", '"v2"']),
    ),
    st.sampled_from(["GET", "HEAD", "PUT", "OPTIONS"]),
    st.sampled_from([CURRENT, WEAK, UNDATED, UNTAGGED, NOTHING]),
    st.floats(0, 1e11),
)
def test_any_text_has_an_outcome_that_fits_its_method(
    values: dict[str, str], method: str, validators: Validators, now: float
) -> None:
    result = evaluate(values.get, method, validators, now)
    allowed = {
        "GET": {PROCEED, IGNORE_RANGE, NOT_MODIFIED, PRECONDITION_FAILED},
        "HEAD": {PROCEED, NOT_MODIFIED, PRECONDITION_FAILED},
        "PUT": {PROCEED, PRECONDITION_FAILED},
        "OPTIONS": {PROCEED},
    }
    assert result in allowed[method]
    conditional = is_conditional(values.items())
    assert conditional is not FIELDS.isdisjoint(values)
    assert conditional or result == PROCEED


@EFFORT
@given(st.lists(tags, max_size=5), st.booleans(), tags)
def test_tags_sent_back_are_recognised(others: list[str], returned: bool, own: str) -> None:
    """A client that lists what it was given is told so: 304, and 206 for a strong tag."""
    validators = Validators(own, None)
    listed = [*others, own] if returned else others
    same = any(tag.removeprefix("W/") == own.removeprefix("W/") for tag in listed)
    assert if_none_match(", ".join(listed), validators, "GET") is not same
    assert if_range_holds(own, validators, NOW) is own.startswith('"')

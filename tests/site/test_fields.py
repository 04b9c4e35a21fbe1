"""Changes of a response's fields."""

from __future__ import annotations

from portico.site.fields import varying, without

FIELDS = [("ETag", '"x"'), ("vary", "Origin"), ("Set-Cookie", "a"), ("Vary", "Accept")]


def test_fields_are_left_out_by_name_in_any_case() -> None:
    assert without(FIELDS, {"vary", "etag"}) == [("Set-Cookie", "a")]
    assert without(FIELDS, set()) == FIELDS


def test_there_is_one_vary_that_names_all() -> None:
    assert varying(FIELDS, "Range") == [FIELDS[0], FIELDS[2], ("Vary", "Origin, Accept, Range")]
    assert varying([], "Range") == [("Vary", "Range")]

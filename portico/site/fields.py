"""Changes of a response's fields that several parts of the site make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from portico.http.message import Field


def without(fields: Iterable[Field], names: Collection[str]) -> list[Field]:
    """Return `fields` without those called one of `names` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def varying(fields: Iterable[Field], on: str) -> list[Field]:
    """Return `fields` with a single Vary, to which `on` is added (RFC 9110, 12.5.5)."""
    fields = list(fields)
    names = [value for name, value in fields if name.lower() == "vary"]
    return [*without(fields, {"vary"}), ("Vary", ", ".join([*names, on]))]

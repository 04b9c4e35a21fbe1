"""Changes of a response's fields that several parts of the site make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from portico.http.message import Field


_NOT_PRIVATE = frozenset({"private", "public", "s-maxage"})
_ACTIVE = frozenset({"application/pdf", "application/xml", "text/html", "text/xml"})
"""Media types that browsers run scripts of, besides those of XML."""


def without(fields: Iterable[Field], names: Collection[str]) -> list[Field]:
    """Return `fields` without those called one of `names` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def private(fields: Iterable[Field]) -> list[Field]:
    """Return `fields` for a response that no shared cache may keep (RFC 9111, 5.2.2.7)."""
    fields = list(fields)
    values = [value for name, value in fields if name.lower() == "cache-control"]
    members = [member.strip() for member in ",".join(values).split(",")]
    kept = [each for each in members if each and each.lower().partition("=")[0] not in _NOT_PRIVATE]
    return [*without(fields, {"cache-control"}), ("Cache-Control", ", ".join(["private", *kept]))]


def sandboxed(fields: list[Field]) -> list[Field]:
    """Return the fields of content that somebody may have uploaded.

    What browsers would run, they run without the rights of a page of this site.
    """
    kind = next((value for name, value in fields if name.lower() == "content-type"), "")
    kind = kind.partition(";")[0].strip().lower()
    if kind in _ACTIVE or kind.endswith("+xml"):
        return [*fields, ("Content-Security-Policy", "sandbox")]
    return fields


def varying(fields: Iterable[Field], on: str) -> list[Field]:
    """Return `fields` with a single Vary, to which `on` is added (RFC 9110, 12.5.5)."""
    fields = list(fields)
    names = [value for name, value in fields if name.lower() == "vary"]
    return [*without(fields, {"vary"}), ("Vary", ", ".join([*names, on]))]

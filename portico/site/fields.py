"""Changes of a response's fields that several parts of the site make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from portico.http.message import Field


_NOT_PRIVATE = frozenset({"private", "public", "s-maxage"})
_ACTIVE = frozenset({"application/pdf", "application/xml", "text/html", "text/xml"})
"""Media types whose scripts browsers run, besides those that end with `+xml`."""


def without(fields: Iterable[Field], names: Collection[str]) -> list[Field]:
    """Return `fields` without those whose names are in `names` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def private(fields: Iterable[Field]) -> list[Field]:
    """Return `fields` with Cache-Control: private, against shared caches (RFC 9111, 5.2.2.7)."""
    fields = list(fields)
    values = [value for name, value in fields if name.lower() == "cache-control"]
    members = [member.strip() for member in ",".join(values).split(",")]
    kept = [each for each in members if each and each.lower().partition("=")[0] not in _NOT_PRIVATE]
    return [*without(fields, {"cache-control"}), ("Cache-Control", ", ".join(["private", *kept]))]


def sandboxed(fields: list[Field]) -> list[Field]:
    """Return the `fields` of a file that a client may have uploaded, with a sandbox if needed.

    In the sandbox, browsers run no scripts, and the content has no rights of a page of this site.
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

"""Select the representation of a file for a request: its content coding (RFC 9110, 12.5.3).

Rule: each coding is a representation of its own, with its own entity tag, length and ranges. A
precompressed sibling is used if there is one and its content agrees with its name (see `coded`);
without siblings, a compressed copy is used once it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.codings import IDENTITY, acceptable
from portico.http.conditional import is_conditional
from portico.site.compression.encoders import SUFFIXES, WORTH_FROM
from portico.site.origin.freshness import merge
from portico.site.origin.protocol import File
from portico.site.representation import coded
from portico.site.representation.content_type import content_type
from portico.site.representation.media import is_compressible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portico.http.message import RequestHead
    from portico.site.compression.cache import CompressionCache
    from portico.site.origin.freshness import Dependencies, Dependency
    from portico.site.origin.protocol import Origin, Precompressed

    Note = Callable[..., None]
    """Receives each step of a decision: a format string for `%`, and its values."""


_NAMING_TAGS = frozenset({"if-match", "if-none-match", "if-range"})


REPORTS = 1000
"""Most unusable siblings that are reported."""


def silent(_text: str, *_values: object) -> None:
    """A Note that ignores the steps of a decision."""


class Selected:
    """The representation selected for a request (RFC 9110, 3.2)."""

    __slots__ = ("coding", "dependencies", "file", "media_type", "shares_date", "varies")

    def __init__(
        self,
        file: File,
        kind: str,
        coding: str,
        dependencies: Dependencies,
        *,
        varies: bool,
        shares_date: bool,
    ) -> None:
        self.file = file
        """The file that has the content: the requested file itself, or a coded form of it."""
        self.media_type = kind
        self.coding = coding
        self.dependencies = dependencies
        self.varies = varies
        """Whether another Accept-Encoding might select another representation."""
        self.shares_date = shares_date
        """Whether the client may have got another coding before, with the same Last-Modified."""


class Unacceptable:
    """The result if there is no representation that the client accepts (RFC 9110, 15.5.7)."""

    def __init__(
        self, available: list[str], dependencies: Dependencies, *, is_pending: bool
    ) -> None:
        self.available = available
        """The content codings that there are; empty if no sibling can be used."""
        self.dependencies = dependencies
        self.is_pending = is_pending
        """Whether a copy that the client accepts is being made."""


class Selector:
    """Selects among the codings of files in `origin`; `copies` makes compressed copies.

    `report` receives a message for each precompressed sibling that cannot be used.
    """

    def __init__(
        self,
        origin: Origin,
        copies: CompressionCache | None,
        note: Note,
        report: Callable[[str], None],
    ) -> None:
        self._origin = origin
        self._copies = copies
        self._note = note
        self._report = report
        self._reported: set[tuple[str, ...]] = set()

    def choose(self, request: RequestHead, found: File | Precompressed) -> Selected | Unacceptable:
        """Return the representation that the client prefers (RFC 9110, 12.5.3).

        If the client accepts the file without a coding, the file comes first in two cases. One is
        that a condition names its entity tag: otherwise the client's copy would become useless as
        soon as a compressed copy is made. The other is that a Range is requested: many clients send
        Accept-Encoding by default, and none of them can decode a slice of a coded representation.
        But a coding whose entity tag a condition names stays selected, so that a download of coded
        content can be resumed.
        """
        kind = content_type(found)
        codings = found.codings or self._copy_codings(kind, found)
        if request.get("accept-encoding") is None and isinstance(found, File):
            # Without Accept-Encoding, the file without a coding comes first: see `acceptable`.
            if codings:
                self._note("Compression: uncompressed (possible: %s).", ", ".join(codings))
            return Selected(
                found,
                kind,
                IDENTITY,
                found.dependencies,
                varies=bool(codings),
                shares_date=False,
            )
        return self._negotiate(request, found, kind, codings)

    def _negotiate(
        self, request: RequestHead, found: File | Precompressed, kind: str, codings: Sequence[str]
    ) -> Selected | Unacceptable:
        accepted = request.get("accept-encoding")
        available = [*codings, IDENTITY] if isinstance(found, File) else list(codings)
        wanted = acceptable(accepted, available)
        if not found.codings:  # make one copy only: in the coding that this client prefers
            wanted = [coding for coding in wanted if coding in {wanted[0], IDENTITY}]
        shares_date = len(wanted) > 1 and accepted is not None
        named = _tags_in(request)
        is_part = request.method == "GET" and request.get("range") is not None
        prefers_plain = IDENTITY in wanted and (
            is_part or (isinstance(found, File) and _is_in(named, found))
        )
        if is_part and prefers_plain and '"' not in named:
            wanted = [IDENTITY]
        dependencies = found.dependencies
        is_pending = False
        for coding in wanted:
            chosen = self._in_coding(coding, found)
            if isinstance(chosen, File):
                if prefers_plain and chosen is not found and not _is_in(named, chosen):
                    continue
                if possible := ", ".join([each for each in available if each != IDENTITY]):
                    name = "uncompressed" if coding == IDENTITY else coding
                    self._note("Compression: %s (possible: %s).", name, possible)
                if chosen is not found:
                    dependencies = merge(dependencies, chosen.dependencies)
                varies = available != [IDENTITY]
                return Selected(
                    chosen, kind, coding, dependencies, varies=varies, shares_date=shares_date
                )
            if chosen is None:
                available.remove(coding)
                continue
            self._note("Compression: %s is wanted; it is made in the background.", coding)
            dependencies = merge(dependencies, (chosen,))
            is_pending = True
        self._note("Compression: none of %s is acceptable.", ", ".join(available))
        return Unacceptable(available, dependencies, is_pending=is_pending)

    def _in_coding(self, coding: str, found: File | Precompressed) -> File | Dependency | None:
        """Return the file in a coding, or None if there is none that can be used.

        While a copy is being made, return a dependency that holds until the copy is ready.
        """
        if isinstance(found, File):
            if coding == IDENTITY:
                return found
            if not found.codings and self._copies is not None:
                return self._copies.get(found, coding)
        sibling = self._origin.look_up((*found.names[:-1], found.name + SUFFIXES[coding]))
        if not isinstance(sibling, File):
            return None
        fault = coded.fault(sibling, coding, found if isinstance(found, File) else None)
        if fault is not None:
            self._refuse(sibling, fault)
        return sibling if fault is None else None

    def _refuse(self, sibling: File, fault: str) -> None:
        """Report, once for each name, that a precompressed sibling is not used."""
        path = "/".join(sibling.names)
        self._note("Coding: %s is not used: %s.", path, fault)
        if sibling.names not in self._reported and len(self._reported) < REPORTS:
            self._reported.add(sibling.names)
            self._report(f"{path!r} is not sent in place of its original: {fault}")

    def _copy_codings(self, kind: str, found: File | Precompressed) -> Sequence[str]:
        """Return the codings in which a compressed copy of the file can be made."""
        if self._copies is None or not isinstance(found, File) or found.size < WORTH_FROM:
            return ()
        return self._copies.codings if is_compressible(kind) else ()


def _tags_in(request: RequestHead) -> str:
    """Return the values of the conditions in which a client names its copies' entity tags."""
    if not is_conditional(request.fields):
        return ""
    return ", ".join([value for name, value in request.fields if name in _NAMING_TAGS])


def _is_in(named: str, file: File) -> bool:
    return bool(file.etag) and file.etag in named

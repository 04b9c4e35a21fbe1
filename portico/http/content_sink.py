"""Sinks: objects that take the content of a request, such as an upload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from portico.http.message import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.message import Response


class ContentSink(Protocol):
    """Takes the content of one request, then makes the response.

    `write` and `finish` may raise Waiting: then the call had no effect, and is repeated after a
    thread has done the work of the Waiting. Meanwhile the connection receives nothing.
    """

    interim: Sequence[Response]
    """Interim responses (RFC 9110, 15.2), besides 100, to send before any content is read."""

    def write(self, octets: bytes) -> None:
        """Take the next piece of the content. Raises ProtocolError to refuse it, or Waiting."""
        ...

    def finish(self) -> Response | None:
        """Return the response, after all content was written. Raises ProtocolError or Waiting.

        Return None if the request was answered before its content was read.
        """
        ...

    def abort(self) -> None:
        """Release all resources: the rest of the content will not come."""
        ...


class Discard:
    """A sink that drops up to `most` bytes of content that no handler wants."""

    __slots__ = ("_left",)
    interim: Sequence[Response] = ()

    def __init__(self, most: int) -> None:
        self._left = most

    def write(self, octets: bytes) -> None:
        """Drop `octets`. Raises ProtocolError beyond `most` bytes in total."""
        self._left -= len(octets)
        if self._left < 0:
            raise ProtocolError(413, "The content is larger than this server reads.")

    def finish(self) -> None:
        """Return None: the request was answered before its content was read."""

    def abort(self) -> None:
        """Do nothing: no content was kept."""

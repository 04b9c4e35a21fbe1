"""What takes the content of a request. An upload is a class like `ContentSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from portico.http.message import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.message import Response


class ContentSink(Protocol):
    """Takes the content of one request, and then makes its response.

    `write` and `finish` may raise Waiting: then nothing was taken, a thread has to do its work
    first, and the same call is made again. Meanwhile the connection receives nothing.
    """

    interim: Sequence[Response]
    """Interim responses (RFC 9110, 15.2) to send before any content is read, besides 100."""

    def write(self, octets: bytes) -> None:
        """Take some of the content. Raises ProtocolError to refuse it, or Waiting."""
        ...

    def finish(self) -> Response | None:
        """Return the response, since the content is complete. Raises ProtocolError or Waiting.

        None where the request was answered before its content was read.
        """
        ...

    def abort(self) -> None:
        """Let go of what was taken: the rest does not come."""
        ...


class Discard:
    """A sink for content that is of no use, up to a number of octets."""

    __slots__ = ("_left",)
    interim: Sequence[Response] = ()

    def __init__(self, most: int) -> None:
        self._left = most

    def write(self, octets: bytes) -> None:
        """Drop `octets`. Raises ProtocolError if that is more than is read."""
        self._left -= len(octets)
        if self._left < 0:
            raise ProtocolError(413, "The content is larger than this server reads.")

    def finish(self) -> None:
        """Return None: the request was answered before."""

    def abort(self) -> None:
        """Do nothing: nothing was kept."""

"""Messages: a request's head and what takes its content, a response, a ProtocolError.

No parsing and no I/O here. For what a response sends see `http.content`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.content import Content

Field = tuple[str, str]
"""A field: its name in lower case, its value without surrounding white space."""

CHUNKED = -1
"""The value of `RequestHead.content_length` for content in the chunked transfer coding."""


class ProtocolError(Exception):
    """The peer broke the protocol: answer with `status` and close (RFC 9112, 2.2)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestHead:
    """A request without its content (RFC 9110, 6.2): all that an answer can depend on.

    `fields` holds the fields that the parser was told to keep, in their order.
    """

    __slots__ = (
        "authority",
        "content_length",
        "expects_continue",
        "fields",
        "keep_alive",
        "method",
        "path",
        "query",
        "target",
        "version",
    )

    def __init__(self, method: str, target: str, version: int, fields: tuple[Field, ...]) -> None:
        self.method = method
        self.target = target
        self.version = version
        """The minor version: 0 or 1."""
        self.fields = fields
        self.path = ""
        """The target's path, percent-encoded as it came; "*" for the asterisk-form."""
        self.query: str | None = None
        self.authority = ""
        """Host and port as the client names them: from an absolute-form target, else from Host."""
        self.content_length = 0
        """Octets of content that follow; CHUNKED when only its coding tells."""
        self.keep_alive = True
        self.expects_continue = False

    def get(self, name: str) -> str | None:
        """The value of field `name` (lower case), several lines joined by ", " (RFC 9110, 5.3)."""
        found = None
        for key, value in self.fields:
            if key == name:
                found = value if found is None else f"{found}, {value}"
        return found

    def all(self, name: str) -> list[str]:
        """The values of field `name` (lower case), one for each line."""
        return [value for key, value in self.fields if key == name]


class Response:
    """A complete answer: everything is decided before the first octet is sent.

    For HEAD and 304 `content` is empty, and the fields are those that GET would have had.
    """

    __slots__ = ("close", "content", "fields", "is_stream", "status")

    def __init__(
        self,
        status: int,
        fields: list[Field],
        content: Sequence[Content] = (),
        *,
        close: bool = False,
    ) -> None:
        """`fields` are all but Date, Server, Connection and Transfer-Encoding.

        `close` says that the connection must not be used for another request.
        """
        self.status = status
        self.fields = fields
        self.content = content
        self.is_stream = any(piece.is_stream for piece in content)
        """Whether GET gets a stream here, so that there is no Content-Length."""
        self.close = close


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

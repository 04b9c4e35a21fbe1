"""Messages: the head of a request, a response, a ProtocolError.

No parsing and no I/O here. For what they carry see `http.content` and `http.content_sink`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.content import Content

Field = tuple[str, str]
"""A field: its name (of requests in lower case), its value without surrounding white space."""

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
        "is_secure",
        "keep_alive",
        "method",
        "path",
        "peer",
        "query",
        "scheme",
        "target",
        "user",
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
        self.scheme = ""
        """The scheme that an absolute-form target names, in lower case; "" for other targets."""
        self.query: str | None = None
        self.authority = ""
        """Host and port as the client names them: from an absolute-form target, else from Host."""
        self.content_length = 0
        """Octets of content that follow; CHUNKED when only its coding tells."""
        self.peer = ""
        """The client's address, for what depends on who asks; "" where that is nobody."""
        self.user: str | None = None
        """Who sent it, once the site knows that by a password or a token."""
        self.is_secure = False
        """Whether it came over TLS."""
        self.keep_alive = True
        self.expects_continue = False

    def get(self, name: str) -> str | None:
        """The value of field `name` (lower case), several lines joined by ", " (RFC 9110, 5.3)."""
        found = None
        for key, value in self.fields:
            if key == name:
                found = value if found is None else f"{found}, {value}"
        return found


class Response:
    """A complete answer: everything is decided before the first octet is sent.

    For HEAD and 304 `content` is empty, and the fields are those that GET would have had.
    """

    __slots__ = ("any_query", "cause", "close", "content", "fields", "is_stream", "status")

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
        self.is_stream = any([piece.is_stream for piece in content])  # noqa: C419 (a generator costs more)
        """Whether GET gets a stream here, so that there is no Content-Length."""
        self.close = close
        self.cause: OSError | None = None
        """What the operator is to know of an error; no client gets it."""
        self.any_query = False
        """Whether it would be the same for any other query of the target."""

"""Messages: the head of a request, a response, a ProtocolError.

No parsing and no I/O. For the content of messages see `http.content` and `http.content_sink`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.content import Content

Field = tuple[str, str]
"""A field: its name (in lower case for requests), its value without surrounding white space."""

_NO_NAMES: frozenset[str] = frozenset()

CHUNKED = -1
"""The value of `RequestHead.content_length` for content in the chunked transfer coding."""


class ProtocolError(Exception):
    """The peer broke the protocol: respond with `status`, then close (RFC 9112, 2.2)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestHead:
    """A request without its content (RFC 9110, 6.2): everything that a response can depend on.

    `fields` has the fields that the parser was told to keep, in the order received.
    """

    __slots__ = (
        "authority",
        "content_length",
        "expects_continue",
        "field_names",
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
        self.field_names = frozenset([name for name, _ in fields]) if fields else _NO_NAMES
        """The names in `fields`: to find that one is absent costs less than to look at all."""
        self.path = ""
        """The target's path, percent-encoded as received; "*" for the asterisk-form."""
        self.scheme = ""
        """The scheme of an absolute-form target, in lower case; "" for other targets."""
        self.query: str | None = None
        self.authority = ""
        """Host and port as received: from an absolute-form target, else from Host."""
        self.content_length = 0
        """Bytes of content that follow; CHUNKED if the chunked transfer coding tells the end."""
        self.peer = ""
        """The client's address, by which guesses of passwords are limited; "" without a client."""
        self.user: str | None = None
        """The user who sent the request, once the site has verified a password or a token."""
        self.is_secure = False
        """Whether the client sent the request over TLS."""
        self.keep_alive = True
        self.expects_continue = False

    def get(self, name: str) -> str | None:
        """Return the value of the field `name` (lower case), None if it is absent.

        Repeated lines are joined by ", " (RFC 9110, 5.3).
        """
        found = None
        if name not in self.field_names:
            return None
        for key, value in self.fields:
            if key == name:
                found = value if found is None else f"{found}, {value}"
        return found


class Response:
    """A complete response: everything is decided before the first byte is sent.

    For HEAD and 304, `content` is empty, and the fields are those of the response to GET.
    """

    __slots__ = ("any_query", "cause", "close", "content", "fields", "is_stream", "status")

    def __init__(self, status: int, fields: list[Field], content: Sequence[Content] = ()) -> None:
        """`fields` are all fields except Date, Server, Connection and Transfer-Encoding."""
        self.status = status
        self.fields = fields
        self.content = content
        self.is_stream = bool(content) and content[-1].is_stream
        """Whether the content for GET is a stream, so that there is no Content-Length."""
        self.close = False
        """Whether the connection is not used for another request."""
        self.cause: OSError | None = None
        """The cause of an error response, reported to the operator but never to a client."""
        self.any_query = False
        """Whether the response is the same for every query of the target."""

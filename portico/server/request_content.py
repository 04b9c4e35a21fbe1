"""Decodes the content of one request and passes it to the request's sink."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from portico.http.h1.content import ContentReader
from portico.http.h1.serialize import interim_head
from portico.http.message import ProtocolError
from portico.server.net.loop import report_bug
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.http.content_sink import ContentSink
    from portico.http.message import RequestHead, Response

Result = TypeVar("Result")


class RequestContent:
    """Decodes one request's content from the received bytes, and writes it to `sink`.

    `is_answered` means that the response is sent before the content is read.
    """

    __slots__ = ("_pending", "_reader", "_sink", "is_answered", "line", "request")

    def __init__(
        self, sink: ContentSink, request: RequestHead, line: bytes, *, is_answered: bool
    ) -> None:
        self._sink = sink
        self._reader = ContentReader(request.content_length)
        self._pending = b""
        self.request = request
        self.line = line
        """The request line as received, for the log."""
        self.is_answered = is_answered

    @property
    def interim(self) -> bytes:
        """The interim responses to send before the content is read, as bytes.

        Empty for HTTP/1.0, and if the request is answered already (RFC 9110, 10.1.1 and 15.2).
        """
        if self.is_answered or self.request.version == 0:
            return b""
        heads = [interim_head(each.status, each.fields) for each in self._sink.interim]
        if self.request.expects_continue:
            heads.append(interim_head(100))
        return b"".join(heads)

    @property
    def is_complete(self) -> bool:
        """Whether all content was received and written to the sink."""
        return self._reader.complete and not self._pending

    def take(self, data: bytes) -> bytes:
        """Decode the content that `data` begins with, for `pass_on`; return the bytes after it.

        Raises ProtocolError if the framing is malformed.
        """
        content, rest = self._reader.feed(data)
        self._pending += content
        return rest

    def pass_on(self) -> None:
        """Write the decoded content to the sink.

        Raises ProtocolError, or Waiting; after Waiting, call this again.
        """
        if self._pending:
            _call(partial(self._sink.write, self._pending))
            self._pending = b""

    def finish(self) -> Response | None:
        """Return the sink's response, None if one was sent. Raises ProtocolError or Waiting."""
        return _call(self._sink.finish)

    def abort(self) -> None:
        """Abort the sink: the rest of the content will not come, or is not wanted."""
        with suppress(ProtocolError, Waiting):
            _call(self._sink.abort)


def _call(call: Callable[[], Result]) -> Result:
    """Call the sink; raise ProtocolError(500) for any exception but ProtocolError and Waiting."""
    try:
        return call()
    except (ProtocolError, Waiting):
        raise
    except Exception:  # noqa: BLE001
        report_bug()
        raise ProtocolError(500, "The fault is on this side.") from None

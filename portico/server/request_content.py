"""The content of one request on its way from the connection to its sink."""

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
    """Cuts one request's content out of what is received, and gives it to `sink`.

    `is_answered` says that the response is sent before the content is read.
    """

    __slots__ = ("_pending", "_reader", "_sink", "is_answered", "request", "request_line")

    def __init__(
        self, sink: ContentSink, request: RequestHead, request_line: bytes, *, is_answered: bool
    ) -> None:
        self._sink = sink
        self._reader = ContentReader(request.content_length)
        self._pending = b""
        self.request = request
        self.request_line = request_line
        """As it came, for the log."""
        self.is_answered = is_answered

    @property
    def interim(self) -> bytes:
        """The interim responses to send now, as HTTP/1.1 sends them (RFC 9110, 10.1.1 and 15.2).

        HTTP/1.0 has none.
        """
        if self.is_answered or self.request.version == 0:
            return b""
        heads = [interim_head(each.status, each.fields) for each in self._sink.interim]
        if self.request.expects_continue:
            heads.append(interim_head(100))
        return b"".join(heads)

    @property
    def is_complete(self) -> bool:
        """Whether all of it was received and taken by the sink."""
        return self._reader.complete and not self._pending

    def take(self, data: bytes) -> bytes:
        """Take the content that `data` begins with; return what follows it.

        Raises ProtocolError where its framing is broken.
        """
        content, rest = self._reader.feed(data)
        self._pending += content
        return rest

    def pass_on(self) -> None:
        """Give the sink what was taken. Raises ProtocolError, or Waiting; then call it again."""
        if self._pending:
            _call(partial(self._sink.write, self._pending))
            self._pending = b""

    def finish(self) -> Response | None:
        """Return the response, or None if it was sent before. Raises ProtocolError or Waiting."""
        return _call(self._sink.finish)

    def abort(self) -> None:
        """Give up: the rest does not come, or is not wanted."""
        with suppress(ProtocolError, Waiting):
            _call(self._sink.abort)


def _call(call: Callable[[], Result]) -> Result:
    """Make a call of the sink. An exception that is neither ProtocolError nor Waiting gets 500."""
    try:
        return call()
    except (ProtocolError, Waiting):
        raise
    except Exception:  # noqa: BLE001
        report_bug()
        raise ProtocolError(500, "The fault is on this side.") from None

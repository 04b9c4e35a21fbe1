"""Three parsers behind one shape: what each makes of a head and of the octets behind it."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import h11
import httptools

from portico.http.h1.content import ContentReader
from portico.http.h1.head import HeadParser, head_end
from portico.http.message import ProtocolError

BEHIND = b"5\r\nhello\r\n0\r\n\r\n"
"""What is sent behind each head: a chunked content, five octets of content and more, or neither."""


class Reading(NamedTuple):
    """What a parser has understood."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    content: bytes
    keep_alive: bool


def by_portico(head: bytes) -> Reading | None:
    """Portico's reading of `head`, or None when it refuses."""
    try:
        end = head_end(head)
        request = HeadParser().parse(head[:end])
        content, _ = ContentReader(request.content_length).feed(head[end:] + BEHIND)
    except ProtocolError:
        return None
    return Reading(request.method, request.target, request.fields, content, request.keep_alive)


def by_h11(head: bytes) -> Reading | None:
    """The reading of h11. That a connection persists shows outside only after all the content."""
    connection = h11.Connection(h11.SERVER)
    content = b""
    try:
        connection.receive_data(head + BEHIND)
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        while isinstance(event := connection.next_event(), h11.Data):
            content += event.data
    except h11.RemoteProtocolError:
        return None
    keep_alive = connection._cstate.keep_alive
    fields = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers)
    return Reading(request.method.decode(), request.target.decode(), fields, content, keep_alive)


class _Callbacks:
    """What the bindings of llhttp call while the first request lasts."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.fields: list[tuple[str, str]] = []
        self.content = b""
        self.method = ""
        self.keep_alive = False

    def on_url(self, url: bytes) -> None:
        if not self.method:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.method:
            self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if not self.method:
            self.method = self.parser.get_method().decode()
            self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.content += body


def by_httptools(head: bytes) -> Reading | None:
    """The reading of httptools. It chokes on what is no request behind one without content."""
    seen = _Callbacks()
    try:
        with contextlib.suppress(httptools.HttpParserUpgrade):
            seen.parser.feed_data(head)
    except httptools.HttpParserError:
        return None
    if not seen.method:
        return None
    with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
        seen.parser.feed_data(BEHIND)
    target, fields = seen.target.decode("latin-1"), tuple(seen.fields)
    return Reading(seen.method, target, fields, seen.content, seen.keep_alive)


PEERS = {"h11": by_h11, "httptools": by_httptools}

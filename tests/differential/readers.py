"""What a connection's octets are taken for: by Portico, h11, and llhttp.

httptools is a binding of llhttp, the parser of Node.js, in its strict mode.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import NamedTuple

import h11
import httptools

from portico.http.h1.content import ContentReader
from portico.http.h1.head import HeadParser, head_end
from portico.http.message import ProtocolError

REFUSED = "refused"
WAITS = "waits for more"
CLOSES = "closes"
TUNNEL = "tunnel"
"""All that follows is of another protocol."""
GOES_ON = ""


class Reading(NamedTuple):
    """The requests, each as a method and its content; and how it went on behind them."""

    requests: tuple[tuple[str, bytes], ...]
    end: str

    def __str__(self) -> str:
        """Such as "POST 5, GET 0": methods, and octets of content."""
        told = [f"{method} {len(content)}" for method, content in self.requests]
        return ", ".join([*told, *filter(None, [self.end])])


def frames_otherwise(ours: Reading, theirs: Reading) -> bool:
    """Whether something that Portico accepts begins or ends elsewhere for the other.

    One that refuses, or closes, has framed nothing.
    """
    common = min(len(ours.requests), len(theirs.requests))
    if ours.requests[:common] != theirs.requests[:common]:
        return True
    return common < len(ours.requests) and theirs.end not in {REFUSED, CLOSES}


def by_portico(octets: bytes) -> Reading:
    parser = HeadParser()
    requests: list[tuple[str, bytes]] = []
    while octets:
        try:
            if (end := head_end(octets)) < 0:
                return Reading(tuple(requests), WAITS)
            request = parser.parse(octets[:end])
            reader = ContentReader(request.content_length)
            content, octets = reader.feed(octets[end:])
        except ProtocolError:
            return Reading(tuple(requests), REFUSED)
        if not reader.complete:
            return Reading(tuple(requests), WAITS)
        requests.append((request.method, content))
        if not request.keep_alive:
            return Reading(tuple(requests), CLOSES)
    return Reading(tuple(requests), GOES_ON)


def by_h11(octets: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER)
    if octets:  # none would mean that the connection has ended
        connection.receive_data(octets)
    requests: list[tuple[str, bytes]] = []
    method, content = "", b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                is_over = connection.their_state is h11.IDLE and not connection.trailing_data[0]
                return Reading(tuple(requests), GOES_ON if is_over else WAITS)
            if isinstance(event, h11.Request):
                method, content = event.method.decode(), b""
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                requests.append((method, content))
                status = 405 if method == "CONNECT" else 200
                connection.send(h11.Response(status_code=status, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return Reading(tuple(requests), CLOSES)
                connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return Reading(tuple(requests), REFUSED)


class _Calls:
    """What the parser calls."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.requests: list[tuple[str, bytes]] = []
        self.content = b""
        self.is_open = True
        self.is_within = False

    def on_message_begin(self) -> None:
        self.content, self.is_within = b"", True

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.is_within = False
        if self.is_open:
            self.requests.append((self.parser.get_method().decode(), self.content))
            self.is_open = self.parser.should_keep_alive()


def by_llhttp(octets: bytes) -> Reading:
    calls, end = _Calls(), GOES_ON
    try:
        calls.parser.feed_data(octets)
    except httptools.HttpParserUpgrade:
        end = TUNNEL
    except httptools.HttpParserError:
        end = REFUSED
    if not calls.is_open and end != TUNNEL:
        end = CLOSES
    return Reading(tuple(calls.requests), WAITS if calls.is_within and not end else end)


READERS = {"h11": by_h11, "llhttp": by_llhttp}
VERSIONS = {"h11": version("h11"), "llhttp": f"httptools {version('httptools')}"}

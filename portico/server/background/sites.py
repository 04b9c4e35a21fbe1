"""Sites that may wait for the disk, for use in threads.

If deciding a request would block the loop, a thread decides the whole request instead, and the
response is kept with the request. So a slow disk or network is asked only once per request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.http.content_sink import ContentSink
    from portico.http.message import RequestHead, Response
    from portico.site.origin.freshness import Dependencies
    from portico.site.site import Site


class Sites:
    """A pool of equal `Site` objects, since each can be used by one thread at a time only."""

    def __init__(self, make: Callable[[], Site]) -> None:
        self._make = make
        self._idle: list[Site] = []

    def answer(self, request: RequestHead) -> tuple[Response | ContentSink, Dependencies]:
        """Return the response to `request`, however long that takes. Raises ProtocolError.

        The dependencies are always None (unknown), so the reply is not cached: only the thread's
        own site can check them.
        """
        try:
            site = self._idle.pop()
        except IndexError:
            site = self._make()
        site.freshness.begin_round()
        try:
            return site.answer(request)[0], None
        finally:
            self._idle.append(site)

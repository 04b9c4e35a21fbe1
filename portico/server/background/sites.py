"""Sites that may wait for the disk, for use in threads.

Where the loop would have to wait, the request is decided in a thread instead, as a whole, and the
response is kept with the request. So however slow a disk or a network is, it is asked once.
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
    """The same site several times over, since each can be used by one thread at a time."""

    def __init__(self, make: Callable[[], Site]) -> None:
        self._make = make
        self._idle: list[Site] = []

    def answer(self, request: RequestHead) -> tuple[Response | ContentSink, Dependencies]:
        """Return the response to `request`, however long that takes. Raises ProtocolError.

        It has no dependencies: what depends on them is known to the threads only.
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

"""The space that uploads must leave free on the disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from portico.site.origin.writable import Refused

if TYPE_CHECKING:
    from portico.site.origin.writable import WritableFolder

LOOK_SECONDS = 0.5
"""How long the known free space is used before the file system is asked again."""


class Space:
    """Refuses content for which fewer than `keep_free` bytes would stay free. Thread-safe."""

    def __init__(self, folder: WritableFolder, keep_free: int) -> None:
        self._folder = folder
        self._keep_free = keep_free
        self._free = 0
        self._look_again_at = 0.0

    def check(self, length: int) -> None:
        """Raise Refused(507) unless there is room for `length` more bytes."""
        now = time.monotonic()
        if now >= self._look_again_at:
            self._free = self._folder.free()
            self._look_again_at = now + LOOK_SECONDS
        if self._free - length < self._keep_free:
            raise Refused(507, "There is not enough space left on the disk.")

"""How many descriptors there may be of each kind: connections, files, and all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.origin.folder import OPEN_FILES
from portico.site.origin.new_file import descriptors_granted

if TYPE_CHECKING:
    from portico.config.config import Config

FILES_SHARE = 4
"""A quarter of all descriptors is reserved for files."""
FILES_AT_LEAST = 4
"""Descriptors that no connection gets, so that those connected can be served."""
_OWN = 128
"""Descriptors for all else: listening sockets, the loop, files that are being compressed."""
_OWN_SHARE = 8
"""When descriptors are few, at most one eighth of them is for all else."""
_BYTES_PER_FILE = 1024
"""The least memory that a kept file or reply takes: more of them need not be open."""


class Descriptors:
    """The limits that follow from what the system grants."""

    __slots__ = ("connections", "files", "scarce")

    def __init__(self, config: Config) -> None:
        granted = descriptors_granted()
        self.connections = min(config.max_connections, max(1, granted - granted // FILES_SHARE))
        """Connections open at once."""
        left = (granted - self.connections - min(_OWN, granted // _OWN_SHARE)) // 2
        most = max(OPEN_FILES, config.cache_size // _BYTES_PER_FILE)
        self.files = max(FILES_AT_LEAST // 2, min(left, most))
        """Files that the folder may keep open; and as many the replies that are ready."""
        self.scarce = granted - FILES_AT_LEAST
        """A connection with this descriptor or a higher one shows that hardly any are left, because
        the system gives the lowest free one."""

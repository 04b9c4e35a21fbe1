"""How many descriptors there may be of each kind: connections, files, and all else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

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


class Descriptors(NamedTuple):
    """How many there may be."""

    connections: int
    """Connections open at once."""
    files: int = 0
    """Files that the folder may keep open; and as many the replies that are ready."""
    scarce: int = sys.maxsize
    """A connection with this descriptor or a higher one shows that hardly any are left, because the
    system gives the lowest free one."""


def share_out(config: Config) -> Descriptors:
    """Return how many of each kind a worker may have, of those that the system grants."""
    granted = descriptors_granted()
    connections = min(config.max_connections, max(1, granted - granted // FILES_SHARE))
    left = (granted - connections - min(_OWN, granted // _OWN_SHARE)) // 2
    most = max(OPEN_FILES, config.cache_size // _BYTES_PER_FILE)
    files = max(FILES_AT_LEAST // 2, min(left, most))
    return Descriptors(connections, files, granted - FILES_AT_LEAST)

"""Descriptors: how many the system grants, and how they are shared out.

Each connection takes one, and each file that is kept open. Whoever is connected must be served, so
some are left to the files that are asked for, however many connections there are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from portico.site.origin.folder import OPEN_FILES

if TYPE_CHECKING:
    from portico.config.config import Config

FILES_SHARE = 4
"""One in so many of the descriptors that there may be is left to the files that are asked for."""
FILES_AT_LEAST = 4
"""Descriptors that no connection gets, so that whoever is connected can be served."""
_OWN = 128
"""Descriptors for all else: listening sockets, the loop, copies that are being made."""
_OWN_SHARE = 8
"""But of few no more than one in so many: copies can wait, clients cannot."""
_OCTETS_PER_FILE = 1024
"""The least that a kept file or reply takes of the memory: more of them need not be open."""


class Descriptors:
    """How many descriptors there may be of each kind."""

    __slots__ = ("connections", "files", "scarce")

    def __init__(self, config: Config) -> None:
        granted = _granted()
        self.connections = min(config.max_connections, max(1, granted - granted // FILES_SHARE))
        """Connections open at once."""
        left = (granted - self.connections - min(_OWN, granted // _OWN_SHARE)) // 2
        most = max(OPEN_FILES, config.cache_size // _OCTETS_PER_FILE)
        self.files = max(FILES_AT_LEAST // 2, min(left, most))
        """Files that the folder may keep open; and as many the replies that are ready."""
        self.scarce = granted - FILES_AT_LEAST
        """A connection with so high a descriptor is one too many: the lowest free one is given."""


def _granted() -> int:
    """How many descriptors the system grants this process."""
    try:
        import resource
    except ImportError:
        return sys.maxsize
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if granted == resource.RLIM_INFINITY else granted

"""Rights taken away for a moment, so that tests which run as root see what other users see."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """No right to what is not ours, for all threads of this process."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that everyone may reach; pytest's own is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="portico-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder

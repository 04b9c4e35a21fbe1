"""For pytest: the fixture `portico_server`. Installed with the package, pytest finds it by itself.

::

    def test_download(portico_server, tmp_path):
        (tmp_path / "data.json").write_text("{}")
        assert fetch(portico_server.url + "data.json") == "{}"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portico.server.embedded import Server


@pytest.fixture
def portico_server(tmp_path: Path) -> Iterator[Server]:
    """Serve the folder `tmp_path` during a test; `portico_server.url` is its URL."""
    from portico.server.embedded import Server  # not before a test needs it

    with Server(tmp_path) as server:
        yield server

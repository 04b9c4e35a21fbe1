"""docs/security.md names tests: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def test_each_test_that_is_named_exists() -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(\w+)`", (REPOSITORY / "docs/security.md").read_text()
    )
    assert len(named) > 30
    for file, test in named:
        assert f"def {test}(" in (REPOSITORY / file).read_text(), (file, test)

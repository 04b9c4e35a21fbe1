"""docs/security.md and docs/clients.md name tests: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.parametrize(("page", "least"), [("security.md", 30), ("clients.md", 15)])
def test_each_test_that_is_named_exists(page: str, least: int) -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(\w+)`", (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    )
    assert len(named) >= least
    for file, test in named:
        assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8"), (file, test)

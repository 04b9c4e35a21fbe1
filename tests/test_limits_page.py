"""docs/limits.md names the bounds in the code: each has the value that the page gives."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "limits.md"


def test_each_bound_is_as_it_says() -> None:
    named = re.findall(r"`([\w/]+)\.py: (\w+) = ([0-9.]+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 50
    wrong = []
    for path, name, value in named:
        module = importlib.import_module("portico." + path.replace("/", "."))
        if getattr(module, name) != float(value):
            wrong.append((path, name, value, getattr(module, name)))
    assert wrong == []

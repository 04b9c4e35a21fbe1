"""How hard the property tests try: the same examples in each run, and no watch on the clock."""

from __future__ import annotations

from hypothesis import settings

QUICK = settings(max_examples=100, derandomize=True, deadline=None)
THOROUGH = settings(max_examples=300, derandomize=True, deadline=None)

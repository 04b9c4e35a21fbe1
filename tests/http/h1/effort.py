"""How hard the property tests try, with the same examples in each run.

pytest --hypothesis-profile=thorough tries five times as many.
"""

from __future__ import annotations

from hypothesis import settings

EFFORT = settings(max_examples=settings().max_examples, derandomize=True)

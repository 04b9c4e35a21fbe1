"""How hard the property tests try, with the same examples in each run."""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = settings().max_examples
"""100, unless the profile says otherwise."""

QUICK = settings(max_examples=EXAMPLES, derandomize=True)
THOROUGH = settings(max_examples=3 * EXAMPLES, derandomize=True)

"""The same cases against nginx and http.server: what docs/conformance.md says of them is so."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.conformance.catalogue import CASES
from tests.conformance.others import OTHERS, Other, recorded, results

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = REPOSITORY / "docs" / "conformance.md"
SCRIPT = REPOSITORY / "scripts" / "make_conformance.py"


@pytest.mark.parametrize("other", OTHERS, ids=[other.name for other in OTHERS])
def test_others_are_as_recorded(other: Other) -> None:
    version, known = other.version(), recorded()[other.name]
    if version is None:
        pytest.skip(f"there is no {other.name} on this machine")
    if version != known.version:
        pytest.skip(f"{other.name} is {version} here, and {known.version} on record")
    found = results(other)
    differing = {
        name: f"{result}, not {known.results.get(name)}"
        for name, result in found.items()
        if result != known.results.get(name)
    }
    assert not differing, "run: python3 scripts/make_conformance.py --record"


@pytest.mark.parametrize("other", OTHERS, ids=[other.name for other in OTHERS])
def test_every_case_is_on_record(other: Other) -> None:
    assert set(recorded()[other.name].results) == {case.name for case in CASES}


def test_the_page_is_up_to_date() -> None:
    written = runpy.run_path(str(SCRIPT))["conformance_markdown"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run: python3 scripts/make_conformance.py"

"""Every case against Portico: the rule is kept, or the test fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import portico
from tests.conformance.case import YES, Case, outcome
from tests.conformance.catalogue import CASES, TITLES
from tests.conformance.differences import DIFFERENCES
from tests.conformance.exchange import Address
from tests.conformance.served import build
from tests.end_to_end.serving import settle
from tests.server.clients import PATIENCE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance")
    build(folder)
    settle(*folder.iterdir())  # until then a large file has no ranges
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[Address]:
    with portico.Server(site) as server:
        parts = urlsplit(server.url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, address: Address, site: Path) -> None:
    found = outcome(case, address, site, PATIENCE)
    expected = f"no: {DIFFERENCES[case.name].answer}" if case.name in DIFFERENCES else YES
    assert found == expected, f"RFC {case.section} ({case.level}): {case.rule}"


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_section_has_a_title() -> None:
    assert {case.section for case in CASES} == set(TITLES)


def test_every_difference_is_one_of_a_case() -> None:
    assert set(DIFFERENCES) <= {case.name for case in CASES}


def test_no_difference_is_of_what_must_be() -> None:
    """Portico differs only where the RFC leaves it a choice."""
    levels = {case.name: case.level for case in CASES}
    assert not {name for name in DIFFERENCES if levels[name].startswith("MUST")}

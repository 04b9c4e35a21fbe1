"""PORTICO_REQUIRE_BROWSER=1 makes a run fail if the browser tests were skipped or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
MARKED = "import pytest\n\n@pytest.mark.browser\ndef test_page():\n    {}\n"
SKIPPED = MARKED.format("pytest.skip('no Chromium')")
PASSED = MARKED.format("assert True")
PLAIN = "import pytest\n\ndef test_other():\n    pytest.skip('another reason')\n"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((HERE / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = browser\n")
    return pytester


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_REQUIRE_BROWSER", "1")


def test_a_skipped_browser_test_passes_where_none_is_required(suite: pytest.Pytester) -> None:
    suite.makepyfile(SKIPPED)
    suite.runpytest_inprocess().assert_outcomes(skipped=1)


@pytest.mark.usefixtures("required")
def test_a_skipped_browser_test_fails_where_it_is_required(suite: pytest.Pytester) -> None:
    suite.makepyfile(SKIPPED)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*but this was skipped*no Chromium*")


@pytest.mark.usefixtures("required")
@pytest.mark.parametrize(
    "source", [PLAIN, "import pytest\npytest.importorskip('missing_module')\n"]
)
def test_a_run_without_browser_tests_fails_where_they_are_required(
    suite: pytest.Pytester, source: str
) -> None:
    suite.makepyfile(source)
    result = suite.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines("*no browser test passed*")


@pytest.mark.usefixtures("required")
def test_other_skipped_tests_do_not_matter(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_browser=PASSED, test_other=PLAIN)
    result = suite.runpytest_inprocess("-n1")  # who decides hears the reports of another process
    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == 0

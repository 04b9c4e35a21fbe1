"""PORTICO_REQUIRE_BROWSER=1 makes a run fail if the browser tests were skipped or missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MARKED = "import pytest\n\n@pytest.mark.browser\ndef test_page():\n    {}\n"
SKIPPED = MARKED.format("pytest.skip('no Chromium')")
PASSED = MARKED.format("assert True")
PLAIN = "import pytest\n\ndef test_other():\n    pytest.skip('another reason')\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    shutil.copy(HERE / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = browser\n")
    return tmp_path


def run(suite: Path, required: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(suite)]
    environ = os.environ | {"PORTICO_REQUIRE_BROWSER": required}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def test_a_skipped_browser_test_passes_where_none_is_required(suite: Path) -> None:
    (suite / "test_browser.py").write_text(SKIPPED)
    assert run(suite, "").returncode == 0


def test_a_skipped_browser_test_fails_where_it_is_required(suite: Path) -> None:
    (suite / "test_browser.py").write_text(SKIPPED)
    result = run(suite, "1")
    assert result.returncode == 1
    assert "but this was skipped" in result.stdout
    assert "no Chromium" in result.stdout


@pytest.mark.parametrize(
    "source", [PLAIN, "import pytest\npytest.importorskip('missing_module')\n"]
)
def test_a_run_without_browser_tests_fails_where_they_are_required(
    suite: Path, source: str
) -> None:
    (suite / "test_browser.py").write_text(source)
    result = run(suite, "1")
    assert result.returncode == 1
    assert "no browser test passed" in result.stdout


def test_other_skipped_tests_do_not_matter(suite: Path) -> None:
    (suite / "test_browser.py").write_text(PASSED)
    (suite / "test_other.py").write_text(PLAIN)
    result = run(suite, "1", "-n2")  # the process that decides hears the reports of others
    assert result.returncode == 0, result.stdout
    assert "1 passed, 1 skipped" in result.stdout

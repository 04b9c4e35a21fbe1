"""What all tests share: a clean environment, and browser tests that may be made compulsory."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

REPOSITORY = Path(__file__).parent.parent
BROWSER_REQUIRED = os.environ.get("PORTICO_REQUIRE_BROWSER") == "1"
BROWSER_TESTS_PASSED = pytest.StashKey[int]()

# Machines are shared: how long an example takes says nothing about what is tested.
settings.register_profile("portico", deadline=None)
settings.load_profile("portico")
# For scripts/mutate: fewer examples, and no search for a smaller one once a test fails.
settings.register_profile(
    "mutation", deadline=None, max_examples=20, phases=(Phase.explicit, Phase.generate)
)


def pytest_configure() -> None:
    """Hear Ctrl+C, as what tests start must: a shell turns it off for what is in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_options_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own environment out of every test and of what tests start."""
    for name in list(os.environ):
        if name.startswith("PORTICO_") or name in {"NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count the browser tests that passed; where they are required, a skipped one has failed."""
    report = yield
    if item.get_closest_marker("browser") is None:
        return report
    if report.when == "call" and report.passed:
        stash = item.config.stash
        stash[BROWSER_TESTS_PASSED] = stash.get(BROWSER_TESTS_PASSED, 0) + 1
    if BROWSER_REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"PORTICO_REQUIRE_BROWSER=1, but this was skipped: {report.longrepr}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Also without a skip, as when their file was not collected, required tests must have run."""
    if BROWSER_REQUIRED and not session.config.stash.get(BROWSER_TESTS_PASSED, 0):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say why the session failed, if it did for want of a browser test."""
    if BROWSER_REQUIRED and not config.stash.get(BROWSER_TESTS_PASSED, 0):
        terminalreporter.write_line(
            "PORTICO_REQUIRE_BROWSER=1, but no browser test passed", red=True
        )

"""What all tests share: a clean environment, and browser tests that can be required to run."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

REPOSITORY = Path(__file__).parent.parent
BROWSER_REQUIRED = os.environ.get("PORTICO_REQUIRE_BROWSER") == "1"

# On a shared machine an example may take any time.
settings.register_profile("portico", deadline=None)
settings.load_profile("portico")
# For who has changed what they test: see tests/http/h1/effort.py.
settings.register_profile("thorough", deadline=None, max_examples=500)
# For scripts/mutate: fewer examples, and no search for a smaller one once a test fails.
settings.register_profile(
    "mutation", deadline=None, max_examples=20, phases=(Phase.explicit, Phase.generate)
)


def pytest_configure(config: pytest.Config) -> None:
    if BROWSER_REQUIRED and not hasattr(config, "workerinput"):
        config.pluginmanager.register(BrowserTestsRequired())
    # A shell makes background jobs ignore SIGINT, and the servers under test would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have nobody wait at the end for what takes longest."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def pytest_collection_finish() -> None:
    """Keep the tests themselves out of garbage collections: there are thousands of them."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_options_from_outside() -> Iterator[None]:
    """Keep the developer's own settings out of the tests and the processes that they start."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in list(os.environ):
            if name.startswith("PORTICO_") or name in {"NO_COLOR", "FORCE_COLOR"}:
                monkeypatch.delenv(name)
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped browser test into a failed one, where browser tests are required."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if BROWSER_REQUIRED and skipped and item.get_closest_marker("browser"):
        report.outcome = "failed"
        report.longrepr = f"PORTICO_REQUIRE_BROWSER=1, but this was skipped: {report.longrepr}"
    return report


class BrowserTestsRequired:
    """Fails a run in which no browser test passed, as when their files were not collected.

    With pytest-xdist this runs in the process that hears the reports of all workers.
    """

    def __init__(self) -> None:
        self._passed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and "browser" in report.keywords:
            self._passed = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._passed:
            terminalreporter.write_line(
                "PORTICO_REQUIRE_BROWSER=1, but no browser test passed", red=True
            )

"""Pytest plugin: how long each test file may take.

`tests/budgets.yaml` holds the seconds of files on an idle machine of two cores. `pytest --budgets` (as `make test`
runs it) names the files that take more than three times their budget, and fails when that is minutes too much. A slow
or busy machine slows all files down, so budgets are scaled by the median of what the files of this run took. A file
that is not listed has no budget. `pytest --write-budgets` writes the file from a whole run.
"""

from collections import Counter
from pathlib import Path
from statistics import median

import pytest
import yaml

FILE = Path(__file__).with_suffix(".yaml")
FACTOR = 3.0
NAMED_SECONDS, FAILED_SECONDS = 10.0, 240.0  # beyond the factor: starts of servers and hiccups are no regression
_ENOUGH_FILES = 8  # to tell how slow the machine is
_HEAD = """# Seconds of each test file on an idle machine of two cores, written by `make budgets`. A file that is not
# listed has no budget. `make test` fails when a file takes more than three times its budget and four minutes.
"""


def budgets() -> dict[str, float]:
    """The budget of each file, in seconds."""
    return yaml.safe_load(FILE.read_text()) or {} if FILE.exists() else {}


def slowness(spent: dict[str, float], allowed: dict[str, float]) -> float:
    """How many times slower than the budgets this machine is; 1 if it is faster, or if few files ran."""
    ratios = [seconds / allowed[file] for file, seconds in spent.items() if allowed.get(file)]
    return max(1.0, median(ratios)) if len(ratios) >= _ENOUGH_FILES else 1.0


def overruns(spent: dict[str, float], allowed: dict[str, float], beyond: float) -> list[str]:
    """One line for each file that took longer than its scaled budget by more than `beyond` seconds."""
    factor = FACTOR * slowness(spent, allowed)
    return [
        f"{file} took {seconds:.0f} s; its budget is {allowed[file]:.0f} s. Make it faster, or run `make budgets` and "
        "say why in the commit message."
        for file, seconds in sorted(spent.items())
        if file in allowed and seconds > factor * allowed[file] + beyond
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    parser.addoption("--budgets", action="store_true", help="Check how long each file takes.")
    parser.addoption("--write-budgets", action="store_true", help="Write tests/budgets.yaml from this run.")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the clock in the process that hears of all tests, which is not a worker of xdist."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Clock(config), "kale-clock")


class Clock:
    """Adds up the seconds of each file."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.spent = config, Counter[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the set-up, call and tear-down of a test."""
        self.spent[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the budgets, or fail the run."""
        if self.config.getoption("write_budgets"):
            lines = {file: seconds for file, seconds in budgets().items() if (session.config.rootpath / file).exists()}
            lines.update({file: round(seconds, 1) for file, seconds in self.spent.items()})
            FILE.write_text(_HEAD + yaml.safe_dump(lines))
        elif self._late(FAILED_SECONDS) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which files took too long."""
        if late := self._late(NAMED_SECONDS):
            failed = "failed" if self._late(FAILED_SECONDS) else "no failure"
            terminalreporter.section(f"files over their budget ({failed})")
            for line in late:
                terminalreporter.write_line(line)

    def _late(self, beyond: float) -> list[str]:
        return overruns(dict(self.spent), budgets(), beyond) if self.config.getoption("budgets") else []

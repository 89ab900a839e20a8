"""Pytest plugin: how long each test file may take.

`tests/budgets.yaml` holds the seconds of files on an idle machine of two cores. `pytest --budgets` (as `make test`
runs it) fails when a listed file takes more than three times its budget; a file that is not listed has none.
`pytest --write-budgets` writes the file from a whole run.
"""

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).with_suffix(".yaml")
FACTOR = float(os.environ.get("KALE_BUDGET_FACTOR", "3"))  # more for a slower machine
SLACK_SECONDS = 5
_HEAD = """# Seconds of each test file on an idle machine of two cores, written by `make budgets`. A file that is not
# listed has no budget. `make test` fails when a file takes more than three times its budget.
"""


def budgets() -> dict[str, float]:
    """The budget of each file, in seconds."""
    return yaml.safe_load(FILE.read_text()) or {} if FILE.exists() else {}


def overruns(spent: dict[str, float], allowed: dict[str, float]) -> list[str]:
    """One line for each file that took too long."""
    return [
        f"{file} took {seconds:.0f} s; its budget is {budget:.0f} s. Make it faster, or run `make budgets` and say why "
        "in the commit message."
        for file, seconds in sorted(spent.items())
        if file in allowed and seconds > FACTOR * (budget := allowed[file]) + SLACK_SECONDS
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    parser.addoption("--budgets", action="store_true", help="Fail when a file takes more than three times its budget.")
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
        elif self.config.getoption("budgets") and self._late and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which files took too long."""
        if self.config.getoption("budgets") and self._late:
            terminalreporter.section("files over their budget")
            for line in self._late:
                terminalreporter.write_line(line)

    @property
    def _late(self) -> list[str]:
        return overruns(dict(self.spent), budgets())

"""A test file that takes more than three times its budget fails the run."""

import pytest

from tests.budgets import overruns

pytest_plugins = ["pytester"]


def test_a_file_over_three_times_its_budget_is_named_with_what_to_do() -> None:
    found = overruns({"tests/a.py": 34.0, "tests/b.py": 36.0}, {"tests/a.py": 10.0, "tests/b.py": 10.0})
    assert len(found) == 1
    assert found[0].startswith("tests/b.py took 36 s; its budget is 10 s.") and "`make budgets`" in found[0]


def test_a_run_with_a_slow_file_ends_as_failed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.budgets.budgets", lambda: {"test_slow.py": 0})
    monkeypatch.setattr("tests.budgets.SLACK_SECONDS", 0.1)
    pytester.makepyfile(test_slow="import time\ndef test_slow(): time.sleep(0.3)")
    assert pytester.inline_run("-p", "tests.budgets", "--budgets").ret == pytest.ExitCode.TESTS_FAILED
    assert pytester.inline_run("-p", "tests.budgets").ret == pytest.ExitCode.OK

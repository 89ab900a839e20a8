"""A test file that takes far longer than its budget fails the run; a slow machine does not."""

import pytest

from tests.budgets import overruns, slowness
from tests.groups import slow_files

pytest_plugins = ["pytester"]


def test_a_file_over_three_times_its_budget_is_named_with_what_to_do() -> None:
    found = overruns({"tests/a.py": 39.0, "tests/b.py": 41.0}, {"tests/a.py": 10.0, "tests/b.py": 10.0}, 10)
    assert len(found) == 1
    assert found[0].startswith("tests/b.py took 41 s; its budget is 10 s.") and "`make budgets`" in found[0]


def test_budgets_grow_with_the_slowness_of_the_machine() -> None:
    allowed = {f"{n}.py": 10.0 for n in range(9)}
    spent = {f"{n}.py": 50.0 for n in range(8)} | {"8.py": 151.0}
    assert slowness(spent, allowed) == 5
    assert [line.split()[0] for line in overruns(spent, allowed, 0)] == ["8.py"]
    assert slowness({"0.py": 50.0}, allowed) == 1  # one file says nothing of the machine


def test_a_run_fails_when_a_file_is_far_over_its_budget(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.budgets.budgets", lambda: {"test_slow.py": 0})
    monkeypatch.setattr("tests.budgets.NAMED_SECONDS", 0.1)
    pytester.makepyfile(test_slow="import time\ndef test_slow(): time.sleep(0.3)")
    named = pytester.inline_run("-p", "tests.budgets", "--budgets")
    assert named.ret == pytest.ExitCode.OK
    monkeypatch.setattr("tests.budgets.FAILED_SECONDS", 0.1)
    assert pytester.inline_run("-p", "tests.budgets", "--budgets").ret == pytest.ExitCode.TESTS_FAILED
    assert pytester.inline_run("-p", "tests.budgets").ret == pytest.ExitCode.OK


def test_make_check_takes_the_fastest_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.groups.CHECK_SECONDS", 60)
    assert slow_files({"a.py": 100.0, "b.py": 19.0, "c.py": 30.0, "d.py": 20.0}) == {"a.py", "c.py"}


@pytest.mark.parametrize(
    ("check_seconds", "expected"),
    [
        (1000, {"test_fast", "test_medium", "test_new", "test_long", "test_without_server"}),
        (60, {"test_fast", "test_medium", "test_new", "test_without_server"}),
        (20, {"test_fast", "test_without_server"}),  # a file without a budget is taken for a long one
        (0, set()),
    ],
)
def test_make_check_needs_no_server_and_little_time(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, check_seconds: float, expected: set[str]
) -> None:
    known = {"test_fast.py": 1.0, "test_medium.py": 20.0, "test_long.py": 500.0, "test_mixed.py": 10.0}
    monkeypatch.setattr("tests.groups.budgets", lambda: known)
    monkeypatch.setattr("tests.groups.CHECK_SECONDS", check_seconds)
    pytester.makeconftest(
        "import pytest\n@pytest.fixture\ndef postgres(): ...\n@pytest.fixture\ndef lake(postgres): ..."
    )
    pytester.makepyfile(
        test_fast="def test_fast(): ...",
        test_medium="import pytest\ndef test_medium(): ...\n@pytest.mark.nightly\ndef test_at_night(): ...",
        test_new="def test_new(): ...",
        test_long="def test_long(): ...",
        test_mixed="def test_without_server(): ...\ndef test_with_one(lake): ...",
        test_served="def test_served(postgres): ...",
    )
    run = pytester.inline_run("-p", "tests.groups", "-m", "not server and not slow")
    assert {report.nodeid.partition("::")[2] for report in run.getreports() if report.when == "call"} == expected

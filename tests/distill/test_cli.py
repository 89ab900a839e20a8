"""`kale models` lists, shows, promotes and rolls back students."""

import json

import pytest
from typer.testing import CliRunner

from kale_tasks.cli.models import app, training
from kale_tasks.errors import BadData
from kale_tasks.models import students
from tests.distill import small
from tests.distill.test_step import LAX, run

RUNNER = CliRunner()


@pytest.fixture
def ask(lake, monkeypatch):
    monkeypatch.setenv("KALE_WAREHOUSE", lake.settings.warehouse)

    def asked(*words):
        answer = RUNNER.invoke(app, [*words, "--json"], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.output)

    return asked


def test_students_are_listed_shown_promoted_and_rolled_back(lake, ask):
    run(lake, **LAX)
    with pytest.raises(BadData):
        run(lake, rows=5)
    listed = {row["state"]: row["version"] for row in ask("list")}
    assert set(listed) == {"in use", "refused"}
    assert ask("show", listed["refused"][:8])["verdict"].startswith("Refused.")
    with pytest.raises(BadData, match="--refused"):
        ask("promote", listed["refused"], "--why", "?")
    assert ask("promote", listed["refused"], "--why", "trial", "--refused")["version"] == listed["refused"]
    assert ask("rollback", "--why", "worse")["version"] == listed["in use"] == students.promoted(lake, "demo").version
    assert [entry["why"] for entry in ask("history")][1:] == ["trial", "worse"]
    for words in (["show", listed["in use"]], ["list"], ["history"]):
        assert RUNNER.invoke(app, words).exit_code == 0


def test_a_training_is_planned_from_the_captions_of_the_lake_or_from_given_lengths(lake, base, ask, monkeypatch):
    monkeypatch.setenv("KALE_DISTILL__BASE", str(base))
    monkeypatch.setenv("KALE_CAPTION__RECIPE", "demo")
    words = ["plan", "--key", small.KEY, "--tflops", "0.001", "--json"]
    found, given = (
        json.loads(RUNNER.invoke(training, [*words, *more], catch_exceptions=False).stdout)
        for more in ([], ["--length", "900", "--processes", "2"])
    )
    assert found["parameters"] == given["parameters"] > found["trained"] > 0
    assert found["length"] < given["length"] == 900
    assert given["checkpoint_bytes_per_process"] * 2 == found["checkpoint_bytes"]
    assert RUNNER.invoke(training, words[:-1]).exit_code == 0

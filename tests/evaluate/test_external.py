"""External judges are programs with a version; without one they refuse to judge."""

import sys
from pathlib import Path

import pytest
import yaml

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.evaluate.external import external, load_judges
from kale_tasks.evaluate.measures import Item

ITEMS = [Item("a"), Item("b")]
COUNTS = """
import json, sys
texts, scores = sys.argv[1:]
with open(scores, "w") as out:
    for row in map(json.loads, open(texts)):
        out.write(json.dumps({"uid": row["uid"], "score": len(row["text"].split())}) + "\\n")
"""


def judge(folder: Path, program: str, **more: str) -> str:
    """Write a judge that runs this program, and return its name."""
    (folder / "judge.py").write_text(program)
    command = f"{sys.executable} {folder}/judge.py {{texts}} {{scores}}"
    judges = {"Counter": {"about": "Counts words.", "version": "1", "command": command, **more}}
    (folder / "judges.yaml").write_text(yaml.safe_dump(judges))
    return f"{folder}/judges.yaml:Counter"


def test_a_judge_scores_by_files(tmp_path: Path) -> None:
    found = external(judge(tmp_path, COUNTS, version="counter 1.2"))
    assert found.scores(ITEMS, ["one two", "one two three"], []) == [2.0, 3.0]
    assert (found.name, found.version) == ("Counter", "counter 1.2")


def test_the_four_known_judges_are_listed_and_say_what_they_lack() -> None:
    assert {"CAPTURE", "CapArena-Auto", "PoSh", "VNLI"} <= load_judges().keys()
    with pytest.raises(BadConfig, match="command"):
        external("CAPTURE")
    with pytest.raises(BadConfig, match="version and no command"):
        external("PoSh")
    with pytest.raises(BadConfig, match="CAPTURE"):
        external("CAPTRUE")


@pytest.mark.parametrize(
    ("program", "says"),
    [("raise SystemExit('no weights')", "no weights"), (COUNTS.replace("in map", "in [] and map"), "a")],
)
def test_a_judge_that_fails_or_forgets_is_an_error(tmp_path: Path, program: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        external(judge(tmp_path, program)).scores(ITEMS, ["one", "two"], [])

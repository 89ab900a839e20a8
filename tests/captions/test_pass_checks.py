"""Every pass that asks a model is checked before it is committed: too many rows that failed block the key."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kale_tasks.captions.steps import pass_specs
from kale_tasks.cli.run import check_run
from kale_tasks.errors import BadData
from kale_tasks.lake.verdicts import read_verdict
from kale_tasks.quality.committed import find
from kale_tasks.quality.suite import Subject
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.captions.conftest import Opener
from tests.captions.test_passes import CALL, DENSE, Lab, answer, recipe, regions
from tests.captions.world import KEY, pairs
from tests.engines.server import completion, serving

PART = {**DENSE, "name": "parts", "image": "crop", "for_each": "regions", "user": "Describe the {item} part."}
MANY = {**DENSE, "name": "many", "n": 3, "sampling": {"max_tokens": 60, "temperature": 1}}
TYPED = {"name": "typed", "ask": "vlm", "user": "Read: {many[0]} {parts}", "schema": ["title"], "retries": 0, **CALL}


def run_checked(lab: Lab, path: Path, name: str) -> Any:
    """Run a pass with its checks, as `kale run` does."""
    settings = lab.settings.with_values({"caption": {"recipe": str(path)}})
    spec = next(spec for spec in pass_specs(str(path)) if spec.label == name)
    run = Run(spec.load(), lab.lake, settings, KEY)
    return execute(run, lambda sealed: check_run(run, sealed)), spec


def test_answers_of_any_kind_are_checked_and_failures_block_the_key(opened: Opener, tmp_path: Path) -> None:
    given = [pair for pair in pairs(30) if pair.split == "stage1"]
    bad = iter(range(1000))

    def reply(body: dict[str, Any]) -> web.Response | None:
        if "Read:" not in str(body["messages"]):
            return answer(body)
        return completion("no JSON" if next(bad) < limit else '{"title": "Tower"}')

    with serving(reply=reply) as server:
        lab = Lab(opened, server, given)
        path = recipe(tmp_path, "kinds", MANY, regions(tmp_path, given), PART, TYPED)
        for name, texts in (("many", 3 * len(given)), ("regions", 2 * len(given)), ("parts", 2 * len(given))):
            committed, spec = run_checked(lab, path, name)
            verdict = read_verdict(lab.lake.storage, committed.seal_id)
            assert committed.rows == texts
            assert (verdict and verdict["status"]) == ("passed" if spec.suite else None), verdict
        limit = 2  # of 18: more than a twentieth
        with pytest.raises(BadData, match=r"Few rows failed: saw 11\.1 %, wanted at most 5\.0 %"):
            run_checked(lab, path, "typed")
        assert {one.status for one in find(lab.lake, KEY, blocked=True) if one.spec.label == "typed"} == {"blocked"}

    many = next(spec.name for spec in pass_specs(str(path)) if spec.label == "many")
    subject = Subject.of_committed(lab.lake, lab.settings, many, KEY)  # whose recipe is not known here
    assert "text_copies" not in {limit.name for limit in subject.suite.limits(subject)}

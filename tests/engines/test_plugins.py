"""Engines of other packages are chosen by name, as docs/plugins.md shows."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kale_tasks.engines.base import ENGINES, Answer, Engine, Model, Request, open_engine
from kale_tasks.errors import BadConfig
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.registry import Registry
from tests.lakes import settings_of

MODEL = Model("tiny@0", load_recipe("demo").task("dense"), lambda: Path("nowhere"))


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the package that the documentation shows."""
    section = Path("docs/plugins.md").read_text().partition("## Engines")[2].partition("\n## ")[0]
    code, entry = (re.search(rf"```{kind}\n(.*?)```", section, re.S)[1] for kind in ("python", "toml"))  # type: ignore[index]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/engine.py").write_text(code)
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry.replace("project.entry-points.", "").replace('"', ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh: Registry[type[Engine]] = Registry("engine", "kale.engines", ENGINES._built_in)
    monkeypatch.setattr("kale_tasks.engines.base.ENGINES", fresh)
    yield
    for name in ("my_package.engine", "my_package"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("documented")
def test_the_documented_engine_answers_every_request() -> None:
    with open_engine(settings_of(["caption.engine=pooled"]).caption, MODEL) as engine:
        engine.start()
        for i in range(5):
            engine.submit(Request(i, [{"role": "user", "content": f"question {i}"}]))
        answers: list[Answer] = []
        while engine.pending:
            answers += engine.finished()
    assert sorted(answer.id for answer in answers) == list(range(5))
    assert all(answer.text.endswith(f"question {answer.id}") for answer in answers)


@pytest.mark.usefixtures("documented")
def test_an_engine_that_was_never_started_can_be_stopped() -> None:
    open_engine(settings_of(["caption.engine=pooled"]).caption, MODEL).stop()


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(BadConfig, match=r"no engine 'magic'\. Known: transformers, vllm, openai"):
        open_engine(settings_of(["caption.engine=magic"]).caption, MODEL)

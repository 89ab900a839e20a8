"""Engines whose vLLM follows a script, and how the tests ask them."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import load_recipe
from tests.engines import scripted_vllm
from tests.lakes import settings_of

TASK = load_recipe("demo").task("dense")
Opener = Callable[..., Engine]


def opener(tmp_path: Path) -> Opener:
    """Return what opens an engine whose processes follow a script."""

    def opened(*sets: str, task: Task = TASK, **script: Any) -> Engine:
        (tmp_path / "script.json").write_text(json.dumps(script))
        python = tmp_path / "python"
        code = Path(scripted_vllm.__file__).read_text()
        python.write_text(f"#!{sys.executable} -IS\n{code}")
        python.chmod(0o755)
        return engine(f"caption.vllm_python={python}", *sets, task=task)

    return opened


def engine(*sets: str, task: Task = TASK) -> Engine:
    settings = settings_of(["caption.engine=vllm", *sets]).caption
    return open_engine(settings, Model("tiny@0", task, lambda: Path("nowhere")))


def ask(
    running: Engine,
    count: int,
    together: int = 64,
    text: Callable[[int], str] = str,
    *,
    start: bool = True,
    times: list[float] | None = None,
) -> dict[int, Answer]:
    """Ask `count` requests, at most `together` at once, as the captioning steps do; note the time of each answer."""
    if start:
        running.start()
    answers: dict[int, Answer] = {}
    sent = 0
    while len(answers) < count:
        while sent < count and running.pending < together:
            running.submit(Request(sent, [{"role": "user", "content": text(sent)}]))
            sent += 1
        finished = running.finished()
        answers |= {answer.id: answer for answer in finished}
        if times is not None:
            times += [time.monotonic()] * len(finished)
    return answers


def rate(times: list[float], start: int, stop: int) -> float:
    """How many answers a second came from one of them to another."""
    return (stop - start) / (times[stop] - times[start])


def logged(folder: Path, name: str) -> list[Any]:
    """Return the values of a field of the log, from the lines that have it."""
    entries = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [entry[name] for entry in entries if name in entry]

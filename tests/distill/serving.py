"""What engines answer with a student that was just trained."""

from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.models import students
from kale_tasks.recipes.recipe import load_recipe
from tests.engines.families import picture
from tests.engines.test_engines import VLLM


def answers(lake, engine, size=(300, 200)):
    """What an engine writes, greedily in float32, about four pictures of a size with the only student of a lake."""
    (student,) = students.versions(lake)
    folder = students.local_copy(lake, student.version)
    task = load_recipe("demo").task("student")
    task = task.model_copy(update={"sampling": task.sampling.model_copy(update={"max_tokens": 12})})
    requests = [
        Request(n, task.prompt.messages({"alt": f"Ubuna, {1800 + n}"}, image=True), picture(*size, n)) for n in range(4)
    ]
    changes = {"engine": engine, "vllm_python": str(VLLM), "device": "cpu", "batch": 4}
    of = lake.settings.caption.with_values(changes)
    with open_engine(of, Model(f"student@{student.version}", task, lambda: folder)) as running:
        running.start()
        found = list(running.answers(requests))
    assert not [answer.reason for answer in found if answer.reason]
    return {answer.id: answer.text for answer in found}

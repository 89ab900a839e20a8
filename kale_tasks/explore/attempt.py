"""`kale try`: one picture through every pass of a recipe, in a lake of its own that is deleted at the end."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.explore.look import Seen, look
from kale_tasks.explore.pictures import Picture, lay_down
from kale_tasks.explore.workbench import Workbench, like_own
from kale_tasks.process import SCRATCH
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import Settings

_KEY = "picture"


class Made(NamedTuple):
    """What a step made of the picture: its texts, or why there is none, and the seconds that it took."""

    step: str
    texts: list[str]
    seconds: float
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {**self._asdict(), "seconds": round(self.seconds, 3)}


class Attempt:
    """One picture with its alt-text, and the steps that are still to be run on it."""

    def __init__(self, settings: Settings, folder: Path, image: Path, alt_text: str) -> None:
        self.settings = like_own(settings, folder)
        load_recipe(settings.caption.recipe)  # a mistake in it is said before anything runs
        if not image.is_file():
            raise BadConfig(f"There is no picture {image}. Name a file, such as photo.jpg.")
        lay_down(folder / "landing" / _KEY, iter([Picture(image.name, image, alt_text)]))
        self.bench = Workbench(self.settings, _KEY)

    def steps(self) -> Iterator[Made]:
        """Run the steps one by one, and yield what each made."""
        for spec in self.bench.first_steps():
            done = self.bench.run(spec)
            if spec.name == "images" and (problem := self._image_problem()):
                raise BadData(f"The picture cannot be used: {problem}")
            yield Made(spec.label, [], done.seconds)
        for spec in self.bench.passes():
            done = self.bench.run(spec)
            rows = self.bench.lake.arrow(spec.table, _KEY, slice_=spec.slice).to_pylist()
            texts = [row.get("text") or row.get("caption") or "found" for row in rows]
            problem = "" if texts else self._problem(spec.label, done.committed.dropped)
            yield Made(spec.label, texts, done.seconds, problem)

    def result(self) -> Seen:
        """The picture with all its texts."""
        return look(self.bench.lake, self.settings, _KEY, 1)[0]

    def _image_problem(self) -> str:
        rows = self.bench.lake.arrow("images", _KEY, ["status", "reason", "detail"]).to_pylist()
        lost = [row for row in rows if row["status"] != "ok"] or ([] if rows else self._quarantined("images"))
        return f"{_why(lost[0])}. `kale explain {lost[0]['reason']}` says more." if lost else ""

    def _problem(self, step: str, dropped: Any) -> str:
        return ", ".join([*map(_why, self._quarantined(step)), *dropped]) or "nothing"

    def _quarantined(self, step: str) -> list[dict[str, Any]]:
        lake = self.bench.lake
        rows = lake.arrow("quarantine", _KEY).to_pylist() if "quarantine" in lake.tables() else []
        return [row for row in rows if row["step"].startswith(step)]


def _why(row: dict[str, Any]) -> str:
    return f"{row['reason']}{f' ({detail})' if (detail := row['detail']) else ''}"


@contextmanager
def attempt(settings: Settings, image: Path, alt_text: str) -> Iterator[Attempt]:
    """Context manager: a lake for one picture, deleted at the end."""
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}try-") as folder:
        yield Attempt(settings, Path(folder), image.resolve(), alt_text)

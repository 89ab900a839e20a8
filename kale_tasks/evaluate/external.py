"""External judges, such as CAPTURE, CapArena-Auto, PoSh and VNLI: programs of their own, each pinned to a version.

KALE brings none of them. It gives a program a file of texts and reads back a file of scores, and keeps the version
with them. `config/judges/external.yaml` names them.
"""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.evaluate.measures import Item, Measure
from kale_tasks.resources import parse_yaml, resource
from kale_tasks.settings.section import Section


class ExternalJudge(Section):
    """A program that scores texts about images."""

    about: str = Field(description="What it judges, and what it needs.")
    version: str = Field("", description="Package with version, or repository with commit; empty: not pinned yet.")
    command: str = Field("", description="The program, with {texts} and {scores} for its files; empty: not set up.")


class External(Measure):
    """Runs a judge on JSON lines of uid, image (a file) and text; it writes JSON lines of uid and score."""

    def __init__(self, name: str, judge: ExternalJudge) -> None:
        self.name, self._judge = name, judge  # type: ignore[misc]
        if missing := [field for field in ("version", "command") if not getattr(judge, field)]:
            raise BadConfig(
                f"The judge '{name}' has no {' and no '.join(missing)}. {judge.about} Fill in a copy of "
                f"{resource('config/judges/external.yaml')} and name it as FILE:{name}."
            )

    @property
    def version(self) -> str:
        """What its scores depend on; stored with them."""
        return self._judge.version

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder, "texts.jsonl"), Path(folder, "scores.jsonl")
            lines = [
                {"uid": item.uid, "image": _file(Path(folder), number, item), "text": text}
                for number, (item, text) in enumerate(zip(items, texts, strict=True))
            ]
            given.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
            words = [word.format(texts=given, scores=made) for word in shlex.split(self._judge.command)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode or not made.exists():
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise BadData(f"The judge '{self.name}' failed: {last}. Run its command by hand to see more.")
            found = {row["uid"]: float(row["score"]) for row in map(json.loads, made.read_text("utf-8").splitlines())}
        if lost := [item.uid for item in items if item.uid not in found]:
            raise BadData(f"The judge '{self.name}' gave no score for {len(lost)} texts, the first is {lost[0]}.")
        return [found[item.uid] for item in items]


def _file(folder: Path, number: int, item: Item) -> str:
    if item.image is None:
        return ""
    path = folder / f"{number}.png"
    item.image.save(path)
    return str(path)


def load_judges(path: Path | None = None) -> dict[str, ExternalJudge]:
    """Read the judges of a file, by default the shipped list."""
    found = parse_yaml((path or resource("config/judges/external.yaml")).read_text("utf-8"))
    return {name: ExternalJudge.model_validate(judge) for name, judge in found.items()}


def external(name: str) -> External:
    """Open a judge, given as NAME of the shipped list or as FILE:NAME; BadConfig if it is unknown or not set up."""
    path, _, short = name.rpartition(":")
    judges = load_judges(Path(path) if path else None)
    if short not in judges:
        raise BadConfig(f"There is no measure '{name}'. External judges: {', '.join(judges)}.")
    return External(short, judges[short])

"""A lake with real pictures: they land in a folder, and ingest, images and the passes of a recipe run on them."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from PIL import Image

from kale_tasks.captions.steps import find_spec
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.images.world import settings
from tests.ingest.world import pair

KEYS = ("2026-11-01", "2026-11-02")
LOOK = {"name": "look", "embed": "efficientnet"}
_CALL = {"sampling": {"max_tokens": 9}, "clean": {"min_words": 1}}


def jpeg(image: Image.Image, quality: int = 95) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def recipe(folder: Path, name: str, *passes: Mapping[str, Any]) -> str:
    """Save a recipe with these passes, and unless one of them is `dense`, one that describes what the last chose."""
    seen = {"model": "sample:teacher", "dtype": "float32", "context": 1024, "image_tokens": 64}
    among = {"among": passes[-1]["name"]} if "select" in passes[-1] else {}
    dense = {"name": "dense", "ask": "vlm", "image": True, "user": "Describe the image.", **among, **_CALL}
    asks = all(one["name"] != "dense" for one in passes)
    made = {
        "about": name, "models": {"vlm": seen} if asks else {}, "passes": [*passes, *([dense] if asks else [])],
        "caption": "dense",
        "student": {
            "dtype": "float32", "context": 1024, "image_tokens": 64, "prompt": "sample:student",
            "sampling": {"max_tokens": 9}, "lessons": [{"weight": 1, "answer": "dense"}],
        },
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return str(path)


class PictureLab:
    """Pictures by key and name, and what the steps made of them."""

    def __init__(self, folder: Path, *sets: str) -> None:
        self._folder, self._count = folder, 0
        all_of_them = [
            "ingest.split.stage1=1",
            "ingest.split.holdout=0",
            "ingest.workers=1",
            "ingest.rules.min_side=10",
        ]
        own = ["ingest.lists.evaluation=null", "images.placeholder_count=1000", "images.decode.max_side=512"]
        self.settings = settings(folder, *all_of_them, *own, *sets)
        self.lake = Lake(self.settings)

    def land(self, key: str, pictures: Mapping[str, bytes]) -> None:
        """Write pictures with a text each to the landing, and run ingest and images."""
        place = self._folder / "landing" / key / "pictures"
        place.mkdir(parents=True, exist_ok=True)
        for name, data in pictures.items():
            self._count += 1
            (place / f"{name}.jpg").write_bytes(data)
            (place / f"{name}.txt").write_text(pair(self._count)["text"])
        self.run("", key, ("ingest", "images"))

    def run(self, path: str, key: str, names: Iterable[str]) -> dict[str, Committed]:
        """Run steps and passes of a recipe."""
        of = self.settings.with_values({"caption": {"recipe": path}}) if path else self.settings
        found = {}
        for name in names:
            step = find_spec(name, of).load()
            step.suite = None
            found[name] = execute(Run(step, self.lake, of, key))
        return found

    def texts(self, path: str, key: str, name: str) -> dict[str, dict[str, Any]]:
        """The texts of a pass, by the name of the picture."""
        of = self.settings.with_values({"caption": {"recipe": path}})
        names = {
            row["uid"]: unquote(row["url"].rpartition("/")[2])
            for row in self.lake.arrow("pairs", key, columns=["uid", "url"]).to_pylist()
        }
        rows = self.lake.arrow("texts", key, slice_=find_spec(name, of).slice).to_pylist()
        return {names[row["uid"]]: row for row in rows}

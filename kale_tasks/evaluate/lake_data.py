"""The evaluation data `lake`: captions of recipes side by side, with lessons and questions from Parquet files."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.errors import BadConfig
from kale_tasks.evaluate.data import EvaluationData, Example, Question
from kale_tasks.lake.preview import open_lake
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.settings.model import Settings

CAPTION = "Describe this image in one paragraph."
_TEXTS = {"caption": ["caption"], "dense": ["dense_caption"], "alt": ["alt_text"],
          "concat": ["dense_caption", "alt_text"], "mix": ["dense_caption", "alt_text"]}  # fmt: skip
_COLUMNS = ["uid", "stage", "recipe", "alt_text", "dense_caption", "caption"]


class LakeData(EvaluationData):
    """Images that every one of some recipes has captioned. Their uids are hashes: the first ones are a fair sample."""

    def __init__(self, settings: Settings, recipes: Sequence[str], lessons: str, questions: str,
                 images: int = 2_000_000, keys: Sequence[str] = ()):  # fmt: skip
        self._lake, self._recipes, self._count = open_lake(settings), list(recipes), images
        self._keys = list(keys) or self._lake.keys("captions")
        self._files = {"lessons": lessons, "questions": questions}

    def captions(self, arm: Mapping[str, Any]) -> Sequence[Example]:
        of = {"recipe": self._recipes[0], "text": "caption", "stages": [1, 2], **arm}
        if of.keys() - {"recipe", "text", "stages"} or of["text"] not in _TEXTS or of["recipe"] not in self._recipes:
            raise BadConfig(
                f"An arm of a lake has a recipe ({', '.join(self._recipes)}), a text ({', '.join(_TEXTS)}) and stages; "
                f"got {dict(arm)}."
            )
        table = self._captions[of["recipe"]]
        return _Texts(table.filter(pc.is_in(table["stage"], pa.array(of["stages"], pa.int32()))), of["text"])

    def lessons(self) -> Sequence[Example]:
        rows = self._parquet("lessons").select(["question", "answer"]).to_pylist()
        return [Example(f"lessons/{n}", row["question"], row["answer"]) for n, row in enumerate(rows)]

    def questions(self) -> Sequence[Question]:
        rows = self._parquet("questions").select(["uid", "question", "answers", "kind", "cluster"]).to_pylist()
        return [
            Question(row["uid"], f"questions/{n}", row["question"], tuple(row["answers"]), row["kind"], row["cluster"])
            for n, row in enumerate(rows)
        ]

    def image(self, name: str) -> bytes:
        purpose, _, number = name.partition("/")
        if number:
            return bytes(self._parquet(purpose)["image"][int(number)].as_py())
        (data,) = read_images(self._lake, [self._spans[name]])
        return data

    def _parquet(self, purpose: str) -> pa.Table:
        if purpose not in self._opened:
            self._opened[purpose] = pq.read_table(self._files[purpose], memory_map=True)
        return self._opened[purpose]

    @cached_property
    def _opened(self) -> dict[str, pa.Table]:
        return {}

    @cached_property
    def _captions(self) -> dict[str, pa.Table]:
        """The rows of each recipe about the images that all of them have captioned, by uid."""
        batches = [batch for key in self._keys for batch in self._lake.batches("captions", key, _COLUMNS)]
        rows = pa.Table.from_batches(batches)
        by_recipe = {name: rows.filter(pc.field("recipe") == name).sort_by("uid") for name in self._recipes}
        shared = set(self._spans)
        for table in by_recipe.values():
            shared &= set(table["uid"].to_pylist())
        if not shared:
            raise BadConfig(f"No image has captions of all of {', '.join(self._recipes)} in {', '.join(self._keys)}.")
        chosen = pa.array(sorted(shared)[: self._count])
        return {name: table.filter(pc.is_in(table["uid"], chosen)) for name, table in by_recipe.items()}

    @cached_property
    def _spans(self) -> dict[str, Span]:
        columns = ["uid", "shard", "offset", "length"]
        rows = (row for key in self._keys for b in self._lake.batches("images", key, columns) for row in b.to_pylist())
        return {row["uid"]: Span(row["shard"], row["offset"], row["length"]) for row in rows if row["shard"]}


class _Texts(Sequence[Example]):
    """Rows as examples, made when they are asked for."""

    def __init__(self, rows: pa.Table, text: str) -> None:
        self._rows, self._text = rows, text

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | Sequence[Example]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        at = int(at)
        if not 0 <= at < len(self):
            raise IndexError(at)
        parts = [self._rows[column][at].as_py() or "" for column in _TEXTS[self._text]]
        uid = self._rows["uid"][at].as_py()
        chosen = [parts[int(uid[:8], 16) % 2]] if self._text == "mix" else parts
        return Example(uid, CAPTION, " ".join(filter(None, chosen)))

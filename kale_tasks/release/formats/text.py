"""Release formats of texts alone: captions, mix, sentences and chat."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from kale_tasks.lake.columns import STRING, STRINGS, Column
from kale_tasks.release.formats.base import Format, StoredImages, caption_columns
from kale_tasks.text.sentences import sentences

_NAMES = ("uid", "url", "sha256", "key", "stage")
_MESSAGES = pa.list_(pa.field("element", pa.struct([("role", STRING), ("content", STRING)])))


class Captions(Format):
    """One row for each caption; always part of a release."""

    name = "captions"
    about = "all captions of both stages"
    version = 2  # also, confidence, candidates, experts
    columns: ClassVar = caption_columns()

    @property
    def folder(self) -> str:
        return "data"

    @property
    def configs(self) -> Mapping[str, str]:
        return {
            "full": self.about,
            "core": "stage 1: fused by an LLM from a dense caption and the alt-text",
        }

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        return captions


class Mix(Format):
    """One row for each text: alt-text, dense caption and finished caption."""

    name = "mix"
    about = "alt-text, dense and fused text as rows of their own"
    columns: ClassVar = [
        *caption_columns(*_NAMES),
        Column("kind", STRING, "alt: the alt-text, dense: the dense caption, fused: the finished caption."),
        Column("text", STRING, "That text."),
    ]

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        texts = {"alt": "alt_text", "dense": "dense_caption", "fused": "caption"}
        tables = [
            captions.select(_NAMES)
            .append_column("kind", pa.repeat(pa.scalar(kind), captions.num_rows))
            .append_column("text", captions[column])
            .filter(pc.greater(pc.binary_length(captions[column]), 0))
            for kind, column in texts.items()
        ]
        return pa.concat_tables(tables).sort_by([("uid", "ascending"), ("kind", "ascending")])


class Sentences(Format):
    """Captions split into sentences."""

    name = "sentences"
    about = "captions split into sentences"
    columns: ClassVar = [
        *caption_columns(*_NAMES),
        Column("sentences", STRINGS, "The caption, split into sentences."),
    ]

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        found = [[sentence.strip() for sentence in sentences(text or "")] for text in captions["caption"].to_pylist()]
        return captions.select(_NAMES).append_column("sentences", pa.array(found, STRINGS))


class Chat(Format):
    """Conversations for training: a question about the image, answered by the caption."""

    name = "chat"
    about = "conversations for training"
    columns: ClassVar = [
        *caption_columns(*_NAMES),
        Column("messages", _MESSAGES, "A conversation that asks for the caption and gives it."),
    ]

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        asked = question("chat")
        messages = [
            [{"role": "user", "content": asked}, {"role": "assistant", "content": caption}]
            for caption in captions["caption"].to_pylist()
        ]
        return captions.select(_NAMES).append_column("messages", pa.array(messages, _MESSAGES))


@cache
def question(name: str) -> str:
    """Return a question of the templates."""
    templates = Path(__file__).parents[1] / "templates"
    return str(yaml.safe_load((templates / "prompts.yaml").read_text("utf-8"))[name])

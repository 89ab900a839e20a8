"""Settings of the release: how its files are cut, what its card says, and where it is published."""

from typing import Literal

from pydantic import Field

from kale_tasks.settings.section import Section, runtime

Format = Literal["mix", "sentences", "chat", "images", "webdataset"]


class Publish(Section):
    """How releases are cut and where they go."""

    formats: list[Format] = Field(
        description="Further forms of each row beside the captions: mix (alt-text, dense and fused text as rows of "
        "their own), sentences, chat (messages for training), images (bytes embedded), webdataset (tars)."
    )
    shard_rows: int = Field(ge=1, description="Captions that go into one shard, the unit of work and of reuse.")
    shard_bytes: int = Field(ge=1 << 10, description="A file is closed once it holds this many bytes of rows.")
    target: str | None = runtime("Where releases go: a folder, s3://bucket/prefix or hf://datasets/name/dataset.")
    model_target: str | None = runtime("Where accepted students go: a folder, s3://bucket/prefix or hf://name/model.")
    upload_workers: int = runtime("Files on their way to the Hub at one time.", ge=1)
    title: str = runtime("Title of the card.")
    license: str = runtime("Licence of the captions, as the Hub names it.")
    contact: str = runtime("Address for opt-out and takedown, shown on the card.")
    citation: str = runtime("BibTeX entry shown on the card; empty: none.")
    takedown_days: float = runtime("Days until what a takedown removed must be gone from every old snapshot.", ge=0)

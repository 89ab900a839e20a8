"""Settings of releases: their files, their card, and where they are published."""

from pydantic import Field

from kale_tasks.settings.section import Section, neutral, runtime


class Publish(Section):
    """What releases contain and where they are published."""

    formats: list[str] = neutral(
        [],
        "Formats to release beside captions: mix (alt-text, dense and fused text as rows of their own), "
        "sentences, chat (messages for training), images (bytes embedded), webdataset (tars), or one of a plug-in.",
    )
    shard_rows: int = Field(ge=1, description="Captions of one shard, the unit of work and of reuse.")
    shard_bytes: int = Field(ge=1 << 10, description="Size of rows, in bytes, at which a file is closed.")
    target: str | None = runtime("Target of releases: a folder, s3://bucket/prefix or hf://datasets/name/dataset.")
    model_target: str | None = runtime("Target of students: a folder, s3://bucket/prefix or hf://name/model.")
    upload_workers: int = runtime("Files that are uploaded at the same time.", ge=1)
    title: str = runtime("Title of the card.")
    license: str = runtime("Licence of the captions, as the Hub names it.")
    contact: str = runtime("Address for opt-out and takedown, shown on the card.")
    citation: str = runtime("BibTeX entry shown on the card; empty: none.")
    takedown_days: float = runtime("Days until removed rows must be gone from old releases and snapshots too.", ge=0)

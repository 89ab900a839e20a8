"""Settings of releases: their files, their card, and where they are published."""

from typing import Literal

from pydantic import Field

from kale_tasks.settings.section import Section, neutral, runtime


class Publish(Section):
    """What releases contain and where they are published."""

    formats: list[str] = neutral(
        [],
        "Formats to release beside captions: mix (alt-text, dense and fused text as rows of their own), "
        "sentences, chat (messages for training), images (bytes embedded), webdataset (tars), view:NAME (a text that "
        "the recipe lists in `also`), licenses (of the models of each caption), holdout (images that no model was "
        "trained on), or one of a plug-in.",
    )
    unfit: Literal["leave_out", "refuse"] = runtime(
        "What a release does about captions that are stale, lost their inputs or failed their checks: leave_out (the "
        "card names them) or refuse."
    )
    licenses: dict[str, str] = runtime(
        "Licence of each model, by name or name@revision, for the card and the format licenses."
    )
    shard_rows: int = Field(ge=1, description="Captions of one shard, the unit of work and of reuse.")
    shard_bytes: int = Field(ge=1 << 10, description="Size of rows, in bytes, at which a file is closed.")
    target: str | None = runtime(
        "Target of releases: a folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "hf://datasets/name/dataset."
    )
    model_target: str | None = runtime("Target of students: a folder, s3://bucket/prefix or hf://name/model.")
    upload_workers: int = runtime("Files that are uploaded at the same time.", ge=1)
    title: str = runtime("Title of the card.")
    license: str = runtime("Licence of the captions, as the Hub names it; other: see license_name.")
    license_name: str = runtime("Name of a licence that the Hub does not know; empty: none.")
    license_link: str = runtime("Address of the text of that licence; empty: none.")
    private: bool = runtime("Whether a repository that publishing creates on the Hub is private.")
    gated: Literal["no", "auto", "manual"] = runtime(
        "Whether readers of a repository that publishing creates must ask for access: no, auto (granted at once) or "
        "manual (granted by a person)."
    )
    samples: int = runtime(
        "Pictures that the card shows beside their captions; 0: none. They are copies of pictures of others: show only "
        "what you may.",
        ge=0,
        le=100,
    )
    sample_hosts: list[str] = runtime("Hosts, with those below them, whose pictures the card may show; empty: all.")
    contact: str = runtime("Address for opt-out and takedown, shown on the card.")
    citation: str = runtime("BibTeX entry shown on the card; empty: none.")
    keep_releases: int = runtime(
        "Older releases that stay in a folder or on S3, for readers and `kale release rollback`.", ge=1
    )
    takedown_days: float = runtime("Days until removed rows must be gone from old releases and snapshots too.", ge=0)

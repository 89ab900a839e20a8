"""Settings of the ingest step: engine, columns, rules, lists, deduplication, split."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kale_tasks.settings.section import Section, neutral, runtime


class Rules(Section):
    """What rows must satisfy to be kept; null, false or an empty list disables a rule."""

    min_words: int | None = neutral(None, "Fewest words of the repaired alt-text (ALIGN, DataComp: 3).", ge=1)
    max_words: int | None = neutral(None, "Most words (ALIGN: 20).", ge=1)
    min_chars: int | None = neutral(None, "Fewest characters (DataComp: 6).", ge=1)
    max_chars: int | None = neutral(None, "Most characters.", ge=1)
    max_repetition: float | None = neutral(None, "Largest share of words that repeat an earlier word.", ge=0, le=1)
    min_side: int | None = neutral(
        None, "Shorter side of the image in pixels, if the source gives it (DataComp: 200).", ge=1
    )
    max_aspect: float | None = neutral(
        None, "Longer side divided by the shorter side, if the source gives them (DataComp: 3).", ge=1
    )
    min_clip_b32: float | None = neutral(None, "Lowest CLIP ViT-B/32 score, if the source gives it.")
    min_clip_l14: float | None = neutral(None, "Lowest CLIP ViT-L/14 score, if the source gives it.")
    max_text_urls: int | None = neutral(None, "Most URLs that may share an alt-text (ALIGN: 10).", ge=1)
    max_picture_urls: int | None = neutral(
        None, "Most URLs that may share a claimed sha256; an image with more is a placeholder.", ge=1
    )
    placeholder_text: bool = neutral(False, "Drop file names, resolutions, `image` and similar texts.")
    spam: bool = neutral(False, "Drop keyword spam.")
    pii: Literal["drop", "mask", "keep"] = neutral(
        "keep", "Rows with e-mail addresses, phone or card numbers: drop them, mask these in `text`, or keep them."
    )
    languages: list[str] = neutral([], "Languages that are kept; empty: all.")
    language_confidence: float = Field(
        ge=0, le=1, description="Confidence of the detector from which it decides the language of a row."
    )
    extra: dict[str, dict[str, Any]] = neutral(
        {}, "Rules of installed packages (entry points in kale.rules) by name, each with its options."
    )


class Lists(Section):
    """Files with one entry per line and `#` for comments: in the landing area, absolute, or shipped. Null: none."""

    patterns: str = Field(description="YAML file with the patterns of placeholder text, spam and personal data.")
    nsfw: str | None = neutral(None, "Words that a kept alt-text must not contain.")
    domains: str | None = neutral(None, "Domains that are blocked, with all their subdomains.")
    evaluation: str | None = neutral(
        None, "Folder or Parquet file with evaluation items (text, sha256, url) that must never be trained on."
    )
    evaluation_words: int = Field(
        ge=1, description="Length in words of a phrase shared with an evaluation text for which a row is dropped."
    )


class Dedup(Section):
    """What counts as a duplicate, and how many near duplicates are kept."""

    near: bool = neutral(False, "Also find copies of alt-texts that are not quite equal.")
    policy: Literal["strict", "facts", "off"] = Field(
        description="Which texts are copies. strict: all words, numbers, signs and units are equal. facts: they are "
        "equal apart from boilerplate, such as site names and `stock photo`. off: the texts are similar (MinHash-LSH), "
        "whatever their facts."
    )
    other_pictures: bool = neutral(
        False, "Also drop copies of a text whose source claims a sha256, that is, of another picture."
    )
    keep: int = Field(ge=1, description="Pairs that are kept of the copies of a text (10: as in ALIGN).")
    similarity: float = Field(
        gt=0, lt=1, description="Lowest estimated Jaccard similarity of near texts, for policy off."
    )
    shingle: int = Field(ge=1, description="Bytes per shingle of the folded text.")
    bands: int = Field(ge=1, description="Bands of the LSH index: more bands find more near texts.")
    band_rows: int = Field(ge=1, description="MinHashes per band: more of them find fewer near texts.")
    embedding_similarity: float | None = neutral(
        None, "Lowest cosine at which landed CLIP embeddings are semantic duplicates; null: off.", ge=0, lt=1
    )

    @field_validator("policy", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare `off` as false


class Split(Section):
    """Shares of the kept rows, assigned by a hash of the uid; the rest is stage2."""

    stage1: float = Field(ge=0, le=1, description="Share that the large models caption.")
    holdout: float = Field(ge=0, le=1, description="Share that no model is trained on.")

    @model_validator(mode="after")
    def _fits(self) -> "Split":
        if self.stage1 + self.holdout > 1:
            raise ValueError("stage1 and holdout together exceed 1")
        return self


class Spark(Section):
    """The Spark that processes large keys."""

    master: str = runtime("local[*], or the URL of a cluster.")
    conf: dict[str, str] = runtime("Further Spark settings.")


class Ingest(Section):
    """Turns landing files into clean, deduplicated pairs."""

    engine: Literal["auto", "duckdb", "spark"] = runtime(
        "Runs the queries: duckdb (in this process), spark, or auto (duckdb up to small_rows, spark beyond)."
    )
    small_rows: int = runtime("Rows of a key up to which `auto` takes duckdb.", ge=0)
    workers: int | None = runtime("Processes that clean rows for duckdb; null: one per core.", ge=1)
    memory: str = runtime("Memory of duckdb, or of Spark's driver, such as 4GB.")
    piece_rows: int = runtime("Landing rows that one scan task reads.", ge=1)
    part_rows: int = Field(ge=1, description="Average number of landing rows per part file, kept or not.")
    samples: int = runtime("Dropped rows per rule and part that are kept for the report.", ge=0)
    columns: dict[str, list[str]] = Field(
        description="For each column the names it may have in landing files, best first."
    )
    rules: Rules
    lists: Lists
    dedup: Dedup
    split: Split
    spark: Spark

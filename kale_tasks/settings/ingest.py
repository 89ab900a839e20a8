"""Settings of the ingest step: sources, rules, deduplication, split, engine."""

from typing import Literal

from pydantic import Field, model_validator

from kale_tasks.settings.section import Section, runtime


class Rules(Section):
    """What an alt-text, its URL and its claimed picture must fulfil; null or false switches a rule off."""

    min_words: int | None = Field(ge=1, description="Fewest words of the repaired alt-text (ALIGN, DataComp: 3).")
    max_words: int | None = Field(ge=1, description="Most words (ALIGN: 20).")
    min_chars: int | None = Field(ge=1, description="Fewest characters (DataComp: 6).")
    max_chars: int | None = Field(ge=1, description="Most characters.")
    max_repetition: float | None = Field(ge=0, le=1, description="Largest share of words that were there before.")
    min_side: int | None = Field(
        ge=1, description="Shorter side of the picture in pixels, where known (DataComp: 200)."
    )
    max_aspect: float | None = Field(ge=1, description="Longer side over shorter side, where known (DataComp: 3).")
    min_clip_b32: float | None = Field(description="Lowest CLIP ViT-B/32 score, where given.")
    min_clip_l14: float | None = Field(description="Lowest CLIP ViT-L/14 score, where given.")
    max_text_urls: int | None = Field(ge=1, description="Most URLs that may share an alt-text (ALIGN: 10).")
    max_picture_urls: int | None = Field(ge=1, description="Most URLs under one claimed sha256; more: a placeholder.")
    placeholder_text: bool = Field(description="Drop file names, resolutions, `image` and the like.")
    spam: bool = Field(description="Drop keyword spam.")
    pii: Literal["drop", "mask", "keep"] = Field(
        description="E-mail addresses, phone and card numbers: drop the row, mask them in `text`, or keep them."
    )
    languages: list[str] = Field(description="Languages that stay; none named: all.")
    language_confidence: float = Field(
        ge=0, le=1, description="How sure the detector has to be of another language before a row goes."
    )


class Lists(Section):
    """Files with one entry a line, `#` for remarks; in the landing folder, absolute, or shipped; null: none."""

    patterns: str = Field(description="YAML file with the patterns of placeholder text, spam and personal data.")
    nsfw: str | None = Field(description="Words that a kept alt-text may not contain.")
    domains: str | None = Field(description="Domains that are blocked, with all their subdomains.")
    evaluation: str | None = Field(
        description="Folder or Parquet file with evaluation items (text, sha256, url) that must never be trained on."
    )
    evaluation_words: int = Field(ge=1, description="So many words in a row shared with an evaluation text: dropped.")


class Dedup(Section):
    """What counts as the same pair, and how many of a kind stay."""

    near: bool = Field(description="Also find nearly equal alt-texts (MinHash-LSH).")
    keep: int = Field(ge=1, description="Pairs that stay of a cluster of near texts (1: strict, 10: ALIGN's).")
    similarity: float = Field(gt=0, lt=1, description="Least estimated Jaccard similarity of near texts.")
    shingle: int = Field(ge=1, description="Bytes of one shingle of the normal form.")
    bands: int = Field(ge=1, description="Bands of the LSH index: more finds more.")
    band_rows: int = Field(ge=1, description="MinHashes of a band: more finds less.")
    embedding_similarity: float | None = Field(
        ge=0, lt=1, description="Least cosine of given CLIP embeddings of semantic duplicates; null: off."
    )


class Split(Section):
    """Shares of the kept rows, decided by a hash of the uid; the rest is stage2."""

    stage1: float = Field(ge=0, le=1, description="Share that the large models caption.")
    holdout: float = Field(ge=0, le=1, description="Share that no model is trained on.")

    @model_validator(mode="after")
    def _fits(self) -> "Split":
        if self.stage1 + self.holdout > 1:
            raise ValueError("stage1 and holdout together are more than all rows")
        return self


class Spark(Section):
    """The Spark that large keys run on."""

    master: str = runtime("local[*], or the URL of a cluster.")
    conf: dict[str, str] = runtime("Further Spark settings.")


class Ingest(Section):
    """Landing files to clean, deduplicated pairs."""

    engine: Literal["auto", "duckdb", "spark"] = runtime(
        "Runs the queries: duckdb in this process, spark, or auto (duckdb up to small_rows, spark beyond)."
    )
    small_rows: int = runtime("Rows of a key up to which `auto` takes duckdb.", ge=0)
    workers: int | None = runtime("Processes that read landing files beside duckdb; empty: one per core.", ge=1)
    memory: str = runtime("Memory of duckdb, or of Spark's driver: 4GB.")
    piece_rows: int = runtime("Landing rows that one task reads.", ge=1)
    part_rows: int = Field(ge=1, description="Landing rows, kept or not, that one part file accounts for on average.")
    samples: int = runtime("Dropped rows of a rule that each part keeps for the report.", ge=0)
    columns: dict[str, list[str]] = Field(
        description="For each column the names it may have in landing files, best first."
    )
    rules: Rules
    lists: Lists
    dedup: Dedup
    split: Split
    spark: Spark

"""Settings of the checks and the reports."""

from typing import Literal

from pydantic import Field

from kale_tasks.settings.section import Section, runtime


class Limits(Section):
    """Thresholds of the quality checks."""

    kept_min: float = Field(ge=0, le=1, description="Least share of landing rows that ingest keeps.")
    yield_min: float = Field(ge=0, le=1, description="Least share of images that came.")
    dns_max: float = Field(ge=0, le=1, description="Most images lost to name resolution; more means a broken resolver.")
    unreachable_max: float = Field(
        ge=0, le=1, description="Most images lost to an unreachable network; more: it is dead."
    )
    sha256_drift_max: float = Field(ge=0, le=1, description="Most images whose bytes are not the claimed ones.")
    placeholder_max: float = Field(ge=0, le=1, description="Most images that share their bytes with another one.")
    split_gap: float = Field(ge=0, le=1, description="Furthest that a split's share may lie from the configured one.")
    repeat_share: float = Field(ge=0, le=1, description="Most rows of a key that bear one and the same text.")
    repeat_floor: int = Field(ge=1, description="So many equal texts are no alarm, however small the key.")
    refusal_max: float = Field(ge=0, le=1, description="Most captions in which a model refuses or chats.")
    leak_max: float = Field(ge=0, le=1, description="Most captions in which words of the prompt leaked.")
    truncated_max: float = Field(ge=0, le=1, description="Most captions cut at the token limit.")
    loop_max: float = Field(ge=0, le=1, description="Most captions that repeat themselves in a loop.")
    foreign_max: float = Field(ge=0, le=1, description="Most captions without a single common English word.")
    mojibake_max: float = Field(ge=0, le=1, description="Most texts with traces of a wrong decoding.")
    invented_max: float = Field(ge=0, le=1, description="Most facts of captions that neither source states.")
    alt_used_min: float = Field(ge=0, le=1, description="Least share of captions that carry a fact of the alt-text.")
    copied_max: float = Field(ge=0, le=1, description="Most captions that are the alt-text itself.")
    words_mean_min: float = Field(ge=0, description="Least mean words of a caption.")
    words_mean_max: float = Field(ge=0, description="Most mean words of a caption.")
    student_gap: float = Field(
        ge=0, le=1, description="How far a share of the student's captions may lie from its teacher's."
    )


class Drift(Section):
    """When a key is too unlike the median of the keys before it."""

    keys: int = Field(ge=1, description="Earlier keys that are looked at, the latest ones.")
    least_keys: int = Field(ge=1, description="With fewer earlier keys nothing is compared.")
    least_rows: int = Field(ge=1, description="A key with fewer rows is not compared.")
    psi_warning: float = Field(ge=0, description="Population stability index of the lengths that is worth a look.")
    psi_critical: float = Field(ge=0, description="Population stability index of the lengths that stops a key.")
    share_gap: float = Field(ge=0, le=1, description="Change of a share, beyond chance, that is worth a look.")


class Quality(Section):
    """Checks after every commit, and the reports."""

    engine: Literal["auto", "pandas", "spark"] = runtime(
        "Where checks run: pandas takes a stated sample of a key above pandas_rows; spark, as set up for ingest, "
        "takes all; auto changes over."
    )
    pandas_rows: int = runtime("Rows of a key that pandas takes whole.", ge=1)
    members: int = runtime("Images that the checks of a key read back from their shards.", ge=0)
    samples: int = runtime("Rows shown side by side in a report.", ge=1)
    metric_rows: int = runtime("Captions measured for the metrics of a report; a stated sample above.", ge=1)
    encoder: str = runtime(
        "Encoder of texts and images, such as a CLIP or SigLIP (repo@revision or a folder), by which reports say how "
        "well each kind of text fits its image; empty: they do not say."
    )
    encoder_rows: int = runtime("Captions of each stage that the encoder looks at: the first by uid.", ge=1)
    limits: Limits
    drift: Drift

"""Settings of the checks after every commit, and of the reports."""

from typing import Any, Literal

from pydantic import Field

from kale_tasks.settings.section import Section, runtime


def _share(description: str) -> Any:
    return Field(ge=0, le=1, description=description)


class Limits(Section):
    """Thresholds of the quality checks."""

    kept_min: float = _share("Least share of landing rows that ingest keeps.")
    yield_min: float = _share("Least share of images that were fetched.")
    dns_max: float = _share("Largest share of images that failed in name resolution; more means a broken resolver.")
    unreachable_max: float = _share("Largest share of images that failed because the network was unreachable.")
    sha256_drift_max: float = _share("Largest share of images whose bytes differ from the listed hash.")
    placeholder_max: float = _share("Largest share of images that have the same bytes as another one.")
    split_gap: float = _share("Largest difference of the share of a split from the configured one.")
    repeat_share: float = _share("Largest share of rows with the same text.")
    repeat_floor: int = Field(ge=1, description="Equal texts that are allowed in any key, however small.")
    quarantined_max: float = _share("Largest share of the rows of a captioning step that are quarantined.")
    refusal_max: float = _share("Largest share of captions in which a model refuses or chats.")
    leak_max: float = _share("Largest share of captions that repeat words of the prompt.")
    truncated_max: float = _share("Largest share of captions cut at the token limit.")
    loop_max: float = _share("Largest share of captions that repeat themselves.")
    foreign_max: float = _share("Largest share of captions without a common English word.")
    mojibake_max: float = _share("Largest share of texts with traces of wrong decoding.")
    invented_max: float = _share("Largest share of facts that neither source states.")
    alt_used_min: float = _share("Least share of captions with a fact of the alt-text.")
    copied_max: float = _share("Largest share of captions that are equal to the alt-text.")
    words_mean_min: float = Field(ge=0, description="Least mean of words per caption.")
    words_mean_max: float = Field(ge=0, description="Largest mean of words per caption.")
    student_gap: float = _share("Largest difference of a share between captions of the student and of stage 1.")


class Drift(Section):
    """When a key differs too much from the median of earlier keys."""

    keys: int = Field(ge=1, description="Number of latest earlier keys to compare with.")
    least_keys: int = Field(ge=1, description="Least number of earlier keys; with fewer nothing is compared.")
    least_rows: int = Field(ge=1, description="Keys with fewer rows are not compared.")
    psi_warning: float = Field(ge=0, description="Stability index (PSI) of the lengths above which a warning is shown.")
    psi_critical: float = Field(
        ge=0,
        description="Stability index (PSI) of the lengths above which the key fails; more where earlier keys had more.",
    )
    share_gap: float = _share(
        "Change of a share, beyond chance, above which a warning is shown. It is the bound while few earlier keys are "
        "known; the more there are, the more their own spread decides."
    )


class Quality(Section):
    """Settings of the checks and the reports."""

    engine: Literal["auto", "pandas", "spark"] = runtime(
        "Where checks run: pandas (a sample of keys above pandas_rows), spark (all rows, with the settings of ingest), "
        "or auto (pandas up to pandas_rows, then spark)."
    )
    pandas_rows: int = runtime("Rows of a key up to which pandas checks all of them.", ge=1)
    members: int = runtime("Images that the checks of a key read back from their shards.", ge=0)
    samples: int = runtime("Captions shown beside their images in a report.", ge=1)
    metric_rows: int = runtime("Captions of each stage that a report measures; the first by uid.", ge=1)
    encoder: str = runtime(
        "Encoder of texts and images, such as CLIP or SigLIP (repo@revision or a folder), with which reports measure "
        "how well texts match their images; empty: they do not."
    )
    encoder_rows: int = runtime("Captions of each stage that the encoder reads: the first by uid.", ge=1)
    suites: str = runtime(
        "Folder or s3:// prefix with suites of Great Expectations: <table>.json or <table>/<name>.json; empty: none. "
        "Each runs with the checks of its table before a commit."
    )
    actions: list[dict[str, Any]] = runtime(
        "Actions of Great Expectations after each check: `type` (slack, email, webhook, …) and what the action takes. "
        "A secret is named as ${VARIABLE} and read from the environment."
    )
    limits: Limits
    drift: Drift

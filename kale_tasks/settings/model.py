"""The settings model: every section by name. Defaults are in config/kale.yaml."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from kale_tasks.settings.caption import Caption
from kale_tasks.settings.distill import Distill
from kale_tasks.settings.images import Images
from kale_tasks.settings.ingest import Ingest
from kale_tasks.settings.publish import Publish
from kale_tasks.settings.quality import Quality
from kale_tasks.settings.schedule import Schedule
from kale_tasks.settings.section import Section, runtime


class S3(Section):
    """How to reach an S3 store. Unset values come from the standard AWS environment."""

    endpoint: str | None = runtime("Endpoint URL of any S3-compatible store; empty for AWS.")
    region: str | None = runtime("Region of the bucket.")
    access_key_id: SecretStr | None = runtime("Access key id.")
    secret_access_key: SecretStr | None = runtime("Secret access key.")


class Parts(Section):
    """How a key's rows are divided into chunks and parts (one file each)."""

    chunk_rows: int = runtime("Rows of one chunk, which one process works on; rounded to whole parts.", ge=1)
    part_rows: int = Field(ge=1, description="Rows of one part file, the most work that a crash can cost.")


class Maintenance(Section):
    """When old snapshots and unused files may be deleted."""

    keep_days: float = runtime("Days for which snapshots are kept, of each table the latest 500 at most.", ge=0)
    grace_hours: float = runtime("Hours for which unused metadata and temporary files are kept.", ge=0)
    preview_days: float = runtime("Days for which a preview is kept, from its last file.", ge=0)
    run_days: float = runtime(
        "Days for which a run that is not committed keeps its files, and texts stay that nothing is made of.", ge=0
    )
    student_days: float = runtime("Days for which the files of a student are kept after it was last in use.", ge=0)
    scratch_days: float = runtime(
        "Days for which scratch of killed tasks, and copies of students, are kept on the machine of `kale maintain`.",
        ge=1,
    )
    airflow_days: float = runtime("Days for which Airflow's logs and the records in its database are kept.", ge=1)


class Settings(Section):
    """All settings."""

    profile: str = runtime("Name of a profile in config/profiles, or the path of a YAML file with settings.")
    landing: str = runtime("Folder or s3:// prefix of the landing files, which are at <key>/*.")
    warehouse: str = runtime("Folder or s3:// prefix of the lake.")
    catalog: str | None = runtime(
        "Iceberg catalog: sqlite:///file, postgresql+psycopg2://… or http(s)://… (REST); "
        "empty: a SQLite file in the warehouse folder."
    )
    s3: S3
    parts: Parts
    maintenance: Maintenance
    ingest: Ingest
    caption: Caption
    images: Images
    quality: Quality
    distill: Distill
    publish: Publish
    schedule: Schedule
    limit: int | None = Field(ge=1, description="Process only this many rows of each key, in a preview.")
    preview: str | None = runtime(
        "Name of the preview to work in: letters, digits, `_`; empty: `default` if there is a limit, else none.",
        pattern="^[a-z][a-z0-9_]{0,29}$",
    )
    log: Literal["auto", "plain", "json"] = runtime(
        "Progress on stderr: auto (a bar on a terminal, else lines), plain (lines) or json (JSON lines)."
    )

    @property
    def preview_name(self) -> str:
        """The preview to work in; empty for the real lake."""
        return self.preview or ("default" if self.limit else "")

    @field_validator("landing", "warehouse")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/") or "/"

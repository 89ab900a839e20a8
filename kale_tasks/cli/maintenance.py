"""What `kale maintain` deletes, in an order in which nothing is deleted that a later part still needs."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from kale_tasks.captions.retire import retire
from kale_tasks.cli import sweep
from kale_tasks.lake.maintain import delete, expire, grace_of, old_budgets, orphans
from kale_tasks.lake.preview import delete_preview, expired_previews
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake
from kale_tasks.models.retire import delete_student, unused_students
from kale_tasks.progress import Silent
from kale_tasks.release.retention import expire_releases
from kale_tasks.runner.leftovers import delete_leftovers, leftovers
from kale_tasks.settings import Settings
from kale_tasks.takedown.certificate import due_takedowns, end_due


class Maintenance:
    """Deletes what is old or unused; with `dry_run` it only lists it."""

    def __init__(self, lake: Lake, settings: Settings, *, dry_run: bool) -> None:
        self.lake, self.settings, self.dry_run = lake, settings, dry_run
        self._ages, self._grace = settings.maintenance, grace_of(settings)

    def done(self, *, airflow: bool) -> dict[str, Any]:
        """Delete everything that is due, Airflow's old logs and records only if asked, and return what it was."""
        previews = expired_previews(self.lake, timedelta(days=self._ages.preview_days))
        passes = retire(self.lake, self.settings, self._grace.runs, dry_run=self.dry_run)
        snapshots = expire(self.lake, timedelta(days=self._ages.keep_days), dry_run=self.dry_run)
        files = self._unused_files()
        if not self.dry_run:
            for preview in previews:
                delete_preview(self.lake.catalog, self.lake.storage, preview)
        students = self._unused_students()
        takedowns = self._due_takedowns()  # this and the next speak with the target of releases, which may not answer
        releases = expire_releases(self.lake, self.settings, dry_run=self.dry_run)
        return {
            "dry_run": self.dry_run,
            "snapshots": sum(len(ids) for ids in snapshots.values()),
            "files": len(files) + len(releases.files),
            "bytes": sum(entry.size for entry in (*files, *releases.files)),
            "releases": [*releases.versions, *releases.published],
            "takedowns": takedowns,
            "previews": previews,
            "passes": [partition.name for partition in passes],
            "students": students,
            **self._swept(airflow),
        }

    def _unused_files(self) -> Sequence[Entry]:
        merged = list(leftovers(self.lake, self._grace.files))
        if not self.dry_run:
            delete_leftovers(self.lake, merged)
        counted = {entry.path for entry in merged}
        unused = [entry for entry in orphans(self.lake, self._grace) if entry.path not in counted]
        budgets = list(old_budgets(self.lake, self._grace))
        if not self.dry_run:
            delete(self.lake, unused, self._grace)
            for entry in budgets:
                self.lake.storage.delete(entry.path)
        return [*unused, *budgets, *merged]

    def _unused_students(self) -> list[str]:
        days = max(self._ages.student_days, self._ages.run_days)
        students = unused_students(self.lake, timedelta(days=days))
        return [one.version for one in students if self.dry_run or delete_student(self.lake, one)]

    def _due_takedowns(self) -> Mapping[str, str]:
        if self.dry_run:
            return {record["name"]: "" for record in due_takedowns(self.lake)}
        return end_due(self.lake, self.settings, Silent())

    def _swept(self, airflow: bool) -> dict[str, int]:
        age = timedelta(days=self._ages.airflow_days)
        scratch = sweep.old_scratch(timedelta(days=self._ages.scratch_days))
        logs = sweep.old_logs(age) if airflow else []
        if not self.dry_run:
            sweep.remove([*scratch, *logs])
            if airflow:
                sweep.forget_runs(age)
        return {"scratch": len(scratch), "logs": len(logs)}

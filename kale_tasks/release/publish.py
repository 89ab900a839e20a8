"""Sends a built release, or the promoted student, to its target."""

import json
from dataclasses import dataclass

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import matcher
from kale_tasks.models import students as registry
from kale_tasks.progress import Progress
from kale_tasks.recipes.files import recipe_name
from kale_tasks.release import built as release
from kale_tasks.release.card import pages, student_card
from kale_tasks.release.registry import open_target
from kale_tasks.release.samples import samples_of
from kale_tasks.release.targets.base import MANIFEST, README, Publication, Target
from kale_tasks.settings.model import Settings


@dataclass(frozen=True)
class StudentFile:
    """A file of a student."""

    path: str
    name: str
    bytes: int
    sha256: str


def target(settings: Settings) -> Target:
    """Open the target of releases; BadConfig if none is configured."""
    if settings.publish.target is None:
        raise BadConfig(
            "No target is configured. Set publish.target to a folder, s3://bucket/prefix or hf://datasets/name/dataset."
        )
    return open_target(settings.publish.target, settings)


def publish(lake: Lake, settings: Settings, key: str, progress: Progress, version: str | None = None) -> str:
    """Publish the newest release of a key and return its address. Repeating it changes nothing.

    Raises Conflict if that is not the given version, and if rows were taken down since the release was built, also if
    that happens during the upload.
    """
    built = release.read(lake, key)
    if version not in (None, built.version):
        raise Conflict(f"{version} is not published: the newest release of {key} is {built.version}. Review that one.")
    return _send(lake, settings, built, progress)


def roll_back(lake: Lake, settings: Settings, progress: Progress, version: str | None = None) -> tuple[str, str]:
    """Publish an older release again, the one before the current one if none is named; returns its name and address.

    Raises Conflict if there is none, if the lake has it no longer, or if rows were taken down since it was built.
    """
    place = target(settings)
    now, published = place.current().version, list(place.history())
    if version is None:
        older = published[: published.index(now)] if now in published else []
        if not older:
            raise Conflict("No older release is published there. `kale publish` publishes the newest one.")
        version = older[-1]
    built = release.read(lake, version.rpartition("-")[0], version)
    return version, _send(lake, settings, built, progress)


def _send(lake: Lake, settings: Settings, built: release.Built, progress: Progress) -> str:
    place = target(settings)
    base = place.current()
    _require_no_takedown_since(lake, built, "was built")
    made = pages(built, settings.publish, base.readme, samples_of(lake, built, settings.publish))
    address = place.publish(Publication(built.version, lake.storage, built.files, made), base, progress)
    _require_no_takedown_since(lake, built, "was built, and it is published now")
    return address


def _require_no_takedown_since(lake: Lake, built: release.Built, when: str) -> None:
    if built.inputs.get("takedowns", "") != matcher(lake).content:
        raise Conflict(
            f"Rows were taken down since the release of {built.key} {when}. Build and publish it again: "
            f"`kale run release --key {built.key}`, `kale publish --key {built.key}`."
        )


def publish_student(lake: Lake, settings: Settings, progress: Progress) -> str:
    """Publish the promoted student with its card and return its address."""
    if settings.publish.model_target is None:
        raise BadConfig(
            "No target for students is configured. Set publish.model_target to a folder, s3://… or hf://name/model."
        )
    used = registry.promoted(lake, recipe_name(settings.caption.recipe))
    if used is None:
        raise Conflict("No student is promoted yet. Run distill first.")
    place = open_target(settings.publish.model_target, settings)
    base = place.current()
    student = registry.find(lake, used.version)
    sizes = {entry.path: entry.size for entry in lake.storage.entries(student.path)}
    paths = {name: f"{student.path}/{name}" for name in student.files}
    files = [StudentFile(path, name, sizes[path], student.files[name]) for name, path in sorted(paths.items())]
    listed = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in files]
    made = {
        README: student_card(student, settings.publish, base.readme),
        MANIFEST: json.dumps({"version": student.version, "files": listed}, indent=1).encode() + b"\n",
    }
    return place.publish(Publication(student.version, lake.storage, files, made), base, progress)

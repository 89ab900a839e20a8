"""The formats and targets of releases by name; other packages add their own by entry points."""

from collections.abc import Callable

from kale_tasks.errors import BadConfig
from kale_tasks.registry import Registry
from kale_tasks.release.formats.base import Format
from kale_tasks.release.targets.base import Target
from kale_tasks.settings.model import Settings

FORMATS: Registry[type[Format]] = Registry(
    "release format",
    "kale.formats",
    {
        "captions": "kale_tasks.release.formats.text:Captions",
        "mix": "kale_tasks.release.formats.text:Mix",
        "sentences": "kale_tasks.release.formats.text:Sentences",
        "chat": "kale_tasks.release.formats.text:Chat",
        "images": "kale_tasks.release.formats.images:Images",
        "webdataset": "kale_tasks.release.formats.images:WebDataset",
        "view": "kale_tasks.release.formats.further:View",
        "licenses": "kale_tasks.release.formats.further:Licenses",
        "holdout": "kale_tasks.release.formats.further:Holdout",
    },
)
TARGETS: Registry[type[Target]] = Registry(
    "release target",
    "kale.targets",
    {
        "folder": "kale_tasks.release.targets.store:Store",
        "file": "kale_tasks.release.targets.store:Store",
        "s3": "kale_tasks.release.targets.store:Store",
        "gs": "kale_tasks.release.targets.store:Store",
        "az": "kale_tasks.release.targets.store:Store",
        "hf": "kale_tasks.release.targets.hub:Hub",
    },
)


def find_format(name: str) -> Format:
    """Return the format of that name; BadConfig if there is none. A view is named as `view:NAME`."""
    kind, _, view = name.partition(":")
    if bool(view) != (kind == "view"):
        raise BadConfig(f"There is no release format '{name}'. Only views have a name: view:NAME.")
    found: Callable[..., Format] = FORMATS.find(kind)
    return found(view) if view else found()


def formats_of(settings: Settings) -> list[Format]:
    """Return the formats of a release: captions, and those in `publish.formats`; BadConfig if one is unknown."""
    names = ["captions", *settings.publish.formats]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadConfig(f"publish.formats: '{twice[0]}' is part of every release or listed twice. Remove it.")
    return [find_format(name).configured(settings) for name in names]


def open_target(address: str, settings: Settings) -> Target:
    """Open the target of an address: a folder, or scheme://… of a registered target."""
    scheme, separator, _ = address.partition("://")
    return TARGETS.find(scheme if separator else "folder")(address, settings)

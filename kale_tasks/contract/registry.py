"""The registry: every step by name, imported when it is asked for."""

from importlib import import_module

from kale_tasks.contract.step import Step
from kale_tasks.errors import BadConfig

STEPS = {
    "ingest": "kale_tasks.ingest.step:Ingest",
    "images": "kale_tasks.images.step:Images",
    "dense": "kale_tasks.captions.dense:Dense",
    "fuse": "kale_tasks.captions.fuse:Fuse",
    "distill": "kale_tasks.distill.step:Distill",
    "student": "kale_tasks.captions.student:Student",
    "release": "kale_tasks.release.step:Release",
}


def find(name: str) -> Step:
    """The step of that name."""
    if name not in STEPS:
        raise BadConfig(f"There is no step '{name}'. Steps: {', '.join(STEPS)}.")
    module, _, cls = STEPS[name].partition(":")
    return getattr(import_module(module), cls)()  # type: ignore[no-any-return]

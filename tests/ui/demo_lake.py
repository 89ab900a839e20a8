"""The lake of `kale demo`, with its student and its releases, copied for each use."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.relocate import relocate
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load

_FOLDERS = ("landing", "warehouse", "published")


def demo_lake(folder: Path) -> tuple[Mapping[str, str], list[str]]:
    """Copy what `kale demo` has made in the folder `DEMO_FOLDER`; return the environment of the copy, and its keys."""
    made = Path(os.environ["DEMO_FOLDER"]).resolve()
    for name in _FOLDERS:
        shutil.copytree(made / name, folder / name, symlinks=True)
    lines = (made / "env").read_text("utf-8").replace(str(made), str(folder)).splitlines()
    environment = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
    settings = load(environ=environment).settings
    relocate(settings)
    return environment, [key for key in Lake(settings).keys("captions") if key != ALL_KEYS]

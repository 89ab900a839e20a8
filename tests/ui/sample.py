"""A lake of the sample world, as the demo makes it: captions of the tiny models, checks, reports and releases."""

from collections.abc import Mapping
from pathlib import Path

from kale_tasks.errors import KaleError
from kale_tasks.explore.workbench import Workbench
from kale_tasks.quality.check import check_run
from kale_tasks.quality.report import make_report
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from kale_tasks.world.web import running
from kale_tasks.world.write import write_landing


def fill(folder: Path, keys: int, pairs: int) -> tuple[Mapping[str, str], list[str]]:
    """Make the lake; return the environment that names it, and its keys. Each key but the first ends as a release."""
    environment = {
        "KALE_PROFILE": "demo",
        "KALE_LANDING": f"{folder}/landing",
        "KALE_WAREHOUSE": f"{folder}/lake",
        "KALE_CAPTION__RECIPE": "demo",
        "KALE_IMAGES__FETCH__CONTACT": "docs@example.org",
        "KALE_IMAGES__FETCH__ALLOW": "[127.0.0.1/32]",
        "KALE_IMAGES__SPOOL": f"{folder}/spool",
    }
    with running() as web:
        names = write_landing(folder / "landing", keys, pairs, web.url)
        settings = load(environ=environment).settings
        for key in names:
            bench = Workbench(settings, key)
            for spec in (*bench.first_steps(), *bench.passes()):
                bench.run(spec)
            for step in ("ingest", "images", "fuse"):
                try:
                    check_run(bench.lake, settings, step, key)
                except KaleError as error:  # so few rows may fail; the pages show it
                    print(f"{step} {key}: {error}")
            make_report(bench.lake, settings, key)
            if key != names[0]:
                execute(Run(Release(), bench.lake, settings, "all"))
    return environment, names

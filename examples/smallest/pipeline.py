"""The smallest pipeline: one key from landing files to captions in one process, without Airflow.

    python pipeline.py LANDING WAREHOUSE KEY

Every step is planned, worked on, sealed, checked and committed, as the Dags do it: started again, it makes nothing
twice, and a kill costs one part at most.
"""

import sys
from functools import partial

from kale_tasks.captions.steps import steps_of
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_sealed
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load

BEFORE_STUDENTS = ("distill", "student", "release")


def main(landing: str, warehouse: str, key: str) -> None:
    """Run the steps of the configured recipe (`KALE_PROFILE`, `KALE_CAPTION__RECIPE`) on one key."""
    settings = load([f"landing={landing}", f"warehouse={warehouse}"]).settings
    lake = Lake(settings)
    for spec in steps_of(settings):
        if spec.name not in BEFORE_STUDENTS:
            committed = execute(Run(spec.load(), lake, settings, key), partial(check_sealed, lake, settings))
            print(f"{spec.label}: {committed.rows_in} in, {committed.rows} kept")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Sessions of Spark: on the cluster that the settings name, or embedded in this process."""

import os
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

from kale_tasks.settings.ingest import Spark

_QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_SHUFFLED = "spark.sql.shuffle.partitions"


def open_session(name: str, settings: Spark, defaults: Mapping[str, str]) -> SparkSession:
    """The session of this process, made now if there is none; what the settings say goes before defaults.

    Unless they say otherwise, what is shuffled has four parts for each core: 200 would be mostly empty ones.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # or workers would run whatever python the PATH has
    builder = SparkSession.builder.appName(name).master(settings.master)
    conf = {**_QUIET, **defaults, **settings.conf}
    for key, value in conf.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if _SHUFFLED not in conf:
        session.conf.set(_SHUFFLED, str(4 * session.sparkContext.defaultParallelism))
    return session


def driver_memory(memory: str) -> dict[str, str]:
    """The memory of the driver, such as 4GB, as Spark writes it."""
    return {"spark.driver.memory": memory.lower().removesuffix("b")}

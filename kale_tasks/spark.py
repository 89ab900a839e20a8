"""Sessions of Spark: on the cluster that the settings name, or embedded in this process."""

import os
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

from kale_tasks.settings.ingest import Spark

_QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}


def open_session(name: str, settings: Spark, defaults: Mapping[str, str]) -> SparkSession:
    """The session of this process, made now if there is none; what the settings say goes before defaults."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # or workers would run whatever python the PATH has
    builder = SparkSession.builder.appName(name).master(settings.master)
    for key, value in {**_QUIET, **defaults, **settings.conf}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()

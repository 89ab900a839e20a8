"""What every test finds: real servers to ask for by name, and an environment that reaches nothing outside."""

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

pytest_plugins = [
    "tests.budgets",
    "tests.groups",
    "tests.services.chromium",
    "tests.services.postgres",
    "tests.services.redis",
    "tests.services.s3",
    "tests.services.spark",
]

# Set here, before anything is imported: Airflow reads its folder at its first import.
_airflow_home = tempfile.mkdtemp(prefix="kale-airflow-")
atexit.register(shutil.rmtree, _airflow_home, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": _airflow_home,
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "SPARK_LOCAL_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
}

settings.register_profile("kale", deadline=None)  # a busy machine is no failure
settings.load_profile("kale")

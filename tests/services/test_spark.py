from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.services.server import HOST
from tests.services.spark import SparkCluster

pytestmark = pytest.mark.nightly


@pytest.fixture
def session(spark_cluster: SparkCluster) -> Iterator[SparkSession]:
    builder = SparkSession.builder.master(spark_cluster.url).appName("services")
    session = builder.config("spark.driver.host", HOST).config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()


def test_the_work_goes_on_when_a_worker_dies(spark_cluster: SparkCluster, session: SparkSession) -> None:
    numbers = session.sparkContext.parallelize(range(1000), 4)
    assert numbers.map(lambda n: n * 2).sum() == 999_000
    spark_cluster.workers[0].kill()
    assert numbers.map(lambda n: n * 3).sum() == 1_498_500


def test_a_worker_that_came_back_is_counted(spark_cluster: SparkCluster) -> None:
    spark_cluster.wait_for(workers=1)
    spark_cluster.workers[0].start()
    spark_cluster.wait_for(workers=2)

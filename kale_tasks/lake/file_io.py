"""How the library of Iceberg reads and writes the files of its metadata."""

from typing import Any

from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

_TRIES = 5


class LakeFileIO(PyArrowFileIO):
    """Writes a small file to S3 in one request, which is tried again while the store is overloaded.

    By default Arrow uploads even the smallest file in three requests, the last of which it never tries again.
    """

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        from pyarrow.fs import AwsStandardS3RetryStrategy

        made: Any = super()._initialize_s3_fs(netloc)
        make, (options,) = made.__reduce__()
        retry = AwsStandardS3RetryStrategy(max_attempts=_TRIES)
        return make({**options, "allow_delayed_open": True, "retry_strategy": retry})

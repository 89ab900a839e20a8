"""A lake on S3: one PUT or multipart upload per file, conditional PUTs for pointers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from io import RawIOBase
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from kale_tasks.errors import BadConfig, KaleError, Transient
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.settings.model import S3

# Arrow's client would send checksums in trailers, which many S3-compatible stores refuse.
os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")


class S3Storage(Storage):
    """A prefix of a bucket on any S3-compatible store."""

    def __init__(self, root: str, settings: S3) -> None:
        self.root = root
        self._settings = settings
        self.bucket, _, self.prefix = root.removeprefix("s3://").partition("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return S3Storage, (self.root, self._settings)

    @cached_property
    def client(self) -> Any:
        """The boto3 client, made on first use."""
        import boto3
        from botocore.config import Config

        options = s3_options(self._settings)
        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=64,  # as many as threads read receipts
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client("s3", config=config, **options)

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        with _explained(self.root):
            if isinstance(data, bytes):
                self.client.put_object(Bucket=self.bucket, Key=self._key(path), Body=data)
            elif not isinstance(data, Path):
                self.client.upload_fileobj(_Blocks(data), self.bucket, self._key(path))
            else:
                self.client.upload_file(str(data), self.bucket, self._key(path))

    def _put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with _explained(self.root):
            try:
                self.client.put_object(Bucket=self.bucket, Key=self._key(path), Body=data, **condition)
            except self.client.exceptions.ClientError as error:
                status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"].get("Code")
                if status in (409, 412) or code == "NoSuchKey":  # the latter: If-Match of a file that was deleted
                    return False
                raise
        return True

    def tag(self, path: str) -> str | None:
        with _explained(self.root):
            try:
                head = self.client.head_object(Bucket=self.bucket, Key=self._key(path))
                return str(head["ETag"]).strip('"')  # Ceph compares If-Match with the bare hash, AWS takes both
            except self.client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            return b""
        ranged = (
            {"Range": f"bytes={offset}-{'' if length is None else offset + length - 1}"} if offset or length else {}
        )
        with _explained(self.root):
            try:
                return bytes(self.client.get_object(Bucket=self.bucket, Key=self._key(path), **ranged)["Body"].read())
            except self.client.exceptions.NoSuchKey as error:
                raise FileNotFoundError(self.uri(path)) from error
            except self.client.exceptions.ClientError as error:
                if error.response["Error"].get("Code") == "InvalidRange":  # at or after the end of the file
                    return b""
                raise

    def entries(self, prefix: str) -> Iterator[Entry]:
        pages = self.client.get_paginator("list_objects_v2")
        with _explained(self.root):
            for page in pages.paginate(
                Bucket=self.bucket, Prefix=f"{self._key(prefix)}/".replace("//", "/").lstrip("/")
            ):
                for item in page.get("Contents", ()):
                    path = item["Key"][len(self.prefix) + 1 :] if self.prefix else item["Key"]
                    yield Entry(path, item["Size"], item["LastModified"])

    def delete(self, path: str) -> None:
        with _explained(self.root):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(path))

    def copy(self, source: str, path: str) -> None:
        with _explained(self.root):
            self.client.copy({"Bucket": self.bucket, "Key": self._key(source)}, self.bucket, self._key(path))

    @cached_property
    def arrow(self) -> pafs.FileSystem:
        options = s3_options(self._settings)
        base = pafs.S3FileSystem(
            access_key=options.get("aws_access_key_id"),
            secret_key=options.get("aws_secret_access_key"),
            endpoint_override=options.get("endpoint_url"),
            region=options.get("region_name"),
        )
        return pafs.SubTreeFileSystem(f"{self.bucket}/{self.prefix}".rstrip("/"), base)

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path


class _Blocks(RawIOBase):
    """Blocks as a file that can be read once: what an upload of unknown length reads."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces, missing = [self._rest], size - len(self._rest)
        while missing > 0 or size < 0:
            block = next(self._blocks, b"")
            if not block:
                break
            pieces.append(block)
            missing -= len(block)
        data = b"".join(pieces)
        stop = len(data) if size < 0 else size
        self._rest = data[stop:]
        return data[:stop]


def s3_options(s3: S3) -> dict[str, str]:
    """Return the settings that are set, as arguments of a boto3 client."""
    secret = s3.secret_access_key.get_secret_value() if s3.secret_access_key else None
    key_id = s3.access_key_id.get_secret_value() if s3.access_key_id else None
    options = {
        "endpoint_url": s3.endpoint,
        "region_name": s3.region or ("us-east-1" if s3.endpoint else None),
        "aws_access_key_id": key_id,
        "aws_secret_access_key": secret,
    }
    return {name: value for name, value in options.items() if value}


@contextmanager
def _explained(root: str) -> Iterator[None]:
    # Turns errors of S3 into messages that say what to do.
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise BadConfig(f"No credentials for {root}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.") from error
    except ClientError as error:
        raise _of_answer(root, error) from error
    except (BotoCoreError, Boto3Error) as error:
        raise Transient(f"{root} does not answer ({type(error).__name__}). Try again later.") from error


def _of_answer(root: str, error: Any) -> KaleError:
    code, status = error.response["Error"].get("Code", ""), error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code == "NoSuchBucket":
        return BadConfig(f"The bucket of {root} does not exist. Create it, or set another warehouse.")
    if code == "RequestTimeTooSkewed":
        return BadConfig(f"{root} refuses requests of this machine, because its clock is off. Set the clock (NTP).")
    if status in (401, 403):
        return BadConfig(f"{root} refuses these credentials ({code}). Check the access key, its secret and its rights.")
    if code == str(status):  # the answer to HEAD has no body to name it
        code = HTTPStatus(status).phrase
    return Transient(f"{root} answered {status} {code}. Try again later.")

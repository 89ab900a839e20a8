from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.services.s3 import S3


def _code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_one_of_sixteen_racers_creates_the_object(s3: S3) -> None:
    bucket = s3.bucket()

    def put(racer: int) -> str:
        try:
            s3.client().put_object(Bucket=bucket, Key="prize", Body=str(racer).encode(), IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "won"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(put, range(16)))
    winner = outcomes.index("won")
    assert sorted(outcomes) == ["PreconditionFailed"] * 15 + ["won"]
    assert s3.client().get_object(Bucket=bucket, Key="prize")["Body"].read() == str(winner).encode()


def test_a_wrong_secret_is_refused(s3: S3) -> None:
    with pytest.raises(ClientError) as error:
        s3.client("wrong").list_buckets()
    assert _code(error) == "SignatureDoesNotMatch"


def test_an_object_in_parts_comes_back_whole(s3: S3) -> None:
    client, bucket, body = s3.client(), s3.bucket(), bytes(range(256)) * 50_000
    upload = client.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    target = {"Bucket": bucket, "Key": "large", "UploadId": upload}
    half = len(body) // 2
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**target, PartNumber=n, Body=piece)["ETag"]}
        for n, piece in enumerate((body[:half], body[half:]), start=1)
    ]
    client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert client.get_object(Bucket=bucket, Key="large")["Body"].read() == body


@pytest.mark.nightly
def test_objects_outlast_a_server_that_goes_and_comes_back(s3: S3) -> None:
    client, bucket = s3.client(), s3.bucket()
    client.put_object(Bucket=bucket, Key="kept", Body=b"7")
    s3.stop()
    with pytest.raises(EndpointConnectionError):
        client.get_object(Bucket=bucket, Key="kept")
    s3.start()
    assert client.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"7"

"""img2dataset on the addresses of a folder, run by .venv-bench: FOLDER TIMEOUT THREADS PROCESSES [BYTES OF MEMORY]."""

import os
import resource
import sys
import time

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-not-found]
from img2dataset import download  # type: ignore[import-not-found]

_open = LocalFileSystem._open


def _open_later(*given: object, **more: object) -> object:
    """Open a file, and take as long as a request to a store that is far away; its processes import this, too."""
    time.sleep(float(os.environ.get("STORE_DELAY", "0")))
    return _open(*given, **more)


LocalFileSystem._open = _open_later


def main(folder: str, timeout: str, threads: str, processes: str, memory: str = "") -> None:
    """Fetch as our step does: same size, quality, hash and opt-outs."""
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    download(
        url_list=f"{folder}/urls.parquet", output_folder=f"{folder}/out", input_format="parquet", url_col="url",
        output_format="webdataset",
        image_size=512, resize_mode="keep_ratio_largest", resize_only_if_bigger=True, encode_quality=95,
        compute_hash="sha256", extract_exif=False, number_sample_per_shard=500,
        processes_count=int(processes), thread_count=int(threads),
        timeout=int(timeout), disallowed_header_directives=["noai", "noimageai", "noml"],
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Archives of the shapes found in the wild: ingested and adopted in place, without a request."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.images.plain import image
from tests.images.world import KEY, images, settings
from tests.ingest.world import pair

Record = dict[str, Any]
Files = Sequence[tuple[str, bytes]]
EACH = 3


def _img2dataset(row: Record, number: int, **more: Any) -> Record:
    known = {"caption": row["text"], "url": row["url"], "key": f"{number:09}", "status": "success"}
    return known | {"error_message": None, "original_width": 640, "original_height": 480, "exif": "{}"} | more


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _encoded(number: int, kind: str) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(image(number))).save(out, kind)
    return out.getvalue()


def _files(row: Record, number: int, name: str = "", known: Record | None = None, suffix: str = "jpg") -> Files:
    stem = name or f"{number:09}"
    picture = image(number) if suffix.lower() in ("jpg", "jpeg") else _encoded(number, suffix)
    text = (f"{stem}.txt", row["text"].encode())
    return [(f"{stem}.{suffix}", picture), (f"{stem}.json", _json(known or _img2dataset(row, number))), text]


def _hex(number: int) -> str:
    return f"{number:032x}"[::-1]


def _known(row: Record, number: int, **more: Any) -> Files:
    return _files(row, number, known=_img2dataset(row, number, **more))


# What a tar holds of one image, by the kind of archive.
TARS: dict[str, Callable[[Record, int], Files]] = {
    "img2dataset": _files,
    "img2dataset with sha256": lambda row, n: _known(row, n, sha256=f"{n:064x}"),
    "uid of 32 digits": lambda row, n: _known(row, n, uid=_hex(n)),
    "uid in upper case": lambda row, n: _known(row, n, uid=_hex(n).upper()),
    "uid that is a number": lambda row, n: _known(row, n, uid=n),
    "LAION": lambda row, n: _files(
        row, n, known={"SAMPLE_ID": n, "URL": row["url"], "TEXT": row["text"], "NSFW": "UN"}
    ),
    "capital endings": lambda row, n: [(name.upper(), data) for name, data in _files(row, n)],
    "jpeg": lambda row, n: _files(row, n, suffix="jpeg"),
    "png": lambda row, n: _files(row, n, suffix="png"),
    "webp": lambda row, n: _files(row, n, suffix="webp"),
    "folders": lambda row, n: _files(row, n, f"train/n{n}/{n}"),
    "dots before names": lambda row, n: _files(row, n, f"./{n:05}"),
    "dots in names": lambda row, n: _files(row, n, f"photo.v2.{n}"),
    "long names": lambda row, n: _files(row, n, "x" * 120 + str(n)),
    "names beyond ASCII": lambda row, n: _files(row, n, f"größe-{n}"),
    "metadata first": lambda row, n: sorted(_files(row, n), key=lambda file: not file[0].endswith("json")),
    "other files between": lambda row, n: [*_files(row, n)[:1], (f"{n:09}.cls", b"3"), *_files(row, n)[1:]],
}
# What lies beside a tar; its columns are then the rows.
TABLES: dict[str, Callable[[list[Record]], tuple[str, bytes]]] = {
    "DataComp": lambda rows: (
        "parquet",
        _parquet([{**row, "face_bboxes": [], "sha256": f"{i:064x}"} for i, row in enumerate(rows, 900)]),
    ),
    "LAION table": lambda rows: (
        "parquet",
        _parquet([{"SAMPLE_ID": 7, "URL": row["url"], "TEXT": row["text"], "WIDTH": 640} for row in rows]),
    ),
    "JSON lines": lambda rows: ("jsonl", b"\n".join(_json(row) for row in rows)),
    "CSV": lambda rows: ("csv", _csv(rows)),
}
FORMATS = {"PAX": tarfile.PAX_FORMAT, "GNU": tarfile.GNU_FORMAT, "USTAR": tarfile.USTAR_FORMAT}
KINDS = [*TARS, *TABLES, *FORMATS, "sub-folder", "ending TAR"]


def _parquet(rows: list[Record]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def _csv(rows: list[Record]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _land(folder: Path, kind: str, rows: list[tuple[int, Record]]) -> None:
    stem = f"part/{kind}" if kind == "sub-folder" else kind
    path = folder / f"{stem.replace(' ', '-')}.{'TAR' if kind == 'ending TAR' else 'tar'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=FORMATS.get(kind, tarfile.PAX_FORMAT)) as tar:
        root = tarfile.TarInfo("train")
        root.type = tarfile.DIRTYPE
        tar.addfile(root)
        for number, row in rows:
            for name, data in TARS.get(kind, _files)(row, number):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    if kind in TABLES:
        ending, content = TABLES[kind]([row for _, row in rows])
        path.with_suffix(f".{ending}").write_bytes(content)


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, dict[str, dict[str, Any]]]:
    """One key with an archive of each kind: the lake, and its images by the URL of their pairs."""
    root = tmp_path_factory.mktemp("archives")
    for first, kind in enumerate(KINDS):
        rows = [(number, pair(number)) for number in range(first * EACH, (first + 1) * EACH)]
        _land(root / "landing" / KEY, kind, rows)
    (root / "landing" / KEY / "empty.tar").write_bytes(bytes(10240))
    of = settings(root, "ingest.workers=1", "images.placeholder_count=1000", "ingest.lists.evaluation=null")
    lake = Lake(of)
    execute(Run(Ingest(), lake, of, KEY))
    urls = {row["uid"]: row["url"] for row in lake.arrow("pairs", KEY).to_pylist()}
    return lake, {urls[uid]: row for uid, row in images(lake, of).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_adopted_in_place(kind: str, adopted: tuple[Lake, dict[str, dict[str, Any]]]) -> None:
    lake, rows = adopted
    first = KINDS.index(kind) * EACH
    for number in range(first, first + EACH):
        row = rows[pair(number)["url"]]
        assert (row["status"], row["reason"]) == ("ok", None)
        assert row["shard"].startswith(f"landing:{KEY}/")
        (found,) = read_images(lake, [Span(row["shard"], row["offset"], row["length"])])
        suffix = {"png": "png", "webp": "webp"}.get(kind)
        assert found == (_encoded(number, suffix) if suffix else image(number))


def test_there_are_at_least_twenty_kinds() -> None:
    assert len(KINDS) >= 20

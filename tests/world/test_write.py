"""`kale sample make` writes what published datasets look like, and the truth."""

import csv
import hashlib
import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from kale_tasks.world.draw import SIDE
from kale_tasks.world.web import running
from kale_tasks.world.world import uid
from kale_tasks.world.write import WorldSample, write_sample


def make(out: Path, **options: object) -> Path:
    """Write 240 pairs over 2 keys, or other pairs by the options."""
    sample = WorldSample(**{"pairs": 240, "keys": 2} | options)  # type: ignore[arg-type]
    assert list(write_sample(sample, out))[-1] == sample.pairs
    return out


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("landing"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(landing: Path, tmp_path: Path) -> None:
    assert files(make(tmp_path)) == files(landing)


def test_a_row_has_datacomps_columns_and_a_uid_made_of_url_and_text(landing: Path) -> None:
    rows = pq.read_table(landing / "2026-11-01" / "00000000.parquet").to_pylist()
    assert len(rows) == 120
    assert set(rows[0]) >= {
        "uid",
        "url",
        "text",
        "original_width",
        "clip_l14_similarity_score",
        "face_bboxes",
        "sha256",
    }
    assert all(row["uid"] == uid(row["url"], row["text"]) for row in rows)


def test_every_row_has_its_truth(landing: Path) -> None:
    for key in ("2026-11-01", "2026-11-02"):
        rows = pq.read_table(landing / key / "00000000.parquet").column("uid").to_pylist()
        assert pq.read_table(landing / "_truth" / f"{key}.parquet").column("uid").to_pylist() == rows


def test_a_tar_has_what_a_downloader_could_fetch(landing: Path) -> None:
    truth = {row["uid"]: row for row in pq.read_table(landing / "_truth" / "2026-11-01.parquet").to_pylist()}
    found = set()
    with tarfile.open(landing / "2026-11-01" / "00000000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    for name in [name for name in members if name.endswith(".json")]:
        row, image = json.loads(members[name]), members[name.replace(".json", ".jpg")]
        assert members[name.replace(".json", ".txt")].decode() == row["text"]
        assert row["key"] == name.removesuffix(".json")
        assert Image.open(io.BytesIO(image)).size == (SIDE, SIDE)
        unchanged = hashlib.sha256(image).hexdigest() == row["sha256"]
        assert unchanged == (truth[row["uid"]]["fault"] != "changed")
        found.add(row["uid"])
    assert found == {name for name, row in truth.items() if row["outcome"] == "ok"}


def test_every_format_has_the_same_pairs(landing: Path, tmp_path: Path) -> None:
    expected = pq.read_table(landing / "2026-11-01" / "00000000.parquet").column("text").to_pylist()
    made = {name: make(tmp_path / name, format=name, images="web") / "2026-11-01" for name in ("laion", "jsonl", "csv")}
    assert pq.read_table(made["laion"] / "00000000.parquet").column("TEXT").to_pylist() == expected
    lines = (made["jsonl"] / "00000000.jsonl").read_text().split("\n")[:-1]
    assert [json.loads(line)["text"] for line in lines] == expected
    with (made["csv"] / "00000000.csv").open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == expected


def test_the_urls_of_the_metadata_serve_the_images_with_the_recorded_hash(tmp_path: Path) -> None:
    from urllib.request import urlopen

    with running() as web:
        out = make(tmp_path, images="web", web_url=web.url)
        rows = pq.read_table(out / "_truth" / "2026-11-02.parquet").to_pylist()
        for row in [row for row in rows if row["fault"] == "ok"][:20]:
            assert hashlib.sha256(urlopen(row["url"]).read()).hexdigest() == row["sha256"]
    assert not list(tmp_path.rglob("*.tar"))


def test_the_evaluation_set_is_planted_among_the_pairs(tmp_path: Path) -> None:
    out = make(tmp_path, pairs=1200, images="web")
    known = {row["text"] for row in pq.read_table(out / "_eval" / "evaluation.parquet").to_pylist()}
    truth = [row for key in out.glob("_truth/*") for row in pq.read_table(key).to_pylist()]
    texts = {row["uid"]: row["text"] for file in out.glob("2026*/*") for row in pq.read_table(file).to_pylist()}
    planted = [texts[row["uid"]] for row in truth if row["role"] == "evaluation"]
    assert planted and set(planted) <= known


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path: Path) -> None:
    make(tmp_path / "first", pairs=10)  # loads what is cached
    peaks = []
    for pairs in (500, 1500):
        tracemalloc.start()
        make(tmp_path / str(pairs), pairs=pairs, keys=1, images="web")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]

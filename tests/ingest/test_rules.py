"""Each rule drops the rows it is meant for, counts them under its name, and can be disabled."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.ingest.rules import PersonalData
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import add
from kale_tasks.resources import resource
from tests.ingest.world import Record, balanced, ingest, kept, land, land_lines, numbers, pair, settings_for, texts

SAMPLES: dict[str, tuple[Record, str]] = {
    "no_url": ({"url": "ftp://pictures.example/1.jpg"}, ""),
    "no_text": ({"text": " <br> "}, ""),
    "placeholder_text": ({"text": "IMG_20231104_1200.jpg"}, "ingest.rules.placeholder_text=false"),
    "spam": ({"text": "Buy cheap watches online, free shipping, best price 70% off"}, "ingest.rules.spam=false"),
    "pii": ({"text": "The harbour at dawn, photo sent by jane@mail.example"}, "ingest.rules.pii=keep"),
    "nsfw": ({"text": "an old xxx video shop in the harbour"}, "ingest.lists.nsfw=null"),
    "language": ({"text": "Ein Blick auf das alte Schloss an einem sonnigen Tag"}, "ingest.rules.languages=[]"),
    "too_few_words": ({"text": "Harbourside lighthouse"}, "ingest.rules.min_words=null"),
    "too_short": ({"text": "a b c"}, "ingest.rules.min_chars=null"),
    "too_long": ({"text": "The view of the old harbour of the town. " * 125}, "ingest.rules.max_chars=null"),
    "repetition": ({"text": "boat boat boat boat boat boat boat"}, "ingest.rules.max_repetition=null"),
    "too_small": ({"original_width": 640, "original_height": 120}, "ingest.rules.min_side=null"),
    "too_narrow": ({"original_width": 1600, "original_height": 400}, "ingest.rules.max_aspect=null"),
}  # fmt: skip
PLACEHOLDERS = [
    "photo", "Image 12", "1920x1080", "DSC_0042", "untitled-1", "Photo 3 of 12", "Click to enlarge", "!!! 2019 ---",
    "https://a.example/x", "product image 4", "no image available", "image may contain: outdoor", "logo.", "thumb 2",
]  # fmt: skip
FACTS = [
    "Photo of Mount Fuji at dawn, 1923", "Logo of the Royal Dutch football club", "1920 Rolls Royce Silver Ghost",
    "Order of the Garter, star of 1840", "Image of the old bridge at Mostar", "HMS Victory, 104 guns, launched 1765",
    "The view 555-1234 was named after", "ISBN 978-3-16-148410-0 first edition cover", "Essex cottage, built in 1602",
]  # fmt: skip


def rows_of(changes: Iterable[Record]) -> list[Record]:
    return [pair(number) | change for number, change in enumerate(changes)]


def test_each_rule_drops_under_its_name(tmp_path: Path) -> None:
    land_lines(tmp_path / "landing", rows_of(change for change, _ in SAMPLES.values()))
    (committed,) = ingest(settings_for(tmp_path, "ingest.rules.min_side=200"))
    assert balanced(committed)
    assert (committed.rows, committed.dropped) == (0, dict.fromkeys(SAMPLES, 1))


def test_each_rule_can_be_disabled(tmp_path: Path) -> None:
    switched = {rule: change for rule, (change, switch) in SAMPLES.items() if switch}
    land_lines(tmp_path / "landing", rows_of(switched.values()))
    off = settings_for(tmp_path, "ingest.rules.min_side=200", *(switch for _, switch in SAMPLES.values() if switch))
    (committed,) = ingest(off)
    assert (committed.rows, committed.dropped) == (len(switched), {})


@pytest.mark.parametrize(
    ("setting", "column"), [("min_clip_b32", "similarity"), ("min_clip_l14", "clip_l14_similarity_score")]
)
def test_a_lowest_clip_score_drops_only_rows_whose_score_is_known_and_lower(
    tmp_path: Path, setting: str, column: str
) -> None:
    land_lines(tmp_path / "landing", [pair(1, **{column: 0.19}), pair(2, **{column: 0.2}), pair(3)])
    settings = settings_for(tmp_path, f"ingest.rules.{setting}=0.2")
    (committed,) = ingest(settings)
    assert committed.dropped == {"low_clip": 1}
    assert numbers(kept(settings)) == [2, 3]


def test_placeholders_are_dropped_and_facts_are_kept(tmp_path: Path) -> None:
    land(tmp_path / "landing", rows_of({"text": text} for text in [*PLACEHOLDERS, *FACTS]))
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    assert committed.dropped == {"placeholder_text": len(PLACEHOLDERS)}
    assert texts(settings) == sorted(FACTS)


def test_personal_data_is_masked_in_the_text_that_prompts_read(tmp_path: Path) -> None:
    text = "The harbour at dawn, write to jane.doe@mail.example or call +44 20 7946 0123"
    land(tmp_path / "landing", [pair(1, text=text)])
    settings = settings_for(tmp_path, "ingest.rules.pii=mask")
    ingest(settings)
    (row,) = kept(settings)
    assert row["text"] == "The harbour at dawn, write to [email] or call [phone]"
    assert (row["alt_text"], row["flags"]) == (text, ["pii"])


def test_samples_of_dropped_rows_have_no_personal_data(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1, text="Written to jane.doe@mail.example by the harbour")])
    ingest(settings_for(tmp_path))
    (sample,) = (tmp_path / "lake" / "pairs").rglob("dropped/*.json")
    assert "[email]" in sample.read_text() and "jane" not in sample.read_text()


def test_a_blocked_domain_is_dropped_and_an_edited_list_makes_the_key_stale(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1, url="https://cdn.bad.example/1.jpg"), pair(2)])
    listed = tmp_path / "landing" / "listed.txt"
    listed.write_text("# nobody yet\n")
    settings = settings_for(tmp_path, "ingest.lists.domains=listed.txt")
    (before,) = ingest(settings)
    listed.write_text("*.Bad.example # asked for it\n")
    (after,) = ingest(settings)
    assert (before.rows, after.rows, after.dropped) == (2, 1, {"blocked_domain": 1})
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("kind", "value", "row"),
    [
        ("url", "http://www.pictures.example/1.jpg", {}),
        ("host", "pictures.example", {}),
        ("sha256", "AB" * 32, {"sha256": "ab" * 32}),
        ("uid", "0123456789abcdef0123456789abcdef", {"uid": "0123456789ABCDEF0123456789abcdef"}),
        ("pattern", "secret harbour", {"text": "The boats of the Secret Harbour by night"}),
    ],
)
def test_taken_down_rows_are_dropped_and_not_sampled(
    tmp_path: Path, kind: str, value: str, row: dict[str, Any]
) -> None:
    land(tmp_path / "landing", [pair(1) | row, pair(2, url="https://else.example/2.jpg")])
    settings = settings_for(tmp_path)
    add(Lake(settings), {kind: [value]})
    (after,) = ingest(settings)
    assert (after.rows, after.dropped) == (1, {"takedown": 1})
    assert balanced(after)
    (sample,) = (tmp_path / "lake" / "pairs").rglob(f"{after.fingerprint}/dropped/*.json")
    assert sample.read_text() == "{}"


def test_evaluation_items_are_dropped(tmp_path: Path) -> None:
    text = "A lighthouse keeper waves to the crew of a passing herring drifter off Wick"
    land(tmp_path / "landing", [{"text": text, "sha256": "aa" * 32, "url": "https://e.example/1.jpg"}], key="_eval")
    rows = [
        pair(1, text=f"Postcard: {text.lower()}!"),
        pair(2, sha256="AA" * 32),
        pair(3, text="A lighthouse keeper waves to a crew of another boat"),
        {"url": "http://e.example/1.jpg", "text": "Something else altogether by the river"},
    ]
    land(tmp_path / "landing", rows)
    settings = settings_for(tmp_path, "ingest.lists.evaluation=_eval")
    (committed,) = ingest(settings)
    assert committed.dropped == {"evaluation": 3}
    assert [row["url"] for row in kept(settings)] == [pair(3)["url"]]


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("Headlight fits 2005 2006 2007 2008 Toyota Corolla", 0),
        ("Filter, part 123-45-6789, for a tractor", 0),
        ("Drive belt 160-147-0001 for a mower", 0),
        ("The Beatles call 1965-1966 tour of the world", 0),
        ("The file icon@2x.png of a red button", 0),
        ("A post of @bob@mastodon.social about the sea", 0),
        ("Pay to 4111 1111 1111 1111 today", 1),
        ("Write to jane.doe@mail.example or call 212 555 0147", 2),
        ("Ring 212-555-0147 for tickets", 1),
        ("Social security number 123-45-6789", 1),
    ],
)
def test_years_and_part_numbers_are_no_personal_data(text: str, marks: int) -> None:
    patterns = yaml.safe_load(resource("config/ingest/patterns.yaml").read_bytes())["pii"]
    assert PersonalData(patterns).mask(text).count("[") == marks

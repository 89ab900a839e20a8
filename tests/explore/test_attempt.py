"""`kale try`: one picture through every pass."""

from pathlib import Path

import pytest

from tests.kale import kale

ALT = "Okorobi by Ana Tavu, Lisbon (1931)"


def test_every_pass_shows_what_it_made_and_how_long_it_took(photos: Path) -> None:
    answer = kale("try", str(photos / "picture-00.jpg"), ALT)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["ingest", "images", "dense", "fused", "caption", "fuse"]
    assert all(float(line.split()[1]) >= 0 and line.split()[2] == "s" for line in lines[:6])
    assert "Facts from the alt-text" in answer.out


def test_the_answer_for_machines_has_texts_and_seconds(photos: Path, tiny: str) -> None:
    answer = kale("try", str(photos / "picture-00.jpg"), ALT, "--server", tiny, "--recipe", "demo", "--json")
    assert answer.code == 0, answer.err
    made = {step["step"]: step for step in answer.json["steps"]}
    assert made["dense"]["texts"] and answer.json["alt_text"] == ALT
    assert "1931" in answer.json["caption"]


def test_a_broken_picture_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    answer = kale("try", str(tmp_path / "broken.jpg"))
    assert (answer.code, "kale explain" in answer.err) == (3, True), answer.err


@pytest.mark.parametrize(
    ("words", "says"), [(["nowhere.jpg"], "no picture"), (["nowhere.jpg", "--recipe", "kalle"], "no recipe")]
)
def test_what_is_missing_is_named(words: list[str], says: str) -> None:
    answer = kale("try", *words)
    assert (answer.code, says in answer.err) == (2, True), answer.err

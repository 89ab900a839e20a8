"""The text around an image is carried along: repaired, shortened, and without personal data."""

from pathlib import Path

import pytest

from tests.ingest.world import ingest, kept, land, land_lines, pair, settings_for


@pytest.mark.parametrize("name", ["context", "surrounding_text"])
def test_the_text_around_an_image_is_carried_along(tmp_path: Path, name: str) -> None:
    land(tmp_path / "landing", [pair(1, **{name: "The <b>harbour</b>  of Caf&eacute; street"}), pair(2)])
    settings = settings_for(tmp_path)
    ingest(settings)
    found = {row["url"]: row["context"] for row in kept(settings)}
    assert found == {pair(1)["url"]: "The harbour of Café street", pair(2)["url"]: None}


def test_a_long_context_is_shortened_and_a_broken_one_costs_nothing(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1, context="word " * 100_000)], name="a")
    land(tmp_path / "landing", [pair(2, context=b"caf\xe9 by the sea")], name="b")
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    found = {row["url"]: row["context"] for row in kept(settings)}
    assert committed.rows == 2
    assert found[pair(1)["url"]].startswith("word word") and len(found[pair(1)["url"]]) < 2001
    assert found[pair(2)["url"]] == "caf by the sea"


@pytest.mark.parametrize(("pii", "shown"), [("drop", "[email]"), ("mask", "[email]"), ("keep", "jane@mail.example")])
def test_personal_data_around_an_image_is_masked_and_drops_no_row(tmp_path: Path, pii: str, shown: str) -> None:
    land_lines(tmp_path / "landing", [pair(1, context="Write to jane@mail.example")])
    settings = settings_for(tmp_path, f"ingest.rules.pii={pii}")
    ingest(settings)
    (row,) = kept(settings)
    assert (row["context"], row["flags"]) == (f"Write to {shown}", [])

"""`kale look`: captions beside their pictures, in the terminal or as a page."""

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from kale_tasks.explore.look import look
from kale_tasks.explore.terminal import drawn, print_seen
from kale_tasks.text.origins import ALT, DENSE, INVENTED, Piece, pieces
from tests.explore.conftest import KEY
from tests.kale import kale
from tests.lakes import lake_of


def test_facts_have_the_origin_of_their_source() -> None:
    found = pieces(
        "A tower named Atomium is in Brussels near 66 trees by Zorro.",
        "A tower near 66 trees.",
        "Atomium, Brussels",
    )
    assert [piece for piece in found if piece.origin] == [
        Piece("Atomium", ALT), Piece("Brussels", ALT), Piece("66", DENSE), Piece("Zorro", INVENTED),
    ]  # fmt: skip
    assert "".join(piece.text for piece in found) == "A tower named Atomium is in Brussels near 66 trees by Zorro."


def test_a_number_without_a_description_may_have_been_read_off_the_image() -> None:
    found = pieces("The digits 66 by Zorro.", "", "nothing")
    assert [piece.text for piece in found if piece.origin == INVENTED] == ["Zorro"]


def test_captions_are_printed_with_their_texts(captioned: list[str]) -> None:
    answer = kale("look", "--key", KEY, "-n", "3", sets=captioned)
    assert answer.code == 0, answer.err
    assert (answer.out.count("caption "), answer.out.count("alt-text ")) == (3, 3)
    rows = kale("look", "--key", KEY, "-n", "3", "--json", sets=captioned).json
    assert len(rows) == 3 and all(row["caption"] in " ".join(answer.out.split()) for row in rows)


def test_one_picture_by_its_uid_and_the_worst_first(captioned: list[str]) -> None:
    rows = kale("look", "--key", KEY, "-n", "99", "--json", sets=captioned).json
    one = kale("look", "--key", KEY, "--uid", rows[1]["uid"][:12], "--json", sets=captioned).json
    assert one == [rows[1]]
    worst = kale("look", "--key", KEY, "--worst", "-n", "99", "--json", sets=captioned).json
    badness = [(row["invented"], len(row["flags"])) for row in worst]
    assert badness == sorted(badness, reverse=True) and len(worst) == len(rows)
    answer = kale("look", "--key", KEY, "--uid", "ffff0000", sets=captioned)
    assert (answer.code, "no image whose uid begins" in answer.err) == (2, True)


def test_the_page_has_pictures_and_loads_nothing(captioned: list[str], tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    assert kale("look", "--key", KEY, "-n", "4", "--html", str(page), sets=captioned).code == 0
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 4 and "http" not in text.replace("http://www.w3.org", "")


def test_a_terminal_gets_pictures_in_colour(captioned: list[str]) -> None:
    lake, settings = lake_of(captioned)
    out = io.StringIO()
    print_seen(
        Console(file=out, force_terminal=True, color_system="truecolor", width=120), look(lake, settings, KEY, 1)
    )
    assert "\N{UPPER HALF BLOCK}" in out.getvalue() and "\x1b[38;2;" in out.getvalue()


def test_a_tall_picture_does_not_fill_the_terminal() -> None:
    assert len(drawn(Image.new("RGB", (10, 4000))).plain.splitlines()) <= 32


def test_control_characters_do_not_reach_the_terminal() -> None:
    from kale_tasks.explore.terminal import coloured, labelled

    assert "\x1b" not in labelled("alt-text", "\x1b[2J").plain + coloured([Piece("\x1b[2J", ALT)]).plain


@pytest.mark.parametrize(("key", "says"), [("2026-11-09", "no images yet"), ("../etc", "cannot be a key")])
def test_a_key_without_images_is_said(captioned: list[str], key: str, says: str) -> None:
    answer = kale("look", "--key", key, sets=captioned)
    assert (answer.code > 0, says in answer.err) == (True, True), answer.err

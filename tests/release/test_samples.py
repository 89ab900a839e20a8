"""Pictures in the card: only on request, of hosts that are named, beside their captions, and gone with a takedown."""

import re
from pathlib import Path
from random import Random

import pytest

from kale_tasks.progress import Silent
from kale_tasks.release.built import read
from kale_tasks.release.card import pages
from kale_tasks.release.publish import target
from kale_tasks.release.samples import Sample, samples_of
from kale_tasks.release.targets.base import Removal
from kale_tasks.takedown.sweep import take_down
from tests.hub.server import HubServer
from tests.release.conftest import Template, World, world
from tests.release.world import image, pipeline

REPO = "datasets/someone/captions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    """Two keys of 40 rows, released."""
    folder = tmp_path_factory.mktemp("samples")
    made = world("folder", folder, request, f"publish.target={folder / 'out'}")
    made.fill("a", "b", rows=40)
    made.release("b")
    return Template(folder, made)


def shown(card: str) -> list[tuple[str, str]]:
    """The pictures of a card with the text beside each."""
    return re.findall(r'<img src="([^"]+)".*?<td>(.*?)<br>', card)


def captions(it: World) -> dict[bytes, str]:
    return {image(row["uid"]): row["caption"] for row in it.lake.arrow("captions").to_pylist()}


def test_a_card_shows_no_picture_unless_it_is_asked_to(it: World) -> None:
    place = Path(it.publish("b"))
    assert not shown((place / "README.md").read_text()) and not (place / "pictures/samples").exists()


@pytest.mark.parametrize("number", [1, 3, 30])
def test_pictures_are_beside_their_captions_and_at_the_root_as_well(it: World, number: int) -> None:
    place, known = Path(it.with_(f"publish.samples={number}").publish("b")), captions(it)
    for folder in (place, place.parent):
        found = shown((folder / "README.md").read_text())
        assert len(found) == number == len(set(found))
        assert all(known[(folder / name).read_bytes()] == text for name, text in found)


def test_pictures_are_of_captions_of_all_keys_and_without_flags(it: World) -> None:
    of = it.with_("publish.samples=8")
    urls = [one.url for one in samples_of(of.lake, read(it.lake, "b"), of.settings.publish)]
    rows = [row for row in it.lake.arrow("captions").to_pylist() if row["url"] in urls]
    assert {row["key"] for row in rows} == {"a", "b"} and {row["stage"] for row in rows} == {1, 2}
    assert not any(row["flags"] for row in rows)


def test_only_pictures_of_the_named_hosts_are_shown(it: World) -> None:
    of = it.with_("publish.samples=100", "publish.sample_hosts=[host3.example,host7.example]")
    found = samples_of(of.lake, read(it.lake, "b"), of.settings.publish)
    expected = {row["url"] for row in it.lake.arrow("captions").to_pylist() if row["uid"][0] in "37"}
    assert {one.url for one in found} == expected and {one.host for one in found} == {"host3.example", "host7.example"}


def test_texts_of_strangers_give_the_card_no_form(it: World) -> None:
    attack = '\n\n# Heading\n</table><script>alert(1)</script> [x](javascript:y) "><img src="pictures/z">\n\n---\n'
    one = Sample(image("x"), attack, attack, 'https://host.example/"><script>')
    card = pages(read(it.lake, "b"), it.settings.publish, "", [one])["README.md"].decode()
    (row,) = [line for line in card.splitlines() if "Heading" in line]
    assert row.startswith("<tr>") and row.endswith("</tr>") and card.count("</table>") == 1
    assert "<script" not in card and row.count("<img") == 1 and row.count('"') == 8


def test_a_release_with_fewer_pictures_takes_the_others_off_the_hub(it: World, hub: HubServer) -> None:
    of = it.with_(f"publish.target=hf://{REPO}", "publish.samples=6")
    of.publish("b")
    assert len(pictures(hub)) == 6
    repo = hub.repo(REPO)
    repo.commit("my own", "", {**repo.head.files, "pictures/mine.png": repo.head.files["README.md"]}, ())
    it.fill("b", rows=40, b="Mary ")
    it.release("b")
    of.with_("publish.samples=2").publish("b")
    assert len(pictures(hub)) == 2 and "pictures/mine.png" in repo.head.files


def pictures(hub: HubServer) -> list[str]:
    return [name for name in hub.repo(REPO).head.files if name.startswith("pictures/samples/")]


def test_a_picture_of_a_row_that_was_taken_down_is_gone_from_the_history_of_the_hub(it: World, hub: HubServer) -> None:
    of = it.with_(f"publish.target=hf://{REPO}", "publish.samples=4")
    of.publish("b")
    chosen = samples_of(of.lake, read(it.lake, "b"), of.settings.publish)
    gone = Random(1).choice(chosen)
    take_down(of.lake, of.settings, {"url": [gone.url]}, pipeline(40), Silent())
    of.release("b")
    of.publish("b")
    assert gone.name not in pictures(hub) and len(pictures(hub)) == 4
    target(of.settings).forget(Removal(set(), set(), set()))
    repo = hub.repo(REPO)
    assert all(gone.name not in commit.files for commit in repo.commits)
    assert not any(gone.data in path.read_bytes() for path in hub.folder.rglob("*") if path.is_file())
    assert all(repo.read(repo.head.files[name]) for name in pictures(hub))

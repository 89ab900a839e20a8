"""Texts that look like personal data, adult content or spam and are none, and some that are, by the shipped rules."""

from pathlib import Path

import pytest

from kale_tasks.ingest.blocklists import read_lists
from kale_tasks.ingest.normalize import fold
from kale_tasks.ingest.rules import PairRow, configured_rules
from kale_tasks.lake.landing import landing_storage
from tests.ingest.world import settings_for

HARMLESS = [
    # birds, plants, films, clothes, games, numerals: as the web writes them
    "Great tits (Parus major) at a feeder in a snowy garden",
    "Coal Tits and Blue Tits sharing a peanut holder, RSPB Pulborough",
    "Long-tailed tits huddled on a branch at dusk",
    "Vase of pussy willow and catkins on a window sill",
    "Pussy Riot on stage in Reykjavik, photographed from the pit",
    "Alicia lace gothic Lolita dress in black with petticoat, size M",
    "First edition of Lolita by Vladimir Nabokov, two volumes in green wrappers",
    "XXX Olympic Games London 2012, hockey at the Riverbank Arena",
    "Super Bowl XXX programme, Tempe, January 1996",
    "Coral nude cowl back gown with a popover bodice",
    "The Naked Lunch, Olympia Press, 1959, front cover",
    "Electric fence warning sign, adult tank top, unisex",
    "Breast of duck with cherries and a rocket salad",
    "Essex and Sussex cricket grounds on a map of 1903",
    "Food Porn Friday: twelve stuffed meatballs in a skillet",
    "Blue-footed booby dancing on North Seymour island",
    "Cock of the rock displaying in a cloud forest in Peru",
    # numbers that identify no person
    "Headlight assembly fits 2005 2006 2007 2008 Toyota Corolla, left",
    "Oil filter, part 123-45-6789, for a Massey Ferguson tractor",
    "Serpentine belt 160-147-0001 beside its box",
    "The Beatles call 1965-1966 tour of the United States, poster",
    "Share icon@2x.png, a white arrow in a green circle",
    "Mastodon post of @bob@mastodon.social about herons on the Thames",
    "ISBN 978-0-306-40615-7, spine and back cover of a paperback",
    "Locomotive 4472 and tender 5323 at Doncaster works, 1963",
    "Grid reference 123 456 7890 on an Ordnance Survey sheet of the Fens",
    "Lens 70-200 2.8 on a body with serial 4111 1111 1111 1112",
    "Coordinates 51.5033 -0.1196 of the wheel on the South Bank",
    "Print 16x20, edition 212 of 555, numbered in pencil",
    # words of shops that advertise nothing
    "Best in show: a whippet named Free Spirit at the county fair",
    "The Shop Now Closed, a painting of a boarded up grocer in Leeds",
]
HARMFUL = {
    "nsfw": [
        "Great tits and pussy of a nude girls club",
        "free xxx video of the week",
        "Vintage porn magazine cover",
        "sex toys for couples, set of four",
    ],
    "pii": [
        "Contact Maria at maria.lopez@mail.example for prints of the bridge",
        "Call 212-555-0147 for tickets to the museum",
        "Gift card 4111 1111 1111 1111 on a wooden table",
        "Ring +44 20 7946 0958 to visit the lighthouse",
    ],
    "spam": ["Buy cheap watches online, free shipping, best price 70% off"],
}


def dropped_by(text: str, folder: Path) -> str | None:
    """Return the rule of those above by which the shipped settings drop a text."""
    settings = settings_for(folder)
    rules = configured_rules(settings.ingest, read_lists(landing_storage(settings), settings.ingest.lists))
    row = PairRow("0" * 32, "p.example", "p.example/1.jpg", "", text, fold(text), "en")
    return next((name for name in HARMFUL if rules[name]()(row)), None)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_is_no_alarm(text: str, tmp_path: Path) -> None:
    assert dropped_by(text, tmp_path) is None


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, some in HARMFUL.items() for text in some])
def test_what_the_rules_are_for_is_dropped(rule: str, text: str, tmp_path: Path) -> None:
    assert dropped_by(text, tmp_path) == rule

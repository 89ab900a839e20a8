"""Makes texts of which the truth is known: copies that must be found, and facts that must stay apart.

Names, places and sites are made of random syllables, so no list of the package can know them. The first set was frozen
(its hash is in test_truth.py) before the code that it judges was written; a second one has other words and templates.
"""

# ruff: noqa: RUF001, E501 - texts with typographic marks, and classes of one line each

import hashlib
import html
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

CASES = 60  # of each class


@dataclass(frozen=True)
class Words:
    """The vocabulary of a set."""

    seed: int
    syllables: tuple[str, ...]
    colours: tuple[str, ...]
    things: tuple[str, ...]
    scenes: tuple[str, ...]  # with {name}, {place}, {number}, {colour}, {thing}
    months: tuple[str, ...]
    stock_tails: tuple[str, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A text with its host; lines of a case are copies of each other, or all have different facts."""

    kind: str  # copies or facts
    name: str  # of the class
    case: int
    text: str
    host: str


FIRST = Words(
    seed=4_711,
    syllables=("ba", "dre", "fil", "gor", "hu", "jen", "kal", "lom", "mir", "nas", "pel", "qua", "rus", "tov", "wex"),
    colours=("crimson", "teal", "ochre", "black", "white", "lilac", "navy", "amber"),
    things=("teapot", "lantern", "bicycle", "violin", "harbour", "waistcoat", "orchard", "sundial"),
    scenes=(
        'The {colour} {thing} of {name} at the "{place}" fair, drawn by hand in {number}',
        "{name} & {place}: a well-known {thing} beside the river, seen from the tower",
        "Men carry a {colour} {thing} past {name}'s house in {place} on a winter morning",
        "Café {place} with {name} holding a {thing} during the {number} parade - first day",
    ),
    months=("March", "April", "June", "July", "August", "October"),
    stock_tails=(" Stock Photo", " - Royalty Free Stock Image", " | Stock Photos and Images", " - Free Download"),
    prefixes=("Photo of ", "Image: ", "Picture of "),
)
SECOND = Words(
    seed=90_125,
    syllables=("zu", "vek", "thal", "sor", "opp", "yni", "ghe", "bru", "cla", "dwi", "emb", "fru", "ksi", "lyo"),
    colours=("maroon", "beige", "violet", "silver", "khaki", "turquoise", "scarlet", "ivory"),
    things=("kettle", "canoe", "scarf", "telescope", "bakery", "glacier", "saddle", "mosaic"),
    scenes=(
        "Portrait of {name} wearing a {colour} {thing}, {place}, about {number}",
        'How {name} restored the "{thing}" found near {place} (no. {number})',
        "{place} - {name} and the {colour} {thing}, an award-winning view",
        "Señor {name}'s {thing} & {colour} garden wall, open day {number} in {place}",
    ),
    months=("January", "February", "September", "November", "December", "July"),
    stock_tails=(" Stock Illustration", " | Premium Stock Photo", " - Stock Image", " Free Image Download"),
    prefixes=("Picture: ", "Photo - ", "Image of "),
)


def lines(words: Words) -> Iterator[Line]:
    """Yield all lines of a set, those of a case one after the other."""
    maker = _Maker(words)
    for name, edit in COPIES.items():
        for case in range(CASES):
            original = maker.scene()
            yield Line("copies", name, case, original, "pictures.example")
            yield Line("copies", name, case, *edit(maker, original))
    for name, texts in FACTS.items():
        for case in range(CASES):
            for text in texts(maker):
                yield Line("facts", name, case, text, "pictures.example")


def fingerprint(words: Words) -> str:
    """Hash a whole set."""
    known = json.dumps([[e.kind, e.name, e.case, e.text, e.host] for e in lines(words)])
    return hashlib.sha256(known.encode()).hexdigest()[:16]


class _Maker:
    """Makes names and texts from a vocabulary."""

    def __init__(self, words: Words) -> None:
        self.words, self.rng = words, Random(words.seed)

    def name(self) -> str:
        """Make a name of three syllables."""
        return "".join(self.rng.choices(self.words.syllables, k=3)).title()

    def names(self, count: int) -> list[str]:
        """Make different names."""
        found = dict.fromkeys(self.name() for _ in range(9 * count))
        return list(found)[:count]

    def number(self, low: int = 1200, high: int = 2000) -> int:
        """Draw a number."""
        return self.rng.randint(low, high)

    def pick(self, values: tuple[str, ...]) -> str:
        """Draw one of some words."""
        return self.rng.choice(values)

    def two(self, values: tuple[str, ...]) -> list[str]:
        """Draw two different words."""
        return self.rng.sample(values, 2)

    def scene(self, **known: object) -> str:
        """Make a sentence with two names; `known` are values that are given."""
        names = f"{self.name()} {self.name()}"
        values = {
            "name": names, "place": self.name(), "number": self.number(),
            "colour": self.pick(self.words.colours), "thing": self.pick(self.words.things), **known,
        }  # fmt: skip
        return f"{self.pick(self.words.scenes).format(**values)} near {self.name()}"


def _same_host(edit: Callable[[_Maker, str], str]) -> Callable[[_Maker, str], tuple[str, str]]:
    return lambda maker, text: (edit(maker, text), "copies.example")


def _own_site(maker: _Maker, text: str) -> tuple[str, str]:
    one, two = maker.name(), maker.name()
    separator = maker.pick((" | ", " - ", " – ", " » "))
    return f"{text}{separator}{one} {two}", f"img.{(one + two).lower()}.com"


def _domain(maker: _Maker, text: str) -> str:
    return f"{text}{maker.pick((' | ', ' - ', ' at '))}{maker.name()}.{maker.pick(('com', 'net', 'org', 'co.uk'))}"


COPIES: dict[str, Callable[[_Maker, str], tuple[str, str]]] = {
    "lower case": _same_host(lambda m, t: t.lower()),
    "upper case": _same_host(lambda m, t: t.upper()),
    "title case": _same_host(lambda m, t: t.title()),
    "final punctuation": _same_host(lambda m, t: t + m.pick((".", "!", " ...", "…"))),
    "inner punctuation": _same_host(lambda m, t: t.replace(" of ", ", of ").replace(" near ", ": near ").replace('"', "")),
    "quoted": _same_host(lambda m, t: f'"{t.replace(chr(34), "")}"'),
    "entities": _same_host(lambda m, t: html.escape(t)),
    "entities twice": _same_host(lambda m, t: html.escape(html.escape(t))),
    "tags": _same_host(lambda m, t: f"<b>{t.split(' ')[0]}</b> {t.split(' ', 1)[1]}<br/>"),
    "white space": _same_host(lambda m, t: t.replace(" ", "  ", 2).replace(" near", "\u00a0\nnear")),
    "invisible characters": _same_host(lambda m, t: t[:5] + "\u200b" + t[5:9] + "\u00ad" + t[9:]),
    "curly quotes and dashes": _same_host(lambda m, t: t.replace("'", "’").replace('"', "”").replace("-", "–")),
    "decomposed": _same_host(lambda m, t: unicodedata.normalize("NFD", t)),
    "wide letters": _same_host(lambda m, t: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() and c < "z" else c for c in t)),
    "mojibake": _same_host(lambda m, t: t.replace("'", "’").encode().decode("cp1252", "ignore")),
    "marks": _same_host(lambda m, t: t.replace(" near", m.pick(("™", "®", "©")) + " near")),
    "hyphens": _same_host(lambda m, t: t.replace("-", " ")),
    "site tail, its own site": _own_site,
    "site tail, a domain": _same_host(_domain),
    "site tail, stock words": _same_host(lambda m, t: t + m.pick(m.words.stock_tails)),
    "prefix": _same_host(lambda m, t: m.pick(m.words.prefixes) + t),
}  # fmt: skip


def _twice(
    make: Callable[[_Maker, object], str], draw: Callable[[_Maker], list[object]]
) -> Callable[[_Maker], list[str]]:
    def texts(maker: _Maker) -> list[str]:
        values, state = draw(maker), maker.rng.getstate()
        found = []
        for value in values:
            maker.rng.setstate(state)  # the same text but for the value
            found.append(make(maker, value))
        return found

    return texts


def _scene(name: str, draw: Callable[[_Maker], list[object]], tail: str = "") -> Callable[[_Maker], list[str]]:
    if tail:
        return _twice(lambda m, v: m.scene() + tail.format(v), draw)
    return _twice(lambda m, v: m.scene(**{name: v}) + (f", {v}" if name in ("number", "colour") else ""), draw)


def _next(low: int, high: int) -> Callable[[_Maker], list[object]]:
    def draw(maker: _Maker) -> list[object]:
        first = maker.number(low, high)
        return [first, first + 1]

    return draw


def _graves(maker: _Maker) -> list[str]:
    place = maker.name()
    return [f"Grave of Private {a}, {place} War Cemetery, photographed by the trust" for a in maker.names(8)]


def _maps(maker: _Maker) -> list[str]:
    state = maker.name()
    return [f"Old map of {county} County, {state}, with roads, rivers and railways" for county in maker.names(8)]


def _products(maker: _Maker) -> list[str]:
    maker_name, thing = maker.name(), maker.pick(maker.words.things)
    return [f"{maker_name} {thing} for home and garden | {colour}" for colour in maker.words.colours]


def _model_years(maker: _Maker) -> list[str]:
    car = f"{maker.name()} {maker.name()}"
    return [f"{year} {car} four-door sedan, front three-quarter view of the silver car" for year in range(1990, 1998)]


FACTS: dict[str, Callable[[_Maker], list[str]]] = {
    "number": _scene("", _next(2, 900), " with {} visitors"),
    "year": _scene("number", _next(1900, 2010)),
    "name": _scene("name", lambda m: [f"{x} Maddow" for x in m.names(2)]),
    "name, lower case": _twice(lambda m, v: m.scene(name=v).lower(), lambda m: list(m.names(2))),
    "place": _scene("place", lambda m: list(m.names(2))),
    "colour": _scene("colour", lambda m: list(m.two(m.words.colours))),
    "thing": _scene("thing", lambda m: list(m.two(m.words.things))),
    "measure": _scene("", _next(10, 90), ", {} cm wide"),
    "unit": _scene("", lambda m: list(m.two(("cm", "mm", "ft", "kg", "lb"))), ", 40 {} in all"),
    "model code": _scene("", lambda m: [f"{m.name()[:2].upper()}-{n}" for n in m.rng.sample(range(100, 999), 2)], ", {}"),
    "one letter": _scene("", lambda m: list(m.two(("A", "B", "C", "D", "K"))), ", vitamin {} at the market"),
    "month": _scene("", lambda m: list(m.two(m.words.months)), ", 12 {} 1987"),
    "size": _scene("", lambda m: list(m.two(("S", "M", "L", "XL"))), " - size {}"),
    "price": _scene("", lambda m: list(m.two(("$", "€", "£", "¥"))), " for {}25"),
    "sign": _scene("", lambda m: [(n := m.number(2, 40)), -n], " at {} °C"),
    "decimal": _scene("", lambda m: [f"{(n := m.number(2, 9))}.5", f"{n}5"], ", {} miles away"),
    "version": _scene("", lambda m: [f"v{(n := m.number(1, 9))}.1", f"v{n}.2"], " ({})"),
    "side": _scene("", lambda m: ["left", "right"], ", {} hand view"),
    "denial": _scene("", lambda m: ["with", "without"], " {} a hat"),
    "preposition": _scene("", lambda m: list(m.two(("before", "after", "under", "over"))), " {} the storm"),
    "order": _twice(
        lambda m, v: "The {} team meets the {} team in the final of the cup".format(*v),  # type: ignore[misc]
        lambda m: [tuple(n := m.names(2)), tuple(reversed(n))],
    ),
    "tail": _scene("", lambda m: list(m.names(2)), " - {}"),
    "graves": _graves,
    "maps": _maps,
    "product template": _products,
    "model years": _model_years,
}  # fmt: skip

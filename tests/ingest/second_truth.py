"""A second truth set for near duplicates, from knowledge of the web only: its author had not read the code it tests.

`edits()` holds pairs that are the same text in another form, `facts()` pairs that differ in exactly one fact. Both come
from the grammar below, which shares nothing with `truth.py`. The content is frozen by its hash (test_second_truth.py).
"""

import html
import random
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import yaml

PAIRS = 300  # in each class
SEED = 90210

Pair = tuple[str, str]

_GRAMMAR = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
# A template names these as {words}.
WORDS: dict[str, list[str]] = _GRAMMAR["words"] | {
    "small": [str(n) for n in range(2, 60)],
    "price": [f"{n}.{c}" for n in range(4, 90, 3) for c in ("50", "95", "99")],
    "year": [str(n) for n in range(1861, 2019)],
    "decade": [f"{n}0s" for n in range(187, 200)],
    "lot": [str(n) for n in range(112, 998)],
    "code": [f"{a}{b}-{n}" for a in "KTRV" for b in "XZL" for n in range(203, 980, 37)],
    "catalog": [f"{y}.{n}.{k}" for y in (1907, 1932, 1978) for n in range(14, 300, 23) for k in (1, 2, 5)],
    "clock": [f"{h}:{m}" for h in range(5, 23) for m in ("00", "15", "20", "45")],
    "opus": [f"Op. {n} No. {k}" for n in range(9, 80, 4) for k in (1, 2, 3)],
    "score": [f"{a}-{b}" for a in range(6) for b in range(6)],
}
# For each class of facts the words that {X} takes, and the templates.
FACTS: dict[str, tuple[str, list[str]]] = {n: (of["words"], of["texts"]) for n, of in _GRAMMAR["facts"].items()}

Change = Callable[[str, random.Random], str]

SITES = [
    "Harrowgate Prints",
    "bluefinch.com",
    "Tindle & Sons",
    "Old Pier Gallery",
    "quayside-images.net",
    "The Daily Lantern",
    "Snapwell",
]


def _mojibake(text: str, _: random.Random) -> str:
    curly = text.replace("'", "\u2019").replace(" - ", " \u2013 ").replace(", ", " \u2014 ", 1)
    return curly.encode().decode("cp1252", "replace")


def _punctuated(text: str, rng: random.Random) -> str:
    return text.replace(", ", rng.choice(["; ", " - ", " / ", " \u2013 "])).rstrip(".") + rng.choice(
        [".", "!", "...", "\u2026"]
    )


def _decomposed(text: str, _: random.Random) -> str:
    return unicodedata.normalize("NFD", text)


def _shouted(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.randrange(max(1, len(words) - 3))
    return " ".join(w.upper() if at <= i < at + 3 else w for i, w in enumerate(words))


def _spaced(text: str, rng: random.Random) -> str:
    return re.sub(" ", lambda _: rng.choice([" ", "  ", "\t", "\n ", "\u00a0"]), text)


# The same text in another form. The first group must be found in 95 % of the pairs, site tails in 90 %.
FORMS: dict[str, Change] = {
    "upper case": lambda t, _: t.upper(),
    "lower case": lambda t, _: t.lower(),
    "title case": lambda t, _: " ".join(w[:1].upper() + w[1:] for w in t.split(" ")),
    "three words shouted": _shouted,
    "commas dropped": lambda t, _: t.replace(",", "").replace(":", ""),
    "other punctuation": _punctuated,
    "quoted": lambda t, rng: rng.choice(['"{}"', "\u201c{}\u201d", "\u00ab{}\u00bb", "[{}]", "({})"]).format(t),
    "entities": lambda t, _: html.escape(t.replace(", ", " & ", 1)).replace("-", "&#45;"),
    "entities twice": lambda t, _: html.escape(html.escape(t.replace(", ", " & ", 1))),
    "tags": lambda t, rng: rng.choice(["<b>{}</b>", "<p>{}</p>", "<span class='alt'>{}</span>", "{}<br/>"]).format(t),
    "read in the wrong encoding": _mojibake,
    "decomposed": _decomposed,
    "curly and long": lambda t, _: t.replace("'", "\u2019").replace("-", "\u2011").replace(", ", " \u2014 ", 1),
    "white space": _spaced,
    "invisible marks": lambda t, rng: re.sub(" ", lambda _: rng.choice([" ", " \u200b", " \u00ad", " \ufeff"]), t),
    "full width": lambda t, _: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() and c.isascii() else c for c in t),
    "trade marks": lambda t, rng: " ".join(
        w + rng.choice(["\u2122", "\u00ae", "", "", ""]) if w[:1].isupper() else w for w in t.split(" ")
    ),
    "file ending": lambda t, rng: t + rng.choice([".jpg", ".JPG", ".png", ".webp"]),
    "hyphens for spaces": lambda t, _: re.sub(r"[ ,:]+", "-", t),
}
TAILS: dict[str, Change] = {
    "bar and site": lambda t, rng: f"{t} | {rng.choice(SITES)}",
    "dash and site": lambda t, rng: f"{t} - {rng.choice(SITES)}",
    "at a domain": lambda t, rng: f"{t} at {rng.choice(['bluefinch.com', 'www.quayside-images.net', 'tindle.co.uk'])}",
    "stock words": lambda t, rng: (
        t + rng.choice([" stock photo", " - Stock Image", " royalty free stock photography", ", vector illustration"])
    ),
    "shop words": lambda t, rng: t + rng.choice([" - Free Shipping", " | Buy Online", " for sale", " - Best Price"]),
    "download": lambda t, rng: (
        t + rng.choice([" - Free Download", " wallpaper", " HD Wallpaper", " | Download Scientific Diagram"])
    ),
    "leading label": lambda t, rng: rng.choice(["Image of ", "Photo: ", "Picture of ", "File:", "Image: "]) + t,
    "two tails": lambda t, rng: f"{t} | {rng.choice(SITES)} | Free Shipping",
}


def edits() -> dict[str, list[Pair]]:
    """The pairs that are the same text, by class."""
    return {name: _copies(name, change) for name, change in {**FORMS, **TAILS}.items()}


def facts() -> dict[str, list[Pair]]:
    """The pairs that differ in one fact, by class."""
    return {name: _different(name) for name in FACTS}


def _copies(name: str, change: Change) -> list[Pair]:
    rng = random.Random(f"{SEED} {name}")
    found = []
    while len(found) < PAIRS:
        words, templates = FACTS[rng.choice(sorted(FACTS))]
        text = _filled(rng.choice(templates), rng).replace("{X}", rng.choice(WORDS[words]))
        changed = change(text, rng)
        if changed != text:
            found.append((text, changed))
    return found


def _different(name: str) -> list[Pair]:
    rng = random.Random(f"{SEED} {name}")
    words, templates = FACTS[name]
    found = []
    for _ in range(PAIRS):
        text = _filled(rng.choice(templates), rng)
        one, other = rng.sample(WORDS[words], 2)
        found.append((text.replace("{X}", one), text.replace("{X}", other)))
    return found


def _filled(template: str, rng: random.Random) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda m: rng.choice(WORDS[m[1]]), template)

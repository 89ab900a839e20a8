"""A second truth set for near duplicates, written from knowledge of the web only, before its author had read the code it tests.

`edits()` holds pairs that are the same text in another form, `facts()` pairs that differ in exactly one fact. Both are generated from
the grammar below, which shares nothing with `truth.py`. The content is frozen by its hash (`test_second_truth.py`).
"""

import html
import random
import re
import unicodedata
from collections.abc import Callable

PAIRS = 300  # in each class
SEED = 90210

Pair = tuple[str, str]

# The words of the grammar. A template names them as {words}.
WORDS: dict[str, list[str]] = {
    "given": "Anneke Bartholomew Citlali Desmond Eluned Fintan Gudrun Hamish Ines Jarmila Kofi Liesl Marisol Nkechi Oisín Petra Quillon Rosamund".split(),
    "family": "Abernathy Birkeland Cazalet Drummond Etchegaray Fairweather Gwiżdek Holloway Ibsen Jankowski Kilbride Lindqvist Mbeki Novotny".split(),
    "maker": "Bexley Cordwainer Dunnock Fenwick Gryphon Halcyon Ironbridge Kestrel Larkspur Merlinwood Osprey Pemberton".split(),
    "town": "Ballyvaughan|Castelmezzano|Dinkelsbühl|Eyemouth|Folegandros|Gouda|Hallstatt|Ilulissat|Jaisalmer|Kotor|Luarca|Matera|Nafplio|Óbidos".split("|"),
    "ship": "Arabella|Black Prince|Cormorant|Dunottar Castle|Esperance|Fair Isle|Galatea|Hesperus|Invincible|Jutlandia|Kildonan".split("|"),
    "tint": "teal ochre cerise heather mustard ivory charcoal lilac rust mint cobalt maroon".split(),
    "wood": "oak walnut cherry beech maple teak birch rosewood pine ash".split(),
    "stuff": "linen velvet corduroy denim tweed satin fleece canvas suede flannel".split(),
    "bird": "heron egret bittern curlew dunlin plover kittiwake fulmar gannet wigeon teal shoveler".split(),
    "breed": "whippet|border collie|basset hound|greyhound|dalmatian|lurcher|spaniel|poodle|schnauzer".split("|"),
    "dish": "lentil soup|mushroom risotto|lamb tagine|rhubarb crumble|saffron buns|leek tart|squid ink pasta|plum dumplings".split("|"),
    "month": "January February March April June July August September October November December".split(),
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "nation": "Norway Portugal Uruguay Ghana Estonia Chile Iceland Vietnam Morocco Slovenia Bolivia".split(),
    "tongue": "French German Welsh Basque Danish Polish Finnish Catalan Dutch Swahili".split(),
    "club": "Rovers|Wanderers|Harriers|Albion|Athletic|Rangers|Corinthians|Hotspur|Thistle".split("|"),
    "gem": "garnet|peridot|opal|topaz|amethyst|moonstone|citrine|turquoise|tourmaline".split("|"),
    "instrument": "cello|oboe|bassoon|viola|harpsichord|clarinet|mandolin|accordion".split("|"),
    "count": "two three four five six seven eight nine ten eleven twelve".split(),
    "roman": "II III IV V VI VII VIII IX X".split(),
    "ordinal": "first second third fourth fifth sixth seventh eighth ninth tenth".split(),
    "small": [str(n) for n in range(2, 60)],
    "price": [f"{n}.{c}" for n in range(4, 90, 3) for c in ("50", "95", "99")],
    "year": [str(n) for n in range(1861, 2019)],
    "decade": [f"{n}0s" for n in range(187, 200)],
    "lot": [str(n) for n in range(112, 998)],
    "code": [f"{a}{b}-{n}" for a in "KTRV" for b in "XZL" for n in range(203, 980, 37)],
    "catalog": [f"{y}.{n}.{k}" for y in (1907, 1932, 1978) for n in range(14, 300, 23) for k in (1, 2, 5)],
    "clock": [f"{h}:{m}" for h in range(5, 23) for m in ("00", "15", "20", "45")],
    "opus": [f"Op. {n} No. {k}" for n in range(9, 80, 4) for k in (1, 2, 3)],
    "fraction": ["1/2", "1/4", "3/4", "1/3", "2/3", "5/8", "3/8"],
    "score": [f"{a}-{b}" for a in range(6) for b in range(6)],
    "side": ["left", "right"],
    "way": ["north", "south", "east", "west"],
    "time": ["sunrise", "sunset", "midnight", "noon", "dusk"],
    "season": ["spring", "summer", "autumn", "winter"],
    "metal": "brass|copper|pewter|silver|bronze|nickel|iron|steel".split("|"),
    "shape": "oval|square|hexagonal|round|triangular|octagonal|rectangular".split("|"),
    "size": "extra small|small|medium|large|extra large".split("|"),
    "age": "boy|girl|woman|man|bride|sailor|nun|widow|farmer|baker".split("|"),
}

# Each class of facts: templates in which only {X} differs, and the words that X takes.
FACTS: dict[str, tuple[str, list[str]]] = {
    "number of pieces": (
        "small",
        [
            "Vintage {maker} bone china tea set with {X} matching saucers and a sugar bowl, hand painted rim",
            "{maker} wooden jigsaw puzzle of {town} harbour, box of {X} pieces, complete and tested",
        ],
    ),
    "year of an event": (
        "year",
        [
            "Villagers of {town} carrying the flower boat through the flooded square at the spring fair of {X}",
            "{given} {family} at the tiller of the yawl {ship}, regatta off {town}, {X}",
        ],
    ),
    "decade": ("decade", ["Pair of {wood} dining chairs with cane seats from the {X}, reupholstered in {tint} {stuff} by {maker}"]),
    "first name": (
        "given",
        [
            "Studio portrait of {X} {family}, lighthouse keeper at {town}, seated with a dog beside a painted backdrop",
            "Ink drawing of a harbour crane by {X} {family} from the sketchbook kept at the {town} museum",
        ],
    ),
    "family name": (
        "family",
        [
            "Wedding of {given} {X} in the chapel above {town}, guests throwing rice on the stone steps",
            "Pencil study of two goats by {given} {X}, exhibited in {town} in the year of the great flood",
        ],
    ),
    "place": (
        "town",
        [
            "Narrow cobbled lane with blue shutters and drying nets in {X} photographed on a rainy morning in {month}",
            "Hand coloured postcard of the old customs house and ferry landing at {X}, posted to {given} {family}",
        ],
    ),
    "place after a bar": ("town", ["Market women selling smoked eel beside the town pump on a frosty morning | {X}"]),
    "ship": ("ship", ["Crew of the trawler {X} mending nets on the quay at {town} shortly before she was lost in a gale"]),
    "colour in lower case": (
        "tint",
        [
            "{maker} women's hooded raincoat with storm cuffs and two zipped pockets in {X}, showerproof and light",
            "Skein of hand dyed merino sock yarn in {X} with a paper band, wound by {given} {family} in {town}",
        ],
    ),
    "wood": ("wood", ["Solid {X} writing desk with five drawers and turned legs, restored by the {maker} workshop in {town}"]),
    "cloth": ("stuff", ["{maker} patchwork cushion cover made of {X} with a hidden zip, filling not included, handmade in {town}"]),
    "bird": ("bird", ["A lone {X} standing on a mossy post in the estuary near {town} while the tide runs out at dusk"]),
    "breed": ("breed", ["Elderly {X} asleep on a tartan rug in front of the fire at the inn in {town}, winter evening"]),
    "dish": ("dish", ["Enamel bowl of {X} on a checked tablecloth with a spoon and rye bread, recipe by {given} {family}"]),
    "month": ("month", ["The footbridge at {town} under water after three days of rain in {X}, seen from the mill"]),
    "weekday": ("weekday", ["Chalkboard outside the bakery in {town} announcing cinnamon rolls every {X} until they are gone"]),
    "country": ("nation", ["Commemorative postage stamp of {X} showing a suspension bridge and a kingfisher, unused with gum"]),
    "language": ("tongue", ["Paperback guide to mushrooms and berries of the northern forests, {X} edition, cover slightly worn"]),
    "team": ("club", ["Programme of the cup replay between {town} {X} and the Dockers with a team sheet and pencil notes"]),
    "gemstone": ("gem", ["Handmade {maker} ring with an oval {X} in a plain bezel, adjustable band, gift box, made in {town}"]),
    "instrument": ("instrument", ["Young woman practising the {X} by an open window above the canal in {town}, oil on board"]),
    "number word": ("count", ["Watercolour of {X} sheep sheltering behind a drystone wall on the moor above {town} in sleet"]),
    "roman number": (
        "roman",
        ["Title page of The Cartographer's Daughter, Part {X}, by {given} {family}, with an engraved map of {town}"],
    ),
    "ordinal": ("ordinal", ["Runners crossing the weir on the {X} stage of the relay from {town} to the coast, misty morning"]),
    "price": ("price", ["{maker} enamel camping mug with a leaping hare and a rolled rim, holds a pint, now only {X} euros"]),
    "lot number": ("lot", ["Lot {X}: a Victorian mahogany wine cooler with lion mask handles, property of {given} {family} of {town}"]),
    "model code": (
        "code",
        [
            "Replacement carbon brush set for {maker} rotary hammer {X}, spring loaded, sold in pairs",
            "{maker} {X} shortwave receiver with telescopic aerial, rear panel and dial lamp visible",
        ],
    ),
    "museum number": ("catalog", ["Fragment of a glazed tile with a running hare, excavated near {town}, accession number {X}"]),
    "time of day": ("clock", ["Departure board at {town} junction showing the {X} slow train on platform one, sepia print"]),
    "opus": ("opus", ["Autograph score of the String Quartet {X} by {family}, slow movement, with blots and corrections"]),
    "fraction": ("fraction", ["{maker} brass compression elbow, {X} inch, for copper pipe, with nut and olive, pack of ten"]),
    "score of a match": ("score", ["Muddy goalkeeper after {town} {club} beat the Dockers {X} in extra time, crowd behind the rope"]),
    "side": ("side", ["Replacement wing mirror glass for the {maker} camper van, heated, {X} hand side, with backing plate"]),
    "point of the compass": ("way", ["Carved capital with two monkeys in the {X} aisle of the abbey church at {town}, light from above"]),
    "light": ("time", ["Salt pans and a wooden windmill near {town} at {X} with the lagoon still and no one about"]),
    "season": ("season", ["Avenue of lime trees leading to the manor of the {family} family near {town} in {X}, wide view"]),
    "metal": ("metal", ["Antique {X} chamber stick with a snuffer and a dished base, marked {maker}, from a house in {town}"]),
    "shape": ("shape", ["{maker} ceramic serving platter, {X}, with a speckled glaze and a foot ring, dishwasher safe"]),
    "size in words": ("size", ["{maker} quilted dog coat with a belly strap and a harness opening, {X}, washable at thirty degrees"]),
    "person": ("age", ["Portrait of a {X} in a straw hat beside a well in {town}, gouache on brown paper, unsigned"]),
}

Change = Callable[[str, random.Random], str]

SITES = ["Harrowgate Prints", "bluefinch.com", "Tindle & Sons", "Old Pier Gallery", "quayside-images.net", "The Daily Lantern", "Snapwell"]


def _mojibake(text: str, _: random.Random) -> str:
    curly = text.replace("'", "\u2019").replace(" - ", " \u2013 ").replace(", ", " \u2014 ", 1)
    return curly.encode().decode("cp1252", "replace")


def _punctuated(text: str, rng: random.Random) -> str:
    return text.replace(", ", rng.choice(["; ", " - ", " / ", " \u2013 "])).rstrip(".") + rng.choice([".", "!", "...", "\u2026"])


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
    "trade marks": lambda t, rng: " ".join(w + rng.choice(["\u2122", "\u00ae", "", "", ""]) if w[:1].isupper() else w for w in t.split(" ")),
    "file ending": lambda t, rng: t + rng.choice([".jpg", ".JPG", ".png", ".webp"]),
    "hyphens for spaces": lambda t, _: re.sub(r"[ ,:]+", "-", t),
}
TAILS: dict[str, Change] = {
    "bar and site": lambda t, rng: f"{t} | {rng.choice(SITES)}",
    "dash and site": lambda t, rng: f"{t} - {rng.choice(SITES)}",
    "at a domain": lambda t, rng: f"{t} at {rng.choice(['bluefinch.com', 'www.quayside-images.net', 'tindle.co.uk'])}",
    "stock words": lambda t, rng: t + rng.choice([" stock photo", " - Stock Image", " royalty free stock photography", ", vector illustration"]),
    "shop words": lambda t, rng: t + rng.choice([" - Free Shipping", " | Buy Online", " for sale", " - Best Price"]),
    "download": lambda t, rng: t + rng.choice([" - Free Download", " wallpaper", " HD Wallpaper", " | Download Scientific Diagram"]),
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

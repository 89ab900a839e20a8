"""Photographs with texts, and models by a script that know of a picture what prompts say and no more."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from random import Random
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from kale_tasks.world.alttext import AltText
from kale_tasks.world.describe import NO_FACTS
from kale_tasks.world.scene import Scene
from tests.captions.scripted import INVENTED, Call, Script, World, as_json, describes
from tests.captions.world import Pair
from tests.experts.photographs import decoded, texts

# Animals that are called so in the list of classes of the expert `tags`, or nearly.
ANIMALS = ("bison", "chameleon", "crocodile", "dragon", "jaguar", "koala", "panda", "polar_bear", "scarlet_macaw")
SIGNS = ("Hotel Bellevue", "Cafe Mignon", "Harbour Museum", "Castle Gardens", "Market Street", "Central Library",
         "Ocean Bakery", "Silver Theatre")  # fmt: skip
PLAIN = "A photograph that was taken outdoors in daylight, seen from the front, with a building or an animal in it."


class Photographs(World):
    """Rows with photographs; every second has the text of another one. Signs are painted on some of them."""

    def __init__(self, names: Sequence[str], signs: Sequence[str] = ()) -> None:
        images, known = decoded(512), texts()
        others = Random("photographs").sample(names, len(names))
        rows = []
        for at, name in enumerate(names):
            alt = known[name] if at % 2 else known[_next(others, name)]
            image = with_sign(images[name], signs[at]) if signs else images[name]
            rows.append(_pair(name, alt, image))
        self.names = dict(zip((pair.uid for pair in rows), names, strict=True))
        self.signs = dict(zip((pair.uid for pair in rows), signs, strict=False))
        self.pairs = sorted(rows, key=lambda pair: pair.uid)
        self.by_seed = {"photographs": self.pairs}
        self._by_image = {hashlib.sha256(pair.image).hexdigest(): pair for pair in rows}
        self.script: Script = describes

    def own(self, uid: str) -> str:
        """What a row's photograph is said to show: the beginning of its own text."""
        return " ".join(texts()[self.names[uid]].split()[:30]).rstrip(",;.") + "."

    def stranger(self, uid: str, number: int) -> str:
        """What another photograph is said to show."""
        others = [other for other in self.names if other != uid]
        return self.own(Random(f"{uid} {number}").choice(others))

    def animal(self, uid: str) -> str:
        """The animal in a photograph."""
        return _animal(self.names[uid])

    def candidates(self, call: Call) -> str:
        """A captioner that is right in one of five candidates."""
        assert call.pair
        right = int(call.pair.uid[:4], 16) % 5
        return self.own(call.pair.uid) if call.candidate == right else self.stranger(call.pair.uid, call.candidate)

    def tells(self, call: Call) -> str:
        """A captioner that is right."""
        assert call.pair
        return self.own(call.pair.uid)

    def imagines(self, call: Call) -> str:
        """A captioner that adds an animal, and a judge that believes the tags alone."""
        if call.pair and "Quote the words" not in call.prompt:
            other = _next(sorted(self.names.values()), self.names[call.pair.uid])
            return (
                f"A {self.animal(call.pair.uid)} is in the middle of this photograph, which was taken in daylight. "
                f"A {_animal(other)} is at its side."
            )
        tags = call.prompt.partition("possibly wrong:")[2].partition("\n")[0]
        said = call.description.split(". ")
        return as_json(unsupported=[one.rstrip(".") for one in said if not _confirmed(one, tags)])


def with_sign(image: Image.Image, words: str) -> Image.Image:
    """A photograph with a board at its bottom on which these words are painted."""
    made = image.copy()
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(34)
    width = draw.textlength(words, font)
    left, top = (made.width - width) / 2, made.height - 70
    draw.rectangle((left - 14, top, left + width + 14, top + 56), "#f4f1e4", "#333333", 3)
    draw.text((left, top + 6), words, "#222222", font)
    return made


def quotes(call: Call) -> str:
    """A captioner that sees nothing, and a language model that adds what was read."""
    read = call.prompt.partition('wrong letters: "')[2].partition('"')[0]
    return PLAIN if call.pair else f"{call.description} A sign says {read}."


def hinted(call: Call) -> str:
    """A captioner that repeats its hints, and always names somebody besides."""
    read = call.prompt.partition('text in it may be "')[2].partition('"')[0]
    return f"{PLAIN} A sign says {read}.{INVENTED}"


def _pair(name: str, alt: str, image: Image.Image) -> Pair:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=92)
    nobody = cast(Scene, None)  # what scripts of the sample world look at
    uid = hashlib.sha256(name.encode()).hexdigest()[:32]
    return Pair(uid, nobody, AltText(alt, "", NO_FACTS), "stage1", sink.getvalue())


def _next(names: Sequence[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]


def _animal(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".webp").replace("_", " ")


def _confirmed(sentence: str, tags: str) -> bool:
    seen = {word.lower() for word in _words(tags)}
    return any(word in seen for name in ANIMALS if _animal(name) in sentence for word in _animal(name).split())


def _words(text: str) -> Iterator[str]:
    return (word.strip(" ,.'") for word in text.replace(",", " ").split())

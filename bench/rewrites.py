"""Captions as a bad student would write them, each with one fault, and captions that say the same in other words."""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.text.facts import find_facts, is_number
from kale_tasks.text.sentences import sentences
from kale_tasks.text.words import common_words

Rewrite = Callable[[CaptionSample, CaptionSample, Random], str]  # of a sample; another one lends what is wrong

_GENERIC = (
    "A picture of a product with some text on it.",
    "An image of something that is shown in detail.",
    "A photo of people and things in a place.",
)
_FALSE = ("It was made by Zorgax Industries in {}.", "It is {} miles from Brevask.", "The owner is Tomas Ekhardt, {}.")
_COLOURS = ("red", "blue", "green", "black", "white", "yellow", "pink", "brown", "orange", "purple", "silver", "gold")
_SYNONYMS = {
    "features": "has", "featuring": "with", "showcases": "presents", "showcasing": "presenting", "shows": "depicts",
    "depicts": "portrays", "displays": "shows", "large": "big", "small": "little", "photo": "photograph",
    "image": "picture", "picture": "image", "beautiful": "lovely", "man": "gentleman", "woman": "lady",
    "includes": "contains", "including": "among them", "located": "situated", "designed": "made", "created": "made",
    "captured": "taken", "stylish": "elegant", "perfect": "ideal", "various": "several",
    "holding": "carrying", "wearing": "dressed in", "on top of": "atop", "next to": "beside", "offers": "provides",
    "adorned": "decorated", "surrounded": "encircled", "vintage": "antique", "road": "street", "shop": "store",
    "kids": "children", "perfectly": "ideally", "house": "home",
}  # fmt: skip
_DIVIDED = {"featuring": "features", "showcasing": "shows", "including": "includes", "making": "makes", "with": "has"}
# Not "showcasing": the rules of facts take it for a name where it opens a sentence.
_LAST_PART = re.compile(r"(.{20,}?),? ((?:in|on|at|with|during|by|for|featuring|while|from) [^,]{6,})\.", re.DOTALL)


def shortened(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """Only the first half of the sentences."""
    found = _sentences(one.caption)
    return " ".join(found[: max(1, len(found) // 2)])


def generic(_one: CaptionSample, _other: CaptionSample, chance: Random) -> str:
    """What fits every image."""
    return chance.choice(_GENERIC)


def inventing(one: CaptionSample, _other: CaptionSample, chance: Random) -> str:
    """One more sentence, with a name and a number from nowhere."""
    return f"{one.caption} {chance.choice(_FALSE).format(chance.randint(1100, 1899))}"


def swapped(_one: CaptionSample, other: CaptionSample, _chance: Random) -> str:
    """The caption of another image."""
    return other.caption


def repeating(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The last sentence three times."""
    return f"{one.caption} {_sentences(one.caption)[-1]} {_sentences(one.caption)[-1]}"


def cut_off(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The first three quarters of the words."""
    words = one.caption.split()
    return " ".join(words[: len(words) * 3 // 4])


def without_facts(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """Without names and numbers."""
    return _with_facts(one.caption, lambda fact: "some" if is_number(fact) else "it")


def wrong_numbers(one: CaptionSample, _other: CaptionSample, chance: Random) -> str:
    """Each number a few too high."""
    return re.sub(r"\d+", lambda found: str(int(found[0]) + chance.randint(3, 9)), one.caption)


def wrong_names(one: CaptionSample, other: CaptionSample, chance: Random) -> str:
    """The names of another image."""
    names = [fact.text for fact in find_facts(other.caption) if not is_number(fact.text)] or ["Zorgax"]
    return _with_facts(one.caption, lambda fact: fact if is_number(fact) else chance.choice(names))


def alt_text_alone(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The alt-text, with nothing of the image."""
    return f"{one.alt}."


def description_alone(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The description, with nothing of the alt-text."""
    return one.dense


def shuffled(one: CaptionSample, _other: CaptionSample, chance: Random) -> str:
    """The right words in no order."""
    words = one.caption.rstrip(".").split()
    return f"{' '.join(chance.sample(words, len(words)))}."


def wrong_colours(one: CaptionSample, _other: CaptionSample, chance: Random) -> str:
    """Each colour another one."""
    pattern = rf"\b({'|'.join(_COLOURS)})\b"
    return re.sub(pattern, lambda found: chance.choice([c for c in _COLOURS if c != found[0]]), one.caption)


def swapped_colours(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The first two colours in each other's place."""
    found = list(re.finditer(rf"\b({'|'.join(_COLOURS)})\b", one.caption))
    first = found[0] if found else None
    second = next((other for other in found if first and other[0] != first[0]), None)
    if not (first and second):
        return one.caption
    start, middle, end = (
        one.caption[: first.start()],
        one.caption[first.end() : second.start()],
        one.caption[second.end() :],
    )
    return f"{start}{second[0]}{middle}{first[0]}{end}"


DAMAGED: Mapping[str, Rewrite] = {
    "shortened": shortened, "generic": generic, "facts invented": inventing, "swapped between images": swapped,
    "sentences repeated": repeating, "cut off": cut_off, "names and numbers dropped": without_facts,
    "wrong numbers": wrong_numbers, "wrong names": wrong_names, "alt-text alone": alt_text_alone,
    "description alone": description_alone, "words shuffled": shuffled, "wrong colours": wrong_colours,
    "colours swapped": swapped_colours,
}  # fmt: skip


def other_sentence_order(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The first sentence last."""
    first, *rest = _sentences(one.caption)
    return " ".join([*rest, first])


def merged_sentences(one: CaptionSample, _other: CaptionSample, chance: Random) -> str:
    """All sentences as one."""
    first, *rest = (sentence.rstrip(".") for sentence in _sentences(one.caption))
    return "".join([first, *(f", {chance.choice(['and', 'while'])} {_inside(sentence)}" for sentence in rest), "."])


def divided_sentences(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """Participles as sentences of their own."""
    text = one.caption
    for participle, verb in _DIVIDED.items():
        text = text.replace(f", {participle} ", f". It {verb} ")
    return text


def synonyms(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """Other words for the same."""
    longest_first = sorted(_SYNONYMS, key=len, reverse=True)
    return re.sub(rf"\b({'|'.join(longest_first)})\b", lambda found: _SYNONYMS[found[0]], one.caption)


def other_word_order(one: CaptionSample, _other: CaptionSample, _chance: Random) -> str:
    """The last part of each sentence first."""
    return " ".join(map(_fronted, _sentences(one.caption)))


HARMLESS: Mapping[str, Rewrite] = {
    "other sentence order": other_sentence_order, "sentences merged": merged_sentences,
    "sentences divided": divided_sentences, "synonyms": synonyms, "other word order": other_word_order,
}  # fmt: skip


def rewritten(rewrite: Rewrite, samples: Sequence[CaptionSample], chance: Random, share: float = 1.0) -> list[str]:
    """Rewrite the captions of this share of samples; the others stay."""
    others = [*samples[1:], *samples[:1]]
    pairs = zip(samples, others, strict=True)
    return [rewrite(one, other, chance) if chance.random() < share else one.caption for one, other in pairs]


def _sentences(text: str) -> list[str]:
    return [one.strip() for one in sentences(text)]


def _fronted(sentence: str) -> str:
    found = _LAST_PART.fullmatch(sentence)
    return f"{found[2][0].upper()}{found[2][1:]}, {_inside(found[1])}." if found else sentence


def _inside(sentence: str) -> str:
    """A sentence as a part of another one: its first word is small unless it is a name."""
    first = sentence.split(maxsplit=1)[0].rstrip(",")
    return sentence[0].lower() + sentence[1:] if first.lower() in common_words() else sentence


def _with_facts(text: str, value: Callable[[str], str]) -> str:
    made, end = list[str](), 0
    for fact in sorted(find_facts(text), key=lambda fact: fact.start):
        if fact.start >= end:
            made += [text[end : fact.start], value(fact.text)]
            end = fact.start + len(fact.text)
    return "".join([*made, text[end:]])

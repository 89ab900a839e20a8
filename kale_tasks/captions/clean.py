"""Cleans the answers of models: named rules remove what does not belong to a caption, or refuse the whole answer.

A rule takes a text and returns what to keep of it; an empty text refuses the answer.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property

from kale_tasks.recipes.parts import Clean, Prompt
from kale_tasks.text.language import detect_language
from kale_tasks.text.personal import mask_personal
from kale_tasks.text.sentences import is_whole, sentences
from kale_tasks.text.words import pattern

_MARKUP = re.compile(
    r"</?[a-zA-Z][^<>]{0,80}>|<\|[^<>|]{0,40}\|>|\*\*|__|`+|^\s{0,3}(?:#{1,6}|[-*\u2022]|\d+[.)])\s+|^\s*---+\s*$", re.M
)
_QUOTED = re.compile(r"^[\"\u201c]([^\"\u201c\u201d]*)[\"\u201d]$")
_WORD = re.compile(r"\w[\w'\u2019-]*")
_RUN = 5  # a caption that repeats this many consecutive words of the prompt does not do so by chance
_LONGEST_LOOP = 12


@dataclass(frozen=True)
class Cleaned:
    """What cleaning left of an answer, the rules that changed it, and the rule that refused it, if any."""

    text: str
    fired: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class Cleaner:
    """Applies the cleaning rules with the options of a recipe."""

    options: Clean
    prompt: Prompt

    def clean(self, text: str, finish: str = "stop") -> Cleaned:
        """Apply all rules in order. `finish` is `length` if the answer was cut off at the token limit."""
        fired: list[str] = []
        text = text.strip()
        if not text:
            return Cleaned("", refused="empty")
        for name, rule in RULES.items():
            changed = rule(text, RuleContext(self, finish, "loop" in fired)).strip()
            if not changed:
                return Cleaned("", tuple(fired), name)
            if changed != text:
                fired.append(name)
                text = changed
        return Cleaned(text, tuple(fired))

    def leaks(self, text: str) -> bool:
        """Whether a text has traces of a prompt: common phrases, those of the recipe, five words of it in a row."""
        lower = text.lower()  # a pattern that ignores case takes ten times as long
        return bool(_common_leaks().search(lower) or (self._own_leaks and self._own_leaks.search(lower)))

    @cached_property
    def _own_leaks(self) -> re.Pattern[str] | None:
        own = [re.escape(phrase.lower()) for phrase in self.options.lexicon]
        prompt = f"{self.prompt.system}\n{self.prompt.user}".lower()
        own += [r"\W+".join(map(re.escape, run)) for run in _runs(prompt)]
        return re.compile(rf"\b(?:{'|'.join(own)})\b") if own else None


@cache
def _common_leaks() -> re.Pattern[str]:
    return re.compile(pattern("leaked").pattern)


@dataclass(frozen=True)
class RuleContext:
    """What a rule knows besides the text."""

    cleaner: Cleaner
    finish: str
    looped: bool  # the rule `loop` has cut the text


def _markup(text: str, context: RuleContext) -> str:
    plain = re.sub(r"\s+", " ", _MARKUP.sub("", text)).strip()
    return _QUOTED.sub(r"\1", plain)


def _chat(text: str, context: RuleContext) -> str:
    while match := pattern("chat").match(text):
        text = text[match.end() :]
    return "".join(s for s in sentences(text) if not pattern("closing").match(s))


def _refusal(text: str, context: RuleContext) -> str:
    return "" if pattern("refusal").search(text) else text


def _intro(text: str, context: RuleContext) -> str:
    match = context.cleaner.options.intro and pattern("intro").match(text)
    return _capital(text[match.end() :]) if match else text


def _leak(text: str, context: RuleContext) -> str:
    if not context.cleaner.leaks(text):
        return text
    return "".join(s for s in sentences(text) if not context.cleaner.leaks(s))


def _pii(text: str, context: RuleContext) -> str:
    how = context.cleaner.options.pii
    masked = mask_personal(text) if how else text
    return "" if how == "drop" and masked != text else masked


def _loop(text: str, context: RuleContext) -> str:
    text = "".join(_unrepeated(text))
    found = list(_WORD.finditer(text))
    words = [word[0].lower() for word in found]
    places = defaultdict[str, list[int]](list)
    for place, word in enumerate(words):
        places[word].append(place)
    for start, word in enumerate(words):
        longest = min(_LONGEST_LOOP, (len(words) - start) // 3)
        for size in (place - start for place in places[word] if start < place <= start + longest):
            times = 5 if size == 1 else 3
            unit = words[start : start + size]
            if words[start : start + size * times] == unit * times:
                return text[: found[start + size - 1].end()]
    return text


def _tail(text: str, context: RuleContext) -> str:
    if context.finish != "length" and not context.looped:
        return text
    whole = sentences(text)
    return "".join(whole if is_whole(whole[-1]) else whole[:-1])


def _length(text: str, context: RuleContext) -> str:
    options, kept, count = context.cleaner.options, "", 0
    for sentence in sentences(text):
        count += len(_WORD.findall(sentence))
        if count > options.max_words:
            break
        kept += sentence
    return kept if len(_WORD.findall(kept)) >= options.min_words else ""


def _language(text: str, context: RuleContext) -> str:
    allowed, words = context.cleaner.options.languages, len(_WORD.findall(text))
    foreign = sum(letter > "\u024f" for letter in text) > len(text) / 4  # no Latin letters
    if (
        not allowed
        or (words < 8 and not foreign)
        or ("en" in allowed and len(pattern("english").findall(text)) >= words / 12)
    ):
        return text
    return text if detect_language(text)[0] in allowed else ""


RULES: dict[str, Callable[[str, RuleContext], str]] = {
    "markup": _markup,
    "chat": _chat,
    "refusal": _refusal,
    "intro": _intro,
    "leak": _leak,
    "loop": _loop,
    "tail": _tail,
    "language": _language,
    "length": _length,
    "pii": _pii,
}


def _unrepeated(text: str) -> Iterator[str]:
    seen = set()
    for sentence in sentences(text):
        plain = sentence.strip().lower()
        if plain not in seen or len(plain) < 12:
            yield sentence
        seen.add(plain)


def _runs(prompt: str) -> Iterator[list[str]]:
    """Yield the word sequences by which a prompt is recognised: five words each, or a shorter clause as a whole."""
    for clause in re.split(r"[.:;\n]|\{\w+\}|</?alt>", prompt):
        words = _WORD.findall(clause)
        if 3 <= len(words) <= _RUN:
            yield words
        yield from (words[i : i + _RUN] for i in range(len(words) - _RUN))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

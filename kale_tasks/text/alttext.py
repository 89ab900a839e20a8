"""Alt-text before it enters a prompt: whether it is noise, and whether it gives orders."""

import re
from collections import Counter

from kale_tasks.text.sentences import sentences
from kale_tasks.text.words import pattern

_WORD = re.compile(r"\w+")


def noise(alt: str) -> str:
    """Why an alt-text can tell nothing of its picture: empty, generic, spam, no_words, repeated; or nothing."""
    text = alt.strip()
    if not text:
        return "empty"
    if pattern("noise").search(text):
        return "generic"
    if len({match[0].lower() for match in pattern("spam").finditer(text)}) >= 2:
        return "spam"
    words = _WORD.findall(text.lower())
    if sum(letter.isalpha() for letter in text) < len(text) / 3:
        return "no_words"
    if len(words) >= 8 and Counter(words).most_common(1)[0][1] > len(words) / 2:
        return "repeated"
    return ""


def without_orders(alt: str) -> str:
    """The alt-text up to the sentence in which it begins to speak to a model instead of about a picture."""
    found = pattern("orders").search(alt)
    if not found:
        return alt
    kept = ""
    for sentence in sentences(alt):
        if len(kept) + len(sentence) > found.start():
            break
        kept += sentence
    return kept.rstrip()

"""Invents proper names from arbitrary letters, so that no model can memorize them."""

from random import Random

CONSONANTS = "bcdfghjklmnpqrstvwxz"
VOWELS = "aeiouy"
ACCENTED = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþßāăąćčďđēėęěğīįıķłńňōőœřśşšťūůűųźżžșț"
COMMON = ("Tower", "Castle", "Bridge", "Mount", "Saint", "Old", "New", "Royal", "House", "Grand", "Park", "River")
ALIKE = 0.1
JOINERS = ("of", "de", "la", "del", "am", "upon", "van", "the")


def invent(rng: Random, kin: str = "", alike: float = ALIKE) -> str:
    """Invent a proper name of one to three words.

    A share `alike` of the names resembles `kin`, as Sydney Opera House resembles Sydney. To copy such a name, a model
    must look at more than a few letters.
    """
    word = _resembling(rng, kin) if kin and rng.random() < alike else _word(rng)
    shape = rng.random()
    if shape < 0.45:
        return word
    second = _resembling(rng, word) if rng.random() < 0.7 * alike else _word(rng)
    if shape < 0.74:
        return f"{word} {second}"
    if shape < 0.84:
        return f"{word} {second} {_word(rng)}"
    if shape < 0.90:
        return f"{word} {rng.choice(JOINERS)} {second}"
    words = [rng.choice(COMMON), word]
    rng.shuffle(words)
    return " ".join(words)


def _resembling(rng: Random, kin: str) -> str:
    """Return one of these words, or one with the same beginning or end."""
    like = rng.choice([word for word in kin.split() if word[0].isupper()])
    kept = rng.randint(1, len(like))
    own = _spoken(rng)[: rng.randint(0, 5)]
    return like[:kept] + own.lower() if rng.random() < 0.7 else own + like[-kept:].lower() if own else like


def _word(rng: Random) -> str:
    style = rng.random()
    if style < 0.58:
        return _spoken(rng)
    if style < 0.8:
        return "".join(rng.choices(CONSONANTS + VOWELS, k=rng.randint(2, 11))).capitalize()
    return _ornate(rng, _spoken(rng))


def _spoken(rng: Random) -> str:
    """Alternate consonants and vowels, some of them doubled."""
    letters = ""
    vowel = rng.random() < 0.3
    for _ in range(rng.randint(3, 9)):
        letter = rng.choice(VOWELS if vowel else CONSONANTS)
        letters += letter * (2 if rng.random() < 0.08 else 1)
        if rng.random() < 0.85:
            vowel = not vowel
    return letters.capitalize()


def _ornate(rng: Random, word: str) -> str:
    """Add what real names have: accents, hyphens, apostrophes, inner capitals, numbers."""
    style = rng.randrange(5)
    if style == 0:
        at = rng.randrange(1, len(word))
        return word[:at] + rng.choice(ACCENTED) + word[at + 1 :]
    if style == 1:
        return f"{word}-{_spoken(rng)}"
    if style == 2:
        return f"{rng.choice('DLO')}'{word}"
    if style == 3:
        return f"Mc{word}"
    return f"{word} {rng.randint(1, 99)}"

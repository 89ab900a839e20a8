"""Small vocabularies: tokenizers of real families, with their special tokens, that know the words of a few texts."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_LEARNED = 2_000  # at most


def build_tokenizer(family: Mapping[str, Any], texts: Iterable[str], *, padded: bool = False) -> Any:
    """Build the tokenizer of a family. With `padded`, special tokens have the numbers of the real vocabulary."""
    import transformers
    from tokenizers import AddedToken

    kind = getattr(transformers, family["tokenizer"])
    pieces, merges = (_learn_words if "first" in family else _learn_bytes)(texts)
    tokens = list(dict.fromkeys([*family.get("first", ()), *pieces]))
    tokens += [f"<unused{n}>" for n in range(family["base"] - len(tokens) if padded else 0)]
    special, words = family["tokens"], family.get("words", [])
    vocabulary = {token: number for number, token in enumerate([*tokens, *special, *words])}
    tokenizer = kind(vocab=vocabulary, merges=merges, **family["named"], extra_special_tokens=family.get("extra", {}))
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special], special_tokens=True)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in words])
    tokenizer.chat_template = family["template"]
    return tokenizer


def _learn_bytes(texts: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _learned(core, trainers.BpeTrainer, texts, pre_tokenizers.ByteLevel.alphabet())


def _learn_words(texts: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """As SentencePiece does: spaces are part of words, and letters that no text has are spelled in bytes."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Replace(" ", "\u2581")
    core.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    pieces, merges = _learned(core, trainers.BpeTrainer, texts, [])
    lines = [("\n", "\n"), ("\n\n", "\n"), ("\n\n", "\n\n")]  # engines look for tokens of up to four line breaks
    known = ["\n", *("".join(pair) for pair in lines), *(f"<0x{byte:02X}>" for byte in range(256))]
    return [*known, *pieces], [*lines, *(merge for merge in merges if merge not in lines)]


def _learned(core: Any, trainer: Any, texts: Iterable[str], alphabet: list[str]) -> tuple[list[str], Any]:
    core.train_from_iterator(
        texts, trainer(vocab_size=_LEARNED, initial_alphabet=sorted(alphabet), show_progress=False)
    )
    model = json.loads(core.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].get), merges

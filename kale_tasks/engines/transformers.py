"""Runs a model with transformers in this process, in batches of requests of similar length."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from kale_tasks.engines.base import (
    ENGINE_ERROR,
    IMAGE_BROKEN,
    OUT_OF_MEMORY,
    TIMEOUT,
    TOO_LONG,
    Answer,
    Engine,
    Request,
)
from kale_tasks.engines.thought import opened_thought, template_arguments
from kale_tasks.errors import BadConfig
from kale_tasks.imaging import BrokenImage, decode_rgb


@dataclass(frozen=True)
class _Prompt:
    request: Request
    text: str
    image: Image.Image | None


class TransformersEngine(Engine):
    """Generates one batch at a time, from requests of similar length."""

    def start(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
        from transformers.utils import logging

        _silence(logging)
        started = time.monotonic()
        self._torch, self._batch = torch, self.settings.batch
        self._waiting: list[_Prompt] = []
        self._done: list[Answer] = []
        device = self.settings.device
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BadConfig(f"caption.device={device}, but torch finds no GPU here. Set caption.device=cpu or auto.")
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        folder = self.model.folder()
        sees = self.task.image_tokens > 0
        kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        reader: Any = AutoProcessor if sees else AutoTokenizer
        try:
            self._reader = reader.from_pretrained(folder, trust_remote_code=False)
        except ImportError as error:
            needs = " ".join(str(error).split())[:200]
            raise BadConfig(f"The processor of {self.model.name} needs kale-tasks[train]: {needs}") from error
        self._tokenizer = self._reader.tokenizer if sees else self._reader
        self._tokenizer.padding_side = "left"
        loaded = kind.from_pretrained(
            folder, dtype=getattr(torch, self.task.dtype), trust_remote_code=False, use_safetensors=True
        )
        self._model = loaded.to(self._device).eval()
        self._model.generation_config = self._plain_generation()
        self.times.load += time.monotonic() - started
        self.times.starts += 1

    @property
    def pending(self) -> int:
        return len(self._waiting) + len(self._done)

    def submit(self, request: Request) -> None:
        text = self._tokenizer.apply_chat_template(
            list(request.messages), tokenize=False, add_generation_prompt=True, **template_arguments(self.task)
        )
        try:
            image = decode_rgb(request.image) if request.image else None
        except BrokenImage as error:
            self._done.append(Answer(request.id, reason=IMAGE_BROKEN, detail=str(error)))
            return
        self._waiting.append(_Prompt(request, text, image))

    def finished(self) -> list[Answer]:
        done, self._done = self._done, []
        return done or self._answer(self._next_batch())

    def stop(self) -> None:
        for name in ("_model", "_reader", "_tokenizer"):
            self.__dict__.pop(name, None)
        if "_torch" in self.__dict__ and self._torch.cuda.is_available():
            self._torch.cuda.empty_cache()

    def _next_batch(self) -> list[_Prompt]:
        # The oldest request, and those nearest to it in length, so that there is little padding.
        oldest = min(self._waiting, key=lambda prompt: prompt.request.id)
        self._waiting.sort(key=lambda prompt: (abs(len(prompt.text) - len(oldest.text)), prompt.request.id))
        batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
        return batch

    def _answer(self, batch: list[_Prompt]) -> list[Answer]:
        if not batch:
            return []
        try:
            return self._generate(batch)
        except Exception as error:  # halve the batch until a request that fails is alone, so that only that one fails
            out_of_memory = "out of memory" in str(error).lower() or "not enough memory" in str(error).lower()
            if len(batch) == 1:
                reason = OUT_OF_MEMORY if out_of_memory else ENGINE_ERROR
                return [Answer(batch[0].request.id, reason=reason, detail=f"{type(error).__name__}: {error}"[:200])]
        if out_of_memory:
            self._batch = max(1, len(batch) // 2)
            if self._torch.cuda.is_available():
                self._torch.cuda.empty_cache()
        half = len(batch) // 2
        return self._answer(batch[:half]) + self._answer(batch[half:])

    def _generate(self, batch: list[_Prompt]) -> list[Answer]:
        from transformers import StoppingCriteriaList
        from transformers.generation.stopping_criteria import MaxTimeCriteria

        inputs = self._prepare(batch)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        too_long = [n + self.task.sampling.max_tokens > self.task.context for n in lengths]
        if any(too_long):
            answers = [_too_long(one, n) for one, n, is_so in zip(batch, lengths, too_long, strict=True) if is_so]
            fitting = [one for one, is_so in zip(batch, too_long, strict=True) if not is_so]
            return answers + (self._generate(fitting) if fitting else [])
        inputs = inputs.to(self._device)
        started, recorded = time.monotonic(), recorder() if self.task.confidence else None
        processors = _sampling([prompt.request for prompt in batch], self.task.sampling.top_p)
        if recorded:
            processors.insert(0, recorded)  # it sees the scores before sampling changes them
        rows = generate_tokens(
            self._model,
            inputs,
            self.task.sampling.max_tokens,
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([MaxTimeCriteria(self.settings.timeout_s)]),
        )
        late = time.monotonic() - started >= self.settings.timeout_s
        answers = [self._read(prompt, row, n, late) for prompt, row, n in zip(batch, rows, lengths, strict=True)]
        if recorded is None:
            return answers
        sure = recorded.means(rows, [answer.tokens_out for answer in answers])
        return [replace(answer, confidence=one) for answer, one in zip(answers, sure, strict=True)]

    def _prepare(self, batch: list[_Prompt]) -> Any:
        images = [prompt.image for prompt in batch if prompt.image]
        return self._reader(
            text=[prompt.text for prompt in batch],
            **({"images": images} if images else {}),
            padding=True,
            add_special_tokens=False,  # the template has them already
            return_tensors="pt",
        )

    def _read(self, prompt: _Prompt, row: list[int], tokens_in: int, late: bool) -> Answer:
        ends = self._model.generation_config.eos_token_id
        stop = next((i for i, token in enumerate(row) if token in ends), None)
        if stop is None and late and len(row) < self.task.sampling.max_tokens:
            return Answer(prompt.request.id, reason=TIMEOUT, detail=f"over {self.settings.timeout_s:g} s")
        tokens = row if stop is None else row[: stop + 1]
        text = opened_thought(prompt.text) + self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Answer(prompt.request.id, text, tokens_in, len(tokens), "length" if stop is None else "stop")

    def _plain_generation(self) -> Any:
        # Ignore the checkpoint's sampling defaults and penalties, which other engines ignore too; keep its end tokens.
        from transformers import GenerationConfig

        config: Any = GenerationConfig
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends if ends is not None else self._tokenizer.eos_token_id]
        pad = self._tokenizer.pad_token_id
        return config(eos_token_id=ends, pad_token_id=ends[0] if pad is None else pad, do_sample=False)


def generate_tokens(model: Any, inputs: Mapping[str, Any], max_tokens: int, **options: Any) -> list[list[int]]:
    """Generate for a batch of left-padded prompts. Return the new token ids of each row, with any padding behind."""
    import torch

    with torch.inference_mode():
        generated = model.generate(**inputs, max_new_tokens=max_tokens, **options)
    rows: list[list[int]] = generated[:, inputs["input_ids"].shape[1] :].tolist()
    return rows


def recorder() -> Any:
    """Return a logits processor that notes, at each step, the log-probability of the token chosen before.

    Its `means` say how sure the model was of each row.
    """
    import torch
    from transformers import LogitsProcessor

    class Recorder(LogitsProcessor):  # type: ignore[misc]
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


def _too_long(prompt: _Prompt, tokens: int) -> Answer:
    return Answer(prompt.request.id, tokens_in=tokens, reason=TOO_LONG, detail=f"{tokens} tokens")


def _silence(logging: Any) -> None:  # its functions have no types
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _sampling(requests: list[Request], top_p: float) -> Any:
    """Make greedy search sample by the temperature and seed of each request, independently of its batch."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList, TopPLogitsWarper

    class Sample(LogitsProcessor):  # type: ignore[misc]
        def __init__(self) -> None:
            self.sources = {
                i: torch.Generator().manual_seed(request.seed)
                for i, request in enumerate(requests)
                if request.temperature
            }

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            for i, source in self.sources.items():
                row = scores[i : i + 1].float() / requests[i].temperature
                if top_p < 1:
                    row = TopPLogitsWarper(top_p)(input_ids, row)
                # Gumbel-max trick: the largest logit after adding noise is a sample of the distribution.
                noise = -torch.log(-torch.log(torch.rand(row.shape, generator=source).clamp(1e-20, 1 - 1e-7)))
                scores[i : i + 1] = row + noise.to(row.device)
            return scores

    return LogitsProcessorList([Sample()])

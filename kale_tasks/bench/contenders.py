"""Who is measured: our engines, and the libraries that they run, bare. Each answers the same requests once a round."""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from kale_tasks.bench import bare_vllm
from kale_tasks.engines import vllm_worker
from kale_tasks.engines.base import Answer, Model, Request, open_engine
from kale_tasks.engines.devices import device_environment, device_groups
from kale_tasks.engines.thought import template_arguments
from kale_tasks.engines.vllm import describe_model
from kale_tasks.engines.vllm_process import vllm_environment
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.process import start_process, stop_process
from kale_tasks.settings.caption import Caption

Round = Callable[[int, int], int]  # answers the requests from one place to another and counts tokens of the answers
Contender = Callable[[Caption, Model, Sequence[Request]], AbstractContextManager[Round]]


@contextmanager
def ours(settings: Caption, model: Model, asked: Sequence[Request]) -> Iterator[Round]:
    """The engine of the settings, started."""
    with open_engine(settings, model) as engine:
        engine.start()
        yield lambda start, stop: _tokens(engine.answers(asked[start:stop]))


@contextmanager
def bare(settings: Caption, model: Model, asked: Sequence[Request]) -> Iterator[Round]:
    """The library that the engine of the settings runs, on the first group of devices; BadConfig if there is none."""
    if settings.engine not in BARE:
        raise BadConfig(f"Nothing to compare the engine '{settings.engine}' with. Engines: {', '.join(BARE)}.")
    with BARE[settings.engine](settings, model, asked) as answer:
        yield answer


@contextmanager
def bare_transformers(settings: Caption, model: Model, asked: Sequence[Request]) -> Iterator[Round]:
    """The model itself, on batches of requests of similar length."""
    import torch
    from PIL import Image
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    folder, task = model.folder(), model.task
    cuda = settings.device == "auto" and torch.cuda.is_available()
    device = "cuda" if cuda else settings.device.replace("auto", "cpu")
    kind, reads = (
        (AutoModelForImageTextToText, AutoProcessor) if task.image_tokens else (AutoModelForCausalLM, AutoTokenizer)
    )
    network: Any = kind.from_pretrained(folder, dtype=getattr(torch, task.dtype))
    network.to(device).eval()
    reader: Any = reads.from_pretrained(folder)
    tokenizer = getattr(reader, "tokenizer", reader)
    tokenizer.padding_side = "left"
    options = {"max_new_tokens": task.sampling.max_tokens, "do_sample": False}

    def answer(start: int, stop: int) -> int:
        tokens = 0
        by_length = sorted(asked[start:stop], key=lambda request: len(str(request.messages)))
        for at in range(0, len(by_length), settings.batch):
            batch = by_length[at : at + settings.batch]
            template = {"tokenize": False, "add_generation_prompt": True, **template_arguments(task)}
            texts = [tokenizer.apply_chat_template(list(request.messages), **template) for request in batch]
            seen = [Image.open(io.BytesIO(request.image)).convert("RGB") for request in batch if request.image]
            images = {"images": seen} if seen else {}
            inputs = reader(text=texts, **images, padding=True, add_special_tokens=False, return_tensors="pt")
            with torch.inference_mode():
                made = network.generate(**inputs.to(device), **options)[:, inputs["input_ids"].shape[1] :]
            tokenizer.batch_decode(made, skip_special_tokens=True)
            tokens += int((made != tokenizer.pad_token_id).sum())
        return tokens

    yield answer


@contextmanager
def bare_vllm_class(settings: Caption, model: Model, asked: Sequence[Request]) -> Iterator[Round]:
    """vLLM's offline class with the engine arguments of ours, all requests handed over at once."""
    arguments = {**settings.vllm, **model.task.vllm}
    group = device_groups(settings.devices, arguments)[0]
    with tempfile.TemporaryDirectory() as folder:
        paths = ["" if request.image is None else str(Path(folder, f"{request.id}.jpg")) for request in asked]
        for request, path in zip(asked, paths, strict=True):
            if request.image:
                Path(path).write_bytes(request.image)
        given = {
            "model": describe_model(settings, model.task, str(model.folder())),
            "worker": vllm_worker.__file__,
            "requests": [{"messages": r.messages, "image": path} for r, path in zip(asked, paths, strict=True)],
        }
        process = start_process(
            [settings.vllm_python or sys.executable, "-P", bare_vllm.__file__],
            environment={**vllm_environment(), **device_environment(group)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            _say(process, json.dumps(given))
            yield lambda start, stop: int(_say(process, f"{start} {stop}"))
        finally:
            stop_process(process, grace_seconds=1)


def _say(process: "subprocess.Popen[bytes]", line: str) -> str:
    assert process.stdin and process.stdout
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()
    if said := process.stdout.readline().decode():
        return said
    raise Transient("Bare vLLM ended. See its output above.")


def _tokens(answers: Iterable[Answer]) -> int:
    tokens = 0
    for answer in answers:
        if answer.reason:
            raise BadConfig(f"The engine failed a request, so its speed says nothing: {answer.reason} {answer.detail}")
        tokens += answer.tokens_out
    return tokens


BARE: dict[str, Contender] = {"transformers": bare_transformers, "vllm": bare_vllm_class}

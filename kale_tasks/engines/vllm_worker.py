"""The process that runs vLLM, in any interpreter that has it. Imports nothing of this project.

Reads frames from stdin: a line of JSON, followed by the number of raw bytes that its field `bytes` states. The first
frame describes the model, the others are requests. Writes lines of JSON to stdout: first `ready`, `missing` if vLLM
cannot be imported, or `wrong` if it does not know an argument; then an answer for each request, as it is finished.

On GPUs, images are decoded in a pool of threads and turned into prompts by one thread, as vLLM allows no more; the main
thread only steps the engine. On CPUs the main thread does it all: others would only take the cores from the engine.
"""

import io
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # gigabytes, where there is no GPU
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
_SWITCH_SECONDS = 0.0005  # between threads: with Python's own 5 ms the engine would wait for prompts to be prepared
Frame = dict[str, Any]
Arrival = tuple[Frame, Callable[[], Any]]  # a request, and what returns its prompt or raises why there is none


class UndecodableImage(Exception):
    """Image bytes that cannot be decoded."""


class WrongArgument(Exception):
    """An argument that vLLM does not know."""


class Worker:
    """The engine and its unfinished requests."""

    def __init__(self, model: Frame, out: BinaryIO) -> None:
        self.model, self.out = model, out
        self.arrivals: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self.inside: dict[str, Frame] = {}  # the requests in the engine, the oldest first
        self.ends = end_tokens(model["folder"])
        self.thought = ""  # the mark of a thought that the template opens at the end of each prompt

    def start(self) -> None:
        """Load the model."""
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        try:
            arguments = EngineArgs(**engine_arguments(self.model))
        except TypeError as error:
            raise WrongArgument(str(error)) from error
        # As for vLLM's own offline class: more sequences and longer batches than its server takes by default.
        self.engine = LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)

    @property
    def sequences(self) -> int:
        """How many sequences the engine generates at once."""
        return int(self.engine.vllm_config.scheduler_config.max_num_seqs)

    def read(self, source: BinaryIO) -> None:
        """Take the requests that arrive, until the input ends; on GPUs they are prepared at once."""
        decoders, preparer = ThreadPoolExecutor(self.model["preparers"]), ThreadPoolExecutor(1)
        while line := source.readline():
            request = {**json.loads(line), "since": time.monotonic()}
            image = source.read(request["bytes"])
            picture: Any = partial(decode, image) if image else None
            if on_gpu():
                picture = decoders.submit(picture).result if picture else None
                made = preparer.submit(self.render, request["messages"], picture)
                made.add_done_callback(partial(self.hand_over, request))
            else:
                self.arrivals.put((request, partial(self.render, request["messages"], picture)))
        self.arrivals.put(None)

    def hand_over(self, request: Frame, made: "Future[Any]") -> None:
        """Let the main thread have a request whose prompt is made."""
        self.arrivals.put((request, made.result))

    def serve(self) -> None:
        """Answer requests until the input ends; unfinished ones are then abandoned.

        On CPUs requests are prepared until as many wait in the engine as it has places for; then it is looked after.
        """
        while True:
            while on_gpu() or len(self.inside) < 2 * self.sequences:
                try:
                    one = self.arrivals.get(block=not self.inside)
                except queue.Empty:
                    break
                if one is None:
                    return
                self.add(*one)
            self.step()

    def add(self, request: Frame, prompt_of: Callable[[], Any]) -> None:
        """Put a request into the engine, unless prompt and answer together could exceed the context."""
        try:
            prompt = prompt_of()
            request["tokens"] = tokens = len(prompt["prompt_token_ids"])
            if tokens + self.model["max_tokens"] > self.model["context"]:
                self.answer(request, reason="too_long", detail=f"{tokens} tokens", tokens_in=tokens)
                return
            self.engine.add_request(str(request["id"]), prompt, self.sampling(request))
        except Exception as error:  # one failed request must not fail the others
            self.fail(request, error)
        else:
            self.inside[str(request["id"])] = request

    def step(self) -> None:
        """Let the engine go on, and answer the requests that it has finished and those that took too long."""
        for output in self.engine.step():
            if not output.finished:
                continue
            request, said = self.inside.pop(output.request_id), output.outputs[0]
            text, tokens = self.thought + self.decode(said.token_ids), len(said.token_ids)
            known = {"tokens_in": request["tokens"], "tokens_out": tokens, "finish": said.finish_reason}
            sure = said.cumulative_logprob / tokens if self.model["confidence"] and tokens else None
            self.answer(request, text=text, confidence=sure, **known)
        self.abandon_late()

    def abandon_late(self) -> None:
        """Give up the requests that have been here for too long."""
        last = time.monotonic() - self.model["timeout"]
        late = [name for name, request in self.inside.items() if request["since"] < last]
        if late:
            self.engine.abort_request(late)
        for name in late:
            self.answer(self.inside.pop(name), reason="timeout", detail=f"over {self.model['timeout']:g} s")

    def fail(self, request: Frame, error: Exception) -> None:
        """Answer a request that cannot be made or asked."""
        detail = f"{type(error).__name__}: {error}"[:200]
        reason = "too_long" if "maximum context length" in detail else "engine_error"
        known = isinstance(error, UndecodableImage)
        self.answer(request, reason="image_broken" if known else reason, detail=str(error) if known else detail)

    def answer(self, request: Frame, **result: Any) -> None:
        """Say the answer to a request."""
        send(self.out, {"id": request["id"], **result})

    def render(self, messages: list[Frame], picture_of: Callable[[], Any] | None) -> Any:
        """Turn messages and image into token ids and pixels.

        `vllm.renderers` is no documented API. The documented ways to chat with an engine are its HTTP server and its
        offline class: neither tells a prompt's length before it generates, and the latter answers all at once.
        """
        from vllm.renderers import ChatParams

        if picture_of:
            picture = picture_of()
            messages = [{**message, "content": with_image(message["content"], picture)} for message in messages]
        renderer = self.engine.renderer
        _, (prompt,) = renderer.render_chat(
            [messages],
            ChatParams(chat_template_kwargs={"add_generation_prompt": True, **self.model["template"]}),
            renderer.default_chat_tok_params.with_kwargs(add_special_tokens=False),  # the template has them already
        )
        return prompt

    def warm(self) -> None:
        """Answer a first request, and look how the template ends a prompt: it may open a thought."""
        prompt = self.render(self.model["warm"]["messages"], None)
        end = self.decode(prompt["prompt_token_ids"][-8:], special=True).rstrip()
        self.thought = next((mark for mark in self.model["thought_marks"] if end.endswith(mark)), "")
        self.engine.add_request("warm", prompt, self.sampling({"temperature": 0.0, "seed": 0}))
        while self.engine.has_unfinished_requests():
            self.engine.step()

    def decode(self, tokens: Sequence[int], special: bool = False) -> str:
        """Turn token ids into text."""
        return str(self.engine.get_tokenizer().decode(tokens, skip_special_tokens=not special))

    def sampling(self, request: Frame) -> Any:
        """Return the sampling parameters of a request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=request["temperature"],
            top_p=self.model["top_p"],
            seed=request["seed"],
            max_tokens=self.model["max_tokens"],
            stop_token_ids=self.ends,
            logprobs=0 if self.model["confidence"] else None,  # those of the chosen tokens, and of no others
            detokenize=False,  # the finished text is decoded at once
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


@cache
def on_gpu() -> bool:
    """Whether the engine has a device of its own."""
    import torch

    return bool(torch.cuda.is_available())


def engine_arguments(model: Frame) -> dict[str, Any]:
    """Return the engine arguments: those given, and beside them only what this use of vLLM needs."""
    needed = {
        "model": model["folder"],
        "dtype": model["dtype"],
        "max_model_len": model["context"],
        "limit_mm_per_prompt": {"image": 1, "video": 0} if model["sees"] else {},
        "mm_processor_cache_gb": 0,  # each image is used once
        "generation_config": "vllm",  # sampling comes from the recipe, not from the checkpoint
        "enforce_eager": not on_gpu(),  # compiling pays off on GPUs only
        "disable_log_stats": True,
        "seed": 0,
    }
    return needed | dict(model["arguments"])


def end_tokens(folder: str) -> list[int]:
    """Return the tokens that end an answer by the checkpoint's `generation_config.json`, which vLLM ignores here."""
    path = Path(folder, "generation_config.json")
    ends = json.loads(path.read_text()).get("eos_token_id") if path.exists() else None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def with_image(content: Any, picture: Any) -> Any:
    """Put the decoded image in the place of the part of type `image`."""
    image = {"type": "image_pil", "image_pil": picture}
    return content if isinstance(content, str) else [image if part["type"] == "image" else part for part in content]


def decode(data: bytes) -> Any:
    """Decode an image, or raise UndecodableImage."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders raise errors of many kinds
        raise UndecodableImage(f"{type(error).__name__}: {error}") from error


def send(out: BinaryIO, frame: Frame) -> None:
    """Write a frame."""
    out.write(json.dumps(frame).encode() + b"\n")
    out.flush()


def run(source: BinaryIO, out: BinaryIO) -> None:
    """Load the model that the first frame describes, warm it up, and serve requests."""
    worker = Worker(json.loads(source.readline()), out)
    started = time.monotonic()
    try:
        worker.start()
    except (ImportError, WrongArgument) as error:
        wrong = isinstance(error, WrongArgument)
        send(out, {"wrong": str(error)} if wrong else {"missing": f"{type(error).__name__}: {error}"})
        return
    loaded = time.monotonic()
    worker.warm()
    times = {"load": loaded - started, "warm": time.monotonic() - loaded}
    send(out, {"ready": True, **times, "sequences": worker.sequences})
    threading.Thread(target=worker.read, args=(source,), daemon=True).start()
    worker.serve()
    worker.engine.engine_core.shutdown()


def stay_on(cores: str) -> None:
    """Keep every thread on these cores, which vLLM writes as in `0-3,8` or `0|1`; it knows words, too: auto, nobind."""
    spans = [span.split("-") for span in cores.replace("|", ",").split(",")]
    if all(end.isdigit() for span in spans for end in span):
        os.sched_setaffinity(0, {core for span in spans for core in range(int(span[0]), int(span[-1]) + 1)})


def main() -> None:
    """Reserve stdout for frames: what libraries print goes to stderr."""
    os.environ |= DEFAULTS | os.environ
    stay_on(os.environ.get("VLLM_CPU_OMP_THREADS_BIND", ""))
    sys.setswitchinterval(_SWITCH_SECONDS)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        run(sys.stdin.buffer, out)
    except Exception:  # the engine is dead; the parent starts another process
        traceback.print_exc()
        os._exit(3)
    os._exit(0)  # without a wait for threads that prepare what nobody asks for any more


if __name__ == "__main__":
    main()

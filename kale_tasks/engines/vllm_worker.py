"""The process that runs vLLM, in any interpreter that has it. Imports nothing of this project.

Reads frames from stdin: a line of JSON, followed by the number of raw bytes that its field `bytes` states. The first
frame describes the model, the others are requests. Writes lines of JSON to stdout: first `ready`, `missing` if vLLM
cannot be imported, or `wrong` if it does not know an argument; then an answer for each request, in the order in which
they are finished.
"""

import asyncio
import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # gigabytes, where there is no GPU
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


class UndecodableImage(Exception):
    """Image bytes that cannot be decoded."""


class WrongArgument(Exception):
    """An argument that vLLM does not know."""


class Worker:
    """The engine and its unfinished requests."""

    def __init__(self, model: dict[str, Any], out: BinaryIO) -> None:
        self.model, self.out = model, out
        self.decoders = ThreadPoolExecutor(model["preparers"])
        self.tasks: set[asyncio.Task[None]] = set()
        self.thought = ""  # the mark of a thought that the template opens at the end of each prompt

    def start(self) -> None:
        """Load the model."""
        from vllm import AsyncLLMEngine
        from vllm.usage.usage_lib import UsageContext

        # As for vLLM's own offline class: more sequences and longer batches than its server takes by default.
        self.engine = AsyncLLMEngine.from_engine_args(self.arguments(), usage_context=UsageContext.LLM_CLASS)

    def arguments(self) -> Any:
        """Return the engine arguments: those given, and beside them only what this use of vLLM needs."""
        import torch
        from vllm import AsyncEngineArgs

        sees = self.model["sees"]
        needed = {
            "model": self.model["folder"],
            "dtype": self.model["dtype"],
            "max_model_len": self.model["context"],
            "limit_mm_per_prompt": {"image": 1} if sees else {},
            "mm_processor_cache_gb": 0,  # each image is used once
            "renderer_num_workers": self.model["preparers"] if sees else 1,
            "generation_config": "vllm",  # sampling comes from the recipe, not from the checkpoint
            "enforce_eager": not torch.cuda.is_available(),  # compiling pays off on GPUs only
            "seed": 0,
        }
        try:
            return AsyncEngineArgs(**(needed | self.model["arguments"]))
        except TypeError as error:
            raise WrongArgument(str(error)) from error

    @property
    def sequences(self) -> int:
        """How many sequences the engine generates at once."""
        return int(self.engine.vllm_config.scheduler_config.max_num_seqs)

    async def serve(self, lines: asyncio.StreamReader) -> None:
        """Answer requests until the input ends; unfinished ones are then abandoned."""
        while line := await lines.readline():
            request = json.loads(line)
            image = await lines.readexactly(request["bytes"])
            task = asyncio.create_task(self.answer(request, image))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, request: dict[str, Any], image: bytes) -> None:
        """Answer one request with a text or a reason."""
        try:
            async with asyncio.timeout(self.model["timeout"]):
                result = await self.generate(request, image)
        except UndecodableImage as error:
            result = {"reason": "image_broken", "detail": str(error)}
        except TimeoutError:
            result = {"reason": "timeout", "detail": f"over {self.model['timeout']:g} s"}
        except Exception as error:  # one failed request must not fail the others
            if self.engine.errored:
                os._exit(3)  # the engine is dead; the parent starts another process
            reason = "too_long" if "maximum context length" in str(error) else "engine_error"
            result = {"reason": reason, "detail": f"{type(error).__name__}: {error}"[:200]}
        send(self.out, {"id": request["id"], **result})

    async def generate(self, request: dict[str, Any], image: bytes) -> dict[str, Any]:
        """Generate an answer, unless prompt and answer together could exceed the context."""
        prompt = await self.render(request["messages"], image)
        tokens = len(prompt["prompt_token_ids"])
        if tokens + self.model["max_tokens"] > self.model["context"]:
            return {"reason": "too_long", "detail": f"{tokens} tokens", "tokens_in": tokens}
        outputs = [out async for out in self.engine.generate(prompt, self.sampling(request), str(request["id"]))]
        last = outputs[-1].outputs[0]
        return {
            "text": self.thought + last.text,
            "tokens_in": tokens,
            "tokens_out": len(last.token_ids),
            "finish": last.finish_reason,
        }

    async def render(self, messages: list[dict[str, Any]], image: bytes) -> Any:
        """Turn messages and image into token ids and pixels.

        `vllm.renderers` is not documented as public API. The documented way to chat with this engine is the HTTP
        server, which does not tell the length of a prompt before it generates.
        """
        from vllm.renderers import ChatParams

        if image:
            picture = await asyncio.get_running_loop().run_in_executor(self.decoders, decode, image)
            messages = [{**message, "content": with_image(message["content"], picture)} for message in messages]
        _, (prompt,) = await self.engine.renderer.render_chat_async(
            [messages], ChatParams(chat_template_kwargs={"add_generation_prompt": True, **self.model["template"]})
        )
        return prompt

    async def warm(self) -> dict[str, Any]:
        """Answer a first request, and look how the template ends a prompt: it may open a thought."""
        request = {"id": "warm", "temperature": 0.0, "seed": 0, **self.model["warm"]}
        prompt = await self.render(request["messages"], b"")
        end = self.engine.get_tokenizer().decode(prompt["prompt_token_ids"][-8:]).rstrip()
        self.thought = next((mark for mark in self.model["thought_marks"] if end.endswith(mark)), "")
        return await self.generate(request, b"")

    def sampling(self, request: dict[str, Any]) -> Any:
        """Return the sampling parameters of a request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=request["temperature"],
            top_p=self.model["top_p"],
            seed=request["seed"],
            max_tokens=self.model["max_tokens"],
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def with_image(content: Any, picture: Any) -> Any:
    """Put the decoded image in the place of the part of type `image`."""
    if isinstance(content, str):
        return content
    return [{"type": "image_pil", "image_pil": picture} if part["type"] == "image" else part for part in content]


def decode(data: bytes) -> Any:
    """Decode an image, or raise UndecodableImage."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders raise errors of many kinds
        raise UndecodableImage(f"{type(error).__name__}: {error}") from error


def send(out: BinaryIO, frame: dict[str, Any]) -> None:
    """Write a frame."""
    out.write(json.dumps(frame).encode() + b"\n")
    out.flush()


async def run(out: BinaryIO) -> None:
    """Load the model that the first frame describes, warm it up, and serve requests."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    model = json.loads(await lines.readline())
    worker = Worker(model, out)
    started = time.monotonic()
    try:
        worker.start()
    except ImportError as error:
        send(out, {"missing": f"{type(error).__name__}: {error}"})
        return
    except WrongArgument as error:
        send(out, {"wrong": str(error)})
        return
    loaded = time.monotonic()
    first = await worker.warm()
    times = {"load": loaded - started, "warm": time.monotonic() - loaded}
    send(out, {"ready": True, **times, "sequences": worker.sequences, "first": first})
    await worker.serve(lines)
    worker.engine.shutdown()


def main() -> None:
    """Reserve stdout for frames: what libraries print goes to stderr."""
    os.environ |= DEFAULTS | os.environ
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asyncio.run(run(out))


if __name__ == "__main__":
    main()

"""The process that runs vLLM, in whatever interpreter has it; it imports nothing of this project.

Frames go both ways: a line of JSON, followed by as many raw bytes as its `bytes` says. First comes the model, then
requests; back come `ready`, then an answer for each request in the order in which they are finished.
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


class Broken(Exception):
    """Bytes that are no image."""


class Worker:
    """One engine and the requests in it."""

    def __init__(self, model: dict[str, Any], out: BinaryIO) -> None:
        self.model, self.out = model, out
        self.decoders = ThreadPoolExecutor(model["preparers"])
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Load the model and answer a first request of its own kind."""
        import torch
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        sees = self.model["sees"]
        self.engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=self.model["folder"],
                dtype=self.model["dtype"],
                max_model_len=self.model["context"],
                max_num_seqs=self.model["batch"],
                gpu_memory_utilization=self.model["memory"],
                limit_mm_per_prompt={"image": 1} if sees else {},
                mm_processor_cache_gb=0,  # every image is seen once
                renderer_num_workers=self.model["preparers"] if sees else 1,
                generation_config="vllm",  # a checkpoint's own sampling must not change the recipe's
                enforce_eager=not torch.cuda.is_available(),  # compiling pays on GPUs alone
                seed=0,
            )
        )

    async def serve(self, lines: asyncio.StreamReader) -> None:
        """Answer requests until nobody is there to ask: what is unanswered then, nobody wants."""
        while line := await lines.readline():
            request = json.loads(line)
            image = await lines.readexactly(request["bytes"])
            task = asyncio.create_task(self.answer(request, image))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, request: dict[str, Any], image: bytes) -> None:
        """Answer one request with a text or a reason."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            async with asyncio.timeout(self.model["timeout"]):
                said = await self.generate(request, image)
        except Broken as error:
            said = {"reason": "image_broken", "detail": str(error)}
        except TimeoutError:
            said = {"reason": "timeout", "detail": f"over {self.model['timeout']:g} s"}
        except EngineDeadError:
            os._exit(3)  # nothing more can come of this process
        except Exception as error:  # whatever one request does must stay its own affair
            reason = "too_long" if "maximum context length" in str(error) else "engine_error"
            said = {"reason": reason, "detail": f"{type(error).__name__}: {error}"[:200]}
        send(self.out, {"id": request["id"], **said})

    async def generate(self, request: dict[str, Any], image: bytes) -> dict[str, Any]:
        """Count the prompt's tokens, then generate."""
        prompt = await self.render(request["messages"], image)
        tokens = len(prompt["prompt_token_ids"])
        if tokens + self.model["max_tokens"] > self.model["context"]:
            return {"reason": "too_long", "detail": f"{tokens} tokens", "tokens_in": tokens}
        outputs = [out async for out in self.engine.generate(prompt, self.sampling(request), str(request["id"]))]
        said = outputs[-1].outputs[0]
        return {
            "text": said.text,
            "tokens_in": tokens,
            "tokens_out": len(said.token_ids),
            "finish": said.finish_reason,
        }

    async def render(self, messages: list[dict[str, Any]], image: bytes) -> Any:
        """Token ids and pixels of a conversation."""
        from vllm.renderers.params import ChatParams

        if image:
            picture = await asyncio.get_running_loop().run_in_executor(self.decoders, decode, image)
            messages = [{**message, "content": with_image(message["content"], picture)} for message in messages]
        _, (prompt,) = await self.engine.renderer.render_chat_async(
            [messages], ChatParams(chat_template_kwargs={"add_generation_prompt": True})
        )
        return prompt

    def sampling(self, request: dict[str, Any]) -> Any:
        """How this request's tokens are drawn."""
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
    """A message's content with its picture in the place kept for it."""
    if isinstance(content, str):
        return content
    return [{"type": "image_pil", "image_pil": picture} if part["type"] == "image" else part for part in content]


def decode(data: bytes) -> Any:
    """The pixels of an image."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders raise whatever they like
        raise Broken(f"{type(error).__name__}: {error}") from error


def send(out: BinaryIO, frame: dict[str, Any]) -> None:
    """Write one frame."""
    out.write(json.dumps(frame).encode() + b"\n")
    out.flush()


async def run(out: BinaryIO) -> None:
    """Read the model, start it, serve."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    model = json.loads(await lines.readline())
    worker = Worker(model, out)
    started = time.monotonic()
    worker.start()
    loaded = time.monotonic()
    first = await worker.generate({"id": "warm", "temperature": 0.0, "seed": 0, **model["warm"]}, b"")
    send(out, {"ready": True, "load": loaded - started, "warm": time.monotonic() - loaded, "first": first})
    await worker.serve(lines)
    worker.engine.shutdown()


def main() -> None:
    """Keep the real stdout for frames: libraries print to what they think it is."""
    os.environ |= DEFAULTS | os.environ
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asyncio.run(run(out))


if __name__ == "__main__":
    main()

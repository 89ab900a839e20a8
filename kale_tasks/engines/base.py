"""The contract of every engine: requests go in, answers come out as they are finished, each a text or a reason."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

from kale_tasks.recipes.recipe import Message, Task
from kale_tasks.settings.caption import Caption

TOO_LONG = "too_long"
IMAGE_BROKEN = "image_broken"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out_of_memory"
ENGINE_ERROR = "engine_error"
ENGINE_DIED = "engine_died"
REJECTED = "rejected"  # by a server, as nothing it can answer

ENGINES = {
    "transformers": "kale_tasks.engines.transformers:TransformersEngine",
    "vllm": "kale_tasks.engines.vllm:VllmEngine",
    "openai": "kale_tasks.engines.openai:OpenAIEngine",
}


@dataclass(frozen=True)
class Request:
    """One conversation to be answered; its image, if any, takes the place of the part of type image."""

    id: int
    messages: Sequence[Message]
    image: bytes | None = None
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What came of a request: a text that ended by `stop` or `length`, or a reason why there is none."""

    id: int
    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    finish: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Model:
    """A model to be run: its pinned name, its task, and where its files and servers are."""

    name: str
    task: Task
    folder: Callable[[], Path]
    endpoints: Sequence[str] = ()


@dataclass
class Times:
    """Seconds that an engine took to load and to warm up, over all its starts."""

    load: float = 0.0
    warm: float = 0.0
    starts: int = 0


class Engine(ABC):
    """Runs one model. Failures of a request are its answer's reason; only what concerns all of them is raised."""

    devices: int = 1

    def __init__(self, settings: Caption, model: Model) -> None:
        self.settings, self.model, self.task = settings, model, model.task
        self.times = Times()

    @property
    @abstractmethod
    def pending(self) -> int:
        """Requests submitted whose answers were not handed out yet."""

    @abstractmethod
    def start(self) -> None:
        """Load the model and warm it up."""

    @abstractmethod
    def submit(self, request: Request) -> None:
        """Take a request."""

    @abstractmethod
    def finished(self) -> list[Answer]:
        """Wait until something is finished, and hand it out."""

    @abstractmethod
    def stop(self) -> None:
        """Let go of the model; it can be started again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def open_engine(settings: Caption, model: Model) -> Engine:
    """The engine that the settings name, not started yet."""
    module, _, name = ENGINES[settings.engine].partition(":")
    made: Engine = getattr(import_module(module), name)(settings, model)
    return made


def describe(settings: Caption, task: Task) -> str:
    """The engine and its sampling in a few words, for each row."""
    sampling = task.sampling
    drawn = f"temperature {sampling.temperature:g}" if sampling.temperature else "greedy"
    return f"{settings.engine} {task.dtype} {drawn} max {sampling.max_tokens}"

"""The interface of engines: they take requests and return answers in the order in which these are finished."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from kale_tasks.lake.storage.base import Storage
from kale_tasks.recipes.parts import Message, Task
from kale_tasks.registry import Registry
from kale_tasks.settings.caption import Caption

TOO_LONG = "too_long"
IMAGE_BROKEN = "image_broken"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out_of_memory"
ENGINE_ERROR = "engine_error"
ENGINE_DIED = "engine_died"
THOUGHT_ONLY = "thought_only"  # the model thought, and gave no answer or was cut off before it
REJECTED = "rejected"  # by a server, with an HTTP status that a retry cannot change


@dataclass(frozen=True)
class Request:
    """One conversation to complete. The image, if any, replaces the message part of type `image`."""

    id: int
    messages: Sequence[Message]
    image: bytes | None = None
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """The result of a request: a text that ended by `stop` or `length`, or the reason why there is none."""

    id: int
    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    finish: str = ""
    reason: str = ""
    detail: str = ""
    confidence: float | None = None  # mean log-probability of the tokens, if the task wants it
    repeated: bool = False  # read again from a provider's file: it was paid for before


@dataclass(frozen=True)
class Model:
    """A model to run: its pinned name, its task in the recipe, its folder and the servers that serve it."""

    name: str
    task: Task
    folder: Callable[[], Path]
    endpoints: Sequence[str] = ()


@dataclass
class Times:
    """Total seconds that an engine spent on loading and warming up, and the number of starts."""

    load: float = 0.0
    warm: float = 0.0
    starts: int = 0


class Engine(ABC):
    """Runs one model.

    A failed request becomes an answer with a reason. Only failures that concern every request are raised:
    BadConfig when a retry cannot help, Transient when it can.
    """

    devices: int = 1  # in use, for the cost
    takes_all: bool = False  # it has to get all requests of a chunk before it is asked for answers
    loads: ClassVar[bool] = True  # it loads the model's folder itself, instead of asking servers that serve the model

    def __init__(self, settings: Caption, model: Model) -> None:
        self.settings, self.model, self.task = settings, model, model.task
        self.room = settings.in_flight  # how many requests keep it busy
        self.times = Times()
        self.started = False  # for who uses it; and how many requests it has got since
        self.since_start = 0

    def keep_in(self, storage: Storage, folder: str) -> None:  # noqa: B027 - most engines keep nothing
        """Set the folder of the lake for what must outlast this process. Called before `start`."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Number of submitted requests whose answers have not been returned yet."""

    @abstractmethod
    def start(self) -> None:
        """Load the model and warm it up."""

    @abstractmethod
    def submit(self, request: Request) -> None:
        """Queue a request; must not wait for its answer."""

    @abstractmethod
    def finished(self) -> list[Answer]:
        """Wait for at least one answer and return all that are finished."""

    @abstractmethod
    def stop(self) -> None:
        """Release the model. The engine can be started again."""

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield the answers to all requests as they are finished. The engine must be started."""
        waiting = iter(requests)
        request = next(waiting, None)
        while request or self.pending:
            while request and (self.takes_all or self.pending < self.room):
                self.submit(request)
                request = next(waiting, None)
            yield from self.finished()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    "kale.engines",
    {
        "transformers": "kale_tasks.engines.transformers:TransformersEngine",
        "vllm": "kale_tasks.engines.vllm:VllmEngine",
        "openai": "kale_tasks.engines.openai:OpenAIEngine",
        "batch": "kale_tasks.engines.batch:BatchEngine",
    },
)


def open_engine(settings: Caption, model: Model) -> Engine:
    """Create the engine that `caption.engine` names, without starting it; BadConfig if there is none."""
    return ENGINES.find(settings.engine)(settings, model)


def seed_of(uid: str, task: Task, tries: int = 0) -> int:
    """Return the seed of a request about a row. `tries` counts what was asked about it before."""
    return (zlib.crc32(uid.encode()) + task.sampling.seed + tries) % 2**31


def describe(settings: Caption, task: Task) -> str:
    """Summarise engine and sampling in a few words, for the `engine` column."""
    sampling = task.sampling
    sampled = f"temperature {sampling.temperature:g}" if sampling.temperature else "greedy"
    return f"{settings.engine} {task.dtype} {sampled} max {sampling.max_tokens}"

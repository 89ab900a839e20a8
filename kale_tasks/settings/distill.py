"""Settings of the distill step."""

from typing import Literal

from pydantic import Field, field_validator

from kale_tasks.settings.section import Section, neutral, runtime


class Lessons(Section):
    """Which captions a student is trained on, and in which order. The recipe says as which lessons."""

    held_out: float = Field(gt=0, lt=1, description="Share of captions kept for evaluation, by a hash of the uid.")
    drop_flags: list[str] = neutral([], "Leave out captions with any of these flags.")
    share: float = neutral(1, "Share of the captions to train on, by a hash of the uid.", gt=0, le=1)
    max_invented: int = Field(ge=0, description="Leave out captions with more invented facts than this.")
    max_tokens: int = Field(ge=16, description="Leave out examples (prompt, image and caption) longer than this.")
    pool_rows: int = Field(ge=1, description="Captions that are shuffled and sorted by length together.")
    workers: int = runtime("Processes that read and decode images ahead; 0: the training process itself.", ge=0)


class Train(Section):
    """The training loop."""

    steps: int = Field(ge=1, description="Optimiser steps in total.")
    connector_steps: int = neutral(0, "The first of these steps, in which only the connector is trained.", ge=0)
    batch: int = Field(ge=1, description="Examples per forward pass.")
    accumulate: int = Field(ge=1, description="Forward passes per optimiser step, over all processes.")
    rank: int = neutral(
        0, "Rank of the updates of the language model that are trained (LoRA) instead of all weights; 0: all.", ge=0
    )
    vision: bool = neutral(False, "Whether the vision tower is trained as well, after the connector's steps.")
    rate: float = Field(gt=0, description="Highest learning rate.")
    connector_rate: float = Field(gt=0, description="Highest learning rate while only the connector is trained.")
    warm_up: float = neutral(
        0, "Share of a phase in which the rate rises; after that it falls as a cosine.", ge=0, lt=1
    )
    decay: float = neutral(0, "Weight decay.", ge=0)
    clip: float = Field(gt=0, description="Largest norm of the gradient.")
    spike: float = Field(gt=1, description="End the run if the loss stays above this multiple of its running mean.")
    seed: int = Field(description="Seed of a new student's connector, of the order and of the lessons.")
    dtype: Literal["float32", "bfloat16"] = Field(description="Type of the arithmetic; weights are kept in float32.")
    checkpointing: bool = neutral(False, "Recompute activations instead of keeping them: less memory, slower.")
    processes: int = runtime("Processes of one machine that share the model (FSDP2), one per GPU.", ge=1)
    shards: int | None = runtime(
        "Processes that share one copy of the model; there are several copies if there are more processes (HSDP). "
        "Empty: those of one machine.", ge=1,
    )  # fmt: skip
    silence_seconds: float = runtime(
        "Time without an answer after which another process counts as lost and the others end, to be started again.",
        gt=0,
    )
    device: str = runtime("cpu, cuda, or auto: a GPU if there is one.")
    threads: int | None = runtime("CPU threads per process; empty: torch decides.", ge=1)
    checkpoint_steps: int = runtime("Steps between two checkpoints.", ge=1)
    validation_rows: int = runtime("Held-out captions whose loss is logged at each checkpoint; 0: none.", ge=0)
    peak_tflops: float | None = runtime("Peak TFLOPS of one device, for MFU in the logs; empty: not logged.", gt=0)


class Gate(Section):
    """The promotion gate: when a student may replace the one in use."""

    rows: int = Field(ge=1, description="Held-out captions to evaluate on.")
    batch: int = runtime("Held-out captions whose loss is computed at once.", ge=1)
    facts_carried: float = Field(ge=0, description="Least share of the teacher's alt-text facts that it carries.")
    attributes_wrong: float = Field(
        ge=0,
        description="Most that its share of colours and sides that its teacher's texts do not say may exceed that of "
        "the teacher at another seed.",
    )
    facts_invented: float = Field(ge=0, description="Most that its share of invented facts may exceed its teacher's.")
    description: float = Field(
        ge=-1,
        description="Least likeness to the teacher's captions, between that of captions of other images (0) and that "
        "of the teacher at another seed (1).",
    )
    repetition: float = Field(ge=0, description="Most that its share of repeated words may exceed its teacher's.")
    cut_off: float = Field(ge=0, description="Most that its share of captions cut off may exceed its teacher's.")


class Distill(Section):
    """The student: what it starts from, how it is trained, when it is good enough."""

    base: str = Field(description="Model to start from: sample:base, a folder, name@revision on the Hub, or empty.")
    vision: str = Field(description="Vision tower of a new student when base is empty.")
    llm: str = Field(description="Language model of a new student when base is empty.")
    curve: list[float] = neutral(
        [], "Shares of the captions on which students are trained as well, to see what more captions would give."
    )
    lessons: Lessons
    train: Train
    gate: Gate

    @field_validator("curve")
    @classmethod
    def _enough_shares(cls, given: list[float]) -> list[float]:
        if given and (len(set(given)) < 3 or not all(0 < share < 1 for share in given)):
            raise ValueError("a curve has three parameters: name three or more shares between 0 and 1")
        return given

"""Settings of the distill step."""

from typing import Literal

from pydantic import Field, model_validator

from kale_tasks.settings.section import Section, runtime


class Mixture(Section):
    """How often a caption is shown as which lesson; the weights need not add up to one."""

    fused: float = Field(ge=0, description="Image and alt-text to the fused caption.")
    alt_free: float = Field(ge=0, description="Image and an empty alt-text to the dense caption.")
    dense: float = Field(ge=0, description="Image and the captioner's own prompt to the dense caption.")

    @model_validator(mode="after")
    def _some_lesson(self) -> "Mixture":
        if self.fused + self.alt_free + self.dense <= 0:
            raise ValueError("at least one weight must be above 0")
        return self


class Lessons(Section):
    """Which captions the student learns from, and in which order they come."""

    held_out: float = Field(gt=0, lt=1, description="Share of the captions kept for judgement, by a hash of the uid.")
    drop_flags: list[str] = Field(description="Captions with any of these flags are left out.")
    max_invented: int = Field(ge=0, description="Captions with more invented facts than this are left out.")
    max_tokens: int = Field(ge=16, description="Longer lessons (prompt, image and caption) are left out.")
    mixture: Mixture
    pool_rows: int = Field(ge=1, description="Captions shuffled and sorted by length together.")
    workers: int = runtime("Processes that read and decode images ahead; 0: the training process itself.", ge=0)


class Train(Section):
    """The training loop."""

    steps: int = Field(ge=1, description="Optimiser steps in all.")
    connector_steps: int = Field(ge=0, description="Of these, the first ones in which only the connector learns.")
    batch: int = Field(ge=1, description="Lessons of one forward pass.")
    accumulate: int = Field(ge=1, description="Forward passes of one optimiser step, over all processes together.")
    vision: bool = Field(description="Whether the vision tower learns too, once the connector has.")
    rate: float = Field(gt=0, description="Highest learning rate.")
    connector_rate: float = Field(gt=0, description="Highest learning rate while only the connector learns.")
    warm_up: float = Field(
        ge=0, lt=1, description="Share of a phase in which the rate rises; then it falls as a cosine."
    )
    decay: float = Field(ge=0, description="Weight decay.")
    clip: float = Field(gt=0, description="Longest gradient.")
    spike: float = Field(gt=1, description="A loss that stays above this many times its running mean ends the run.")
    seed: int = Field(description="Seed of order and mixture.")
    dtype: Literal["float32", "bfloat16"] = Field(description="Type of the arithmetic; weights are kept in float32.")
    checkpointing: bool = Field(description="Compute activations again instead of keeping them: less memory, slower.")
    processes: int = Field(ge=1, description="Processes that share the model (FSDP2), one for each GPU.")
    device: str = runtime("cpu, cuda, or auto: a GPU if there is one.")
    threads: int | None = runtime("CPU threads of each process; empty: torch decides.", ge=1)
    checkpoint_steps: int = runtime("Steps between two checkpoints.", ge=1)
    peak_tflops: float | None = runtime("Arithmetic peak of one device, for MFU; empty: not reported.", gt=0)


class Gate(Section):
    """When a student may take the place of the one in use."""

    rows: int = Field(ge=1, description="Held-out captions it is judged on.")
    batch: int = runtime("Captions generated at once while judging.", ge=1)
    facts_carried: float = Field(ge=0, description="Alt-text facts carried, at least this share of its teacher's.")
    facts_invented: float = Field(ge=0, description="Share of invented facts, at most so much above its teacher's.")
    description: float = Field(
        ge=0, description="Agreement with the dense caption, at least this share of its teacher's."
    )


class Distill(Section):
    """The student: what it starts from, how it learns, when it is good enough."""

    base: str = Field(description="Model it starts from: sample:base, a folder, name@revision on the Hub, or empty.")
    vision: str = Field(description="Vision tower of a new student when base is empty.")
    llm: str = Field(description="Language model of a new student when base is empty.")
    lessons: Lessons
    train: Train
    gate: Gate

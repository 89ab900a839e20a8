"""The progress of a training, as the small state file of a checkpoint has it."""

import json
from dataclasses import asdict, dataclass, replace

from kale_tasks.distill.sampler import START, StreamPosition


@dataclass(frozen=True)
class TrainingState:
    """The progress of a training."""

    step: int = 0
    position: StreamPosition = START
    loss: float = 0.0  # running mean
    spikes: int = 0  # consecutive steps whose loss was far above the mean
    tokens: int = 0  # caption tokens trained on
    curve: tuple[tuple[int, float], ...] = ()

    @staticmethod
    def from_json(text: str) -> "TrainingState":
        """Parse what `to_json` returned."""
        fields = json.loads(text)
        curve = tuple((step, loss) for step, loss in fields.pop("curve"))
        return TrainingState(**{**fields, "position": StreamPosition(*fields["position"]), "curve": curve})

    def to_json(self) -> str:
        """Return the state as JSON text."""
        return json.dumps(asdict(self))

    def with_loss(self, loss: float, points: int = 200) -> "TrainingState":
        """Return the state with the loss of its step added to the curve, halving a curve of more than `points`."""
        curve = (*self.curve, (self.step, round(loss, 5)))
        return replace(self, curve=curve[::2] if len(curve) > points else curve)

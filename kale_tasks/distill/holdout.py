"""What a student is judged by: captions that no training uses, and how the teacher words them at another seed.

`kale run holdout` captions the holdout, twice. If it is small or not captioned, captions of stage 1 that are kept from
training are used as well.
"""

from collections.abc import Mapping
from typing import Any

from kale_tasks.distill.dataset import variant_keys, variant_name
from kale_tasks.distill.examples import TrainingExample
from kale_tasks.distill.train import example_sampler
from kale_tasks.errors import BadData
from kale_tasks.recipes.files import AGAIN, HOLDOUT
from kale_tasks.runner.run import Run

_COLUMNS = ["uid", "caption"]


def judged_examples(run: Run, processor: Any) -> list[TrainingExample]:
    """Return up to `gate.rows` captions to judge by, the same ones at each call; BadData if there is none."""
    rows = run.settings.distill.gate.rows
    found = example_sampler(run, processor, HOLDOUT).held_out(rows, share=1)
    found += example_sampler(run, processor).held_out(rows - len(found), run.settings.distill.lessons.held_out)
    if not found:
        raise BadData(
            "No caption is held out to evaluate the student on. Raise distill.lessons.held_out, or caption the holdout "
            "with `kale run holdout --key KEY`."
        )
    return found


def captions_again(run: Run) -> Mapping[str, str]:
    """Return the teacher's captions of the holdout at another seed, by uid."""
    batches = (
        batch
        for key in variant_keys(run.inputs, AGAIN)
        for batch in run.rows(variant_name(key, AGAIN)).batches(_COLUMNS)
    )
    return {row["uid"]: row["caption"] for batch in batches for row in batch.to_pylist()}

"""Every planted defect fails the check that is made for it."""

from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_run
from kale_tasks.quality.failing import failing_rows, summary
from tests.quality.defects import (
    Spoil,
    appended,
    each,
    failed,
    failing,
    first_twice,
    share,
    shifted,
    shuffled,
    swapped,
)
from tests.quality.world import DENSE, STEPS, World, commit, open_world

# name of the defect: (step, how its rows are spoilt, the check that must fail)
DEFECTS: dict[str, tuple[str, Spoil, str]] = {
    "url and alt-text swapped": ("ingest", swapped("url", "text"), "url_form"),
    "a row twice": ("ingest", first_twice, "uid_unique"),
    "parts out of order": ("ingest", shuffled, "order_breaks"),
    "uid in upper case": ("ingest", each(uid=lambda r: r["uid"].upper()), "uid_form"),
    "unknown split": ("ingest", share(0.05, split="test"), "split_known"),
    "empty alt-text": ("ingest", share(0.05, alt_text="", text=" "), "blank_never"),
    "no url": ("ingest", share(0.02, url=None), "url_there"),
    "file path as url": ("ingest", share(0.02, url="file:///etc/passwd"), "url_form"),
    "mojibake": ("ingest", share(0.1, text="CafÃ© de la gare Ã  Genève"), "mojibake_share"),
    "one alt-text for many": ("ingest", share(0.2, text="buy cheap shoes online"), "text_copies"),
    "nearly all rows dropped": ("ingest", lambda rows: rows[:1], "kept_share"),
    "no row at all": ("ingest", lambda rows: [], "kept_share"),
    "clip scores in percent": ("ingest", each(clip_b32=lambda r: r["clip_b32"] * 100), "clip_b32_range"),
    "dead resolver": ("images", failing(0.4, "dns"), "dns_share"),
    "dead network": ("images", failing(0.05, "unreachable"), "unreachable_share"),
    "almost no image came": ("images", failing(0.9, "http_404"), "yield_share"),
    "one placeholder picture": ("images", share(0.3, sha256="ab" * 32), "placeholder_share"),
    "bytes changed": ("images", each(sha256_matches=False), "sha256_drift_share"),
    "images of strangers": ("images", share(0.05, uid=lambda r: f"{r['uid'][:-4]}0000"), "orphans"),
    "shifted offsets": ("images", each(offset=lambda r: r.get("offset", 0) + 7), "members_unreadable"),
    "shard that is not there": ("images", each(shard="images/nowhere.tar"), "members_unreadable"),
    "width and height swapped": ("images", swapped("width", "height"), "members_unreadable"),
    "failed without a reason": ("images", failing(0.03, ""), "unexplained_never"),
    "came without a hash": ("images", share(0.05, sha256=None), "incomplete_never"),
    "split changed": ("images", share(0.2, split="holdout"), "split_changed"),
    "refusals": (DENSE, share(0.03, text="I'm sorry, but I cannot help with that image."), "refusal_share"),
    "cut tails": (DENSE, share(0.2, finish_reason="length"), "truncated_share"),
    "loops": (DENSE, share(0.05, text="a red boat and " * 12), "loop_share"),
    "another language": (DENSE, share(0.2, text="Ein rotes Boot liegt vor dem alten Haus"), "foreign_share"),
    "one caption for all": (DENSE, each(text="A picture of something in a place."), "text_copies"),
    "one word": (DENSE, each(text=lambda r: r["text"].split()[1]), "words_mean"),
    "no model named": (DENSE, each(models=[]), "nameless_never"),
    "leaked prompt": ("fuse", share(0.03, caption=appended("caption", "The alt-text names it.")), "leaked_share"),
    "chat template left": ("fuse", share(0.03, caption=appended("caption", "<|im_end|>")), "leaked_share"),
    "invented facts": ("fuse", each(facts=9, facts_invented=4), "invented_share"),
    "alt-text never used": ("fuse", each(facts_from_alt=0), "alt_used_share"),
    "alt-text as caption": ("fuse", share(0.2, caption=lambda r: r["alt_text"]), "copied_share"),
    "captions of the neighbour": ("fuse", shifted("dense_caption"), "dense_changed"),
    "alt-text rewritten": ("fuse", each(alt_text=lambda r: r["alt_text"].lower()), "alt_changed"),
    "more facts from the alt-text than facts": ("fuse", each(facts_from_alt=5), "facts_from_alt_within_facts"),
    "no caption": ("fuse", share(0.02, caption=None), "caption_there"),
    "student ignores the alt-text": ("student", share(0.7, facts_from_alt=0), "student_alt_gap"),
    "no models named": ("student", each(models=[]), "nameless_never"),
    "no tokens": ("student", each(tokens_out=0), "tokens_out_range"),
}  # fmt: skip
# Figures that count some rows of a clean key too.
ALSO_CLEAN = {"text_copies", "uid_unique", "student_alt_gap", "alt_used_share", "dns_share", "yield_share",
              "sha256_drift_share"}  # fmt: skip
# Checks of a whole key that no single row fails.
OF_NO_ROW = {"order_breaks", "kept_share", "words_mean", "members_unreadable"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a clean world under a key of each step's own: what comes before the step, ready for its defects."""
    lake = open_world(tmp_path_factory.mktemp("quality"))
    for step in STEPS:
        world = World(step)
        for before in list(STEPS)[: list(STEPS).index(step)]:
            commit(lake, world, before)
    check_run(lake, lake.settings, "fuse", "student")
    return lake


def test_the_table_of_the_docs_lists_every_defect_and_its_check() -> None:
    page = (Path(__file__).parents[2] / "docs/quality.md").read_text("utf-8")
    rows = [f"| {name} | {step.partition('-')[0]} | `{check}` |" for name, (step, _, check) in DEFECTS.items()]
    table = page.partition("| defect | step | check |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows and len(rows) >= 30


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_fails_its_check_and_its_rows_are_found(defect: str, lake: Lake) -> None:
    step, spoil, check = DEFECTS[defect]
    commit(lake, World(step), step, spoil)
    if check == "sha256_drift_share":
        assert check in check_run(lake, lake.settings, step, step).warnings
    else:
        assert check in failed(lake, step, step).failed
    rows = failing_rows(lake, lake.settings, step, step, 1000)
    listed = {row["uid"] for row in rows.to_pylist() if row["check"] == check}
    assert listed <= _spoilt(step, spoil, check) and bool(listed) == (check not in OF_NO_ROW), summary(rows)


def _spoilt(step: str, spoil: Spoil, check: str) -> set[str]:
    clean = World(step).rows_of(step)
    rows = spoil([dict(row) for row in clean])
    if check in ALSO_CLEAN:
        return {row["uid"] for row in rows}
    known = {row["uid"]: row for row in clean}
    return {row["uid"] for row in rows if known.get(row["uid"]) != row}

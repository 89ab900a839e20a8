"""Two recipes on one key: they share the pass that describes; status, report and release show both."""

import json
from collections import Counter
from pathlib import Path

import yaml

from kale_tasks.lake.changes import compare
from kale_tasks.pending import pending_work
from kale_tasks.quality.report import gather
from kale_tasks.release.built import manifest, read
from kale_tasks.release.diff import diff
from kale_tasks.release.step import Release
from kale_tasks.release.targets.base import Current
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.status import all_states
from tests.captions.conftest import Opener
from tests.captions.world import KEY, give, pairs, run_captions
from tests.engines.server import completion, prompt_of, serving

CAPTION = "A small red tower is at the left. The background is plain white."


def test_two_recipes_share_a_pass_and_are_shown_side_by_side(opened: Opener, tmp_path: Path) -> None:
    given = [pair for pair in pairs(30) if pair.split == "stage1"]
    demo = yaml.safe_load(Path("config/recipes/demo.yaml").read_text(encoding="utf-8"))
    plain = {**demo, "models": {"vlm": demo["models"]["vlm"]}, "passes": demo["passes"][:1], "caption": "dense"}
    plain["student"] = {**demo["student"], "lessons": [{"weight": 1, "answer": "dense"}]}
    other = tmp_path / "plain.yaml"
    other.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with serving(reply=lambda body: completion(CAPTION)) as server:
        lake, settings = opened("quality.samples=1", f"schedule.recipes=[demo, {other}]", server=server)
        give(lake, settings, given)
        run_captions(lake, settings)
        before = Counter(server.asked)
        run_captions(lake, settings.with_values({"caption": {"recipe": str(other)}}))
        assert server.asked == before  # the description was paid for once
    assert any(prompt_of(body) == demo_prompt for body in server.bodies for demo_prompt in before)

    names = {partition.name for partition in lake.partitions("captions")}
    assert names == {f"{KEY}/recipe=demo/stage=1", f"{KEY}/recipe=plain/stage=1"}
    rows = {recipe: lake.arrow("captions", KEY, slice_={"recipe": recipe}).to_pylist() for recipe in ("demo", "plain")}
    assert all(row["facts_from_alt"] is row["facts_invented"] is None for row in rows["plain"])
    assert all(row["facts_invented"] == 0 for row in rows["demo"])

    cells = {(cell["recipe"], cell["step"]): cell["state"] for cell in all_states(lake, settings) if cell["key"] == KEY}
    assert cells["demo", "fuse"] == cells["plain", "fuse"] == cells["plain", "dense"] == "committed"

    report = gather(lake, settings, KEY)
    assert {"stage 1 (demo)", "stage 1 (plain)"} <= {row["source"] for row in report.metrics}
    assert report.funnel["captions, stage 1, plain"] == len(given)
    headings = [one.heading for one in report.found]
    assert {"fuse (demo)", "fuse (plain)"} <= set(headings) and len(headings) == len(set(headings))
    assert {one.heading: one.rows for one in report.efforts}["fuse (plain)"] == len(given)

    lacks = pending_work(lake, settings)["recipes"]
    assert {name: of["stage1"] for name, of in lacks.items()} == {"demo": [], "plain": []}

    snapshots = [s.snapshot_id for s in lake.table("captions").snapshots()]
    (changed,) = compare(lake, "captions", snapshots[0], snapshots[-1])
    assert (changed["recipe"], changed["stage"], changed["rows_in"]) == ("plain", 1, len(given))

    execute(Run(Release(), lake, settings, "all"))
    built = read(lake, "all")
    found = diff(lake, built, Current())
    assert {name: of.rows_in for name, of in found.recipes.items()} == {"demo": len(given), "plain": len(given)}
    assert f"demo: {len(given)} rows in, 0 out" in str(found)
    assert {"demo-full", "plain-full", "demo-core"} <= built.configs.keys()
    assert built.rows("demo-full") == built.rows("plain-core") == len(given)
    assert built.rows("full") == 2 * len(given)

    published = Current(manifest=json.loads(manifest(built)))
    lake.storage.delete(next(file.path for file in built.files if "/plain/" in file.name and file.format == "captions"))
    only = {"schedule": {"recipes": []}, "caption": {"recipe": "demo"}}
    execute(Run(Release(), lake, settings.with_values(only), "all"))
    found = diff(lake, read(lake, "all"), published)
    assert (found.rows_same, found.rows_out, found.recipes["plain"].rows_out) == (len(given), len(given), len(given))

"""`kale run dense`, `kale run fuse` and `kale show captions` mean what they say."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.captions.conftest import COMMON, Opener
from tests.captions.world import KEY, give, pairs
from tests.engines.server import completion, serving
from tests.kale import kale

CAPTION = "A small red tower is at the left of a wall."


def test_dense_is_one_pass_and_fuse_is_everything_up_to_the_captions(opened: Opener, tmp_path: Path) -> None:
    given = [pair for pair in pairs(14) if pair.split == "stage1"]
    with serving(reply=lambda body: completion(CAPTION)) as server:
        lake, settings = opened(server=server)
        give(lake, settings, given)
        sets = [*COMMON, "caption.engine=openai", f"warehouse={settings.warehouse}", "quality.limits.alt_used_min=0"]
        sets += [f"caption.endpoints.models.{model}=[{server.url}]" for model in ("vlm", "llm")]

        def run(step: str, *words: str) -> Any:
            answer = kale("run", step, "--key", KEY, *words, "--json", sets=sets)
            assert answer.code == 0, answer.err
            return answer.json

        made = run("dense")
        assert (made["table"], made["rows"]) == ("texts", len(given)) and made["step"].startswith("dense-")
        assert [str(p.columns["pass"]).partition("-")[0] for p in lake.partitions("texts")] == ["dense"]
        assert lake.partitions("captions") == {}

        made = run("fuse")
        assert (made["step"], made["table"], made["recipe"]) == ("fuse", "captions", "demo")
        assert [one["step"].partition("-")[0] for one in made["passes"]] == ["dense", "fused", "caption"]

        asked = server.asked.total()
        again = run("captions", "--recipe", "demo")
        assert again["fingerprint"] == made["fingerprint"] and server.asked.total() == asked

    out = tmp_path / "captions.parquet"
    kale("show", "captions", "--key", KEY, "--out", str(out), sets=sets)
    rows = pq.read_table(out).to_pylist()
    assert [row["uid"] for row in rows] == [pair.uid for pair in given]
    assert {(row["recipe"], row["stage"], row["caption"], row["dense_caption"]) for row in rows} == {
        ("demo", 1, CAPTION, CAPTION)
    }

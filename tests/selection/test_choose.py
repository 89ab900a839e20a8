"""A selection keeps what it is asked for: without copies, even over clusters, and the same on DuckDB and on Spark."""

import json
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.frame import process
from kale_tasks.selection.choose import COPY, EVALUATION, NOT_CHOSEN, Selection, Wanted, choose
from kale_tasks.selection.engine import DuckEngine, open_engine
from kale_tasks.selection.vectors import STEPS, Floats, Vectors, product
from tests.lakes import settings_of
from tests.selection.points import clustered, known, stored, with_copies

NOTHING = np.zeros((0, 0), np.float32)
LEAST = product(0.9)
CHOSEN = ("copies", "kept")


def selected(vectors: Vectors, wanted: Wanted, evaluation: Floats = NOTHING) -> Selection:
    return choose(DuckEngine("1GB"), vectors, known(sum(rows for _, rows in vectors.files)), wanted, evaluation)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> tuple[Floats, list[int], Vectors]:
    made, copies = with_copies(clustered(3000, 128, 30, seed=1, spread=1.2), 300, seed=2)
    return made, copies, stored(tmp_path_factory.mktemp("points"), made, block_rows=1000)


def test_copies_are_dropped_or_flagged_and_nothing_else_is(points: Any) -> None:
    _, copies, vectors = points
    dropped = selected(vectors, Wanted(LEAST, copies="drop"))
    assert [at for at, rule in enumerate(dropped.rules) if rule] == copies
    assert set(dropped.rules) == {"", COPY}
    flagged = selected(vectors, Wanted(LEAST, copies="flag"))
    assert set(flagged.rules) == {""}
    assert [at for at in range(3000) if flagged.flags(at)] == copies


def test_evaluation_images_are_dropped_or_flagged(points: Any) -> None:
    made, _, vectors = points
    evaluation = np.round(made[[5, 2000]] * STEPS)
    dropped = selected(vectors, Wanted(LEAST, evaluation="drop"), evaluation)
    assert {at for at, rule in enumerate(dropped.rules) if rule == EVALUATION} >= {5, 2000}
    flagged = selected(vectors, Wanted(LEAST, evaluation="flag"), evaluation)
    assert flagged.flags(5) == [EVALUATION] and set(flagged.rules) == {""}


def test_a_share_is_kept_of_each_cluster_evenly_and_covers_them(points: Any) -> None:
    _, copies, vectors = points
    found = selected(vectors, Wanted(LEAST, copies="drop", share=0.1))
    kept = [at for at, rule in enumerate(found.rules) if not rule]
    assert len(kept) == round(0.1 * (3000 - len(copies)))
    counts = np.bincount(found.cluster[kept])
    assert counts.max() - counts.min() <= 1 or counts.min() >= 1
    assert found.cover["clusters_covered"] == found.cover["clusters"] == len(set(found.cluster[kept]))
    assert {rule for at, rule in enumerate(found.rules) if at not in set(kept)} == {COPY, NOT_CHOSEN}


def test_too_small_a_share_covers_the_largest_clusters_only(points: Any) -> None:
    found = selected(points[2], Wanted(LEAST, share=0.002))
    kept = [at for at, rule in enumerate(found.rules) if not rule]
    assert len(kept) == 6
    assert found.cover == {"clusters": 54, "clusters_covered": 6}
    sizes = np.bincount(found.cluster)
    assert {int(sizes[found.cluster[at]]) for at in kept} <= set(np.sort(sizes)[-6:].tolist())


def test_typical_rows_are_next_to_the_centre_and_diverse_ones_differ_more(points: Any) -> None:
    made, _, vectors = points
    spread = {}
    for diverse in (False, True):
        found = selected(vectors, Wanted(LEAST, best=4, clusters=20, diverse=diverse))
        kept = [at for at, rule in enumerate(found.rules) if not rule]
        assert len(kept) == 80
        inside = []
        for cluster in range(20):
            mine = [at for at in kept if found.cluster[at] == cluster]
            if not diverse:
                closest = np.sort(found.closeness[found.cluster == cluster])[-4:]
                assert sorted(found.closeness[mine]) == closest.tolist()
            inside.append((made[mine] @ made[mine].T)[np.triu_indices(len(mine), 1)].mean())
        spread[diverse] = float(np.mean(inside))
    assert spread[True] < spread[False] - 0.05


@pytest.mark.nightly
def test_spark_chooses_the_same_rows(points: Any) -> None:
    made, _, vectors = points
    evaluation = np.round(made[:3] * STEPS)
    with open_engine(settings_of(["ingest.engine=spark"]).ingest, 3000) as engine:
        for diverse in (False, True):
            wanted = Wanted(LEAST, copies="drop", evaluation="drop", share=0.1, diverse=diverse)
            duck, spark = (
                selected(vectors, wanted, evaluation),
                choose(engine, vectors, known(3000), wanted, evaluation),
            )
            assert duck.rules == spark.rules and len(set(duck.rules)) == 4
            assert (duck.place == spark.place).all() and (duck.closeness == spark.closeness).all()


def test_a_key_without_vectors_has_no_selection(tmp_path: Path) -> None:
    assert (
        selected(Vectors(stored(tmp_path, np.zeros((0, 4), np.float32)).storage, ()), Wanted(LEAST, share=0.1)).rules
        == []
    )


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kale_tasks.selection.choose.SAMPLE_ROWS", 2048)
    monkeypatch.setattr("kale_tasks.selection.choose._BASIS_ROWS", 1024)
    peaks = {}
    for rows in (2_000, 2_000, 12_000):  # the first time, modules are imported
        folder = tmp_path / f"{len(peaks)}-{rows}"
        folder.mkdir()
        made, copies = with_copies(clustered(rows, 256, 30, seed=1, spread=1.2), rows // 20, seed=2)
        vectors = stored(folder, made, block_rows=1000)
        tracemalloc.start()
        arrow = pa.total_allocated_bytes()
        found = selected(vectors, Wanted(LEAST, copies="drop", share=0.1, clusters=40))
        peaks[rows] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert {at for at, rule in enumerate(found.rules) if rule == COPY} >= set(copies)
        assert pa.total_allocated_bytes() <= arrow + (4 << 20)
    print(peaks)
    assert peaks[12_000] < peaks[2_000] + (4 << 20)  # 10,000 vectors more have 10 MB


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_100_000_vectors_take_flat_memory_and_are_the_same_on_both_engines(tmp_path: Path) -> None:
    peaks: dict[str, list[float]] = {"duckdb": [], "spark": []}
    for rows in (25_000, 50_000, 100_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        made, copies = with_copies(clustered(rows, 1280, 400, seed=3, spread=1.2), rows // 20, seed=4)
        files = stored(folder, made).files
        del made
        duck, spark = (once(folder, files, engine) for engine in peaks)
        assert set(copies) <= set(duck["copies"])
        assert [duck[name] for name in CHOSEN] == [spark[name] for name in CHOSEN]
        for engine, found in (("duckdb", duck), ("spark", spark)):
            peaks[engine].append(found["all_mb"])
            print(rows, engine, {name: value for name, value in found.items() if name not in CHOSEN})
    # 75,000 vectors more have 384 MB.
    assert max(peaks["duckdb"]) < peaks["duckdb"][0] + 100
    assert max(peaks["spark"]) < peaks["spark"][0] + 200


def once(folder: Path, files: Sequence[tuple[str, int]], engine: str) -> dict[str, Any]:
    """Select a tenth in a process of its own; `all_mb` is the memory of all its processes."""
    asked = folder / "asked.json"
    asked.write_text(json.dumps([str(folder), files, engine]))
    with asked.open() as given:
        took, said = process([sys.executable, "-m", "tests.selection.select_once"], stdin=given)
    found = next(line for line in said.splitlines() if line.startswith("{"))  # Spark prints warnings
    return {**json.loads(found), "all_mb": round(took.peak_mb)}

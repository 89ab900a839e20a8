"""The shipped recipes of other systems do what their sentence says, and no longer do without the pass that does it.

The models are scripts: this shows that recipes ask, score, choose and verify as they say, not what real models do.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from kale_tasks.experts.base import EXPERTS, SCORERS
from kale_tasks.release.step import Release
from kale_tasks.resources import resource
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.text.cutting import count_words
from kale_tasks.text.grounding import invented
from kale_tasks.text.language import detect_language
from kale_tasks.world import describe
from tests.captions.conftest import COMMON
from tests.captions.neighbour_scripts import (
    PHANTOM,
    answers,
    boasts,
    graphs,
    guesses,
    imagines,
    invents,
    judges,
    nodes_of,
    quotes,
    sizes,
    talks,
    translates,
    varied,
)
from tests.captions.scripted import CLAIMED, SEEDS, Script, World, describes, truth
from tests.captions.world import Pair, give, run_captions
from tests.engines.server import Server, serving
from tests.lakes import lake_of

Row = dict[str, Any]
Measure = Callable[[Row, Pair], float]


@dataclass(frozen=True)
class Case:
    """A recipe, the pass that makes its effect, what is published without that, and how the effect is measured."""

    recipe: str
    without: Mapping[str, Any]  # the recipe without the pass: what changes of it
    measure: Measure  # of a caption, between 0 and 1
    script: Script = describes
    least: float = 1.0  # with the pass
    most: float = 0.5  # without it
    drop: Sequence[str] = field(default_factory=list)


def knows(row: Row, pair: Pair) -> float:
    """Whether a caption has the name, place and year of its alt-text."""
    return float(all(part in row["caption"] for part in _facts(pair)))


def sees(row: Row, pair: Pair) -> float:
    return truth(row["caption"], pair.scene)


def sound(row: Row, pair: Pair) -> float:
    """Whether a caption says nothing that neither image nor alt-text says."""
    return float(not invented(row["caption"], describe.dense(pair.scene), pair.alt.text))


def _facts(pair: Pair) -> list[str]:
    name, _, rest = pair.alt.text.partition(" in ")
    place, _, year = rest.partition(", made in ")
    return [name, place, year]


def in_its_language(row: Row, pair: Pair) -> float:
    """Whether a caption is in one of the languages and keeps the names of the English one."""
    kept = all(part in row["caption"] for part in _facts(pair))
    return float(detect_language(row["caption"])[0] in ("de", "fr", "es") and kept)


def sized(row: Row, pair: Pair) -> float:
    views = json.loads(row["also"])
    return float(any(abs(count_words(views["sized"]) - wished) <= wished / 4 for wished in (8, 20, 60)))


def both(row: Row, pair: Pair) -> float:
    return float(sees(row, pair) == 1 and pair.alt.text in row["caption"])


def chosen(row: Row, pair: Pair) -> float:
    return float(truth(row["caption"], pair.scene) == 1)


def reads_sign(row: Row, pair: Pair) -> float:
    return float("A sign says SHOP" in row["caption"])


def without_phantom(row: Row, pair: Pair) -> float:
    return float(PHANTOM.strip() not in row["caption"] and sees(row, pair) == 1)


def without_claim(row: Row, pair: Pair) -> float:
    return float(CLAIMED.strip() not in row["caption"] and knows(row, pair) == 1)


def is_alt(row: Row, pair: Pair) -> float:
    return float(row["caption"] == pair.alt.text)


def knows_nothing(row: Row, pair: Pair) -> float:
    return 1 - knows(row, pair)


def answered(row: Row, pair: Pair) -> float:
    """Whether a caption answers the question about colours; every fifth row has that one."""
    return float("colours" in row["caption"] and all(one.colour in row["caption"] for one in pair.scene.things))


def is_graph(row: Row, pair: Pair) -> float:
    """Whether caption and graph have exactly the nodes."""
    nodes = nodes_of(pair.scene)
    return float(all(node in row["caption"] for node in nodes) and json.loads(row["also"])["graph"] == "; ".join(nodes))


_ALT = "Description: {dense}\nWeb text: <alt>{alt}</alt>"
_TAGS = "Description: {dense}\nRead: {tags}"
_ONE: Row = {"n": 1, "sampling": {"max_tokens": 48}}
_TWO: Row = {"of": None, "best": None, "join": " "}
_MIX: Row = {"of": None, "least": None, "best": None, "mix": {"alt": 1, "dense": 0.01}}
CASES = [
    Case("kale", {"caption": "dense"}, knows, drop=["fused", "caption"], most=0),
    Case("dense-only", {"passes": [{"name": "dense", "pick": ["alt"], "join": " "}]}, sees, most=0, drop=["dense"]),
    Case("capsfusion", {"caption": "fused"}, sound, invents, drop=["caption"], most=0.9),
    Case("densefusion", {"caption": "dense"}, sound, guesses, drop=["caption"], most=0),
    Case("views", {"passes.sized": {"within": None}}, sized, sizes, least=0.95, most=0.9),
    Case("rank-and-fuse", {"passes.top": _TWO}, chosen, varied, drop=["fit"]),
    Case("best-of-n", {"caption": "dense", "passes.dense": _ONE}, chosen, varied, drop=["fit", "caption"], most=0),
    Case(
        "fusecap",
        {
            "passes.fused": {"user": _TAGS, "when": None, "against": ["dense", "tags"]},
            "passes.caption": {"against": ["dense", "tags"]},
        },
        reads_sign, quotes, drop=["ocr"], most=0,
    ),
    Case("image-textualization", {"caption": "dense"}, without_phantom, imagines, drop=["judged", "tags", "caption"],
         most=0),
    Case("veclip", {"caption": "checked"}, is_alt, least=0.2, most=0, drop=["caption"]),
    Case("capfilt", {"passes.caption": _MIX}, sees, least=0.99, drop=["fit"]),
    Case(
        "placebo",
        {
            "passes.fused": {"when": "alt.useful", "against": ["dense", "alt"], "user": _ALT},
            "passes.caption": {"against": ["dense", "alt"]},
        },
        knows_nothing, most=0,
    ),
    Case("concat", {"caption": "dense"}, both, drop=["caption"], most=0),
    Case("mlbcap", {"caption": "plain"}, chosen, judges, drop=["judged", "caption"]),
    Case("chatcaptioner", {"passes.dense": {"rounds": 1, "follow": ""}}, chosen, talks, most=0.4),
    Case("promptcap", {"passes.dense": {"vary": {}, "user": "Describe this image."}}, answered, answers, least=0.1,
         most=0),
    Case("structured", {"passes.caption": {"user": "An image shows: {graph|cut:1} ", "against": []}}, is_graph, graphs,
         most=0),
    Case("multilingual", {"caption": "english"}, in_its_language, translates, drop=["translated", "caption"], most=0),
    Case("judged", {"passes.rewritten": {"when": "judged.count > 9"}}, without_claim, boasts, most=0),
]  # fmt: skip
EACH_RUN = {"kale", "capsfusion", "views", "rank-and-fuse", "fusecap", "veclip", "mlbcap", "structured"}
MARKED = [pytest.param(it, id=it.recipe, marks=() if it.recipe in EACH_RUN else pytest.mark.nightly) for it in CASES]


class Bench:
    """A lake with the pairs of three seeds, and a server that answers by a script."""

    def __init__(self, folder: Path, server: Server, world: World) -> None:
        self.folder, self.world = folder, world
        served = [f"caption.endpoints.models.{name}=[{server.url}]" for name in ("vlm", "llm")]
        sets = [*COMMON, *served, f"warehouse={folder / 'lake'}", "caption.engine=openai", "images.decode.max_side=768"]
        self.lake, self.settings = lake_of(sets)

    def captions(self, recipe: str, case: Case) -> list[Row]:
        """Run a recipe with a script, on a key of its own: recipes of one key share texts."""
        self.world.script = case.script
        if self.lake.committed("images", case.recipe) is None:
            give(self.lake, self.settings, self.world.pairs, case.recipe)
        run_captions(self.lake, self.settings.with_values({"caption": {"recipe": recipe}}), case.recipe)
        return self.lake.arrow("captions", case.recipe, slice_={"recipe": Path(recipe).stem}).to_pylist()

    def changed(self, case: Case) -> str:
        """Save the recipe of a case without its pass."""
        found = yaml.safe_load(resource(f"config/recipes/{case.recipe}.yaml").read_text(encoding="utf-8"))
        added: list[Row] = []
        passes = [one for one in found["passes"] if one["name"] not in case.drop]
        for place, change in case.without.items():
            if place == "passes":
                added = change
            elif place.startswith("passes."):
                one = next(one for one in passes if one["name"] == place.removeprefix("passes."))
                one |= change
                for name in [name for name, value in change.items() if value is None]:
                    del one[name]
            else:
                found[place] = change
        found["passes"] = [*passes, *added]
        asked = {one.get("ask") for one in found["passes"]}
        found["models"] = {name: model for name, model in found["models"].items() if name in asked}
        names = {one["name"] for one in found["passes"]}
        found["also"] = [name for name in found.get("also", []) if name in names]
        prompt = "Caption it. <alt>{alt}</alt>"
        found["student"] |= {"user": prompt, "lessons": [{"weight": 1, "answer": found["caption"]}]}
        path = self.folder / f"{case.recipe}-without.yaml"
        path.write_text(yaml.safe_dump(found), encoding="utf-8")
        return str(path)

    def shares(self, case: Case, rows: Sequence[Row]) -> dict[str, float]:
        """The mean of what a case measures, by seed; a row without a caption counts for nothing."""
        by_uid = {row["uid"]: row for row in rows}
        return {
            seed: mean(case.measure(by_uid[pair.uid], pair) if pair.uid in by_uid else 0.0 for pair in found)
            for seed, found in self.world.by_seed.items()
        }


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    world = World()
    with serving(reply=world.reply) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(SCORERS, "_built_in", {**SCORERS._built_in, "labels": f"{__name__}:SCORER"})
        experts = {"tags": f"{__name__}:TAGS", "rapidocr": f"{__name__}:OCR"}
        patch.setattr(EXPERTS, "_built_in", {**EXPERTS._built_in, **experts})
        globals().update(
            SCORER=world.scorer(),
            TAGS=world.expert(lambda pair: [thing.kind for thing in pair.scene.things]),
            OCR=world.expert(lambda pair: ["SHOP"]),
        )
        yield Bench(tmp_path_factory.mktemp("neighbours"), server, world)


@pytest.mark.parametrize("case", MARKED)
def test_a_recipe_does_what_it_says_and_not_without_its_pass(bench: Bench, case: Case) -> None:
    found = bench.shares(case, bench.captions(case.recipe, case))
    lost = bench.shares(case, bench.captions(bench.changed(case), case))
    print(f"{case.recipe}: with {sorted(found.values())}, without {sorted(lost.values())}")
    for seed in SEEDS:
        assert found[seed] >= case.least and lost[seed] <= case.most, (seed, found, lost)


def test_captions_have_what_was_rated_and_which_experts_had_a_part(bench: Bench) -> None:
    cases = {case.recipe: case for case in CASES}
    for row in bench.captions("rank-and-fuse", cases["rank-and-fuse"]):
        rated = json.loads(row["candidates"])
        assert [(one["pass"], one["n"]) for one in rated] == [("dense", n) for n in range(3)]
        assert min(rated, key=lambda one: one["score"])["n"] == 0 and row["experts"] is None
    for row in bench.captions("densefusion", cases["densefusion"]):
        found = json.loads(row["experts"])
        assert found["ocr"]["score"] == 0.9 and found["tags"]["values"] >= 1 and row["candidates"] is None
    for row in bench.captions("mlbcap", cases["mlbcap"]):
        assert set(json.loads(row["also"])) == {"dense", "listed"}


@pytest.mark.parametrize(
    ("recipe", "column"), [("rank-and-fuse", "candidates"), ("densefusion", "experts"), ("mlbcap", "also")]
)
def test_released_files_have_views_candidates_and_experts(bench: Bench, recipe: str, column: str) -> None:
    case = next(case for case in CASES if case.recipe == recipe)
    captions = {row["uid"]: row for row in bench.captions(recipe, case)}
    step = Release()
    step.suite = None  # type: ignore[misc]
    execute(Run(step, bench.lake, bench.settings.with_values({"caption": {"recipe": recipe}}), recipe))
    files = [row for row in bench.lake.arrow("releases", recipe).to_pylist() if row["format"] == "captions"]
    rows = [
        row for file in files for row in pq.read_table(io.BytesIO(bench.lake.storage.read(file["path"]))).to_pylist()
    ]
    assert len(rows) == len(captions)
    assert all(row[column] and row[column] == captions[row["uid"]][column] for row in rows)


def test_every_shipped_recipe_has_a_case() -> None:
    shipped = {path.stem for path in resource("config/recipes").glob("*.yaml")}
    assert shipped - {case.recipe for case in CASES} == {"demo"}


def test_the_documents_have_a_row_for_each_recipe_with_the_lines_of_its_file() -> None:
    text = resource("docs/recipes.md").read_text(encoding="utf-8").partition("| recipe (`config/recipes/NAME.yaml`)")[2]
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \|", text.partition("\n\n")[0], re.M)
    paths = {case.recipe: resource(f"config/recipes/{case.recipe}.yaml") for case in CASES}
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in paths.items()}
    assert {name: int(count) for name, count in rows} == lines

"""A lake that an earlier version wrote works: it is read, no model is asked again, and what follows is made."""

import tarfile
from pathlib import Path

import pytest
import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.lake.identity import LAKE_FILE
from kale_tasks.lake.relocate import relocate
from kale_tasks.lake.tables import Lake
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.captions.conftest import COMMON
from tests.captions.world import KEY, run_captions
from tests.engines.server import Server, completion, prompt_of, serving
from tests.lakes import settings_of
from tests.upgrades.make import CAPTION, GIVEN

LAKES = sorted(Path(__file__).parent.glob("layout*.tar.xz"))


def moved(packed: Path, folder: Path, server: Server, *sets: str) -> tuple[Lake, Settings]:
    """Unpack a lake and make the copy one of its own."""
    with tarfile.open(packed) as files:
        files.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.2, which Debian 12 has
        files.extractall(folder)
    served = [f"caption.endpoints.models.{name}=[{server.url}]" for name in ("vlm", "llm")]
    settings = settings_of([f"warehouse={folder}/lake", *COMMON, "caption.engine=openai", *served, *sets])
    relocate(settings)
    return Lake(settings, create=False), settings


def captions(lake: Lake) -> list[tuple[str, str, str]]:
    """What is captioned how, and from which description."""
    rows = lake.arrow("captions", KEY, slice_={"recipe": "demo"}).to_pylist()
    return sorted((row["uid"], row["dense_caption"], row["caption"]) for row in rows)


@pytest.mark.parametrize("packed", LAKES, ids=lambda path: path.name)
def test_a_lake_of_an_earlier_version_is_used(packed: Path, tmp_path: Path) -> None:
    with serving(reply=lambda body: completion(CAPTION)) as server:
        lake, settings = moved(packed, tmp_path, server)
        before = captions(lake)
        assert len(before) == len(GIVEN)
        run_captions(lake, settings)  # rules that have changed judge the texts again
        assert not server.asked and captions(lake) == before
        made = lake.committed("captions", KEY, {"recipe": "demo", "stage": 1})
        run_captions(lake, settings)
        assert lake.committed("captions", KEY, {"recipe": "demo", "stage": 1}) == made
        demo = yaml.safe_load(Path("config/recipes/demo.yaml").read_text(encoding="utf-8"))
        fused = {**demo["passes"][1], "sampling": {"max_tokens": 99}}
        (tmp_path / "other.yaml").write_text(
            yaml.safe_dump({**demo, "passes": [demo["passes"][0], fused, demo["passes"][2]]}), encoding="utf-8"
        )
        other = settings.with_values({"caption": {"recipe": str(tmp_path / "other.yaml")}})
        run_captions(lake, other)
        assert server.bodies and all("The description:" in prompt_of(body) for body in server.bodies)
    assert lake.arrow("captions", KEY).num_rows == 2 * len(GIVEN)
    assert execute(Run(Release(), lake, other, "all")).rows >= 1


def test_a_lake_of_the_first_layout_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / LAKE_FILE).write_text(f'{{"uuid": "1", "layout": 1, "place": "{tmp_path}"}}')
    with pytest.raises(BadConfig, match=r"layout 1 .* needs 2.*docs/upgrading\.md"):
        Lake(settings_of([f"warehouse={tmp_path}"]))

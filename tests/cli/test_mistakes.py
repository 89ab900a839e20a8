"""The commonest mistakes: each is one line that says what happened and what to do, and no traceback."""

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.lake.tables import Lake
from kale_tasks.world.write import write_pictures
from tests.kale import Answer, kale
from tests.lakes import settings_of

KEY = "2026-11-01"
ON_KEY = ["--key", KEY]
CSV = "url,text\nhttps://example.org/{n}.jpg,The old stone bridge over river number {n}\n"


MISTAKES = yaml.safe_load(Path(__file__).with_name("mistakes.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A folder with files to make mistakes with, a port that is used and one that is free."""
    tmp = tmp_path_factory.mktemp("mistakes")
    (tmp / "landing" / KEY).mkdir(parents=True)
    (tmp / "landing" / KEY / "a.csv").write_text(
        "url,text\n" + "".join(CSV.splitlines()[1].format(n=n) + "\n" for n in range(40))
    )
    (tmp / "empty").mkdir()
    (tmp / "a-file").write_text("")
    (tmp / "broken.yaml").write_text("a: [1\n")
    (tmp / "mine.csv").write_text("link,words\nhttp://a/b.jpg,x\n")
    write_pictures(tmp / "photos", 1)
    (tmp / "photo.jpg").write_bytes((tmp / "photos/picture-00.jpg").read_bytes())
    recipe = Path("config/recipes/demo.yaml").read_text("utf-8")
    (tmp / "mine.yaml").write_text(recipe.replace("ask: vlm", "ask: vml"))
    (tmp / "absent.yaml").write_text(recipe.replace("sample:teacher", "/nowhere/model"))
    (tmp / "loose.yaml").write_text(recipe.replace("sample:teacher", "Qwen/Qwen3-VL-8B-Instruct"))
    lake = [
        f"landing={tmp / 'landing'}",
        f"warehouse={tmp / 'lake'}",
        "ingest.lists.evaluation=null",
        "images.evaluation=null",
    ]
    Lake(settings_of(lake))
    ingested = [*lake, f"warehouse={tmp / 'ingested'}"]
    Lake(settings_of(ingested))
    assert kale("run", "ingest", *ON_KEY, sets=[*ingested, "ingest.workers=1"]).code == 0
    with socket.socket() as used, socket.socket() as free:
        used.bind(("127.0.0.1", 0))
        used.listen()
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        yield {"tmp": str(tmp), "used": str(used.getsockname()[1]), "free": str(free.getsockname()[1])}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_what_to_do(
    name: str, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake = MISTAKES[name]
    for variable, value in mistake.get("environment", {}).items():
        monkeypatch.setenv(variable, value)
    answer = _made(mistake, places)
    said = " ".join(answer.complaint.split())
    assert answer.code == mistake.get("code", 2), answer.err
    assert answer.err.count("kale: ") == 1 and "Traceback" not in answer.err and "unexpected" not in said, answer.err
    for part in ("says", "do"):
        assert _filled(mistake[part], places) in said, said


def test_there_are_forty_mistakes() -> None:
    assert len(MISTAKES) >= 40


def _made(mistake: dict[str, Any], places: dict[str, str]) -> Answer:
    words = shlex.split(_filled(mistake["run"], places))
    if words[0] in ("demo", "explain"):  # these take no settings
        return kale(*words)
    common = [f"landing={places['tmp']}/landing", f"warehouse={places['tmp']}/{mistake.get('in', 'lake')}"]
    common += ["ingest.lists.evaluation=null", "images.evaluation=null", "ingest.workers=1"]
    return kale(*words, sets=[*common, *(_filled(value, places) for value in mistake.get("set", ()))])


def _filled(text: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text

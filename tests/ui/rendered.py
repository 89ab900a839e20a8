"""A lake with hostile texts, and the application of the pages on it, without an Airflow around it."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from kale_tasks.lake.tables import Lake
from kale_tasks.ui.app import make_app
from kale_tasks.ui.site import Site
from tests.quality.world import World, commit, commit_student, open_world
from tests.ui.people import Person

KEY, OTHER = "2026-11-01", "2026-11-02"
HOSTILE = {
    "script": "<script>document.title='broken in'</script> at the gate",
    "handler": '"><img src=x onerror=alert(1)> \' onmouseover=alert(2) x="',
    "address": "javascript:alert(1) [a](javascript:alert(2)) data:text/html,<b>",
    "template": "{{ 7 * 7 }} {% raw %} ${7*7} </textarea></title></style>",
    "bidi": "\u202egnihtyna\u202c \u2067\u05e9\u05dc\u05d5\u05dd",
    "long": "w" * (1 << 20),
}
HTML = {"Accept": "text/html"}
ALL = ("review", "report", "takedown", "models", "ingest", "images", "captions", "student", "release", "canary")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two keys of 60 pairs; the first captions of the first key are hostile."""
    made = open_world(tmp_path_factory.mktemp("rendered"))
    commit_student(made)
    for key in (KEY, OTHER):
        world = World(key, seed=7, pairs=60)
        for step in ("ingest", "images", "dense-0123456789ab", "fuse", "student"):
            commit(made, world, step, spoil if key == KEY else list)
    return made


def spoil(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Put a hostile text into the first rows: where people and models write, and where addresses are."""
    texts = ("alt_text", "text", "dense_caption", "caption")
    spoilt = []
    for row, text in zip(rows, HOSTILE.values(), strict=False):
        flags = {"flags": ["<b>flag</b>"]} if "flags" in row or "caption" in row else {}
        spoilt.append(row | {name: text for name in texts if row.get(name)} | flags)
    return [*spoilt, *rows[len(spoilt) :]]


@pytest.fixture
def person() -> Person:
    return Person(*ALL)


@pytest.fixture
def client(lake: Lake, person: Person) -> Iterator[TestClient]:
    variables = {"KALE_WAREHOUSE": lake.settings.warehouse, "KALE_LANDING": lake.settings.landing}
    site = Site(lambda: variables, person)
    with TestClient(make_app(site), raise_server_exceptions=False, follow_redirects=False) as made:
        yield made


def uid_of(lake: Lake, number: int = 0, stage: int = 1, key: str = KEY) -> str:
    rows = lake.arrow("captions", key, ["uid"], slice_={"recipe": "kale", "stage": stage})
    return str(sorted(rows["uid"].to_pylist())[number])


def form_of(html: str, action: str) -> dict[str, str]:
    """The hidden values of the form with this action."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', html, re.DOTALL)
    assert form, action
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))

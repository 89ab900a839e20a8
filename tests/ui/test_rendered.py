"""Every page against a real application and a real lake, without a browser: what it says, refuses and escapes."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from kale_tasks.lake import reviews
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
ALL = ("review", "report", "takedown", "models", "ingest", "images", "captions", "student", "release")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two keys of 60 pairs; the first captions of the first key are hostile."""
    made = open_world(tmp_path_factory.mktemp("rendered"))
    commit_student(made)
    for key in (KEY, OTHER):
        world = World(key, seed=7, pairs=60)
        for step in ("ingest", "images", "dense-0123456789ab", "fuse", "student"):
            commit(made, world, step, _spoil if key == KEY else list)
    return made


def _spoil(rows: list[dict[str, object]]) -> list[dict[str, object]]:
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


def _uid(lake: Lake, number: int = 0, stage: int = 1, key: str = KEY) -> str:
    rows = lake.arrow("captions", key, ["uid"], slice_={"recipe": "kale", "stage": stage})
    return str(sorted(rows["uid"].to_pylist())[number])


def _form(html: str, action: str) -> dict[str, str]:
    """The hidden values of the form with this action."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', html, re.DOTALL)
    assert form, action
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))


PAGES = ["/", "/captions", f"/captions?key={KEY}", f"/keys/{KEY}", "/votes", "/reports"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_and_may_run_no_script_and_load_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "script-src" not in policy
    assert answer.headers["cache-control"] == "private, no-store"
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_who_may_only_read_sees_no_form_that_acts(lake: Lake, path: str) -> None:
    variables = {"KALE_WAREHOUSE": lake.settings.warehouse, "KALE_LANDING": lake.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person()))) as reader:
        shown = reader.get(path).text
    assert not re.search(r'<form method="post"[^>]*>(?:(?!</form>).)*<button', shown, re.DOTALL)


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=list(HOSTILE))
def test_hostile_texts_are_shown_as_text(client: TestClient, lake: Lake, number: int) -> None:
    uid = _uid(lake, number)
    for path in (f"/rows/{KEY}/{uid}", f"/captions?key={KEY}&uid={uid}"):
        answer = client.get(path)
        assert answer.status_code == 200
        for sign in (
            "<script",
            "<img src=x",
            "onerror=alert(1)>",
            "<b>flag",
            "href=javascript",
            'href="javascript',
            "49 ",
        ):
            assert sign not in answer.text, (path, sign)
        assert len(answer.text) < 300_000, "a long text is cut"


def test_a_row_shows_its_texts_its_image_and_its_lineage(client: TestClient, lake: Lake) -> None:
    uid = _uid(lake, 20)
    row = lake.arrow("captions", KEY, where=f"uid = '{uid}'").to_pylist()[0]
    shown = client.get(f"/rows/{KEY}/{uid}").text
    assert row["dense_caption"] in shown and "from the alt-text" in shown
    for table in ("pairs", "images", "captions"):
        slice_ = {"recipe": "kale", "stage": 1} if table == "captions" else None
        committed = lake.committed(table, KEY, slice_)
        assert committed and committed.fingerprint in shown
    picture = client.get(f"/images/{KEY}/{uid}?size=64")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize(
    "path",
    ["/rows/2026-11-01/xyz", "/rows/..%2f..%2fetc/00", "/keys/..%2fx", "/images/2026-11-01/../../catalog.db",
     "/captions?sort=uid;drop", "/captions?stage=3", "/captions?key=../x", f"/rows/{KEY}/{'0' * 32}", "/report/..%2fx",
     "/captions?key=2026-11-01&after=kale/1/'%20OR%201=1", f"/images/{KEY}/{'f' * 32}", "/keys/2031-01-01"],
)  # fmt: skip
def test_an_address_that_names_nothing_is_refused_in_words(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code in (404, 422) or ("No caption" in answer.text or answer.status_code == 200)
    assert "Traceback" not in answer.text and "catalog" not in answer.text


def test_pages_of_captions_have_every_row_once(client: TestClient, lake: Lake) -> None:
    seen, path = [], f"/captions?key={OTHER}"
    while path:
        shown = client.get(path).text
        seen += re.findall(r"/images/2026-11-02/([0-9a-f]{32})", shown)
        following = re.search(r'rel="next" href="([^"]+)"', shown)
        path = following[1].replace("&amp;", "&") if following else ""
    assert sorted(seen) == sorted(lake.arrow("captions", OTHER, ["uid"])["uid"].to_pylist())


def test_a_search_finds_the_rows_with_the_words_and_a_sort_puts_the_longest_first(
    client: TestClient, lake: Lake
) -> None:
    rows = lake.arrow("captions", OTHER, ["uid", "caption"]).to_pylist()
    wanted = {row["uid"] for row in rows if "lighthouse" in row["caption"].lower()}
    shown = client.get(f"/captions?key={OTHER}&q=LIGHTHOUSE").text
    assert wanted and set(re.findall(r"/images/2026-11-02/([0-9a-f]{32})", shown)) == wanted
    longest = max(rows, key=lambda row: len(row["caption"]))["uid"]
    first = re.search(r"/images/2026-11-02/([0-9a-f]{32})", client.get(f"/captions?key={OTHER}&sort=longest").text)
    assert first and first[1] == longest


@pytest.mark.parametrize("sort", ["invented", "unused", "flags", "confidence", "score", "longest", "shortest"])
def test_every_order_can_be_read(client: TestClient, sort: str) -> None:
    assert client.get(f"/captions?key={OTHER}&sort={sort}").status_code == 200


def test_a_search_by_host_takes_hosts_below_it_and_no_others(client: TestClient) -> None:
    shown = client.get(f"/captions?key={OTHER}&host=example.org").text
    assert len(re.findall("<article>", shown)) == 24
    assert "<article>" not in client.get(f"/captions?key={OTHER}&host=ample.org").text


def test_a_vote_is_stored_as_a_preference_and_the_names_are_not_shown(
    client: TestClient, lake: Lake, person: Person
) -> None:
    shown = client.get(f"/votes?key={OTHER}").text
    form = _form(shown, "/votes")
    asked = shown.split("<h2>Results</h2>")[0].split("<figure>")[1]
    assert "dense caption" not in asked
    answer = client.post("/votes", data={**form, "choice": "first"})
    assert answer.status_code == 303
    stored = reviews.read(lake, OTHER, uid=form["uid"]).to_pylist()
    row = lake.arrow("captions", OTHER, where=f"uid = '{form['uid']}'").to_pylist()[0]
    shown_first = re.findall(r"<p><bdi>(.*?)</bdi></p>", shown)[0]
    preferred = (
        {"side": "dense_caption", "against": "caption"}
        if stored[0]["side"].endswith("dense")
        else {"side": "caption", "against": "dense_caption"}
    )
    assert [(one["kind"], one["by"]) for one in stored] == [("preference", "ada")]
    assert row[preferred[stored[0]["value"]]] == shown_first
    assert ("vote", OTHER) in [(event, details["key"]) for event, details in person.recorded]
    assert form["uid"] not in client.get(f"/votes?key={OTHER}").text, "a pair is judged once"


def test_a_vote_on_texts_that_have_changed_is_not_stored(client: TestClient, lake: Lake) -> None:
    form = _form(client.get(f"/votes?key={OTHER}").text, "/votes")
    answer = client.post("/votes", data={**form, "choice": "second", "of": "0" * 20})
    assert answer.status_code == 409
    assert not reviews.read(lake, OTHER, uid=form["uid"]).num_rows


def test_verdicts_and_an_edit_are_stored_and_shown(client: TestClient, lake: Lake) -> None:
    uid = _uid(lake, 22)
    path = f"/rows/{KEY}/{uid}"
    form = _form(client.get(path).text, f"{path}/verdicts")
    assert client.post(f"{path}/verdicts", data={**form, "verdict": ["right", "wrong"]}).status_code == 303
    assert client.post(f"{path}/edit", data={**form, "text": "As <i>it</i> should be."}).status_code == 303
    stored = reviews.read(lake, KEY, uid=uid).to_pylist()
    verdicts = {one["sentence"]: one["value"] for one in stored if one["kind"] == "sentence"}
    assert verdicts == {0: "right", 1: "wrong"}
    assert "As &lt;i&gt;it&lt;/i&gt; should be." in client.get(path).text


def test_a_takedown_starts_the_dag_with_a_list_that_is_in_no_log(
    client: TestClient, lake: Lake, person: Person
) -> None:
    uid = _uid(lake, 23)
    path = f"/rows/{KEY}/{uid}"
    form = _form(client.get(path).text, f"{path}/takedown")
    assert client.post(f"{path}/takedown", data={**form, "copies": "1"}).status_code == 303
    ((dag, key, conf),) = person.started
    listed = lake.storage.read(lake.storage.relative(conf["list"])).decode()
    assert (dag, key) == ("takedown", "") and f"uid {uid}" in listed and "\nurl http" in listed
    assert uid not in str(person.recorded) + str(conf)


ACTIONS = [
    (f"/keys/{KEY}/start", {"what": "images"}, "images"),
    ("/votes", {"key": KEY, "pair": "kale/1~kale/2", "uid": "0" * 32, "choice": "tie", "of": "0"}, "review"),
    (f"/rows/{KEY}/{'0' * 32}/verdicts", {"side": "kale/1", "of": "0", "verdict": ["right"]}, "review"),
    (f"/rows/{KEY}/{'0' * 32}/edit", {"side": "kale/1", "of": "0", "text": "x"}, "review"),
    (f"/rows/{KEY}/{'0' * 32}/report", {"why": "x"}, "report"),
    (f"/rows/{KEY}/{'0' * 32}/takedown", {}, "takedown"),
]


@pytest.mark.parametrize(("path", "form", "right"), ACTIONS)
def test_an_action_needs_its_right_and_a_form_of_ours(
    client: TestClient, person: Person, path: str, form: dict[str, str], right: str
) -> None:
    token = _form(client.get(f"/keys/{KEY}").text, f"/keys/{KEY}/start")["token"]
    assert client.post(path, data=form).status_code == 403, "without a token"
    other_site = {"Sec-Fetch-Site": "cross-site"}
    assert client.post(path, data={**form, "token": token}, headers=other_site).status_code == 403
    assert client.get(path).status_code == (200 if path == "/votes" else 405)
    person.rights = tuple(one for one in ALL if one != right)
    assert client.post(path, data={**form, "token": token}).status_code == 403, "without the right"
    assert person.started == []


def test_a_start_names_dag_and_key_and_is_recorded(client: TestClient, person: Person) -> None:
    form = _form(client.get(f"/keys/{KEY}").text, f"/keys/{KEY}/start")
    answer = client.post(f"/keys/{KEY}/start", data={**form, "what": "redrive"})
    assert answer.headers["location"].startswith(f"/keys/{KEY}?said=")
    assert person.started == [("images", KEY, {"redrive": True})]
    assert person.recorded[0][0] == "start"


def test_two_keys_are_compared_and_commits_lead_to_what_changed(client: TestClient, lake: Lake) -> None:
    shown = client.get(f"/keys/{OTHER}?other={KEY}").text
    assert f'<th class="n">{KEY}</th>' in shown and "landing rows" in shown
    commit(
        lake, World(OTHER, seed=7, pairs=60), "student", lambda rows: [{**rows[0], "caption": "Another."}, *rows[2:]]
    )
    shown = client.get(f"/keys/{OTHER}").text
    link = re.search(r'href="([^"]+)">Changes', shown)
    assert link
    changed = client.get(link[1].replace("&amp;", "&")).text
    assert "Captions of kale: 0 new, 1 gone, 1 changed" in changed


def test_a_lake_that_is_not_there_is_explained(tmp_path: object) -> None:
    site = Site(lambda: {"KALE_WAREHOUSE": f"{tmp_path}/nowhere"}, Person())
    with TestClient(make_app(site)) as reader:
        answer = reader.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 404 and "kale init" in answer.text


def test_an_empty_lake_says_what_to_do(tmp_path: object) -> None:
    from pathlib import Path

    made = open_world(Path(str(tmp_path)))
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person(*ALL)))) as reader:
        shown = {path: reader.get(path) for path in ("/", "/captions", "/votes", "/reports")}
    assert {answer.status_code for answer in shown.values()} == {200}
    assert "Nothing has landed yet" in shown["/"].text
    assert "There are no captions yet" in shown["/captions"].text


def test_a_missing_file_is_explained_and_other_pages_stay(lake: Lake, client: TestClient) -> None:
    import os

    path = lake.files("captions", KEY, {"recipe": "kale", "stage": 2})[0].path
    full = lake.storage.uri(path)
    os.rename(full, f"{full}.away")
    try:
        answer = client.get(f"/captions?key={KEY}&stage=2", headers={"Accept": "text/html"})
        assert answer.status_code in (409, 500) and "kale" in answer.text.lower() and "Traceback" not in answer.text
        assert client.get(f"/captions?key={OTHER}").status_code == 200
    finally:
        os.rename(f"{full}.away", full)

"""Actions of the pages, without a browser: who may do them, what they store, and what is recorded."""

import re
from pathlib import Path
from unittest.mock import ANY

import pytest
from fastapi.testclient import TestClient

from kale_tasks.lake import reviews
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import BlockedRun, block, read_acceptance
from kale_tasks.models import students
from kale_tasks.ui.app import make_app
from kale_tasks.ui.site import Site
from tests.quality.world import STUDENT, World, commit, commit_student, open_world
from tests.ui.people import Person
from tests.ui.rendered import ALL, HTML, KEY, OTHER, client, form_of, lake, person, uid_of

__all__ = ["client", "lake", "person"]


def test_a_vote_is_stored_as_a_preference_and_the_names_are_not_shown(
    client: TestClient, lake: Lake, person: Person
) -> None:
    shown = client.get(f"/votes?key={OTHER}").text
    form = form_of(shown, "/votes")
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
    form = form_of(client.get(f"/votes?key={OTHER}").text, "/votes")
    answer = client.post("/votes", data={**form, "choice": "second", "of": "0" * 20})
    assert answer.status_code == 409
    assert not reviews.read(lake, OTHER, uid=form["uid"]).num_rows


def test_verdicts_and_an_edit_are_stored_and_shown(client: TestClient, lake: Lake) -> None:
    uid = uid_of(lake, 15)
    path = f"/rows/{KEY}/{uid}"
    form = form_of(client.get(path).text, f"{path}/verdicts")
    assert client.post(f"{path}/verdicts", data={**form, "verdict": ["right", "wrong"]}).status_code == 303
    assert client.post(f"{path}/edit", data={**form, "text": "As <i>it</i> should be."}).status_code == 303
    stored = reviews.read(lake, KEY, uid=uid).to_pylist()
    verdicts = {one["sentence"]: one["value"] for one in stored if one["kind"] == "sentence"}
    assert verdicts == {0: "right", 1: "wrong"}
    assert "As &lt;i&gt;it&lt;/i&gt; should be." in client.get(path).text


def test_a_takedown_starts_the_dag_with_a_list_that_is_in_no_log(
    client: TestClient, lake: Lake, person: Person
) -> None:
    uid = uid_of(lake, 16)
    path = f"/rows/{KEY}/{uid}"
    form = form_of(client.get(path).text, f"{path}/takedown")
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
    token = form_of(client.get(f"/keys/{KEY}").text, f"/keys/{KEY}/start")["token"]
    assert client.post(path, data=form).status_code == 403, "without a token"
    other_site = {"Sec-Fetch-Site": "cross-site"}
    assert client.post(path, data={**form, "token": token}, headers=other_site).status_code == 403
    assert client.get(path).status_code == (200 if path == "/votes" else 405)
    person.rights = tuple(one for one in ALL if one != right)
    assert client.post(path, data={**form, "token": token}).status_code == 403, "without the right"
    assert person.started == []


def test_a_start_names_dag_and_key_and_is_recorded(client: TestClient, person: Person) -> None:
    form = form_of(client.get(f"/keys/{KEY}").text, f"/keys/{KEY}/start")
    answer = client.post(f"/keys/{KEY}/start", data={**form, "what": "redrive"})
    assert answer.headers["location"].startswith(f"/keys/{KEY}?said=")
    assert person.started == [("images", KEY, {"redrive": True})]
    assert person.recorded[0][0] == "start"


def test_what_was_done_is_shown_and_cannot_be_put_into_a_link(client: TestClient) -> None:
    form = form_of(client.get(f"/keys/{KEY}").text, f"/keys/{KEY}/start")
    done = client.post(f"/keys/{KEY}/start", data={**form, "what": "images"}).headers["location"]
    assert 'role="status">Airflow has started manual of images.' in client.get(done).text
    assert "started" not in client.get(done.replace("images", "takedown")).text.split("<header>")[0]
    assert "Send money" not in client.get(f"/keys/{KEY}?said=Send+money&seal=0").text


def test_a_blocked_key_is_accepted_with_a_reason_by_who_may(tmp_path: Path) -> None:
    made, world = open_world(tmp_path), World(KEY, seed=7, pairs=60)
    commit(made, world, "ingest", lambda rows: [*rows, rows[0]])
    run = made.committed("pairs", KEY)
    assert run
    block(
        made.storage, BlockedRun("ingest", "pairs", KEY, "f", "abc", "seal", run.origin, "", {}, ["uid_unique"], "now")
    )
    person = Person(*ALL)
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, person)), follow_redirects=False) as client:
        assert "is blocked" in client.get("/").text
        person.rights = ()
        assert "is blocked since" in (shown := client.get(f"/keys/{KEY}").text) and "Accept these rows" not in shown
        person.rights = ALL
        form = form_of(client.get(f"/keys/{KEY}").text, f"/keys/{KEY}/accept")
        assert client.post(f"/keys/{KEY}/accept", data={**form, "why": " "}).status_code == 422
        assert client.post(f"/keys/{KEY}/accept", data={**form, "why": "seen", "fingerprint": "x"}).status_code == 409
        assert client.post(f"/keys/{KEY}/accept", data={**form, "why": "seen"}).status_code == 303
    assert read_acceptance(made.storage, "seal") == {"why": "seen (ada)", "at": ANY}
    assert person.recorded[-1][0] == "accept"


def test_models_are_promoted_and_rolled_back_with_reasons(tmp_path: Path) -> None:
    made = open_world(tmp_path)
    commit_student(made)
    person = Person(*ALL)
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, person)), follow_redirects=False) as client:
        shown = client.get("/models").text
        assert "Good enough." in shown and client.get(f"/models/{STUDENT}/loss.svg").status_code == 200
        form = form_of(shown, f"/models/{STUDENT}/promote")
        assert client.post(f"/models/{STUDENT}/promote", data={**form, "why": "the best"}).status_code == 303
        again = client.post("/models/rollback", data={**form, "recipe": "kale", "why": "x"}, headers=HTML)
        assert again.status_code == 404 and "No student was promoted before" in again.text
        assert "in use" in client.get("/models").text and client.get("/models/0123/loss.svg").status_code == 422
    (entry,) = students.history(made, "kale")
    assert (entry.version, entry.why) == (STUDENT, "the best (ada)")

"""The page that takes one picture through a recipe, with the tiny models."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kale_tasks.ui.app import make_app
from kale_tasks.ui.site import Site
from tests.quality.world import open_world
from tests.ui.people import Person
from tests.ui.rendered import ALL, HTML, form_of

ALT = "Okorobi by Ana Tavu, Lisbon (1931) --set caption.engine=vllm <b>"


@pytest.mark.nightly
def test_an_uploaded_picture_is_shown_with_what_each_pass_made_of_it(tmp_path: Path) -> None:
    from kale_tasks.world.write import write_pictures

    write_pictures(tmp_path / "photos", 1)
    photo = next((tmp_path / "photos").glob("*.jpg")).read_bytes()
    made, person = open_world(tmp_path, **{"caption.recipe": "demo"}), Person(*ALL)
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, person))) as client:
        form = form_of(client.get("/try").text, "/try") | {"recipe": "demo", "engine": "transformers", "alt_text": ALT}
        answer = client.post("/try", data=form, files={"picture": ("x", photo, "image/jpeg")}, headers=HTML)
        assert answer.status_code == 200, answer.text[-2000:]
        shown = answer.text
        broken = client.post("/try", data=form, files={"picture": ("x", b"no picture", "image/jpeg")}, headers=HTML)
        other = client.post(
            "/try", data={**form, "recipe": "/etc/passwd"}, files={"picture": ("x", photo)}, headers=HTML
        )
        nothing = client.post("/try", data=form, headers=HTML)
    assert "data:image/jpeg;base64" in shown and "&lt;b&gt;" in shown and "<td>dense</td>" in shown
    assert "1931" in shown.split("what each pass")[0]
    assert broken.status_code == 404 and "picture cannot be used" in broken.text
    assert (other.status_code, nothing.status_code) == (422, 422)
    assert [event for event, _ in person.recorded] == ["try", "try"]
    assert made.tables() == []

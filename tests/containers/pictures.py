"""Screenshots of the Airflow in the containers, for docs/pictures."""

from urllib.parse import quote

from tests.containers.site import ROOT, Site
from tests.e2e.chain.page import logged_in
from tests.services.chromium import open_chromium

_PAGES = {
    "dags": "/dags?tags=kale",
    "run": "/dags/kale_stage1/runs/{run}",
    "check": "/dags/kale_stage1/runs/{run}/tasks/dense.check",
}
_SETTLED_MS = 6_000  # pages ask the server every few seconds, so they are never quiet


def take_pictures(site: Site) -> None:
    """Take pictures of the list of Dags, of a run, and of the log of a check."""
    runs = site.rest.get("/dags/kale_stage1/dagRuns?state=success&order_by=-id&limit=1")["dag_runs"]
    with open_chromium() as browser:
        page = logged_in(browser, site.env["AIRFLOW_URL"], "admin", site.env["AIRFLOW_ADMIN_PASSWORD"])
        page.set_viewport_size({"width": 1400, "height": 900})
        for name, path in _PAGES.items():
            page.goto(site.env["AIRFLOW_URL"] + path.format(run=quote(runs[0]["dag_run_id"], safe="")))
            page.wait_for_timeout(_SETTLED_MS)
            page.screenshot(path=str(ROOT / "docs/pictures" / f"airflow-{name}.png"))

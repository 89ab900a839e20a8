"""The page of releases: what is in them, what changed between two, the card, and who approved."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Form, Query, Request
from fastapi.responses import Response

from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.quality.stored import RELEASE, list_reports, published_version
from kale_tasks.release.built import Built, manifest, read_version
from kale_tasks.release.card import pages
from kale_tasks.release.diff import diff
from kale_tasks.release.shards import release_name
from kale_tasks.release.targets.base import README, manifest_of
from kale_tasks.release.targets.base import Current as Published
from kale_tasks.resources import sql
from kale_tasks.ui.answers import allow, back, page
from kale_tasks.ui.site import Opened, Site

Version = Annotated[str, Query(max_length=80)]


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def releases(request: Request) -> Response:
        opened = site.open()
        listed = _listed(opened)
        return page(
            site,
            request,
            "releases.html",
            here="releases",
            releases=listed,
            published=published_version(opened.lake.storage),
            approvals=site.access.approvals(),
        )

    def release(version: str, request: Request, old: Version = "") -> Response:
        opened = site.open()
        lake, built = opened.lake, read_version(opened.lake, version)
        before = read_version(lake, old) if old else None
        card = pages(built, opened.settings.publish)[README].decode()
        return page(
            site,
            request,
            "release.html",
            here="releases",
            built=built,
            formats={name: _sizes(built, name) for name in built.configs},
            diff=diff(lake, built, Published(manifest=manifest_of(manifest(before)))) if before else None,
            old=old,
            others=[one["version"] for one in _listed(opened) if one["version"] != version],
            card=card.split("---\n", 2)[-1].strip(),
            approvals=[one for one in site.access.approvals() if one.release == version],
            published=published_version(lake.storage) == version,
            reported=RELEASE + version if lake.storage.exists(f"reports/{RELEASE}{version}.html") else "",
        )

    def start(request: Request, token: Annotated[str, Form(max_length=80)] = "") -> Response:
        allow(site, request, "release", token)
        run = site.access.start(request, "release", ALL_KEYS, {})
        site.access.record(request, "start", {"dag": "release", "run": run})
        return back(site, request, "/releases", f"Airflow has started {run}. It asks for approval before it publishes.")

    app.add_api_route("/releases", releases)
    app.add_api_route("/releases/start", start, methods=["POST"])
    app.add_api_route("/releases/{version}", release)


def _listed(opened: Opened) -> list[dict[str, Any]]:
    """The releases, the latest first; those without a report have no time unless they are the newest of their key."""
    lake, files = opened.lake, opened.rows.files("releases")
    rows = opened.rows.ask(sql("pages/releases"), {}, {"releases": ("releases", files)}) if files else []
    _, reports = list_reports(lake.storage)
    built = {one.title: str(one.summary.get("built") or one.summary["at"]) for one in reports}
    for partition, committed in lake.partitions("releases").items() if files else ():
        built.setdefault(release_name(partition.key, committed.fingerprint), committed.at)
    known = [{**row, "built": built.get(row["version"], "")} for row in rows]
    return sorted(known, key=lambda row: (str(row["built"]), row["version"]), reverse=True)


def _sizes(built: Built, config: str) -> Mapping[str, Any]:
    return {"rows": built.rows(config), "bytes": built.bytes(config), "about": built.about(config)}

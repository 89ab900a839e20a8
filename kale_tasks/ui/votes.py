"""The page of blind votes: two texts of one image side by side, without their names, and who won so far."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import pyarrow.compute as pc
from fastapi import FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from kale_tasks.explore.votes import AGAINST, SIDE, TIE, Side, is_swapped, pairs_of, results
from kale_tasks.lake import reviews
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.reviews import PREFERENCE, Review
from kale_tasks.ui.answers import allow, back, page
from kale_tasks.ui.images import UID
from kale_tasks.ui.site import Opened, Site

_JUDGED = 5000  # uids that are left out because this person has judged them
Name = Annotated[str, Query(max_length=100)]
Short = Annotated[str, Field(max_length=100)]


class Vote(BaseModel):
    """The form of a vote."""

    key: Short
    pair: Short
    uid: Annotated[str, Field(pattern=UID)]
    choice: Literal["first", "second", "tie"]
    of: Short  # hash of both texts as they were shown
    token: Short = ""


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def ask(request: Request, key: Annotated[str, Query(max_length=64)] = "", pair: Name = "") -> Response:
        opened = site.look()
        keys = opened.lake.keys("captions") if "captions" in opened.lake.tables() else []
        chosen = check_key(key) if key else (keys[-1] if keys else "")
        slices = [p.columns for p in opened.lake.partitions("captions") if p.key == chosen] if keys else []
        known = {f"{one.name}~{other.name}": (one, other) for one, other in pairs_of(slices)}
        asked = known.get(pair) or next(iter(known.values()), None)
        votes = reviews.read(opened.lake)
        votes = votes.filter(pc.equal(votes["kind"], PREFERENCE))
        by = site.access.name(request)
        row = _next(opened, chosen, asked, _judged(votes, by, asked)) if asked else None
        texts = [row["one"], row["other"]] if row else []
        if asked and row and _swapped(opened, by, row["uid"], asked):
            texts.reverse()
        return page(
            site,
            request,
            "votes.html",
            here="captions",
            key=chosen,
            keys=keys[::-1],
            pairs={name: f"{one.words}, against {other.words}" for name, (one, other) in known.items()},
            pair=f"{asked[0].name}~{asked[1].name}" if asked else "",
            uid=row["uid"] if row else "",
            texts=texts,
            of=reviews.hash_of(row["one"], row["other"]) if row else "",
            results=results(votes.select(["side", "against", "value"]).to_pylist()),
        )

    def vote(request: Request, given: Annotated[Vote, Form()]) -> Response:
        allow(site, request, "review", given.token)
        opened, sides, by = site.open(), _sides(given.pair), site.access.name(request)
        row = _row(opened, check_key(given.key), sides, given.uid)
        if row is None:
            raise HTTPException(409, "These texts are not in the lake any more. Nothing was stored.")
        if given.of != reviews.hash_of(row["one"], row["other"]):
            raise HTTPException(409, "The texts have changed since they were shown. Nothing was stored; vote again.")
        swapped = _swapped(opened, by, given.uid, sides)
        value = TIE if given.choice == "tie" else SIDE if (given.choice == "first") != swapped else AGAINST
        names: dict[str, Any] = {"side": sides[0].name, "against": sides[1].name}
        one = Review(given.uid, given.key, PREFERENCE, by, **names, value=value, of=given.of)
        reviews.add(opened.lake, given.key, [one])
        site.access.record(request, "vote", {"key": given.key, "uid": given.uid, "pair": given.pair})
        return back(site, request, f"/votes?key={quote(given.key)}&pair={quote(given.pair)}", "Stored.")

    app.add_api_route("/votes", ask)
    app.add_api_route("/votes", vote, methods=["POST"])


def _sides(pair: str) -> tuple[Side, Side]:
    try:
        one, other = (Side.parse(name) for name in pair.split("~"))
    except ValueError as error:
        raise HTTPException(422, "This pair of texts does not exist.") from error
    return one, other


def _swapped(opened: Opened, by: str, uid: str, sides: Sequence[Side]) -> bool:
    identity = opened.lake.identity
    return is_swapped(identity.uuid if identity else "", by, uid, [side.name for side in sides])


def _judged(votes: Any, by: str, sides: Sequence[Side]) -> list[str]:
    mine = [row for row in votes.select(["uid", "by", "side", "against"]).to_pylist() if row["by"] == by]
    names = (sides[0].name, sides[1].name)
    return [row["uid"] for row in mine if (row["side"], row["against"]) == names][-_JUDGED:]


def _next(opened: Opened, key: str, sides: Sequence[Side], judged: Sequence[str]) -> dict[str, Any] | None:
    """A row that has both texts: the first one after a uid drawn by chance, else the first of all."""
    for start in (secrets.token_hex(16), ""):
        wanted = "uid > $start AND NOT list_contains($judged, uid)"
        if rows := _ask(opened, key, sides, wanted, {"start": start, "judged": list(judged)}):
            return rows[0]
    return None


def _row(opened: Opened, key: str, sides: Sequence[Side], uid: str) -> dict[str, Any] | None:
    return next(iter(_ask(opened, key, sides, "uid = $uid", {"uid": uid})), None)


def _ask(opened: Opened, key: str, sides: Sequence[Side], where: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    one, other = sides
    files = [opened.rows.files("captions", key, {"recipe": side.recipe, "stage": side.stage}) for side in sides]
    if not all(files):
        return []
    same = (one.recipe, one.stage) == (other.recipe, other.stage)
    source = "ones" if same else "ones JOIN others USING (uid)"
    columns = f"ones.{one.column} AS one, {'ones' if same else 'others'}.{other.column} AS other"
    differ = "one IS NOT NULL AND other IS NOT NULL AND one <> other"
    query = f"SELECT * FROM (SELECT uid, {columns} FROM {source} WHERE {where}) WHERE {differ} LIMIT 1"
    tables = {"ones": ("captions", files[0])} | ({} if same else {"others": ("captions", files[1])})
    return opened.rows.ask(query, values, tables)

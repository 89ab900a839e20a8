"""The page of captions: browse, search and sort them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from kale_tasks.lake.keys import check_key
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.text.origins import Piece, pieces
from kale_tasks.ui.answers import page
from kale_tasks.ui.site import Opened, Site

ROWS = 24  # of a page
_LONGEST = 1500  # characters of a text in a list
_PAGES = 40  # of a sorted list
_KEPT = 120.0  # seconds that a list is kept
# How rows can be sorted: the words of the page, and the expression, the first row first.
SORTS: Mapping[str, tuple[str, str]] = {
    "": ("as stored", ""),
    "invented": ("most facts invented", "facts_invented DESC NULLS LAST"),
    "unused": ("fewest facts from the alt-text", "facts_from_alt ASC NULLS LAST"),
    "flags": ("most flags", "len(flags) DESC NULLS LAST"),
    "confidence": ("least confident", "confidence ASC NULLS LAST"),
    "score": ("lowest score", "score ASC NULLS LAST"),
    "longest": ("longest", "length(caption) DESC NULLS LAST"),
    "shortest": ("shortest", "length(caption) ASC NULLS LAST"),
}
FIELDS = {"caption": "captions", "alt_text": "alt-texts", "dense_caption": "dense captions"}
_SCORE = "list_max(TRY_CAST(json_extract(candidates, '$[*].score') AS DOUBLE[])) AS score"
_PATH = "/captions"
_SHOWN = "uid, key, recipe, stage, url, facts, facts_invented, flags, confidence"
# Most addresses do not have the text of a host anywhere; that is found out much faster than what a pattern says.
_HOST = (
    "contains(lower(url), lower($host)) AND "
    "regexp_matches(lower(url), '^[a-z]+://([^/?#@]*[.@])?' || regexp_escape(lower($host)) || '([:/?#]|$)')"
)
Name = Annotated[str, Field(max_length=80)]
Parts = Sequence[tuple[Mapping[str, Any], Sequence[DataFile]]]  # recipe and stage, and the files of the captions


class Wanted(BaseModel):
    """What a reader asked for; empty means no condition."""

    key: Annotated[str, Field(max_length=64)] = ""
    recipe: Name = ""
    stage: Annotated[str, Field(pattern="^[12]?$")] = ""
    q: Annotated[str, Field(max_length=200)] = ""
    within: Literal["caption", "alt_text", "dense_caption"] = "caption"
    uid: Annotated[str, Field(pattern="^[0-9a-f]{0,32}$")] = ""
    host: Name = ""
    flag: Name = ""
    sort: Literal["", "invented", "unused", "flags", "confidence", "score", "longest", "shortest"] = ""
    after: Annotated[str, Field(max_length=200)] = ""  # recipe/stage/uid of the last row of the page before
    number: Annotated[int, Field(ge=1, le=_PAGES)] = 1  # of the page of a sorted list

    @property
    def conditions(self) -> list[str]:
        """The conditions in SQL, which name values."""
        given = {
            "q": f"contains(lower({self.within}), lower($q))",
            "uid": "starts_with(uid, $uid) AND uid BETWEEN $uid AND $uid || 'g'",
            "host": _HOST,
            "flag": "list_contains(flags, $flag)",
        }
        return [condition for name, condition in given.items() if getattr(self, name)]

    @property
    def values(self) -> dict[str, str]:
        """The values that the conditions name."""
        return {name: getattr(self, name) for name in ("q", "uid", "host", "flag") if getattr(self, name)}

    def linked(self, **other: Any) -> dict[str, Any]:
        """The parameters of a link to the same list, or of another part of it."""
        return {**self.model_dump(exclude={"after", "number"}), **other}


@dataclass(frozen=True)
class Line:
    """A caption in a list; long texts are cut."""

    uid: str
    key: str
    recipe: str
    stage: int
    alt_text: str
    dense_caption: str
    caption: str
    length: int
    invented: int
    flags: Sequence[str]
    pieces: Sequence[Piece]  # the caption, divided by where its facts come from; undivided if it is cut


def add(app: FastAPI, site: Site) -> None:
    """Add the route."""

    def captions(request: Request, asked: Annotated[Wanted, Query()]) -> Response:
        opened = site.look()
        keys = opened.lake.keys("captions") if "captions" in opened.lake.tables() else []
        wanted = asked.model_copy(update={"key": check_key(asked.key) if asked.key else (keys or [""])[-1]})
        parts = [(p.columns, opened.rows.files("captions", wanted.key, p.columns)) for p in _partitions(opened, wanted)]
        # A committed file never changes: what a question found in the same files is found again.
        asked_of = wanted.model_dump_json(), *(files for _, files in parts)
        kept = site.searches.get if wanted.sort or wanted.conditions else site.remember
        lines, following = kept(asked_of, _KEPT, lambda: _listed(opened, wanted, parts))
        return page(
            site,
            request,
            "captions.html",
            here="captions",
            wanted=wanted,
            lines=lines,
            following=following,
            keys=keys[::-1],
            recipes=sorted({p.columns["recipe"] for p in _partitions(opened, Wanted(key=wanted.key))}),
            sorts={name: words for name, (words, _) in SORTS.items()},
            fields=FIELDS,
        )

    app.add_api_route(_PATH, captions)


def is_search(path: str, parameters: Mapping[str, str]) -> bool:
    """Whether a page may have to read every caption of a key."""
    return path == _PATH and any(parameters.get(name) for name in ("q", "uid", "host", "flag", "sort"))


def _partitions(opened: Opened, wanted: Wanted) -> list[Partition]:
    if "captions" not in opened.lake.tables():
        return []
    slice_: dict[str, str | int] = {"recipe": wanted.recipe} if wanted.recipe else {}
    slice_ |= {"stage": int(wanted.stage)} if wanted.stage else {}
    known = opened.lake.partitions("captions")
    return [p for p in known if p.key == wanted.key and p.within(slice_)]


def _following(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The parameters of the next page."""
    if wanted.sort:
        return {"number": wanted.number + 1} if wanted.number < _PAGES else None
    last = rows[ROWS - 1]
    return {"after": f"{last['recipe']}/{last['stage']}/{last['uid']}"}


def _listed(opened: Opened, wanted: Wanted, parts: Parts) -> tuple[list[Line], dict[str, Any] | None]:
    """The captions of a page, and the parameters of the next one."""
    searched = [(_place(wanted, slice_), files) for slice_, files in parts if wanted.q]
    with opened.rows.words.awaited(wanted.within, searched):
        rows = _sorted(opened, wanted, parts) if wanted.sort else _stored(opened, wanted, parts)
    return [_line(row) for row in rows[:ROWS]], _following(wanted, rows) if len(rows) > ROWS else None


def _stored(opened: Opened, wanted: Wanted, parts: Parts) -> list[dict[str, Any]]:
    """Rows in the order of the files, which needs no sorting: it ends as soon as there are enough."""
    name, _, uid = wanted.after.rpartition("/")
    rows: list[dict[str, Any]] = []
    for slice_, files in parts:
        place = f"{slice_['recipe']}/{slice_['stage']}"
        if name and place < name:
            continue
        conditions, values = list(wanted.conditions), dict[str, Any](wanted.values)
        if place == name:
            conditions.append("uid > $after")
            values["after"] = uid
        for some, span in _spans(opened, wanted, slice_, files):
            if place == name and span and span["last"] <= uid:
                continue
            within = ["uid BETWEEN $first AND $last"] if span else []
            query = f"SELECT {_SHOWN}, {_texts()} FROM captions{_where([*within, *conditions])} LIMIT $rows"
            known = {**values, **span, "rows": ROWS + 1 - len(rows)}
            rows += opened.rows.ask(query, known, {"captions": ("captions", some)})
            if len(rows) > ROWS:
                return rows
    return rows


def _spans(
    opened: Opened, wanted: Wanted, slice_: Mapping[str, Any], files: Sequence[DataFile]
) -> Iterator[tuple[Sequence[DataFile], dict[str, str]]]:
    """The files that may have what is searched for, in row order; the first and last uid if it is a part of one."""
    words = opened.rows.words
    blocks = words.blocks(_place(wanted, slice_), files, wanted.within, wanted.q) if wanted.q else None
    if blocks is None:
        yield files, {}
    for block in blocks or ():
        yield [block.file], {"first": block.first, "last": block.last}


def _place(wanted: Wanted, slice_: Mapping[str, Any]) -> tuple[Any, ...]:
    return wanted.key, *slice_.values()


def _sorted(opened: Opened, wanted: Wanted, parts: Parts) -> list[dict[str, Any]]:
    """Rows by a figure. Only the figure is read of all rows; the texts of those that are shown, afterwards."""
    spans = [some for slice_, files in parts for some, _ in _spans(opened, wanted, slice_, files)]
    tables = {"captions": ("captions", list(dict.fromkeys(file for some in spans for file in some)))}
    order, scored = SORTS[wanted.sort][1], wanted.sort == "score"
    conditions = [*wanted.conditions, *(["candidates IS NOT NULL"] if scored else [])]
    query = (
        f"SELECT uid, recipe, stage{f', {_SCORE}' if scored else ''} FROM captions{_where(conditions)} "
        f"ORDER BY {order}, uid LIMIT {ROWS + 1} OFFSET {ROWS * (wanted.number - 1)}"
    )
    found = opened.rows.ask(query, wanted.values, tables)
    uids = {f"uid{number}": row["uid"] for number, row in enumerate(found)}  # not as one list: that is not pushed down
    text = f"SELECT {_SHOWN}, {_texts()} FROM captions WHERE uid IN ({', '.join(f'${name}' for name in uids)})"
    known = {_name(row): row for row in (opened.rows.ask(text, uids, tables) if found else [])}
    return [known[_name(row)] for row in found]


def _texts() -> str:
    cut = ", ".join(f"left({name}, {_LONGEST}) AS {name}" for name in ("alt_text", "dense_caption", "caption"))
    return f"{cut}, length(caption) AS length"


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _name(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["uid"], row["recipe"], row["stage"]


def _line(row: Mapping[str, Any]) -> Line:
    texts: dict[str, Any] = {name: row[name] or "" for name in ("alt_text", "dense_caption", "caption")}
    place: dict[str, Any] = {name: row[name] for name in ("uid", "key", "recipe", "stage")}
    length, caption = row["length"] or 0, texts["caption"]
    cut = [Piece(f"{caption}\N{HORIZONTAL ELLIPSIS}")] if length > _LONGEST else None
    divided = cut or pieces(caption, texts["dense_caption"], texts["alt_text"])
    more: dict[str, Any] = {"invented": row["facts_invented"] or 0, "flags": row["flags"] or ()}
    return Line(**place, **texts, **more, length=length, pieces=divided)

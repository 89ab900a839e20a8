"""A catalog behind Iceberg's REST protocol: pyiceberg's SQL catalog, served over HTTP on this machine."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from pyiceberg.catalog.rest import CreateTableRequest, TableResponse
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableRequest, CommitTableResponse, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from tests.engines.server import running

_CONFLICTS = (CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError)
_MISSING = (NoSuchNamespaceError, NoSuchTableError)
Handler = Callable[[web.Request], Awaitable[web.Response]]


class RestCatalog:
    """A running catalog. `failures` are the statuses of the next commits: the answer is lost after the change."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self.catalog, self.uri, self.failures = catalog, "", list[int]()

    async def config(self, request: web.Request) -> web.Response:
        return web.json_response({"defaults": {}, "overrides": {}})

    async def namespaces(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.catalog.create_namespace(tuple((await request.json())["namespace"]))
        return web.json_response({"namespaces": [list(name) for name in self.catalog.list_namespaces()]})

    async def namespace(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"properties": self.catalog.load_namespace_properties(request.match_info["namespace"])}
        )

    async def tables(self, request: web.Request) -> web.Response:
        found = self.catalog.list_tables(request.match_info["namespace"])
        return web.json_response({"identifiers": [{"namespace": [space], "name": name} for space, name in found]})

    async def create(self, request: web.Request) -> web.Response:
        asked = CreateTableRequest.model_validate_json(await request.text())
        return _answer(
            self.catalog.create_table(
                (request.match_info["namespace"], asked.name),
                asked.table_schema,
                asked.location,
                asked.partition_spec or UNPARTITIONED_PARTITION_SPEC,
                asked.write_order or UNSORTED_SORT_ORDER,
                asked.properties,
            )
        )

    async def load(self, request: web.Request) -> web.Response:
        return _answer(self.catalog.load_table(_name(request)))

    async def commit(self, request: web.Request) -> web.Response:
        asked = CommitTableRequest.model_validate_json(await request.text())
        done = self.catalog.commit_table(self.catalog.load_table(_name(request)), asked.requirements, asked.updates)
        if self.failures:
            return web.json_response({"error": _error("lost", 500)}, status=self.failures.pop())
        return _json(CommitTableResponse(metadata_location=done.metadata_location, metadata=done.metadata))


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the status of an error."""
    try:
        return await handler(request)
    except (*_CONFLICTS, *_MISSING) as error:
        status = 409 if isinstance(error, _CONFLICTS) else 404
        return web.json_response({"error": _error(str(error), status)}, status=status)


@contextmanager
def rest_catalog(folder: Path) -> Iterator[RestCatalog]:
    """Run a catalog whose tables are in a folder."""
    served = RestCatalog(SqlCatalog("served", uri=f"sqlite:///{folder}/served.db", warehouse=f"file://{folder}/lake"))
    space = "/v1/namespaces/{namespace}"
    routes = [
        web.get("/v1/config", served.config),
        web.get("/v1/namespaces", served.namespaces),
        web.post("/v1/namespaces", served.namespaces),
        web.get(space, served.namespace),
        web.get(f"{space}/tables", served.tables),
        web.post(f"{space}/tables", served.create),
        web.get(f"{space}/tables/{{table}}", served.load),
        web.post(f"{space}/tables/{{table}}", served.commit),
    ]
    with running(routes, [errors]) as url:
        served.uri = url.removesuffix("/v1")
        yield served


def _name(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["table"]


def _answer(table: Table) -> web.Response:
    return _json(TableResponse(metadata_location=table.metadata_location, metadata=table.metadata))


def _json(model: Any) -> web.Response:
    return web.Response(text=model.model_dump_json(by_alias=True), content_type="application/json")


def _error(text: str, code: int) -> dict[str, Any]:
    return {"message": text, "type": "Error", "code": code}

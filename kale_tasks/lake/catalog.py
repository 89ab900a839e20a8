"""Opens the Iceberg catalog that the settings name."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.table import Table
from sqlalchemy.exc import DatabaseError, OperationalError

from kale_tasks.config.model import Settings
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.lake.s3 import s3_options

NAMESPACE = "kale"
_T = TypeVar("_T")


def open_catalog(settings: Settings) -> Catalog:
    """The catalog, with its namespace made."""
    uri = settings.catalog or _embedded(settings.warehouse)
    properties = {"uri": uri, "warehouse": settings.warehouse, **_kind(uri), **_s3_properties(settings)}

    def connect() -> Catalog:
        catalog = load_catalog("kale", **properties)
        with suppress(NamespaceAlreadyExistsError):  # somebody makes it in the same moment
            catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog

    return answered(connect, uri)


def answered(ask: Callable[[], _T], uri: str = "The catalog") -> _T:
    """Asks a catalog, waiting out a locked or restarting database, and explains what does not heal."""
    for attempt in range(8):
        try:
            return ask()
        except OperationalError as error:
            if "no such table" in str(error) or "unable to open" in str(error):
                raise BadConfig(f"{_masked(uri)} cannot be opened as a catalog: {_first_line(error)}") from error
            if attempt == 7:
                raise Transient(f"{_masked(uri)} does not answer: {_first_line(error)}. Try again later.") from error
            time.sleep(0.05 * 2**attempt)
        except DatabaseError as error:
            raise BadConfig(f"{_masked(uri)} is no catalog that can be read: {_first_line(error)}") from error
        except OSError as error:
            raise _of_store(error) from error
    raise AssertionError("unreachable")


def load_or_create(catalog: Catalog, name: str, create: Callable[[], Table]) -> Table:
    """The table of that name, made on first use; two makers at once end with one table."""
    try:
        return catalog.load_table((NAMESPACE, name))
    except NoSuchTableError:
        try:
            return create()
        except TableAlreadyExistsError:
            return catalog.load_table((NAMESPACE, name))


def _embedded(warehouse: str) -> str:
    if warehouse.startswith("s3://"):
        raise BadConfig("A warehouse on S3 needs a catalog that others can reach: set catalog=postgresql+psycopg2://…")
    folder = Path(warehouse.removeprefix("file://")).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(f"The warehouse {folder} cannot be made: {error.strerror}. Set another warehouse.") from error
    return f"sqlite:///{folder}/catalog.db"


def _kind(uri: str) -> dict[str, Any]:
    scheme = uri.split(":", 1)[0]
    if scheme == "sqlite":
        return {"type": "sql", "init_catalog_tables": "true"}
    if scheme.startswith("postgresql"):
        return {"type": "sql", "init_catalog_tables": "true", "pool_pre_ping": "true"}
    if scheme in ("http", "https"):
        return {"type": "rest"}
    if scheme == "glue":
        return {"type": "glue"}
    raise BadConfig(
        f"catalog '{_masked(uri)}' is not known. Use sqlite:///…, postgresql+psycopg2://…, http(s)://… or glue://."
    )


def _s3_properties(settings: Settings) -> dict[str, str]:
    names = {
        "endpoint_url": "s3.endpoint",
        "region_name": "s3.region",
        "aws_access_key_id": "s3.access-key-id",
        "aws_secret_access_key": "s3.secret-access-key",
    }
    return {names[name]: value for name, value in s3_options(settings.s3).items()}


def _masked(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if at else uri


def _of_store(error: OSError) -> Exception:
    # Arrow's file systems put what the store answered into the text of an OSError.
    said = _first_line(error)
    if "AWS Error" not in said:
        return error
    if any(
        word in said
        for word in ("ACCESS_DENIED", "SIGNATURE", "INVALID_ACCESS_KEY", "NO_SUCH_BUCKET", "HTTP status 403")
    ):
        return BadConfig(
            f"The store refuses the table's metadata: {said}. Check bucket, access key, secret and rights."
        )
    return Transient(f"The store does not answer: {said}. Try again later.")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]

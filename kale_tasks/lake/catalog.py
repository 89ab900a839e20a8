"""Opens the Iceberg catalog that the settings name."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    ValidationError,
)
from pyiceberg.table import Table
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError, OperationalError

from kale_tasks.errors import BadConfig, BadData, KaleError, Transient
from kale_tasks.lake.file_io import LakeFileIO
from kale_tasks.lake.identity import LAKE_FILE
from kale_tasks.lake.io_errors import explain
from kale_tasks.lake.metadata import share_metadata
from kale_tasks.lake.storage.s3 import s3_options
from kale_tasks.settings.model import Settings

NAMESPACE = "kale"
_FILE_IO = f"{LakeFileIO.__module__}.{LakeFileIO.__name__}"
share_metadata()
# What a database says that no waiting heals.
_FULL = ("is full", "disk I/O error")
_HOPELESS = (
    "no such table", "unable to open", "readonly", "authentication failed", "no password", "no pg_hba.conf entry",
    "does not exist", "invalid",
)  # fmt: skip
_BUSY = (ServiceUnavailableError, ServerError, TooManyRequestsError)  # of a catalog behind REST
_T = TypeVar("_T")


def open_catalog(settings: Settings, more: Mapping[str, str] | None = None, *, create: bool = True) -> Catalog:
    """Open the catalog, create its namespace, and the folder of a catalog in the warehouse unless `create` is off.

    `more` are properties for its library. Raises BadConfig if the catalog does not exist or cannot be used.
    """
    uri = settings.catalog or _embedded(settings.warehouse, create=create)
    properties = {
        "uri": uri, "warehouse": settings.warehouse, "py-io-impl": _FILE_IO, **_kind(uri), **_s3_properties(settings),
        **(more or {}),
    }  # fmt: skip

    def connect() -> Catalog:
        catalog = load_catalog("kale", **properties)
        with suppress(NamespaceAlreadyExistsError):  # somebody makes it in the same moment
            catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog

    return answered(connect, uri)


def answered(ask: Callable[[], _T], uri: str = "The catalog") -> _T:
    """Ask a catalog, wait while it is locked, busy or restarting, and explain what does not heal.

    Raises CommitStateUnknownException as it is: only who asked can find out whether the request took effect.
    """
    for attempt in range(8):
        try:
            return ask()
        except OperationalError as error:
            if attempt == 7 or any(word in str(error) for word in (*_HOPELESS, *_FULL)):
                raise _of_database(error, uri) from error
            time.sleep(0.05 * 2**attempt)
        except DatabaseError as error:
            raise _of_database(error, uri) from error
        except CommitStateUnknownException:
            raise
        except RESTError as error:
            if attempt == 7 or not isinstance(error, _BUSY):
                raise _of_service(error, uri) from error
            time.sleep(0.05 * 2**attempt)
        except OSError as error:
            raise explain(error) or _of_connection(error, uri) from error
    raise AssertionError("unreachable")


def locations(catalog: Catalog, namespace: str) -> dict[str, str] | None:
    """Where the metadata of each table is now, by one question; None if the catalog is no SQL database."""
    if not isinstance(catalog, SqlCatalog):
        return None
    question = select(IcebergTables.table_name, IcebergTables.metadata_location).where(
        IcebergTables.catalog_name == catalog.name, IcebergTables.table_namespace == namespace
    )
    with catalog.engine.connect() as connection:
        return {name: location for name, location in connection.execute(question) if location}


def load_or_create(catalog: Catalog, name: tuple[str, str], create: Callable[[], Table]) -> Table:
    """The table of that name, made on first use; two makers at once end with one table."""
    try:
        return _load(catalog, name)
    except NoSuchTableError:
        try:
            return create()
        except TableAlreadyExistsError:
            return _load(catalog, name)


def _load(catalog: Catalog, name: tuple[str, str]) -> Table:
    try:
        return catalog.load_table(name)
    except FileNotFoundError as error:
        raise BadData(
            f"The catalog names metadata of {name[1]} that is gone: {_first_line(error)}. If the files are older than "
            f"the catalog, restore newer files or an older catalog; if the lake was copied, run `kale relocate`."
        ) from error
    except (ValidationError, ValueError) as error:  # no JSON, or not the JSON of a table that this version knows
        said = str(error).split(" [type=")[0].splitlines()[-1].strip()
        raise BadData(
            f"The metadata of {name[1]} cannot be read: {said}. If a newer version wrote it, "
            f"upgrade this one; else bring it back from a copy."
        ) from error


def no_lake(warehouse: str) -> BadConfig:
    """Return the error for a warehouse without a lake."""
    return BadConfig(
        f"There is no lake at {warehouse}. Create it with `kale init`, or correct the warehouse setting "
        f"(`kale config` shows where it is set)."
    )


def _embedded(warehouse: str, *, create: bool) -> str:
    if warehouse.startswith("s3://"):
        raise BadConfig("A warehouse on S3 needs a catalog that others can reach: set catalog=postgresql+psycopg2://…")
    folder = Path(warehouse.removeprefix("file://")).absolute()
    if not (folder / "catalog.db").exists():
        if (folder / LAKE_FILE).exists():
            raise BadConfig(
                f"The lake at {folder} has no catalog.db. Restore it from a backup, or set `catalog` to the catalog "
                f"that the lake uses."
            )
        if not create:
            raise no_lake(str(folder))
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
    raise BadConfig(f"catalog '{_masked(uri)}' is not known. Use sqlite:///…, postgresql+psycopg2://… or http(s)://….")


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


def _of_database(error: DatabaseError, uri: str) -> KaleError:
    said = _first_line(error)
    if any(word in said for word in _FULL):
        return Transient(f"No space left for {_masked(uri)} ({said}). Free some and run again: committed data is kept.")
    if isinstance(error, OperationalError) and not any(word in said for word in _HOPELESS):
        return Transient(f"{_masked(uri)} does not answer: {said}. Try again later.")
    return BadConfig(f"{_masked(uri)} cannot be used as a catalog: {said}. Set the right one, or bring it back.")


def _of_service(error: RESTError, uri: str) -> KaleError:
    if isinstance(error, _BUSY):
        return Transient(f"{_masked(uri)} does not answer: {_first_line(error)}. Try again later.")
    return BadConfig(f"{_masked(uri)} refuses: {_first_line(error)}. Check the catalog setting and your rights there.")


def _of_connection(error: OSError, uri: str) -> Exception:
    if not type(error).__module__.startswith("requests"):
        return error
    return Transient(
        f"{_masked(uri)} cannot be reached ({type(error).__name__}). Try again later, or correct `catalog`."
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0].rstrip(".")

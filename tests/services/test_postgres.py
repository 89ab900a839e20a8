import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.services.postgres import PASSWORD, Postgres


def _execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []
    finally:
        engine.dispose()


def test_each_database_is_new_and_empty(postgres: Postgres) -> None:
    urls = [postgres.database() for _ in range(2)]
    for url in urls:
        _execute(url, "CREATE TABLE kept (n int)")
    assert urls[0] != urls[1]


def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    with pytest.raises(OperationalError, match="password authentication failed"):
        _execute(postgres.database().replace(PASSWORD, "wrong"), "SELECT 1")


@pytest.mark.parametrize("end", [pytest.param("stop", marks=pytest.mark.nightly), "kill"])
def test_what_was_committed_is_there_after_a_restart(postgres: Postgres, end: str) -> None:
    url = postgres.database()
    _execute(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    getattr(postgres, end)()
    with pytest.raises(OperationalError, match="refused"):
        _execute(url, "SELECT n FROM kept")
    postgres.start()
    assert _execute(url, "SELECT n FROM kept") == [(7,)]

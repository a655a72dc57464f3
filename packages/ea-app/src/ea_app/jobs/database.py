"""The file of the jobs: SQLite, with a log that lets readers read while one process writes."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ea_app.jobs.errors import StoreError
from ea_app.jobs.folders import DATABASE
from ea_app.jobs.view import JobView

VERSION: Final = 1
"""`PRAGMA user_version` of the file; a change of the tables raises it and brings a migration."""

_WAIT_SECONDS = 5.0
_TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX jobs_by_state ON jobs (state, number);
"""


def connect(folder: Path, *, write: bool) -> sqlite3.Connection:
    """Open the file; a writer makes it.

    Raises:
        StoreError: There is none, it is damaged, or of a later version.
    """
    path = folder / DATABASE
    if not write and not path.is_file():
        raise StoreError(f"{folder} has no jobs")
    with naming(path):
        mode = "rwc" if write else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_WAIT_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )
        try:
            _prepare(connection, path, write=write)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise StoreError(f"{path} is of version {found}, this program knows {VERSION}; use a newer one")
    if not write:
        return
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    if found == 0:
        connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={VERSION};COMMIT;")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: {error}") from error


def insert(connection: sqlite3.Connection, view: JobView) -> int:
    """Add a job; returns its number."""
    row = (view.id, str(view.state), view.created, _body(view))
    cursor = connection.execute("INSERT INTO jobs (id, state, created, body) VALUES (?, ?, ?, ?)", row)
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def update(connection: sqlite3.Connection, views: Iterable[JobView]) -> None:
    """Write jobs as they are now, all or none."""
    rows = [(str(view.state), _body(view), view.id) for view in views]
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("UPDATE jobs SET state = ?, body = ? WHERE id = ?", rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def select(connection: sqlite3.Connection, where: str = "", values: Iterable[Any] = ()) -> list[JobView]:
    """Jobs by an SQL condition of ours."""
    rows = connection.execute(f"SELECT number, body FROM jobs {where}", tuple(values))
    return [JobView.from_dict({**json.loads(body), "number": number}) for number, body in rows]


def _body(view: JobView) -> str:
    # ASCII: SQLite refuses half of a surrogate pair, which JSON can hold.
    return json.dumps(view.to_dict(), ensure_ascii=True, separators=(",", ":"))

"""The SQLite file: where it is, how it is made, opened and refused; never rows or verbs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from neogate_lab.errors import StoreError
from neogate_lab.history.forks import unforked
from neogate_lab.history.schema import TABLES, Column, Kind, Table

__all__ = ["STORE_VERSION", "Journal", "store_error"]

STORE_VERSION = 4
"""Of the journal's layout; 1 had no segments, 2 and 3 not the columns of schema 2 and 3."""

APPLICATION_ID = 0x4E656F47  # "NeoG"
_BUSY_MS = 30_000
_OURS = {
    "journal.sqlite",
    "journal.sqlite-wal",
    "journal.sqlite-shm",
    "locks",
    "owners",
    "redaction.key",
    "segments",
}

_AFFINITY: dict[Kind, str] = {
    "time": "INTEGER",
    "text": "TEXT NOT NULL DEFAULT ''",
    "cat": "TEXT NOT NULL DEFAULT ''",
    "float": "REAL",
}

_INDEXES = (
    "CREATE INDEX signal_port ON signal (gateway, port, time)",
    "CREATE INDEX parts_gateway ON message_parts (gateway, received_at)",
    "CREATE INDEX identities_port ON identities (gateway, port)",
    "CREATE UNIQUE INDEX outbox_id ON outbox (id) WHERE id <> ''",
    "CREATE INDEX outbox_key ON outbox (gateway, key) WHERE key <> ''",
    "CREATE INDEX outbox_pace ON outbox (gateway, port, written_at)",
    "CREATE INDEX outbox_status ON outbox (status, gateway)",
)

# Parts whose message isn't complete yet: state, not history, so it has no frame. A part listed
# here may not leave the journal.
_OPEN_PARTS = """
CREATE TABLE open_parts (
    row_id INTEGER PRIMARY KEY REFERENCES message_parts (row_id),
    gateway TEXT NOT NULL,
    "group" TEXT NOT NULL
)
"""

# The rows of a table up to its greatest last_row are in segments, all later ones in the journal.
_SEGMENTS = """
CREATE TABLE segments (
    "table" TEXT NOT NULL,
    day INTEGER NOT NULL,
    first_row INTEGER NOT NULL,
    last_row INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    PRIMARY KEY ("table", day, first_row)
) WITHOUT ROWID
"""


class Journal:
    """The database of one store.

    Parameters
    ----------
    folder : Path
        The store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.sqlite"

    def create(self) -> None:
        """Make the folder and an empty journal, unless they are there; `StoreError` if they can't.

        A folder that holds other things is refused, so that a mistyped path can't turn a working
        directory into a store.
        """
        try:
            if not self.folder.exists():
                self.folder.mkdir(mode=0o700, exist_ok=True)
            self._refuse_file()
            if not self.path.exists():
                if strangers := {entry.name for entry in self.folder.iterdir()} - _OURS:
                    raise StoreError(
                        f"{self.folder} is a folder with other things in it ({min(strangers)}), "
                        "not a store: choose a new path"
                    )
                self.folder.chmod(0o700)
                # Made here, not by SQLite, for its mode; -wal and -shm then follow it.
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise store_error(error, self.folder) from error
        with unforked():
            self.connect().close()

    def check(self) -> None:
        """Raise `StoreError` unless there is a store that this version can read."""
        self._refuse_file()
        if not self.path.is_file():
            raise StoreError(
                f"there is no store at {self.folder}: check the spelling; connecting a gateway "
                "with this path as its store makes one"
            )
        with self.reading() as connection:
            for name in TABLES:  # the last page of each: a journal cut short shows at once
                connection.execute(f'SELECT * FROM "{name}" ORDER BY row_id DESC LIMIT 1')  # noqa: S608 - names come from the schema

    def connect(self) -> sqlite3.Connection:
        """Open the journal to write, laying out the tables if it is new; transactions by hand."""
        connection = self._open()
        try:
            with self._translated():
                if self._is_new(connection):
                    self._lay_out(connection)
                self._refuse_foreign(connection)
                self._migrate(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one moment of the store; it writes nothing and waits for no
        writer.
        """
        with unforked(), contextlib.closing(self._open()) as connection, self._translated():
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            self._refuse_foreign(connection)
            yield connection

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file that the path leads to now."""
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def _open(self) -> sqlite3.Connection:
        with self._translated():
            return sqlite3.connect(
                f"{self.path.as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=_BUSY_MS / 1000,
                check_same_thread=False,
            )

    def _refuse_file(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"{self.folder} is a file, and a store is a folder: choose a new path")

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        return not _pragma(connection, "user_version") and not _pragma(connection, "schema_version")

    def _lay_out(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if self._is_new(connection):  # still: another process may have been faster
            for table in TABLES.values():
                connection.execute(_table_sql(table))
                connection.execute(
                    f'CREATE INDEX {table.name}_time ON "{table.name}" ({table.time})'
                )
            connection.execute(_OPEN_PARTS)
            connection.execute(_SEGMENTS)
            for sql in _INDEXES:
                connection.execute(sql)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {STORE_VERSION}")
        connection.execute("COMMIT")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _pragma(connection, "user_version") == STORE_VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        version = _pragma(connection, "user_version")  # again: another process may have been faster
        if version < 2:
            connection.execute(_SEGMENTS)
        if version < STORE_VERSION:
            for table in TABLES.values():
                found = connection.execute(f'PRAGMA table_info("{table.name}")')
                for column in table.later([name for _, name, *_ in found]):
                    connection.execute(
                        f'ALTER TABLE "{table.name}" ADD COLUMN {_column_sql(table, column)}'
                    )
            connection.execute(f"PRAGMA user_version = {STORE_VERSION}")
        connection.execute("COMMIT")

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        if _pragma(connection, "application_id") != APPLICATION_ID:
            raise StoreError(
                f"{self.path} is a database, but not of a NeoGate store: choose another path"
            )
        version = _pragma(connection, "user_version")
        if version > STORE_VERSION:
            raise StoreError(
                f"{self.folder} was written by a newer neogate_lab (store version {version}, this "
                f"one reads up to {STORE_VERSION}): upgrade neogate_lab, or choose another path"
            )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise store_error(error, self.folder) from error


def store_error(error: BaseException, folder: Path) -> StoreError:
    """Say in one sentence what went wrong with the store and what to do."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if isinstance(error, OSError):
        what = f"{error.strerror or type(error).__name__}: check the path and who may write there"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        what = (
            "journal.sqlite is damaged or not a database: restore a copy, or move the folder away "
            "and start a new store; its segments are Parquet files, which read_parquet reads"
        )
    elif name.startswith("SQLITE_FULL"):
        what = "the disk is full, nothing of this was recorded: make room"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        what = f"another process kept it locked for {_BUSY_MS // 1000} s: close that one first"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        what = "it can't be opened or written: check that it exists and who may write there"
    else:
        what = f"the disk or the database failed ({error}): check the disk, then try again"
    return StoreError(f"the store {folder} failed: {what}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _table_sql(table: Table) -> str:
    columns = ", ".join(_column_sql(table, column) for column in table.columns)
    return f'CREATE TABLE "{table.name}" ({columns})'


def _column_sql(table: Table, column: Column) -> str:
    if column.name == "row_id":  # AUTOINCREMENT: a row_id never returns, also when rows leave
        return "row_id INTEGER PRIMARY KEY AUTOINCREMENT"
    suffix = " NOT NULL" if column.name == table.time else ""
    return f'"{column.name}" {_AFFINITY.get(column.kind, "INTEGER")}{suffix}'

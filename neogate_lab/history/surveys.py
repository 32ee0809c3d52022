"""What is on record of one survey, so that it can go on by name; never when it does."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

from neogate_lab.history import codec, segments
from neogate_lab.history.codec import Row
from neogate_lab.history.schema import TABLES
from neogate_lab.history.selection import Selection

__all__ = ["on_record"]

_LAST_TICK = (
    "SELECT time FROM signal WHERE gateway = ? AND survey = ? AND time >= ? "
    "ORDER BY time DESC LIMIT 1"
)


def on_record(
    connection: sqlite3.Connection, folder: Path, gateway: str, name: str
) -> tuple[list[Row], list[Row], datetime | None]:
    """A survey's stretches and marks in their order, and the last tick of a stretch without end."""
    of_it = (gateway, name)
    surveys = codec.fetch(
        connection, TABLES["surveys"], "gateway = ? AND name = ? ORDER BY row_id", of_it
    )
    marks = codec.fetch(
        connection, TABLES["marks"], "gateway = ? AND survey = ? ORDER BY row_id", of_it
    )
    stretches = list(surveys)
    last = None
    if stretches and stretches[-1]["stopped_at"] is None:
        last = _last_tick(connection, folder, of_it, stretches[-1]["time"])
    return stretches, list(marks), last


def _last_tick(
    connection: sqlite3.Connection, folder: Path, of_it: tuple[str, str], since: datetime
) -> datetime | None:
    start = codec.micros(since)
    found = connection.execute(_LAST_TICK, (*of_it, start)).fetchone()
    table = TABLES["signal"]
    if found is not None:
        time: datetime = codec.decode_time(found[0])
        return time
    equals = (("gateway", of_it[:1]), ("survey", of_it[1:]))
    selection = Selection(table, since=start, equals=equals)
    latest = sorted(segments.listed(connection, table.name), key=lambda one: -one.last_time)
    for segment in latest:  # the rows of each are sorted, and days do not overlap
        rows = segments.read(folder / segment.name, selection)
        if rows.num_rows:
            last: datetime = rows["time"][-1].as_py()
            return last
    return None

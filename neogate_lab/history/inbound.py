"""What gateways told: parts, the messages made from them, identities; SQL on a given connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from neogate_lab.history import codec
from neogate_lab.history.codec import Row
from neogate_lab.history.schema import TABLES

__all__ = ["identify", "messages", "receive", "recent_parts"]

_PARTS, _MESSAGES, _IDENTITIES = (TABLES[n] for n in ("message_parts", "messages", "identities"))


def receive(
    connection: sqlite3.Connection,
    gateway: str,
    part: Sequence[Any] | None,
    group: str,
    message: Sequence[Any] | None,
) -> int | None:
    """Insert an encoded part and what follows from it; the message's row_id, if there is one."""
    part_id = codec.insert(connection, _PARTS, [part])[0] if part is not None else None
    if message is None:
        if group:
            connection.execute("INSERT INTO open_parts VALUES (?, ?, ?)", (part_id, gateway, group))
        return None
    if group:
        connection.execute(
            'DELETE FROM open_parts WHERE gateway = ? AND "group" = ?', (gateway, group)
        )
    return codec.insert(connection, _MESSAGES, [message])[0]


def recent_parts(connection: sqlite3.Connection, gateway: str, since: int) -> list[tuple[Row, str]]:
    """Parts of a gateway received from `since` (µs) on, and older open ones, as they arrived."""
    groups = dict(
        connection.execute('SELECT row_id, "group" FROM open_parts WHERE gateway = ?', (gateway,))
    )
    where = (
        "gateway = ? AND (received_at >= ? OR "
        "row_id IN (SELECT row_id FROM open_parts WHERE gateway = ?)) ORDER BY row_id"
    )
    found = codec.fetch(connection, _PARTS, where, (gateway, since, gateway))
    return [(row, groups.get(row["row_id"], "")) for row in found]


def messages(connection: sqlite3.Connection, gateway: str, since: int) -> list[Row]:
    """Messages of a gateway received from `since` (µs) on, oldest first."""
    where = "gateway = ? AND received_at >= ? ORDER BY row_id"
    return list(codec.fetch(connection, _MESSAGES, where, (gateway, since)))


def identify(connection: sqlite3.Connection, values: Sequence[Any]) -> bool:
    """Insert an encoded identity, unless the port's last one says the same; True if it did not."""
    row = dict(zip(_IDENTITIES.names, values, strict=True))
    names = [name for name in _IDENTITIES.names if name not in ("row_id", "time")]
    last = connection.execute(
        f"SELECT {', '.join(names)} FROM identities WHERE gateway = ? AND port IS ? "  # noqa: S608 - names come from the schema
        "ORDER BY row_id DESC LIMIT 1",
        (row["gateway"], row["port"]),
    ).fetchone()
    if last == tuple(row[name] for name in names):
        return False
    codec.insert(connection, _IDENTITIES, [values])
    return True

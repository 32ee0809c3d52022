"""An SMS's life on disk: keys, budget, pacing and status, each in one transaction; never a wire."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from neogate_lab.errors import BudgetExceeded, InvalidRequest
from neogate_lab.history import codec
from neogate_lab.history.codec import Row
from neogate_lab.history.schema import TABLES
from neogate_lab.protocol.records import SMS_MAY_BECOME

__all__ = [
    "OUTBOX",
    "STATUSES",
    "adopt",
    "claim",
    "enqueue",
    "enqueue_many",
    "look",
    "move",
    "settle",
    "waiting",
]

OUTBOX = TABLES["outbox"]
STATUSES = OUTBOX.column("status").values

_DAY_US = 24 * 3600 * 1_000_000

Alive = Callable[[str], bool]


def enqueue(
    connection: sqlite3.Connection,
    values: Sequence[Any],
    *,
    owner: str,
    alive: Alive,
    retry_failed: bool,
    budget: int | None,
    any_port: Collection[str] = (),
) -> tuple[Row, bool]:
    """Insert an encoded row as queued, or return the one that its key already stands for."""
    row = codec.decode(OUTBOX, values)
    encoded = dict(zip(OUTBOX.names, values, strict=True))
    if row["key"]:
        earlier = _last(connection, "gateway = ? AND key = ?", (row["gateway"], row["key"]))
        if earlier is not None:
            same = ("to", "text") if row["key"] in any_port else ("to", "text", "port")
            for name in same:
                if earlier[name] != row[name]:
                    raise InvalidRequest(
                        f"this key was used at {row['gateway']} with another {name}: "
                        "take a new key for a new message"
                    )
            if earlier["status"] == "queued":
                return _take_over(connection, earlier, owner, alive)
            again = ("cancelled", "failed") if retry_failed else ("cancelled",)
            if earlier["status"] not in again:
                return earlier, False
    if budget is not None:
        _spend(connection, encoded["queued_at"], row["segments"] or 0, budget)
    encoded |= {"status": "queued", "status_at": encoded["queued_at"], "owner": owner}
    try:
        (row_id,) = codec.insert(connection, OUTBOX, [tuple(encoded.values())])
    except sqlite3.IntegrityError as error:
        raise InvalidRequest(
            "an SMS with this id is in the outbox already: take a new id"
        ) from error
    return _row(connection, row_id), True


def enqueue_many(
    connection: sqlite3.Connection,
    rows: Sequence[Sequence[Any]],
    *,
    rehearse: bool,
    **settings: Any,
) -> list[tuple[Row, bool] | InvalidRequest]:
    """`enqueue` each encoded row; all or, when one can't be queued or to rehearse, none."""
    connection.execute("SAVEPOINT batch")
    answers: list[tuple[Row, bool] | InvalidRequest] = []
    for values in rows:
        try:
            answers.append(enqueue(connection, values, **settings))
        except InvalidRequest as error:
            answers.append(error)
    if rehearse or any(isinstance(answer, InvalidRequest) for answer in answers):
        connection.execute("ROLLBACK TO batch")
    connection.execute("RELEASE batch")
    return answers


def claim(
    connection: sqlite3.Connection,
    row_id: int,
    *,
    now: int,
    interval: int,
    owner: str,
    alive: Alive,
) -> float:
    """Mark a queued row as written if the port may send now; seconds to wait, or -1.0 if not ours.

    `now` and `interval` are in microseconds. A row of a dead owner becomes the caller's.
    """
    row = _last(connection, "row_id = ?", (row_id,))
    if row is None or row["status"] != "queued":
        return -1.0
    if row["owner"] != owner:
        if alive(row["owner"]):
            return -1.0
        codec.update(connection, OUTBOX, row_id, {"owner": owner})
    # A time far ahead comes from a clock that was set back since: it must not block for long.
    (last,) = connection.execute(
        "SELECT max(written_at) FROM outbox WHERE gateway = ? AND port IS ? AND written_at <= ?",
        (row["gateway"], row["port"], now + interval),
    ).fetchone()
    if last is not None and last + interval > now:
        return float(last + interval - now) / 1e6
    values = {"status": "written", "written_at": now, "status_at": now}
    codec.update(connection, OUTBOX, row_id, values)
    return 0.0


def move(connection: sqlite3.Connection, row_id: int, *, port: int, span: int, owner: str) -> Row:
    """Give a queued row of this owner another port; the row after it."""
    row = _row(connection, row_id)
    if row["status"] == "queued" and row["owner"] == owner:
        codec.update(connection, OUTBOX, row_id, {"port": port, "span": span})
    return _row(connection, row_id)


def settle(
    connection: sqlite3.Connection, id: str, status: str, *, now: int, error: str, smsc: str
) -> Row | None:
    """Note what became of the SMS with this wire id; the row after it, None for a foreign id."""
    row = _last(connection, "id = ? AND id <> ''", (id,))
    if row is None or status not in SMS_MAY_BECOME.get(row["status"], ()):
        return row
    values = {"status": status, "status_at": now, "error": error, "smsc": smsc or row["smsc"]}
    codec.update(connection, OUTBOX, row["row_id"], values)
    return _row(connection, row["row_id"])


def waiting(connection: sqlite3.Connection, gateway: str, *, alive: Alive) -> list[Row]:
    """Rows that are queued or written, oldest first, with `owner_alive` and `port_written_at`."""
    where = "status IN ('queued', 'written') AND gateway = ? ORDER BY row_id"
    found = _with_owners(codec.fetch(connection, OUTBOX, where, (gateway,)), alive)
    ports = {row["port"] for row in found}
    last = {port: _last_written(connection, gateway, port) for port in ports}
    return [row | {"port_written_at": last[row["port"]]} for row in found]


def adopt(connection: sqlite3.Connection, gateway: str, *, owner: str, alive: Alive) -> list[Row]:
    """Make the queued rows of dead owners the caller's; the rows, oldest first."""
    where = "status = 'queued' AND gateway = ? AND owner <> ? ORDER BY row_id"
    found = _with_owners(codec.fetch(connection, OUTBOX, where, (gateway, owner)), alive)
    orphans = [row | {"owner": owner} for row in found if not row["owner_alive"]]
    for row in orphans:
        codec.update(connection, OUTBOX, row["row_id"], {"owner": owner})
    return orphans


def look(connection: sqlite3.Connection, ids: Collection[str], *, alive: Alive) -> list[Row]:
    """The rows with these wire ids, each with `owner_alive`."""
    rows = (_last(connection, "id = ? AND id <> ''", (id,)) for id in ids)
    return _with_owners((row for row in rows if row is not None), alive)


def _with_owners(rows: Iterable[Row], alive: Alive) -> list[Row]:
    found = list(rows)
    living = {owner: alive(owner) for owner in {row["owner"] for row in found}}
    return [row | {"owner_alive": living[row["owner"]]} for row in found]


def _last_written(connection: sqlite3.Connection, gateway: str, port: int | None) -> Any:
    where = "gateway = ? AND port IS ? AND written_at IS NOT NULL ORDER BY written_at DESC LIMIT 1"
    row = next(codec.fetch(connection, OUTBOX, where, (gateway, port)), None)
    return None if row is None else row["written_at"]


def _take_over(
    connection: sqlite3.Connection, row: Row, owner: str, alive: Alive
) -> tuple[Row, bool]:
    if row["owner"] == owner or alive(row["owner"]):
        return row, False
    codec.update(connection, OUTBOX, row["row_id"], {"owner": owner})
    return row | {"owner": owner}, True


def _spend(connection: sqlite3.Connection, now: int, segments: int, budget: int) -> None:
    """Raise `BudgetExceeded` if `segments` more are too many; what still waits counts as spent."""
    (spent,) = connection.execute(
        "SELECT coalesce(sum(segments), 0) FROM outbox WHERE status = 'queued' "
        "OR (status <> 'cancelled' AND coalesce(written_at, queued_at) > ?)",
        (now - _DAY_US,),
    ).fetchone()
    if spent + segments > budget:
        raise BudgetExceeded(
            f"segments of this SMS: {segments}; used in 24 hours: {spent}, of the {budget} that "
            "sms_budget allows. Nothing was sent: wait, or raise sms_budget"
        )


def _last(connection: sqlite3.Connection, where: str, parameters: Sequence[Any]) -> Row | None:
    found = codec.fetch(connection, OUTBOX, f"{where} ORDER BY row_id DESC LIMIT 1", parameters)
    return next(found, None)


def _row(connection: sqlite3.Connection, row_id: int) -> Row:
    row = _last(connection, "row_id = ?", (row_id,))
    assert row is not None
    return row

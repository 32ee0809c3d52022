"""A ledger in memory, for scripts that want no file and for tests; it forgets with the process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, TypeVar

from neogate_lab.errors import BudgetExceeded, InvalidRequest
from neogate_lab.link.ledger import Row
from neogate_lab.protocol.records import SMS_MAY_BECOME

__all__ = ["MemoryLedger"]

T = TypeVar("T")


class _Alone:
    """Nobody else can record into this process's memory."""

    held = True
    endpoint = ""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None

    def noted(self) -> datetime | None:
        return None

    def note(self, now: datetime) -> None:
        return None


class _Held:
    """One of those that want the same name, all within this process."""

    holder = "this process"

    def __init__(self, taken: set[tuple[str, str]], name: tuple[str, str]) -> None:
        self._taken, self._name = taken, name
        self.held = False

    def acquire(self) -> bool:
        if not self.held and self._name not in self._taken:
            self._taken.add(self._name)
            self.held = True
        return self.held

    def taken(self) -> bool:
        return self._name in self._taken

    def release(self) -> None:
        if self.held:
            self._taken.discard(self._name)
        self.held = False


class MemoryLedger:
    """Implements `Ledger` in plain lists; `tables` holds the rows by table name."""

    owner = ""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {}
        self._ids = itertools.count(1)
        self._open: dict[int, str] = {}
        self._surveys: set[tuple[str, str]] = set()

    def _done(self, act: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(act())
        except Exception as error:  # noqa: BLE001 - it reaches the caller through the future
            future.set_exception(error)
        return future

    def _insert(self, table: str, row: Row) -> int:
        row_id = next(self._ids)
        self.tables.setdefault(table, []).append({**row, "row_id": row_id})
        return row_id

    def record_lock(self, gateway: str, endpoint: str) -> _Alone:  # noqa: D102
        return _Alone()

    def survey_lock(self, gateway: str, name: str) -> _Held:  # noqa: D102
        return _Held(self._surveys, (gateway, name))

    def open_surveys(self, gateway: str) -> Future[list[Row]]:  # noqa: D102
        return self._done(
            lambda: [
                dict(row)
                for row in self.tables.get("surveys", [])
                if row["gateway"] == gateway and row.get("stopped_at") is None
            ]
        )

    def recall_survey(self, gateway: str, name: str) -> Future[tuple[list[Row], list[Row], Any]]:  # noqa: D102
        def act() -> tuple[list[Row], list[Row], Any]:
            def named(table: str, column: str) -> list[Row]:
                return [
                    dict(row)
                    for row in self.tables.get(table, [])
                    if (row["gateway"], row[column]) == (gateway, name)
                ]

            stretches, last = named("surveys", "name"), None
            if stretches and stretches[-1].get("stopped_at") is None:
                since = stretches[-1]["time"]
                ticks = [row["time"] for row in named("signal", "survey") if row["time"] >= since]
                last = max(ticks, default=None)
            return stretches, named("marks", "survey"), last

        return self._done(act)

    def append(self, table: str, rows: Sequence[Row]) -> Future[list[int]]:  # noqa: D102
        return self._done(lambda: [self._insert(table, row) for row in rows])

    def update(self, table: str, row_id: int, values: Mapping[str, Any]) -> Future[None]:  # noqa: D102
        def act() -> None:
            for row in self.tables.get(table, []):
                if row["row_id"] == row_id:
                    row.update(values)

        return self._done(act)

    def identify(self, row: Row) -> Future[bool]:  # noqa: D102
        def act() -> bool:
            for last in reversed(self.tables.get("identities", [])):
                if (last["gateway"], last["port"]) == (row["gateway"], row["port"]):
                    if all(last.get(name) == row[name] for name in row if name != "time"):
                        return False
                    break
            self._insert("identities", row)
            return True

        return self._done(act)

    def receive(  # noqa: D102
        self, gateway: str, part: Row | None, group: str, message: Row | None
    ) -> Future[int | None]:
        def act() -> int | None:
            if part is not None:
                part_id = self._insert("message_parts", part)
                if group and message is None:
                    self._open[part_id] = group
            if message is None:
                return None
            self._open = {key: name for key, name in self._open.items() if name != group}
            return self._insert("messages", message)

        return self._done(act)

    def recent_parts(self, gateway: str, since: datetime) -> Future[list[tuple[Row, str]]]:  # noqa: D102
        return self._done(
            lambda: [
                (row, self._open.get(row["row_id"], ""))
                for row in self.tables.get("message_parts", [])
                if row["gateway"] == gateway
                and (row["received_at"] >= since or row["row_id"] in self._open)
            ]
        )

    def messages(self, gateway: str, since: datetime) -> Future[list[Row]]:  # noqa: D102
        return self._done(
            lambda: [
                dict(row)
                for row in self.tables.get("messages", [])
                if row["gateway"] == gateway and row["received_at"] >= since
            ]
        )

    def enqueue(  # noqa: D102
        self, row: Row, *, retry_failed: bool = False, budget: int | None = None
    ) -> Future[tuple[Row, bool]]:
        return self._done(lambda: self._enqueue(row, retry_failed, budget, ()))

    def _enqueue(
        self, row: Row, retry_failed: bool, budget: int | None, any_port: Collection[str]
    ) -> tuple[Row, bool]:
        rows = self.tables.get("outbox", [])
        for earlier in reversed(rows):
            if not row["key"] or (earlier["gateway"], earlier["key"]) != (
                row["gateway"],
                row["key"],
            ):
                continue
            same = ("to", "text") if row["key"] in any_port else ("to", "text", "port")
            if any(earlier[name] != row[name] for name in same):
                raise InvalidRequest("this key was used for another SMS; use a new key")
            again = earlier["status"] == "cancelled" or (
                retry_failed and earlier["status"] == "failed"
            )
            if not again:
                return dict(earlier), False
            break
        day = row["queued_at"] - timedelta(hours=24)
        spent = sum(
            other["segments"]
            for other in rows
            if other["status"] == "queued"  # however old: it is still to be sent
            or (
                other["status"] != "cancelled" and (other["written_at"] or other["queued_at"]) > day
            )
        )
        if budget is not None and spent + row["segments"] > budget:
            raise BudgetExceeded(
                f"{row['segments']} segments more would make {spent + row['segments']} in 24 "
                f"hours, over sms_budget={budget}; nothing was sent"
            )
        empty = {"written_at": None, "smsc": "", "error": "", "owner": "", "auto": None}
        fresh = {**empty, **row, "status": "queued", "status_at": row["queued_at"]}
        return {**fresh, "row_id": self._insert("outbox", fresh)}, True

    def enqueue_many(  # noqa: D102
        self,
        rows: Sequence[Row],
        *,
        retry_failed: bool = False,
        budget: int | None = None,
        any_port: Collection[str] = (),
        rehearse: bool = False,
    ) -> Future[list[tuple[Row, bool] | InvalidRequest]]:
        def act() -> list[tuple[Row, bool] | InvalidRequest]:
            before = list(self.tables.get("outbox", []))
            answers: list[tuple[Row, bool] | InvalidRequest] = []
            for row in rows:
                try:
                    answers.append(self._enqueue(row, retry_failed, budget, any_port))
                except InvalidRequest as error:
                    answers.append(error)
            if rehearse or any(isinstance(answer, InvalidRequest) for answer in answers):
                self.tables["outbox"] = before
            return answers

        return self._done(act)

    def adopt(self, gateway: str) -> Future[list[Row]]:  # noqa: D102
        return self._done(list)  # nobody else ever had it

    def look(self, ids: Collection[str]) -> Future[list[Row]]:  # noqa: D102
        return self._done(
            lambda: [
                {**row, "owner_alive": True}
                for row in self.tables.get("outbox", [])
                if row["id"] in ids
            ]
        )

    def claim(self, row_id: int, *, now: datetime, interval: float) -> Future[float]:  # noqa: D102
        def act() -> float:
            rows = self.tables.get("outbox", [])
            mine = next((row for row in rows if row["row_id"] == row_id), None)
            if mine is None or mine["status"] != "queued":
                return -1.0
            # A time far ahead is by a clock that was set back since: it must not block for long.
            last = self._written(
                mine["gateway"], mine["port"], until=now + timedelta(seconds=interval)
            )
            wait = 0.0 if last is None else interval - (now - last).total_seconds()
            if wait > 0:
                return wait
            mine.update(status="written", written_at=now, status_at=now)
            return 0.0

        return self._done(act)

    def move(self, row_id: int, *, port: int, span: int) -> Future[Row]:  # noqa: D102
        def act() -> Row:
            row = next(row for row in self.tables["outbox"] if row["row_id"] == row_id)
            if row["status"] == "queued":
                row.update(port=port, span=span)
            return dict(row)

        return self._done(act)

    def settle(  # noqa: D102
        self, id: str, status: str, *, now: datetime, error: str = "", smsc: str = ""
    ) -> Future[Row | None]:
        def act() -> Row | None:
            for row in self.tables.get("outbox", []):
                if row["id"] == id:
                    if status in SMS_MAY_BECOME.get(row["status"], ()):
                        smsc_known = smsc or row["smsc"]
                        row.update(status=status, status_at=now, error=error, smsc=smsc_known)
                    return dict(row)
            return None

        return self._done(act)

    def waiting(self, gateway: str) -> Future[list[Row]]:  # noqa: D102
        return self._done(
            lambda: [
                {**row, "owner_alive": True, "port_written_at": self._written(gateway, row["port"])}
                for row in self.tables.get("outbox", [])
                if row["gateway"] == gateway and row["status"] in ("queued", "written")
            ]
        )

    def _written(
        self, gateway: str, port: int, *, until: datetime | None = None
    ) -> datetime | None:
        """When a port last sent."""
        times = (
            row["written_at"]
            for row in self.tables.get("outbox", [])
            if (row["gateway"], row["port"]) == (gateway, port) and row["written_at"] is not None
        )
        return max((time for time in times if until is None or time <= until), default=None)

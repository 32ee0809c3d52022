"""An SMS's life: queued -> written -> sent | failed | unknown, or cancelled; never sent twice.

Every change is committed by the ledger before it has an effect: `written` before the bytes leave, a
status before anyone is told. A row that was written is never written again (WIRE §7: the gateway
itself retries), whatever happened to the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    NeogateError,
    NoAnswer,
    ProtocolError,
    StoreError,
)
from neogate_lab.link.clock import Clock, sleep_unless
from neogate_lab.link.ledger import Ledger, Row
from neogate_lab.protocol.records import SmsStatus, printable

__all__ = ["Link", "Outbox", "Progress", "SmsResult", "due_times", "new_id"]

logger = logging.getLogger(__name__)

REPORTED_FAILURE = "the gateway reported that sending failed"
NO_REPORT = "the gateway never reported what became of it"
NEVER_WRITTEN = "nothing was sent: the connection was lost just before"
INTERRUPTED = "nothing was sent: the call was interrupted"
CLOSED = "nothing was sent: the gateway object was closed"

FOLLOW_SECONDS = 0.5
"""Between looks at SMS that another process sends."""
RETRY_SECONDS = 1.0
"""Between attempts to store a report, when the disk refuses it."""
PORTS_SECONDS = 2.0
"""Between looks for a port that is up, when none is."""


@dataclass(frozen=True, slots=True)
class SmsResult:
    """What is known of an SMS to send.

    Attributes
    ----------
    id : str
        The id on the wire; find the row in `outbox()` by it.
    status : str
        ``queued``, ``written`` (handed to the gateway), ``sent`` (accepted by the SMS centre, which
        is not delivery: WIRE §7), ``failed``, ``unknown`` (written, but no report came) or
        ``cancelled`` (given up while queued: nothing was sent); ``planned`` in a dry run.
    error : str
        Why it failed, in words.
    segments : int
        SMS segments that it takes (3GPP TS 23.040 §9.2.3.24.1).
    queued_at, written_at, status_at : datetime
        UTC.
    due_at : datetime or None
        While queued: when its turn comes, if the link stays up; an estimate.
    earlier : bool
        Its key was used before: this is what became of it then, and nothing was sent now.
    """

    id: str
    port: int
    to: str = field(repr=False)
    text: str = field(repr=False)
    status: SmsStatus
    error: str
    segments: int
    encoding: str
    key: str
    queued_at: datetime
    written_at: datetime | None
    status_at: datetime | None
    smsc: str = field(repr=False)
    due_at: datetime | None = None
    earlier: bool = False

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As a cell's answer; logs get the repr."""
        why = f" ({self.error})" if self.error else ""
        some = "1 segment" if self.segments == 1 else f"{self.segments} segments"
        printer.text(
            f"SMS to {printable(self.to)} on port {self.port}: {self.status}{why}, {some}, "
            f"id {self.id}"
        )

    @classmethod
    def of(cls, row: Row, *, earlier: bool = False) -> SmsResult:
        """The result that a row of `outbox` stands for."""
        known = {name: row.get(name) for name in cls.__slots__}
        return cls(**{**known, "earlier": earlier})  # type: ignore[arg-type]


Progress = Callable[[SmsResult], object]
"""Called on the loop with every change of an SMS."""


def new_id() -> str:
    """An id of one word, unique across clients: every client sees every status (WIRE §3)."""
    return "ng" + uuid4().hex[:20]


def due_times(rows: Iterable[Row], now: datetime, interval: float) -> list[datetime | None]:
    """When each queued row's turn comes; rows as `Ledger.waiting` gives them, oldest first.

    A port that last sent in the future did so by a clock that was set back since: it waits for one
    interval at most.
    """
    step = timedelta(seconds=interval)
    turn: dict[int, datetime] = {}
    due: list[datetime | None] = []
    for row in rows:
        if row["status"] != "queued":
            due.append(None)
            continue
        last = row.get("port_written_at")
        free = turn.get(row["port"], now if last is None else min(last, now) + step)
        due.append(max(now, free))
        turn[row["port"]] = max(now, free) + step
    return due


class Link(Protocol):
    """What the outbox must know of the connection."""

    async def wait_until_up(self) -> None:
        """Return when requests can be written."""
        ...

    @property
    def down_since(self) -> float | None:
        """Monotonic time since when the link is down; None while it is up."""
        ...


@dataclass(eq=False, slots=True)
class _Entry:
    row: Row
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: NeogateError | None = None
    mine: bool = False
    roams: bool = False
    earlier: bool = False
    listeners: list[Progress] = field(default_factory=list)

    @property
    def status(self) -> SmsStatus:
        if self.failure is not None:
            raise self.failure
        status: SmsStatus = self.row["status"]
        return status

    def become(self, row: Row | None) -> None:
        news = row is not None and row["status"] != self.row["status"]
        if row is not None:
            self.row = row
        self.changed.set()
        self.changed = asyncio.Event()
        if news:
            self.tell()

    def tell(self) -> None:
        for listener in self.listeners:
            try:
                listener(self.result())
            except Exception:  # an onlooker must not keep the SMS from its end
                logger.exception("sms %s: whoever follows it failed", self.row["id"])

    def result(self) -> SmsResult:
        return SmsResult.of(self.row, earlier=self.earlier)


class Outbox:
    """Sends what is queued at one gateway, one SMS a port and `interval`, first come first served.

    Parameters
    ----------
    ledger : Ledger
        Where every state is committed.
    transmit : callable
        Hands one row to the session before its first suspension, and returns at the reply.
    ports_up : callable
        (port, span) of every port that can send now, as the gateway says.
    interval, status_timeout : float
        Seconds between two SMS of a port; seconds until a missing report makes it ``unknown``.
    """

    def __init__(
        self,
        ledger: Ledger,
        link: Link,
        transmit: Callable[[Row], Awaitable[None]],
        ports_up: Callable[[], Awaitable[Collection[tuple[int, int]]]],
        *,
        interval: float,
        status_timeout: float,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._link = link
        self._transmit = transmit
        self._ports_up = ports_up
        self._interval = interval
        self._status_timeout = status_timeout
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._foreign: dict[str, _Entry] = {}
        self._turns: dict[int, asyncio.Lock] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._withdrawals: set[asyncio.Task[None]] = set()
        self._on_their_way: set[asyncio.Future[None]] = set()  # to disk, so far nobody's
        self._closed = False

    async def send(
        self,
        row: Row,
        *,
        wait: bool,
        timeout: float | None,
        budget: int | None,
        progress: Progress | None = None,
    ) -> SmsResult:
        """Queue a row, and wait for what becomes of it.

        Parameters
        ----------
        row : dict
            A row of the table `outbox`, checked, its id made by `new_id`.
        wait : bool
            False returns as soon as it is queued on disk.
        timeout : float, optional
            Seconds to wait after the write, and for a link that is down before it.
        progress : callable, optional
            Called with what is known at once, and at every change.
        """
        patience = self._status_timeout if timeout is None else timeout
        with self._queueing():
            stored, fresh = await self._enqueue(row, budget)
            mine = fresh or self._is_left_over(stored)
            entry = self._admit(stored, mine, progress)
            if mine and self._closed:
                await self._withdraw_closed(entry)
        if wait:
            await self._finish([entry], patience, [entry] if mine else [])
        elif mine:
            self._start(self._withdraw_if_down(entry, patience))
        return replace(entry.result(), earlier=not mine)

    async def send_many(
        self,
        rows: Sequence[Row],
        *,
        retry_failed: bool,
        budget: int | None,
        any_port: Collection[str],
        progress: Callable[[int, SmsResult], object] | None,
    ) -> list[SmsResult] | list[InvalidRequest | None]:
        """Queue a batch, all of it or nothing, and wait for what becomes of it.

        It waits for a link that is down as long as it takes; an interrupt withdraws what is queued.

        Parameters
        ----------
        rows : sequence of dict
            As of `send`; one that is ``auto`` leaves, while queued, a port that is not up.
        any_port : collection of str
            Keys that stand for their SMS whatever port that took.

        Returns
        -------
        list of SmsResult, or list of InvalidRequest or None
            The latter when a row could not be queued, and therefore none was.
        """
        with self._queueing():
            answers = await self._enqueue_many(rows, retry_failed, budget, any_port)
            if any(isinstance(answer, InvalidRequest) for answer in answers):
                return [each if isinstance(each, InvalidRequest) else None for each in answers]
            entries: list[_Entry] = []
            own: list[_Entry] = []
            for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
                assert isinstance(answer, tuple)
                stored, fresh = answer
                mine = fresh or self._is_left_over(stored)
                tell = None if progress is None else functools.partial(progress, number)
                entries.append(self._admit(stored, mine, tell, roams=row["auto"]))
                if mine:
                    own.append(entries[-1])
            if self._closed:
                await self._withdraw_all(own, error=CLOSED)
        await self._finish(entries, self._status_timeout, own, link_patience=float("inf"))
        ours = {id(entry) for entry in own}
        return [replace(entry.result(), earlier=id(entry) not in ours) for entry in entries]

    async def resume(self, gateway: str, *, wait: bool) -> list[SmsResult]:
        """Send what dead owners left queued, and learn what became of what they had written."""
        adopted = await asyncio.wrap_future(self._ledger.adopt(gateway))
        rows = await asyncio.wrap_future(self._ledger.waiting(gateway))
        left = [row for row in rows if row["status"] == "written" and not row["owner_alive"]]
        entries = [self._admit(row, False, None) for row in left]
        known = {row["id"] for row in adopted}
        adopted += [row for row in rows if row["id"] not in known and self._is_left_over(row)]
        own = [self._admit(row, True, None) for row in adopted]
        entries += own
        if wait:
            await self._finish(entries, self._status_timeout, own, link_patience=float("inf"))
        return [entry.result() for entry in entries]

    async def waiting(self, gateway: str) -> list[SmsResult]:
        """What is queued at a gateway, by any process, and when its turn comes."""
        rows = await asyncio.wrap_future(self._ledger.waiting(gateway))
        due = due_times(rows, self._clock.now(), self._interval)
        return [
            replace(SmsResult.of(row), due_at=when)
            for row, when in zip(rows, due, strict=True)
            if row["status"] == "queued"
        ]

    def _is_left_over(self, stored: Row) -> bool:
        """Whether a queued row is this owner's, and yet nobody sends it: the store failed then."""
        return (
            stored["status"] == "queued"
            and stored["owner"] == self._ledger.owner
            and stored["id"] not in self._entries
        )

    def _admit(
        self, stored: Row, mine: bool, progress: Progress | None, *, roams: bool = False
    ) -> _Entry:
        """Take a row of the ledger up: send it, listen for its report, or look who else sends."""
        sms_id = stored["id"]
        if stored["status"] == "written" and not self._closed:  # by an earlier call
            self.watch(stored)
        entry = self._entries.get(sms_id) or self._foreign.get(sms_id) or _Entry(stored)
        entry.roams = entry.roams or roams or bool(stored["auto"])
        if progress is not None:
            entry.listeners.append(progress)
        if mine and not self._closed:
            entry.mine = True
            self._entries[sms_id] = entry
            self._start(self._guard(entry, self._deliver))
        elif stored["status"] == "queued" and not (mine or self._closed or sms_id in self._entries):
            if not self._foreign:
                self._start(self._look_after_foreign())
            self._foreign[sms_id] = entry
        if progress is not None:
            entry.tell()
        return entry

    async def _look_after_foreign(self) -> None:
        """Follow SMS that other processes send; take one up whose process dies."""
        while True:
            await self._clock.sleep(FOLLOW_SECONDS)
            try:
                rows = await asyncio.wrap_future(self._ledger.look(list(self._foreign)))
            except NeogateError as error:
                for entry in self._foreign.values():
                    entry.failure = error
                    entry.become(None)
                self._foreign.clear()
                return
            for row in rows:
                entry = self._foreign[row["id"]]
                entry.become(row)
                if row["status"] == "queued" and not row["owner_alive"]:
                    del self._foreign[row["id"]]
                    entry.mine = True
                    self._entries[row["id"]] = entry
                    self._start(self._guard(entry, self._deliver))
                elif row["status"] == "written" and not row["owner_alive"]:
                    del self._foreign[row["id"]]
                    self._entries.setdefault(row["id"], entry)
                    self._start(self._guard(entry, self._give_up_later))
                elif row["status"] not in ("queued", "written"):
                    del self._foreign[row["id"]]
            if not self._foreign:
                return

    async def _finish(
        self,
        entries: Sequence[_Entry],
        patience: float,
        own: Sequence[_Entry],
        *,
        link_patience: float | None = None,
    ) -> None:
        """Wait for the end of each; whatever ends the wait withdraws what is still queued."""
        try:
            for entry in entries:
                ours = entry.row["id"] not in self._foreign
                limit = patience if link_patience is None else link_patience
                await self._until_written(entry, limit if ours else float("inf"))
                await self._until_settled(entry, patience)
        except BaseException:
            await self._withdraw(self._withdraw_all(own))
            raise

    async def _withdraw_all(self, entries: Sequence[_Entry], error: str = INTERRUPTED) -> None:
        queued = [entry for entry in entries if entry.row["status"] == "queued"]
        await asyncio.gather(*(self._settle(entry, "cancelled", error=error) for entry in queued))

    def watch(self, row: Row) -> None:
        """Listen for the report of a row that an earlier connection wrote."""
        if row["id"] not in self._entries:
            self._entries[row["id"]] = entry = _Entry(row)
            self._start(self._guard(entry, self._give_up_later))

    async def report(self, sms_id: str, accepted: bool, smsc: str) -> None:
        """Commit what the gateway says became of an SMS; ids of other clients are ignored.

        It tries as often as it takes: the gateway says it only once.
        """
        now = self._clock.now()
        complained = False
        while True:
            try:
                row = await asyncio.wrap_future(
                    self._ledger.settle(
                        sms_id,
                        "sent" if accepted else "failed",
                        now=now,
                        error="" if accepted else REPORTED_FAILURE,
                        smsc=smsc,
                    )
                )
                break
            except StoreError as error:
                if not complained:
                    logger.error("sms %s: its report waits to be stored: %s", sms_id, error)
                    complained = True
                await self._clock.sleep(RETRY_SECONDS)
        entry = self._entries.get(sms_id)
        if row is not None and entry is not None:
            entry.become(row)

    async def close(self) -> None:
        """Withdraw what is still queued; what was written stays as it is."""
        self._closed = True
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, *self._withdrawals, return_exceptions=True)
        if self._on_their_way:  # their calls withdraw them, for which the ledger must be there
            await asyncio.wait(self._on_their_way)
        for entry in [*self._entries.values(), *self._foreign.values()]:
            if entry.row["status"] == "queued" and entry.mine:
                await self._guard(entry, self._withdraw_closed)
            entry.become(None)  # whoever waits for a report looks up, and returns

    @contextlib.contextmanager
    def _queueing(self) -> Iterator[None]:
        """Have `close` wait for rows that are on their way to disk: their call withdraws them."""
        if self._closed:
            raise GatewayClosed(CLOSED)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_their_way.add(done)
        try:
            yield
        finally:
            self._on_their_way.discard(done)
            done.set_result(None)

    # -- one SMS ---------------------------------------------------------------------------------
    async def _enqueue(self, row: Row, budget: int | None) -> tuple[Row, bool]:
        queued = asyncio.wrap_future(self._ledger.enqueue(row, budget=budget))
        try:
            return await asyncio.shield(queued)
        except asyncio.CancelledError:

            async def take_back() -> None:
                stored, mine = await queued
                if mine:
                    await self._withdraw_all([_Entry(stored)])

            await self._withdraw(take_back())
            raise

    async def _enqueue_many(
        self,
        rows: Sequence[Row],
        retry_failed: bool,
        budget: int | None,
        any_port: Collection[str],
    ) -> list[tuple[Row, bool] | InvalidRequest]:
        queued = asyncio.wrap_future(
            self._ledger.enqueue_many(
                rows, retry_failed=retry_failed, budget=budget, any_port=any_port
            )
        )
        try:
            return await asyncio.shield(queued)
        except asyncio.CancelledError:

            async def take_back() -> None:
                taken = [answer for answer in await queued if isinstance(answer, tuple)]
                await self._withdraw_all([_Entry(row) for row, mine in taken if mine])

            await self._withdraw(take_back())
            raise

    async def _withdraw(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish `work` whatever happens to the caller: its row must not be sent later."""
        task = asyncio.get_running_loop().create_task(work)
        self._withdrawals.add(task)
        task.add_done_callback(self._withdrawals.discard)
        await asyncio.shield(task)

    async def _withdraw_closed(self, entry: _Entry) -> None:
        await self._settle(entry, "cancelled", error=CLOSED)

    async def _withdraw_if_down(self, entry: _Entry, patience: float) -> None:
        with contextlib.suppress(NeogateError):  # `_guard` tells of it
            await self._until_written(entry, patience)

    async def _guard(self, entry: _Entry, work: Callable[[_Entry], Awaitable[None]]) -> None:
        """Hand an error of the ledger to whoever waits for the entry."""
        try:
            await work(entry)
        except NeogateError as error:
            logger.error("sms %s: %s", entry.row["id"], error)
            entry.failure = error
            entry.become(None)
        if entry.failure is not None or entry.status != "queued":
            self._entries.pop(entry.row["id"], None)

    async def _deliver(self, entry: _Entry) -> None:
        while entry.status == "queued":
            port = entry.row["port"]
            async with self._turns.setdefault(port, asyncio.Lock()):
                await self._take_turn(entry)
            if entry.status == "queued" and entry.row["port"] == port:
                await self._clock.sleep(PORTS_SECONDS)
        await self._give_up_later(entry)

    async def _take_turn(self, entry: _Entry) -> None:
        """Write it when its port may send; one that roams stays queued if that port is not up."""
        while entry.status == "queued":
            await self._link.wait_until_up()
            if entry.roams and not await self._can_stay(entry):
                return
            delay = await self._claim(entry)
            if delay > 0:
                await self._clock.sleep(delay)
            elif delay == 0:
                await self._write(entry)

    async def _can_stay(self, entry: _Entry) -> bool:
        """Whether its port is up; if not, it moves to the one of those up that has least to do."""
        try:
            up = {port: (port, span) for port, span in await self._ports_up()}
        except ConnectionLost:
            return False  # nothing can be sent now
        except (CommandRefused, NoAnswer, ProtocolError):
            return True  # nothing speaks against its port
        if entry.row["port"] in up or not up or entry.status != "queued":
            return entry.row["port"] in up
        others = self._entries.values()
        load = Counter(other.row["port"] for other in others if other.row["status"] == "queued")
        port, span = up[min(up, key=lambda number: (load[number], number))]
        logger.info(
            "sms %s: port %s is down, port %s takes it", entry.row["id"], entry.row["port"], port
        )
        row = await asyncio.wrap_future(
            self._ledger.move(entry.row["row_id"], port=port, span=span)
        )
        entry.become(row)
        return False

    async def _claim(self, entry: _Entry) -> float:
        """Commit the row as written if it is its turn: 0.0, else the seconds to wait."""
        now = self._clock.now()
        claim = asyncio.wrap_future(
            self._ledger.claim(entry.row["row_id"], now=now, interval=self._interval)
        )
        try:
            delay = await asyncio.shield(claim)
        except asyncio.CancelledError:
            if await claim == 0:
                await self._settle(entry, "failed", error=CLOSED)
            raise
        if delay == 0:
            written = {"status": "written", "written_at": now, "status_at": now}
            entry.become({**entry.row, **written})
        elif delay < 0:  # withdrawn, or another process took it: see what became of it
            await self._see(entry)
        return delay

    async def _see(self, entry: _Entry) -> None:
        (row,) = await asyncio.wrap_future(self._ledger.look([entry.row["id"]]))
        entry.become(row)
        if row["status"] == "queued":  # a living owner's
            await self._clock.sleep(FOLLOW_SECONDS)

    async def _write(self, entry: _Entry) -> None:
        if self._link.down_since is not None:
            await self._settle(entry, "failed", error=NEVER_WRITTEN)
            return
        try:
            await self._transmit(entry.row)
        except (CommandRefused, InvalidRequest, GatewayClosed) as error:  # nothing left, or refused
            await self._settle(entry, "failed", error=str(error))
        except (NoAnswer, ConnectionLost) as error:
            # The bytes may have reached the modem: only a report can tell.
            logger.info("sms %s: %s; waiting for its report", entry.row["id"], error)

    async def _give_up_later(self, entry: _Entry) -> None:
        written_at: datetime | None = entry.row.get("written_at")
        if entry.status == "written" and written_at is not None:
            age = (self._clock.now() - written_at).total_seconds()
            left = self._status_timeout - age
            # Never longer than asked for, though the clock was set back since.
            await self._sleep_while_written(entry, min(left, self._status_timeout))
        if entry.status == "written":
            await self._settle(entry, "unknown", error=NO_REPORT)

    async def _sleep_while_written(self, entry: _Entry, seconds: float) -> None:
        deadline = self._clock.monotonic() + max(0.0, seconds)
        while entry.status == "written":
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return
            await sleep_unless(self._clock, left, entry.changed)

    async def _until_written(self, entry: _Entry, patience: float) -> None:
        """Wait for its turn; withdraw it when the link stays down for longer than `patience`."""
        asked_at = self._clock.monotonic()
        while entry.status == "queued":
            if self._closed and entry.row["id"] not in self._entries:
                return  # another process's: it goes on without this one
            down_since = self._link.down_since
            if down_since is None:
                await sleep_unless(self._clock, 1.0, entry.changed)
                continue
            left = max(down_since, asked_at) + patience - self._clock.monotonic()
            if left <= 0:
                await self._settle(
                    entry,
                    "cancelled",
                    error=f"nothing was sent: the link is down for {patience:g} s",
                )
            else:
                await sleep_unless(self._clock, min(left, 1.0), entry.changed)

    async def _until_settled(self, entry: _Entry, patience: float) -> None:
        deadline = self._clock.monotonic() + patience
        while entry.status == "written" and not self._closed:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                # A wait of the whole status time ends with a verdict, not just before it.
                if patience < self._status_timeout:
                    return
                left = 1.0
            await sleep_unless(self._clock, left, entry.changed)

    async def _settle(self, entry: _Entry, status: SmsStatus, *, error: str) -> None:
        row = await asyncio.wrap_future(
            self._ledger.settle(entry.row["id"], status, now=self._clock.now(), error=error)
        )
        entry.become(row)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

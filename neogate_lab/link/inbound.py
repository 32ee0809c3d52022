"""From an SMS event to those who wait for it: parsed, joined, committed, and only then told.

Of several processes on one store, one records what arrives at a gateway: the holder of its lock.
The others tell what is on record, and keep what they overhear for a while: when the holder dies,
the next one records what that one no longer did.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

from neogate_lab.errors import GatewayClosed, InvalidRequest, NeogateError, StoreError
from neogate_lab.link.clock import Clock
from neogate_lab.link.inbox import Inbox, JoinedMessage, Receipt, ReceivedSms, parse_recvtime
from neogate_lab.link.ledger import Ledger, RecordLock, Row
from neogate_lab.protocol.records import ReceivedPart, parse_received_part
from neogate_lab.protocol.wire import Packet

__all__ = ["Inbound", "wanted"]

logger = logging.getLogger(__name__)

_Entry = tuple[Row | None, str, Row | None]

FOLLOW_SECONDS = 0.5
"""Between looks at what another process recorded."""
OVERHEARD_SECONDS = 30.0
"""For which one who follows keeps what it overheard, lest the holder died over it."""
RETRY_SECONDS = 1.0
"""Between attempts to store what arrived, when the disk refuses it."""


class Inbound:
    """Everything that one gateway delivers, in order of arrival.

    Parameters
    ----------
    gateway, endpoint : str
        The gateway as tables name it, and its address.
    port_of : callable
        Span -> port.
    zone : tzinfo or None
        The zone of the gateway's clock.

    Attributes
    ----------
    listened_until : datetime or None
        When whoever recorded before this one was last known to listen; None if nobody ever did, and
        while another process still does.
    trouble : InvalidRequest or None
        Why nobody records what arrives here: another gateway took the name in the store.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        gateway: str,
        endpoint: str,
        port_of: Callable[[int], int],
        zone: tzinfo | None,
        part_timeout: float,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._endpoint = endpoint
        self._port_of = port_of
        self._zone = zone
        self._timeout = part_timeout
        self._clock = clock
        self._inbox = Inbox(part_timeout)
        self._queue: asyncio.Queue[tuple[_Entry, Future[int | None], ReceivedSms | None]] = (
            asyncio.Queue()
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._parts_came = asyncio.Event()
        self._listeners: list[Callable[[ReceivedSms], None]] = []
        self._waiting: set[asyncio.Future[ReceivedSms]] = set()
        self._closed = False
        self._lock: RecordLock | None = None
        self._recording = False
        self._overheard: deque[tuple[datetime, ReceivedPart]] = deque()
        self._began = self._told_until = clock.now()
        self.listened_until: datetime | None = None
        self.trouble: InvalidRequest | None = None
        self._told: set[int] = set()

    async def start(self) -> None:
        """Take up the open parts of an earlier process, or follow another; then tell what comes."""
        self._lock = self._ledger.record_lock(self._gateway, self._endpoint)
        mine = self._lock.acquire()
        if not mine and (refusal := self._taken(self._lock)):
            raise refusal  # who follows records nothing: what arrives at this one would be lost
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._tell()), loop.create_task(self._expire())]
        if mine:
            self.listened_until = self._lock.noted()
            await self._take_over()
        else:
            logger.info("%s: another process records what arrives", self._gateway)
            self._tasks.append(loop.create_task(self._follow(self._lock)))

    def _taken(self, lock: RecordLock) -> InvalidRequest | None:
        """The error if the lock's holder records another gateway under this one's name."""
        by = lock.endpoint
        if not by or by.casefold() == self._endpoint.casefold():
            return None
        return InvalidRequest(
            f"the name {self._gateway!r} is in use in this store for the gateway at "
            f"{by}, not {self._endpoint}: give one of them another name; if both are one "
            "gateway, close() the other connection, or use the same address for both"
        )

    @property
    def _holds_lock(self) -> bool:
        return self._lock is not None and self._lock.held

    async def _take_over(self) -> None:
        """Begin to record, with the open parts of whoever recorded before."""
        oldest = min([self._clock.now(), *(at for at, _ in self._overheard)])
        since = oldest - timedelta(seconds=self._timeout + OVERHEARD_SECONDS)
        stored = await asyncio.wrap_future(self._ledger.recent_parts(self._gateway, since))
        on_record: Counter[ReceivedPart] = Counter()
        for row, group in stored:
            fields = {name: row[name] for name in ReceivedPart.__slots__}
            part = ReceivedPart(**fields | {"span": row["span"] or 0})
            on_record[part] += 1
            self._inbox.restore(part, row["received_at"], group)
        self._parts_came.set()
        self._recording = True
        for at, part in self._overheard:
            if on_record[part]:
                on_record[part] -= 1
            else:
                self._take(part, at)
        self._overheard.clear()

    async def _follow(self, lock: RecordLock) -> None:
        """Tell what another process records, until that one ends."""
        while not self._recording:
            await self._clock.sleep(FOLLOW_SECONDS)
            try:
                free = lock.acquire()
                self._watch_name(None if free else self._taken(lock))
                if self.trouble is not None:
                    continue
                await self._catch_up()
                if free:
                    await self._take_over()
                    logger.info("%s: this process records what arrives now", self._gateway)
                else:  # who holds the lock has recorded it
                    oldest = self._clock.now() - timedelta(seconds=OVERHEARD_SECONDS)
                    while self._overheard and self._overheard[0][0] < oldest:
                        self._overheard.popleft()
            except (NeogateError, OSError) as error:
                logger.error("%s: what arrives can't be followed: %s", self._gateway, error)

    def _watch_name(self, trouble: InvalidRequest | None) -> None:
        """Tell when another gateway takes the name, and when it gives it back.

        As long as it has it, nothing that is overheard is forgotten, and none of its messages is
        told as one of this gateway.
        """
        if self.trouble is not None or trouble is not None:
            self._began = self._clock.now()
        if trouble is not None and self.trouble is None:
            logger.error("%s; until then, what arrives here is kept in memory alone", trouble)
        elif trouble is None and self.trouble is not None:
            logger.warning("%s: its name is free again", self._gateway)
        self.trouble = trouble

    async def _catch_up(self) -> None:
        since = self._told_until - timedelta(seconds=OVERHEARD_SECONDS)
        for row in await asyncio.wrap_future(self._ledger.messages(self._gateway, since)):
            if row["row_id"] not in self._told and row["received_at"] >= self._began:
                self._told.add(row["row_id"])
                self._told_until = max(self._told_until, row["received_at"])
                self._announce(ReceivedSms(**row))

    async def close(self) -> None:
        """Commit what has arrived, tell it, and stop; whoever still waits gets `GatewayClosed`."""
        try:
            if self._tasks and not self._tasks[0].done():
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._queue.join()
        except TimeoutError:
            logger.error("%s: messages could not be stored in time", self._gateway)
        finally:  # interrupted too: a lock that stays would keep the next connection from recording
            self._closed = True
            if self._overheard and (self.trouble is not None or self._holds_lock):
                lost = len(self._overheard)
                what = "parts that arrived are perhaps not recorded"
                logger.error("%s: %s: %d", self._gateway, what, lost)
            for found in self._waiting:
                if not found.done():
                    found.set_exception(
                        GatewayClosed(f"{self._gateway} was closed while this waited")
                    )
            for task in self._tasks:
                task.cancel()
            try:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            finally:
                if self._lock is not None:
                    self._lock.release()

    def note(self) -> None:
        """Note that what arrives now is recorded, for whoever comes after this process."""
        if self._recording and self._lock is not None:
            try:
                self._lock.note(self._clock.now())
            except OSError as error:
                logger.debug("%s: the time was not noted: %s", self._gateway, error)

    def listen(self, listener: Callable[[ReceivedSms], None]) -> Callable[[], None]:
        """Call `listener` on the loop with each message once it is on disk; returns its undoing."""
        self._listeners.append(listener)

        def undo() -> None:
            with contextlib.suppress(ValueError):  # undone before
                self._listeners.remove(listener)

        return undo

    def arrived(self, packet: Packet) -> None:
        """Take an `Event: ReceivedSMS`."""
        now = self._clock.now()
        part = parse_received_part(packet)
        if self._recording:
            self._take(part, now)
        else:
            self._overheard.append((now, part))

    def _take(self, part: ReceivedPart, now: datetime) -> None:
        receipt = self._inbox.receive(part, now)
        self._parts_came.set()
        row = {
            "received_at": now,
            "gateway": self._gateway,
            **{name: getattr(part, name) for name in part.__slots__},
            "port": self._port(part),
            "span": part.span or None,
        }
        self._commit(row, part, receipt, now)

    def _commit(self, row: Row | None, part: ReceivedPart, receipt: Receipt, now: datetime) -> None:
        sms = self._message(part, receipt.message, now) if receipt.message else None
        entry = (row, receipt.group, None if sms is None else sms.as_row())
        # Not awaited here: what arrives together is committed together.
        self._queue.put_nowait((entry, self._submit(entry), sms))

    def _submit(self, entry: _Entry) -> Future[int | None]:
        try:
            return self._ledger.receive(self._gateway, *entry)
        except NeogateError as error:
            refused: Future[int | None] = Future()
            refused.set_exception(error)
            return refused

    def _port(self, part: ReceivedPart) -> int | None:
        return self._port_of(part.span) if part.span else None

    def _message(self, part: ReceivedPart, joined: JoinedMessage, now: datetime) -> ReceivedSms:
        return ReceivedSms(
            gateway=self._gateway,
            port=self._port(part),
            span=part.span or None,
            sender=part.sender,
            text=joined.text,
            received_at=now,
            gateway_time=joined.recvtime,
            gateway_time_utc=parse_recvtime(joined.recvtime, self._zone),
            smsc=part.smsc,
            reference=part.reference,
            parts=joined.arrived,
            total=max(1, part.total),
            complete=joined.complete,
            encoding=joined.encoding,
        )

    async def _tell(self) -> None:
        while True:
            entry, committed, sms = await self._queue.get()
            try:
                row_id = await self._committed(entry, committed)
            except Exception:  # a row that can't be kept must not hold up those behind it
                logger.exception("%s: a received SMS could not be stored", self._gateway)
            else:
                if sms is not None:
                    self._announce(replace(sms, row_id=row_id))
            self._queue.task_done()

    def _announce(self, sms: ReceivedSms) -> None:
        for listener in list(self._listeners):
            try:
                listener(sms)
            except Exception:  # the others must hear of it all the same
                logger.exception("%s: a listener failed", self._gateway)

    async def _committed(self, entry: _Entry, committed: Future[int | None]) -> int | None:
        """Wait until it is on disk, as often as it takes: what arrived is not sent again."""
        complained = False
        while True:
            try:
                return await asyncio.wrap_future(committed)
            except StoreError as error:
                if not complained:
                    logger.error("%s: a received SMS waits to be stored: %s", self._gateway, error)
                    complained = True
                await self._clock.sleep(RETRY_SECONDS)
                committed = self._submit(entry)

    async def _expire(self) -> None:
        while True:
            await self._parts_came.wait()  # a thousand idle gateways must not wake up every second
            self._parts_came.clear()
            while self._inbox.pending:
                await self._clock.sleep(min(1.0, self._timeout / 4))
                now = self._clock.now()
                for part, receipt in self._inbox.expire(now):
                    self._commit(None, part, receipt, now)

    async def wait(
        self, wanted: Callable[[ReceivedSms], bool], *, since: datetime | None, timeout: float
    ) -> ReceivedSms:
        """The first wanted message of those on record since a time, else the next.

        What came to another process, or before this one began, is on record too; however short
        the `timeout`, it is looked at. `TimeoutError` when there is none.
        """
        if self._closed:
            raise GatewayClosed(f"{self._gateway} was closed; connect again")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        found: asyncio.Future[ReceivedSms] = loop.create_future()
        self._waiting.add(found)

        def look(sms: ReceivedSms) -> None:
            if not found.done() and wanted(sms):
                found.set_result(sms)

        undo = self.listen(look)
        try:
            if since is not None:  # asked while listening already: nothing falls in between
                rows = await asyncio.wrap_future(self._ledger.messages(self._gateway, since))
                for sms in (ReceivedSms(**row) for row in rows):
                    if wanted(sms):
                        return sms
            async with asyncio.timeout_at(deadline):
                return await found
        finally:
            undo()
            self._waiting.discard(found)


def wanted(
    sender: str | None, contains: str | None, ports: Collection[int] | None
) -> Callable[[ReceivedSms], bool]:
    """Whether a message is whole, and what somebody waits for; None is any."""

    def fits(sms: ReceivedSms) -> bool:
        return (
            sms.complete
            and (sender is None or sms.sender == sender)
            and (contains is None or contains in sms.text)
            and (ports is None or sms.port in ports)
        )

    return fits

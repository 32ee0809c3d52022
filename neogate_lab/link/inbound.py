"""From an SMS event to those who wait for it: parsed, joined, committed, and only then told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from neogate_lab.errors import GatewayClosed, NeogateError, StoreError
from neogate_lab.link.clock import Clock
from neogate_lab.link.inbox import Inbox, JoinedMessage, Receipt, ReceivedSms, parse_recvtime
from neogate_lab.link.ledger import Ledger, Row
from neogate_lab.protocol.records import ReceivedPart, parse_received_part
from neogate_lab.protocol.wire import Packet

__all__ = ["Inbound"]

logger = logging.getLogger(__name__)

_Entry = tuple[Row | None, str, Row | None]

RETRY_SECONDS = 1.0
"""Between attempts to store what arrived, when the disk refuses it."""


class Inbound:
    """Everything that one gateway delivers, in order of arrival.

    Parameters
    ----------
    port_of : callable
        Span -> port.
    zone : tzinfo or None
        The zone of the gateway's clock.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        gateway: str,
        port_of: Callable[[int], int],
        zone: tzinfo | None,
        part_timeout: float,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._port_of = port_of
        self._zone = zone
        self._timeout = part_timeout
        self._clock = clock
        self._inbox = Inbox(part_timeout)
        self._queue: asyncio.Queue[tuple[_Entry, Future[int | None], ReceivedSms | None]] = (
            asyncio.Queue()
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[ReceivedSms], None]] = []
        self._waiting: set[asyncio.Future[ReceivedSms]] = set()
        self._closed = False

    async def start(self) -> None:
        """Take up the open parts of an earlier process, then tell what comes."""
        since = self._clock.now() - timedelta(seconds=self._timeout)
        stored = await asyncio.wrap_future(self._ledger.recent_parts(self._gateway, since))
        for row, group in stored:
            part = ReceivedPart(
                **{
                    name: row[name]
                    for name in ("span", "sender", "content", "recvtime", "smsc", "reference")
                },
                index=row["index"],
                total=row["total"],
            )
            self._inbox.restore(part, row["received_at"], group)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._tell()), loop.create_task(self._expire())]

    async def close(self) -> None:
        """Commit what has arrived, tell it, and stop; whoever still waits gets `GatewayClosed`."""
        if self._tasks and not self._tasks[0].done():
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._queue.join()
            except TimeoutError:
                logger.error("%s: messages could not be stored in time", self._gateway)
        self._closed = True
        for found in self._waiting:
            if not found.done():
                found.set_exception(GatewayClosed(f"{self._gateway} was closed while this waited"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        receipt = self._inbox.receive(part, now)
        row = {
            "received_at": now,
            "gateway": self._gateway,
            "port": self._port_of(part.span),
            **{name: getattr(part, name) for name in part.__slots__},
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

    def _message(self, part: ReceivedPart, joined: JoinedMessage, now: datetime) -> ReceivedSms:
        return ReceivedSms(
            gateway=self._gateway,
            port=self._port_of(part.span),
            span=part.span,
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
            await self._clock.sleep(min(1.0, self._timeout / 4))
            now = self._clock.now()
            for part, receipt in self._inbox.expire(now):
                self._commit(None, part, receipt, now)

    async def wait(
        self, wanted: Callable[[ReceivedSms], bool], *, since: datetime | None
    ) -> ReceivedSms:
        """The first wanted message of those on record since a time, else the next.

        What came to another process, or before this one began, is on record too.
        """
        if self._closed:
            raise GatewayClosed(f"{self._gateway} was closed; connect again")
        found: asyncio.Future[ReceivedSms] = asyncio.get_running_loop().create_future()
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
            return await found
        finally:
            undo()
            self._waiting.discard(found)


def fire_and_log(future: Future[Any], what: str) -> None:
    """Nobody waits for this commit; its failure still must be seen."""

    def check(done: Future[Any]) -> None:
        error = done.exception()
        if isinstance(error, NeogateError):
            logger.error("%s: %s", what, error)
        elif error is not None:
            logger.error("%s", what, exc_info=error)

    future.add_done_callback(check)

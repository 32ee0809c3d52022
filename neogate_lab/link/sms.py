"""SMS to send: from what a user wrote to rows of the outbox, checked; it never writes to a wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from neogate_lab.errors import (
    BudgetExceeded,
    CommandRefused,
    ConnectionLost,
    InvalidRequest,
    NoAnswer,
    ProtocolError,
)
from neogate_lab.link import batch as batches
from neogate_lab.link.clock import Clock
from neogate_lab.link.ledger import Ledger, Row
from neogate_lab.link.options import LinkOptions, check_seconds
from neogate_lab.link.outbox import Outbox, Progress, SmsResult, due_times, new_id
from neogate_lab.link.ports import Ports
from neogate_lab.protocol import commands, gsm
from neogate_lab.warn import warn

__all__ = ["SmsDesk"]


class SmsDesk:
    """Takes the SMS of one gateway in; the outbox sends them.

    Parameters
    ----------
    gateway, where : str
        The gateway as tables name it, and as messages do.
    """

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        ports: Ports,
        options: LinkOptions,
        *,
        gateway: str,
        where: str,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._ports = ports
        self._options = options
        self._gateway = gateway
        self._where = where
        self._clock = clock

    async def take_up(self) -> None:
        """What an earlier process wrote may still be reported; nothing is sent by itself."""
        rows = await asyncio.wrap_future(self._ledger.waiting(self._gateway))
        for row in rows:
            if row["status"] == "written":
                self._outbox.watch(row)
        left = sum(row["status"] == "queued" and not row["owner_alive"] for row in rows)
        if left:
            warn(
                f"{left} SMS queued for {self._where} by a process that ended were not sent; see "
                "outbox(status='queued'), and take them up with resume_outbox()"
            )

    async def send(
        self,
        to: str,
        text: str,
        *,
        port: int,
        wait: bool,
        timeout: float | None,
        key: str | None,
        progress: Progress | None,
    ) -> SmsResult:
        """Check one SMS, queue it, and wait for what becomes of it."""
        if timeout is not None:
            check_seconds("timeout", timeout, least=0)
        if not (key is None or (isinstance(key, str) and key)):
            raise InvalidRequest("key must be a text that is not empty")
        port, _ = self._ports.place(port)
        self.check(to, text, port)
        # Whether the gateway answers is for the row to tell; a port that is not there is refused.
        with contextlib.suppress(CommandRefused, ConnectionLost, NoAnswer, ProtocolError):
            await self._ports.resolve(port)
        return await self._outbox.send(
            self._row(to, text, port, key or ""),
            wait=wait,
            timeout=timeout,
            budget=self._options.sms_budget,
            progress=progress,
        )

    async def send_many(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        dry_run: bool,
        retry_failed: bool,
        batch: str,
        progress: Callable[[int, SmsResult], object] | None,
    ) -> list[SmsResult]:
        """Check a batch, queue all of it or nothing, and wait for what becomes of it."""
        drafts, rows = await self._plan(messages, batch)
        budget = self._options.sms_budget
        any_port = {draft.key for draft in drafts if draft.any_port}
        if dry_run:
            answers = await asyncio.wrap_future(
                self._ledger.enqueue_many(
                    rows,
                    retry_failed=retry_failed,
                    budget=budget,
                    any_port=any_port,
                    rehearse=True,
                )
            )
            self._check_queued(
                [answer if isinstance(answer, InvalidRequest) else None for answer in answers]
            )
            return await self._rehearsed(
                [answer for answer in answers if not isinstance(answer, InvalidRequest)]
            )
        results = await self._outbox.send_many(
            rows,
            retry_failed=retry_failed,
            budget=budget,
            any_port=any_port,
            progress=progress,
        )
        self._check_queued([None if isinstance(found, SmsResult) else found for found in results])
        return [found for found in results if isinstance(found, SmsResult)]

    async def _plan(
        self, messages: Sequence[Mapping[str, Any]], batch: str
    ) -> tuple[list[batches.Draft], list[Row]]:
        """Check a batch, and make its rows of the outbox."""
        with contextlib.suppress(CommandRefused, ConnectionLost, NoAnswer, ProtocolError):
            await self._ports.resolve(None)
        known = {port for port, _ in self._ports.known}

        def check(to: str, text: str, port: int | None) -> None:
            if port is not None and known and port not in known:
                raise self._ports.missing([port])
            self.check(to, text, 1 if port is None else port)

        drafts = batches.drafts(messages, check, batch)
        up: list[int] = []
        load: Counter[int] = Counter()
        if any(draft.port is None for draft in drafts):
            up = [port for port, _ in await self._ports.up()]
            if not up:
                raise InvalidRequest(f'no port of {self._where} is up, so "auto" finds none')
            load.update(sms.port for sms in await self._outbox.waiting(self._gateway))
        ports = batches.spread(drafts, up, load)
        return drafts, [
            self._row(draft.to, draft.text, port, draft.key, auto=draft.port is None)
            for draft, port in zip(drafts, ports, strict=True)
        ]

    def check(self, to: str, text: str, port: int) -> None:
        """Raise `InvalidRequest` for an SMS that can't be handed to the gateway; asks nobody."""
        _, span = self._ports.place(port)
        line = commands.send_sms(span, to, text, new_id(), self._options.max_line)
        commands.cli(line, self._options.max_line)

    def _row(self, to: str, text: str, port: int, key: str, *, auto: bool = False) -> Row:
        segments = gsm.segment(text)
        return {
            "queued_at": self._clock.now(),
            "gateway": self._gateway,
            "port": port,
            "span": self._ports.place(port)[1],
            "to": to,
            "text": text,
            "encoding": segments.encoding,
            "segments": segments.count,
            "id": new_id(),
            "key": key,
            "status": "queued",
            "auto": auto,
        }

    def _check_queued(self, errors: Sequence[InvalidRequest | None]) -> None:
        wrong = {number: error for number, error in enumerate(errors) if error is not None}
        for number, error in wrong.items():
            if isinstance(error, BudgetExceeded):
                raise BudgetExceeded(
                    f"the batch goes over sms_budget={self._options.sms_budget}, the segments that "
                    f"may be sent in 24 hours: row {number} is the first that does not fit. "
                    "Nothing was sent: wait, send fewer, or raise sms_budget"
                ) from error
        if wrong:
            raise batches.bad_rows({number: str(error) for number, error in wrong.items()})

    async def _rehearsed(self, answers: Sequence[tuple[Row, bool]]) -> list[SmsResult]:
        waiting = await asyncio.wrap_future(self._ledger.waiting(self._gateway))
        known = {row["port"]: row["port_written_at"] for row in waiting}
        rows = [{"port_written_at": known.get(row["port"]), **row} for row, new in answers if new]
        now = self._clock.now()
        due = due_times([*waiting, *rows], now, self._options.sms_interval)[len(waiting) :]
        turns = iter(due)
        return [
            replace(SmsResult.of(row), status="planned", id="", due_at=next(turns))
            if new
            else SmsResult.of(row, earlier=True)
            for row, new in answers
        ]

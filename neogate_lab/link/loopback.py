"""SMS from one port to another of the same gateway: when each left, and when it came back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.link.clock import Clock, sleep_unless
from neogate_lab.link.inbound import Inbound
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.options import check_seconds
from neogate_lab.link.outbox import SmsResult, new_id
from neogate_lab.link.ports import Ports

__all__ = ["LoopbackTrip", "Waiting", "measure", "texts"]

FILLER = "The quick brown fox jumps over the lazy dog. "
NEVER_LEFT = frozenset({"failed", "cancelled"})
SINGLE, JOINED = 160, 153
"""Septets of a single part, and of one of several (3GPP TS 23.040 §9.2.3.24.1)."""


@dataclass(frozen=True, slots=True)
class LoopbackTrip:
    """One SMS of a loopback; the row of the view `loopback`.

    Attributes
    ----------
    delay_s : float or None
        Seconds from `written_at` to `received_at`; None when it did not arrive.
    lost : bool
        It did not arrive whole in time.
    """

    n: int
    from_port: int
    to_port: int
    id: str
    status: str
    segments: int
    parts: int | None
    written_at: datetime | None
    status_at: datetime | None
    received_at: datetime | None
    delay_s: float | None
    lost: bool

    @classmethod
    def of(cls, n: int, result: SmsResult, to_port: int, came: ReceivedSms | None) -> LoopbackTrip:
        """What became of the n-th: what was sent, and what came of it."""
        delay = None
        if came is not None and result.written_at is not None:
            delay = (came.received_at - result.written_at).total_seconds()
        return cls(
            n=n,
            from_port=result.port,
            to_port=to_port,
            id=result.id,
            status=result.status,
            segments=result.segments,
            parts=None if came is None else came.parts,
            written_at=result.written_at,
            status_at=result.status_at,
            received_at=None if came is None else came.received_at,
            delay_s=delay,
            lost=came is None or not came.complete,
        )


async def measure(
    ports: Ports,
    inbound: Inbound,
    send_many: Callable[[list[dict[str, Any]]], Awaitable[list[SmsResult]]],
    *,
    from_port: int,
    to_port: int,
    n: int,
    number: str | None,
    segments: int,
    timeout: float,
    clock: Clock,
) -> list[LoopbackTrip]:
    """Send `n` SMS from one port to another, and tell what came of each."""
    for name, value, most in (("n", n, 10_000), ("segments", segments, 5)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InvalidRequest(f"{name} must be a whole number from 1 to {most}")
    check_seconds("timeout", timeout, least=0)
    await ports.resolve([from_port, to_port])
    (source, _), (target, _) = ports.place(from_port), ports.place(to_port)
    if number is None:
        (detail,) = await ports.diagnostics(target)
        number = detail.own_number
        if not number:
            raise InvalidRequest(
                f"{ports.where} does not tell the number of the SIM in port {target}: give number="
            )
    sent = texts(n, segments)
    waiting = Waiting(target, sent, clock)
    undo = inbound.listen(waiting)
    try:
        results = await send_many([{"to": number, "text": text, "port": source} for text in sent])
        await waiting.until_all(
            timeout, {place for place, sms in enumerate(results) if sms.status not in NEVER_LEFT}
        )
    finally:
        undo()
    return [
        LoopbackTrip.of(place + 1, result, target, waiting.came.get(place))
        for place, result in enumerate(results)
    ]


def texts(n: int, segments: int) -> list[str]:
    """Texts that are told apart by their first words, each of so many segments."""
    length = SINGLE if segments == 1 else JOINED * segments
    token = new_id()[:10]
    heads = [f"{token} {number} " for number in range(1, n + 1)]
    if segments == 1:
        return [head + "loopback" for head in heads]
    return [(head + FILLER * length)[:length].rstrip() for head in heads]


class Waiting:
    """Collects, of what arrives at a port, the messages that begin as they were sent."""

    def __init__(self, port: int, sent: list[str], clock: Clock) -> None:
        self.came: dict[int, ReceivedSms] = {}
        self._port = port
        self._heads = {" ".join(text.split(" ", 2)[:2]): n for n, text in enumerate(sent)}
        self._clock = clock
        self._due: set[int] | None = None
        self._all = asyncio.Event()

    def __call__(self, sms: ReceivedSms) -> None:
        """Take a message, on the loop."""
        number = self._heads.get(" ".join(sms.text.split(" ", 2)[:2]))
        if sms.port == self._port and number is not None:
            self.came.setdefault(number, sms)
            if self._due is not None and self._due <= self.came.keys():
                self._all.set()

    async def until_all(self, timeout: float, due: set[int]) -> None:
        """Return when those that are `due` are there, or after `timeout` seconds."""
        if due <= self.came.keys():
            return
        self._due = due
        await sleep_unless(self._clock, timeout, self._all)

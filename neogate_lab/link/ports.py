"""The ports of one gateway: which there are, what they say now, and a measurement of them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import operator
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, cast

from neogate_lab.choice import PortChoice
from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    NeogateError,
    NoAnswer,
    ProtocolError,
)
from neogate_lab.link.clock import Clock
from neogate_lab.link.connection import Connection
from neogate_lab.link.ledger import Ledger
from neogate_lab.link.sampler import Measurement, Target, failed, measured
from neogate_lab.link.session import Session
from neogate_lab.protocol import commands
from neogate_lab.protocol.records import SpanDetail, SpanStatus, parse_span_detail, parse_spans
from neogate_lab.warn import warn
from neogate_lab.words import ranges

__all__ = ["Ports", "needs_port"]

logger = logging.getLogger(__name__)

V = TypeVar("V", bound=Callable[..., Any])

_Answer = SpanDetail | NeogateError

_IDENTITY = (
    "span",
    "manufacturer",
    "model",
    "revision",
    "imei",
    "imsi",
    "operator",
    "country",
    "smsc",
)


class Ports:
    """Ports and spans of one gateway (WIRE §4-§6).

    Parameters
    ----------
    gateway, where : str
        The gateway as tables name it, and as messages do.
    span_offset : int
        Span minus port.
    """

    def __init__(
        self,
        ledger: Ledger,
        connection: Connection,
        *,
        gateway: str,
        where: str,
        span_offset: int,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._connection = connection
        self._gateway = gateway
        self.where = where
        self._offset = span_offset
        self._clock = clock
        self._spans: tuple[int, ...] = ()
        self._listed = False
        self._warned = False
        self._spelling: commands.Spelling | None = None
        self._identities: dict[int, dict[str, Any]] = {}

    # -- which there are -------------------------------------------------------------------------
    @property
    def known(self) -> list[tuple[int, int]]:
        """(port, span) of what the gateway listed last."""
        return [(self.port_of(span), span) for span in self._spans]

    @property
    def to_measure(self) -> Sequence[tuple[int | None, int | None]]:
        """(port, span) of all; while they are not known, one pair of None: it did not answer."""
        return self.known or [(None, None)]

    @property
    def listed(self) -> bool:
        """Whether the gateway has told its ports."""
        return self._listed

    def __str__(self) -> str:
        return ranges([port for port, _ in self.known])

    def port_of(self, span: int) -> int:
        """The physical port of a span (WIRE §4)."""
        return span - self._offset

    def place(self, port: int) -> tuple[int, int]:
        """(port, span) of what a user gave as a port: an int, or a cell of a frame."""
        try:
            number = -1 if isinstance(port, bool) else operator.index(port)
        except TypeError:
            number = -1
        if number < 1 and (number, number + self._offset) in self.known:  # see `_miscounted`
            return number, number + self._offset
        if number < 0:
            if isinstance(port, str):
                number_of = "a whole number from 1, without quotes"
            elif isinstance(port, Sized):
                number_of = "one port at a time, a whole number from 1"
            else:
                number_of = "a whole number from 1"
            raise InvalidRequest(f"port must be {number_of}, not {port!r}")
        if number == 0:
            raise self.missing([number])
        return number, number + self._offset

    async def resolve(self, port: PortChoice) -> list[tuple[int, int]]:
        """(port, span) of some ports or of all, checked against what the gateway lists."""
        if port is None:
            if not self._spans:
                await self.spans()
            return self.known
        several = port if isinstance(port, Iterable) else [port]
        wanted = list(dict.fromkeys(self.place(each) for each in several))
        if not self._spans and self._connection.is_up:
            await self.spans()
        unknown = [number for number, span in wanted if span not in self._spans]
        if unknown and self._connection.is_up:  # a card may have been added
            await self.spans()
            unknown = [number for number, span in wanted if span not in self._spans]
        if (unknown and self._listed) or not wanted:
            raise self.missing(unknown)
        return wanted

    def missing(self, ports: Sequence[int]) -> InvalidRequest:
        """The error for ports that are not there."""
        if not ports:
            return InvalidRequest(
                "port= names no port; give a number, a list of them, or leave it out"
            )
        wrong = ", ".join(map(str, ports))
        spans = [port for port in ports if self._offset and port in self._spans]
        meant = ", ".join(f"span {span} is port {self.port_of(span)}" for span in spans)
        counted = "a port is its" if self._miscounted else "ports as printed on the box:"
        return InvalidRequest(
            f"{self.where} has no port {wrong}; it has {str(self) or 'none'} "
            f"({counted} span minus {self._offset}{'; ' + meant if meant else ''})"
            f"{'; ' + self._miscounted if self._miscounted else ''}"
        )

    @property
    def _miscounted(self) -> str:
        """That the ports can't be those printed on the box, and what to do; "" when they can.

        There is no port 0: where the span of one is listed, `span_offset` is another (WIRE §4).
        """
        first = min(self._spans, default=self._offset + 1)
        if first > self._offset:
            return ""
        return (
            f"it seems to count its spans from {first}, so that span_offset={first - 1} is meant, "
            f"not {self._offset}: connect with that, and its ports are those printed on the box"
        )

    # -- what they say ---------------------------------------------------------------------------
    async def spans(self) -> list[SpanStatus]:
        """Status of every port; remembers which there are."""
        body = await self._connection.session.command(
            commands.cli(commands.show_spans()), what="`gsm show spans`"
        )
        statuses = parse_spans(body)
        if not statuses and (self._spans or body.strip()):  # ports don't vanish all at once
            raise self._unread("`gsm show spans`", body, "lists no port")
        self._spans = tuple(status.span for status in statuses)
        self._listed = True
        if self._miscounted and not self._warned:
            self._warned = True
            warn(f"{self.where} has the ports {self}: {self._miscounted}")
        return statuses

    async def up(self) -> list[tuple[int, int]]:
        """(port, span) of those that can send now."""
        statuses = await self.spans()
        return [
            (self.port_of(status.span), status.span)
            for status in statuses
            if status.up and status.sim is not False
        ]

    def _unread(self, what: str, body: bytes, lacking: str) -> ProtocolError:
        return ProtocolError(
            f"{self.where} answered {what} with {body[:80]!r}, which {lacking}; record its "
            "traffic with connect(record='wire.jsonl'): it may be a firmware not seen before",
            body,
        )

    def forget_spelling(self) -> None:
        """Try both spellings anew: the device behind the address may be another one now."""
        self._spelling = None

    async def diagnostics(self, port: PortChoice) -> list[SpanDetail]:
        """Detail of some ports or of all; a changed identity is recorded."""
        statuses = {status.span: status for status in await self.spans()}
        ports = await self.resolve(port)
        details = await self._details(self._connection.session, [span for _, span in ports])
        failures = [detail for detail, _ in details if isinstance(detail, NeogateError)]
        # Asked for all, one port that refuses takes no answer from the others.
        if failures and (port is not None or len(failures) == len(details)):
            raise failures[0]
        answers = []
        for (number, span), (detail, _) in zip(ports, details, strict=True):
            status = statuses.get(span)
            if isinstance(detail, NeogateError):
                logger.warning("%s: port %d is left without detail: %s", self.where, number, detail)
                detail = SpanDetail(span, status or SpanStatus(span))
            else:
                await self._identify(number, detail)
            answers.append(replace(detail, status=status) if status else detail)
        return answers

    async def detail(self, session: Session, span: int) -> SpanDetail:
        """One span's detail, in the spelling that this firmware knows (WIRE §6)."""
        spellings: tuple[commands.Spelling, ...] = ("gsm show span", "gsm show")
        if self._spelling is not None:
            spellings = (self._spelling,)
        what = f"the detail of port {self.port_of(span)}"
        for spelling in spellings:
            action = commands.cli(commands.show_span(span, spelling))
            try:
                body = await session.command(action, what=what)
            except CommandRefused as error:
                if spelling is not spellings[-1] and _unknown_command(error):
                    continue
                raise
            try:
                detail = parse_span_detail(body, span)
            except ProtocolError as error:
                raise self._unread(what, body, "holds no known field") from error
            self._spelling = spelling
            return detail
        raise AssertionError("unreachable: the last spelling returns or raises")

    async def _details(
        self, session: Session, spans: Sequence[int]
    ) -> list[tuple[_Answer, datetime]]:
        """All details of one round, and when each came; pipelined once the spelling is known."""

        async def ask(span: int) -> tuple[_Answer, datetime]:
            try:
                return await self.detail(session, span), self._clock.now()
            except NeogateError as error:
                return error, self._clock.now()

        first = []
        rest = list(spans)
        while self._spelling is None and rest:
            first.append(await ask(rest.pop(0)))
        return [*first, *await asyncio.gather(*map(ask, rest))]

    async def measure(self, targets: Sequence[Target]) -> list[Measurement]:
        """Measure each target and record it, also when that failed."""
        details: list[tuple[_Answer, datetime]]
        try:
            session = self._connection.session
            spans = [target.span for target in targets if target.span is not None]
            if len(spans) < len(targets):
                raise NoAnswer(f"{self.where} has not told its ports yet")
            details = await self._details(session, spans)
        except (ConnectionLost, GatewayClosed, NoAnswer) as error:
            details = [(error, self._clock.now())] * len(targets)
        rows = []
        for target, (detail, at) in zip(targets, details, strict=True):
            latency = 1000 * (at - target.time).total_seconds()
            if isinstance(detail, SpanDetail):
                rows.append(measured(target, detail, latency))
                await self._identify(self.port_of(detail.span), detail)
            elif isinstance(detail, NoAnswer):
                rows.append(failed(target, "no_answer", latency))
            elif isinstance(detail, ConnectionLost | GatewayClosed):
                rows.append(failed(target, "disconnected"))
            elif isinstance(detail, CommandRefused):
                rows.append(failed(target, "refused", latency))
            elif isinstance(detail, ProtocolError):
                rows.append(failed(target, "unparsed", latency))
            else:
                raise detail
        return await self._store(rows)

    async def skip(self, targets: Sequence[Target]) -> list[Measurement]:
        """Record that nobody measured the targets."""
        return await self._store([failed(target, "missed") for target in targets])

    async def _store(self, rows: Sequence[Measurement]) -> list[Measurement]:
        row_ids = await asyncio.wrap_future(
            self._ledger.append("signal", [row.as_row() for row in rows])
        )
        return [replace(row, row_id=row_id) for row, row_id in zip(rows, row_ids, strict=True)]

    async def _identify(self, port: int, detail: SpanDetail) -> None:
        """Record what the port holds, when that changed."""
        row = {name: getattr(detail, name) for name in _IDENTITY}
        if self._identities.get(port) == row:
            return
        await asyncio.wrap_future(
            self._ledger.identify(
                {
                    **row,
                    "time": self._clock.now(),
                    "gateway": self._gateway,
                    "port": port,
                    "extra": json.dumps(detail.extra, ensure_ascii=False, sort_keys=True),
                }
            )
        )
        self._identities[port] = row


def needs_port(verb: V) -> V:
    """Say in words what a call lacks that names no port: the likeliest slip of all.

    For methods of what has `ports`; the signature stays as it is.
    """
    signature = inspect.signature(verb)
    name = verb.__name__

    def check(gateway: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            signature.bind(gateway, *args, **kwargs)
        except TypeError as error:
            if "port" in kwargs:
                return  # another slip, which Python names when it is called
            if "span" in kwargs:
                reason = "takes port=, and no span: ports are counted as printed on the box"
            elif "'port'" in str(error):
                reason = "needs port=, the number printed on the box, such as port=1"
            elif "too many positional" in str(error):
                reason = "takes port by its name, such as port=1"
            else:
                return
            there = ranges(gateway.ports)
            which = f"; {gateway.name} has {there}" if there else ""
            raise InvalidRequest(f"{name}() {reason}{which}; nothing was sent") from None

    @functools.wraps(verb)
    async def later(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self, args, kwargs)
        return await verb(self, *args, **kwargs)

    @functools.wraps(verb)
    def now(self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self, args, kwargs)
        return verb(self, *args, **kwargs)

    return cast(V, later if inspect.iscoroutinefunction(verb) else now)


def _unknown_command(error: CommandRefused) -> bool:
    words = str(error).lower()
    return any(w in words for w in ("no such command", "usage:", "invalid span 'span'"))

"""Parts of received SMS -> messages, pure: the clock is passed in, nothing is read or stored here.

A part of a long message belongs to (span, sender, reference, total) for `part_timeout` after the
last part of its group. Equal parts are dropped, also for that long after the message was told. An
index that is taken by other content opens a new message, since references repeat (WIRE §8). A part
that fits several of them goes to the one that came closest before it; where that is no evidence,
they are told as incomplete, lest two messages are taken for one. Single parts are never
de-duplicated: nothing tells a repeated event from a repeated message.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4

from neogate_lab.link.codes import one_time_code
from neogate_lab.protocol.gsm import join_parts
from neogate_lab.protocol.records import ReceivedPart, decode_part, printable

__all__ = ["Inbox", "JoinedMessage", "Receipt", "ReceivedSms"]

CLOSE = timedelta(seconds=30)
"""Parts of one message come seconds apart (WIRE §8)."""
GAP = "[…]"
"""Stands in an incomplete text where parts are missing."""


@dataclass(frozen=True, slots=True)
class ReceivedSms:
    """A received SMS, as stored in the table `messages`.

    Attributes
    ----------
    port, span : int or None
        None where the gateway did not say.
    text : str
        Decoded and joined; ``[…]`` where parts are missing.
    received_at : datetime
        UTC, when its last part arrived here.
    gateway_time : str
        The gateway's clock as sent, without a zone (WIRE §8).
    complete : bool
        Whether all `total` parts arrived, and are surely its own.
    """

    gateway: str
    port: int | None
    span: int | None
    sender: str = field(repr=False)
    text: str = field(repr=False)
    received_at: datetime
    gateway_time: str = ""
    gateway_time_utc: datetime | None = None
    smsc: str = field(default="", repr=False)
    reference: str = ""
    parts: int = 1
    total: int = 1
    complete: bool = True
    encoding: str = ""
    row_id: int | None = None

    @property
    def code(self) -> str:
        """The one-time code that the text announces; "" when it announces none."""
        return one_time_code(self.text)

    @property
    def flaw(self) -> str:
        """What is wrong with a message that is not complete, in words; "" when it is."""
        if self.parts < self.total:
            return f"{self.total - self.parts} of {self.total} parts missing"
        return "" if self.complete else "perhaps mixed with another of the same reference"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As a cell's answer, where the text is what was asked for; logs get the repr."""
        flaw = f", {self.flaw}" if self.flaw else ""
        printer.text(
            f"SMS from {printable(self.sender)} on port {self.port}, "
            f"{self.received_at:%Y-%m-%d %H:%M:%S} UTC{flaw}\n{printable(self.text)}"
        )

    def as_row(self) -> dict[str, Any]:
        """The row of `messages`, its row_id apart."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "row_id"}


@dataclass(frozen=True, slots=True)
class JoinedMessage:
    """What became of a group of parts."""

    text: str
    encoding: str
    recvtime: str
    arrived: int
    complete: bool
    last: ReceivedPart


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a part did: opened or extended `group`, or ended it with `message`, or (both empty)
    repeated a part that is known already.
    """

    group: str = ""
    message: JoinedMessage | None = None


@dataclass(slots=True)
class _Group:
    name: str
    parts: dict[int, ReceivedPart]
    since: datetime
    told: bool = False
    doubtful: bool = False


_Key = tuple[int, str, str, int]


class Inbox:
    """Joins the parts that one gateway delivers.

    Parameters
    ----------
    part_timeout : float
        Seconds that a message waits for its next part.
    """

    def __init__(self, part_timeout: float) -> None:
        self._timeout = timedelta(seconds=part_timeout)
        self._groups: dict[_Key, list[_Group]] = {}
        self._base = 1

    def receive(self, part: ReceivedPart, now: datetime) -> Receipt:
        """Take a part that arrived at `now`."""
        if part.total <= 1:
            return Receipt(message=_join({part.index: part}, 1, part.index))
        group = self._place(part, now)
        if group is None:
            return Receipt()
        if part.index == 0:
            self._base = 0
        elif part.index == part.total:
            self._base = 1
        if not _complete(group.parts, part.total):
            return Receipt(group.name)
        group.told = True
        message = _join(group.parts, part.total, min(group.parts))
        return Receipt(group.name, replace(message, complete=not group.doubtful))

    def restore(self, part: ReceivedPart, at: datetime, group: str) -> None:
        """Take a part that an earlier process stored: of an open `group`, or "" when told."""
        if part.total <= 1:
            return
        for known in self._groups.get(_key(part), []):
            if known.name == group if group else known.told and part.index not in known.parts:
                known.parts.setdefault(part.index, part)
                known.since = max(known.since, at)
                return
        fresh = _Group(group, {part.index: part}, at, told=not group)
        self._groups.setdefault(_key(part), []).append(fresh)

    @property
    def pending(self) -> bool:
        """Whether time can change anything: whether `expire` has something to look at."""
        return bool(self._groups)

    def expire(self, now: datetime) -> list[tuple[ReceivedPart, Receipt]]:
        """End the groups that waited too long; forget those told long ago.

        Returns
        -------
        list of (ReceivedPart, Receipt)
            Each incomplete message, with a part that tells its span, sender and reference.
        """
        ended = []
        for key, groups in list(self._groups.items()):
            for group in list(groups):
                if now - group.since < self._timeout:
                    continue
                if group.told:
                    groups.remove(group)
                    continue
                group.told = True
                group.since = now
                message = _join(group.parts, key[3], self._base)
                ended.append((message.last, Receipt(group.name, message)))
            if not groups:
                del self._groups[key]
        return ended

    def _place(self, part: ReceivedPart, now: datetime) -> _Group | None:
        """The group that the part now stands in; None for a part that is known already."""
        groups = self._groups.setdefault(_key(part), [])
        fresh = [group for group in groups if now - group.since < self._timeout]
        for group in fresh:
            known = group.parts.get(part.index)
            if known is not None and known.content == part.content:
                return None
        fitting = [group for group in fresh if not group.told and part.index not in group.parts]
        if fitting:
            close = [group for group in fitting if now - group.since < CLOSE] or fitting
            if len(close) > 1:
                for group in close:
                    group.doubtful = True
            close[-1].parts[part.index] = part
            close[-1].since = now
            return close[-1]
        opened = _Group(uuid4().hex, {part.index: part}, now)
        groups.append(opened)
        return opened


def _key(part: ReceivedPart) -> _Key:
    return (part.span, part.sender, part.reference, part.total)


def _complete(parts: dict[int, ReceivedPart], total: int) -> bool:
    """Whether the indexes run from 0 or from 1 without a gap (WIRE §8)."""
    return len(parts) == total and min(parts) in (0, 1) and max(parts) - min(parts) == total - 1


def _join(parts: dict[int, ReceivedPart], total: int, base: int) -> JoinedMessage:
    if 0 in parts:
        base = 0
    decoded = {index: decode_part(part.content) for index, part in parts.items()}
    pieces: list[str] = []
    for index in sorted({*parts, *range(base, base + total)}):
        if index in decoded:
            pieces.append(decoded[index][0])
        elif not pieces or pieces[-1] != GAP:
            pieces.append(GAP)
    first = parts[min(parts)]
    return JoinedMessage(
        text=join_parts(pieces),
        encoding=decoded[min(parts)][1],
        recvtime=first.recvtime,
        arrived=len(parts),
        complete=_complete(parts, total) if total > 1 else True,
        last=parts[max(parts)],
    )


def parse_recvtime(recvtime: str, zone: tzinfo | None) -> datetime | None:
    """Read the gateway's clock in `zone`; None without a zone or when it can't be read."""
    if zone is None:
        return None
    for form in ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
        try:
            return datetime.strptime(recvtime.strip(), form).replace(tzinfo=zone).astimezone(UTC)
        except ValueError:
            continue
    return None

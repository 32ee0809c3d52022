"""Bytes of the wire <-> packets, however the bytes are cut; never their meaning (WIRE §1, §2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from neogate_lab.errors import InvalidRequest, ProtocolError

__all__ = ["MAX_PACKET", "Action", "Packet", "PacketParser", "encode"]

MAX_PACKET = 1 << 20
"""Longest packet in bytes; a gateway's longest real answer is some tens of kilobytes."""

_SENTINEL = b"--END SMS EVENT--"
# The words alone may stand in a stranger's text: only a blank line after them makes them an end.
_COMMAND_END = re.compile(rb"--END COMMAND--\r?\n\r?\n")
_SMS_END = re.compile(rb"--END SMS EVENT--\r?\n\r?\n")
_LONGEST_END = len(_SENTINEL) + 4

_SMS_EVENTS = frozenset({"receivedsms", "updatesmssend"})
_FOLLOWS_HEADERS = frozenset({"privilege", "actionid"})
_RECEIVED_HEADERS = frozenset(
    {
        "event",
        "privilege",
        "id",
        "gsmspan",
        "sender",
        "recvtime",
        "index",
        "total",
        "smsc",
        "content",
    }
)


@dataclass(frozen=True, slots=True)
class Packet:
    """One unit of the wire.

    Attributes
    ----------
    kind : str
        ``banner`` is the first line of a stream, whatever it says. A block is a ``response`` or
        an ``event`` by whichever of the two headers comes first, else ``unknown``.
    headers : tuple of (str, str)
        In order, as sent: names keep their case, values their trailing blanks. A byte that is
        not UTF-8 is a lone surrogate (PEP 383).
    body : bytes or None
        A command's output without its terminator; None where the packet has none.
    raw : bytes
        The whole packet as it came, line ends included.
    """

    kind: Literal["banner", "response", "event", "unknown"]
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    raw: bytes = field(default=b"", repr=False)

    def get(self, name: str, default: str = "") -> str:
        """Return the first header called `name`, in any case, else `default`."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return default


@dataclass(frozen=True, slots=True)
class Action:
    """What a client asks: a manager action with its header fields, in order."""

    name: str
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class PacketParser:
    r"""Turns received bytes into packets; the same packets however the bytes are cut.

    Parameters
    ----------
    max_packet : int
        Most bytes that one packet may have. Without a bound, a peer that never ends a packet
        would fill the memory.

    Examples
    --------
    >>> parser = PacketParser()
    >>> [packet.kind for packet in parser.feed(b"Asterisk Call Manager/1.1\r\nEvent: A\r\n\r\n")]
    ['banner', 'event']
    """

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        self._max_packet = max_packet
        self._buffer = bytearray()
        self._fault: tuple[str, bytes] | None = None
        self._banner_seen = False
        self._sentinel_seen = False
        self._start_packet()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take `data` at once, and return an iterator over the packets that are now complete.

        Raises
        ------
        ProtocolError
            While iterating, after the packets before the fault: one packet is longer than
            `max_packet`. The parser stays at fault: every later iterator raises it again.
        """
        if self._fault is None:
            self._buffer += data
        return self._packets()

    @property
    def pending(self) -> bytes:
        """Bytes that are not a packet yet; at most `max_packet` once the iterator has ended."""
        return bytes(self._buffer)

    def _start_packet(self) -> None:
        self._scan = 0  # every byte before it was looked at: nothing is searched twice
        self._line_start = 0
        self._lines: list[bytes] = []
        self._kind: Literal["response", "event", "unknown"] = "unknown"
        self._event = ""
        self._follows_headers: set[str] | None = None
        self._body_start = 0
        self._end: re.Pattern[bytes] | None = None

    def _packets(self) -> Iterator[Packet]:
        while (packet := self._next()) is not None:
            yield packet

    def _next(self) -> Packet | None:
        if self._fault is not None:
            raise ProtocolError(*self._fault)
        if self._banner_seen and not self._lines:
            self._skip_blank_lines()
        cut = self._find_end()
        if (cut[1] if cut else len(self._buffer)) > self._max_packet:
            self._fail()
        if cut is None:
            return None
        content_end, packet_end = cut
        raw = bytes(self._buffer[:packet_end])
        del self._buffer[:packet_end]
        packet = self._build(raw, content_end)
        self._start_packet()
        return packet

    def _fail(self) -> None:
        message = f"a packet is longer than {self._max_packet} bytes: not what a NeoGate sends"
        self._fault = (message, bytes(self._buffer[:1024]))
        del self._buffer[self._max_packet :]
        raise ProtocolError(*self._fault)

    def _skip_blank_lines(self) -> None:
        while self._buffer.startswith((b"\n", b"\r\n")):
            del self._buffer[: self._buffer.index(b"\n") + 1]
            self._scan = self._line_start = 0

    def _find_end(self) -> tuple[int, int] | None:
        """Return where the packet's content and the packet end, or None to wait for more."""
        while self._end is None:
            newline = self._buffer.find(b"\n", self._scan)
            if newline < 0:
                self._scan = len(self._buffer)
                return None
            line = bytes(self._buffer[self._line_start : newline]).removesuffix(b"\r")
            if not self._banner_seen:
                return newline + 1, newline + 1
            expected = self._follows_headers
            if expected is not None and _split(line)[0].lower() not in expected:
                self._body_start = self._scan = self._line_start
                self._end = _COMMAND_END
                break
            start = self._line_start
            self._line_start = self._scan = newline + 1
            if not line:
                return start, newline + 1
            self._take_line(line)
        match = self._end.search(self._buffer, self._scan)
        if match is None:
            self._scan = max(self._scan, len(self._buffer) - _LONGEST_END + 1)
            return None
        return match.span()

    def _take_line(self, line: bytes) -> None:
        self._lines.append(line)
        name, value = _split(line)
        name = name.lower()
        if self._follows_headers is not None:
            self._follows_headers.discard(name)
        elif self._kind == "unknown" and name == "response":
            self._kind = "response"
            if value.strip().lower() == "follows":
                seen = {_split(earlier)[0].lower() for earlier in self._lines}
                self._follows_headers = set(_FOLLOWS_HEADERS - seen)
        elif self._kind == "unknown" and name == "event":
            self._kind = "event"
            self._event = value.strip().lower()
            if self._event in _SMS_EVENTS and self._sentinel_seen:
                self._end = _SMS_END

    def _build(self, raw: bytes, content_end: int) -> Packet:
        if not self._banner_seen:
            self._banner_seen = True
            return Packet("banner", raw=raw)
        if self._end is _COMMAND_END:
            headers = tuple(_split(line) for line in self._lines)
            return Packet("response", headers, raw[self._body_start : content_end], raw)
        lines = self._lines
        if self._end is _SMS_END:
            content = raw[:content_end].removesuffix(b"\n")
            lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
        elif lines[-1] == _SENTINEL:
            self._sentinel_seen = True
            if self._kind == "event":
                lines = lines[:-1]
        if self._event == "receivedsms":
            return Packet("event", _received_headers(lines), None, raw)
        headers = tuple(_split(line) for line in lines if line)
        body = _output(headers) if self._kind == "response" else None
        return Packet(self._kind, headers, body, raw)


def encode(action: Action, action_id: str = "") -> bytes:
    r"""Write `action` as one bytes object: headers in CRLF, then a blank line.

    Raises
    ------
    InvalidRequest
        A name or value holds CR, LF or NUL, which would start another header or action, or can't
        be written as UTF-8. Names the field, never its value.

    Examples
    --------
    >>> encode(Action("Ping"), "7")
    b'Action: Ping\r\nActionID: 7\r\n\r\n'
    """
    headers = [("Action", action.name)]
    if action_id:
        headers.append(("ActionID", action_id))
    headers.extend(action.fields)
    lines = []
    for name, value in headers:
        check_line(name, "a field's name")
        if ":" in name:
            raise InvalidRequest("a field's name can't hold a colon")
        lines.append(f"{name}: {check_line(value, name)}\r\n")
    return "".join([*lines, "\r\n"]).encode()


def check_line(value: str, what: str) -> str:
    """Return `value` if it may stand in one header line; `InvalidRequest` naming `what` if not."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} must be text, and is of type {type(value).__name__}")
    if any(character in value for character in "\r\n\0"):
        raise InvalidRequest(f"{what} can't hold a line break or a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidRequest(f"{what} holds half a surrogate pair, which is no character")
    return value


def _split(line: bytes) -> tuple[str, str]:
    text = line.decode("utf-8", "surrogateescape")
    name, _, value = text.partition(":")
    return name.strip(), value.removeprefix(" ")


def _received_headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    """Split the headers of a ReceivedSMS, whose Content may hold raw newlines (WIRE §8)."""
    headers: list[tuple[str, str]] = []
    seen: set[str] = set()
    content: list[str] | None = None
    for line in lines:
        name, value = _split(line)
        # GsmSpan and GsmPort are one header under two names, so that neither can be forged.
        key = "gsmspan" if name.lower() == "gsmport" else name.lower()
        known = key in _RECEIVED_HEADERS and key not in seen and b":" in line
        if content is not None and not known:
            content.append(line.decode("utf-8", "surrogateescape"))
            continue
        if not line:
            continue
        seen.add(key)
        if key == "content" and known:
            content = [value]
        headers.append((name, value))
    if content is None:
        return tuple(headers)
    joined = "\n".join(content)
    return tuple((n, joined if n.lower() == "content" else v) for n, v in headers)


def _output(headers: tuple[tuple[str, str], ...]) -> bytes | None:
    """Return the body of an AMI >= 2 command reply (WIRE §2), None if it is no such reply."""
    values = {name.lower(): value.strip().lower() for name, value in reversed(headers)}
    if "output" not in values and values.get("message") != "command output follows":
        return None
    output = [value for name, value in headers if name.lower() == "output"]
    return "\n".join(output).encode("utf-8", "surrogateescape")

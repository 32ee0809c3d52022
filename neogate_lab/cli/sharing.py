"""A wire log made fit to be shared, packet by packet; never what a packet may give away."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from neogate_lab.errors import InvalidRequest, ProtocolError
from neogate_lab.history.places import locate
from neogate_lab.protocol.disguise import Conversation, Disguise
from neogate_lab.protocol.wire import PacketParser
from neogate_lab.simulator import recording
from neogate_lab.simulator.recording import Line

__all__ = ["share", "shareable"]


def share(wire: Path, out: Path, level: str) -> int:
    """Write a disguised copy of a wire log, whole or not at all; how many lines it has.

    Raises
    ------
    InvalidRequest
        No such level; `wire` is no wire log; or the copy would replace it.
    StoreError
        The copy can't be written.
    """
    disguise = Disguise(level, secrets.token_bytes(32))
    lines = list(shareable(recording.read(wire), disguise))
    if out.exists() and out.samefile(wire.expanduser()):
        raise InvalidRequest(f"{out} is the wire log itself: choose another file for the copy")
    place = locate(out)
    place.check_parent()
    with place.replacing() as file:
        for line in lines:
            file.write(line.as_json().encode("ascii") + b"\n")
    return len(lines)


def shareable(lines: Iterable[Line], disguise: Disguise) -> Iterator[Line]:
    """The lines of a wire log, disguised, in whatever pieces the traffic was recorded.

    Bytes are disguised as whole packets and actions, since a number that is cut in two looks like
    none; what a session's end cut off comes at that end.
    """
    running: dict[int, _Session] = {}
    for line in lines:
        if line.is_banner and (ended := running.pop(line.session, None)) is not None:
            yield from ended.rest()
        session = running.setdefault(line.session, _Session(disguise))
        yield from session.received(line) if line.received else session.sent(line)
    for session in running.values():
        yield from session.rest()


class _Session:
    """What of one session is not whole yet."""

    def __init__(self, disguise: Disguise) -> None:
        self._conversation = Conversation(disguise)
        self._parser = PacketParser()
        self._actions = b""
        self._last: dict[bool, Line] = {}

    def received(self, line: Line) -> Iterator[Line]:
        self._last[True] = line
        try:
            for packet in self._parser.feed(line.data):
                yield replace(line, data=self._conversation.received(packet.raw))
        except ProtocolError:  # a packet that never ends: what came of it is the rest
            yield from self.rest()
            self._parser = PacketParser()

    def sent(self, line: Line) -> Iterator[Line]:
        self._last[False] = line
        *whole, self._actions = (self._actions + line.data).split(b"\r\n\r\n")
        for action in whole:
            yield replace(line, data=self._conversation.sent(action + b"\r\n\r\n"))

    def rest(self) -> Iterator[Line]:
        if self._parser.pending:
            yield replace(self._last[True], data=self._conversation.received(self._parser.pending))
        if self._actions:
            yield replace(self._last[False], data=self._conversation.sent(self._actions))

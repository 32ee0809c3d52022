"""ReplayGateway: a recorded conversation served again over TCP, in the recorded words; no model.

A request gets the replies that the same request got, in their order, and the last one from then
on. An SMS gets the answer of one that was sent on the same span, else on any, and that one's report
under its own id. Events come when a client has logged in, once.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import defaultdict
from dataclasses import replace

from neogate_lab.simulator import ami, recording
from neogate_lab.simulator.ami import Replies, Request
from neogate_lab.simulator.checks import positive, whole
from neogate_lab.simulator.firmware import FIRMWARES, Firmware
from neogate_lab.simulator.knobs import FaultKnobs
from neogate_lab.simulator.listener import Activity, Listener
from neogate_lab.simulator.recording import Exchange, Recording
from neogate_lab.simulator.served import Served
from neogate_lab.simulator.session import Faults, Hub, Settings

__all__ = ["ReplayGateway"]

_ACTION_ID = re.compile(rb"(?im)^(ActionID[ \t]*:[ \t]*)[^\r\n]*")
_ID = re.compile(rb"(?im)^(ID[ \t]*:[ \t]*)[^\r\n]*")


class ReplayGateway(FaultKnobs, Served):
    """A gateway that says again what another one said; ready when ``with`` returns.

    Parameters
    ----------
    path : str or path
        A wire log, as ``connect(record=…)`` writes it.
    username, password : str
        The one user it knows: those of the recording are masked.
    host : str
    port : int
        0 takes a free one: see `port` after the start.
    speed : float
        Recorded seconds in a real one; ``inf`` answers and tells everything at once.

    Raises
    ------
    InvalidRequest
        The file is no wire log, or an argument is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        username: str = "apiuser",
        password: str = "apipass",  # noqa: S107
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        speed: float = 1.0,
    ) -> None:
        whole("port", port, 0, 65535)
        positive("speed", speed)
        self._recording = Recording(recording.read(path))
        self._speed = speed
        firmware = replace(
            FIRMWARES["tg200"],
            name="replay",
            banner=self._recording.banner or FIRMWARES["tg200"].banner,
            echo_action_id=self._recording.echo_action_id,
            output_headers=self._recording.output_headers,
        )
        self._activity = Activity()
        self._moved = asyncio.Event()
        self._script = _Script(self._recording.exchanges)
        self._hub = Hub(
            Settings(username, password, max_line=1 << 20),
            firmware,
            _RecordedReplies(firmware, self._script),
            self._run,
            self._script.rewind,
            Faults(),
            self._changed,
        )
        self._listener = Listener(self._hub, host, port, self._activity, self._tell)

    def __repr__(self) -> str:
        state = "listening" if self._listener.running else "stopped"
        return f"<ReplayGateway {self.host}:{self.port}, {state}>"

    def _changed(self) -> None:
        self._moved.set()
        self._activity.notify()

    async def _run(self, request: Request, session: int) -> bytes:
        exchange = self._script.take(request)
        if exchange is None:
            words = request.get("Command")
            body = (
                f"No such command '{words}' (type 'core show help' for other possible commands)\n"
            )
            return self._hub.replies.command(request, body)
        await asyncio.sleep(exchange.delay / self._speed)
        loop = asyncio.get_running_loop()
        for report in exchange.reports:
            named = _ID.sub(_after(recording.sms_id_of(request)), report.data, count=1)
            loop.call_later(report.after / self._speed, self._hub.broadcast, named)
        return _echoing(exchange, request)

    async def _tell(self) -> None:
        """Say the recorded events, at their distances, from the first login on."""
        self._moved = asyncio.Event()
        while not any(session.authenticated for session in self._hub.live):
            await self._moved.wait()
            self._moved.clear()
        loop = asyncio.get_running_loop()
        start = loop.time()
        for event in self._recording.events:
            await asyncio.sleep(max(0.0, start + event.after / self._speed - loop.time()))
            self._hub.broadcast(event.data)


class _Script:
    """Which exchange comes next for a request."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges: defaultdict[str, list[Exchange]] = defaultdict(list)
        for exchange in exchanges:
            for key in _keys(exchange.request):
                self._exchanges[key].append(exchange)
        for key, found in self._exchanges.items():
            # One without an answer was cut off by the session's end, if others were answered.
            self._exchanges[key] = [each for each in found if each.reply is not None] or found
        self._next: dict[str, int] = {}

    def rewind(self) -> None:
        """Begin again."""
        self._next.clear()

    def take(self, request: Request) -> Exchange | None:
        for key in _keys(request):
            if found := self._exchanges.get(key):
                number = self._next.get(key, 0)
                self._next[key] = number + 1
                return found[min(number, len(found) - 1)]
        return None


class _RecordedReplies(Replies):
    """The recorded words of what every session says, where there are any."""

    def __init__(self, firmware: Firmware, script: _Script) -> None:
        super().__init__(firmware)
        self._script = script

    def success(self, request: Request, *headers: tuple[str, str]) -> bytes:
        return self._said(request) or super().success(request, *headers)

    def goodbye(self, request: Request) -> bytes:
        return self._said(request) or super().goodbye(request)

    def _said(self, request: Request) -> bytes:
        exchange = self._script.take(request)
        if exchange is None or exchange.reply is None:
            return b""
        refused = exchange.reply.lower().startswith(b"response: error")
        # A refusal is no answer to a login that was right.
        login = request.get("Action").lower() == "login"
        return b"" if refused and login else _echoing(exchange, request)


def _keys(request: Request) -> list[str]:
    """What to look an exchange up by, best first."""
    keys = [recording.key_of(request)]
    if recording.sms_id_of(request):
        words = request.get("Command").lower().split()
        keys += [" ".join(words[:4]), " ".join(words[:3])]
    return keys


def _echoing(exchange: Exchange, request: Request) -> bytes:
    """The recorded reply with the ActionID of the request that it now answers."""
    if exchange.reply is None:
        return b""
    if not exchange.request.get("ActionID"):
        return exchange.reply
    return _ACTION_ID.sub(_after(request.get("ActionID")), exchange.reply, count=1)


def _after(value: str) -> bytes:
    return rb"\g<1>" + ami.wire_bytes(value).replace(b"\\", rb"\\")

"""What a wire log holds: its lines, the sessions in it, and which reply answers which request."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator.ami import Request, RequestReader

__all__ = ["Event", "Exchange", "Line", "Recording", "key_of", "read", "sessions", "sms_id_of"]

_BANNER = re.compile(rb"\A[^\r\n:]+\r?\n\Z")
_ENDLESS = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One packet received, one action sent, or bytes that a session's end cut off."""

    time: datetime
    session: int
    received: bool
    data: bytes = field(repr=False)

    @property
    def is_banner(self) -> bool:
        """Whether a session begins here."""
        return self.received and bool(_BANNER.match(self.data))

    @property
    def is_event(self) -> bool:
        """Whether the gateway said it unasked."""
        return (
            next((name for name, _ in self._top() if name in ("response", "event")), "") == "event"
        )

    def header(self, name: str) -> str:
        """Value of a header among the first lines, before any body; "" when there is none."""
        return next((value for key, value in self._top() if key == name), "")

    def as_json(self) -> str:
        """The line as it stands in a wire log, without its end."""
        values = {
            "time": self.time.isoformat(),
            "session": self.session,
            "direction": "<" if self.received else ">",
            "data": self.data.decode("utf-8", "surrogateescape"),
        }
        return json.dumps(values)

    def _top(self) -> Iterator[tuple[str, str]]:
        for line in self.data.split(b"\n", 6)[:6]:
            name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
            yield name.strip().lower(), value.strip()


@dataclass(slots=True)
class Exchange:
    """A request as it was sent, and the reply that it got: none, or one after `delay` seconds."""

    request: Request
    time: datetime
    reply: bytes | None = field(default=None, repr=False)
    delay: float = 0.0
    reports: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """An event, and the seconds after which it came."""

    after: float
    data: bytes = field(repr=False)


def read(path: str | os.PathLike[str]) -> list[Line]:
    """Read a wire log; a last line that was cut off is left out.

    Raises
    ------
    InvalidRequest
        There is no such file, or it is no wire log; names the line, never shows it.
    """
    source = Path(path).expanduser()
    try:
        rows = source.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise InvalidRequest(f"there is no file {source}: check the spelling") from None
    except OSError as error:
        raise InvalidRequest(f"{source} can't be read: {error.strerror}") from None
    except ValueError:
        raise InvalidRequest(f"{source} is no wire log: it is no text in UTF-8") from None
    lines = []
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        try:
            lines.append(_line(row))
        except (ValueError, KeyError, TypeError):
            if number == len(rows):  # its process was killed
                break
            raise InvalidRequest(f"line {number} of {source} is not one of a wire log") from None
    if not lines:
        raise InvalidRequest(f"{source} is empty")
    return lines


def _line(row: str) -> Line:
    values = json.loads(row)
    if values["direction"] not in ("<", ">"):
        raise ValueError
    data = str(values["data"]).encode("utf-8", "surrogateescape")
    time = datetime.fromisoformat(values["time"])
    return Line(time, int(values.get("session", 1)), values["direction"] == "<", data)


def sessions(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines of each session, in the order in which they began; a banner begins one."""
    current: dict[int, list[Line]] = {}
    found: list[list[Line]] = []
    for line in lines:
        if line.is_banner or line.session not in current:
            current[line.session] = []
            found.append(current[line.session])
        current[line.session].append(line)
    return iter(found)


class Recording:
    """A gateway as a wire log shows it.

    Attributes
    ----------
    banner : str
    exchanges : list of Exchange
        In the order in which they were asked.
    events : list of Event
        Those of the sessions that listened, after one another; reports of SMS that were sent are
        with their exchange.
    output_headers, echo_action_id : bool
        How this firmware answers (WIRE §2).
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self.banner = ""
        self.exchanges: list[Exchange] = []
        self.events: list[Event] = []
        self.output_headers = self.echo_action_id = False
        self._sent: dict[str, Exchange] = {}
        elapsed = 0.0
        for session in sessions(lines):
            elapsed += self._follow(session, elapsed)

    def _follow(self, session: list[Line], elapsed: float) -> float:
        """Take in one session; how long its events ran."""
        reader = RequestReader(_ENDLESS)
        asked: list[Exchange] = []
        listens = True
        start = free = session[0].time
        for line in session:
            if line.is_banner:
                self.banner = self.banner or line.data.decode("utf-8", "replace").strip()
            elif not line.received:
                reader.feed(line.data)
                while (request := reader.next()) is not None:
                    asked.append(Exchange(request, line.time))
                    self.exchanges.append(asked[-1])
                    listens = listens and request.get("Events").lower() != "off"
                    if sms_id := sms_id_of(request):
                        self._sent[sms_id] = asked[-1]
            elif line.is_event:
                if listens:
                    self._heard(line, elapsed + (line.time - start).total_seconds())
            elif asked:
                answered = self._answered(asked, line)
                answered.reply = line.data
                answered.delay = max(0.0, (line.time - max(answered.time, free)).total_seconds())
                free = line.time
        return (session[-1].time - start).total_seconds() if listens else 0.0

    def _answered(self, asked: list[Exchange], line: Line) -> Exchange:
        """Take the request that a reply belongs to: by ActionID when it has one, else by order."""
        action_id = line.header("actionid")
        self.echo_action_id |= bool(action_id)
        self.output_headers |= bool(line.header("output"))
        same = [each for each in asked if action_id and each.request.get("ActionID") == action_id]
        found = same[0] if same else asked[0]
        asked.remove(found)
        return found

    def _heard(self, line: Line, after: float) -> None:
        exchange = self._sent.get(line.header("id"))
        if exchange is not None and line.header("event").lower() == "updatesmssend":
            delay = max(0.0, (line.time - exchange.time).total_seconds())
            exchange.reports.append(Event(delay, line.data))
        else:
            self.events.append(Event(after, line.data))


def key_of(request: Request) -> str:
    """What two requests have in common that get the same answer."""
    command = " ".join(request.get("Command").split())
    return f"{request.get('Action').lower()} {command}".rstrip()


def sms_id_of(request: Request) -> str:
    """The id of an SMS to send (WIRE §7); "" for anything else."""
    words = request.get("Command").split()
    return words[-1] if [word.lower() for word in words[:3]] == ["gsm", "send", "sms"] else ""

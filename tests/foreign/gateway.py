"""A scripted TG gateway on plain sockets and threads; it never shares code with the package.

It is written from the facts of the wire alone, says what it is told to say, and keeps what it
heard, so that a mistake made on both ends of the package is still found here.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    """Deliver a packet in one write."""
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    """Deliver every byte alone."""
    for index in range(len(data)):
        yield data[index : index + 1]


def awkward(data: bytes) -> Iterator[bytes]:
    """Cut inside every CRLF, every multi-byte character, and twice inside every terminator."""
    cuts = {m.start() + 1 for m in re.finditer(rb"\r\n|[\xc0-\xff]|--END|COMMAND--|EVENT--", data)}
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            yield data[start:end]
            time.sleep(0.0003)


@dataclass(frozen=True)
class Firmware:
    """How a gateway speaks; the defaults are a TG200 of 2019 (WIRE §1, §2)."""

    banner: bytes = b"Asterisk Call Manager/1.1\r\n"
    echo_action_id: bool = True
    header_end: bytes = b"\r\n"
    body_end: bytes = b"\n"
    glued: bool = True
    output: bool = False
    fully_booted: bool = False
    ping_denied: bool = False
    sentinel: bool = True
    privilege: bool = True
    events_to_all: bool = False
    span_header: Literal["GsmSpan", "GsmPort"] = "GsmSpan"
    detail: Literal["span", "bare", "both"] = "span"
    detail_error: Literal["no such command", "usage"] = "no such command"
    ussd: Literal["tg200", "tg400"] = "tg200"
    cut: Cut = whole


@dataclass(frozen=True)
class Port:
    """One span: what it says, and beside it what a reader must understand.

    `words` follow ``GSM span N: ``, `detail` are the lines of the detail command.
    `spans_row` and `row` hold the expected cells; None is "missing".
    """

    span: int
    words: str
    detail: tuple[str | bytes, ...] = ()
    spans_row: Mapping[str, object] = field(default_factory=dict)
    row: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A scripted answer; with no body and no error the usual answer comes, `delay` or `gate` later.

    `cut_at` sends only so many bytes of the answer and drops the connection; an `anonymous` error
    bears no ActionID, as when the gateway could not parse what it is answering.
    """

    body: str | bytes | None = None
    error: str = ""
    delay: float = 0.0
    gate: threading.Event | None = None
    swallow: bool = False
    anonymous: bool = False
    cut_at: int | None = None


@dataclass(frozen=True)
class Report:
    """An UpdateSMSSend to come; an `id` of None means the id of the SMS itself."""

    delay: float = 0.02
    status: str = "1"
    id: str | None = None


@dataclass(frozen=True)
class Sms:
    """An SMS that the gateway was asked to send, decoded here."""

    span: int
    number: str
    text: str
    id: str
    at: float


@dataclass(frozen=True)
class Action:
    """One action as it came: header names in lower case, values stripped."""

    headers: Mapping[str, str]
    at: float

    def __getitem__(self, name: str) -> str:
        return self.headers.get(name, "")


def percent(text: str, *, bom: bool = False, blank: str = "+") -> str:
    """Encode a text as gateways do in Content: UTF-8, percent signs, a BOM before Unicode text."""
    out = "%EF%BB%BF" if bom else ""
    for byte in text.encode("utf-8", "surrogatepass"):
        char = chr(byte)
        if char == " ":
            out += blank
        elif char.isascii() and (char.isalnum() or char in "_.-"):
            out += char
        else:
            out += f"%{byte:02X}"
    return out


def ucs2_hex(text: str) -> str:
    """Encode a text as upper-case hex of UTF-16, big-endian."""
    return text.encode("utf-16-be", "surrogatepass").hex().upper()


def unpercent(word: str) -> str:
    """Decode %XX as UTF-8 and nothing else: a plus sign stays one."""
    out = bytearray()
    index = 0
    while index < len(word):
        digits = word[index + 1 : index + 3]
        if word[index] == "%" and re.fullmatch("[0-9A-Fa-f]{2}", digits):
            out.append(int(digits, 16))
            index += 3
        else:
            out += word[index].encode()
            index += 1
    return out.decode("utf-8")


def words_of(line: str) -> list[str]:
    """Split a command as the driver does: blanks, double quotes, a backslash escapes (WIRE §7)."""
    words: list[str] = []
    word = ""
    inside = quoted = escaped = False
    for char in line:
        if escaped:
            word, inside, escaped = word + char, True, False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted, inside = not quoted, True
        elif char in " \t" and not quoted:
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            word, inside = word + char, True
    return [*words, word] if inside else words


def ussd_body(
    span: int,
    message: str | bytes,
    *,
    style: Literal["tg200", "tg400"] = "tg200",
    responses: int = 0,
    code: int | None = 15,
    length: int | None = None,
) -> bytes:
    """Write a successful USSD answer in either spelling (WIRE §9)."""
    raw = message if isinstance(message, bytes) else message.encode()
    if style == "tg400":
        lines = [f"1:Recive USSD sucess on span {span}", f"\tUSSD Responses:{responses}"]
        lines += [] if code is None else [f"\tUSSD Code:{code}"]
        return "\n".join(lines).encode() + b"\n\tUSSD Message:" + raw + b"\n"
    size = len(raw.decode("utf-8", "replace")) if length is None else length
    lines = [f"1:Received USSD success on span: {span}", f"\tUSSD Responses: {responses}"]
    lines += [] if code is None else [f"\tUSSD Code: {code}"]
    lines += [f"\tUSSD Len: {size}"]
    return "\n".join(lines).encode() + b"\n\tUSSD Message: " + raw + b"\n"


class Connection:
    """One client: a thread that reads at once, and one that answers strictly in turn (WIRE §3)."""

    def __init__(self, gateway: ScriptedGateway, sock: socket.socket) -> None:
        self.gateway = gateway
        self.sock = sock
        self.received = bytearray()
        self.actions: list[Action] = []
        self.violations: list[str] = []
        self.peak = 0
        self.logged_in = False
        self.wants_events = True
        self.frozen = False
        self.running: Action | None = None
        self.closed = threading.Event()
        self._banner_sent = False
        self._todo: deque[Action] = deque()
        self._events: deque[bytes] = deque()
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, name="double-read"),
            threading.Thread(target=self._work, name="double-work"),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def close(self, *, reset: bool = False) -> None:
        """End the connection: with FIN, or with RST when `reset`; the reader closes the socket."""
        with self._news:
            if self.closed.is_set():
                return
            self.closed.set()
            self._news.notify_all()
        with contextlib.suppress(OSError):
            if reset:
                linger = struct.pack("ii", 1, 0)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.sock.shutdown(socket.SHUT_RD)
            else:
                self.sock.shutdown(socket.SHUT_RDWR)

    def post(self, event: bytes) -> None:
        """Queue an event: it leaves when no action runs."""
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    # -- reading -----------------------------------------------------------------------------------
    def _read(self) -> None:
        buffer = b""
        while True:
            try:
                data = self.sock.recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                break
            if not self._banner_sent:
                self.violations.append("sent something before the banner")
            self.received += data
            buffer += data
            while match := re.search(rb"\r?\n\r?\n", buffer):
                block, buffer = buffer[: match.start()], buffer[match.end() :]
                if block.strip():
                    self._take(block)
            if buffer:
                self.violations.append("an action came in more than one write")
        self.close()
        self.sock.close()

    def _take(self, block: bytes) -> None:
        headers: dict[str, str] = {}
        for raw in block.split(b"\n"):
            line = raw.removesuffix(b"\r")
            if len(line) > self.gateway.max_line:
                self.violations.append(f"a header line of {len(line)} characters")
            if re.search(rb"[\x00-\x1f\x7f]", line):
                self.violations.append("a control character in a header line")
            name, colon, value = line.decode("utf-8", "replace").partition(":")
            key = name.strip().lower()
            if not colon or not key:
                self.violations.append("a line that is no header")
            if key in headers or (not headers and key != "action"):
                self.violations.append(f"the header {key!r} where it must not be")
            headers[key] = value.strip()
        action = Action(headers, time.monotonic())
        with self._news:
            self.actions.append(action)
            self._todo.append(action)
            self.peak = max(self.peak, len(self._todo))
            self._news.notify_all()

    # -- answering ---------------------------------------------------------------------------------
    def _work(self) -> None:
        with contextlib.suppress(OSError):
            self.closed.wait(self.gateway.banner_delay)
            self._banner_sent = True
            self.write(self.gateway.firmware.banner)
            while self._turn():
                pass
        self.close()

    def _turn(self) -> bool:
        with self._news:
            ready = self._news.wait_for(
                lambda: self.closed.is_set() or self._events or self._todo, timeout=30.0
            )
            if self.closed.is_set() or not (ready or self.logged_in):
                return False
            events = list(self._events)
            self._events.clear()
            action = self._todo[0] if self._todo else None
            self.running = action
        if self.frozen:
            with self._news:
                self._todo.clear()
            return True
        for event in events:
            self.write(event)
        if action is None:
            return True
        goes_on = self._answer(action)
        with self._news:
            if self._todo:
                self._todo.popleft()
        return goes_on

    def write(self, data: bytes) -> None:
        for piece in self.gateway.firmware.cut(data):
            if self.frozen:
                return
            self.sock.sendall(piece)

    def reply(self, action: Action, *lines: str) -> None:
        """Send a reply of headers only."""
        head, *rest = lines
        self.write(self._headers(action, head, *rest) + self.gateway.firmware.header_end)

    def _headers(self, action: Action, *lines: str, last: bool = False) -> bytes:
        firmware = self.gateway.firmware
        out = list(lines)
        if firmware.echo_action_id and action["actionid"]:
            out.insert(len(out) if last else 1, f"ActionID: {action['actionid']}")
        return b"".join(line.encode() + firmware.header_end for line in out)

    def _body(self, action: Action, body: bytes) -> bytes:
        firmware = self.gateway.firmware
        if firmware.output:
            lines = [b"Output: " + line for line in body.rstrip(b"\n").split(b"\n")] if body else []
            head = self._headers(action, "Response: Success", "Message: Command output follows")
            return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        head = self._headers(action, "Response: Follows", "Privilege: SMSCommand", last=True)
        if body and not firmware.glued and not body.endswith(b"\n"):
            body += firmware.body_end
        return head + body + b"--END COMMAND--" + firmware.header_end * 2

    def _answer(self, action: Action) -> bool:
        name = action["action"].lower()
        if name == "login":
            return self._login(action)
        if name == "logoff":
            self.reply(action, "Response: Goodbye", "Message: Thanks for all the fish.")
            return False
        if not self.logged_in:
            self.violations.append(f"{name} before login")
            self.reply(action, "Response: Error", "Message: Permission denied")
        elif name == "ping":
            if self.gateway.firmware.ping_denied:
                self.reply(action, "Response: Error", "Message: Permission denied")
            else:
                self.reply(
                    action, "Response: Success", "Ping: Pong", "Timestamp: 1574421700.123456"
                )
        elif name == "events":
            self.wants_events = action["eventmask"].lower() != "off"
            self.reply(
                action, "Response: Success", f"Events: {'On' if self.wants_events else 'Off'}"
            )
        elif name == "smscommand":
            return self._command(action)
        else:
            self.violations.append(f"unknown action {name!r}")
            self.reply(action, "Response: Error", "Message: Invalid/unknown command")
        return True

    def _login(self, action: Action) -> bool:
        gateway = self.gateway
        if self.logged_in:
            self.reply(action, "Response: Success", "Message: Already authenticated")
            return True
        right = (action["username"], action["secret"]) == (gateway.username, gateway.password)
        with gateway.lock:
            busy = sum(peer.logged_in for peer in gateway.connections if not peer.closed.is_set())
            full = gateway.max_sessions is not None and busy >= gateway.max_sessions
            accepted = right and not full and not gateway.refuse_logins
            self.logged_in = accepted
            self.wants_events = action["events"].lower() != "off"
            gateway.logins.append(accepted)
        if not accepted:
            if not full:
                self.closed.wait(gateway.refusal_delay)
            message = "Login Already In Use" if right and full else "Authentication failed"
            self.reply(action, "Response: Error", f"Message: {message}")
            return False
        self.reply(action, "Response: Success", "Message: Authentication accepted")
        if gateway.firmware.fully_booted:
            self.write(
                b"Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n\r\n"
            )
        return True

    def _command(self, action: Action) -> bool:
        words = words_of(action["command"])
        scripted = self.gateway.scripted(words)
        body: bytes | None = None
        if scripted.body is None and not scripted.error:
            body = self.gateway.run(self, words).replace(b"\n", self.gateway.firmware.body_end)
        elif scripted.body is not None:
            text = scripted.body
            body = text if isinstance(text, bytes) else text.encode()
        if scripted.gate is not None:
            while not scripted.gate.wait(0.01) and not self.closed.is_set():
                pass
        self.closed.wait(scripted.delay)
        if scripted.swallow:
            return True
        if body is None:
            whose = Action({}, action.at) if scripted.anonymous else action
            self.reply(whose, "Response: Error", f"Message: {scripted.error}")
            return True
        packet = self._body(action, body)
        self.write(packet[: scripted.cut_at])
        return scripted.cut_at is None


class ScriptedGateway:
    """The gateway: a context manager that listens on 127.0.0.1 and any free port.

    Parameters
    ----------
    firmware, ports
        How it speaks, and what it says of its spans.
    max_sessions
        More logins at once than this are answered with ``Login Already In Use``.
    refusal_delay
        Seconds before a failed login is answered; a real one takes about one.
    banner_delay
        Seconds before the banner; whatever comes earlier is a violation.
    reports
        What becomes of an SMS: its UpdateSMSSend events; by default one, accepted.
    """

    def __init__(
        self,
        firmware: Firmware | None = None,
        ports: Sequence[Port] = (),
        *,
        username: str = "apiuser",
        password: str = "s3cret-W0rd",
        max_sessions: int | None = None,
        refusal_delay: float = 1.0,
        banner_delay: float = 0.0,
        max_line: int = 1024,
        reports: Callable[[Sms], Iterable[Report]] = lambda sms: (Report(),),
    ) -> None:
        self.firmware = firmware or Firmware()
        self.ports = {port.span: port for port in ports}
        self.username, self.password = username, password
        self.max_sessions = max_sessions
        self.refusal_delay, self.banner_delay = refusal_delay, banner_delay
        self.max_line = max_line
        self.reports = reports
        self.refuse_logins = False
        self.lock = threading.RLock()
        self.connections: list[Connection] = []
        self.logins: list[bool] = []
        self.sms: list[Sms] = []
        self.peak_connections = 0
        self.host, self.port = "127.0.0.1", 0
        self._script: dict[tuple[str, ...], deque[Reply]] = {}
        self._timers: list[threading.Timer] = []
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None

    # -- life --------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            timer.join()
        self.hang_up()
        for connection in self.connections:
            connection.join()

    def listen(self) -> None:
        """Accept connections, again on the same port after `hang_up`."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._accepting = threading.Thread(
            target=self._accept, args=(listener,), name="double-accept"
        )
        self._accepting.start()

    def hang_up(self, *, reset: bool = False) -> None:
        """Stop listening and drop every connection: the port then refuses."""
        if self._listener is not None and self._accepting is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._accepting.join(5)
            self._listener.close()
            self._listener = self._accepting = None
        self.drop(reset=reset)

    def drop(self, *, reset: bool = False) -> None:
        """Drop every connection; new ones are accepted."""
        for connection in self.live:
            connection.close(reset=reset)

    def freeze(self) -> None:
        """Make the present connections half-open: they stay, and nothing is heard of them."""
        for connection in self.live:
            connection.frozen = True

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            with self.lock:
                self.connections.append(connection)
                self.peak_connections = max(self.peak_connections, len(self.live))
            connection.start()

    # -- what it heard -----------------------------------------------------------------------------
    @property
    def live(self) -> list[Connection]:
        """Connections that are open now."""
        with self.lock:
            return [peer for peer in self.connections if not peer.closed.is_set()]

    @property
    def received(self) -> bytes:
        """Every byte that came, connection by connection."""
        return b"".join(bytes(peer.received) for peer in list(self.connections))

    @property
    def commands(self) -> list[str]:
        """Every `command` that came, connection by connection."""
        return [
            action["command"]
            for peer in list(self.connections)
            for action in list(peer.actions)
            if action["command"]
        ]

    @property
    def sends(self) -> list[str]:
        """The commands that reach the air: SMS and USSD."""
        return [command for command in self.commands if words_of(command)[:2] == ["gsm", "send"]]

    @property
    def violations(self) -> list[str]:
        """What the clients did that a good one never does."""
        return [text for peer in list(self.connections) for text in peer.violations]

    # -- what it says ------------------------------------------------------------------------------
    def script(self, command: str, *replies: Reply) -> None:
        """Answer the next times that a command comes; of a send the span and the number count."""
        self._script.setdefault(_key(words_of(command)), deque()).extend(replies)

    def ussd(self, span: int, code: str, *replies: Reply) -> None:
        """Script the answers to a USSD code, one after the other."""
        self.script(f'gsm send ussd {span} "{code}"', *replies)

    def scripted(self, words: list[str]) -> Reply:
        with self.lock:
            queue = self._script.get(_key(words))
            return queue.popleft() if queue else Reply()

    def post(self, event: bytes) -> None:
        """Send raw bytes as an event to every session that takes events."""
        for connection in self.live:
            wanted = connection.wants_events or self.firmware.events_to_all
            if connection.logged_in and wanted:
                connection.post(event)

    def receive_sms(
        self,
        content: str | bytes,
        *,
        span: int = 2,
        sender: str = "+79161234567",
        id: str = "",
        index: int = 1,
        total: int = 1,
        recvtime: str = "2019-11-22 13:01:40",
        smsc: str = "+79168999100",
    ) -> None:
        """Let one part of an SMS arrive, its Content exactly as given (WIRE §8)."""
        raw = content if isinstance(content, bytes) else content.encode()
        head = [f"ID: {id}", f"{self.firmware.span_header}: {span}", f"Sender: {sender}"]
        head += [f"Recvtime: {recvtime}", f"Index: {index}", f"Total: {total}", f"Smsc: {smsc}"]
        self.post(self._event("ReceivedSMS", head, b"Content: " + raw))

    def report(self, id: str, status: str = "1", smsc: str = "+79168999100") -> None:
        """Tell every session what became of an SMS (WIRE §7)."""
        self.post(
            self._event(
                "UpdateSMSSend", [f"ID: {id}", f"Smsc: {smsc}"], f"Status: {status}".encode()
            )
        )

    def _event(self, name: str, head: list[str], last: bytes) -> bytes:
        end = self.firmware.header_end
        lines = [f"Event: {name}".encode()]
        lines += [b"Privilege: all,smscommand"] if self.firmware.privilege else []
        lines += [line.encode() for line in head] + [last]
        lines += [b"--END SMS EVENT--"] if self.firmware.sentinel else []
        return b"".join(line + end for line in lines) + end

    def run(self, connection: Connection, words: list[str]) -> bytes:
        """Answer a command as the driver does."""
        line = " ".join(words)
        match [word.lower() for word in words[:3]]:
            case ["gsm", "show", "spans"] if len(words) == 3:
                rows = [f"GSM span {port.span}: {port.words}" for port in self.ports.values()]
                return "\n".join([*rows, ""]).encode()
            case ["gsm", "show", "span"] if len(words) == 4:
                return self._detail(words[3], line, known=self.firmware.detail != "bare")
            case ["gsm", "show", number] if number.isdigit() and len(words) == 3:
                return self._detail(number, line, known=self.firmware.detail != "span")
            case ["gsm", "send", "sms"] if len(words) >= 5:
                return self._send(connection, words, line)
            case ["gsm", "send", "ussd"] if len(words) in (5, 6):
                if "%" in words[4]:
                    connection.violations.append("a percent sign in a USSD code")
                return (
                    self._fault(words[3], line) or f"0:Send USSD failed on span {words[3]}".encode()
                )
            case _:
                hint = "(type 'core show help gsm' for other possible commands)"
                return f"No such command '{line}' {hint}".encode()

    def _fault(self, span: str, line: str) -> bytes:
        if not span.isdigit() or not 1 <= int(span) <= 32:
            return f"Invalid span '{span}'.  Should be a number from 1 to 32".encode()
        if int(span) not in self.ports:
            return f"No GSM running on span {span}\nCommand '{line}' failed.".encode()
        return b""

    def _detail(self, span: str, line: str, *, known: bool) -> bytes:
        if not known:
            if self.firmware.detail_error == "usage":
                return b"Usage: gsm show <span>\n       Displays detailed information\n"
            hint = "(type 'core show help gsm show' for other possible commands)"
            return f"No such command '{line}' {hint}".encode()
        return self._fault(span, line) or b"\n".join(
            text if isinstance(text, bytes) else text.encode()
            for text in self.ports[int(span)].detail
        )

    def _send(self, connection: Connection, words: list[str], line: str) -> bytes:
        fault = self._fault(words[3], line)
        if fault:
            connection.violations.append("an SMS to a span that is not there")
            return fault
        span, number, text, id = int(words[3]), words[4], "", ""
        if len(words) != 7:
            connection.violations.append(f"an SMS command of {len(words)} words")
        else:
            text, id = words[5], words[6]
        if not re.fullmatch(r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+", text):
            connection.violations.append("an SMS text that is not percent-encoded throughout")
        decoded = unpercent(text)
        if len(decoded.encode()) > 1024:
            return b"SMS message to long."
        if len(number) > 32:
            return b"Destination number to long."
        sms = Sms(span, number, decoded, id, time.monotonic())
        with self.lock:
            self.sms.append(sms)
            for report in self.reports(sms):
                name = id if report.id is None else report.id
                timer = threading.Timer(report.delay, self.report, (name, report.status))
                timer.start()
                self._timers.append(timer)
        return b""


def _key(words: list[str]) -> tuple[str, ...]:
    sends = [word.lower() for word in words[:2]] == ["gsm", "send"]
    return tuple(words[:5] if sends else words)

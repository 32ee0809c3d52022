"""The double itself, checked byte by byte over raw sockets; the package is not used here."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from .gateway import (
    Cut,
    Firmware,
    Reply,
    Report,
    ScriptedGateway,
    awkward,
    bytewise,
    percent,
    ucs2_hex,
    ussd_body,
    whole,
    words_of,
)
from .hostile import BANNER, HostileServer, http, rst, silence, ssh
from .variants import AMI5, MANUAL_2013, TG200_PORTS, TG400

LOGIN = b"Action: Login\r\nUsername: apiuser\r\nSecret: s3cret-W0rd\r\n\r\n"
ACCEPTED = b"Response: Success\r\nMessage: Authentication accepted\r\n\r\n"


class Raw:
    """A socket that reads up to a mark."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), timeout=5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            assert data, f"closed before {mark!r}, after {self.buffer!r}"
            self.buffer += data
        packet, _, self.buffer = self.buffer.partition(mark)
        return packet + mark

    def rest(self) -> bytes:
        while data := self.sock.recv(65536):
            self.buffer += data
        return self.buffer

    def ask(self, action: bytes, mark: bytes = b"\r\n\r\n") -> bytes:
        self.sock.sendall(action)
        return self.until(mark)

    def command(self, text: str, mark: bytes = b"--END COMMAND--\r\n\r\n") -> bytes:
        return self.ask(
            f"Action: smscommand\r\nActionID: x\r\ncommand: {text}\r\n\r\n".encode(), mark
        )


@contextmanager
def client(double: ScriptedGateway | HostileServer, *, login: bool = True) -> Iterator[Raw]:
    raw = Raw(double.host, double.port)
    with raw.sock:
        if login:
            assert raw.until(b"\n") == BANNER
            assert raw.ask(LOGIN) == ACCEPTED
        yield raw


@pytest.fixture
def tg200() -> Iterator[ScriptedGateway]:
    with ScriptedGateway(ports=TG200_PORTS) as double:
        yield double


FOLLOWS = b"Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: x\r\n"
SPANS = (
    b"GSM span 2: Power on, Provisioned, Up, Active,Standard\n"
    b"GSM span 3: Power on, Provisioned, In Alarm, Undetected SIM Card, Active,Standard\n"
    b"GSM span 4: Power on, Provisioned, In Alarm, Pin (7093) Error, Standby, Multiplexer\n"
    b"GSM span 5: Power off, Provisioned, Down, Active,Standard\n"
)
END = b"--END COMMAND--\r\n\r\n"


@pytest.mark.parametrize("cut", [whole, bytewise, awkward])
def test_every_cutting_delivers_the_same_bytes(cut: Cut) -> None:
    with (
        ScriptedGateway(Firmware(cut=cut), TG200_PORTS) as double,
        client(double) as raw,
    ):
        assert raw.command("gsm show spans") == FOLLOWS + SPANS + END
        double.receive_sms("Café", id="244", index=2, total=2)
        assert raw.until(b"--END SMS EVENT--\r\n\r\n").decode() == (
            "Event: ReceivedSMS\r\nPrivilege: all,smscommand\r\nID: 244\r\nGsmSpan: 2\r\n"
            "Sender: +79161234567\r\nRecvtime: 2019-11-22 13:01:40\r\nIndex: 2\r\nTotal: 2\r\n"
            "Smsc: +79168999100\r\nContent: Café\r\n--END SMS EVENT--\r\n\r\n"
        )


def test_pieces_of_awkward_cut_inside_line_ends_characters_and_terminators() -> None:
    data = "é\r\n--END COMMAND--\r\n\r\n".encode()
    assert list(awkward(data)) == [
        *(b"\xc3", b"\xa9\r", b"\n-", b"-END C", b"OMMAND--\r", b"\n\r", b"\n"),
    ]


def test_terminator_is_glued_to_the_last_line_of_a_detail(tg200: ScriptedGateway) -> None:
    with client(tg200) as raw:
        assert raw.command("gsm show span 2").endswith(b"AT+CREG?\\r\\n" + END)


def test_empty_body_has_its_terminator_straight_after_the_headers(tg200: ScriptedGateway) -> None:
    with client(tg200) as raw:
        assert raw.command('gsm send sms 2 10086 "a%20b" 7') == FOLLOWS + END
        assert raw.until(b"--END SMS EVENT--\r\n\r\n") == (
            b"Event: UpdateSMSSend\r\nPrivilege: all,smscommand\r\nID: 7\r\n"
            b"Smsc: +79168999100\r\nStatus: 1\r\n--END SMS EVENT--\r\n\r\n"
        )
    [sms] = tg200.sms
    assert (sms.span, sms.number, sms.text, sms.id) == (2, "10086", "a b", "7")
    assert tg200.violations == []


def test_terminator_alone_and_lines_in_crlf() -> None:
    firmware = Firmware(glued=False, body_end=b"\r\n")
    with ScriptedGateway(firmware, TG200_PORTS) as double, client(double) as raw:
        assert raw.command("gsm show span 2").endswith(b"AT+CREG?\\r\\n\r\n" + END)


def test_lf_only_headers() -> None:
    with ScriptedGateway(Firmware(header_end=b"\n"), TG200_PORTS) as double:
        raw = Raw(double.host, double.port)
        with raw.sock:
            raw.until(b"\r\n")
            assert raw.ask(LOGIN, b"\n\n") == ACCEPTED.replace(b"\r", b"")
            reply = raw.command("gsm show spans", b"--END COMMAND--\n\n")
            assert reply == (FOLLOWS + SPANS + END).replace(b"\r", b"")


def test_no_echo_of_the_action_id() -> None:
    with (
        ScriptedGateway(Firmware(echo_action_id=False), TG200_PORTS) as double,
        client(double) as raw,
    ):
        assert (
            raw.command("gsm show spans") == FOLLOWS.replace(b"ActionID: x\r\n", b"") + SPANS + END
        )


def test_ami5_answers_in_output_headers_and_says_that_it_has_booted() -> None:
    with ScriptedGateway(AMI5, TG200_PORTS) as double:
        raw = Raw(double.host, double.port)
        with raw.sock:
            assert raw.until(b"\n") == b"Asterisk Call Manager/5.0.1\r\n"
            assert raw.ask(LOGIN) == ACCEPTED
            assert raw.until(b"\r\n\r\n").startswith(b"Event: FullyBooted\r\n")
            reply = raw.command("gsm show spans", b"\r\n\r\n")
            head = b"Response: Success\r\nActionID: x\r\nMessage: Command output follows\r\n"
            lines = b"".join(b"Output: " + line + b"\r\n" for line in SPANS.splitlines())
            assert reply == head + lines + b"\r\n"


def test_manual_of_2013_knows_only_the_short_spelling_and_calls_the_span_a_port() -> None:
    with ScriptedGateway(MANUAL_2013, TG200_PORTS) as double, client(double) as raw:
        error = b"No such command 'gsm show span 2' (type 'core show help gsm show' for other"
        assert raw.command("gsm show span 2").startswith(FOLLOWS + error)
        assert b"Signal Quality (0,31): 17\n" in raw.command("gsm show 2")
        double.receive_sms("Ok", span=5)
        assert b"\r\nGsmPort: 5\r\n" in raw.until(b"\r\n\r\n")


def test_errors_of_the_command_line_stand_inside_a_reply(tg200: ScriptedGateway) -> None:
    with client(tg200) as raw:
        line = b"No GSM running on span 7\nCommand 'gsm show span 7' failed."
        assert raw.command("gsm show span 7") == FOLLOWS + line + END
        line = b"Invalid span '99'.  Should be a number from 1 to 32"
        assert raw.command("gsm show span 99") == FOLLOWS + line + END
        assert raw.command("gsm shwo").startswith(FOLLOWS + b"No such command 'gsm shwo' (type")


def test_real_errors_have_no_terminator(tg200: ScriptedGateway) -> None:
    error = b"Response: Error\r\nActionID: 1\r\nMessage: Invalid/unknown command\r\n\r\n"
    with client(tg200) as raw:
        assert raw.ask(b"Action: Dance\r\nActionID: 1\r\n\r\n") == error
    assert tg200.violations == ["unknown action 'dance'"]


def test_ping_events_and_logoff(tg200: ScriptedGateway) -> None:
    with client(tg200) as raw:
        pong = raw.ask(b"ACTION: ping\nactionid: 9\n\n")
        assert pong.startswith(b"Response: Success\r\nActionID: 9\r\nPing: Pong\r\nTimestamp: ")
        off = raw.ask(b"Action: Events \r\nEventMask: off \r\n\r\n")
        assert off == b"Response: Success\r\nEvents: Off\r\n\r\n"
        tg200.receive_sms("nobody listens")
        bye = b"Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n"
        assert raw.ask(b"Action: Logoff\r\n\r\n") == bye
        assert raw.rest() == b""


def test_wrong_password_is_refused_and_the_connection_closed() -> None:
    with ScriptedGateway(refusal_delay=0.05) as double, client(double, login=False) as raw:
        raw.until(b"\n")
        raw.sock.sendall(LOGIN.replace(b"s3cret", b"guess"))
        assert raw.rest() == b"Response: Error\r\nMessage: Authentication failed\r\n\r\n"
        assert double.logins == [False]


def test_login_already_in_use() -> None:
    with (
        ScriptedGateway(max_sessions=1) as double,
        client(double),
        client(double, login=False) as b,
    ):
        b.until(b"\n")
        b.sock.sendall(LOGIN)
        assert b.rest() == b"Response: Error\r\nMessage: Login Already In Use\r\n\r\n"


def test_action_before_login_is_denied_and_the_session_stays(tg200: ScriptedGateway) -> None:
    with client(tg200, login=False) as raw:
        raw.until(b"\n")
        denied = b"Response: Error\r\nMessage: Permission denied\r\n\r\n"
        assert raw.ask(b"Action: Ping\r\n\r\n") == denied
        assert raw.ask(LOGIN) == ACCEPTED


def test_a_connection_is_strictly_serial_and_others_go_on(tg200: ScriptedGateway) -> None:
    gate = Event()
    tg200.ussd(2, "*100#", Reply(ussd_body(2, "5.50"), gate=gate))
    with client(tg200) as one, client(tg200) as two:
        ask = 'Action: smscommand\r\ncommand: gsm send ussd 2 "*100#" 30\r\n\r\n'
        one.sock.sendall(ask.encode() + b"Action: Ping\r\n\r\n")
        while (running := tg200.connections[0].running) is None or not running["command"]:
            time.sleep(0.001)
        assert b"GSM span 2" in two.command("gsm show spans")
        tg200.receive_sms("Ok")
        assert b"Content: Ok\r\n" in two.until(b"EVENT--\r\n\r\n")
        gate.set()
        assert one.until(b"\r\n\r\n") == FOLLOWS.replace(b"ActionID: x\r\n", b"") + (
            b"1:Received USSD success on span: 2\n\tUSSD Responses: 0\n\tUSSD Code: 15\n"
            b"\tUSSD Len: 4\n\tUSSD Message: 5.50\n--END COMMAND--\r\n\r\n"
        )
        assert one.until(b"EVENT--\r\n\r\n").startswith(b"Event: ReceivedSMS\r\n")
        assert one.until(b"\r\n\r\n").startswith(b"Response: Success\r\nPing: Pong\r\n")
    assert (tg200.connections[0].peak, tg200.peak_connections) == (2, 2)


def test_ussd_of_the_tg400() -> None:
    body = ussd_body(2, "menu", style="tg400", responses=1)
    assert body == (
        b"1:Recive USSD sucess on span 2\n\tUSSD Responses:1\n\tUSSD Code:15\n\tUSSD Message:menu\n"
    )
    with ScriptedGateway(TG400, TG200_PORTS) as double, client(double) as raw:
        double.ussd(2, "*1#", Reply(body))
        assert raw.command("gsm send ussd 2 *1#") == FOLLOWS + body + END
        failed = FOLLOWS + b"0:Send USSD failed on span 2" + END
        assert raw.command("gsm send ussd 2 *1#") == failed


def test_reports_in_every_order() -> None:
    reports = (Report(id="(null)"), Report(id="foreign", status="0"), Report(status="0"), Report())
    with (
        ScriptedGateway(ports=TG200_PORTS, reports=lambda sms: reports[:0]) as silent,
        client(silent) as raw,
    ):
        raw.command('gsm send sms 2 10086 "a" 7')
        for report in reports:
            silent.report("7" if report.id is None else report.id, report.status)
        seen = [raw.until(b"EVENT--\r\n\r\n").splitlines() for _ in reports]
        assert [(lines[2], lines[4]) for lines in seen] == [
            (b"ID: (null)", b"Status: 1"),
            (b"ID: foreign", b"Status: 0"),
            (b"ID: 7", b"Status: 0"),
            (b"ID: 7", b"Status: 1"),
        ]


def test_a_reply_can_be_late_missing_or_cut_in_half(tg200: ScriptedGateway) -> None:
    with client(tg200) as raw:
        tg200.script("gsm show spans", Reply(swallow=True), Reply(error="Permission denied"))
        tg200.script("gsm show span 2", Reply(cut_at=20))
        ask = b"Action: smscommand\r\ncommand: gsm show spans\r\n\r\n"
        raw.sock.sendall(ask)
        assert raw.ask(ask) == b"Response: Error\r\nMessage: Permission denied\r\n\r\n"
        raw.sock.sendall(b"Action: smscommand\r\ncommand: gsm show span 2\r\n\r\n")
        assert raw.rest() == b"Response: Follows\r\nP"


@pytest.mark.parametrize(
    ("said", "violation"),
    [
        (b"Action: Ping\r\nAction: Logoff\r\n\r\n", "the header 'action' where it must not be"),
        (b"Action: Ping\r\nstray words\r\n\r\n", "a line that is no header"),
        (b"Action: Ping\r\nA: \x1b[2J\r\n\r\n", "a control character in a header line"),
        (b"Action: Ping\r\nA: " + b"a" * 1030 + b"\r\n\r\n", "a header line of 1033 characters"),
        (
            b'Action: smscommand\r\ncommand: gsm send sms 2 1 "two words" 7\r\n\r\n',
            "an SMS text that is not percent-encoded throughout",
        ),
        (
            b"Action: smscommand\r\ncommand: gsm send sms 2 1 two words 7\r\n\r\n",
            "an SMS command of 8 words",
        ),
        (
            b'Action: smscommand\r\ncommand: gsm send ussd 2 "*100%23"\r\n\r\n',
            "a percent sign in a USSD code",
        ),
    ],
)
def test_bad_manners_are_noted(tg200: ScriptedGateway, said: bytes, violation: str) -> None:
    with client(tg200) as raw:
        raw.ask(said)
        assert violation in tg200.violations


def test_early_and_torn_writes_are_noted() -> None:
    with (
        ScriptedGateway(banner_delay=0.1) as double,
        client(double, login=False) as raw,
    ):
        raw.sock.sendall(LOGIN)
        raw.until(ACCEPTED)
        assert double.violations == ["sent something before the banner"]
        raw.sock.sendall(b"Action: Pi")
        while len(double.violations) < 2:
            time.sleep(0.001)
        raw.ask(b"ng\r\n\r\n")
        assert double.violations[1:] == ["an action came in more than one write"]


def test_drop_freeze_and_a_port_that_refuses_for_a_while(tg200: ScriptedGateway) -> None:
    with client(tg200) as raw:
        tg200.drop()
        assert raw.rest() == b""
    with client(tg200) as raw:
        tg200.drop(reset=True)
        with pytest.raises(ConnectionResetError):
            raw.rest()
    tg200.hang_up()
    with pytest.raises(ConnectionRefusedError):
        Raw(tg200.host, tg200.port)
    tg200.listen()
    with client(tg200) as raw:
        tg200.freeze()
        raw.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            raw.ask(b"Action: Ping\r\n\r\n")
    assert tg200.logins == [True, True, True]


def test_codecs_of_the_double() -> None:
    assert percent("Привет, a+b", bom=True) == (
        "%EF%BB%BF%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82%2C+a%2Bb"
    )
    assert ucs2_hex("Да 😀") == "041404300020D83DDE00"
    assert words_of(r'gsm send sms 2 +7 "a \" b" id') == [
        *("gsm", "send", "sms", "2", "+7", 'a " b', "id"),
    ]


def test_hostile_peers() -> None:
    with HostileServer(http) as server, client(server, login=False) as raw:
        raw.sock.sendall(b"hello\r\n\r\n")
        assert raw.rest().startswith(b"HTTP/1.1 400 ")
        assert bytes(server.received) == b"hello\r\n\r\n"
    with HostileServer(ssh) as server, client(server, login=False) as raw:
        assert raw.until(b"\n").startswith(b"SSH-2.0-")
    with (
        HostileServer(rst) as server,
        pytest.raises(ConnectionResetError),
        client(server, login=False) as raw,
    ):
        raw.rest()
    with HostileServer(silence) as server, client(server, login=False) as raw:
        raw.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            raw.rest()

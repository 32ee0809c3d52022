"""Records beyond the transcripts: odd spellings, hostile values, masks, and what never fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.errors import ProtocolError
from neogate_lab.protocol.records import (
    SpanDetail,
    UssdReply,
    cli_error,
    parse_received_part,
    parse_send_status,
    parse_span_detail,
    parse_spans,
    parse_ussd_reply,
)
from neogate_lab.protocol.wire import Packet

WORDS = st.sampled_from(
    [
        b"GSM span 2: ",
        b"Status: ",
        b"Signal Quality (0,31): ",
        b"1:",
        b"0:",
        b"USSD Message: ",
        b"USSD Len: ",
        b"USSD Code: ",
        b"9" * 5000,
        b"-1",
        b"No such command '",
        b"\n",
        b"\xff",
        b", ",
        b"Pin (1",
        "\u2028\u0664".encode(),
    ]
)


def detail(body: str) -> SpanDetail:
    return parse_span_detail(body.encode(), 2)


def ussd(body: str | bytes) -> UssdReply:
    data = body.encode() if isinstance(body, str) else body
    return parse_ussd_reply(data, port=1, span=2, code="*100#")


def event(*headers: tuple[str, str]) -> Packet:
    return Packet("event", headers)


class TestSpans:
    def test_words_in_any_case_and_spacing(self) -> None:
        (span,) = parse_spans(b"  gsm SPAN 12 :  POWER ON ,up,STANDBY,  In  Alarm,multiplexer\r\n")
        assert (span.span, span.power, span.up, span.active) == (12, True, True, False)
        assert (span.alarm, span.mode, span.status) == (True, "multiplexer", "up")

    def test_other_lines_are_skipped(self) -> None:
        assert parse_spans(b"\nhello\nGSM span x: Up\nGSM span 99999999999: Up\n") == []

    def test_several_status_words(self) -> None:
        (span,) = parse_spans(b"GSM span 2: Power on, Down, Undetected SIM Card\n")
        assert (span.sim, span.up, span.status) == (False, False, "Down, Undetected SIM Card")

    def test_nothing_said_is_unknown(self) -> None:
        (span,) = parse_spans(b"GSM span 2: \n")
        assert (span.power, span.provisioned, span.alarm, span.sim) == (None,) * 4
        assert (span.up, span.active, span.mode, span.status) == (None, None, "", "")

    @pytest.mark.parametrize(
        "words", ["Pin (4821) Error", "PIN(4821) Error", "Pin (48,21) Error", "Pin (4821 Error"]
    )
    def test_the_pin_shows_nowhere(self, words: str) -> None:
        line = f"Power on, {words}, Active"
        (span,) = parse_spans(f"GSM span 2: {line}\n".encode())
        record = detail(f"Status: {line}\nSIM PIN: 4821\nNote: pin 4821\nState: Pin (4821) Error\n")
        for shown in (span.status, *span.extra, repr(span), repr(record), str(record.extra)):
            assert "4821" not in shown
            assert "48,21" not in shown
        assert (span.sim, span.up) == (True, False)
        assert "****" in record.state


class TestDetail:
    @pytest.mark.parametrize(
        ("status", "registered", "roaming"),
        [
            ("Registered (Home network)", True, False),
            ("Registered (Roaming)", True, True),
            ("Registered", True, None),
            ("registered (roaming)", True, True),
            ("Not registered", False, False),
            ("Not Registered", False, False),
            ("Unregistered", False, False),
            ("Searching", False, False),
            ("Registration denied", False, False),
            ("Unknown", None, None),
            ("", None, None),
            ("Moon phase", None, None),
        ],
    )
    def test_registration(self, status: str, registered: bool | None, roaming: bool | None) -> None:
        record = detail(f"Network Status: {status}\n")
        assert (record.registered, record.roaming) == (registered, roaming)
        assert record.network_status == status

    @pytest.mark.parametrize(
        ("sent", "raw", "signal"),
        [
            ("5", 5, 5),
            ("-1", -1, None),
            ("99", 99, None),
            ("45", 45, None),
            ("", None, None),
            ("n/a", None, None),
            ("9" * 40, None, None),
            ("31 dB", 31, 31),
            ("-99999", None, None),
        ],
    )
    def test_signal(self, sent: str, raw: int | None, signal: int | None) -> None:
        record = detail(f"Status: Up\nSignal Quality (0,31): {sent}\n")
        assert (record.signal_raw, record.signal) == (raw, signal)

    def test_a_signal_while_not_registered_is_kept(self) -> None:
        record = detail("Network Status: Not registered\nSignal Quality (0,31): 5\n")
        assert (record.registered, record.signal, record.rssi_dbm) == (False, 5, -103)

    def test_a_value_may_hold_colons(self) -> None:
        assert detail("Revision: Revision:1116B01: x\n").revision == "Revision:1116B01: x"

    def test_no_blank_after_the_colon(self) -> None:
        record = detail("Network Name:MegaFon\nSignal Quality (0,31):20\nState:\n")
        assert (record.network, record.signal, record.state) == ("MegaFon", 20, "")

    def test_units_after_numbers(self) -> None:
        record = detail("PDD(s): 5.5 s\nASR (%): 53%\nACD: -\n")
        assert (record.pdd, record.asr, record.acd) == (5.5, 53.0, None)

    def test_what_is_unknown_is_kept(self) -> None:
        record = detail("Status: Up\nD-channel: 4\nWeather: fine: sunny\nStatus: Down\n")
        assert record.status.status == "Up"
        assert record.extra == {"D-channel": "4", "Weather": "fine: sunny", "Status": "Down"}

    @pytest.mark.parametrize("smsc", ["", "Undefined", "undefined"])
    def test_an_undefined_centre_is_none(self, smsc: str) -> None:
        assert detail(f"SIM SMS Center Number: {smsc}\n").smsc == ""

    @pytest.mark.parametrize(
        ("line", "secret"),
        [
            ("State: CALL ACTIVE Called to +390000000001", "39"),
            ("State: CALL ACTIVE Called to 112", "112"),
            ("State: CALL ACTIVE Called to 0039 (0) 00-00", "00"),
            ("State: USSD SENDING *100*77#", "100"),
            ('Last send AT: AT+CUSD=1,"*100%23"\\r\\n', "100"),
            ('Last send AT: AT+CPIN="4821"\\r\\n', "4821"),
            ("Last send AT: AT+CPIN=4821", "4821"),
            ("Last send AT: ATD390000000001;\\r\\n", "39"),
            ("Last send AT: 0011000B91930000000010\\r\\n", "93"),
            ('Last send AT: AT+CMGS="390000000001"\\r\\n', "39"),
            ("Own Number: 390000000001", "39"),
            ("Called Number: 390000000001", "39"),
            ("SIM PIN: 4821", "4821"),
            ("PUK Code: 48214821", "4821"),
            ("Last event: SMS received from 390000000001", "39"),
            ("a line without its name 390000000001", "39"),
            ("Forward To: +390000000001", "39"),
            ("Forward To: +39 (0) 00-00 00", "39"),
            ("Hotline: sip 390000000001@box", "39"),
            ("SIM ICCID: 8939000000000000001", "89"),
            ("Balance Code: *100*77#", "100"),
            ("Balance Code: *100%23", "100"),
            ("Status: Up\nSIM IMSI: 250010000000001\nSIM IMSI: 250010000000002", "2500"),
        ],
    )
    def test_numbers_codes_and_pins_are_masked(self, line: str, secret: str) -> None:
        record = detail(f"Status: Up\n{line}\n")
        shown = f"{record.state} {record.last_event} {record.extra}"
        assert secret not in shown
        assert "****" in shown

    @pytest.mark.parametrize(
        "line",
        [
            "Remain Time: 12000",
            "Network Band: 850 900 1800 1900",
            "Registered At: 2019-11-22 13:01:40",
            "Module Address: 192.168.5.150",
            "Temperature: +31.5",
            "Slot: #1",
            "Send SMS Center Number: +390000000001",
        ],
    )
    def test_what_is_no_number_of_a_person_stays_in_an_unknown_field(self, line: str) -> None:
        name, value = line.split(": ", 1)
        assert detail(f"Status: Up\n{line}\n").extra == {name: value}

    @pytest.mark.parametrize("at", ["AT+CREG?\\r\\n", "AT+CSQ\\r\\n", "AT", "AT+CREG?"])
    def test_a_command_without_argument_stays(self, at: str) -> None:
        assert detail(f"Status: Up\nLast send AT: {at}\n").extra["Last send AT"] == at

    @pytest.mark.parametrize("state", ["READY", "NET REQ", "SIM PIN REQ", "USSD SENDING"])
    def test_a_state_without_number_stays(self, state: str) -> None:
        assert detail(f"State: {state}\n").state == state

    def test_the_repr_shows_nothing_personal(self) -> None:
        record = detail(
            "Model IMEI: 350000000000017\nSIM IMSI: 250010000000001\nOwn Number: 390000000001\n"
            "SIM SMS Center Number: 390000000099\nWeather: 390000000098\n"
        )
        assert (record.imei, record.imsi) == ("350000000000017", "250010000000001")
        for secret in ("350000000000017", "250010000000001", "3900000000"):
            assert secret not in repr(record)

    @pytest.mark.parametrize("body", [b"", b"\n\n", b"hello\n", b"GSM span 2: Up\n"])
    def test_what_has_no_known_field_is_no_detail(self, body: bytes) -> None:
        with pytest.raises(ProtocolError, match="no field"):
            parse_span_detail(body, 2)


class TestReceivedPart:
    def test_nothing_is_needed(self) -> None:
        part = parse_received_part(event())
        assert (part.span, part.sender, part.content) == (0, "", "")
        assert (part.reference, part.index, part.total) == ("", 1, 1)

    @pytest.mark.parametrize(
        ("index", "total", "expected"),
        [
            ("2", "3", (2, 3)),
            ("0", "1", (0, 1)),
            ("", "", (1, 1)),
            ("x", "0", (1, 1)),
            ("-1", "-5", (1, 1)),
            ("99999", "256", (1, 1)),
            ("255", "255", (255, 255)),
        ],
    )
    def test_index_and_total(self, index: str, total: str, expected: tuple[int, int]) -> None:
        part = parse_received_part(event(("Index", index), ("Total", total)))
        assert (part.index, part.total) == expected

    def test_blanks_are_kept_in_the_content_only(self) -> None:
        part = parse_received_part(event(("Sender", "MegaFon "), ("Content", " a  ")))
        assert (part.sender, part.content) == ("MegaFon", " a  ")

    def test_a_byte_that_is_not_utf8_stands_as_percent(self) -> None:
        part = parse_received_part(event(("Content", "caf\udce9"), ("Sender", "caf\udce9")))
        assert (part.content, part.sender) == ("caf%E9", "café")

    def test_the_repr_shows_neither_sender_nor_text(self) -> None:
        headers = (("Sender", "390000000001"), ("Content", "hush"), ("Smsc", "390000000001"))
        part = parse_received_part(event(*headers))
        assert "390000000001" not in repr(parse_send_status(event(*headers, ("Status", "1"))))
        assert "390000000001" not in repr(part)
        assert "hush" not in repr(part)


class TestSendStatus:
    @pytest.mark.parametrize(("sent", "accepted"), [("1", True), ("0", False), (" 1 ", True)])
    def test_status(self, sent: str, accepted: bool) -> None:
        assert parse_send_status(event(("ID", "a1"), ("Status", sent))).accepted is accepted

    @pytest.mark.parametrize("sent", ["", "2", "ok", "-1"])
    def test_another_status_is_never_guessed(self, sent: str) -> None:
        with pytest.raises(ProtocolError):
            parse_send_status(event(("ID", "a1"), ("Status", sent)))

    def test_null_is_no_id(self) -> None:
        assert parse_send_status(event(("ID", "(null)"), ("Status", "1"))).id == ""


def success(message: str, *, mode: str = "0", code: str = "15", length: str | None = None) -> str:
    said = len(message) if length is None else length
    return (
        f"1:Received USSD success on span: 2\n\tUSSD Responses: {mode}\n\tUSSD Code: {code}\n"
        f"\tUSSD Len: {said}\n\tUSSD Message: {message}\n"
    )


class TestUssd:
    @pytest.mark.parametrize(
        ("message", "length", "doubtful"),
        [
            ("abc", "3", False),
            ("abc", "4", False),
            ("abc\n", "4", False),
            ("abc", "2", True),
            ("abc", "5", True),
            ("", "0", False),
            ("да", "2", False),
            ("да", "4", False),
            ("да\n", "3", False),
            ("да", "6", True),
            ("abc", "9" * 30, True),
        ],
    )
    def test_the_length_check(self, message: str, length: str, doubtful: bool) -> None:
        assert ussd(success(message, length=length)).doubtful is doubtful

    def test_an_unknown_mode_is_doubtful(self) -> None:
        reply = ussd(success("abc", mode="7"))
        assert (reply.outcome, reply.doubtful, reply.menu) == ("done", True, False)

    def test_choices_belong_to_menus(self) -> None:
        assert ussd(success("1. One", mode="0")).choices == {}
        assert ussd(success("1. One", mode="1")).choices == {"1": "One"}

    @pytest.mark.parametrize(
        ("line", "choice"),
        [
            ("1 One", ("1", "One")),
            ("1. One", ("1", "One")),
            ("1) One", ("1", "One")),
            ("(1) One", ("1", "One")),
            ("[1] One", ("1", "One")),
            ("1>One", ("1", "One")),
            ("1-One", ("1", "One")),
            ("1 - One", ("1", "One")),
            ("1=One", ("1", "One")),
            ("1:One", ("1", "One")),
            ("1、话费", ("1", "话费")),
            ("1Баланс", ("1", "Баланс")),
            ("  12. Twelve  ", ("12", "Twelve")),
            ("#. Next", ("#", "Next")),
            ("* Back", ("*", "Back")),
        ],
    )
    def test_menu_lines(self, line: str, choice: tuple[str, str]) -> None:
        assert ussd(success(f"Choose:\n{line}\n---", mode="1")).choices == dict([choice])

    def test_crlf_between_menu_lines(self) -> None:
        reply = ussd(success("1. A\r\n2. B", mode="1"))
        assert reply.choices == {"1": "A", "2": "B"}

    def test_the_message_runs_to_the_end(self) -> None:
        text = "a\n\nUSSD Code: 72\nUSSD Message: b\n0:Send USSD failed"
        reply = ussd(success(text))
        assert (reply.text, reply.dcs, reply.outcome) == (text, 15, "done")

    def test_an_impossible_code_is_missing(self) -> None:
        assert ussd(success("abc", code="300")).dcs is None
        assert ussd("1:Received USSD success on span: 2\n\tUSSD Message: abc\n").dcs is None

    def test_bytes_that_are_not_utf8(self) -> None:
        reply = ussd(b"1:x\n\tUSSD Code: 15\n\tUSSD Len: 4\n\tUSSD Message: caf\xe9\n")
        assert (reply.text, reply.doubtful) == ("café", False)

    def test_a_failure_stays_one_whatever_follows(self) -> None:
        assert ussd("0:Send USSD failed on span 2\n\tUSSD Message: x\n").outcome == "failed"
        assert ussd("0:something new\n").outcome == "failed"

    def test_the_repr_shows_neither_code_nor_text(self) -> None:
        reply = ussd(success("1. Secret", mode="1"))
        assert "100" not in repr(reply)
        assert "Secret" not in repr(reply)

    @pytest.mark.parametrize("body", ["", "\n", "hello", "GSM span 2: Up"])
    def test_what_is_no_answer(self, body: str) -> None:
        with pytest.raises(ProtocolError):
            ussd(body)


class TestCliError:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\n",
            b"GSM span 2: Power on\nNo such command\n",
            b"1:Received USSD success on span: 2\n\tUSSD Message: Usage: dial *1#\n",
            b"Status: Invalid span '3'\n",
        ],
    )
    def test_what_is_none(self, body: bytes) -> None:
        assert cli_error(body) is None

    @pytest.mark.parametrize(
        "body",
        [
            b"No such command 'gsm send sms 2 +390000000001 \"hush\" a1' (type 'core show help')\n",
            b"No such command 'gsm send sms 2 390000000001 \"it's hush\nhush' a\" 1' (type 'x')",
            b"No such command 'gsm send sms 2 390000000001 hush",
            b"no such command: gsm send sms 2 390000000001 hush\n",
            b"\r\n No GSM running on span 2\nCommand 'gsm send ussd 2 \"hush390000\"' failed.\n",
            b"You don't have permissions to run 'gsm send sms 2 390000000001 \"hush\"' command",
            b'Usage: gsm send sms 2 390000000001 "hush"\nhush 390000000001\n',
        ],
    )
    def test_the_echo_is_removed(self, body: bytes) -> None:
        error = cli_error(body)
        assert error is not None
        assert "hush" not in error
        assert "390000" not in error
        assert "\n" not in error


@given(st.lists(WORDS | st.binary(max_size=4), max_size=12).map(b"".join))
def test_no_body_breaks_a_parser(body: bytes) -> None:
    cli_error(body)
    parse_spans(body)
    for parse in (lambda: parse_span_detail(body, 2), lambda: ussd(body)):
        try:
            repr(parse())
        except ProtocolError:
            continue


@given(st.dictionaries(st.sampled_from(["GsmSpan", "ID", "Index", "Total", "Sender"]), st.text()))
def test_no_header_breaks_a_part(headers: dict[str, str]) -> None:
    part = parse_received_part(event(*headers.items(), ("Content", "x")))
    assert 0 <= part.span <= 9999

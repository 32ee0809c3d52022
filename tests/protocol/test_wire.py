"""Framing beyond the transcripts: laziness, bounds, faults, learning the sentinel; encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.errors import InvalidRequest, ProtocolError
from neogate_lab.protocol.wire import Action, Packet, PacketParser, encode

BANNER = b"Asterisk Call Manager/1.1\r\n"
PONG = b"Response: Success\r\nPing: Pong\r\n\r\n"
FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"Response: Follows\r\n",
        b"Response: Success\n",
        b"Event: ReceivedSMS\r\n",
        b"Event: UpdateSMSSend\r\n",
        b"Privilege: SMSCommand\r\n",
        b"ActionID: 1\r\n",
        b"Content: x\n",
        b"Output: y\r\n",
        b"--END COMMAND--",
        b"--END SMS EVENT--",
        b"-",
        b"text\xff",
    ]
)


def parse(*pieces: bytes, max_packet: int = 1 << 20) -> list[Packet]:
    parser = PacketParser(max_packet)
    return [packet for piece in pieces for packet in parser.feed(piece)]


def outcome(pieces: list[bytes], max_packet: int) -> tuple[list[Packet], bool]:
    """Return the packets, and whether a fault ended the stream."""
    parser = PacketParser(max_packet)
    packets = []
    for piece in pieces:
        try:
            packets.extend(parser.feed(piece))
        except ProtocolError:
            return packets, True
    return packets, False


def each_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_feed_takes_the_data_even_if_nobody_iterates() -> None:
    parser = PacketParser()
    parser.feed(BANNER)
    assert parser.pending == BANNER
    parser.feed(PONG[:10])
    assert [packet.kind for packet in parser.feed(PONG[10:])] == ["banner", "response"]
    assert parser.pending == b""


def test_packets_come_lazily_and_a_dropped_iterator_loses_none() -> None:
    parser = PacketParser()
    packets = parser.feed(BANNER + PONG + PONG)
    assert next(packets).kind == "banner"
    assert parser.pending == PONG + PONG
    del packets
    assert len(list(parser.feed(b""))) == 2


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"Response: Success\r\n", b"\xff\x00\n"]
)
def test_the_first_line_is_the_banner_whatever_it_says(line: bytes) -> None:
    assert parse(line) == [Packet("banner", raw=line)]


def test_headers_are_found_in_any_case_and_the_first_wins() -> None:
    (_, packet) = parse(BANNER, b"Event: A\r\nname:  two \r\nNAME: again\r\nEmpty:\r\n\r\n")
    assert packet.get("NaMe") == " two "
    assert packet.get("empty", "x") == ""
    assert packet.get("missing") == ""
    assert packet.get("missing", "x") == "x"


def test_blanks_around_a_name_are_not_part_of_it() -> None:
    (_, packet) = parse(BANNER, b"Event : A\r\n Name: x\r\n\r\n")
    assert packet.headers == (("Event", "A"), ("Name", "x"))


def test_gsmport_and_gsmspan_are_one_header() -> None:
    wire = b"Event: ReceivedSMS\r\nGSMPORT: 5\r\nContent: a\nGsmSpan: 9\r\n\r\n"
    (_, packet) = parse(BANNER, wire)
    assert packet.headers == (
        ("Event", "ReceivedSMS"),
        ("GSMPORT", "5"),
        ("Content", "a\nGsmSpan: 9"),
    )


def test_an_event_that_holds_a_response_header_is_an_event() -> None:
    (_, packet) = parse(BANNER, b"Event: OriginateResponse\r\nResponse: Follows\r\n\r\n")
    assert (packet.kind, packet.body) == ("event", None)


def test_a_block_that_is_neither_is_unknown() -> None:
    (_, packet) = parse(BANNER, b"Hello: world\r\n\r\n")
    assert (packet.kind, packet.headers) == ("unknown", (("Hello", "world"),))


def test_a_second_privilege_line_is_body() -> None:
    wire = b"Response: Follows\r\nPrivilege: a\r\nPrivilege: b\n--END COMMAND--\r\n\r\n"
    (_, packet) = parse(BANNER, wire)
    assert packet.body == b"Privilege: b\n"


def test_an_id_before_the_response_is_not_looked_for_in_the_body() -> None:
    wire = b"ActionID: 1\r\nResponse: Follows\r\nActionID: 2\n--END COMMAND--\r\n\r\n"
    (_, packet) = parse(BANNER, wire)
    assert (packet.get("ActionID"), packet.body) == ("1", b"ActionID: 2\n")


def test_the_sentinel_is_learnt_from_a_whole_line_only() -> None:
    glued = b"Event: ReceivedSMS\r\nContent: x--END SMS EVENT--\r\n\r\n"
    open_end = b"Event: ReceivedSMS\r\nContent: a\n\n"
    (_, first, second) = parse(BANNER, glued, open_end)
    assert first.get("Content") == "x--END SMS EVENT--"
    assert second.get("Content") == "a"


def test_once_learnt_the_sentinel_ends_the_event_even_glued() -> None:
    learn = b"Event: ReceivedSMS\r\nContent: x\r\n--END SMS EVENT--\r\n\r\n"
    glued = b"Event: ReceivedSMS\r\nContent: a\n\nb--END SMS EVENT--\r\n\r\n"
    (_, first, second) = parse(BANNER, learn, glued)
    assert first.get("Content") == "x"
    assert second.get("Content") == "a\n\nb"


def test_other_events_end_at_a_blank_line_also_after_a_sentinel_was_seen() -> None:
    learn = b"Event: UpdateSMSSend\r\nID: 1\r\nStatus: 1\r\n--END SMS EVENT--\r\n\r\n"
    (_, _, packet) = parse(BANNER, learn, b"Event: FullyBooted\r\n\r\n")
    assert packet.headers == (("Event", "FullyBooted"),)


def test_reprs_show_no_content() -> None:
    (_, packet) = parse(
        BANNER, b"Event: ReceivedSMS\r\nSender: 390000000001\r\nContent: me\r\n\r\n"
    )
    assert "390000000001" not in repr(packet)
    assert "hunter2" not in repr(Action("Login", (("Secret", "hunter2"),)))


class TestBound:
    def test_a_packet_of_exactly_the_bound_passes(self) -> None:
        assert len(parse(BANNER, PONG, max_packet=len(PONG))) == 2

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize(
        "packet",
        [
            PONG,
            b"Response: Follows\r\nx--END COMMAND--\r\n\r\n",
            b"Event: ReceivedSMS\r\nContent: abc\r\n\r\n",
            b"no line end at all, ever, and longer than the bound",
        ],
    )
    def test_a_longer_one_is_a_fault_complete_or_not(self, packet: bytes, whole: bool) -> None:
        wire = BANNER + packet
        bound = min(len(BANNER), len(packet) - 1)
        wire = b"Asterisk\n" + packet if bound < len(BANNER) else wire
        packets, fault = outcome([wire] if whole else each_byte(wire), bound)
        assert ([packet.kind for packet in packets], fault) == (["banner"], True)

    def test_packets_before_the_fault_come_first_and_the_fault_stays(self) -> None:
        parser = PacketParser(max_packet=40)
        packets = parser.feed(BANNER + PONG + b"x" * 100)
        assert [next(packets).kind, next(packets).kind] == ["banner", "response"]
        with pytest.raises(ProtocolError, match="longer than 40 bytes") as caught:
            next(packets)
        assert caught.value.data == b"x" * 100
        assert len(parser.pending) == 40
        with pytest.raises(ProtocolError, match="longer than 40 bytes"):
            list(parser.feed(PONG))
        assert len(parser.pending) == 40

    def test_an_endless_first_line_is_a_fault(self) -> None:
        with pytest.raises(ProtocolError):
            parse(b"x" * 65, max_packet=64)

    def test_blank_lines_between_packets_are_not_kept(self) -> None:
        parser = PacketParser(max_packet=len(PONG))
        assert len(list(parser.feed(BANNER + b"\r\n" * 1000 + PONG))) == 2

    @given(st.lists(FRAGMENTS, max_size=25), st.integers(20, 120))
    def test_the_same_packets_and_faults_however_cut(
        self, fragments: list[bytes], bound: int
    ) -> None:
        wire = b"A\n" + b"".join(fragments)
        assert outcome(each_byte(wire), bound) == outcome([wire], bound)


class _CountingBytes(bytearray):
    """Counts the bytes that searches look at."""

    looked_at = 0

    def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
        _CountingBytes.looked_at += len(self) - start
        return super().find(sub, start)


def test_a_slowly_growing_header_line_is_searched_once() -> None:
    parser = PacketParser()
    assert list(parser.feed(BANNER))
    parser._buffer = _CountingBytes()
    _CountingBytes.looked_at = 0
    for _ in range(2000):
        assert not list(parser.feed(b"x" * 10))
    assert _CountingBytes.looked_at == 20_000


def test_a_slowly_growing_body_is_searched_once() -> None:
    parser = PacketParser()
    assert len(list(parser.feed(BANNER + b"Response: Follows\r\n\n"))) == 1
    for _ in range(100):
        assert not list(parser.feed(b"line\n" * 20))
        assert len(parser.pending) - parser._scan < 32


class TestEncode:
    def test_one_bytes_object_in_crlf_with_the_id_second(self) -> None:
        action = Action("SMSCommand", (("command", "gsm show spans"),))
        assert encode(action, "a-1") == (
            b"Action: SMSCommand\r\nActionID: a-1\r\ncommand: gsm show spans\r\n\r\n"
        )

    def test_no_id_no_header(self) -> None:
        assert encode(Action("Ping")) == b"Action: Ping\r\n\r\n"

    def test_text_is_utf8(self) -> None:
        assert "é".encode() in encode(Action("Login", (("Secret", "é"),)))

    @pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "hunter2\r\nAction: Logoff", "\ud800"])
    @pytest.mark.parametrize("where", ["name", "id", "field", "value"])
    def test_nothing_can_start_another_header(self, bad: str, where: str) -> None:
        name = bad if where == "name" else "Login"
        field = bad if where == "field" else "Secret"
        value = bad if where == "value" else "x"
        with pytest.raises(InvalidRequest) as caught:
            encode(Action(name, ((field, value),)), bad if where == "id" else "1")
        assert "hunter2" not in str(caught.value)

    def test_the_refusal_names_the_field_and_not_its_value(self) -> None:
        with pytest.raises(InvalidRequest, match="Secret") as caught:
            encode(Action("Login", (("Secret", "hunter2\n"),)))
        assert "hunter2" not in str(caught.value)

    def test_a_colon_in_a_name_is_refused(self) -> None:
        with pytest.raises(InvalidRequest):
            encode(Action("Ping", (("A: b", "c"),)))

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")))
    def test_what_is_written_is_read_back(self, value: str) -> None:
        wire = encode(Action("Ping", (("Value", value),)))
        (_, packet) = parse(BANNER, wire)
        assert packet.get("Value") == value

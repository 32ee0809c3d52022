"""The wire of every variant, byte for byte: packets and records as written by hand beside it.

In the JSON a string stands for UTF-8 bytes, a lone surrogate U+DCxx for the byte xx. `record` has
the fields that differ from the record's defaults; `headers` may be left out where only the body
matters.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neogate_lab.protocol import records
from neogate_lab.protocol.wire import Packet, PacketParser

FOLDER = Path(__file__).parents[2] / "data" / "transcripts"
NAMES = sorted(path.stem for path in FOLDER.glob("*.bin"))


def load(name: str) -> tuple[bytes, dict[str, Any]]:
    expected = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return (FOLDER / f"{name}.bin").read_bytes(), expected


def parse(*pieces: bytes) -> tuple[list[Packet], bytes]:
    parser = PacketParser()
    packets = [packet for piece in pieces for packet in parser.feed(piece)]
    return packets, parser.pending


def without_defaults(record: Any) -> Any:
    """Turn a record into what JSON can hold, leaving out the fields at their defaults."""
    if isinstance(record, list | tuple):
        return [without_defaults(item) for item in record]
    if not dataclasses.is_dataclass(record):
        return record
    result = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if default is dataclasses.MISSING or value != default:
            result[field.name] = without_defaults(value)
    return result


def read_record(packet: Packet, kind: str, args: dict[str, Any]) -> Any:
    function = getattr(records, kind if kind == "cli_error" else f"parse_{kind}")
    source = packet if packet.body is None else packet.body
    record = without_defaults(function(source, **args))
    if kind == "received_part":
        text, encoding = records.decode_part(record["content"])
        record |= {"decoded": text, "encoding": encoding}
    return record


def test_every_transcript_has_its_expectation() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_packets_and_records_are_those_written_by_hand(name: str) -> None:
    wire, expected = load(name)
    packets, pending = parse(wire)
    assert [packet.kind for packet in packets] == [want["kind"] for want in expected["packets"]]
    for packet, want in zip(packets, expected["packets"], strict=True):
        body = want.get("body")
        assert packet.body == (None if body is None else body.encode("utf-8", "surrogateescape"))
        if "headers" in want:
            assert [list(header) for header in packet.headers] == want["headers"]
        if "parse" in want:
            assert read_record(packet, want["parse"], want.get("args", {})) == want["record"]
    assert pending == expected["pending"].encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_is_in_one_packet_a_blank_line_or_pending(name: str) -> None:
    wire, _ = load(name)
    packets, pending = parse(wire)
    rest = wire
    for packet in packets:
        while not rest.startswith(packet.raw):
            assert rest.startswith((b"\r\n", b"\n"))
            rest = rest[rest.index(b"\n") + 1 :]
        rest = rest[len(packet.raw) :]
    assert rest == pending


@pytest.mark.parametrize("name", NAMES)
def test_the_same_packets_byte_by_byte(name: str) -> None:
    wire, _ = load(name)
    assert parse(*(bytes([byte]) for byte in wire)) == parse(wire)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_packets_cut_anywhere(name: str) -> None:
    wire, _ = load(name)
    whole = parse(wire)
    for cut in range(len(wire) + 1):
        assert parse(wire[:cut], wire[cut:]) == whole, f"cut after {cut} bytes"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_same_packets_in_any_pieces(data: st.DataObject) -> None:
    wire, _ = load(data.draw(st.sampled_from(NAMES)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=12)))
    edges = [0, *cuts, len(wire)]
    pieces = [wire[start:end] for start, end in itertools.pairwise(edges)]
    assert parse(*pieces) == parse(wire)

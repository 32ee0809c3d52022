"""Parsing: the same stream of events and replies through three parsers; no socket, no store."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks import clients
from benchmarks.contest import Result, contest
from benchmarks.peer import BANNER, detail_reply, received, status_report
from neogate_lab.protocol import records
from neogate_lab.protocol.wire import Packet, PacketParser

__all__ = ["run"]

PIECE = 4096
"""Bytes of one read."""


def run(rounds: int) -> list[Result]:
    """Microseconds a packet, for packets alone; and for ours with the records made of them."""
    blocks = 500
    stream = BANNER + b"".join(
        received("Hello%20there%2C%20how%20are%20you%3F", n)
        + detail_reply(f"{n}-1")
        + status_report(f"id{n}")
        + detail_reply(f"{n}-2")
        for n in range(blocks)
    )
    pieces = [stream[at : at + PIECE] for at in range(0, len(stream), PIECE)]
    packets = 4 * blocks

    def timed(parse: Callable[[list[bytes]], int]) -> Callable[[], float]:
        def measure() -> float:
            start = time.perf_counter()
            count = parse(pieces)
            taken = time.perf_counter() - start
            assert count == packets, f"{count} of {packets} packets were found"
            return 1e6 * taken / packets

        return measure

    return contest(
        "parse",
        "µs a packet ↓",
        {
            "panoramisk": timed(clients.parse_with_panoramisk),
            "asterisk-ami": timed(clients.parse_with_asterisk_ami),
            "neogate_lab": timed(_packets),
            "neogate_lab, and records": timed(_records),
        },
        rounds=rounds,
        reference="panoramisk",
    )


def _packets(pieces: list[bytes]) -> int:
    parser = PacketParser()
    return sum(1 for piece in pieces for _ in parser.feed(piece)) - 1  # the banner


def _records(pieces: list[bytes]) -> int:
    parser = PacketParser()
    return sum(_understood(packet) for piece in pieces for packet in parser.feed(piece))


def _understood(packet: Packet) -> bool:
    if packet.kind == "banner":
        return False
    if packet.body is not None:
        return records.parse_span_detail(packet.body, 2).signal_raw == 22
    if packet.get("Event") == "ReceivedSMS":
        return bool(records.parse_received_part(packet).sender)
    return bool(records.parse_send_status(packet).id)

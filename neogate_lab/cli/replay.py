"""`neogate-lab replay`: a recorded conversation, read again or served again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import neogate_lab as ng
from neogate_lab.cli import serving
from neogate_lab.cli.base import app, polite
from neogate_lab.cli.sharing import share
from neogate_lab.cli.terminal import plain
from neogate_lab.protocol import records
from neogate_lab.protocol.wire import Packet, PacketParser
from neogate_lab.simulator import ReplayGateway, recording
from neogate_lab.simulator.ami import Request, RequestReader

__all__ = ["replay"]


@app.command()
@polite
def replay(
    wire: Annotated[
        Path, typer.Argument(metavar="WIRE", help="A wire log, as connect(record=…) writes it.")
    ],
    serve: Annotated[
        bool, typer.Option("--serve", help="Be that gateway, for any client, until Ctrl-C.")
    ] = False,
    personal: Annotated[
        bool, typer.Option("--personal", help="Show numbers and texts too.")
    ] = False,
    redact: Annotated[
        str | None,
        typer.Option(
            help="Write a copy to hand over, with numbers, text or all replaced; see --out.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the copy goes.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 5038,
    username: Annotated[str, typer.Option(help="The one API user.")] = "apiuser",
    password: Annotated[str, typer.Option(help="Its password.")] = "apipass",  # noqa: S107
    speed: Annotated[
        float, typer.Option(help="Recorded seconds in a real one; inf: at once.")
    ] = 1.0,
) -> None:
    """Show what a recorded gateway said, or serve it again.

    A firmware that was never seen can be handed over as such a file. Passwords and PINs are not in
    it; numbers and texts are, unless it is a copy made by --redact all --out shared.jsonl.
    """
    if redact is not None or out is not None:
        if redact is None or out is None or serve:
            raise ng.InvalidRequest(
                "a copy to hand over needs both: --redact numbers, text or all, and --out its file"
            )
        print(f"wrote {share(wire, out, redact)} lines to {plain(str(out))}")
        return
    if serve:
        gateway = ReplayGateway(wire, username, password, host, port, speed=speed)
        serving.serve(gateway, "replayed gateway")
        return
    found = list(recording.sessions(recording.read(wire)))
    tellers = [_Teller(number, personal) for number in range(1, len(found) + 1)]
    told = [
        line
        for teller, session in zip(tellers, found, strict=True)
        for line in teller.lines(session)
    ]
    for _, line in sorted(told, key=lambda each: each[0]):
        print(line)
    packets = sum(teller.packets for teller in tellers)
    strange = sum(teller.strange for teller in tellers)
    print(f"{packets} packets in {len(found)} sessions; {strange} not understood")


class _Teller:
    """One session in words: what was asked, and the records that the answers make."""

    def __init__(self, number: int, personal: bool) -> None:
        self.packets = self.strange = 0
        self._number = number
        self._personal = personal
        self._asked: list[Request] = []

    def lines(self, session: list[recording.Line]) -> Iterator[tuple[Any, str]]:
        """Each line with its time."""
        parser, reader = PacketParser(), RequestReader(1 << 20)
        for line in session:
            head = f"{line.time:%H:%M:%S}.{line.time.microsecond // 1000:03d} {self._number}"
            said = self._heard(parser, line) if line.received else self._sent(reader, line)
            sign = "<" if line.received else ">"
            for text in said:
                yield line.time, f"{head} {sign} {text}"

    def _sent(self, reader: RequestReader, line: recording.Line) -> Iterator[str]:
        reader.feed(line.data)
        while (request := reader.next()) is not None:
            self._asked.append(request)
            yield plain(self._request(request))

    def _heard(self, parser: PacketParser, line: recording.Line) -> Iterator[str]:
        try:
            found = list(parser.feed(line.data))
        except ng.ProtocolError as error:
            found = []
            yield self._odd(str(error))
        for packet in found:
            self.packets += 1
            try:
                yield from map(plain, self._packet(packet))
            except ng.ProtocolError as error:
                yield self._odd(str(error))
        if parser.pending:
            yield self._odd(f"{len(parser.pending)} bytes that are no whole packet")

    def _odd(self, words: str) -> str:
        self.strange += 1
        return f"not understood: {plain(words)}"

    def _packet(self, packet: Packet) -> list[str]:
        if packet.kind == "banner":
            return [f"banner {packet.raw.decode('utf-8', 'replace').strip()}"]
        if packet.kind == "event":
            return self._event(packet)
        if packet.kind == "response":
            return self._answer(packet, self._request_of(packet))
        return [self._odd(f"a packet of {len(packet.raw)} bytes, neither answer nor event")]

    def _event(self, packet: Packet) -> list[str]:
        name = packet.get("Event").strip()
        if name.lower() == "receivedsms":
            return [self._record(records.parse_received_part(packet))]
        if name.lower() == "updatesmssend":
            return [self._record(records.parse_send_status(packet))]
        return [f"event {name}"]

    def _request_of(self, packet: Packet) -> Request | None:
        action_id = packet.get("ActionID").strip()
        for request in self._asked:
            if not action_id or request.get("ActionID") == action_id:
                self._asked.remove(request)
                return request
        return None

    def _answer(self, packet: Packet, request: Request | None) -> list[str]:
        said = " ".join(
            part.strip() for part in (packet.get("Response"), packet.get("Message")) if part.strip()
        )
        if packet.body is None or request is None:
            return [said + ("" if request else ", to nothing that was asked")]
        if (refusal := records.cli_error(packet.body)) is not None:
            return [f"refused: {refusal}"]
        made = _records_of(request.get("Command"), packet.body)
        if made is None:
            lines = packet.body.decode("utf-8", "replace").strip().splitlines()
            return [f"{said}: {len(lines)} lines", *(lines if self._personal else [])]
        return [self._record(each) for each in made]

    def _request(self, request: Request) -> str:
        command = request.get("Command")
        words = command.split()
        if self._personal:
            return f"{request.get('Action')} {command}".rstrip()
        safe = [
            word if word in records.COMMAND_WORDS or word.isdigit() else "…" for word in words[:4]
        ]
        more = ["…"] if len(words) > 4 else []
        return " ".join([request.get("Action"), *safe, *more])

    def _record(self, record: Any) -> str:
        parts = []
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if value in (None, "", (), {}):
                continue
            if dataclasses.is_dataclass(value):
                parts.append(f"{field.name}=({self._record(value)})")
            else:
                parts.append(f"{field.name}={value if field.repr or self._personal else '…'}")
        return f"{type(record).__name__} {' '.join(parts)}"


def _records_of(command: str, body: bytes) -> list[Any] | None:
    """What an answer's body makes, by the command that asked; None for an unknown command."""
    words = [word.lower() for word in command.split()]
    span = next((int(word) for word in words if word.isascii() and word.isdigit()), 0)
    makers: dict[tuple[str, ...], Callable[[], list[Any]]] = {
        ("gsm", "show", "spans"): lambda: list(records.parse_spans(body)),
        ("gsm", "show", "span"): lambda: [records.parse_span_detail(body, span)],
        ("gsm", "show", str(span)): lambda: [records.parse_span_detail(body, span)],
        ("gsm", "send", "ussd"): lambda: [
            records.parse_ussd_reply(body, port=span - 1, span=span, code="")
        ],
    }
    make = makers.get(tuple(words[:3]))
    return None if make is None else make()

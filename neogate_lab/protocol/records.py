"""The nouns: frozen records made from packets; never a socket, a clock or a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neogate_lab.protocol.wire import Packet

UssdOutcome = Literal[
    "done",
    "menu",
    "ended",
    "other_client",
    "not_supported",
    "network_timeout",
    "failed",
    "busy",
    "timeout",
]
SmsStatus = Literal["queued", "written", "sent", "failed", "unknown", "cancelled"]
RssiBound = Literal["", "<=", ">="]


@dataclass(frozen=True, slots=True)
class SpanStatus:
    """One line of `gsm show spans` (WIRE §5); None is unknown."""

    span: int
    power: bool | None = None
    provisioned: bool | None = None
    alarm: bool | None = None
    sim: bool | None = None
    up: bool | None = None
    active: bool | None = None
    mode: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class SpanDetail:
    """`gsm show span N` (WIRE §6): known fields typed, unknown ones kept in `extra`."""

    span: int
    status: SpanStatus
    manufacturer: str = ""
    model: str = ""
    revision: str = ""
    imei: str = ""
    imsi: str = ""
    operator: str = ""  # home operator by MCC+MNC of the IMSI
    country: str = ""  # home country (ISO 3166 alpha-2) by MCC of the IMSI
    network: str = ""
    network_status: str = ""
    registered: bool | None = None
    roaming: bool | None = None
    signal_raw: int | None = None
    signal: int | None = None
    rssi_dbm: int | None = None
    rssi_bound: RssiBound = ""
    ber: int | None = None
    smsc: str = ""
    pdd: float | None = None
    asr: float | None = None
    acd: float | None = None
    state: str = ""  # phone numbers removed
    last_event: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # PINs and "Last send AT" masked


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """`Event: ReceivedSMS` (WIRE §8) as it came: one part, or a whole short message."""

    span: int
    sender: str
    content: str  # as sent; a byte that is not UTF-8 stands as %XX
    recvtime: str = ""
    smsc: str = ""
    reference: str = ""
    index: int = 1
    total: int = 1


@dataclass(frozen=True, slots=True)
class SendStatus:
    """`Event: UpdateSMSSend` (WIRE §7); `id` is "" when the gateway sent `(null)`."""

    id: str
    accepted: bool
    smsc: str = ""


@dataclass(frozen=True, slots=True)
class UssdReply:
    """The answer to `gsm send ussd` (WIRE §9); returned for every outcome, never raised."""

    port: int
    span: int
    code: str = field(repr=False)
    outcome: UssdOutcome
    text: str = field(default="", repr=False)
    menu: bool = False
    dcs: int | None = None
    raw: str = field(default="", repr=False)
    doubtful: bool = False
    choices: dict[str, str] = field(default_factory=dict, repr=False)


def parse_spans(body: bytes) -> list[SpanStatus]: ...
def parse_span_detail(body: bytes, span: int) -> SpanDetail: ...
def parse_received_part(packet: Packet) -> ReceivedPart: ...
def parse_send_status(packet: Packet) -> SendStatus: ...
def parse_ussd_reply(body: bytes, *, port: int, span: int, code: str) -> UssdReply: ...
def cli_error(body: bytes) -> str | None: ...
def decode_part(content: str) -> tuple[str, str]: ...

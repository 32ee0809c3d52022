"""The nouns: frozen records made from packets; never a socket, a clock or a frame."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from neogate_lab.errors import ProtocolError
from neogate_lab.protocol.gsm import (
    RssiBound,
    ber_of,
    csq_to_dbm,
    decode_bytes,
    decode_part,
    decode_ussd,
    join_parts,
    signal_of,
)
from neogate_lab.protocol.networks import operator_of
from neogate_lab.protocol.wire import Packet

__all__ = [
    "COMMAND_WORDS",
    "SMS_MAY_BECOME",
    "ReceivedPart",
    "RssiBound",
    "SendStatus",
    "SmsStatus",
    "SpanDetail",
    "SpanStatus",
    "UssdOutcome",
    "UssdReply",
    "cli_error",
    "decode_part",
    "join_parts",
    "mask_pins",
    "parse_received_part",
    "parse_send_status",
    "parse_span_detail",
    "parse_spans",
    "parse_ussd_reply",
    "printable",
]

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
SmsStatus = Literal["planned", "queued", "written", "sent", "failed", "unknown", "cancelled"]

SMS_MAY_BECOME: dict[str, tuple[SmsStatus, ...]] = {
    "queued": ("cancelled", "failed"),
    "written": ("sent", "failed", "unknown"),
    "unknown": ("sent", "failed"),
    "failed": ("sent",),
}
"""What a report or its owner may still make of an SMS; only the claim of its port's turn makes a
queued one written."""

MASK = "****"
"""What stands where a PIN, a phone number or a code stood."""


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
    extra: tuple[str, ...] = ()  # words that WIRE §5 does not know


@dataclass(frozen=True, slots=True)
class SpanDetail:
    """`gsm show span N` (WIRE §6): known fields typed, unknown ones kept in `extra`."""

    span: int
    status: SpanStatus
    manufacturer: str = ""
    model: str = ""
    revision: str = ""
    imei: str = field(default="", repr=False)
    imsi: str = field(default="", repr=False)
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
    smsc: str = field(default="", repr=False)
    pdd: float | None = None
    asr: float | None = None
    acd: float | None = None
    state: str = ""  # phone numbers removed
    last_event: str = ""
    extra: dict[str, str] = field(default_factory=dict, repr=False)  # PINs, "Last send AT" masked
    own_number: str = field(default="", repr=False)  # the SIM's, on firmware that tells it


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """`Event: ReceivedSMS` (WIRE §8) as it came: one part, or a whole short message."""

    span: int  # 0 where the event names none
    sender: str = field(repr=False)
    content: str = field(repr=False)  # as sent; a byte that is not UTF-8 stands as %XX
    recvtime: str = ""
    smsc: str = field(default="", repr=False)
    reference: str = ""
    index: int = 1
    total: int = 1


@dataclass(frozen=True, slots=True)
class SendStatus:
    """`Event: UpdateSMSSend` (WIRE §7); `id` is "" when the gateway sent `(null)`."""

    id: str
    accepted: bool
    smsc: str = field(default="", repr=False)


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

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As a cell's answer, where the text is what was asked for; logs get the repr."""
        doubt = ", doubtful" if self.doubtful else ""
        printer.text(f"USSD {self.code} on port {self.port}: {self.outcome}{doubt}")
        if self.text:
            printer.text("\n" + printable(self.text))


_OWN_NUMBER = re.compile(r"\+?[0-9]{3,20}")
_SPAN_LINE = re.compile(r"GSM span[ \t]+(\d{1,4})[ \t]*:(.*)", re.IGNORECASE)
_PIN_STATUS = re.compile(r"\b(pin2?|puk2?)(\s*)\([^()\n]*\)", re.IGNORECASE)
_PIN_DIGITS = re.compile(r"\b(pin2?|puk2?)(\W{0,3})\d+", re.IGNORECASE)

_FLAG_WORDS: dict[str, tuple[str, bool]] = {
    "power on": ("power", True),
    "power off": ("power", False),
    "provisioned": ("provisioned", True),
    "in alarm": ("alarm", True),
    "active": ("active", True),
    "standby": ("active", False),
}
_MODE_WORDS = frozenset({"standard", "multiplexer"})
# The status word, and what it proves about the SIM: None where it proves nothing. A PIN error,
# whatever its spelling, proves a SIM.
_STATUS_WORDS: dict[str, bool | None] = {
    "up": True,
    "unregistered network": True,
    "undetected sim card": False,
    "down": None,
    "no signal": None,
    "block": None,
}

_ALIASES = {
    alias: key
    for key, aliases in {
        "status": ["status", "span status"],
        "manufacturer": ["manufacturer", "model manufacturer"],
        "model": ["model name", "model"],
        "imei": ["model imei", "module imei", "imei"],
        "revision": ["revision", "model revision"],
        "network": ["network name", "network"],
        "network_status": ["network status"],
        "signal": ["signal quality", "signal"],
        "ber": ["ber value", "ber"],
        "imsi": ["sim imsi", "imsi"],
        "smsc": ["sim sms center number", "sim sms centre number", "sms center number", "smsc"],
        "pdd": ["pdd"],
        "asr": ["asr"],
        "acd": ["acd"],
        "state": ["state"],
        "last_event": ["last event"],
    }.items()
    for alias in aliases
}

_NUMBER = re.compile(r"\+?[0-9*#]+(?:[ ().%-]*[0-9*#]+)*")
_LONG_NUMBER = re.compile(r"\+?[0-9*#]{3,}")
_AT_COMMAND = re.compile(r"\s*AT[+^&$%*#]?[A-Za-z]*[=?]*")
_LITERAL_LINE_END = re.compile(r"(?:\\r|\\n|\s)*")
_INTEGER = re.compile(r"\s*(-?\d{1,6})(?!\d)")
_DECIMAL = re.compile(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)(?![\d.])")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")

_USSD_MESSAGE = re.compile(rb"USSD\s+Message\s*:[ ]?", re.IGNORECASE)
_USSD_FIELD = re.compile(r"USSD\s+(Responses|Code|Len)\s*:\s*(\d{1,9})", re.IGNORECASE)
_USSD_VERDICT = re.compile(r"\s*([01])\s*:")
_USSD_OUTCOMES: dict[int | None, UssdOutcome] = {
    0: "done",
    1: "menu",
    2: "ended",
    3: "other_client",
    4: "not_supported",
    5: "network_timeout",
}
_CHOICE = re.compile(
    r"\s*[\[(]?(\d{1,2}|[*#])(?:\s*[.,:;)\]>=\-–—、．：）]+\s*|\s+|(?=[^\W\d_]))(\S.*)"
)

# A CLI error, by how its line begins. True: the rest of the line echoes the command.
_CLI_ERRORS = {
    "no such command": True,
    "command '": True,
    "you don't have permissions to run": True,
    "usage:": False,
    "no gsm running on span": False,
    "invalid span": False,
    "destination number to": False,
    "sms message to": False,
}
COMMAND_WORDS = frozenset({"gsm", "show", "send", "span", "spans", "sms", "ussd", "core", "help"})
"""Words of a command that give nothing away; whatever else one holds is hidden."""
_PERSONAL = re.compile(r"\+?\d[\d ().-]{3,}\d|\"[^\"]*\"?")


def parse_spans(body: bytes) -> list[SpanStatus]:
    """Read `gsm show spans`: a set of words a line, in any order (WIRE §5).

    `provisioned` is None for all where no line of the reply says the word: V3 firmware never
    does. Lines that are no span's are skipped; a PIN is masked.
    """
    lines = [match for line in _lines(body) if (match := _SPAN_LINE.match(line.strip()))]
    says_provisioned = any("provisioned" in _words(match[2].lower()) for match in lines)
    return [_span_status(int(match[1]), match[2], says_provisioned) for match in lines]


def parse_span_detail(body: bytes, span: int) -> SpanDetail:
    """Read `gsm show span N`, whatever fields it has and in whatever order (WIRE §6).

    Phone numbers, PINs and USSD codes are masked wherever they stand, except in `imei`, `imsi`,
    `smsc` and `own_number`.

    Raises
    ------
    ProtocolError
        No line of it is a field.
    """
    known: dict[str, str] = {}
    extra: dict[str, str] = {}
    own_number = ""
    for line in _lines(body):
        name, value = _field(line)
        if _key(name) == "own number" and _OWN_NUMBER.fullmatch(value):
            own_number = value
        key = _ALIASES.get(_key(name), "")
        if key and not known.get(key):
            known[key] = value
        elif (name or value) and value != known.get(key):
            extra[name] = _masked_extra(name, value)
    if not known:
        raise ProtocolError("the answer to 'gsm show span' has no field in it", body)

    def text(key: str) -> str:
        return mask_pins(known.get(key, ""))

    csq = _int(known.get("signal", ""), least=-999, most=999)
    rssi_dbm, rssi_bound = csq_to_dbm(csq)
    imsi = known.get("imsi", "")
    operator, country = operator_of(imsi)
    registered, roaming = _registration(known.get("network_status", ""))
    return SpanDetail(
        span=span,
        status=_span_status(span, known.get("status", ""), says_provisioned=False),
        manufacturer=text("manufacturer"),
        model=text("model"),
        revision=text("revision"),
        imei=known.get("imei", ""),
        imsi=imsi,
        operator=operator,
        country=country,
        network=text("network"),
        network_status=text("network_status"),
        registered=registered,
        roaming=roaming,
        signal_raw=csq,
        signal=signal_of(csq),
        rssi_dbm=rssi_dbm,
        rssi_bound=rssi_bound,
        ber=ber_of(_int(known.get("ber", ""), least=0, most=7)),
        smsc="" if known.get("smsc", "").lower() == "undefined" else known.get("smsc", ""),
        pdd=_float(known.get("pdd", "")),
        asr=_float(known.get("asr", "")),
        acd=_float(known.get("acd", "")),
        state=_mask_numbers(known.get("state", "")),
        last_event=_LONG_NUMBER.sub(MASK, text("last_event")),
        extra=extra,
        own_number=own_number,
    )


def parse_received_part(packet: Packet) -> ReceivedPart:
    """Read `Event: ReceivedSMS` (WIRE §8); `GsmPort` of the 2013 manual is the span.

    Never fails, so that no message is lost: a missing span is 0, a missing or impossible Index
    or Total is 1.
    """
    span = _header(packet, "GsmSpan") or _header(packet, "GsmPort")
    content = packet.get("Content")
    return ReceivedPart(
        span=_int(span, least=0, most=9999) or 0,
        sender=_header(packet, "Sender"),
        content=_NOT_UTF8.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", content),
        recvtime=_header(packet, "Recvtime"),
        smsc=_header(packet, "Smsc"),
        reference=_header(packet, "ID"),
        index=_count(_header(packet, "Index"), least=0),
        total=_count(_header(packet, "Total"), least=1),
    )


def parse_send_status(packet: Packet) -> SendStatus:
    """Read `Event: UpdateSMSSend` (WIRE §7); accepted by the SMS centre is not delivered.

    Raises
    ------
    ProtocolError
        Status is neither 1 nor 0. Guessing could have a message sent twice.
    """
    status = _header(packet, "Status")
    if status not in ("0", "1"):
        raise ProtocolError("an SMS status is neither 1 nor 0", packet.raw)
    id_ = _header(packet, "ID")
    smsc = _header(packet, "Smsc")
    return SendStatus(
        id="" if id_.lower() == "(null)" else id_,
        accepted=status == "1",
        smsc="" if smsc.lower() == "(null)" else smsc,
    )


def parse_ussd_reply(body: bytes, *, port: int, span: int, code: str) -> UssdReply:
    r"""Read the answer to `gsm send ussd` in every spelling of WIRE §9.

    `1:` says only that something came; the outcome is +CUSD's m (3GPP TS 27.007 §7.15). The
    message runs to the end of the body. It is `doubtful` when it disagrees with `USSD Len`: it
    may have been cut. Accepted are the number of characters and of UTF-8 bytes of the raw
    message, with or without the line ends after it. `choices` are the lines of a menu that begin
    with a number.

    Raises
    ------
    ProtocolError
        The body is none of the known answers; see `cli_error` first.
    """
    match = _USSD_MESSAGE.search(body)
    head = _decoded(body[: match.start()] if match else body)
    verdict = _USSD_VERDICT.match(head)
    if match is None and verdict is None:
        raise ProtocolError("this is no answer to a USSD request", body)
    if verdict is not None and verdict[1] == "0":
        return UssdReply(port, span, code, _ussd_failure(head), raw=head.strip())
    fields = {name.lower(): value for name, value in _USSD_FIELD.findall(head)}
    message = body[match.end() :] if match else b""
    raw = _decoded(message.rstrip(b"\r\n"))
    dcs = _int(fields.get("code", ""), least=0, most=255)
    text = decode_ussd(raw, dcs)
    mode = _int(fields.get("responses", "0"), least=0, most=5)
    outcome = _USSD_OUTCOMES.get(mode, "done")
    menu = outcome == "menu"
    return UssdReply(
        port=port,
        span=span,
        code=code,
        outcome=outcome,
        text=text,
        menu=menu,
        dcs=dcs,
        raw=raw,
        doubtful=mode not in _USSD_OUTCOMES or not _length_fits(message, fields.get("len")),
        choices=_choices(text) if menu else {},
    )


def printable(text: str) -> str:
    """A stranger's text without anything that a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def cli_error(body: bytes) -> str | None:
    """Return the gateway's words if `body` is a CLI error (WIRE §2), else None.

    An error starts the body: a USSD answer or an SMS that holds such words is none. The echo of
    the command, with its number and text, is removed.
    """
    lines = [line.strip() for line in _decoded(body).strip().splitlines()]
    if not lines or _error_start(lines[0]) is None:
        return None
    # Any other line may be the rest of an echoed text.
    return " ".join(_redacted(line, start) for line in lines if (start := _error_start(line)))


def _decoded(data: bytes) -> str:
    return join_parts([decode_bytes(data)[0]])


def _lines(body: bytes) -> list[str]:
    # Only line feeds part lines here: str.splitlines would also cut at a stranger's U+2028.
    return [line.rstrip("\r") for line in _decoded(body).split("\n")]


def _words(line: str) -> list[str]:
    return [word for part in line.split(",") if (word := part.strip())]


def mask_pins(text: str) -> str:
    """Mask SIM PINs and PUKs, wherever they stand (WIRE §5)."""
    text = _PIN_STATUS.sub(rf"\1\2({MASK})", text)
    return _PIN_DIGITS.sub(rf"\1\2{MASK}", text)


def _mask_numbers(text: str) -> str:
    return _NUMBER.sub(MASK, mask_pins(text))


def _span_status(span: int, line: str, says_provisioned: bool) -> SpanStatus:
    words = _words(mask_pins(line))
    flags: dict[str, bool | None] = {"provisioned": False if says_provisioned else None}
    mode = ""
    status: list[str] = []
    extra: list[str] = []
    for word in words:
        key = re.sub(r"\s+", " ", word.lower())
        if key in _FLAG_WORDS:
            name, value = _FLAG_WORDS[key]
            flags[name] = value
        elif key in _MODE_WORDS:
            mode = word
        elif key in _STATUS_WORDS or key.startswith(("pin", "puk")):
            status.append(word)
            proof = _STATUS_WORDS.get(key, True)
            flags["sim"] = flags.get("sim") if proof is None else proof
            flags["up"] = flags.get("up", False) or key == "up"
        else:
            extra.append(word)
    return SpanStatus(
        span=span,
        power=flags.get("power"),
        provisioned=flags["provisioned"],
        alarm=flags.get("alarm", False if words else None),
        sim=flags.get("sim"),
        up=flags.get("up"),
        active=flags.get("active"),
        mode=mode,
        status=", ".join(status),
        extra=tuple(extra),
    )


def _field(line: str) -> tuple[str, str]:
    """Split at the first ": ", or where there is none at the first colon (WIRE §6)."""
    name, colon, value = line.partition(": ")
    if not colon:
        name, colon, value = line.partition(":")
    return (name.strip(), value.strip()) if colon else ("", line.strip())


@functools.lru_cache(maxsize=512)  # a gateway says the same few names in every answer
def _key(name: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\(.*", "", name)).strip().lower()


def _masked_extra(name: str, value: str) -> str:
    key = _key(name)
    if "last send at" in key:
        return _mask_at(value)
    if key == "state":
        return _mask_numbers(value)
    personal = re.search(r"\b(?:pin2?|puk2?|own|phone|called|caller|calling|msisdn)\b", key)
    if personal or not name:
        return MASK if value else ""
    return mask_pins(value)


def _mask_at(value: str) -> str:
    """Keep which command was sent to the modem; drop what it was given."""
    match = _AT_COMMAND.match(value)
    if match is None:
        return MASK if value else ""
    if _LITERAL_LINE_END.fullmatch(value, match.end()):
        return value
    return f"{match[0]}{MASK}"


def _registration(words: str) -> tuple[bool | None, bool | None]:
    lower = words.lower()
    if re.search(r"\bnot registered|unregistered|search|denied", lower):
        return False, False
    if not lower.startswith("registered"):
        return None, None
    roaming = True if "roam" in lower else (False if "home" in lower else None)
    return True, roaming


def _int(text: str, least: int, most: int) -> int | None:
    match = _INTEGER.match(text)
    value = int(match[1]) if match else None
    return value if value is not None and least <= value <= most else None


def _float(text: str) -> float | None:
    match = _DECIMAL.match(text)
    return float(match[1]) if match else None


def _count(text: str, least: int) -> int:
    # The user data header counts parts in one octet (3GPP TS 23.040 §9.2.3.24.1).
    value = _int(text, least=least, most=255)
    return 1 if value is None else value


def _header(packet: Packet, name: str) -> str:
    value = packet.get(name).strip()
    return value if value.isascii() else _decoded(value.encode("utf-8", "surrogateescape"))


def _ussd_failure(text: str) -> UssdOutcome:
    lower = text.lower()
    if re.search(r"time[ -]?out", lower):
        return "timeout"
    return "busy" if re.search(r"sending ussd|busy", lower) else "failed"


def _length_fits(message: bytes, length: str | None) -> bool:
    if length is None:
        return True
    cut = message.rstrip(b"\r\n")
    in_characters = len(_decoded(cut)) <= int(length) <= len(_decoded(message))
    return in_characters or len(cut) <= int(length) <= len(message)


def _choices(text: str) -> dict[str, str]:
    choices: dict[str, str] = {}
    for line in re.split(r"[\r\n]+", text):
        if match := _CHOICE.match(line):
            choices.setdefault(match[1], match[2].strip())
    return choices


def _error_start(line: str) -> str | None:
    lower = line.lower()
    return next((start for start in _CLI_ERRORS if lower.startswith(start)), None)


def _redacted(line: str, start: str) -> str:
    """Remove the echo of a command from an error's line, but for its verb."""
    if not _CLI_ERRORS[start]:
        return _PERSONAL.sub(MASK, line)
    words = line[len(start) :].replace("'", " ").split()
    verb = " ".join([*itertools.takewhile(COMMAND_WORDS.__contains__, words), "…"])
    said = line[: len(start)].rstrip(" '")
    failed = " failed." if line.endswith("failed.") else ""
    return f"{said} '{verb}'{failed}"

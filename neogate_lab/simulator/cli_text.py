"""The command line's words: how the gateway reads a command and writes its output; never a state.

The parsing is that of Asterisk 1.8 (WIRE §2, §7): quotes join words, a backslash escapes, 64 words.
"""

from __future__ import annotations

from dataclasses import dataclass

from neogate_lab.simulator.firmware import Firmware
from neogate_lab.simulator.radio import PortTruth, SimCard
from neogate_lab.simulator.ussd import UssdAnswer

MAX_WORDS = 64
SPAN_LIMIT = 32

SEND_SMS_USAGE = (
    "Usage: gsm send sms <span> <destination> <message> [id]\n"
    "       Send a SMS on the specified GSM span.\n"
)
SEND_USSD_USAGE = (
    "Usage: gsm send ussd <span> <message> [timeout]\n"
    "       Send a USSD on the specified GSM span.\n"
)
SHOW_SPANS_USAGE = "Usage: gsm show spans\n       Displays status of all configured GSM spans.\n"
SHOW_SPAN_USAGE = "Usage: {} <span>\n       Displays GSM information on a given GSM span.\n"


def split_words(command: str) -> list[str]:
    """Cut a command into words as the driver does."""
    words: list[str] = []
    quoted = escaped = False
    between = True
    for char in command:
        if len(words) >= MAX_WORDS:
            break
        if char == '"' and not escaped:
            quoted = not quoted
            if quoted and between:
                words.append("")
                between = False
        elif char in " \t" and not (quoted or escaped):
            between = True
        elif char == "\\" and not escaped:
            escaped = True
        else:
            if between:
                words.append("")
                between = False
            words[-1] += char
            escaped = False
    return words


def leading_number(word: str) -> int:
    """Read a number as C's ``atoi`` does: 0 when there is none."""
    digits = word.strip()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-") if digits[:1] in "+-" else digits
    length = 0
    while length < len(digits) and digits[length].isascii() and digits[length].isdigit():
        length += 1
    return sign * int(digits[:length]) if length else 0


def no_such_command(command: str, words: list[str], commands: list[tuple[str, ...]]) -> str:
    """Say that there is no such command, with the help topic that the driver guesses."""
    topic: list[str] = []
    for word in words:
        topic.append(word)
        lowered = tuple(part.lower() for part in topic)
        if not any(known[: len(lowered)] == lowered for known in commands):
            break
    guess = " ".join(topic)
    return (
        f"No such command '{command}' (type 'core show help {guess}' for other possible commands)\n"
    )


def invalid_span(word: str, limit: int) -> str:
    """Say that a span's number is out of range."""
    return f"Invalid span '{word}'.  Should be a number from 1 to {limit}\n"


def no_gsm(span: int, command: str) -> str:
    """Say that nothing runs on a span."""
    return f"No GSM running on span {span}\nCommand '{command}' failed.\n"


@dataclass(frozen=True, slots=True)
class SpanView:
    """What one span shows at the moment."""

    span: int
    port: int
    truth: PortTruth
    sim: SimCard | None
    alarm: bool
    blocked: bool
    imei: str
    network: str | None
    network_status: str | None
    state: str
    last_event: str
    last_at: str


def status_words(view: SpanView, firmware: Firmware) -> str:
    """Write the words of a status; the last two are glued on most firmware (WIRE §5)."""
    truth = view.truth
    if not truth.power:
        condition = "Down"
    elif view.sim is None:
        condition = "Undetected SIM Card"
    elif truth.pin_error:
        # The device really shows the PIN: clients must hide it.
        condition = f"Pin ({view.sim.pin}) Error"
    elif view.blocked:
        condition = "Block"
    elif truth.registered:
        condition = "Up"
    elif truth.csq == 99:
        condition = "No Signal"
    else:
        condition = "Unregistered Network"
    words = ["Power on" if truth.power else "Power off"]
    words += ["Provisioned"] * firmware.provisioned
    words += ["In Alarm"] * view.alarm
    words += [condition, "Active" if truth.power else "Standby"]
    return ", ".join(words) + ("," if firmware.provisioned else ", ") + "Standard"


def spans_line(view: SpanView, firmware: Firmware) -> str:
    """Write one line of ``gsm show spans``."""
    return f"GSM span {view.span}: {status_words(view, firmware)}\n"


def detail(view: SpanView, firmware: Firmware) -> str:
    """Write ``gsm show span N``; the last line has no newline, the terminator is glued to it."""
    fields: list[tuple[str, object]] = [
        ("D-channel", 2 * view.port),
        ("Status", status_words(view, firmware)),
        ("Type", "CPE"),
        ("Manufacturer", firmware.manufacturer),
        ("Model Name", firmware.model),
        ("Model IMEI", view.imei),
    ]
    if firmware.cband:
        fields.append(("Model CBAND", " EGSM_MODE,ALL_BAND"))
    fields += [
        ("Revision", firmware.revision),
        ("Network Name", _network(view)),
        ("Network Status", _network_status(view)),
        ("Signal Quality (0,31)", view.truth.shown),
    ]
    if firmware.ber and view.truth.csq != 99:
        fields.append(("BER value (0,7)", min(7, max(0, (14 - view.truth.csq) // 2))))
    fields += [
        ("SIM IMSI", view.sim.imsi if view.sim else ""),
        ("SIM SMS Center Number", view.sim.operator.smsc if view.sim else ""),
        ("Send SMS Center Number", "Undefined"),
    ]
    if firmware.own_number:
        fields.append(("Own Number", view.sim.number if view.sim else ""))
    if firmware.statistics:
        fields += [("PDD", 5), ("ASR", 53), ("ACD", 16)]
    fields += [("Last event", view.last_event), ("State", view.state)]
    lines = "".join(f"{name}: {value}\n" for name, value in fields)
    return f"{lines}Last send AT: {view.last_at}\\r\\n"


def _network(view: SpanView) -> str:
    if view.network is not None:
        return view.network
    return view.sim.operator.shown if view.sim and view.truth.registered else ""


def _network_status(view: SpanView) -> str:
    if view.network_status is not None:
        return view.network_status
    if view.truth.registered:
        return "Registered (Roaming)" if view.truth.roaming else "Registered (Home network)"
    if view.sim is None or view.truth.pin_error or not view.truth.power:
        return "Unknown"
    return "Searching" if view.truth.csq == 99 else "Not registered"


def ussd_success(span: int, answer: UssdAnswer, firmware: Firmware) -> str:
    """Write the reply with an answer in it (WIRE §9)."""
    message = answer.message
    if firmware.misspelt_ussd:
        return (
            f"1:Recive USSD sucess on span {span}\n\tUSSD Responses:{answer.m}\n"
            f"\tUSSD Code:{answer.coding}\n\tUSSD Message:{message}\n"
        )
    return (
        f"1:Received USSD success on span: {span}\n\tUSSD Responses: {answer.m}\n"
        f"\tUSSD Code: {answer.coding}\n\tUSSD Len: {len(message)}\n\tUSSD Message: {message}\n"
    )


def ussd_trouble(span: int, trouble: str, firmware: Firmware) -> str:
    """Write the reply of a USSD that got no answer."""
    words = {
        "failed": "Send USSD failed",
        "timeout": "Send USSD timeout",
        "busy": "Sending USSD now",
    }
    suffix = " (110)" if firmware.timeout_errno and trouble == "timeout" else ""
    return f"0:{words[trouble]} on span {span}{suffix}\n"

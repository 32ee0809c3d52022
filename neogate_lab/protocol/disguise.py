"""Wire bytes made fit to be shared: numbers and texts become others of the same length and kind, so
that what is left is framed and parsed as before; never a file, and never what is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import unicodedata
from collections import deque
from collections.abc import Callable
from typing import Literal

from neogate_lab.errors import InvalidRequest
from neogate_lab.protocol import gsm

__all__ = ["LEVELS", "LONG_NUMBER", "NUMBER", "Conversation", "Disguise"]

LEVELS = ("numbers", "text", "all")

Kind = Literal["text", "number", "id", "field", "words", "state"]

# What a header's value may be without hiding anything; any other value is treated as its kind.
_PLAIN = rb"[A-Za-z][A-Za-z ,_/()-]*"
_SMALL = rb"-?\d{1,3}"
_CLOCK = rb"\s*\d{2,4}([-/.])\d{1,2}\1\d{1,2}[ T,]+\d{1,2}:\d{2}(:\d{2})?\s*"
_SAFE: dict[bytes, bytes] = {
    b"action": _PLAIN,
    b"event": _PLAIN,
    b"events": _PLAIN,
    b"eventmask": _PLAIN,
    b"gsmport": _SMALL,
    b"gsmspan": _SMALL,
    b"index": _SMALL,
    b"ping": _PLAIN,
    b"privilege": _PLAIN,
    b"recvtime": _CLOCK,
    b"response": _PLAIN,
    b"status": _SMALL,
    b"timestamp": rb"\d{9,11}\.\d{6}",
    b"total": _SMALL,
}
_HEADERS: dict[bytes, Kind] = {
    b"actionid": "id",
    b"content": "text",
    b"id": "id",
    b"message": "field",
    b"sender": "number",
    b"smsc": "number",
}
_FIELDS: dict[bytes, Kind] = {
    b"last send at": "text",
    b"model imei": "number",
    b"module imei": "number",
    b"imei": "number",
    b"sim imsi": "number",
    b"imsi": "number",
    b"own number": "number",
    b"state": "state",
    **dict.fromkeys(
        (b"manufacturer", b"model", b"model name", b"model cband", b"revision"), "words"
    ),
    **dict.fromkeys((b"network", b"network name", b"network status", b"last event"), "words"),
}

_LINE = re.compile(rb"([^:\n]*:[ \t]*)?([^\n]*?)(\r?\n?)", re.DOTALL)
_CREDENTIAL = re.compile(rb"(?i)\s*(?:username|secret|key)\s*:")
_SENTINEL = re.compile(rb"--END SMS EVENT--\s*")
_COMMAND_END = b"--END COMMAND--"
_SPAN_LINE = re.compile(rb"(?i)\s*GSM span\s+\d+\s*:")
_AT = re.compile(rb"(\s*AT[+^&$%*#]?[A-Za-z]*[=?]*)(.*?)((?:\\r|\\n|\s)*)", re.DOTALL)
_QUOTED = re.compile(rb"(?<![A-Za-z])['\"].*['\"]|(?<![A-Za-z])['\"].*")
_SHOWS = re.compile(rb"(?i)\s*(?:gsm|core)\s+show\b|\s*help\b")
_SENDS = re.compile(rb"(?i)(\s*gsm\s+send\s+(?:sms|ussd)\s+)(\S+)(\s*)(.*)", re.DOTALL)
_TEXT_AND_REST = re.compile(rb'(")(.*)("[^"]*)|()(\S*)(.*)', re.DOTALL)
_USSD_HEAD = re.compile(
    rb"(?i)\s*[01]\s*:[A-Za-z ]+?:?\s*\d{1,3}\s*(?:\(\d{1,3}\))?\s*"
    rb"|\s*USSD\s+(?:Responses|Code|Len)\s*:\s*\d{0,4}\s*"
)
_USSD_CODE = re.compile(rb"(?i)\s*USSD\s+Code\s*:\s*(\d{1,3})")
_USSD_MESSAGE = re.compile(rb"(?i)\s*USSD\s+Message\s*:[ ]?")
_ECHO = re.compile(rb"(?i)\s*(?:no such command|command|you don't have permissions to run) ?")
_REFUSAL = re.compile(
    rb"(?i)\s*(?:usage:|no gsm running on|invalid span|destination |sms message )"
)

_DIGITS = r"\+?\d(?:[\s().\-/]{0,2}\d)"
NUMBER = re.compile(_DIGITS + "{3,}")
"""What may be a number in a text that people wrote: four digits or more."""
LONG_NUMBER = re.compile(_DIGITS.replace(".", "") + "{6,}")
"""What may be one in words of a gateway: seven digits or more, and no version."""
_THREE, _RUN = re.compile(_DIGITS + "{2,}"), re.compile(r"\d{4,}")
_HEX = re.compile(r"[0-9A-F]+|[0-9a-f]+")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


class Disguise:
    """One level and one key: equal numbers become equal ones, so that what belongs together does.

    Parameters
    ----------
    level : {"numbers", "text", "all"}
        "numbers" replaces digits of phone numbers, IMSIs, IMEIs and ids, and runs of four digits
        or more in texts; "text" replaces letters and digits of SMS, USSD, their echoes and unknown
        headers; "all" does both. Lengths of words and punctuation stay.
    key : bytes
        Without it nobody can try numbers until one fits.

    Raises
    ------
    InvalidRequest
        There is no such level.
    """

    def __init__(self, level: str, key: bytes) -> None:
        if level not in LEVELS:
            raise InvalidRequest(f"redact is one of {', '.join(LEVELS)}, not {level!r}")
        self._numbers = level != "text"
        self._texts = level != "numbers"
        self._key = key

    def hide(self, raw: bytes, kind: Kind, dcs: int | None = None) -> bytes:
        """Return a value as long as `raw`, without what `kind` of value may give away."""
        if kind == "text" and self._texts:
            return _respelled(raw, _shape, dcs)
        if self._texts and kind in ("field", "words"):
            raw = _QUOTED.sub(lambda found: _respelled(found[0], _shape), raw)
        if not self._numbers:
            return raw
        if kind == "number":
            return _respelled(raw, self._number)
        runs = {"id": _RUN, "words": LONG_NUMBER, "state": _THREE}.get(kind, NUMBER)
        return _respelled(raw, lambda text: self._digits(text, runs), dcs)

    def _digits(self, text: str, runs: re.Pattern[str]) -> str:
        return runs.sub(lambda found: self._others(found[0]), text)

    def _number(self, text: str) -> str:
        """A sender such as "MegaFon" stays; all of any other is replaced."""
        if not any(map(str.isdecimal, text)):
            return text
        return "".join(each if each.isdecimal() else _stand_in(each) for each in self._others(text))

    def _others(self, number: str) -> str:
        """Other digits, one for one, of which the first is 0: no country's code begins with it."""
        said = "".join(str(unicodedata.digit(each)) for each in number if each.isdecimal())
        digest = hmac.new(self._key, said.encode(), hashlib.sha512).digest()
        drawn = itertools.chain("0", itertools.cycle(f"{int.from_bytes(digest, 'big'):0155d}"))
        return "".join(
            _in_script(each, int(next(drawn))) if each.isdecimal() else each for each in number
        )


class Conversation:
    """One session, in order: what is a reply to a query is told from what a stranger wrote.

    Parameters
    ----------
    disguise : Disguise
    """

    def __init__(self, disguise: Disguise) -> None:
        self._hide = disguise.hide
        self._asked: deque[tuple[bytes, bool]] = deque()  # ActionID, and whether it only looks

    def sent(self, action: bytes) -> bytes:
        """Disguise one action."""
        action_id, looks = b"", False
        lines = []
        for head, value, end in _lines(action):
            name = _name(head)
            if _CREDENTIAL.match(head):
                value = b"****"
            elif name == b"command":
                looks = bool(_SHOWS.match(value))
                value = self._command(value)
            else:
                if name == b"actionid":
                    action_id = value.strip()
                value = self._header(name, value)
            lines.append(head + value + end)
        if action.strip():
            self._asked.append((action_id, looks))
        return b"".join(lines)

    def received(self, packet: bytes) -> bytes:
        """Disguise one packet, or what is left of one."""
        first = next((name for h, _, _ in _lines(packet) if (name := _name(h)) in _FIRST), b"")
        if first == b"event":
            return self._event(packet)
        if first == b"response":
            return self._response(packet)
        if b":" not in packet:  # the banner
            return self._hide(packet, "field")
        return b"".join(self._headers(packet))

    def _headers(self, packet: bytes) -> list[bytes]:
        return [
            head + self._header(_name(head), value) + end for head, value, end in _lines(packet)
        ]

    def _header(self, name: bytes, value: bytes) -> bytes:
        safe = _SAFE.get(name)
        if safe is not None and re.fullmatch(safe, value.strip()):
            return value
        return self._hide(value, _HEADERS.get(name, "text"))

    def _event(self, packet: bytes) -> bytes:
        lines, seen = [], set()
        written = False
        for head, value, end in _lines(packet):
            name = _name(head)
            known = name in _SAFE or name in _HEADERS
            if _SENTINEL.fullmatch(head + value):
                lines.append(head + value + end)
            elif (written or not head) and (not known or name in seen):
                lines.append(self._hide(head + value, "text") + end)
            else:
                written = written or name == b"content"
                seen.add(name)
                lines.append(head + self._header(name, value) + end)
        return b"".join(lines)

    def _response(self, packet: bytes) -> bytes:
        looks = self._answered(packet)
        rest, lines = _Body(self._hide, looks), []
        follows = body = False
        for head, value, end in _lines(packet):
            name = _name(head)
            body = body or (follows and name not in (b"privilege", b"actionid"))
            if body:
                cut = (head + value).rfind(_COMMAND_END)
                said, tail = (
                    (head + value, b"") if cut < 0 else ((head + value)[:cut], _COMMAND_END)
                )
                lines.append(rest.line(said) + tail + end)
            elif name == b"output":
                lines.append(head + rest.line(value) + end)
            else:
                follows = follows or (name == b"response" and value.strip().lower() == b"follows")
                lines.append(head + self._header(name, value) + end)
        return b"".join(lines)

    def _answered(self, packet: bytes) -> bool:
        """Take the request that this answers; whether it only looked, so that nobody's words are
        in the answer.
        """
        action_id = b""
        for head, value, _ in _lines(packet):
            if _name(head) == b"actionid":
                action_id = value.strip()
                break
        for asked in self._asked:
            if not action_id or asked[0] == action_id:
                self._asked.remove(asked)
                return asked[1]
        return False

    def _command(self, command: bytes) -> bytes:
        found = _SENDS.fullmatch(command)
        if found is None:
            return self._hide(command, "words" if _SHOWS.match(command) else "text")
        verb, span, blank, rest = found.groups()
        to = b""
        if b"sms" in verb.lower():
            number = re.match(rb"(\S*)(\s*)(.*)", rest, re.DOTALL)
            assert number is not None
            to, rest = self._hide(number[1], "number") + number[2], number[3]
        parts = _TEXT_AND_REST.fullmatch(rest)
        assert parts is not None
        quote, text, after = parts.groups()[:3] if parts[1] else parts.groups()[3:]
        if len(after.split()) > 2 - (not quote):  # nobody can tell where such a text ends
            text, after = text + after, b""
        hidden = quote + self._hide(text, "text") + self._hide(after, "id")
        return verb + self._hide(span, "id") + blank + to + hidden


class _Body:
    """The lines of one command's output."""

    def __init__(self, hide: Callable[..., bytes], looks: bool) -> None:
        self._hide = hide
        self._looks = looks
        self._message = False
        self._dcs: int | None = None

    def line(self, line: bytes) -> bytes:
        # Where no ActionID tells, an answer may have been taken for that to another request.
        self._looks = self._looks and not (_USSD_HEAD.fullmatch(line) or _USSD_MESSAGE.match(line))
        return self._field(line) if self._looks else self._reply(line)

    def _field(self, line: bytes) -> bytes:
        """A line about the device."""
        if _SPAN_LINE.match(line):
            return self._hide(line, "words")
        head, colon, value = line.partition(b":")
        name = re.sub(rb"\s+", b" ", re.sub(rb"\(.*", b"", head)).strip().lower()
        kind = _FIELDS.get(name, "number" if b"center number" in name else "field")
        if name == b"last send at" and (at := _AT.fullmatch(value)):
            return head + colon + at[1] + self._hide(at[2], "text") + at[3]
        if not colon:
            return self._hide(line, "field")
        return self._hide(head, "field") + colon + self._hide(value, kind)

    def _reply(self, line: bytes) -> bytes:
        """A line of an answer that may hold what the network or the user wrote."""
        if self._message:
            return self._hide(line, "text", self._dcs)
        if found := _USSD_MESSAGE.match(line):
            self._message = True
            return found[0] + self._hide(line[found.end() :], "text", self._dcs)
        if _USSD_HEAD.fullmatch(line):
            if code := _USSD_CODE.match(line):
                self._dcs = int(code[1])
            return line
        if found := _ECHO.match(line):
            return found[0] + self._hide(line[found.end() :], "text")
        return self._hide(line, "field" if _REFUSAL.match(line) else "text")


_FIRST = (b"response", b"event")


def _lines(packet: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Name with its colon, value, and line end, of each line."""
    found = []
    for line in re.split(rb"(?<=\n)", packet):
        parts = _LINE.fullmatch(line)
        assert parts is not None
        found.append((parts[1] or b"", parts[2], parts[3]))
    return found


def _name(head: bytes) -> bytes:
    return head.rstrip(b": \t").strip().lower()


def _respelled(raw: bytes, change: Callable[[str], str], dcs: int | None = None) -> bytes:
    """Change a text that is written plain, percent-encoded, or as hex; it keeps its spelling.

    `change` must keep each character's length in UTF-8 and UTF-16.
    """
    words = raw.strip().decode("utf-8", "surrogateescape")
    if _HEX.fullmatch(words) and (read := gsm.decode_ussd(words, dcs)) != words:
        wide = 3 * len(read) < len(words) or len(words) < 4
        coding = "utf-16-be" if wide else "utf-8"
        whole = len(words) // 4 * 4 if wide else len(words)
        text = bytes.fromhex(words[:whole]).decode(coding, _ERRORS[coding])
        written = change(text).encode(coding, _ERRORS[coding]).hex() + "0" * (len(words) - whole)
        return raw.replace(raw.strip(), (written.upper() if words.isupper() else written).encode())
    escaped: list[bytes] = []  # how each byte was written, where not as itself
    data = bytearray()
    place = 0
    for found in _PERCENT.finditer(raw):
        plain = raw[place : found.start()]
        data += plain + bytes.fromhex(found[1].decode())
        escaped += [b""] * len(plain) + [found[1]]
        place = found.end()
    data += raw[place:]
    escaped += [b""] * (len(raw) - place)
    text = bytes(data).decode("utf-8", "surrogateescape")
    changed = change(text).encode("utf-8", "surrogateescape")
    return b"".join(
        _escaped(byte, as_it_was) if as_it_was else bytes([byte])
        for byte, as_it_was in zip(changed, escaped, strict=True)
    )


_ERRORS = {"utf-16-be": "surrogatepass", "utf-8": "surrogateescape"}


def _escaped(byte: int, before: bytes) -> bytes:
    return (b"%%%02x" if before.lower() == before and not before.isdigit() else b"%%%02X") % byte


def _in_script(digit: str, value: int) -> str:
    """The digit of the same script that means `value`."""
    return chr(ord(digit) - unicodedata.digit(digit) + value)


def _shape(text: str) -> str:
    """Every letter and digit replaced by one that stands for all of its kind."""
    return "".join(map(_stand_in, text))


def _stand_in(character: str) -> str:
    if character.isascii():
        if character.isalpha():
            return "X" if character.isupper() else "x"
        return "0" if character.isdigit() else character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return "\udcf8"
    if 0xD800 <= code <= 0xDFFF:
        return chr(0xD83D if code < 0xDC00 else 0xDE00)
    if character.isdecimal():
        return _in_script(character, 0)
    if unicodedata.category(character)[0] in "PZC" and code < 0x10000:
        return character
    if code < 0x800:
        name = unicodedata.name(character, "")
        return "х" if name.startswith("CYRILLIC") else "α" if name.startswith("GREEK") else "é"
    return "一" if code < 0x10000 else "😀"

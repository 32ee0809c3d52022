"""Verbs -> action text: validation, quoting, spelling; never bytes, answers or a connection."""

from __future__ import annotations

import math
import numbers
import operator
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import quote

from neogate_lab.errors import InvalidRequest
from neogate_lab.protocol.wire import Action, check_line

__all__ = [
    "MAX_ID",
    "MAX_LINE",
    "MAX_TEXT",
    "Spelling",
    "check_query",
    "cli",
    "events",
    "is_missing",
    "login",
    "logoff",
    "ping",
    "send_sms",
    "send_ussd",
    "show_span",
    "show_spans",
    "ussd_reply",
]

MAX_LINE = 1024
"""Most characters of one header line (WIRE §2); an argument, since firmware may allow more."""
MAX_TEXT = 1024
"""Most bytes of an SMS text in UTF-8, before percent-encoding (WIRE §7)."""
MAX_ID = 64
"""Most characters of an SMS id; the driver takes many more, but nobody needs them (WIRE §7)."""

Spelling = Literal["gsm show span", "gsm show"]

_NUMBER = re.compile(r"\+?[0-9]+")
_FLOAT = re.compile(r"\+?[0-9]+(?:\.[0-9]*(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")
_ID = re.compile(r"[A-Za-z0-9_.-]+")
_USSD_CODE = re.compile(r"[0-9*#+]+")
_LONGEST_TIMEOUT = 3600
_BECAME_FLOAT = (
    "the number has a decimal point or exponent: a spreadsheet or read_csv turned it into a float. "
    "Read that column as text (dtype=str)"
)
_FORBIDDEN_QUERIES = frozenset({("gsm", "send"), ("gsm", "power")})


def login(username: str, secret: str, events: bool = True) -> Action:
    """Log in (WIRE §1); with `events` False the session asks for no events.

    Raises
    ------
    InvalidRequest
        The name is empty, or either holds a line break. Neither is shown.
    """
    if not username:
        raise InvalidRequest("the user name is empty: give the API user that the gateway knows")
    fields = [
        ("Username", check_line(username, "the user name")),
        ("Secret", check_line(secret, "the password")),
    ]
    if not events:
        fields.append(("Events", "off"))
    return Action("Login", tuple(fields))


def ping() -> Action:
    """Ask for a sign of life; any answer is one (WIRE §1)."""
    return Action("Ping")


def logoff() -> Action:
    """Say goodbye; the gateway closes the connection (WIRE §1)."""
    return Action("Logoff")


def events() -> Action:
    """Switch this session's events on (WIRE §1)."""
    return Action("Events", (("EventMask", "on"),))


def cli(command: str, max_line: int = MAX_LINE) -> Action:
    """Wrap a CLI line, as the other verbs here return it, in the gateway's SMSCommand (WIRE §2).

    Raises
    ------
    InvalidRequest
        The command is empty, holds a line break, or its header line is over `max_line` characters.
    """
    check_line(command, "the command")
    if not command.strip():
        raise InvalidRequest("the command is empty")
    length = len(f"command: {command}")
    if length > max_line:
        raise InvalidRequest(
            f"the command's line has {length} characters, and the gateway takes {max_line}"
        )
    return Action("SMSCommand", (("command", command),))


def show_spans() -> str:
    """Ask for the status of all spans (WIRE §5)."""
    return "gsm show spans"


def show_span(span: int, spelling: Spelling = "gsm show span") -> str:
    """Ask for one span's detail, in the spelling that this firmware knows (WIRE §6)."""
    return f"{spelling} {_span(span)}"


def send_sms(span: int, to: str, text: str, id: str, max_line: int = MAX_LINE) -> str:
    """Send an SMS; its outcome comes later, as an event with this `id` (WIRE §7).

    Parameters
    ----------
    to : str
        Digits with or without a leading ``+``, passed on as given: some operators refuse the
        one form, some the other.
    text : str
        At most 1024 bytes in UTF-8; percent-encoded here.
    id : str
        One word of letters, digits, ``_``, ``.``, ``-``; at most 64.
    max_line : int
        Most characters of the header line that carries the command.

    Raises
    ------
    InvalidRequest
        Any of these is not so. Never shows the number or the text.

    Examples
    --------
    >>> send_sms(2, "+390000000001", "Hi, you", "a1")
    'gsm send sms 2 +390000000001 "Hi%2C%20you" a1'
    """
    _number(to)
    _id(id)
    encoded = _encode_text(text)
    command = f'gsm send sms {_span(span)} {to} "{encoded}" {id}'
    length = len(f"command: {command}")
    if length > max_line:
        raise InvalidRequest(
            f"the text ({len(text)} characters) is too long once encoded: its line has {length} "
            f"characters, and the gateway takes {max_line}. Shorten it by {length - max_line} "
            "encoded characters: a Latin letter or digit costs one, a blank three, "
            "each Cyrillic letter six, a Chinese character nine, an emoji twelve"
        )
    return command


def send_ussd(span: int, code: str, timeout: float = 30) -> str:
    """Send a USSD code and wait `timeout` seconds for the network's answer (WIRE §9).

    Raises
    ------
    InvalidRequest
        `code` is not made of digits, ``*``, ``#``, ``+``; or `timeout` is no positive time.

    Examples
    --------
    >>> send_ussd(2, "*100#")
    'gsm send ussd 2 "*100#" 30'
    """
    if not isinstance(code, str) or not _USSD_CODE.fullmatch(code):
        raise InvalidRequest(
            'a USSD code is made of the digits and of * # + only, for example "*100#"; '
            "answer a menu's question in a USSD session"
        )
    return f'gsm send ussd {_span(span)} "{code}" {_seconds(timeout)}'


def ussd_reply(span: int, answer: str, timeout: float = 30) -> str:
    """Answer an open USSD menu; `answer` goes to the network as it is (WIRE §9).

    Raises
    ------
    InvalidRequest
        `answer` is empty, has several lines or control characters, or holds a double quote or a
        backslash: the gateway's parser would end the text at the one and eat the other.
    """
    if not isinstance(answer, str) or not answer:
        raise InvalidRequest("the answer to a USSD menu is empty: give it as text")
    check_line(answer, "the answer")
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in answer):
        raise InvalidRequest("the answer to a USSD menu is one line without control characters")
    if '"' in answer or "\\" in answer:
        raise InvalidRequest(
            "the answer to a USSD menu can't hold a double quote or a backslash: the gateway's "
            "parser would end it at the one and eat the other"
        )
    return f'gsm send ussd {_span(span)} "{answer}" {_seconds(timeout)}'


def check_query(text: str) -> str:
    """Return `text` if it may go through the escape hatch for queries.

    The words are compared as the gateway will see them: in any case, after its own quoting and
    escaping (WIRE §7).

    Raises
    ------
    InvalidRequest
        It would send or switch something (``gsm send``, ``gsm power``), is empty, or has several
        lines.
    """
    check_line(text, "the command")
    # Blanks inside quotes part words here too: stricter than the gateway, and never laxer.
    words = " ".join(_words(text)).lower().split()[:2]
    if not words:
        raise InvalidRequest("the command is empty")
    if tuple(words) in _FORBIDDEN_QUERIES:
        raise InvalidRequest(
            f"'{' '.join(words)}' is no query: send with send_sms() or ussd(), which record what "
            "was sent; a port's power is switched on the gateway's web page"
        )
    return text


def _words(line: str) -> list[str]:
    """Split as Asterisk's CLI does: blanks and tabs part, quotes toggle, a backslash escapes."""
    words: list[str] = []
    inside = quoted = escaped = False
    for character in line:
        if character == '"' and not escaped:
            quoted = not quoted
            if quoted and not inside:
                words.append("")
                inside = True
        elif character in " \t" and not (quoted or escaped):
            inside = False
        elif character == "\\" and not escaped:
            escaped = True
        else:
            if not inside:
                words.append("")
                inside = True
            words[-1] += character
            escaped = False
    return words


def _span(span: int) -> int:
    try:
        number = -1 if isinstance(span, bool) else operator.index(span)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidRequest("a span is a whole number from 0 up")
    return number


def _seconds(timeout: float) -> int:
    if not isinstance(timeout, numbers.Real) or not 0 < timeout <= _LONGEST_TIMEOUT:
        raise InvalidRequest(
            f"the USSD timeout is a number of seconds over 0 and at most {_LONGEST_TIMEOUT}"
        )
    return math.ceil(timeout)


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA, which can't be asked for its truth; nor can arrays."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True
    except ValueError:
        return False


def _number(to: str) -> None:
    if is_missing(to):
        raise InvalidRequest("the number is missing")
    if isinstance(to, numbers.Real) and not isinstance(to, numbers.Integral):
        raise InvalidRequest(_BECAME_FLOAT)
    if not isinstance(to, str):
        why = "a number type drops the + and leading zeros"
        if isinstance(to, Iterable):
            why = "one number; send_many() takes several"
        raise InvalidRequest(
            f"the number is of type {type(to).__name__}: give it as text, in quotes: {why}"
        )
    if not to:
        raise InvalidRequest("the number is empty")
    if _NUMBER.fullmatch(to):
        return
    if _FLOAT.fullmatch(to.strip()):
        raise InvalidRequest(_BECAME_FLOAT)
    if _USSD_CODE.fullmatch(to) and re.search(r"[*#]", to):
        raise InvalidRequest("the number holds * or #: if it is a USSD code, use ussd()")
    raise InvalidRequest(
        "the number may hold digits only, with or without a leading +: no blanks, dashes, "
        "brackets, letters or line breaks"
    )


def _id(id: str) -> None:
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise InvalidRequest("an SMS id is one word of letters, digits, '_', '.' and '-'")
    if len(id) > MAX_ID:
        raise InvalidRequest(f"the SMS id has {len(id)} characters; at most {MAX_ID} are allowed")


def _encode_text(text: str) -> str:
    if is_missing(text):
        raise InvalidRequest("the text is missing")
    if not isinstance(text, str):
        raise InvalidRequest(f"the text is of type {type(text).__name__}: write it in quotes")
    if not text:
        raise InvalidRequest("the text is empty")
    if "\0" in text:
        raise InvalidRequest("the text holds a NUL character, at which the gateway would cut it")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(
            "the text holds half a surrogate pair, which is no character: was an emoji cut?"
        ) from None
    if length > MAX_TEXT:
        raise InvalidRequest(
            f"the text has {length} bytes in UTF-8, and the gateway takes {MAX_TEXT} "
            "(a Cyrillic letter has two bytes, and costs six characters once encoded)"
        )
    return quote(text, safe="")

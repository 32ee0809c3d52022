"""Records the raw traffic of a gateway as JSON lines, with credentials and PINs masked."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, quote_plus

from neogate_lab.errors import StoreError

__all__ = ["Tap", "WireLog"]

logger = logging.getLogger(__name__)

Tap = Callable[[str, bytes], None]
"""Takes "<" or ">", and bytes of one session."""

_MASK = b"****"
_CREDENTIALS = re.compile(rb"(?im)^([ \t]*(?:secret|username|key)[ \t]*:[ \t]*)[^\r\n]*")
# "Pin (1234) Error" (WIRE §5), "SIM PIN: 1234", `AT+CPIN="1234"`; also when percent-encoded,
# and when the session's end cut them in two.
_IN_BRACKETS = re.compile(rb"(?i)(\bp(?:in|uk)[12]?\s*\()[^()\r\n]*(?=\)|\Z)")
_DIGITS = re.compile(
    rb"(?i)(p(?:in|uk)[12]?(?:[^0-9a-z\r\n]|%(?:20|22|28|2[cC]|3[aAdD])|is|code){1,10})"
    rb"(?:\d{4,8}(?!\d)|\d{1,3}\Z)"
)
_SHORT = 4  # a shorter password is masked only as a word, lest nothing else be left of the traffic


class WireLog:
    """Appends one line for each packet received and each action sent.

    A line holds ``time`` (ISO 8601, UTC), ``session`` (counted from 1), ``direction`` (``<`` from
    the gateway, ``>`` to it) and ``data`` (UTF-8; bytes that are not stand as lone surrogates,
    PEP 383). What a session's end cut off is a line too, though it is no packet.

    Parameters
    ----------
    path : Path
        Made with mode 0600; appended to if it exists.
    secrets : sequence of str
        Never written, in whatever packet and spelling they come; such as the password.

    Raises
    ------
    StoreError
        It can't be opened.
    """

    def __init__(self, path: Path, secrets: tuple[str, ...] = ()) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise StoreError(f"the wire log {path} can't be written: {error.strerror}") from error
        self._path = path
        self._file = os.fdopen(handle, "a", encoding="ascii", buffering=1)
        self._broken = False
        spellings = sorted({each for secret in secrets for each in _spellings(secret)}, key=len)
        self._secrets = (
            re.compile(b"|".join(map(_wanted, reversed(spellings)))) if spellings else None
        )
        self._cut = tuple({each[:end] for each in spellings for end in range(_SHORT, len(each))})
        self._sessions = itertools.count(1)

    def session(self, now: Callable[[], datetime]) -> Tap:
        """Begin a session; what it gets is recorded under its number and the present time."""
        number = next(self._sessions)

        def tap(direction: str, data: bytes) -> None:
            self.write(now(), direction, data, number)

        return tap

    def write(self, time: datetime, direction: str, data: bytes, session: int = 1) -> None:
        """Append one line; a full disk ends the log, not the session."""
        if self._broken or self._file.closed:
            return
        line = {
            "time": time.isoformat(),
            "session": session,
            "direction": direction,
            "data": self._masked(data).decode("utf-8", "surrogateescape"),
        }
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            self._broken = True
            logger.error("the wire log %s ends here: %s", self._path, error.strerror)

    def _masked(self, data: bytes) -> bytes:
        data = _CREDENTIALS.sub(rb"\1" + _MASK, data)
        if self._secrets is not None:
            data = self._secrets.sub(_MASK, data)
            if data.endswith(self._cut):  # by the session's end
                longest = max(len(cut) for cut in self._cut if data.endswith(cut))
                data = data[:-longest] + _MASK
        return _DIGITS.sub(rb"\1" + _MASK, _IN_BRACKETS.sub(rb"\1" + _MASK, data))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what a full disk refused was told already
            self._file.close()


def _spellings(secret: str) -> Iterator[bytes]:
    """A secret as it is, percent-encoded, in JSON, and in upper or lower hex, as UTF-8 or UCS-2."""
    if not secret:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    yield raw
    for text in (quote(raw), quote(raw, safe=""), quote_plus(raw), quote_from_bytes(raw, "~!*'()")):
        yield text.encode()
        yield re.sub("%..", lambda found: found[0].lower(), text).encode()
    yield json.dumps(secret)[1:-1].encode()
    for code in (raw, secret.encode("utf-16-be", "surrogatepass")):
        yield code.hex().encode()
        yield code.hex().upper().encode()


def _wanted(spelling: bytes) -> bytes:
    pattern = re.escape(spelling)
    return rb"(?<!\w)" + pattern + rb"(?!\w)" if len(spelling) < _SHORT else pattern

"""What `redact=` hides, column by column; never a file and never a query."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import Column, Table
from neogate_lab.protocol.disguise import LEVELS, LONG_NUMBER, NUMBER

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ACTIONS", "LEVELS", "Redaction"]

# (column, "table.column" where they differ): what "numbers" and what "text" do; "all" does the
# stricter. Columns that are numbers, flags or times are kept: they identify nobody.
#   keep    as it is
#   words   long digit runs (phone numbers, IMSIs) and PINs become tokens; network codes stay
#   mask    every run of four digits or more becomes a token
#           (both leave dates and times such as "2026-11-20 08:00:00" as they are)
#   json    mask, inside the strings of a JSON object
#   number  a token if it holds a digit; a sender such as "MegaFon" stays
#   clock   kept if it is a date and time, else mask
#   hash    a token, whatever it is
#   drop    ""
ACTIONS: dict[str, tuple[str, str]] = {
    "gateway": ("words", "keep"),  # "all" hashes it: an address of the user's own network
    "error": ("words", "words"),
    "outbox.error": ("mask", "mask"),
    "rssi_bound": ("words", "keep"),
    "network": ("words", "keep"),
    "network_status": ("words", "keep"),
    "state": ("words", "keep"),
    "last_event": ("words", "keep"),
    "mode": ("words", "keep"),
    "status": ("words", "words"),
    "label": ("words", "keep"),
    "survey": ("words", "keep"),
    "name": ("words", "keep"),
    "ports": ("mask", "keep"),
    "reason": ("mask", "mask"),
    "event": ("words", "keep"),
    "manufacturer": ("words", "keep"),
    "model": ("words", "keep"),
    "revision": ("words", "keep"),
    "operator": ("words", "keep"),
    "country": ("words", "keep"),
    "imei": ("hash", "keep"),
    "imsi": ("hash", "keep"),
    "smsc": ("number", "keep"),
    "extra": ("json", "drop"),
    "sender": ("number", "keep"),
    "to": ("number", "keep"),
    "text": ("mask", "hash"),
    "content": ("drop", "drop"),
    "raw": ("drop", "drop"),
    "code": ("mask", "hash"),
    "outcome": ("words", "keep"),
    "encoding": ("words", "keep"),
    "gateway_time": ("clock", "keep"),
    "recvtime": ("clock", "keep"),
    "reference": ("number", "keep"),
    "id": ("hash", "keep"),
    "key": ("hash", "hash"),
    "owner": ("hash", "keep"),
    "currency": ("mask", "keep"),
}

_ORDER = ("keep", "clock", "words", "mask", "json", "number", "hash", "drop")
_PIN = re.compile(r"(?i)(\bp(?:in|uk)\d?\W{0,4})(\d{4,8})")
_CLOCK = re.compile(r"\s*\d{2,4}([-/.])\d{1,2}\1\d{1,2}[ T,]+\d{1,2}:\d{2}(:\d{2})?\s*", re.ASCII)
_NUMBER = re.compile(r"[+\d][\d\s().\-/]*")
_MOMENT = re.compile(
    r"20\d\d-[01]\d-[0-3]\d(?:[T ][0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?:Z|\+\d\d:\d\d)?)?",
    re.ASCII,
)
_NUMBER_BEFORE = re.compile(r"(?i)(?:[\d+]|p(?:in|uk)\d?\W)[\s().\-/]*$")
_NUMBER_AFTER = re.compile(r"[\s().\-/:]*\d")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Redaction:
    """One level of redaction with one key: equal cells give equal tokens, so tables still join.

    Parameters
    ----------
    level : {"numbers", "text", "all"}
        "numbers" hides phone numbers, IMSIs, IMEIs, PINs and ids wherever they stand; "text" hides
        what was written; "all" hides both, and the gateway's name.
    key : bytes
        Without it nobody can try numbers until a token fits.

    Raises
    ------
    InvalidRequest
        There is no such level.
    """

    def __init__(self, level: str, key: bytes) -> None:
        if level not in LEVELS:
            raise InvalidRequest(f"redact is None or one of {', '.join(LEVELS)}, not {level!r}")
        self.level = level
        self._key = key

    def action(self, table: Table, column: Column) -> str:
        """Name of what happens to a column."""
        if column.kind not in ("text", "cat"):
            return "keep"
        both = ACTIONS.get(f"{table.name}.{column.name}") or ACTIONS[column.name]
        if self.level == "all":
            return "hash" if column.name == "gateway" else max(both, key=_ORDER.index)
        return both[LEVELS.index(self.level)]

    def batch(self, table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with its text redacted."""
        for place, column in enumerate(table.columns):
            action = self.action(table, column)
            if action != "keep":
                batch = batch.set_column(
                    place, batch.schema.field(place), self._array(batch.column(place), action)
                )
        return batch

    def cell(self, text: str, action: str) -> str:
        """Return one cell as `action` leaves it."""
        return _CELLS[action](self, text)

    def _array(self, array: pa.Array, action: str) -> pa.Array:
        import pyarrow as pa

        coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        words = [self.cell(word, action) for word in coded.dictionary.to_pylist()]
        plain = pa.array(words, pa.string()).take(coded.indices)
        return plain.dictionary_encode() if pa.types.is_dictionary(array.type) else plain

    def _token(self, text: str) -> str:
        """Twelve letters, 56 bits; letters only, so that no token looks like a number."""
        if _NUMBER.fullmatch(text):  # +39 012-3 and +390123 are one subscriber
            text = "".join(character for character in text if character.isdigit())
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        number = int.from_bytes(digest[:16], "big")
        letters = []
        for _ in range(12):
            number, letter = divmod(number, 26)
            letters.append(_LETTERS[letter])
        return f"~{''.join(letters)}"

    def _hash(self, text: str) -> str:
        return self._token(text) if text else ""

    def _number(self, text: str) -> str:
        return self._hash(text) if any(map(str.isdigit, text)) else text

    def _mask(self, text: str) -> str:
        return _but_moments(text, self._numbers)

    def _numbers(self, text: str) -> str:
        return NUMBER.sub(lambda found: self._token(found[0]), text)

    def _words(self, text: str) -> str:
        return _but_moments(text, self._long_numbers)

    def _long_numbers(self, text: str) -> str:
        text = _PIN.sub(lambda found: found[1] + self._token(found[2]), text)
        return LONG_NUMBER.sub(lambda found: self._token(found[0]), text)

    def _clock(self, text: str) -> str:
        return text if _CLOCK.fullmatch(text) else self._mask(text)

    def _json(self, text: str) -> str:
        try:
            return json.dumps(self._value(json.loads(text)), ensure_ascii=False) if text else ""
        except ValueError:
            return ""  # what can't be read can't be cleaned

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._mask(name): self._value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        return value if value is None or isinstance(value, bool) else self._mask(str(value))


def _but_moments(text: str, hide: Callable[[str], str]) -> str:
    """Hide in all of a text but its dates and times; one next to more digits may be a number."""
    parts, place = [], 0
    for found in _MOMENT.finditer(text):
        before, after = text[place : found.start()], text[found.end() :]
        if _NUMBER_BEFORE.search(before) or _NUMBER_AFTER.match(after) or not _is_moment(found[0]):
            continue
        parts += [hide(before), found[0]]
        place = found.end()
    return "".join([*parts, hide(text[place:])])


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


_CELLS: dict[str, Callable[[Redaction, str], str]] = {
    "keep": lambda redaction, text: text,
    "words": Redaction._words,
    "mask": Redaction._mask,
    "json": Redaction._json,
    "clock": Redaction._clock,
    "number": Redaction._number,
    "hash": Redaction._hash,
    "drop": lambda redaction, text: "",
}

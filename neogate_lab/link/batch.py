"""A batch of SMS: checked as a whole, keyed, spread over the ports; it never sends or waits."""

from __future__ import annotations

import hashlib
import json
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.protocol.commands import is_missing
from neogate_lab.words import ranges

__all__ = ["AUTO", "NEEDED", "READ", "Draft", "bad_rows", "check_names", "drafts", "spread"]

AUTO = "auto"
"""In place of a port: whichever is up and has the least to do."""

NEEDED = ("to", "text", "port")
READ = (*NEEDED, "key")
"""What a row must say, and all that is read of it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked row of a batch.

    Attributes
    ----------
    port : int or None
        None is any that is up.
    derived : bool
        Whether the key was made here, of what the row says.
    """

    to: str
    text: str
    port: int | None
    key: str
    derived: bool

    @property
    def any_port(self) -> bool:
        """Whether the key stands for its SMS whatever port took that."""
        return self.derived or self.port is None


def drafts(
    messages: Sequence[Mapping[str, Any]],
    check: Callable[[str, str, int | None], None],
    batch: str,
) -> list[Draft]:
    """Check every row of a batch, and give each a key.

    A row without a key gets one of `batch`, its number, its text, and how often the same came
    before in this batch; not of its port, so that a second try on other ports repeats nothing.

    Parameters
    ----------
    messages : sequence of mapping
        ``to``, ``text``, ``port`` (a number or "auto") and, optionally, ``key``.
    check : callable
        Raises `InvalidRequest` for a number, text and port (None: any) that can't be used.

    Raises
    ------
    InvalidRequest
        Naming every row that can't be used, and why.
    """
    if not isinstance(batch, str):
        raise InvalidRequest(f"batch is a name, as text, not {type(batch).__name__}")
    made: list[Draft] = []
    wrong: dict[int, str] = {}
    seen: Counter[tuple[str, str]] = Counter()
    keys: dict[str, int] = {}
    for number, message in enumerate(messages):
        try:
            to, text, port, key = _read(message)
            check(to, text, port)
            if key in keys:
                raise InvalidRequest(f"its key is used by row {keys[key]} already")
        except InvalidRequest as error:
            wrong[number] = str(error)
            continue
        derived = not key
        if derived:
            seen[to, text] += 1
            key = _derived(batch, to, text, seen[to, text])
        keys[key] = number
        made.append(Draft(to, text, port, key, derived))
    if wrong:
        raise bad_rows(wrong)
    return made


def check_names(names: Iterable[Any]) -> None:
    """Raise `InvalidRequest` for a name that is nearly one of a batch's: it would go unread."""
    alike = [
        name
        for name in names
        if isinstance(name, str) and name not in READ and name.strip().casefold() in READ
    ]
    if alike:
        raise InvalidRequest(
            f"{', '.join(map(repr, alike))} would not be read: a batch's names are to, text, port "
            "and key, in small letters"
        )


def bad_rows(wrong: Mapping[int, str]) -> InvalidRequest:
    """The one error for all bad rows: their numbers by reason, never what they hold."""
    reasons: dict[str, list[int]] = {}
    for number, reason in sorted(wrong.items()):
        reasons.setdefault(reason, []).append(number)
    lines = "\n".join(f"  row {ranges(rows)}: {reason}" for reason, rows in reasons.items())
    return InvalidRequest(
        f"{len(wrong)} of the rows can't be sent, so nothing was (rows count from 0):\n{lines}"
    )


def spread(rows: Sequence[Draft], up: Sequence[int], waiting: Mapping[int, int]) -> list[int]:
    """A port for each row: its own, else the one of `up` that has the least to send.

    Parameters
    ----------
    up : sequence of int
        Ports that can send.
    waiting : mapping of int to int
        How many SMS each port has to send already.
    """
    load = Counter(waiting)
    load.update(row.port for row in rows if row.port is not None)
    chosen = []
    for row in rows:
        port = row.port
        if port is None:
            port = min(up, key=lambda number: (load[number], number))
            load[port] += 1
        chosen.append(port)
    return chosen


def _read(message: Mapping[str, Any]) -> tuple[str, str, int | None, str]:
    if not isinstance(message, Mapping):
        raise InvalidRequest(f"it is of type {type(message).__name__}: give a mapping")
    check_names(message)
    missing = [name for name in NEEDED if is_missing(message.get(name))]
    if missing:
        hint = ': give a number, or "auto"' if missing == ["port"] else ""
        raise InvalidRequest(f"{' and '.join(missing)} missing{hint}")
    key = message.get("key")
    if is_missing(key):
        key = ""
    if not isinstance(key, str):
        raise InvalidRequest(f"its key is of type {type(key).__name__}: give it as text")
    return message["to"], message["text"], _port(message["port"]), key


def _port(port: Any) -> int | None:
    """A port as tables write it: 1, 1.0 where others are missing, "1", or "auto"."""
    if port == AUTO:
        return None
    if isinstance(port, str) and port.isascii() and port.isdigit():
        return int(port)
    if isinstance(port, numbers.Real) and not isinstance(port, bool) and float(port).is_integer():
        return int(float(port))
    raise InvalidRequest(f'port must be a whole number from 1, or "{AUTO}"')


def _derived(batch: str, to: str, text: str, times: int) -> str:
    content = json.dumps([batch, to, text, times]).encode("utf-8", "surrogatepass")
    return f"batch-{hashlib.sha256(content).hexdigest()[:40]}"

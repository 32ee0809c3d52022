"""SMS text as networks and gateways cut and write it; never who receives it.

The rules stand here once more, on purpose apart from the client's: each can catch the other's slip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import quote, unquote_to_bytes

from neogate_lab.errors import InvalidRequest

Encoding = Literal["percent", "plain", "ucs2", "latin1"]
ENCODINGS = get_args(Encoding)

# 3GPP TS 23.038 §6.2.1 and §6.2.1.1; the escape itself stands for no character.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_SAFE = "-._~"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a received SMS as it goes into an event."""

    port: int
    sender: str = field(repr=False)
    content: str = field(repr=False)
    recvtime: str = ""
    reference: str = ""
    index: int = 1
    total: int = 1
    smsc: str = ""


def is_gsm(text: str) -> bool:
    """Whether the GSM 7-bit alphabet and its extension hold all of `text`."""
    return all(char in _BASIC or char in _EXTENDED for char in text)


def split(text: str, *, split_surrogates: bool = False) -> list[str]:
    """Cut `text` into segments: 160 septets or 70 UTF-16 units alone, 153 or 67 when concatenated.

    `split_surrogates` does what careless senders do: it cuts an emoji between its two UTF-16 units.
    """
    if is_gsm(text):
        sizes = [2 if char in _EXTENDED else 1 for char in text]
        return _cut(list(text), sizes, 160, 153)
    units = text.encode("utf-16-be", "surrogatepass")
    if split_surrogates:
        singles = [
            units[i : i + 2].decode("utf-16-be", "surrogatepass") for i in range(0, len(units), 2)
        ]
        return _cut(singles, [1] * len(singles), 70, 67)
    return _cut(list(text), [2 if ord(char) > 0xFFFF else 1 for char in text], 70, 67)


def _cut(items: list[str], sizes: list[int], alone: int, each: int) -> list[str]:
    if sum(sizes) <= alone:
        return ["".join(items)]
    parts, used = [""], 0
    for item, size in zip(items, sizes, strict=True):
        if used + size > each:
            parts.append("")
            used = 0
        parts[-1] += item
        used += size
    return parts


def encode_content(text: str, encoding: str, *, unicode: bool | None = None) -> str:
    """Write one part's text as ``Content`` (WIRE §8).

    Parameters
    ----------
    text : str
        The part; lone surrogates are allowed for `percent` and `ucs2`.
    encoding : {"percent", "plain", "ucs2", "latin1"}
        Percent-encoded UTF-8 with ``+`` for a blank and a BOM before Unicode text; the text as it
        is; UCS-2 as hex; or percent-encoded Latin-1.
    unicode : bool, optional
        Whether the whole SMS is Unicode, so that this part gets a BOM; by default as `text` needs.
    """
    if encoding == "percent":
        unicode = not is_gsm(text) if unicode is None else unicode
        raw = ("\ufeff" if unicode else "").encode() + text.encode("utf-8", "surrogatepass")
        return quote(raw, safe=_SAFE + " ").replace(" ", "+")
    if encoding == "plain":
        return text
    if encoding == "ucs2":
        return text.encode("utf-16-be", "surrogatepass").hex().upper()
    if encoding == "latin1":
        try:
            return quote(text.encode("latin-1"), safe=_SAFE + " ").replace(" ", "+")
        except UnicodeEncodeError:
            raise InvalidRequest(
                "encoding 'latin1' can't hold this text: it is not Latin-1"
            ) from None
    raise InvalidRequest(f"encoding {encoding!r} is not known: choose from {', '.join(ENCODINGS)}")


def decode_command_text(raw: str, *, plus_is_blank: bool) -> bytes:
    """Undo the percent-encoding of a text to send, as the gateway does (WIRE §7)."""
    if plus_is_blank:
        raw = raw.replace("+", " ")
    return unquote_to_bytes(raw.encode("utf-8", "surrogateescape"))


def same_number(a: str, b: str) -> bool:
    """Whether two spellings, with or without ``+`` or a national prefix, call the same line."""
    digits_a, digits_b = re.sub(r"\D", "", a), re.sub(r"\D", "", b)
    return min(len(digits_a), len(digits_b)) >= 9 and digits_a[-9:] == digits_b[-9:]

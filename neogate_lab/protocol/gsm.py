"""GSM's own units: alphabets, data coding, segments, CSQ, BER; never packets or records."""

from __future__ import annotations

import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

import smsutil

__all__ = [
    "Alphabet",
    "PartEncoding",
    "RssiBound",
    "Segments",
    "alphabet_of",
    "ber_of",
    "csq_to_dbm",
    "decode_bytes",
    "decode_part",
    "decode_ussd",
    "join_parts",
    "segment",
    "signal_of",
]

RssiBound = Literal["", "<=", ">="]
Alphabet = Literal["gsm7", "8bit", "ucs2"]
PartEncoding = Literal["percent", "plain", "ucs2-hex", "latin-1"]

_HEX = re.compile(r"[0-9A-F]+|[0-9a-f]+")
_PERCENT = re.compile(rb"%(?=[0-9A-Fa-f]{2})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")

_BOM = "\ufeff"
# Scripts that texts on these networks are written in, by the first word of a character's name.
_SCRIPT = re.compile(
    "LATIN|GREEK|CYRILLIC|ARMENIAN|GEORGIAN|HEBREW|ARABIC|DEVANAGARI|BENGALI|GURMUKHI|GUJARATI"
    "|ORIYA|TAMIL|TELUGU|KANNADA|MALAYALAM|SINHALA|THAI|LAO|MYANMAR|KHMER|ETHIOPIC|HANGUL"
    "|CJK|HIRAGANA|KATAKANA|HALFWIDTH|FULLWIDTH|IDEOGRAPHIC"
)
_IDEOGRAPHIC = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH", "IDEOGRAPHIC"})
_RARE_LATIN = re.compile(
    "[\u0180-\u019f\u01a2-\u01ae\u01b1-\u0217\u021c-\u024f\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f]"
)
# Marks that such texts hold besides: punctuation, currencies, numero, arrows, emoji, joiners.
_MARKS = re.compile(
    "[\u02bb-\u02bd\u0300-\u036f\u00a0-\u00bf\u00d7\u00f7\u200b-\u200f\u2010-\u203a\u20a0-\u20c0\u2116\u2122\u2190-\u2193"
    "\u25a0-\u25cf\u2600-\u27bf\u3000-\u301f\ufe0f\ufeff\U0001f000-\U0001faff]"
)
# The frequent characters of each national charset, as opposed to all that a random number can hit.
_FREQUENT = (
    ("gb2312", b"\xb0\xa1", b"\xd7\xf9"),
    ("big5", b"\xa4\x40", b"\xc6\x7e"),
    ("shift_jis", b"\x82\x9f", b"\x98\x72"),
    ("euc_kr", b"\xb0\xa1", b"\xc8\xfe"),
)


def signal_of(csq: int | None) -> int | None:
    """Return CSQ if it is a measurement, 0 to 31; -1, 99 and all else are unknown (WIRE §6)."""
    return csq if csq is not None and 0 <= csq <= 31 else None


def csq_to_dbm(csq: int | None) -> tuple[int | None, RssiBound]:
    """Turn CSQ into received signal strength in dBm (3GPP TS 27.007 §8.5).

    Returns
    -------
    rssi_dbm : int or None
        None when the signal is unknown: -1, 99, and 32 to 98, which the clause does not define.
    bound : str
        ``"<="`` at CSQ 0 (at most -113 dBm), ``">="`` at CSQ 31 (at least -51 dBm), else ``""``.

    Examples
    --------
    >>> csq_to_dbm(20), csq_to_dbm(31), csq_to_dbm(99)
    ((-73, ''), (-51, '>='), (None, ''))
    """
    signal = signal_of(csq)
    if signal is None:
        return None, ""
    bounds: dict[int, RssiBound] = {0: "<=", 31: ">="}
    return -113 + 2 * signal, bounds.get(signal, "")


def ber_of(value: int | None) -> int | None:
    """Return the bit error rate as RXQUAL 0 to 7 (3GPP TS 45.008 §8.2.4), None for all else."""
    return value if value is not None and 0 <= value <= 7 else None


@dataclass(frozen=True, slots=True)
class Segments:
    """What an SMS text costs.

    Attributes
    ----------
    encoding : str
        ``gsm7`` if every character is in the default alphabet or its extension, else ``ucs2``.
    count : int
        Segments, each charged as one SMS.
    units : int
        Septets (gsm7) or UTF-16 code units (ucs2) of the text.
    capacity : int
        Units that one segment holds: 160 or 70 alone, 153 or 67 in a long SMS.
    """

    encoding: Literal["gsm7", "ucs2"]
    count: int
    units: int
    capacity: int


def segment(text: str) -> Segments:
    """Count the segments of `text` (3GPP TS 23.040 §9.2.3.24.1, TS 23.038 §6.2.1).

    Neither an escape pair of the extension table nor a surrogate pair is split between segments,
    so a long text can need one segment more than its units divided by the capacity.

    Examples
    --------
    >>> segment("Привет")
    Segments(encoding='ucs2', count=1, units=6, capacity=70)
    """
    if not text:
        return Segments("gsm7", 1, 0, 160)
    # smsutil counts a raw ESC as a character of the alphabet; on the air it would shift the next.
    split = smsutil.unicode_split if "\x1b" in text else smsutil.split
    result = split(text)
    count = len(result.parts)
    if result.encoding == "gsm0338":
        return Segments("gsm7", count, result.total_bytes, 160 if count == 1 else 153)
    return Segments("ucs2", count, result.total_bytes // 2, 70 if count == 1 else 67)


def alphabet_of(dcs: int | None) -> Alphabet:
    """Return the alphabet of a cell broadcast or USSD data coding scheme (3GPP TS 23.038 §5).

    Reserved and missing codes read as the default alphabet, as the clause asks.
    """
    if dcs is None or not 0 <= dcs <= 0xFF:
        return "gsm7"
    if dcs == 0x11:
        return "ucs2"
    by_bits: dict[int, Alphabet] = {0: "gsm7", 1: "8bit", 2: "ucs2", 3: "gsm7"}
    group = dcs >> 4
    if group in (0x4, 0x5, 0x6, 0x7, 0x9):
        return by_bits[(dcs >> 2) & 0b11]
    if group == 0xF:
        return "8bit" if dcs & 0b100 else "gsm7"
    return "gsm7"


def decode_ussd(raw: str, dcs: int | None) -> str:
    """Read a USSD message as its data coding scheme says, else as its shape says (WIRE §9).

    Parameters
    ----------
    raw : str
        The message as the gateway wrote it: plain text for the default alphabet, hex of the
        bytes for UCS-2 and 8-bit.
    dcs : int or None
        Data coding scheme (3GPP TS 23.038 §5); None where the gateway gave none.

    Notes
    -----
    Some networks send hex under 15 or 0. Text there is taken for hex of UCS-2 only when it decodes
    to characters in everyday use of one script; a balance such as ``12345678`` stays as it is.
    """
    alphabet = alphabet_of(dcs)
    text: str | None = None
    if alphabet == "ucs2":
        text = _ucs2_by_code(raw, language_prefix=dcs == 0x11)
    elif alphabet == "8bit":
        text = _octets(raw)
    if text is None:
        text = _ucs2_by_shape(raw)
    if text is None:
        text = raw
    if dcs == 0x10:
        text = re.sub(r"\A[A-Za-z]{2}\r", "", text)
    return _SURROGATE.sub("\ufffd", text).removeprefix(_BOM)


def decode_part(content: str) -> tuple[str, PartEncoding]:
    """Decode the Content of one received part (WIRE §8).

    Percent-encoded UTF-8, else Latin-1 where the bytes are no UTF-8; hex of UCS-2 by its shape;
    else plain. A ``+`` is a blank only if the content holds a valid ``%XX`` or no literal blank.
    A BOM at the start is dropped; blanks at the end stay.

    Returns
    -------
    text : str
        May hold lone surrogates, since a character may be split between parts:
        `join_parts` mends them.
    encoding : str
        ``percent``, ``latin-1``, ``ucs2-hex`` or ``plain``.

    Examples
    --------
    >>> decode_part("%EF%BB%BF%D0%94%D0%B0+1")
    ('Да 1', 'percent')
    """
    encoding: PartEncoding
    if (data := _unquote(content)) is not None:
        text, utf8 = decode_bytes(data)
        encoding = "percent" if utf8 else "latin-1"
    elif (decoded := _ucs2_by_shape(content)) is not None:
        text, encoding = decoded, "ucs2-hex"
    else:
        text, encoding = content if " " in content else content.replace("+", " "), "plain"
    return text.removeprefix(_BOM), encoding


def join_parts(texts: list[str]) -> str:
    """Join decoded parts in order; halves of a character meet, and lone ones become U+FFFD."""
    joined = "".join(texts).encode("utf-16-le", "surrogatepass")
    paired = joined.decode("utf-16-le", "surrogatepass")

    def rejoin(match: re.Match[str]) -> str:
        return match[0].encode("ascii", "surrogateescape").decode("utf-8", "replace")

    return _SURROGATE.sub("\ufffd", _ESCAPED_BYTES.sub(rejoin, paired))


def decode_bytes(data: bytes) -> tuple[str, bool]:
    """Decode a stranger's bytes; never fails, loses nothing.

    Returns
    -------
    text : str
        UTF-8, surrogates passed; where a few bytes do not fit (a character cut in half), those
        become lone surrogates (PEP 383). Latin-1 where nothing looks like UTF-8.
    utf8 : bool
        False if it was read as Latin-1.
    """
    try:
        return data.decode("utf-8", "surrogatepass"), True
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8", "surrogateescape")
    if any(ord(character) > 0x7F and not _SURROGATE.match(character) for character in text):
        return text, True
    return data.decode("latin-1"), False


def _unquote(content: str) -> bytes | None:
    """Undo percent-encoding, with "+" for a blank; None where there is no valid %XX."""
    # Quoted-printable is the same with "=" for "%", and its codec is written in C.
    data = content.encode("utf-8", "surrogatepass").replace(b"=", b"=3D")
    quoted, count = _PERCENT.subn(b"=", data.replace(b"+", b" "))
    return binascii.a2b_qp(quoted) if count else None


def _ucs2_by_code(raw: str, *, language_prefix: bool) -> str | None:
    """Decode what the code calls UCS-2; None if it is no hex after all."""
    digits = raw.strip()
    if not _HEX.fullmatch(digits) or len(digits) < 4:
        return None
    data = bytes.fromhex(digits[: len(digits) // 4 * 4])
    text = data.decode("utf-16-be", "surrogatepass")
    if language_prefix:
        text = _without_language(text)
    if digits.isdecimal() and _ucs2_by_shape(digits) is None:
        return None
    return text


def _without_language(text: str) -> str:
    """Drop the language before UCS-2 under code 17, in the three ways that it is written."""
    if text[2:3] == "\r" and text[:2].isascii() and text[:2].isalpha():
        return text[3:]
    first, second = divmod(ord(text[0]), 256)
    # As TS 23.038 §5 has it: two letters of the default alphabet packed into two octets.
    packed = first | second << 8
    letters = chr(packed & 0x7F) + chr(packed >> 7 & 0x7F)
    if letters.isalpha() and packed >> 14 == 0:
        return text[1:]
    # Two plain octets read as an ideograph, which is out of place where no other follows.
    plain = chr(first) + chr(second)
    if (
        plain.isascii()
        and plain.islower()
        and plain.isalpha()
        and max(text[1:], default="") < "\u2e80"
    ):
        return text[1:]
    return text


def _ucs2_by_shape(raw: str) -> str | None:
    """Decode hex of UCS-2 if the result reads like text, else None."""
    digits = raw.strip()
    if len(digits) < 8 or len(digits) % 4 or not _HEX.fullmatch(digits):
        return None
    text = bytes.fromhex(digits).decode("utf-16-be", "surrogatepass")
    # An alphabet's code units begin with 0; a plain number's groups of four rarely all do.
    if digits.isdecimal() and any(character >= "\u1000" for character in text):
        return None
    return text if _plausible(text) else None


def _plausible(text: str) -> bool:
    """Tell whether `text` reads like one script's everyday text, not like a number in disguise."""
    if text.startswith(_BOM):
        return True
    if len(text) >= 4:
        # A part of a long SMS, or a cut answer, may begin or end inside a pair.
        text = _SURROGATE.sub("", text[:1]) + text[1:-1] + _SURROGATE.sub("", text[-1:])
    scripts: set[str] = set()
    evidence = 0
    for character in text:
        if character in "\n\r\t" or " " <= character <= "~":
            evidence += 1
        elif not _MARKS.match(character):
            script = _SCRIPT.match(unicodedata.name(character, ""))
            if script is None or _RARE_LATIN.match(character):
                return False
            scripts.add("CJK" if script[0] in _IDEOGRAPHIC else script[0])
            evidence += 1
    if len(scripts) > 1 or 2 * evidence <= len(text):
        return False
    return not scripts & {"CJK", "HANGUL"} or _frequent(text)


def _frequent(text: str) -> bool:
    """Tell whether the ideographs or syllables of `text` are, nearly all, in frequent use."""
    letters = [character for character in text if character > "\u1000" and character.isalpha()]

    def known(character: str, charset: str, first: bytes, last: bytes) -> bool:
        code = character.encode(charset, "ignore")
        return len(code) == 2 and first <= code <= last

    return any(
        8 * sum(known(letter, *charset) for letter in letters) >= 7 * len(letters)
        for charset in _FREQUENT
    )


def _octets(raw: str) -> str | None:
    """Decode hex of 8-bit data that reads like text, else None."""
    digits = raw.strip()
    if len(digits) % 2 or not _HEX.fullmatch(digits) or digits.isdecimal():
        return None
    text, utf8 = decode_bytes(bytes.fromhex(digits))
    if not all(character.isprintable() or character in "\n\r\t" for character in text):
        return None
    # Any byte is Latin-1, so that reading needs more to go by.
    mostly_ascii = 2 * sum(character.isascii() for character in text) > len(text)
    return text if utf8 or (mostly_ascii and _ucs2_by_shape(raw) is None) else None

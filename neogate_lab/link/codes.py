"""The one-time code in a text, pure; it never guesses where no word announces a code."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["one_time_code"]

_CODE = re.compile(
    r"(?<![\w.,:/*#+-])(?:[A-Za-z]{1,3}-)?(\d{3}[ -]\d{3}|\d{4,8})(?![\w*#:/%]|[.,-]\d|[ -]?\d)"
)
_CJK = r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]"
_ANNOUNCED = re.compile(
    r"(?i)\b(?:code|codes|otp|pin|passcode|password|passwort|kod|kodu|şifre|código|codigo|codice"
    r"|c[oó]d|kode|mã|код\w{0,2}|парол\w{0,3}|пин\w{0,3}|tan)\b"
    r"|验证码|驗證碼|校验码|动态码|認証|コード|인증번호|رمز|كود"
)


def one_time_code(text: str) -> str:
    """The one-time code that a text announces; "" when it announces none.

    Four to eight digits, or two groups of three, nearest to a word such as *code*, *OTP*, *PIN*,
    *код*, *пароль*, *código*, *codice*, *kod* or *验证码*. Numbers that are part of an amount, a
    time, a date, a phone number or a USSD code are not taken.

    Examples
    --------
    >>> one_time_code("G-123456 is your verification code")
    '123456'
    >>> one_time_code("Your taxi waits, car 4821")
    ''
    """
    plain = re.sub(f"(?<={_CJK})(?=[0-9])|(?<=[0-9])(?={_CJK})", " ", _ascii_digits(text))
    words = [(match.start(), match.end()) for match in _ANNOUNCED.finditer(plain)]
    if not words:
        return ""

    def distance(match: re.Match[str]) -> int:
        return min(
            match.start() - end if match.start() >= end else start - match.end() + 1
            for start, end in words
        )

    found = min(_CODE.finditer(plain), key=distance, default=None)
    return "" if found is None else re.sub("[ -]", "", found[1])


def _ascii_digits(text: str) -> str:
    return "".join(
        str(unicodedata.decimal(mark)) if mark.isdecimal() else mark
        for mark in unicodedata.normalize("NFKC", text)
    )

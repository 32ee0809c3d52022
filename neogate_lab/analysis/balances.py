"""Balances out of operators' words: text in, amount out, and their series; never a gateway."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import frame_of
from neogate_lab.history.schema import VIEWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Balance", "balances_of", "parse_balance"]

_CURRENCIES = {
    "RUB": "₽ rub rur rubl rublya rubley руб рубль рубля рублей рублях р",
    "UAH": "₴ uah грн гривень гривні гривня grn",
    "KZT": "₸ kzt тг тенге теңге tg tenge",
    "BYN": "byn",
    "KGS": "kgs сом",
    "UZS": "uzs сум сўм",
    "TJS": "tjs сомони",
    "AMD": "֏ amd драм",
    "BGN": "bgn лв лева",
    "USD": "$ usd us$ dollars",
    "EUR": "€ eur euro euros",
    "GBP": "£ gbp",
    "CNY": "元 cny rmb",
    "INR": "₹ inr",
    "TRY": "₺ tl try",
    "BRL": "r$ brl reais",
    "PLN": "zł zl pln",
    "IDR": "rp idr",
    "VND": "₫ đ vnd vnđ dong",
    "NGN": "₦ ngn",
    "KES": "ksh kes",
    "GHS": "ghs gh₵",
    "PHP": "₱ php",
    "THB": "฿ thb baht",
    "AZN": "₼ azn manat",
    "GEL": "₾ gel",
    "MXN": "mxn",
    "CHF": "chf",
    "EGP": "egp جنيه",
    "AED": "aed درهم",
    "SAR": "sar ريال",
    "KWD": "kwd",
    "TND": "tnd",
    "OMR": "omr",
    "BHD": "bhd",
    "JOD": "jod",
    "XOF": "xof",
    "XAF": "xaf",
    # Several countries use these words: they stay as written.
    "": "fcfa cfa rs r kr lei dh da ¥ units u pesos",
}
_ISO = {word: code for code, words in _CURRENCIES.items() for word in words.split()}
_THREE_DECIMALS = frozenset({"KWD", "BHD", "OMR", "TND", "JOD"})

_WORD = "|".join(re.escape(word) for word in sorted(_ISO, key=len, reverse=True))
_NUMBER = re.compile(
    rf"""(?xi)
    (?<![\d*\#+/]) (?<!\d[.,:])
    (?P<sign>-\ ?)??
    (?:(?<![a-zа-яёіїєґ])(?P<before>{_WORD})\.?\ ?:?\ ?(?P<inner>-)?)?
    (?P<number>\d{{1,3}}(?:[ '’]\d{{3}})+(?:[.,]\d{{1,2}})? | \d[\d.,]*\d | \d)
    (?!\d|[*\#/:%]|[.,]\d)
    (?:\ ?(?P<after>{_WORD})(?![a-zа-яёіїєґğışçöü]))?
    (?:\.?\ ?(?P<cents>\d{{1,2}})\ ?(?:коп|kop|тиын|cent)\w*)?
    """
)
_HOLDS = re.compile(
    r"(?i)баланс|остат|на\s+(?:вашем\s+)?сч[её]т|рахун|залиш|сальдо|теңгерім|balance|solde|saldo|"
    r"guthaben|kontostand|bakiye|cr[eé]dit|credito|kredit|pulsa|stan konta|środk|account|tk chinh|"
    r"tài khoản|余额|餘額|话费|رصيد"
)
_OTHER = re.compile(
    r"(?i)bonus|бонус|\bpromo|лимит|limit|порог|min(?:imum)?\b|\bмин(?:\b|ут|им)|до\s+\d|cost|стоит|цена|"
    r"price|ücret|списан|charged|pay|плат[аеё]|package|пакет|paket|долг|loan"
)
_UNIT = re.compile(
    r"(?i)\s?(?:[kmgt]b|[кмгт]б|min\w*|мин\w*|sms|смс|mms|day|дн|день|дня|сут|jour|tage?\b|d[ií]as?|"
    r"gün|hari|sec|сек|шт|分钟|条|天|%|x\d)"
)
_MINUS_WORD = re.compile(r"(?i)(?:minus|минус|мінус|moins|meno|menos)\s*$")


@dataclass(frozen=True, slots=True)
class Balance:
    """An amount of money.

    Attributes
    ----------
    amount : Decimal
        Below zero for a debt.
    currency : str
        ISO 4217 where the words tell it; as written where several countries use them ("Rs"); ""
        when there is none.
    """

    amount: Decimal
    currency: str = ""


def parse_balance(text: str) -> Balance | None:
    """Read the balance in an operator's answer.

    The amount is the number that stands nearest behind a word for balance, has a currency, or both;
    amounts of data, minutes, days, bonuses and limits are passed over. A point or comma that stands
    once before three digits parts thousands, except in currencies with three decimals.

    Tried on answers in Arabic, Chinese, English, French, German, Indonesian, Italian, Kazakh,
    Polish, Portuguese, Russian, Spanish, Turkish, Ukrainian and Vietnamese.

    Parameters
    ----------
    text : str
        As `UssdReply.text`, or an SMS.

    Returns
    -------
    Balance or None
        None when the text tells no balance.

    Raises
    ------
    InvalidRequest
        It is not text.

    Examples
    --------
    >>> parse_balance("Ваш баланс: -1 234,50 руб.")
    Balance(amount=Decimal('-1234.50'), currency='RUB')
    """
    if not isinstance(text, str):
        raise InvalidRequest(
            f"parse_balance() takes text, such as .text of an answer, not {type(text).__name__}"
        )
    plain = _plain(text)
    best: tuple[int, Balance] | None = None
    for match in _NUMBER.finditer(plain):
        if _UNIT.match(plain, match.end("number")) and not match["after"]:
            continue
        written = match["after"] or match["before"] or ""
        before = plain[max(0, match.start() - 40) : match.start()]
        before = re.split(r"[\n;!?]|\.\s", before)[-1]
        score = (
            3 * bool(_HOLDS.search(before))
            + 2 * bool(written)
            + bool(_HOLDS.search(plain[match.end() : match.end() + 25]))
            - 3 * bool(_OTHER.search(before))
        )
        if score < 2 or (best is not None and score <= best[0]):
            continue
        best = (score, _balance(plain, match, written))
    return None if best is None else best[1]


def balances_of(ussd: pd.DataFrame, known: Collection[str] | None = None) -> pd.DataFrame:
    """The series of balances in rows of the table `ussd`.

    Parameters
    ----------
    ussd : DataFrame
        Rows of the table.
    known : collection of str, optional
        The codes that ask for a balance; default those that brought one at least once.

    Returns
    -------
    DataFrame
        The view `balances`; where an answer told no balance, the amount is missing.
    """
    read = [parse_balance(text) for text in ussd["text"]]
    codes = set(known or ())
    if known is None:
        codes = {code for code, found in zip(ussd["code"], read, strict=True) if found is not None}
    shared = [name for name in VIEWS["balances"].names if name in ussd.columns]
    rows: list[dict[str, object]] = []
    for row, balance in zip(ussd[shared].to_dict("records"), read, strict=True):
        if row["code"] in codes:
            row["amount"] = None if balance is None else float(balance.amount)
            row["currency"] = "" if balance is None else balance.currency
            rows.append({str(name): _known(value) for name, value in row.items()})
    return frame_of("balances", rows)


def _known(value: object) -> object:
    """A cell as rows hold it: pandas' ways to say unknown are None there."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def _plain(text: str) -> str:
    """One kind of blank, minus and digit; the lines stay."""
    marks = []
    for mark in unicodedata.normalize("NFKC", text.replace("₨", "Rs")):
        if mark in "‐‑‒–—−":
            mark = "-"
        elif mark.isdecimal():
            mark = str(unicodedata.decimal(mark))
        elif mark == "٫":
            mark = "."
        elif mark == "٬":
            mark = ","
        elif mark != "\n" and mark.isspace():
            mark = " "
        marks.append(mark)
    return "".join(marks)


def _balance(plain: str, match: re.Match[str], written: str) -> Balance:
    iso = _ISO.get(written.lower(), "")
    if match["after"] == "r" and plain.startswith(".", match.end("after")):
        iso = "RUB"  # roubles in Latin letters; rands stand before the number, without a dot
    amount = _amount(match["number"], iso or written)
    if match["cents"]:
        amount += Decimal(match["cents"]) / 100
    if _is_negative(plain, match):
        amount = -amount
    return Balance(amount, iso or written)


def _is_negative(plain: str, match: re.Match[str]) -> bool:
    if match["inner"]:
        return True
    start = match.start("sign") if match["sign"] else match.start()
    before = plain[:start]
    if not match["sign"]:
        return bool(_MINUS_WORD.search(before)) or bool(
            re.match(r"-(?![\d\w ])", plain[match.end() :]) and not before.endswith("-")
        )
    if match["sign"] == "-":  # a dash that touches a letter joins it to the number
        return not before or not before[-1].isalnum()
    return before.rstrip().endswith((":", "="))  # "Balance - 5" is a dash, "Balance: - 5" a minus


def _amount(number: str, currency: str) -> Decimal:
    digits = re.sub("[ '’]", "", number)
    marks = [mark for mark in digits if mark in ".,"]
    if not marks:
        return Decimal(digits)
    last = marks[-1]
    whole, _, rest = digits.rpartition(last)
    several = marks.count(last) > 1
    thousands = len(rest) == 3 and len(set(marks)) == 1 and currency not in _THREE_DECIMALS
    if several or (thousands and whole.lstrip("0")):
        return Decimal(re.sub("[.,]", "", digits))
    return Decimal(f"{re.sub('[.,]', '', whole)}.{rest}")

"""Operators' own words in, the amount out: separators, signs, currencies; or no balance at all."""

from __future__ import annotations

import re
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.analysis.balances import Balance, balances_of, parse_balance
from neogate_lab.history.frames import frame_of
from neogate_lab.history.schema import VIEWS

ANSWERS = {
    "Russian": [
        ("Ваш баланс: 123,40 руб.", "123.40", "RUB"),
        ("Баланс:0.00р.,Лимит:300.00р.", "0", "RUB"),
        ("Баланс 1 234,50 руб. Пакет 300 мин, 5 ГБ", "1234.50", "RUB"),
        ("Остаток 12 руб. 50 коп.", "12.50", "RUB"),
        ("На вашем счету 5 рублей 5 копеек", "5.05", "RUB"),
        ("Ваш баланс минус 40.10 р.", "-40.10", "RUB"),
        ("Минус 40.10 р. на балансе", "-40.10", "RUB"),
        ("Balans: 70.42 r. Bonus 5 r.", "70.42", "RUB"),
        ("Balance: 70.42 r.", "70.42", "RUB"),
        ("Balans 12 rubley 50 kop.", "12.50", "RUB"),
        ("Баланс: 100 сом.", "100", "KGS"),
        ("Баланс 5 сомони", "5", "TJS"),
    ],
    "Ukrainian": [
        ("На рахунку 45.00 грн. Бонуси: 10 грн", "45.00", "UAH"),
        ("Balans 45.00 grn", "45.00", "UAH"),
    ],
    "Kazakh": [("Сіздің теңгерім 1 500,00 тг", "1500", "KZT"), ("Balance 150 tg.", "150", "KZT")],
    "English": [
        ("Your balance is $1,234.56. Valid until 12.05.2026", "1234.56", "USD"),
        ("Bonus: 100 MB. Balance: 3.20 EUR", "3.20", "EUR"),
        ("Balance: R70.42. Dial *100#", "70.42", "R"),  # rands
        ("Your balance is 70.42 R.", "70.42", "R"),
        ("Main Balance: Rs120.50, Bonus: Rs 30", "120.50", "Rs"),
        ("Balance 1,23,456.78 INR", "123456.78", "INR"),
        ("Your balance: 0", "0", ""),
    ],
    "French": [
        ("Votre solde est de 1500 FCFA.", "1500", "FCFA"),
        ("Votre crédit: 12,30 € valable jusqu'au 12/05/2026", "12.30", "EUR"),
    ],
    "German": [("Ihr Guthaben beträgt 1.234,56 EUR.", "1234.56", "EUR")],
    "Italian": [("Il tuo credito residuo è di 3,15 euro", "3.15", "EUR")],
    "Spanish": [("Tu saldo es $1.234,50 MXN", "1234.50", "MXN")],
    "Portuguese": [("Seu saldo: R$ 12,90", "12.90", "BRL")],
    "Turkish": [("Kalan bakiye: 12,50 TL", "12.50", "TRY")],
    "Polish": [("Stan konta: 23,45 zł", "23.45", "PLN")],
    "Indonesian": [("Sisa pulsa Anda Rp 25.000, aktif s/d 12-05-2026", "25000", "IDR")],
    "Vietnamese": [("TK chinh: 12.000đ, KM1: 0d", "12000", "VND")],
    "Chinese": [
        ("您的余额为12.50元", "12.50", "CNY"),
        ("当前话费余额:-3.20元,可用流量500MB", "-3.20", "CNY"),
    ],
    "Arabic": [("رصيدك الحالي هو ١٢٫٥٠ جنيه", "12.50", "EGP")],
}
CASES = [(text, *read) for answers in ANSWERS.values() for text, *read in answers]


def test_every_language_that_is_named_was_tried() -> None:
    named = (parse_balance.__doc__ or "").partition("Tried on answers in ")[2].partition(".")[0]
    assert sorted(re.findall(r"[A-Z]\w+", named)) == sorted(ANSWERS)


@pytest.mark.parametrize(("text", "amount", "currency"), CASES)
def test_the_amount_and_its_currency(text: str, amount: str, currency: str) -> None:
    assert parse_balance(text) == Balance(Decimal(amount), currency)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("Balance: -5.00", "-5"),
        ("Balance: - 5.00", "-5"),
        ("Balance: \u22125.00", "-5"),  # a minus sign
        ("Balance: -$5.00", "-5"),
        ("Balance: $-5.00", "-5"),
        ("Balance: 5.00-", "-5"),
        ("Balance - 5.00", "5"),
        ("Balance \u2013 5.00", "5"),  # a dash
        ("Balance-5.00", "5"),
    ],
)
def test_a_minus_is_told_from_a_dash(text: str, amount: str) -> None:
    found = parse_balance(text)
    assert found is not None
    assert found.amount == Decimal(amount)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1\u00a0234,50 EUR", "1234.5"),
        ("1\u202f234.50 EUR", "1234.5"),
        ("1'234.50 CHF", "1234.5"),
        ("1.234.567 EUR", "1234567"),
        ("1,234 EUR", "1234"),
        ("0.123 EUR", "0.123"),
        ("12.345 KWD", "12.345"),
        ("12,5 EUR", "12.5"),
    ],
)
def test_separators(written: str, amount: str) -> None:
    found = parse_balance(f"Balance: {written}")
    assert found is not None
    assert found.amount == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UNKNOWN APPLICATION",
        "Меню\n1 Баланс\n2 Тариф",
        "Dial *100# for balance",
        "Bonus: 5 EUR",
        "Balance of minutes: 300 min",
        "Call 88005550505",
    ],
)
def test_what_tells_no_balance(text: str) -> None:
    assert parse_balance(text) is None


@given(st.text())
def test_any_text_can_be_asked(text: str) -> None:
    found = parse_balance(text)
    assert found is None or found.amount.is_finite()


@given(st.integers(-(10**9), 10**9), st.sampled_from([",", "."]), st.sampled_from(["", " ", "'"]))
def test_what_was_written_is_read(cents: int, point: str, group: str) -> None:
    units = f"{abs(cents) // 100:,}".replace(",", group)
    written = f"{'-' * (cents < 0)}{units}{point}{abs(cents) % 100:02d}"
    assert parse_balance(f"Balance: {written} EUR") == Balance(Decimal(cents) / 100, "EUR")


def exchange(code: str, text: str, outcome: str = "done") -> dict[str, object]:
    time = pd.Timestamp("2026-11-20", tz="UTC")
    return {
        "row_id": 1, "time": time.to_pydatetime(), "gateway": "lab", "port": 1, "span": 2,
        "code": code, "outcome": outcome, "text": text,
    }  # fmt: skip


def test_the_series_holds_the_codes_that_tell_balances_gaps_included() -> None:
    ussd = frame_of(
        "ussd",
        [
            exchange("*100#", "Balance: 5 EUR"),
            exchange("*101#", "1 Weather"),
            exchange("*100#", "", "timeout"),
        ],
    )
    series = balances_of(ussd)
    assert list(series.columns) == list(VIEWS["balances"].names)
    assert list(series.amount.isna()) == [False, True]
    assert list(series.currency) == ["EUR", ""]
    assert list(balances_of(ussd, known=["*101#"]).code) == ["*101#"]
    assert balances_of(ussd.iloc[:0]).empty

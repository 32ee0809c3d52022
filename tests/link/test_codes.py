"""The one-time code that a text announces, and no other number in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.link.codes import one_time_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("G-123456 is your verification code", "123456"),
        ("Ваш код: 4821", "4821"),
        ("код 123-456 никому не говорите", "123456"),
        ("Use 555 123 as your OTP", "555123"),
        ("PIN 0042 for +79001234567", "0042"),
        ("Оплата 1500 руб. Код 7788", "7788"),
        ("Code: 1234. Valid 10 minutes, until 12:30 20.05.2026", "1234"),
        ("Il tuo codice è 998877", "998877"),
        ("【商店】验证码123456，请勿", "123456"),
        ("رمز التحقق ١٢٣٤٥٦", "123456"),
        ("Your taxi waits, car 4821", ""),
        ("code 12.50", ""),
        ("the password is hunter2", ""),
        ("code: dial *1234#", ""),
        ("", ""),
    ],
)
def test_the_code(text: str, code: str) -> None:
    assert one_time_code(text) == code


@given(st.from_regex("[0-9]{4,8}", fullmatch=True))
def test_whatever_its_digits(code: str) -> None:
    assert one_time_code(f"Your code is {code}.") == code


@given(st.text())
def test_any_text_can_be_asked(text: str) -> None:
    assert one_time_code(text).isdigit() or one_time_code(text) == ""

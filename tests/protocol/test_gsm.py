"""GSM's own units: signal, alphabets, USSD by code and by shape, parts, segments."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.protocol import gsm
from neogate_lab.protocol.gsm import (
    Segments,
    alphabet_of,
    ber_of,
    csq_to_dbm,
    decode_bytes,
    decode_part,
    decode_ussd,
    join_parts,
    segment,
    signal_of,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"))


def ucs2(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").hex().upper()


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


class TestSignal:
    @pytest.mark.parametrize(
        ("csq", "dbm", "bound"),
        [
            (0, -113, "<="),
            (1, -111, ""),
            (2, -109, ""),
            (30, -53, ""),
            (31, -51, ">="),
            (-1, None, ""),
            (32, None, ""),
            (98, None, ""),
            (99, None, ""),
            (None, None, ""),
        ],
    )
    def test_csq(self, csq: int | None, dbm: int | None, bound: str) -> None:
        assert csq_to_dbm(csq) == (dbm, bound)
        assert signal_of(csq) == (csq if dbm is not None else None)

    @pytest.mark.parametrize(("value", "ber"), [(0, 0), (7, 7), (8, None), (99, None), (-1, None)])
    def test_ber(self, value: int, ber: int | None) -> None:
        assert ber_of(value) == ber
        assert ber_of(None) is None


@pytest.mark.parametrize(
    ("dcs", "alphabet"),
    [
        (None, "gsm7"),
        (0x00, "gsm7"),
        (0x0F, "gsm7"),
        (0x10, "gsm7"),
        (0x11, "ucs2"),
        (0x12, "gsm7"),
        (0x24, "gsm7"),
        (0x40, "gsm7"),
        (0x44, "8bit"),
        (0x48, "ucs2"),
        (0x4C, "gsm7"),
        (0x58, "ucs2"),
        (0x75, "8bit"),
        (0x88, "gsm7"),
        (0x94, "8bit"),
        (0x98, "ucs2"),
        (0xF0, "gsm7"),
        (0xF4, "8bit"),
        (0xF8, "gsm7"),
        (256, "gsm7"),
        (-1, "gsm7"),
    ],
)
def test_alphabets_by_coding_group(dcs: int | None, alphabet: str) -> None:
    assert alphabet_of(dcs) == alphabet


class TestUssd:
    @pytest.mark.parametrize("dcs", [15, 0, None, 1])
    @pytest.mark.parametrize(
        "plain",
        [
            "Balance: 5.00",
            "",
            "12345678",
            "20250131",
            "1000000000000000",
            "50006000",
            "43215678",
            "0050",
            "CAFE",
            "DEADBEEF",
            "CAFEBABE",
            "FACEFEED",
            "A1B2C3D4",
            "48656C6C",
            "ADDEDBADC0FFEE00",
            "12345678 ",
            "0431abCD",
            "00310032 EUR",
            " line\n",
        ],
    )
    def test_plain_text_is_left_alone(self, plain: str, dcs: int | None) -> None:
        assert decode_ussd(plain, dcs) == plain

    @pytest.mark.parametrize("dcs", [15, 0, None, 68, 72])
    @pytest.mark.parametrize(
        "text",
        [
            "Баланс: 12,50 р.",
            "您的余额为5元",
            "Saldo €5",
            "رصيدك 5",
            "שלום",
            "ยอดเงิน",
            "привет 😀",
            "안녕하세요",
            "Да1",
        ],
    )
    def test_hex_of_ucs2_is_found_under_any_code(self, text: str, dcs: int | None) -> None:
        assert decode_ussd(ucs2(text), dcs) == text
        assert decode_ussd(ucs2(text).lower(), dcs) == text

    def test_the_shortest_hex_of_ucs2_has_two_characters(self) -> None:
        assert decode_ussd("041F043E", 15) == "По"
        assert decode_ussd("041F", 15) == "041F"
        assert decode_ussd("041F", 72) == "П"

    @pytest.mark.parametrize("dcs", [72, 0x58, 0x98])
    def test_plain_text_under_ucs2_stays(self, dcs: int) -> None:
        assert decode_ussd("Your balance is 5", dcs) == "Your balance is 5"
        assert decode_ussd("12345678", dcs) == "12345678"

    def test_ucs2_cut_within_a_character(self) -> None:
        assert decode_ussd(ucs2("Привет")[:-2], 72) == "Приве"
        assert decode_ussd(ucs2("Ура 😀")[:-4], 72) == "Ура \ufffd"

    def test_a_bom_is_dropped(self) -> None:
        assert decode_ussd("FEFF" + ucs2("Ура"), 72) == "Ура"

    @pytest.mark.parametrize("prefix", ["F23A", "6537", "656E"])
    def test_17_has_a_packed_language_prefix(self, prefix: str) -> None:
        assert decode_ussd(prefix + ucs2("Привет"), 17) == "Привет"

    def test_17_without_a_prefix_loses_nothing(self) -> None:
        assert decode_ussd(ucs2("Привет"), 17) == "Привет"
        assert decode_ussd(ucs2("整个余额"), 17) == "整个余额"

    def test_17_with_the_language_written_out(self) -> None:
        assert decode_ussd(ucs2("ru\rПривет"), 17) == "Привет"

    def test_16_has_a_language_prefix(self) -> None:
        assert decode_ussd("en\rBalance: 5", 16) == "Balance: 5"

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            ("48656C6C6F", "Hello"),
            ("C39C62657221", "Über!"),
            ("426C6FDF21", "Bloß!"),
            ("12345678", "12345678"),
            ("25 EUR", "25 EUR"),
            ("CAFE", "CAFE"),
            ("0A1B", "0A1B"),
        ],
    )
    def test_8_bit(self, raw: str, text: str) -> None:
        assert decode_ussd(raw, 68) == text

    @given(st.text(), st.one_of(st.none(), st.integers(0, 255)))
    def test_it_never_fails_and_its_text_can_be_stored(self, raw: str, dcs: int | None) -> None:
        decode_ussd(raw, dcs).encode()

    @given(st.text("0123456789ABCDEF"), st.one_of(st.none(), st.integers(0, 255)))
    def test_nor_on_any_hex(self, raw: str, dcs: int | None) -> None:
        decode_ussd(raw, dcs).encode()

    @given(st.text("0123456789", max_size=30).filter(lambda digits: not digits.startswith("0")))
    def test_a_number_without_a_leading_zero_is_a_number(self, digits: str) -> None:
        for dcs in (None, 0, 15, 68, 72):
            assert decode_ussd(digits, dcs) == digits


class TestParts:
    @pytest.mark.parametrize(
        ("content", "text", "encoding"),
        [
            ("", "", "plain"),
            ("Ok", "Ok", "plain"),
            ("a+b", "a b", "plain"),
            ("a + b", "a + b", "plain"),
            ("a+b%21", "a b!", "percent"),
            ("a + b%21", "a   b!", "percent"),
            ("1%2B1", "1+1", "percent"),
            ("50%25", "50%", "percent"),
            ("50% off", "50% off", "plain"),
            ("%zz+%4", "%zz %4", "plain"),
            ("%d0%94%D0%b0", "Да", "percent"),
            ("%EF%BB%BFOk+", "Ok ", "percent"),
            ("\ufeffOk", "Ok", "plain"),
            ("a%EF%BB%BFb", "a\ufeffb", "percent"),
            ("Да %21", "Да !", "percent"),
            ("%C4%E0", "Äà", "latin-1"),
            ("12345678", "12345678", "plain"),
            ("48391027", "48391027", "plain"),
            ("004F006B0020", "Ok ", "ucs2-hex"),
            ("FEFF004F006B", "Ok", "ucs2-hex"),
            ("%00", "\0", "percent"),
        ],
    )
    def test_content(self, content: str, text: str, encoding: str) -> None:
        assert decode_part(content) == (text, encoding)

    @given(TEXTS)
    def test_percent_encoded_text_comes_back(self, text: str) -> None:
        assert decode_part("%EF%BB%BF" + percent(text)) == (text, "percent")

    @given(st.text(st.sampled_from("%=+4fF3dD \r\n\tя"), max_size=30))
    def test_percent_decoding_agrees_with_urllib(self, content: str) -> None:
        data = gsm._unquote(content)
        assert (content.encode() if data is None else data.replace(b" ", b"+")) == (
            unquote_to_bytes(content).replace(b" ", b"+" if data is not None else b" ")
        )

    @pytest.mark.parametrize("encode", [percent, ucs2])
    def test_a_surrogate_pair_split_between_parts_is_mended(self, encode) -> None:  # type: ignore[no-untyped-def]
        first, second = encode("smile \ud83d"), encode("\ude00 back")
        parts = [decode_part(first)[0], decode_part(second)[0]]
        assert parts == ["smile \ud83d", "\ude00 back"]
        assert join_parts(parts) == "smile 😀 back"

    def test_a_utf8_character_split_between_parts_is_mended(self) -> None:
        data = percent("да 😀 да")
        parts = [decode_part(data[:24])[0], decode_part(data[24:])[0]]
        assert join_parts(parts) == "да 😀 да"

    @pytest.mark.parametrize(
        ("parts", "joined"),
        [
            ([], ""),
            (["a ", "b"], "a b"),
            (["a\ud83d", "b"], "a\ufffdb"),
            (["\ude00"], "\ufffd"),
            (["\ude00\ud83d"], "\ufffd\ufffd"),
            (["a\udcff\udc80"], "a\ufffd\ufffd"),
        ],
    )
    def test_lone_halves_are_replaced_only_after_joining(
        self, parts: list[str], joined: str
    ) -> None:
        assert join_parts(parts) == joined

    @given(st.text())
    def test_any_content_decodes_and_joins_to_storable_text(self, content: str) -> None:
        join_parts([decode_part(content)[0]]).encode()


@given(st.binary())
def test_any_bytes_decode(data: bytes) -> None:
    text, utf8 = decode_bytes(data)
    again = text.encode("utf-8", "surrogateescape" if _escaped(text) else "surrogatepass")
    assert (again if utf8 else text.encode("latin-1")) == data


def _escaped(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


EXTENSION = "\f^{}\\[~]|€"
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


def reference(text: str) -> tuple[str, int, int, int]:
    """Fill segments one character at a time, as TS 23.040 has it."""
    gsm7 = all(character in BASIC + EXTENSION for character in text)

    def size(character: str) -> int:
        if gsm7:
            return 2 if character in EXTENSION else 1
        return len(character.encode("utf-16-le")) // 2

    units = sum(size(character) for character in text)
    single, multi = (160, 153) if gsm7 else (70, 67)
    encoding = "gsm7" if gsm7 else "ucs2"
    if units <= single:
        return encoding, 1, units, single
    count, used = 1, 0
    for character in text:
        if used + size(character) > multi:
            count, used = count + 1, 0
        used += size(character)
    return encoding, count, units, multi


class TestSegments:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ("gsm7", 1, 0, 160)),
            ("a" * 160, ("gsm7", 1, 160, 160)),
            ("a" * 161, ("gsm7", 2, 161, 153)),
            ("a" * 306, ("gsm7", 2, 306, 153)),
            ("a" * 307, ("gsm7", 3, 307, 153)),
            ("€" * 80, ("gsm7", 1, 160, 160)),
            ("a" + "€" * 80, ("gsm7", 2, 161, 153)),
            ("€" * 153, ("gsm7", 3, 306, 153)),
            ("я" * 70, ("ucs2", 1, 70, 70)),
            ("я" * 71, ("ucs2", 2, 71, 67)),
            ("я" * 135, ("ucs2", 3, 135, 67)),
            ("😀" * 35, ("ucs2", 1, 70, 70)),
            ("😀" * 67, ("ucs2", 3, 134, 67)),
            ("ç", ("ucs2", 1, 1, 70)),
            ("`", ("ucs2", 1, 1, 70)),
            ("\x1b", ("ucs2", 1, 1, 70)),
            ("a\x1b" * 40, ("ucs2", 2, 80, 67)),
        ],
    )
    def test_counts(self, text: str, expected: tuple[str, int, int, int]) -> None:
        assert segment(text) == Segments(*expected)  # type: ignore[arg-type]

    @given(st.text(st.sampled_from(BASIC + EXTENSION), max_size=500))
    def test_gsm7_agrees_with_filling_by_hand(self, text: str) -> None:
        assert segment(text) == Segments(*reference(text))  # type: ignore[arg-type]

    @given(st.text(st.sampled_from("aя😀€\x1b\t中"), max_size=300))
    def test_ucs2_agrees_with_filling_by_hand(self, text: str) -> None:
        assert segment(text) == Segments(*reference(text))  # type: ignore[arg-type]

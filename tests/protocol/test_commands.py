"""Verbs to text: what is written, and what is refused before a byte leaves."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.errors import InvalidRequest
from neogate_lab.protocol import commands
from neogate_lab.protocol.commands import check_query, cli, send_sms, send_ussd, ussd_reply
from neogate_lab.protocol.wire import Action, encode

NUMBER = "+390000000001"


def test_actions() -> None:
    assert commands.login("api", "pw").fields == (("Username", "api"), ("Secret", "pw"))
    assert commands.login("api", "pw", events=False).fields[-1] == ("Events", "off")
    assert commands.ping() == Action("Ping")
    assert commands.logoff() == Action("Logoff")
    assert commands.events() == Action("Events", (("EventMask", "on"),))
    assert cli("gsm show spans") == Action("SMSCommand", (("command", "gsm show spans"),))


def test_queries() -> None:
    assert commands.show_spans() == "gsm show spans"
    assert commands.show_span(2) == "gsm show span 2"
    assert commands.show_span(2, "gsm show") == "gsm show 2"


@pytest.mark.parametrize("span", [-1, True, 2.0, "2", None])
def test_a_span_is_a_whole_number(span: object) -> None:
    with pytest.raises(InvalidRequest):
        commands.show_span(span)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "api\r\nAction: Logoff", "a\0"])
def test_a_bad_user_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        commands.login(name, "pw")


def test_a_bad_password_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequest, match="password") as caught:
        commands.login("api", "hunter2\nAction: Ping")
    assert "hunter2" not in str(caught.value)


class TestCli:
    def test_the_whole_header_line_counts(self) -> None:
        command = "x" * (1024 - len("command: "))
        assert b"command: " + command.encode() in encode(cli(command))
        with pytest.raises(InvalidRequest, match=r"1025.*1024"):
            cli(command + "x")
        with pytest.raises(InvalidRequest, match=r"1024.*100\b"):
            cli(command, max_line=100)

    @pytest.mark.parametrize("command", ["", "  ", "a\nb", "a\rb", "a\0"])
    def test_it_is_one_line(self, command: str) -> None:
        with pytest.raises(InvalidRequest):
            cli(command)


class TestSendSms:
    def test_the_line(self) -> None:
        assert send_sms(2, NUMBER, "Hi", "a1") == f'gsm send sms 2 {NUMBER} "Hi" a1'

    def test_the_number_goes_as_given(self) -> None:
        assert " 0000 " in send_sms(2, "0000", "Hi", "a1")
        assert f" {NUMBER} " in send_sms(2, NUMBER, "Hi", "a1")

    @pytest.mark.parametrize(
        ("text", "encoded"),
        [
            ("a b", "a%20b"),
            ("1+1", "1%2B1"),
            ("100%", "100%25"),
            ("Az09_.~-", "Az09_.~-"),
            ("Привет", "%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82"),
            ("😀", "%F0%9F%98%80"),
            ("\"\\'", "%22%5C%27"),
            ("a\r\nAction: Logoff", "a%0D%0AAction%3A%20Logoff"),
            ("/*()!", "%2F%2A%28%29%21"),
        ],
    )
    def test_the_text_is_percent_encoded(self, text: str, encoded: str) -> None:
        assert send_sms(2, NUMBER, text, "a1") == f'gsm send sms 2 {NUMBER} "{encoded}" a1'

    @given(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
        ).filter(lambda text: len(text.encode()) <= 300)
    )
    def test_no_text_shifts_an_argument(self, text: str) -> None:
        words = send_sms(2, NUMBER, text, "a1").split(" ")
        assert words[:5] == ["gsm", "send", "sms", "2", NUMBER]
        assert words[6:] == ["a1"]
        assert words[5].isascii()
        assert unquote(words[5][1:-1]) == text

    @pytest.mark.parametrize(
        ("to", "why"),
        [
            ("", "empty"),
            ("390000000001.0", "float"),
            ("3.90000000001e+11", "float"),
            (" 390000000001.0 ", "float"),
            (390000000001, "text"),
            (None, "missing"),
            ("+", "digits"),
            ("++39", "digits"),
            ("Bob", "digits"),
            ("+39 000", "digits"),
            ("39-000", "digits"),
            ("390\n", "digits"),
            ("390\r\nAction: Logoff", "digits"),
            ("390000000001 2", "digits"),
            ('390"', "digits"),
            ("٣٩", "digits"),
            ("*100#", "USSD"),
        ],
    )
    def test_a_bad_number_is_refused(self, to: object, why: str) -> None:
        with pytest.raises(InvalidRequest, match=why) as caught:
            send_sms(2, to, "Hi", "a1")  # type: ignore[arg-type]
        assert "000000" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "empty"),
            ("a\0b", "NUL"),
            ("\ud83d", "surrogate"),
            (b"x", "bytes"),
            (None, "missing"),
        ],
    )
    def test_a_bad_text_is_refused(self, text: object, why: str) -> None:
        with pytest.raises(InvalidRequest, match=why):
            send_sms(2, NUMBER, text, "a1")  # type: ignore[arg-type]

    def test_1024_bytes_before_encoding(self) -> None:
        assert send_sms(2, NUMBER, "x" * 1024, "a1", max_line=5000)
        with pytest.raises(InvalidRequest, match=r"1025 bytes.*1024"):
            send_sms(2, NUMBER, "x" * 1025, "a1", max_line=5000)
        with pytest.raises(InvalidRequest, match=r"1026 bytes.*1024"):
            send_sms(2, NUMBER, "я" * 513, "a1", max_line=50000)

    def test_the_line_after_encoding_and_the_numbers(self) -> None:
        fixed = len(f'command: gsm send sms 2 {NUMBER} "" a1')
        fits = "x" * (1024 - fixed)
        assert cli(send_sms(2, NUMBER, fits, "a1"))
        with pytest.raises(InvalidRequest, match=r"1025\s+characters.*1024.*by 1 "):
            send_sms(2, NUMBER, fits + "x", "a1")
        letters = (1024 - fixed) // 6
        assert send_sms(2, NUMBER, "я" * letters, "a1")
        with pytest.raises(InvalidRequest, match="each Cyrillic letter six"):
            send_sms(2, NUMBER, "я" * (letters + 1), "a1")

    @pytest.mark.parametrize("id_", ["", "a b", 'a"', "a\n", "a\\", "é", "x" * 65, None, 7])
    def test_the_id_is_one_word(self, id_: object) -> None:
        with pytest.raises(InvalidRequest, match="id"):
            send_sms(2, NUMBER, "Hi", id_)  # type: ignore[arg-type]

    def test_the_longest_id(self) -> None:
        assert send_sms(2, NUMBER, "Hi", "x" * 64).endswith(" " + "x" * 64)


class TestUssd:
    def test_the_code_is_quoted_and_never_encoded(self) -> None:
        assert send_ussd(2, "*100#") == 'gsm send ussd 2 "*100#" 30'
        assert send_ussd(2, "*100*+39#", timeout=4.2) == 'gsm send ussd 2 "*100*+39#" 5'

    def test_the_longest_timeout(self) -> None:
        assert send_ussd(2, "1", 3600).endswith(" 3600")
        with pytest.raises(InvalidRequest, match="3600"):
            send_ussd(2, "1", 3601)

    @pytest.mark.parametrize("code", ["", "*100%23", '*100#"', "*100# 5", "*100#\n", "abc", None])
    def test_a_bad_code_is_refused(self, code: object) -> None:
        with pytest.raises(InvalidRequest, match="USSD code"):
            send_ussd(2, code)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "verb", [lambda t: send_ussd(2, "1", t), lambda t: ussd_reply(2, "1", t)]
    )
    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "30", None])
    def test_a_bad_timeout_is_refused(self, verb: Callable[[object], str], timeout: object) -> None:
        with pytest.raises(InvalidRequest, match="timeout"):
            verb(timeout)

    @pytest.mark.parametrize("answer", ["1", "Иван Петров", "my name's", "100%"])
    def test_an_answer_may_be_any_line(self, answer: str) -> None:
        assert ussd_reply(2, answer, 30) == f'gsm send ussd 2 "{answer}" 30'

    @pytest.mark.parametrize(
        "answer", ["", 'a"b', "a\\", "a\nb", "a\rb", "a\0", "a\x1a", "a\u2028b", "\ud800", None]
    )
    def test_a_bad_answer_is_refused(self, answer: object) -> None:
        with pytest.raises(InvalidRequest):
            ussd_reply(2, answer, 30)  # type: ignore[arg-type]


class TestCheckQuery:
    @pytest.mark.parametrize(
        "text",
        [
            "gsm show spans",
            "gsm show span 2",
            "core show version",
            "gsm",
            'gsm "show" sending',
            "send",
        ],
    )
    def test_queries_pass_as_they_are(self, text: str) -> None:
        assert check_query(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            'gsm send sms 2 390 "x" 1',
            "gsm send ussd 2 *100#",
            "gsm power off 2",
            "GSM Send SMS",
            "  gsm \t  send   sms",
            '"gsm" "send" sms',
            'g"s"m s"en"d',
            'gsm ""send',
            'g\\sm \\send "sms"',
            'g\\sm "send" sms',
            '"gsm send" sms',
            '"" gsm send',
            "gsm\x0bsend",
            'gsm "send',
            "gsm send",
        ],
    )
    def test_sending_and_switching_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="no query"):
            check_query(text)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("a  b\tc ", ["a", "b", "c"]),
            ('"a b" c', ["a b", "c"]),
            ('a"b c"d', ["ab cd"]),
            ("a\\ b", ["a b"]),
            ('\\"a b', ['"a', "b"]),
            ("a\\\\b", ["a\\b"]),
            ('"a\\" b"', ['a" b']),
            ('""', [""]),
            ("", []),
        ],
    )
    def test_words_are_split_as_the_driver_does(self, line: str, words: list[str]) -> None:
        assert commands._words(line) == words

    @pytest.mark.parametrize("text", ["", "  ", '""', "a\r\nb", "a\nAction: x", "a\0", None])
    def test_it_is_one_line(self, text: object) -> None:
        with pytest.raises(InvalidRequest):
            check_query(text)  # type: ignore[arg-type]

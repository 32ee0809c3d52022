"""Sending SMS through the facade: what the gateway got, decoded there, and what became of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from neogate_lab import errors

from .gateway import Firmware, Reply, Report
from .support import connect, eventually, rows, scripted, spans_again

NUMBER = "+79161234567"

TEXTS = (
    "hello",
    "Привет, как дела?",
    "你好 😀",
    'quotes " and \' and \\ and \\" too',
    "100% + 1 %41 %zz",
    "one\ntwo",
    "one\r\n\r\nAction: Logoff\r\n\r\n",
    'x" 1 \r\nCommand: gsm power off 2',
    "--END COMMAND--\r\n\r\n",
    " blanks around ",
    "a;b,c|d&e<f>g=h",
    "~tilde_under.dot-dash",
    "€[]{}^|~\\",
    "x" * 900,
)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_arrives_as_it_is(text: str) -> None:
    with scripted() as double, connect(double) as gw:
        assert gw.send_sms(NUMBER, text, port=1).status == "sent"
        [sms] = double.sms
        assert (sms.span, sms.number, sms.text) == (2, NUMBER, text)
        assert double.logins == [True]


@pytest.mark.parametrize("number", ["+79161234567", "79161234567", "10086", "900"])
def test_a_number_is_passed_on_as_given(number: str) -> None:
    with scripted() as double, connect(double) as gw:
        gw.send_sms(number, "hi", port=4)
        assert [(sms.span, sms.number) for sms in double.sms] == [(5, number)]


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("+7916\n1234567", "hello"),
        ("+79161234567\r\nAction: Logoff", "hello"),
        ('+79161234567" x', "hello"),
        ("+7916 1234567 x", "hello"),
        ("", "hello"),
        ("+79161234567\\", "hello"),
        ("+79161234567\0", "hello"),
        ("٠١٢٣٤٥٦", "hello"),
        (NUMBER, ""),
        (NUMBER, "x" * 1025),
        (NUMBER, "я" * 513),
        (NUMBER, "я" * 200),
        (NUMBER, "lone \ud83d surrogate"),
    ],
    ids=[
        *("newline", "injection", "quote", "words", "no number", "backslash", "nul", "digits"),
        *("no text", "1025 bytes", "1026 bytes", "line over 1024", "surrogate"),
    ],
)
def test_bad_input_sends_nothing(to: str, text: str) -> None:
    with scripted() as double, connect(double) as gw:
        with pytest.raises(errors.InvalidRequest) as caught:
            gw.send_sms(to, text, port=1)
        assert double.sends == []
        assert "1234567" not in str(caught.value)
        assert len(gw.outbox()) == 0
        assert len(gw.spans()) == 4


def test_the_numbers_of_a_limit_are_named() -> None:
    with scripted() as double, connect(double) as gw:
        with pytest.raises(errors.InvalidRequest, match="1024"):
            gw.send_sms(NUMBER, "x" * 1030, port=1)
        with pytest.raises(errors.InvalidRequest, match="1024"):
            gw.send_sms(NUMBER, "я" * 200, port=1)
        assert double.sends == []


def test_a_gateway_with_longer_lines_takes_longer_texts() -> None:
    with scripted(max_line=8192) as double, connect(double, max_line=8192) as gw:
        assert gw.send_sms(NUMBER, "я" * 500, port=1).status == "sent"
        assert double.sms[0].text == "я" * 500


def test_segments_are_counted() -> None:
    with scripted() as double, connect(double) as gw:
        texts = {"x" * 160: 1, "x" * 161: 2, "€" * 80: 1, "€" * 81: 2, "я" * 70: 1, "я" * 71: 2}
        counted = [gw.send_sms(NUMBER, text, port=1).segments for text in texts]
        assert counted == list(texts.values())
        assert gw.outbox()["segments"].tolist() == counted
        assert len(double.sms) == len(texts)


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ((Report(),), "sent"),
        ((Report(status="0"),), "failed"),
        ((Report(id="(null)", status="0"), Report(id="", status="0"), Report(delay=0.2)), "sent"),
        ((Report(id="someone-elses", status="0"), Report(delay=0.2)), "sent"),
        ((Report(), Report(delay=0.1)), "sent"),
        ((Report(), Report(delay=0.1, status="0")), "sent"),
        ((), "unknown"),
    ],
    ids=["sent", "failed", "null ids", "foreign id", "twice", "sent then failed", "never"],
)
def test_what_became_of_it(reports: tuple[Report, ...], status: str) -> None:
    with (
        scripted(reports=lambda sms: reports) as double,
        connect(double, sms_status_timeout=0.6) as gw,
    ):
        result = gw.send_sms(NUMBER, "hello", port=1)
        assert (result.status, len(double.sms)) == (status, 1)
        assert result.id == double.sms[0].id
        eventually(lambda: gw.outbox()["status"].tolist() == [status])
        [row] = rows(gw.outbox(status=status))
        assert (row["to"], row["text"], row["id"]) == (NUMBER, "hello", result.id)
        assert (row["error"] == "") == (status == "sent")


def test_ids_are_one_short_word_and_never_repeat() -> None:
    with scripted() as double, connect(double) as gw:
        for _ in range(3):
            gw.send_sms(NUMBER, "hello", port=1)
        ids = [sms.id for sms in double.sms]
        assert len(set(ids)) == 3
        assert all(0 < len(name) < 128 and name.isascii() for name in ids)
        assert all("1234567" not in name for name in ids)


def test_a_late_status_still_lands() -> None:
    with scripted(reports=lambda sms: ()) as double, connect(double) as gw:
        result = gw.send_sms(NUMBER, "hello", port=1, timeout=0.2)
        assert result.status == "written"
        assert gw.outbox()["status"].tolist() == ["written"]
        double.report(result.id)
        eventually(lambda: gw.outbox()["status"].tolist() == ["sent"])


def test_a_status_after_unknown_still_lands() -> None:
    with (
        scripted(reports=lambda sms: ()) as double,
        connect(double, sms_status_timeout=0.2) as gw,
    ):
        result = gw.send_sms(NUMBER, "hello", port=1)
        assert result.status == "unknown"
        double.report(result.id, status="0")
        eventually(lambda: gw.outbox()["status"].tolist() == ["failed"])


def test_not_waiting() -> None:
    with scripted() as double, connect(double) as gw:
        assert gw.send_sms(NUMBER, "hello", port=1, wait=False).status in {"queued", "written"}
        eventually(lambda: gw.outbox()["status"].tolist() == ["sent"])
        assert len(double.sms) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply("SMS message to long."), "message to long"),
        (Reply("Destination number to long."), "number to long"),
        (
            Reply(
                "No GSM running on span 2\n"
                f"Command 'gsm send sms 2 {NUMBER} \"top%20secret\" 7' failed."
            ),
            "No GSM running",
        ),
        (
            Reply(f"You don't have permissions to run 'gsm send sms 2 {NUMBER} x' command"),
            "permissions",
        ),
        (Reply(error="Permission denied"), "Permission denied"),
        (Reply(error="Failed to parse message: line too long"), "line too long"),
        (Reply(error="Failed to parse message: line too long", anonymous=True), "line too long"),
    ],
    ids=["text", "number", "span", "rights", "denied", "line", "line without ActionID"],
)
def test_a_refusal_is_a_result_in_the_gateways_words(reply: Reply, words: str) -> None:
    with scripted() as double, connect(double) as gw:
        double.script(f"gsm send sms 2 {NUMBER}", reply)
        result = gw.send_sms(NUMBER, "top secret", port=1)
        assert result.status == "failed"
        assert words in result.error
        assert "1234567" not in result.error
        assert "secret" not in result.error
        assert double.sms == []


@pytest.mark.parametrize("echo", [True, False], ids=["echo", "no echo"])
def test_a_send_that_is_never_answered_is_unknown_and_not_repeated(echo: bool) -> None:
    with (
        scripted(Firmware(echo_action_id=echo), reports=lambda sms: ()) as double,
        connect(double, command_timeout=0.3, sms_status_timeout=0.8) as gw,
    ):
        double.script(f"gsm send sms 2 {NUMBER}", Reply(swallow=True))
        assert gw.send_sms(NUMBER, "hello", port=1).status == "unknown"
        eventually(lambda: spans_again(gw) == 4)
        assert len(double.sms) == 1


def test_a_port_is_paced() -> None:
    with scripted() as double, connect(double, sms_interval=0.4) as gw:
        for _ in range(3):
            gw.send_sms(NUMBER, "hello", port=1)
        times = [sms.at for sms in double.sms]
        assert [b - a > 0.3 for a, b in pairwise(times)] == [True, True]


def test_a_key_sends_once() -> None:
    with scripted() as double, connect(double) as gw:
        first = gw.send_sms(NUMBER, "hello", port=1, key="order-7")
        again = gw.send_sms(NUMBER, "hello", port=1, key="order-7")
        assert (again.id, again.status) == (first.id, "sent")
        with pytest.raises(errors.InvalidRequest):
            gw.send_sms(NUMBER, "other words", port=1, key="order-7")
        assert len(double.sms) == 1


def test_a_budget_stops_before_it_costs() -> None:
    with scripted() as double, connect(double, sms_budget=2) as gw:
        gw.send_sms(NUMBER, "hello", port=1)
        with pytest.raises(errors.BudgetExceeded):
            gw.send_sms(NUMBER, "x" * 200, port=1)
        assert len(double.sms) == 1


def test_a_link_that_dies_while_sending_never_sends_twice() -> None:
    with (
        scripted(reports=lambda sms: ()) as double,
        connect(double, sms_status_timeout=4.0) as gw,
    ):
        double.script(f"gsm send sms 2 {NUMBER}", Reply(cut_at=0))
        result = gw.send_sms(NUMBER, "hello", port=1, timeout=0.3)
        assert result.status == "written"
        eventually(lambda: len(double.logins) == 2)
        [sms] = double.sms
        double.report(sms.id)
        eventually(lambda: gw.outbox()["status"].tolist() == ["sent"])
        assert len(double.sms) == 1


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_gateway_that_restarts_in_the_middle_of_a_batch(reset: bool) -> None:
    texts = [f"message {number}" for number in range(12)]
    rows = [{"to": NUMBER, "text": text, "port": "auto"} for text in texts]
    with (
        scripted() as double,
        connect(double, sms_interval=0.1, sms_status_timeout=0.8) as gw,
        ThreadPoolExecutor() as pool,
    ):
        sending = pool.submit(gw.send_many, rows, progress=False)
        eventually(lambda: len(double.sms) > 3)
        double.hang_up(reset=reset)
        double.listen()
        answer = sending.result(20)
        asked = [sms.text for sms in double.sms]
        assert len(asked) == len(set(asked)), "sent twice"
        left_out = set(texts) - set(asked)
        doubtful = set(answer[answer["status"].isin(["unknown", "failed"])]["text"])
        assert left_out <= doubtful
        assert set(answer["status"]) <= {"sent", "unknown", "failed"}
        assert (answer["status"] == "sent").sum() >= len(texts) - 4  # one under way on each port


def test_what_waits_for_a_dead_link_is_withdrawn() -> None:
    with scripted() as double, connect(double) as gw:
        gw.spans()
        double.hang_up()
        result = gw.send_sms(NUMBER, "hello", port=1, timeout=0.3)
        assert result.status == "cancelled"
        double.listen()
        eventually(lambda: gw.status == "connected")
        assert len(double.logins) == 2
        assert len(gw.spans()) == 4
        assert double.sms == []


def test_results_show_neither_number_nor_text_in_their_repr() -> None:
    with scripted() as double, connect(double) as gw:
        shown = repr(gw.send_sms(NUMBER, "top secret", port=1))
        assert "1234567" not in shown
        assert "secret" not in shown
        assert len(double.sms) == 1


@pytest.mark.parametrize(
    "command",
    [
        f'gsm send sms 2 {NUMBER} "hello" 7',
        'gsm send ussd 2 "*100#"',
        "GSM  Send sms 2 900 x",
        " gsm send sms 2 900 x",
        '"gsm" "send" sms 2 900 x',
        r"gsm s\end sms 2 900 x",
        "gsm power off 2",
        "gsm show spans\r\nAction: Logoff",
        "gsm show spans\n\nAction: Logoff",
        "gsm show spans\0",
        "",
    ],
)
def test_the_escape_hatch_never_sends(command: str) -> None:
    with scripted() as double, connect(double) as gw:
        with pytest.raises(errors.InvalidRequest):
            gw.command(command)
        assert not [said for said in double.commands if said not in {"gsm show spans"}]
        assert double.logins == [True]

"""A batch is checked as a whole, sent once, spread, followed, interrupted and taken up again."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neogate_lab as ng
from neogate_lab.errors import BudgetExceeded, ConnectionLost, InvalidRequest, NeogateWarning
from neogate_lab.history.schema import VIEWS
from neogate_lab.link.batch import drafts
from tests.support import eventually

Connect = Callable[..., ng.Gateway]


def people(count: int, **columns: Any) -> pd.DataFrame:
    numbers = [f"+7900{number:07d}" for number in range(count)]
    return pd.DataFrame({"to": numbers, "text": "hello", "port": "auto"} | columns)


def send(gw: ng.Gateway, frame: Any, **settings: Any) -> pd.DataFrame:
    return gw.send_many(frame, progress=False, **settings)


def bars(capsys: pytest.CaptureFixture[str]) -> str:
    """What is left to see on the last line of a terminal."""
    seen = ""
    for piece in capsys.readouterr().err.split("\r"):
        seen = piece + seen[len(piece) :]
    return seen.strip()


def test_the_frame_comes_back_with_what_became_of_each_row(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    frame = people(3, who=["a", "b", "c"]).set_index("who", drop=False)
    frame.loc["b", "text"] = "я" * 71
    answer = send(gw, frame)
    assert list(answer.index) == ["a", "b", "c"]
    assert list(answer.columns) == ["to", "text", "who", *VIEWS["batch"].names]
    assert list(answer.status) == ["sent"] * 3
    assert list(answer.segments) == [1, 2, 1]
    assert (answer.written_at <= answer.status_at).all()
    assert not answer.earlier.any()
    assert Counter(sms.text for sms in sim.sent) == Counter(frame.text)


def test_auto_spreads_over_the_ports_that_are_up(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    sim.remove_sim(3)
    up = set(gw.spans().query("up").port)
    assert 3 not in up
    frame = people(7, port=[1, 1, 1, *["auto"] * 4])
    answer = send(gw, frame)
    assert up == {1, 2}
    assert list(answer.port) == [1, 1, 1, 2, 2, 2, 1]  # the one with the least to do


def test_what_waits_on_a_port_that_goes_down_takes_another(
    sim: ng.SimulatedGateway, connect: Connect
) -> None:
    gw = connect(sms_interval=3.0)

    def unplug() -> None:
        eventually(lambda: list(gw.outbox(status="sent").port) == [1, 2, 3])
        sim.set_status(2, registered=False)

    unplugging = threading.Thread(target=unplug)
    unplugging.start()
    answer = send(gw, people(5, port=[1, 2, 3, "auto", "auto"]))  # planned for 1 and 2
    unplugging.join()
    assert list(answer.status) == ["sent"] * 5
    assert list(answer.port[:4]) == [1, 2, 3, 1]
    assert answer.port[4] in (1, 3)  # 3, unless port 1 had sent its second one by then
    assert {sms.to: sms.port for sms in sim.sent} == dict(zip(answer.to, answer.port, strict=True))


def test_without_a_port_that_is_up_auto_finds_none(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    for port in (1, 2, 3, 4):
        sim.remove_sim(port)
    with pytest.raises(InvalidRequest, match=r"no port of lab .* is up"):
        send(gw, people(1))


def test_every_bad_row_is_named_before_anything_is_sent(
    sim: ng.SimulatedGateway, gw: ng.Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"to": "+79001", "text": "fine", "port": 1, "key": "k"},
        {"to": 79001.0, "text": "x", "port": 1},
        {"to": "79001.0", "text": "x", "port": 1},
        {"to": 79001, "text": "x", "port": 1},
        {"to": "+79001", "text": "", "port": 1},
        {"to": "+79001", "text": "x", "port": 9},
        {"to": float("nan"), "text": None, "port": pd.NA},
        {"to": "+79001", "text": "x", "port": 1.5},
        {"to": "+79001", "text": "fine", "port": 1, "key": "k"},
        {"to": "+79001", "text": "я" * 600, "port": 1},
        {"to": "+79001", "text": "x", "port": 1, "key": 7},
        {"to": "+79001", "text": np.array([1, 2]), "port": 1},
        {"to": "+79001", "text": "\ud83d", "port": 1},
        {"to": "+79001", "text": "x" * 5000, "port": 1},
    ]
    with pytest.raises(InvalidRequest) as caught:
        gw.send_many(rows)
    said = str(caught.value)
    assert said.startswith("13 of the rows")
    assert "row 1-2: the number has a decimal point or exponent: a spreadsheet or read_csv" in said
    assert "row 3: the number is of type int" in said
    assert "row 4: the text is empty" in said
    assert "row 5: lab" in said
    assert "row 6: to and text and port missing" in said
    assert "row 7: port must be a whole number" in said
    assert "row 8: its key is used by row 0 already" in said
    assert "row 9: the text" in said
    assert "row 10: its key is of type int" in said
    assert "row 11: the text is of type ndarray" in said
    assert "row 12: the text holds half a surrogate pair" in said
    assert "row 13: the text has 5000 bytes in UTF-8" in said
    assert "79001" not in said
    assert sim.sent == []
    assert gw.outbox().empty
    gw.close()
    assert bars(capsys) == ""  # none that never moves


GOOD = {"to": "900", "text": "x", "port": 1}
ONE = pd.DataFrame({"to": ["900"], "text": ["x"], "port": [1], "key": ["k"]})


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (7, "takes a DataFrame"),
        ([1, 2], "takes a DataFrame"),
        ({"to": ["900"]}, "takes a DataFrame"),
        (ONE.drop(columns="port"), "no column port"),
        (ONE.rename(columns=str.upper), "'TO', 'TEXT', 'PORT', 'KEY' would not be read"),
        (ONE.rename(columns={"key": " Key"}), "' Key' would not be read"),
        (ONE[["to", "text", "port", "text"]], "two columns text"),
    ],
    ids=str,
)
def test_what_is_no_batch_is_refused(
    sim: ng.SimulatedGateway,
    gw: ng.Gateway,
    frame: Any,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        gw.send_many(frame)
    gw.close()  # the dispatcher has drawn everything then
    assert bars(capsys) == ""
    assert sim.sent == []


@pytest.mark.parametrize(
    ("row", "words"), [(7, "it is of type int"), (GOOD | {"Key": "k"}, "'Key' would not be read")]
)
def test_rows_without_a_frame_are_looked_at_one_by_one(row: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=f"row 1: {words}"):
        drafts([GOOD, row], lambda to, text, port: None, "")


def test_an_empty_batch_is_nothing(gw: ng.Gateway) -> None:
    assert list(send(gw, []).columns) == list(VIEWS["batch"].names)
    assert send(gw, people(0)).empty


def test_ports_come_as_tables_write_them(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    send(gw, people(3, port=[1.0, "2", 3]))
    assert sorted(sms.port for sms in sim.sent) == [1, 2, 3]


def test_a_key_that_stood_for_something_else_stops_the_whole_batch(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    gw.send_sms("+79000000001", "other", port=1, key="k1")
    with pytest.raises(InvalidRequest, match="row 1: this key was used"):
        send(gw, people(3, key=["k0", "k1", "k2"]))
    assert len(sim.sent) == len(gw.outbox()) == 1


# -- once ------------------------------------------------------------------------------------------
def test_the_same_batch_again_sends_nothing_twice(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    first = send(gw, people(3))
    with pytest.warns(NeogateWarning, match="nothing was sent now"):
        again = send(gw, people(3, port=1))  # whatever its ports
    assert list(again.id) == list(first.id)
    assert again.earlier.all()
    grown = send(gw, people(4))
    assert list(grown.earlier) == [True, True, True, False]
    assert len(sim.sent) == 4


def test_equal_rows_of_one_batch_are_as_many_sms(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    twice = pd.concat([people(1), people(1)])
    assert len(send(gw, twice).id.unique()) == 2
    with pytest.warns(NeogateWarning):
        send(gw, twice)
    assert len(sim.sent) == 2


def test_another_batch_sends_again_on_purpose(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    send(gw, people(2), batch="monday")
    send(gw, people(2), batch="tuesday")
    assert len(sim.sent) == 4


def test_a_failed_row_is_sent_again_only_when_asked(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    sim.set_send_outcome(outcome="failed", times=1)
    assert list(send(gw, people(1)).status) == ["failed"]
    with pytest.warns(NeogateWarning):
        assert list(send(gw, people(1)).status) == ["failed"]
    assert list(send(gw, people(1), retry_failed=True).status) == ["sent"]
    assert len(sim.sent) == 2


def test_its_answer_can_be_sent_in_again(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    answer = send(gw, people(2))
    with pytest.warns(NeogateWarning):
        assert list(send(gw, answer).id) == list(answer.id)
    assert len(sim.sent) == 2


# -- dry run, budget, waiting ----------------------------------------------------------------------
def test_a_dry_run_tells_segments_ports_and_time_and_sends_nothing(
    sim: ng.SimulatedGateway, connect: Connect
) -> None:
    gw = connect(sms_interval=10.0)
    gw.send_sms("+79000000000", "hello", port=1, key="old")
    frame = people(4, port=1, key=["old", "a", "b", "c"])
    plan = send(gw, frame, dry_run=True)
    assert list(plan.status) == ["sent", "planned", "planned", "planned"]
    assert list(plan.segments) == [1] * 4
    assert list(plan.due_at.diff().dt.total_seconds().dropna()) == [10.0, 10.0]
    assert len(sim.sent) == len(gw.outbox()) == 1
    with pytest.raises(InvalidRequest, match="row 0"):
        send(gw, frame.assign(text="other"), dry_run=True)


def test_over_the_budget_the_whole_batch_stays(sim: ng.SimulatedGateway, connect: Connect) -> None:
    gw = connect(sms_budget=3)
    for dry_run in (True, False):
        with pytest.raises(BudgetExceeded, match="row 3 is the first"):
            send(gw, people(4), dry_run=dry_run)
    assert gw.outbox().empty
    assert len(send(gw, people(3))) == len(sim.sent) == 3


def test_what_waits_shows_when_it_will_go(sim: ng.SimulatedGateway, connect: Connect) -> None:
    gw = connect(sms_interval=60.0)
    written = gw.send_sms("+79000000000", "hello", port=1).written_at
    for _ in range(2):
        gw.send_sms("+79000000000", "hello", port=1, wait=False)
    waiting = gw.waiting()
    assert written is not None
    assert [(due - written).total_seconds() for due in waiting.due_at] == [60.0, 120.0]
    assert list(waiting.port) == [1, 1]


def test_auto_needs_the_link_and_a_batch_for_ports_waits_for_it(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: "refused" in gw.status)  # the next attempt is far away, until asked for
    with pytest.raises(ConnectionLost):
        send(gw, people(1))
    timer = threading.Timer(0.2, lambda: (sim.accept_logins(), gw.reconnect()))
    timer.start()
    assert list(send(gw, people(2, port=1)).status) == ["sent", "sent"]
    timer.join()


# -- progress and interrupts -----------------------------------------------------------------------
def test_the_bar_counts_what_has_ended(
    sim: ng.SimulatedGateway, gw: ng.Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gw.send_many(people(3))
    gw.close()  # the dispatcher has drawn everything then
    assert "3/3" in bars(capsys)


def test_an_interrupt_withdraws_what_is_queued_and_the_same_call_goes_on(
    sim: ng.SimulatedGateway, connect: Connect
) -> None:
    gw = connect(sms_interval=0.15)

    def stop() -> None:
        sim.wait_until(lambda: len(sim.sent) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        send(gw, people(6, port=1))
    stopper.join()
    eventually(lambda: not any(gw.outbox().status == "queued"))
    left = len(sim.sent)
    assert left < 6
    answer = send(gw, people(6, port=1))
    assert list(answer.status) == ["sent"] * 6
    assert list(answer.earlier) == [True] * left + [False] * (6 - left)
    assert Counter(sms.to for sms in sim.sent) == Counter(people(6).to)


def test_one_sms_can_be_followed_without_waiting(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    seen: list[str] = []
    ended = threading.Event()

    def follow(result: ng.SmsResult) -> None:
        assert threading.current_thread().name == "neogate-dispatcher"
        seen.append(result.status)
        if result.status == "sent":
            ended.set()

    gw.send_sms("+79001", "hi", port=1, wait=False, progress=follow)
    assert ended.wait(5)
    assert seen == ["queued", "written", "sent"]

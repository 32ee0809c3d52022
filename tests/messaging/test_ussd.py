"""USSD on many ports, balances as a series, and that nothing else waits for a slow network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import neogate_lab as ng
from neogate_lab.errors import ConnectionLost, InvalidRequest
from neogate_lab.history.schema import VIEWS
from neogate_lab.simulator import UssdAnswer
from tests.support import eventually

Connect = Callable[..., ng.Gateway]


@pytest.fixture
def sim() -> Any:
    with ng.SimulatedGateway(ports=8, sms_delay=0.02, ussd_delay=0.01, restless=False) as sim:
        yield sim


def up(gw: ng.Gateway) -> list[int]:
    return list(gw.spans().query("up").port)


def test_every_port_that_is_up_is_asked(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    replies = gw.ussd_all("*114#")
    assert list(replies.columns) == list(VIEWS["replies"].names)
    assert list(replies.port) == up(gw)
    assert len(replies) > 2
    assert set(replies.text) == {"Bonus: 5"}
    assert list(gw.ussd_all("*108#", port=[2, 1]).outcome) == ["failed", "failed"]
    assert len(gw.ussd_log()) == len(replies) + 2


def test_ports_are_asked_at_the_same_time_but_four_at_once(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    ports = up(gw)
    sim.set_ussd(None, "*100#", UssdAnswer("5", delay=0.3))
    gw.ussd_all("*100#")
    log = gw.ussd_log().sort_values("time")
    assert (log.time.max() - log.time.min()).total_seconds() < 0.3 * (len(ports) - 1)
    assert sim.sessions <= 5


def test_nothing_is_asked_while_a_menu_is_open_elsewhere(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    with gw.ussd_session(port=1) as menu:
        menu.send("*101#")
        for ask in (lambda: gw.ussd_all("*100#"), lambda: gw.ussd("*100#", port=1)):
            with pytest.raises(InvalidRequest, match=r"port 1 .* in the middle of another USSD"):
                ask()
        assert len(gw.ussd_log()) == 1
        assert gw.ussd("*114#", port=2).text == "Bonus: 5"
    assert gw.ussd("*114#", port=1).text == "Bonus: 5"


@pytest.mark.parametrize("bad", [{"code": "100"[:0]}, {"code": "*100#", "port": 99}])
def test_what_can_not_be_asked(gw: ng.Gateway, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        gw.ussd_all(**bad)
    assert gw.ussd_log().empty


def test_a_silent_gateway_is_told_a_port_and_a_lost_link_is_raised(
    sim: ng.SimulatedGateway, connect: Connect
) -> None:
    gw = connect(command_timeout=0.2)
    sim.set_ussd(1, "*100#", UssdAnswer(trouble="never"))
    replies = gw.ussd_all("*100#", port=[1, 2], timeout=0.2).set_index("port")
    assert replies.outcome[1] == "timeout"
    assert replies.outcome[2] == "done"
    sim.stop()
    eventually(lambda: gw.status != "connected")
    with pytest.raises(ConnectionLost):
        gw.ussd_all("*100#")


def test_a_slow_ussd_delays_no_survey_no_event_and_no_send(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    sim.set_ussd(1, "*100#", UssdAnswer("5", delay=6.0))
    answers: list[ng.UssdReply] = []
    asking = threading.Thread(target=lambda: answers.append(gw.ussd("*100#", port=1)))
    asking.start()
    assert sim.wait_until(lambda: any("ussd" in command.text for command in sim.commands))
    survey = gw.survey(every=0.25, duration=1.0, progress=False)
    assert gw.send_sms("+79001", "hi", port=1).status == "sent"
    sim.receive_sms(port=1, sender="900", text="now")
    assert gw.wait_for_sms(since="1m", timeout=5).text == "now"
    survey.wait(5)
    assert not answers  # everything above happened while the network thought
    asking.join()
    assert answers[0].text == "5"
    rows = survey.frame()
    assert rows.ok.all()
    ticks = sorted(rows.time.unique())
    assert len(ticks) == 4
    assert all(round((b - a).total_seconds(), 6) == 0.25 for a, b in pairwise(ticks))


# -- balances --------------------------------------------------------------------------------------
def test_balances_are_asked_read_and_kept(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    assert gw.balances().empty
    now = gw.balances("*100#")
    assert list(now.columns) == list(VIEWS["balances"].names)
    assert [sim.balance(int(port)) for port in now.port] == pytest.approx(list(now.amount), abs=0.5)
    sim.set_ussd(1, "*100#", "Service unavailable")
    gw.ussd("*103#", port=1)
    later = gw.balances("*100#", port=1)
    assert later.amount.isna().all()
    series = gw.balances()
    assert len(series) == len(now) + 1
    assert set(series.code) == {"*100#"}
    assert len(gw.balances(port=1)) == 2
    assert gw.balances(until="1h").empty


def test_each_operator_has_its_code(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    details = gw.diagnostics().query("up")
    first = details.iloc[0]
    same = details[(details.operator == first.operator) & (details.network == first.network)]
    asked = gw.balances({str(first.operator or first.network).upper(): "*100#", "Nobody": "*1#"})
    assert set(same.port) <= set(asked.port)
    assert set(asked.code) == {"*100#"}
    with pytest.raises(InvalidRequest, match="none of these operators"):
        gw.balances({"Nobody": "*1#"})

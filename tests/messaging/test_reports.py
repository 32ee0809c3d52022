"""Gateways that report late, never, twice, for another's id or with (null): results say what is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import neogate_lab as ng
from tests.support import eventually

Connect = Callable[..., ng.Gateway]


def send(gw: ng.Gateway, **settings: Any) -> ng.SmsResult:
    return gw.send_sms("+79000000001", "hello", **{"port": 1, **settings})


def test_a_late_report_settles_what_was_written(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    sim.set_send_outcome(delay=0.4)
    told: list[str] = []
    settled = threading.Event()

    def follow(result: ng.SmsResult) -> None:
        told.append(result.status)
        if result.status == "sent":
            settled.set()

    result = send(gw, timeout=0.05, progress=follow)
    assert (result.status, result.error) == ("written", "")
    assert settled.wait(5)
    assert told == ["queued", "written", "sent"]
    assert list(gw.outbox().status) == ["sent"]


def test_a_report_after_the_verdict_corrects_it(sim: ng.SimulatedGateway, connect: Connect) -> None:
    gw = connect(sms_status_timeout=0.2)
    sim.set_send_outcome(outcome="never")
    result = send(gw)
    assert result.status == "unknown"
    assert "never reported" in result.error
    sim.report_sms(result.id)
    eventually(lambda: list(gw.outbox().status) == ["sent"])
    assert len(sim.sent) == 1


@pytest.mark.parametrize("outcome", ["sent", "failed"])
def test_a_doubled_report_counts_once(
    sim: ng.SimulatedGateway, gw: ng.Gateway, outcome: Any
) -> None:
    sim.set_send_outcome(outcome=outcome, twice=True)
    result = send(gw)
    assert result.status == outcome
    assert bool(result.error) == (outcome == "failed")
    assert len(gw.outbox()) == 1


@pytest.mark.parametrize("identity", ["", "someone-elses"], ids=["(null)", "foreign"])
def test_a_report_that_is_not_for_it_settles_nothing(
    sim: ng.SimulatedGateway, connect: Connect, identity: str
) -> None:
    gw = connect(sms_status_timeout=0.2)
    sim.set_send_outcome(report_as=identity)
    assert send(gw).status == "unknown"
    assert len(gw.outbox()) == 1

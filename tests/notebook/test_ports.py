"""The list of ports: what stands beside each, that a choice stays, and that it heals by itself."""

from __future__ import annotations

import time

import pytest

import neogate_lab as ng
from neogate_lab.notebook import ports
from neogate_lab.notebook.ports import PortPanel
from tests.support import eventually

every_panel = pytest.mark.parametrize(
    "make", [ng.ComposePanel, ng.UssdPanel, ng.InboxPanel, ng.SignalPanel]
)


def label(panel: PortPanel, wanted: int) -> str:
    return next((label for label, port in panel.port_field.options if port == wanted), "")


@every_panel
def test_what_is_learnt_of_the_ports_is_no_choice_of_another(
    make: type[PortPanel], gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.set_signal(2, 20)
    panel = make(gw, port=2)
    chosen: list[int | None] = []
    panel.port_field.observe(lambda change: chosen.append(change["new"]), "value")
    eventually(lambda: "−73 dBm" in label(panel, 2))
    sim.set_signal(2, 10)
    panel.refresh_button.click()
    eventually(lambda: "−93 dBm" in label(panel, 2))
    assert chosen == []
    assert (panel.port_field.value, panel.port_field.label) == (2, label(panel, 2))
    assert panel.port_field.options[panel.port_field.index][1] == 2
    panel.port_field.value = 3
    panel.port_field.index = [port for _, port in panel.port_field.options].index(4)
    assert chosen == [3, 4]


def test_the_first_port_that_works_is_chosen_in_one_step(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.remove_sim(1)
    sim.freeze()
    panel = ng.ComposePanel(gw)
    chosen: list[int | None] = []
    panel.port_field.observe(lambda change: chosen.append(change["new"]), "value")
    sim.thaw()
    eventually(lambda: chosen)
    assert chosen == [2]


def test_a_question_stays_open_while_the_ports_become_known(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = ng.ComposePanel(gw, port=2, confirm_above=1)
    eventually(lambda: "dBm" in label(panel, 2))
    panel.to_field.value, panel.text_field.value = "+79261234567", "a" * 161
    panel.send_button.click()
    sim.set_signal(2, 9)
    panel.refresh_button.click()
    eventually(lambda: "−95 dBm" in label(panel, 2))
    assert "Send it?" in panel.status_line.value
    panel.confirm_button.click()
    eventually(lambda: len(sim.sent) == 1)


@pytest.mark.parametrize("make", [ng.ComposePanel, ng.UssdPanel, ng.InboxPanel, ng.SignalPanel])
def test_a_panel_of_a_link_that_is_down_heals_by_itself(
    make: type[PortPanel], gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: gw.status != "connected")
    panel = make(gw)
    eventually(lambda: "error:" in panel.status_line.value)
    sim.accept_logins()
    gw.reconnect()
    eventually(lambda: "dBm" in label(panel, 1))
    assert "error:" not in panel.status_line.value
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: gw.status != "connected")
    panel.refresh_button.click()
    eventually(lambda: "error:" in panel.status_line.value)
    panel._say("good", "something", "else")
    sim.set_signal(1, 9)
    sim.accept_logins()
    gw.reconnect()
    eventually(lambda: "−95 dBm" in label(panel, 1))
    assert "something" in panel.status_line.value


def test_a_question_that_fails_on_a_link_that_is_up_is_put_again_in_peace(
    gw: ng.Gateway, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_LOOK", 0.01)
    monkeypatch.setattr(ports, "_ASK_AGAIN", 0.3)
    asked = 0

    async def refused(link: object) -> list[object]:
        nonlocal asked
        asked += 1
        raise ng.CommandRefused("not now")

    with monkeypatch.context() as patch:
        patch.setattr(ng.AsyncGateway, "spans", refused)
        panel = ng.ComposePanel(gw)
        eventually(lambda: "not now" in panel.status_line.value)
        panel._say("good", "something", "else")
        before, began = asked, time.monotonic()
        eventually(lambda: asked == before + 2)
        assert time.monotonic() - began > 0.3
        assert "something" in panel.status_line.value
    eventually(lambda: len(panel.port_field.options) == 4)

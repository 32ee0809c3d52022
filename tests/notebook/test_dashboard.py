"""Dashboard: four panels in tabs, and a connection that is shown and restored."""

from __future__ import annotations

import pytest

import neogate_lab as ng
from tests.support import eventually


def test_the_panels_stand_in_tabs_and_work(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    board = ng.Dashboard(gw)
    assert board.tabs.titles == ("Signal", "Inbox", "Send an SMS", "USSD")
    assert "connected" in board.connection.value
    eventually(lambda: board.compose.port_field.value == 1)
    board.compose.to_field.value, board.compose.text_field.value = "+791", "hello"
    board.compose.send_button.click()
    eventually(lambda: "<bdi>sent</bdi>" in board.compose.status_line.value)
    eventually(lambda: "reading" not in board.inbox.status_line.value)
    sim.receive_sms(port=1, sender="Bank", text="hi")
    eventually(lambda: "1 unread" in board.inbox.count.value)


def test_a_lost_connection_is_told_and_can_be_restored_at_once(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    board = ng.Dashboard(gw)
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: "neogate-bad" in board.connection.value)
    sim.accept_logins()

    def press_until_connected() -> bool:
        board.reconnect_button.click()
        return "neogate-good" in board.connection.value

    eventually(press_until_connected)
    eventually(lambda: not board.reconnect_button.disabled)


def test_it_replaces_an_earlier_one_and_leaves_panels_elsewhere_alone(gw: ng.Gateway) -> None:
    alone = ng.ComposePanel(gw)
    first, second = ng.Dashboard(gw), ng.Dashboard(gw)
    assert first.reconnect_button.disabled
    assert "use the newer one" in first.status_line.value
    assert first.compose.send_button.disabled
    assert not alone.send_button.disabled
    assert not second.compose.send_button.disabled


def test_a_closed_gateway_is_a_state_too(gw: ng.Gateway) -> None:
    board = ng.Dashboard(gw)
    gw.close()
    eventually(lambda: "<bdi>closed</bdi>" in board.connection.value)
    board.reconnect_button.click()
    eventually(lambda: not board.reconnect_button.disabled)
    board.close()


def test_where_no_widget_can_be_shown_the_state_is(gw: ng.Gateway) -> None:
    shown = ng.Dashboard(gw)._repr_mimebundle_()["text/html"]
    assert "connected" in shown
    assert "need a front end with widgets" in shown


def test_nothing_else_is_taken(gw: ng.Gateway) -> None:
    with pytest.raises(ng.InvalidRequest, match="knows no port; it takes a gateway alone"):
        ng.Dashboard(gw, port=1)

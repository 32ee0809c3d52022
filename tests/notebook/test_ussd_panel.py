"""UssdPanel: answers, menus, outcomes in plain words, and whose the port is."""

from __future__ import annotations

import ipywidgets as widgets
import pytest

import neogate_lab as ng
from neogate_lab.notebook import ussd
from neogate_lab.simulator.ussd import UssdAnswer
from tests.support import eventually


def dial(gateway: ng.Gateway, code: str, port: int = 1) -> ng.UssdPanel:
    panel = ng.UssdPanel(gateway, port=port)
    eventually(lambda: len(panel.port_field.options) == 4)
    press(panel, code)
    return panel


def press(panel: ng.UssdPanel, code: str) -> None:
    panel.code_field.value = code
    panel.send_button.click()
    answered(panel)


def answered(panel: ng.UssdPanel) -> None:
    eventually(lambda: not panel.send_button.disabled)


def choices(panel: ng.UssdPanel) -> list[str]:
    return [button.description for button in panel.choices.children]


def menu_shown(panel: ng.UssdPanel) -> bool:
    return panel._menu.layout.display != "none"


def test_an_answer_is_shown_and_kept(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.set_ussd(1, "*100#", "Balance: 12.50\nSpend it well!")
    panel = dial(gw, "*100#")
    assert "<bdi>answered</bdi>" in panel.status_line.value
    assert "<bdi>Balance: 12.50\nSpend it well!</bdi>" in panel.answer.value
    assert "<td><bdi>*100#</bdi></td><td><bdi>answered</bdi></td>" in panel.transcript.value
    assert ">Time (UTC)</th>" in panel.transcript.value
    assert not menu_shown(panel)
    assert list(gw.ussd_log().outcome) == ["done"]


def test_the_button_waits_for_the_answer(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    panel = ng.UssdPanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    sim.freeze()
    panel.code_field.value = "*100#"
    for _ in range(3):
        panel.send_button.click()
        assert panel.send_button.disabled
    assert "<bdi>waiting</bdi>" in panel.status_line.value
    sim.thaw()
    answered(panel)
    assert panel.transcript.value.count("<bdi>*100#</bdi>") == 1


def test_enter_dials_and_replies_with_what_was_typed_last(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = ng.UssdPanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)

    def enter(field: widgets.Text, value: str) -> None:
        for other in panel._fields:
            other.set_state({"answered": panel.asked})
        field._handle_custom_msg({"event": "submit"}, [])
        assert "for what was typed last" in panel.status_line.value
        for other in panel._fields:
            late = {"value": value} if other is field else {}
            other.set_state({"answered": panel.asked, **late})
        assert panel.send_button.disabled
        answered(panel)

    enter(panel.code_field, "*101#")
    assert menu_shown(panel)
    enter(panel.reply_field, "1")
    assert list(gw.ussd_log().code) == ["*101#", "1"]


def test_a_menu_in_ucs2_is_walked_by_its_buttons(gw: ng.Gateway) -> None:
    panel = dial(gw, "*102#")
    assert choices(panel) == ["1  Баланс", "2  Тариф", "3  Услуги"]
    assert menu_shown(panel)
    panel.choices.children[2].click()
    answered(panel)
    assert choices(panel) == ["1  Роуминг", "2  Интернет", "0  Назад"]
    panel.choices.children[0].click()
    answered(panel)
    panel.choices.children[0].click()
    answered(panel)
    assert "<bdi>Роуминг: Включить</bdi>" in panel.answer.value
    assert not menu_shown(panel)
    assert list(gw.ussd_log().code) == ["*102#", "3", "1", "1"]
    assert panel.transcript.value.count("<bdi>menu</bdi>") == 3


def test_a_menu_takes_a_typed_reply_too(gw: ng.Gateway) -> None:
    panel = dial(gw, "*101#")
    panel.reply_field.value = "2"
    panel.reply_button.click()
    answered(panel)
    assert "Tariff: MegaFon 300" in panel.answer.value
    assert panel.reply_field.value == ""


def test_an_open_menu_keeps_its_port_until_it_is_left(gw: ng.Gateway) -> None:
    panel = dial(gw, "*101#")
    assert panel.port_field.disabled
    with pytest.raises(ng.InvalidRequest, match="in the middle of another USSD"):
        gw.ussd("*100#", port=1)
    panel.leave_button.click()
    assert "<bdi>left</bdi>" in panel.status_line.value
    assert not menu_shown(panel)
    assert not panel.port_field.disabled
    assert gw.ussd("*100#", port=1).outcome == "done"


def test_a_code_during_a_menu_begins_anew(gw: ng.Gateway) -> None:
    panel = dial(gw, "*101#")
    press(panel, "*100#")
    assert "<bdi>answered</bdi>" in panel.status_line.value
    assert not menu_shown(panel)
    assert gw.ussd("*100#", port=1).outcome == "done"


@pytest.mark.parametrize("how", ["dial", "reply"])
def test_what_can_not_be_sent_leaves_the_menu_open(how: str, gw: ng.Gateway) -> None:
    panel = dial(gw, "*101#")
    if how == "dial":
        press(panel, 'no "code"')
    else:
        panel.reply_field.value = 'a "quote"'
        panel.reply_button.click()
        answered(panel)
    assert "error:" in panel.status_line.value
    assert menu_shown(panel)
    assert "2 Tariff" in panel.answer.value
    panel.choices.children[1].click()
    answered(panel)
    assert "Tariff: MegaFon 300" in panel.answer.value


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("*103#", "ended", "the network closed the session"),
        ("*104#", "taken", "another client of this SIM got the answer"),
        ("*105#", "not supported", "the network does not know this operation"),
        ("*106#", "network timeout", "the network gave up waiting"),
        ("*108#", "failed", "the gateway could not send it"),
        ("*109#", "timeout", "can&#x27;t be cancelled"),
        ("*110#", "busy", "still occupied by an earlier USSD"),
        ("", "error:", "a USSD code is"),
        ("12a", "error:", "a USSD code is"),
    ],
)
def test_every_outcome_is_told_in_words(
    code: str, status: str, words: str, gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ussd, "TIMEOUT", 1.0)
    panel = dial(gw, code)
    assert f"<bdi>{status}</bdi>" in panel.status_line.value
    assert words in panel.status_line.value
    assert not menu_shown(panel)


def test_every_outcome_has_its_words() -> None:
    from typing import get_args

    from neogate_lab.protocol.records import UssdOutcome

    assert set(ussd._MEANINGS) == set(get_args(UssdOutcome))


def test_a_lost_connection_is_told_and_frees_the_port(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.set_ussd(1, "*120#", UssdAnswer("late", delay=60.0))
    panel = ng.UssdPanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    panel.code_field.value = "*120#"
    panel.send_button.click()
    eventually(lambda: any("*120#" in command.text for command in sim.commands))
    sim.restart()
    answered(panel)
    assert "error:" in panel.status_line.value
    assert "<td><bdi>error</bdi></td>" in panel.transcript.value
    eventually(lambda: gw.status == "connected")
    assert gw.ussd("*100#", port=1).outcome == "done"


def test_running_the_cell_again_gives_the_port_to_the_newer_panel(gw: ng.Gateway) -> None:
    first = dial(gw, "*101#")
    second = dial(gw, "*100#")
    assert first.send_button.disabled
    assert "<bdi>answered</bdi>" in second.status_line.value


def test_a_menu_that_arrives_after_the_panel_was_closed_holds_no_port(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = ng.UssdPanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    sim.freeze()
    panel.code_field.value = "*101#"
    panel.send_button.click()
    panel.close()
    sim.thaw()
    eventually(lambda: len(gw.ussd_log()) == 1)

    def free() -> bool:
        try:
            return gw.ussd("*100#", port=1).outcome == "done"
        except ng.InvalidRequest:
            return False

    eventually(free)


def test_a_strangers_menu_is_shown_as_text(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.set_ussd(1, "*121#", {"": "<b>x</b>\n1 <img src=x onerror=alert(1)>", "1": "<script>"})
    panel = dial(gw, "*121#")
    assert "<bdi>&lt;b&gt;x&lt;/b&gt;" in panel.answer.value
    assert choices(panel) == ["1  <img src=x onerror=alert(1)>"]  # set as text by the front end
    panel.choices.children[0].click()
    answered(panel)
    assert "&lt;script&gt;" in panel.transcript.value
    assert "<script" not in panel.transcript.value


def test_waiting_can_be_stopped_and_the_panel_says_what_that_means(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.set_ussd(1, "*120#", UssdAnswer("late", delay=60.0))
    panel = ng.UssdPanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    press(panel, "*100#")
    assert "neogate-answer" in panel.answer.value
    assert panel.stop_button.disabled
    panel.code_field.value = "*120#"
    panel.send_button.click()
    eventually(lambda: any("*120#" in command.text for command in sim.commands))
    eventually(lambda: not panel.stop_button.disabled)
    assert panel.answer.value == ""
    panel.stop_button.click()
    answered(panel)
    assert panel.answer.value == ""
    assert "can&#x27;t be cancelled" in panel.status_line.value
    assert "<td><bdi>stopped</bdi></td>" in panel.transcript.value
    eventually(lambda: list(gw.ussd_log().outcome) == ["done", "interrupted"])
    assert panel.stop_button.disabled


def test_presets_fill_the_code_and_learn_what_was_dialled(gw: ng.Gateway) -> None:
    panel = ng.UssdPanel(gw, port=1, presets={"balance": "*100#"})
    eventually(lambda: len(panel.port_field.options) == 4)
    panel.preset_field.value = "*100#"
    assert panel.code_field.value == "*100#"
    press(panel, "*102#")
    assert panel.preset_field.options == (
        ("choose …", ""),
        ("balance", "*100#"),
        ("*102#", "*102#"),
    )
    assert panel.code_field.value == "*102#"


@pytest.mark.parametrize("presets", ["*100#", [100], {"balance": ""}, 7])
def test_presets_must_be_codes(presets: object, gw: ng.Gateway) -> None:
    with pytest.raises(ng.InvalidRequest, match="preset"):
        ng.UssdPanel(gw, presets=presets)  # type: ignore[arg-type]


def test_a_code_that_still_waits_for_its_port_was_not_sent(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.set_ussd(1, "*120#", UssdAnswer("late", delay=60.0))
    panel = ng.UssdPanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)

    def press_and_stop(code: str, meanwhile: str) -> None:
        panel.code_field.value = code
        panel.send_button.click()
        eventually(lambda: meanwhile in panel.status_line.value and not panel.stop_button.disabled)
        panel.stop_button.click()
        answered(panel)

    press_and_stop("*120#", "for the network, up to 30 s")
    assert "the code was sent" in panel.status_line.value
    press_and_stop("*100#", "for the port, which is still busy with an earlier USSD")
    assert "nothing was sent" in panel.status_line.value
    assert "cancelled" not in panel.status_line.value
    assert "<td><bdi>*100#</bdi></td><td><bdi>not sent</bdi></td>" in panel.transcript.value
    assert not any("*100#" in command.text for command in sim.commands)
    assert list(gw.ussd_log().code) == ["*120#"]


@pytest.mark.parametrize("how", ["dial", "reply"])
def test_an_answer_goes_with_its_code(
    how: str, gw: ng.Gateway, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ussd, "TIMEOUT", 1.0)
    panel = dial(gw, "*101#")
    assert choices(panel)
    sim.freeze()
    if how == "dial":
        panel.code_field.value = "*100#"
        panel.send_button.click()
    else:
        panel.choices.children[0].click()
    assert panel.answer.value == ""
    assert choices(panel) == []
    sim.drop_connections()
    sim.thaw()
    answered(panel)
    assert "error:" in panel.status_line.value
    assert panel.answer.value == ""
    assert not menu_shown(panel)

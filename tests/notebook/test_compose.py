"""ComposePanel: what it costs, that it is sent once, and what becomes of it."""

from __future__ import annotations

import pytest

import neogate_lab as ng
from neogate_lab.notebook import compose
from tests.notebook.conftest import Connect
from tests.support import eventually


def written(gateway: ng.Gateway, text: str = "hello", to: str = "+79261234567") -> ng.ComposePanel:
    panel = ng.ComposePanel(gateway, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    panel.to_field.value, panel.text_field.value = to, text
    return panel


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 characters · GSM-7 · 0 segments · 0 of 160"),
        ("a", "1 character · GSM-7 · 1 segment · 1 of 160"),
        ("€", "1 character · GSM-7 · 1 segment · 2 of 160"),
        ("a" * 161, "161 characters · GSM-7 · 2 segments · 161 of 306"),
        ("Привет", "6 characters · UCS-2 · 1 segment · 6 of 70"),
        ("я" * 71, "71 characters · UCS-2 · 2 segments · 71 of 134"),
        ("😀", "1 character · UCS-2 · 1 segment · 2 of 70"),
    ],
)
def test_the_counter_follows_the_text(text: str, words: str, gw: ng.Gateway) -> None:
    assert words in written(gw, text).counter.value


def test_the_status_follows_the_sms(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="never")
    panel = written(gw, "Привет, мир")
    panel.send_button.click()
    assert panel.send_button.disabled
    eventually(lambda: "<bdi>written</bdi>" in panel.status_line.value)
    assert "<td><bdi>written</bdi></td>" in panel.history.value
    eventually(lambda: sim.sent)
    sim.report_sms(sim.sent[0].id)
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value)
    assert "<td><bdi>sent</bdi></td><td><bdi>Привет, мир</bdi></td>" in panel.history.value
    eventually(lambda: not panel.send_button.disabled)
    assert [(sms.to, sms.text) for sms in sim.sent] == [("+79261234567", "Привет, мир")]


def test_a_second_press_sends_nothing(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    panel = written(gw)
    for _ in range(5):
        panel.send_button.click()
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value)
    assert len(sim.sent) == 1
    eventually(lambda: not panel.send_button.disabled)
    panel.send_button.click()  # after its end it is another SMS
    eventually(lambda: len(sim.sent) == 2)
    eventually(lambda: panel.history.value.count("<bdi>sent</bdi>") == 2)


def test_a_failure_is_shown_in_words(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="failed")
    panel = written(gw)
    panel.send_button.click()
    eventually(lambda: "<bdi>failed</bdi>" in panel.status_line.value)
    assert "the gateway reported that sending failed" in panel.status_line.value
    eventually(lambda: not panel.send_button.disabled)
    sim.set_send_outcome(outcome="sent")
    panel.send_button.click()
    eventually(lambda: "<td><bdi>sent</bdi></td>" in panel.history.value)
    assert ">Time (UTC)</th>" in panel.history.value
    assert "<bdi>failed</bdi>" in panel.history.value
    assert "<bdi>the gateway reported that sending failed</bdi>" in panel.history.value


@pytest.mark.parametrize(
    ("to", "text", "words"),
    [
        ("", "hello", "the number is empty"),
        ("+7926\n123", "hello", "number"),
        ("+79261234567", "", "the text is empty"),
        ("+79261234567", "я" * 2000, "1024"),
    ],
)
def test_what_can_not_be_sent_is_refused_in_the_panels_own_line(
    to: str, text: str, words: str, gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = written(gw, text, to)
    panel.send_button.click()
    panel.confirm_button.click()
    eventually(lambda: "error:" in panel.status_line.value)
    assert words in panel.status_line.value
    assert not panel.send_button.disabled
    assert panel.history.value == ""
    assert not sim.sent


def test_an_sms_that_waits_for_its_turn_does_not_keep_the_button(
    connect: Connect, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "PATIENCE", 0.3)
    gateway = connect(sms_interval=3600.0)
    panel = written(gateway)
    panel.send_button.click()
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value)
    eventually(lambda: not panel.send_button.disabled)
    panel.send_button.click()
    eventually(lambda: "waiting for its turn" in panel.status_line.value)
    assert panel.send_button.disabled
    eventually(lambda: not panel.send_button.disabled)
    assert len(sim.sent) == 1
    gateway.close()
    eventually(lambda: "was closed" in panel.status_line.value)


def test_a_late_report_still_reaches_the_history(
    gw: ng.Gateway, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "PATIENCE", 0.2)
    sim.set_send_outcome(outcome="never", times=1)
    panel = written(gw, "first")
    panel.send_button.click()
    eventually(lambda: "<bdi>written</bdi>" in panel.status_line.value)
    eventually(lambda: not panel.send_button.disabled)
    panel.text_field.value = "second"
    panel.send_button.click()
    eventually(lambda: "<td><bdi>sent</bdi></td><td><bdi>second</bdi></td>" in panel.history.value)
    line = panel.status_line.value
    sim.report_sms(sim.sent[0].id, accepted=False)
    eventually(lambda: "<bdi>failed</bdi>" in panel.history.value)
    assert "sending failed</bdi></div></td><td><bdi>first</bdi></td>" in panel.history.value
    assert panel.status_line.value == line  # which belongs to the latest SMS


def test_a_panel_made_again_shows_what_was_sent_and_follows_it(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    first = written(gw, "first")
    first.send_button.click()
    eventually(lambda: "<td><bdi>sent</bdi></td><td><bdi>first</bdi></td>" in first.history.value)
    eventually(lambda: not first.send_button.disabled)
    sim.set_send_outcome(outcome="never")
    first.text_field.value = "second"
    first.send_button.click()
    eventually(
        lambda: "<td><bdi>written</bdi></td><td><bdi>second</bdi></td>" in first.history.value
    )
    again = ng.ComposePanel(gw, port=1)
    assert again.history.value == first.history.value
    sim.report_sms(sim.sent[1].id)
    eventually(lambda: "<td><bdi>sent</bdi></td><td><bdi>second</bdi></td>" in again.history.value)
    assert "<td><bdi>sent</bdi></td><td><bdi>first</bdi></td>" in again.history.value
    assert again.status_line.value == ""  # which belongs to what it sends itself
    with ng.demo() as other:
        assert ng.ComposePanel(other).history.value == ""


def test_the_history_has_a_bound_and_its_oldest_do_not_come_back(
    gw: ng.Gateway, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "HISTORY", 2)
    monkeypatch.setattr(compose, "PATIENCE", 0.1)
    sim.set_send_outcome(outcome="never", times=1)
    panel = written(gw)
    for text in ("first", "second", "third"):
        panel.text_field.value = text
        panel.send_button.click()
        eventually(lambda: not panel.send_button.disabled)
    eventually(lambda: panel.history.value.count("<bdi>sent</bdi>") == 2)
    sim.report_sms(sim.sent[0].id)
    eventually(lambda: list(gw.outbox().status) == ["sent"] * 3)
    assert "first" not in panel.history.value
    assert panel.history.value.count("<bdi>sent</bdi>") == 2


def test_no_report_at_all_is_unknown(connect: Connect, sim: ng.SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="never")
    panel = written(connect(sms_status_timeout=0.3))
    panel.send_button.click()
    eventually(lambda: "<bdi>unknown</bdi>" in panel.status_line.value)
    assert "look before sending again" in panel.status_line.value


def test_a_closed_gateway_hides_no_outcome(connect: Connect, sim: ng.SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="never")
    gateway = connect(sms_status_timeout=0.3)
    panel = written(gateway)
    panel.send_button.click()
    eventually(lambda: "<bdi>unknown</bdi>" in panel.status_line.value)
    gateway.close()
    eventually(lambda: "lab was closed; connect again" in panel.status_line.value)
    assert "look before sending again" in panel.status_line.value


def test_what_a_queued_sms_waits_for_is_told(
    connect: Connect, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "LOOK", 0.05)
    gateway = connect(sms_interval=3600.0)
    panel = written(gateway)
    panel.send_button.click()
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value and not panel._busy)
    panel.send_button.click()
    eventually(lambda: "waiting for its turn on the port" in panel.status_line.value)
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: "waiting for the connection" in panel.status_line.value)
    sim.accept_logins()
    gateway.reconnect()
    eventually(lambda: "waiting for its turn on the port" in panel.status_line.value)
    assert len(sim.sent) == 1


def test_a_link_that_is_down_is_told(connect: Connect, sim: ng.SimulatedGateway) -> None:
    gateway = connect()
    panel = written(gateway)
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: gateway.status != "connected")
    panel.send_button.click()
    eventually(lambda: "<bdi>queued</bdi>" in panel.status_line.value)
    assert "waiting for the connection" in panel.status_line.value
    assert "next attempt" not in panel.status_line.value
    sim.accept_logins()
    gateway.reconnect()
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value)
    assert len(sim.sent) == 1


def test_what_was_sent_goes_on_without_the_panel(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="never")
    panel = written(gw)
    panel.send_button.click()
    eventually(lambda: len(sim.sent) == 1)
    panel.close()
    eventually(lambda: sim.sent)
    sim.report_sms(sim.sent[0].id)
    eventually(lambda: list(gw.outbox().status) == ["sent"])
    assert "This panel was closed." in panel.status_line.value


def test_the_history_shows_text_as_text(gw: ng.Gateway) -> None:
    panel = written(gw, "<script>alert(1)</script>")
    panel.send_button.click()
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value)
    assert "<script" not in panel.history.value
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in panel.history.value


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("hello", ""),
        ("я" * 10, ""),
        ("я" * 71, "charged as 2 SMS"),
        ("a" * 155, "5 units left; beyond that it is charged as 2 SMS"),
        ("a" * 200 + "…", "without … it would be 2 segments of GSM-7, not 3"),
    ],
)
def test_what_makes_it_dear_is_told_before(text: str, warning: str, gw: ng.Gateway) -> None:
    shown = written(gw, text).warning.value
    assert warning in shown
    assert bool(warning) == ("neogate-warn" in shown)


@pytest.mark.parametrize(
    ("to", "text", "words"),
    [
        ("+79261234567", "я" * 600, "the text has 1200 bytes in UTF-8, and the gateway takes 1024"),
        ("", "я" * 600, "the text has 1200 bytes in UTF-8, and the gateway takes 1024"),
        ("+79261234567", " " * 340, "Shorten it by 58 encoded characters"),
        ("7926 ", " " * 340, "Shorten it by "),
        ("+79261234567", "half a \ud83d", "half a surrogate pair"),
    ],
)
def test_what_would_be_refused_is_told_while_it_is_written_and_not_asked_about(
    to: str, text: str, words: str, gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = written(gw, text, to)
    assert "can&#x27;t be sent: " in panel.warning.value
    assert words in panel.warning.value
    assert "charged" not in panel.warning.value
    panel.send_button.click()
    assert "error:" in panel.status_line.value
    assert "Send it?" not in panel.status_line.value
    assert panel.confirmation.layout.display == "none"
    panel.text_field.value = "hello"
    assert panel.warning.value == ""


def test_what_fits_with_a_short_number_only_is_told_with_the_long_one(gw: ng.Gateway) -> None:
    panel = written(gw, "a" * 960, "1")
    assert "charged as 7 SMS" in panel.warning.value
    panel.to_field.value = "1" * 15
    assert "Shorten it by" in panel.warning.value


def test_many_segments_are_sent_only_after_a_second_press(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = ng.ComposePanel(gw, port=1, confirm_above=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    assert panel.confirmation.layout.display == "none"
    panel.to_field.value, panel.text_field.value = "+79261234567", "a" * 161
    panel.send_button.click()
    assert "are charged as 2 SMS" in panel.status_line.value
    assert panel.send_button.disabled
    panel.cancel_button.click()
    assert "not sent" in panel.status_line.value
    panel.send_button.click()
    panel.text_field.value = "b" * 161  # another text needs another answer
    assert panel.confirm_button.disabled
    panel.send_button.click()
    panel.confirm_button.click()
    eventually(lambda: "<bdi>sent</bdi>" in panel.status_line.value)
    assert [sms.text for sms in sim.sent] == ["b" * 161]


def test_a_number_of_segments_is_needed(gw: ng.Gateway) -> None:
    with pytest.raises(ng.InvalidRequest, match="whole number of segments"):
        ng.ComposePanel(gw, confirm_above="many")  # type: ignore[arg-type]

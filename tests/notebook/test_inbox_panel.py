"""InboxPanel: what came in, what is unread, one message whole, and its one-time code."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

import neogate_lab as ng
from neogate_lab.notebook import inbox as inbox_module
from tests.support import eventually


def inbox(gateway: ng.Gateway, **options: object) -> ng.InboxPanel:
    panel = ng.InboxPanel(gateway, **options)  # type: ignore[arg-type]
    eventually(lambda: panel._known.is_set() and len(panel.port_field.options) == 5)
    eventually(lambda: "reading" not in panel.status_line.value)
    return panel


def rows(panel: ng.InboxPanel) -> list[str]:
    return [
        f"{row.button.description[:1]} {row.text.value}"
        for row in panel._rows
        if row.box.layout.display != "none"
    ]


def receive(sim: ng.SimulatedGateway, panel: ng.InboxPanel, *texts: str, port: int = 1) -> None:
    for text in texts:
        many = len(panel._messages)
        sim.receive_sms(port=port, sender="Bank", text=text)
        eventually(lambda many=many: len(panel._messages) > many)  # type: ignore[misc]
    eventually(lambda: drawn(panel) and len(rows(panel)) > 0)


def drawn(panel: ng.InboxPanel) -> bool:
    with panel._lock:
        return not panel._news


def test_messages_come_in_live_newest_first_and_unread(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = inbox(gw)
    assert rows(panel) == []
    assert "no messages" in panel.count.value
    receive(sim, panel, "first", "second")
    assert ["second" in row for row in rows(panel)] == [True, False]
    assert all(row.startswith("●") for row in rows(panel))
    assert "2 unread" in panel.count.value
    assert "<bdi>new message</bdi>" in panel.status_line.value


def test_what_was_there_before_is_read(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.receive_sms(port=1, sender="Bank", text="old")
    gw.wait_for_sms(since="1m")
    panel = inbox(gw)
    eventually(lambda: len(rows(panel)) == 1)
    assert "0 unread" in panel.count.value
    receive(sim, panel, "new")
    again = inbox(gw)
    eventually(lambda: len(rows(again)) == 2)
    assert "1 unread" in again.count.value  # what was not opened stays so in the next panel
    again.read_button.click()
    assert "0 unread" in again.count.value


def test_a_message_is_opened_and_its_code_can_be_copied(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = inbox(gw)
    text = "Your code is 482913. " + "Never tell it to anybody. " * 10
    receive(sim, panel, text)
    assert panel.code_field.layout.display == "none"
    assert text not in "".join(rows(panel))
    panel._rows[0].button.click()
    assert f"<bdi>{text}</bdi>" in panel.message.value
    assert "0 unread" in panel.count.value
    assert panel.code_field.value == "482913"
    assert panel.code_field.layout.display == ""
    panel.code_field.value = "4829130"  # a slip of the hand
    assert panel.code_field.value == "482913"


@pytest.mark.parametrize(
    ("parts", "words"),
    [(1, "1 of 2 parts missing"), (2, "perhaps mixed with another of the same reference")],
)
def test_what_is_wrong_with_a_message_is_told(gw: ng.Gateway, parts: int, words: str) -> None:
    panel = inbox(gw)
    panel._arrived(
        ng.ReceivedSms(
            "lab",
            1,
            2,
            "Bank",
            "x",
            datetime.now(UTC),
            parts=parts,
            total=2,
            complete=False,
            row_id=1,
        )
    )
    eventually(lambda: len(rows(panel)) == 1)
    panel._rows[0].button.click()
    assert f"UTC · {words}<" in panel.message.value


def test_filters_work_together(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    panel = inbox(gw)
    receive(sim, panel, "Balance: 5", "Your taxi waits")
    receive(sim, panel, "balance: 7", port=2)
    panel.text_field.value = "BALANCE"
    assert len(rows(panel)) == 2
    assert "1 filtered out" in panel.count.value
    panel.port_field.value = 2
    assert len(rows(panel)) == 1
    panel.sender_field.value = "somebody else"
    assert rows(panel) == []
    panel.sender_field.value, panel.text_field.value, panel.port_field.value = "", "", 0
    panel._rows[0].button.click()
    panel.unread_field.value = True
    assert len(rows(panel)) == 3  # the one that is open stays
    panel._rows[1].button.click()
    assert len(rows(panel)) == 2


def test_many_messages_come_in_pages(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    panel = inbox(gw)
    receive(sim, panel, *(f"number {number}" for number in range(12)))
    assert "1–10 of 12" in panel.count.value
    assert panel.newer_button.disabled
    panel.older_button.click()
    assert "11–12 of 12" in panel.count.value
    assert ["number 1<" in rows(panel)[0], "number 0<" in rows(panel)[1]] == [True, True]
    assert panel.older_button.disabled
    panel.newer_button.click()
    assert "number 11<" in rows(panel)[0]


def test_what_is_chosen_is_exported(
    gw: ng.Gateway, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    panel = inbox(gw)
    receive(sim, panel, "=1+1")
    receive(sim, panel, "not this", port=2)
    panel.port_field.value = 1
    row = panel.export_row
    row.path_field.value = str(tmp_path / "inbox.csv")
    row.write_button.click()
    eventually(lambda: "<bdi>written</bdi>" in panel.status_line.value)
    assert list(ng.read_csv(tmp_path / "inbox.csv").text) == ["=1+1"]
    row.path_field.value = str(tmp_path / "inbox.doc")
    row.write_button.click()
    eventually(lambda: "no known format" in panel.status_line.value)
    receive(sim, panel, "balance 5")
    panel.text_field.value, row.path_field.value = "BALANCE", str(tmp_path / "inbox.parquet")
    row.write_button.click()
    eventually(lambda: "<bdi>written</bdi>" in panel.status_line.value)
    assert list(ng.read_parquet(tmp_path / "inbox.parquet").text) == ["balance 5"]


def test_a_file_that_is_there_is_replaced_by_a_second_press_alone(
    gw: ng.Gateway, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    panel = inbox(gw)
    receive(sim, panel, "new")
    path, row = tmp_path / "precious.csv", panel.export_row
    path.write_text("precious")
    row.path_field.value = str(path)
    row.write_button.click()
    assert "press again to replace" in panel.status_line.value
    assert path.read_text() == "precious"
    row.write_button.click()
    eventually(lambda: "<bdi>written</bdi>" in panel.status_line.value)
    assert list(ng.read_csv(path).text) == ["new"]
    row.write_button.click()
    assert "press again to replace" in panel.status_line.value


def test_an_export_is_not_pressed_twice_though_a_message_comes(
    gw: ng.Gateway, sim: ng.SimulatedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, hold = inbox(gw), threading.Event()
    monkeypatch.setattr(inbox_module, "export", lambda *_, **__: hold.wait(30) and tmp_path)
    panel.export_row.path_field.value = str(tmp_path / "a.csv")
    panel.export_row.write_button.click()
    receive(sim, panel, "meanwhile")
    assert panel.export_row.write_button.disabled
    hold.set()
    eventually(lambda: not panel.export_row.write_button.disabled)


def test_many_messages_at_once_are_drawn_together(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    panel = inbox(gw)
    drawn: list[str] = []
    panel.count.observe(lambda change: drawn.append(change["new"]), "value")
    for number in range(40):
        sim.receive_sms(port=1, sender="Bank", text=str(number))
    eventually(lambda: drawn and "40 unread" in drawn[-1])
    assert len(drawn) < 20


def test_a_newer_panel_ends_the_earlier_one(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    first, second = inbox(gw), inbox(gw)
    receive(sim, second, "hello")
    assert first._messages == {}
    assert "use the newer one" in first.status_line.value
    assert first.read_button.disabled


def test_a_bad_since_is_told(gw: ng.Gateway) -> None:
    panel = ng.InboxPanel(gw, since="yesterday")
    eventually(lambda: "since takes a time" in panel.status_line.value)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "<img src=x onerror=a()>"])
def test_a_strangers_text_is_only_text(text: str, gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    panel = inbox(gw)
    receive(sim, panel, text)
    panel._rows[0].button.click()
    assert "<script" not in panel.message.value + rows(panel)[0]
    assert "<img" not in panel.message.value + rows(panel)[0]
    assert "&lt;" in panel.message.value
    assert text not in panel._repr_mimebundle_()["text/html"]

"""Every variant of the field, however its bytes are cut: one whole conversation, value by value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .gateway import Cut, Reply, awkward, bytewise, percent, ussd_body
from .support import by_span, connect, eventually, messages, rows, scripted
from .variants import FIRMWARES, PORTS, TG200_PORTS

MENU = "1 Баланс\n\n2 Тарифы"


@pytest.mark.parametrize("cut", [bytewise, awkward])
@pytest.mark.parametrize("name", FIRMWARES)
def test_whole_conversation(name: str, cut: Cut) -> None:
    firmware = replace(FIRMWARES[name], cut=cut)
    ports = PORTS.get(name, TG200_PORTS)
    with scripted(firmware, ports) as double, connect(double) as gw:
        spans = by_span(gw.spans())
        assert list(spans) == [port.span for port in ports]
        for port in ports:
            assert spans[port.span].items() >= port.spans_row.items()
            assert spans[port.span]["port"] == port.span - 1

        detail = by_span(gw.diagnostics())
        assert list(detail) == [port.span for port in ports]
        for port in ports:
            assert detail[port.span].items() >= port.row.items()

        double.ussd(2, "*100#", Reply(ussd_body(2, MENU, style=firmware.ussd, responses=1)))
        reply = gw.ussd("*100#", port=1)
        assert (reply.outcome, reply.menu, reply.doubtful) == ("menu", True, False)
        assert reply.text.rstrip("\n") == MENU

        for index in (3, 1, 2):
            content = percent(("Привет, ", "как дела, ", "друг 😀?")[index - 1], bom=True)
            double.receive_sms(content, span=5, id="E9510086", index=index, total=3)
        double.receive_sms("Ok", sender="MegaFon", index=0)
        long, short = messages(gw, 2)
        assert long["text"] == "Привет, как дела, друг 😀?"
        assert (long["span"], long["port"], long["sender"]) == (5, 4, "+79161234567")
        assert (long["parts"], long["total"], long["complete"]) == (3, 3, True)
        assert (short["text"], short["sender"], short["port"]) == ("Ok", "MegaFon", 1)

        result = gw.send_sms("+79161234567", "До встречи + 100%", port=1)
        assert (result.status, result.error) == ("sent", "")
        [sms] = double.sms
        assert (sms.span, sms.number, sms.text) == (2, "+79161234567", "До встречи + 100%")
        assert [row["status"] for row in rows(gw.outbox())] == ["sent"]
    assert double.logins.count(False) == 0
    assert eventually(lambda: double.connections[0].actions[-1]["action"].lower() == "logoff")


@pytest.mark.parametrize("name", ["manual2013", "usage-for-span"])
def test_the_spelling_that_worked_is_remembered(name: str) -> None:
    with scripted(FIRMWARES[name]) as double, connect(double) as gw:
        gw.diagnostics()
        tries = sum(command.startswith("gsm show span ") for command in double.commands)
        assert gw.diagnostics()["signal"].tolist()[:2] == [17, 5]
        gw.sample()
        assert sum(command.startswith("gsm show span ") for command in double.commands) == tries


def test_a_gateway_that_speaks_the_long_spelling_is_never_asked_in_the_short_one() -> None:
    with scripted() as double, connect(double) as gw:
        gw.diagnostics()
        assert "gsm show span 2" in double.commands
        assert not {"gsm show 2", "gsm show 3"} & set(double.commands)

"""The verbs over TCP: opening leaves nothing behind when it fails, closing ends whatever runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    LoginRefused,
    NeogateWarning,
    NoAnswer,
    StoreError,
)
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.memory import MemoryLedger
from neogate_lab.link.options import LinkOptions
from neogate_lab.simulator import FIRMWARES, SimulatedGateway, UssdAnswer
from tests.support import login

from .support import START, Peer, answer, eventually, follows, listening, turn


@pytest.fixture
def sim() -> Iterator[SimulatedGateway]:
    with SimulatedGateway(sms_delay=0.02, ussd_delay=0.01, restless=False, login_delay=0.02) as sim:
        yield sim


def gateway(sim: SimulatedGateway, **settings: Any) -> AsyncGateway:
    return AsyncGateway(sim.host, **login(sim, **settings))


# -- opening ---------------------------------------------------------------------------------------
async def test_a_wrong_password_is_one_attempt_and_leaves_nothing(sim: SimulatedGateway) -> None:
    ledger = MemoryLedger()
    gw = gateway(sim, password="wrong", ledger=ledger)
    with pytest.raises(LoginRefused) as caught:
        await gw.open()
    assert "wrong" not in str(caught.value)
    assert sim.login_attempts == 1
    assert ledger.tables == {}  # what never was connected is not closed either
    assert sim.wait_until(lambda: sim.sessions == 0)
    with pytest.raises(GatewayClosed):
        await gw.open()


@pytest.mark.parametrize("verb", ["recent_parts", "waiting"])
async def test_a_store_that_fails_leaves_no_session_and_no_file(
    sim: SimulatedGateway, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = MemoryLedger()

    def broken(*arguments: Any) -> Any:
        raise StoreError("the store is damaged")

    monkeypatch.setattr(ledger, verb, broken)
    gw = gateway(sim, ledger=ledger, record=tmp_path / "wire.jsonl")
    with pytest.raises(StoreError):
        await gw.open()
    assert gw.closed
    assert sim.wait_until(lambda: sim.sessions == 0)


async def test_an_interrupted_opening_leaves_nothing(sim: SimulatedGateway) -> None:
    sim.freeze()
    opening = asyncio.create_task(gateway(sim).open())
    await eventually(lambda: sim.connections == 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    sim.thaw()
    assert sim.wait_until(lambda: sim.sessions == 0)


async def test_a_gateway_that_does_not_list_its_ports_is_connected_all_the_same() -> None:
    async def serve(peer: Peer) -> None:
        await peer.hear_login()
        while True:
            action = await peer.action()
            if action["action"] == "Logoff":
                peer.say(answer(action, "Goodbye", "x"))
                peer.writer.close()
                return
            peer.say(follows(action, "something that nobody knows\n"))

    async with listening() as listener:
        gw = AsyncGateway("127.0.0.1", port=listener.port, username="a", password="b")
        opening = asyncio.create_task(gw.open())
        serving = asyncio.create_task(serve(await listener.peer()))
        await opening
        assert gw.status == "connected"
        await gw.close()
        await serving


@pytest.mark.parametrize(
    "bad",
    [
        {"connect_timeout": 0},
        {"keepalive": float("nan")},
        {"command_timeout": "15"},
        {"sms_interval": -1},
        {"max_line": 5},
        {"span_offset": True},
        {"sms_budget": 1.5},
        {"gateway_timezone": "Mars/Olympus"},
    ],
    ids=str,
)
def test_bad_settings_are_named(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(InvalidRequest, match=name):
        LinkOptions(**bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"host": ""},
        {"port": 70_000},
        {"port": "5038"},
        {"username": ""},
        {"password": "a\r\nAction: Logoff"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_bad_arguments_are_refused_before_any_connection(bad: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"host": "h", "username": "u", "password": "p"}
    with pytest.raises(InvalidRequest) as caught:
        AsyncGateway(**(usual | bad))
    assert "Logoff" not in str(caught.value)


async def test_sms_that_a_dead_process_left_are_warned_of_and_not_sent(
    sim: SimulatedGateway,
) -> None:
    class Left(MemoryLedger):
        def waiting(self, gateway: str) -> Any:
            future = super().waiting(gateway)
            for row in future.result():
                row["owner_alive"] = False
            return future

    ledger = Left()
    row = {"queued_at": START, "gateway": "lab", "port": 1, "span": 2, "to": "900", "text": "x"}
    ledger.enqueue(row | {"id": "ng1", "key": "k", "segments": 1}).result()
    gw = gateway(sim, ledger=ledger)
    with pytest.warns(NeogateWarning, match="1 SMS queued") as caught:
        await gw.open()
    assert [warning.filename for warning in caught] == [__file__]
    assert sim.sent == []
    await gw.close()


# -- verbs -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("firmware", sorted(FIRMWARES))
async def test_every_firmware_is_understood(firmware: str) -> None:
    with SimulatedGateway(firmware=firmware, restless=False) as sim:
        for port in (1, 2, 3):
            sim.set_signal(port, 10 + port)
        async with gateway(sim) as gw:
            assert [status.span for status in await gw.spans()] == [2, 3, 4, 5]
            for _ in range(2):
                details = await gw.diagnostics()
                assert [detail.signal for detail in details[:3]] == [11, 12, 13]
            rows = await gw.sample("roof")
            assert [(row.port, row.ok, row.label) for row in rows] == [
                (port, True, "roof") for port in (1, 2, 3, 4)
            ]
        asked = [command.text for command in sim.commands]
        spelling = "gsm show " if firmware == "manual2013" else "gsm show span "
        # The other spelling is tried once, and what worked is remembered.
        assert asked.count(f"{spelling}2") == 3
        assert sum(text.startswith("gsm show span ") for text in asked) in (1, 12)


async def test_each_row_has_the_latency_of_its_own_answer(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        await gw.sample()
        sim.delay_replies(0.05)
        rows = await gw.sample()
        latencies = [row.latency_ms for row in rows]
        assert latencies == sorted(latencies)
        assert latencies[-1] > 2 * latencies[0]


async def test_ports_may_come_from_a_frame(sim: SimulatedGateway) -> None:
    numpy = pytest.importorskip("numpy")
    ledger = MemoryLedger()
    async with gateway(sim, ledger=ledger) as gw:
        rows = await gw.sample(port=numpy.array([2, 1, 2], dtype="int16"))
        assert [(type(row.port), row.port) for row in rows] == [(int, 2), (int, 1)]
        await gw.ussd("*114#", port=numpy.int64(1))
        assert type(ledger.tables["ussd"][0]["port"]) is int


@pytest.mark.parametrize("port", [0, 9, -1, True, "1", 1.5, None, [1, 9], []], ids=repr)
async def test_a_port_that_is_not_there_is_named(sim: SimulatedGateway, port: Any) -> None:
    async with gateway(sim) as gw:
        with pytest.raises(InvalidRequest, match="port"):
            await gw.send_sms("900", "x", port=port)
        assert sim.sent == []


async def test_a_command_is_a_query_only(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        assert len(await gw.command("gsm show spans")) == 4
        for bad in ('gsm send sms 2 900 "x"', "GSM  Power off 2", "a\r\nAction: Logoff", ""):
            with pytest.raises(InvalidRequest):
                await gw.command(bad)
        with pytest.raises(CommandRefused):
            await gw.command("gsm shwo spans")
        assert sim.sent == []


async def test_down_every_query_raises_and_a_sample_is_recorded(sim: SimulatedGateway) -> None:
    ledger = MemoryLedger()
    async with gateway(sim, ledger=ledger) as gw:
        sim.stop()
        await eventually(lambda: gw.status.startswith("down"))
        for verb in (gw.spans(), gw.diagnostics(), gw.command("gsm show spans")):
            with pytest.raises(ConnectionLost, match=r"next attempt|restored"):
                await verb
        rows = await gw.sample("roof")
        assert [(row.ok, row.error, row.label) for row in rows] == [
            (False, "disconnected", "roof")
        ] * 4
        assert len(ledger.tables["signal"]) == 4
        sim.start()
        await gw.reconnect()
        await eventually(lambda: gw.status == "connected")
        assert len(await gw.spans()) == 4


async def test_one_event_that_cannot_be_handled_takes_nothing_down(
    sim: SimulatedGateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(sim) as gw:
        sim.send_event("UpdateSMSSend", ID="x", Status="maybe")

        def broken(packet: Any) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(gw._inbound, "arrived", broken)
            sim.receive_sms(port=1, sender="900", text="x")
            await eventually(lambda: "could not be handled" in caplog.text)
        assert "could not be understood" in caplog.text
        assert gw.status == "connected"


# -- messages --------------------------------------------------------------------------------------
@pytest.mark.parametrize("outcome", ["sent", "failed"])
async def test_sending_returns_the_gateways_verdict(sim: SimulatedGateway, outcome: Any) -> None:
    sim.set_send_outcome(outcome=outcome, twice=True)
    async with gateway(sim) as gw:
        result = await gw.send_sms("+79001234567", "hi, 100% & more", port=1, key="k")
        assert result.status == outcome
        again = await gw.send_sms("+79001234567", "hi, 100% & more", port=1, key="k")
        assert again.id == result.id
        assert [sms.text for sms in sim.sent] == ["hi, 100% & more"]


async def test_foreign_and_nameless_reports_touch_nothing(sim: SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="never")
    async with gateway(sim, sms_status_timeout=0.3) as gw:
        sending = asyncio.create_task(gw.send_sms("900", "hi", port=1))
        await eventually(lambda: sim.sent)
        sim.report_sms("", accepted=False)
        sim.report_sms("other", accepted=False)
        result = await sending
        assert result.status == "unknown"


async def test_a_report_in_the_moment_of_closing_is_recorded(sim: SimulatedGateway) -> None:
    ledger = MemoryLedger()
    sim.set_send_outcome(outcome="never")
    async with gateway(sim, ledger=ledger) as gw:
        result = await gw.send_sms("900", "hi", port=1, timeout=0)
        assert result.status == "written"
        gw._reports.put_nowait((result.id, True, ""))
    assert ledger.tables["outbox"][0]["status"] == "sent"


async def test_waiting_for_an_sms(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        waiting = asyncio.create_task(gw.wait_for_sms(sender="900", contains="code", port=2))
        await turn()
        sim.receive_sms(port=2, sender="901", text="code 1")
        sim.receive_sms(port=2, sender="900", text="hello")
        sim.receive_sms(port=1, sender="900", text="code 2")
        sim.receive_sms(port=2, sender="900", text="code 3")
        assert (await waiting).text == "code 3"
        assert (await gw.wait_for_sms(since=timedelta(minutes=1), contains="hel")).text == "hello"
        with pytest.raises(NoAnswer, match="inbox"):
            await gw.wait_for_sms(timeout=0.01)
        with pytest.raises(InvalidRequest):
            await gw.wait_for_sms(since="yesterday")


async def test_handlers_are_called_once_in_order_plain_or_coroutine(
    sim: SimulatedGateway,
) -> None:
    async with gateway(sim) as gw:
        heard: list[str] = []

        async def later(message: ReceivedSms) -> None:
            await asyncio.sleep(0)
            heard.append(f"later {message.text}")

        def broken(message: ReceivedSms) -> None:
            raise ValueError("mine")

        gw.on_sms(broken, name="broken")
        gw.on_sms(lambda message: heard.append(f"now {message.text}"), name="now")
        gw.on_sms(later, name="later")
        with pytest.warns(NeogateWarning, match="'broken'"):  # noqa: PT031 - it comes later
            sim.receive_sms(port=1, sender="900", text="a")
            await eventually(lambda: len(heard) == 2)
        gw.off_sms("broken")
        sim.receive_sms(port=1, sender="900", text="b")
        await eventually(lambda: len(heard) == 4)
        assert heard == ["now a", "later a", "now b", "later b"]
        assert [name for name, _ in gw.handler_errors] == ["broken"]


async def test_a_handler_may_close_its_own_gateway(sim: SimulatedGateway) -> None:
    gw = await gateway(sim).open()

    async def enough(message: ReceivedSms) -> None:
        await gw.close()

    gw.on_sms(enough, name="enough")
    sim.receive_sms(port=1, sender="900", text="a")
    await eventually(lambda: sim.sessions == 0)
    await eventually(lambda: not gw._tasks)


# -- closing ---------------------------------------------------------------------------------------
async def test_closing_ends_whatever_runs(sim: SimulatedGateway) -> None:
    sim.set_ussd(1, "*100#", UssdAnswer(trouble="never"))
    sim.set_send_outcome(outcome="never")
    gw = await gateway(sim, ledger=MemoryLedger()).open()
    ussd = asyncio.create_task(gw.ussd("*100#", port=1))
    sms = asyncio.create_task(gw.send_sms("900", "x", port=1))
    wait = asyncio.create_task(gw.wait_for_sms())
    survey = await gw.survey(every=10)
    await eventually(lambda: sim.sent and any("ussd" in c.text for c in sim.commands))
    async with asyncio.timeout(5):
        await gw.close()
        await gw.close()
    with pytest.raises(ConnectionLost):
        await ussd
    assert (await sms).status == "written"
    with pytest.raises(GatewayClosed):
        await wait
    assert not survey.running
    assert gw.status == "closed"
    for verb in (gw.spans(), gw.sample(), gw.send_sms("900", "x", port=1), gw.wait_for_sms()):
        with pytest.raises(GatewayClosed):
            await verb
    with pytest.raises(GatewayClosed):
        gw.ussd_session(1)


@pytest.mark.parametrize("swallows", [1, 1000])
async def test_closing_ends_though_a_handler_swallows_its_cancel(
    sim: SimulatedGateway, caplog: pytest.LogCaptureFixture, swallows: int
) -> None:
    gw = await gateway(sim).open()
    began, enough, swallowed = asyncio.Event(), asyncio.Event(), 0

    async def deaf(message: ReceivedSms) -> None:
        nonlocal swallowed
        began.set()
        while swallowed < swallows and not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                swallowed += 1

    gw.on_sms(deaf)
    sim.receive_sms(port=1, sender="900", text="a")
    await began.wait()
    async with asyncio.timeout(10):
        await gw.close()
    assert ("did not end" in caplog.text) == (swallows == 1000)
    enough.set()
    await eventually(lambda: not gw._tasks)


async def test_closing_just_when_the_ports_are_to_be_asked_for_is_no_error(
    sim: SimulatedGateway,
) -> None:
    gw = await gateway(sim).open()
    asking = asyncio.ensure_future(gw._learn_ports())
    await gw.close()
    await asking


async def test_closing_says_goodbye_on_every_session(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        await gw.ussd("*114#", port=1)
        assert sim.sessions == 2
    assert sim.wait_until(lambda: sim.sessions == 0)


async def test_closing_after_the_store_takes_every_step(
    sim: SimulatedGateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = MemoryLedger()
    gw = await gateway(sim, ledger=ledger).open()

    def closed(*arguments: Any, **more: Any) -> Any:
        raise StoreError("the store is closed")

    for verb in ("append", "settle", "receive"):
        monkeypatch.setattr(ledger, verb, closed)
    await gw.close()
    assert sim.wait_until(lambda: sim.sessions == 0)
    assert "was not recorded" in caplog.text


async def test_an_interrupted_close_still_lets_go_of_everything(sim: SimulatedGateway) -> None:
    gw = await gateway(sim).open()
    sim.freeze()
    closing = asyncio.create_task(gw.close())
    await turn()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not gw._tasks
    sim.thaw()
    assert sim.wait_until(lambda: sim.sessions == 0)


async def test_a_lost_link_comes_back_and_events_go_on(sim: SimulatedGateway) -> None:
    ledger = MemoryLedger()
    async with gateway(sim, ledger=ledger) as gw:
        sim.drop_connections(reset=True)
        await eventually(lambda: sim.logins == 2 and gw.status == "connected")
        waiting = asyncio.create_task(gw.wait_for_sms(timeout=5))
        await turn()
        sim.receive_sms(port=1, sender="900", text="back")
        assert (await waiting).text == "back"
    events = [row["event"] for row in ledger.tables["connections"]]
    assert events == ["connected", "lost", "restored", "closed"]


async def test_the_wire_is_recorded_without_credentials(
    sim: SimulatedGateway, tmp_path: Path
) -> None:
    path = tmp_path / "wire.jsonl"
    async with gateway(sim, record=path) as gw:
        await gw.spans()
    text = path.read_text()
    assert "gsm show spans" in text
    assert sim.password not in text


async def test_nothing_secret_in_its_repr(sim: SimulatedGateway) -> None:
    gw = gateway(sim)
    assert repr(gw) == f"<AsyncGateway lab ({sim.host}:{sim.port}): not opened>"
    async with gw:
        assert repr(gw).endswith(": connected>")
        assert sim.password not in repr(gw)
    assert repr(gw).endswith(": closed>")

"""USSD beside everything else: own sessions, one exchange a port, no answer mixed up (WIRE §9)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import pytest

from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    InvalidRequest,
    NeogateWarning,
    NoAnswer,
    StoreError,
)
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.memory import MemoryLedger
from neogate_lab.simulator import SimulatedGateway, UssdAnswer

from .support import Listening, Peer, answer, eventually, follows, listening, turn


@asynccontextmanager
async def gateway(sim: SimulatedGateway, **settings: Any) -> AsyncIterator[AsyncGateway]:
    async with AsyncGateway(
        sim.host, port=sim.port, username=sim.username, password=sim.password, **settings
    ) as gw:
        yield gw


@pytest.fixture
def sim() -> Any:
    with SimulatedGateway(ussd_delay=0.01, restless=False) as sim:
        yield sim


# -- on the simulator ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (UssdAnswer("done"), "done"),
        (UssdAnswer("1 a", {"1": UssdAnswer("b")}), "menu"),
        (UssdAnswer("bye", responses=2), "ended"),
        (UssdAnswer(responses=3), "other_client"),
        (UssdAnswer(responses=4), "not_supported"),
        (UssdAnswer(responses=5), "network_timeout"),
        (UssdAnswer(trouble="failed"), "failed"),
        (UssdAnswer(trouble="busy"), "busy"),
        (UssdAnswer(trouble="timeout"), "timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_outcome_is_returned_and_kept(
    sim: SimulatedGateway, reply: UssdAnswer, outcome: str
) -> None:
    sim.set_ussd(1, "*100#", reply)
    ledger = MemoryLedger()
    async with gateway(sim, ledger=ledger) as gw:
        got = await gw.ussd("*100#", port=1)
    assert got.outcome == outcome
    (row,) = ledger.tables["ussd"]
    assert (row["outcome"], row["code"], row["port"], row["span"]) == (outcome, "*100#", 1, 2)
    assert row["latency_ms"] >= 0


async def test_a_ussd_stalls_nothing_else(sim: SimulatedGateway) -> None:
    sim.set_ussd(1, "*100#", UssdAnswer("late", delay=0.5))
    async with gateway(sim) as gw:
        running = asyncio.create_task(gw.ussd("*100#", port=1))
        await eventually(lambda: any("ussd" in c.text for c in sim.commands))
        assert len(await gw.spans()) == 4
        waiting = asyncio.create_task(gw.wait_for_sms(timeout=5))
        await turn()
        sim.receive_sms(port=2, sender="900", text="meanwhile")
        assert (await waiting).text == "meanwhile"
        assert not running.done()
        assert (await running).text == "late"


async def test_sessions_are_opened_when_needed_and_events_come_once(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        assert sim.sessions == 1
        heard: list[str] = []
        gw.listen(lambda message: heard.append(message.text))
        await gw.ussd("*100#", port=1)
        assert sim.sessions == 2
        sim.receive_sms(port=1, sender="900", text="once")
        await eventually(lambda: heard)
        await gw.ussd("*100#", port=2)
        assert (heard, sim.sessions) == (["once"], 2)


async def test_ports_talk_at_the_same_time(sim: SimulatedGateway) -> None:
    sim.set_ussd(None, "*100#", UssdAnswer("x", delay=0.3))
    async with gateway(sim) as gw:
        replies = await asyncio.gather(*(gw.ussd("*100#", port=port) for port in (1, 2, 3)))
        assert [reply.port for reply in replies] == [1, 2, 3]
        assert sim.sessions == 4


async def test_a_menu_is_walked_and_written_down(sim: SimulatedGateway) -> None:
    tree = {"": "1 Balance\n2 More", "1": "12.50", "2": {"": "1 Deep", "1": "Bottom"}}
    sim.set_ussd(1, "*100#", tree)
    async with gateway(sim) as gw:
        async with gw.ussd_session(1) as session:
            first = await session.send("*100#")
            assert first.menu
            assert first.choices == {"1": "Balance", "2": "More"}
            assert (await session.send("2")).menu
            assert (await session.send("1")).text == "Bottom"
        assert [turn.sent for turn in session.transcript()] == ["*100#", "2", "1"]
        with pytest.raises(InvalidRequest, match="was left"):
            await session.send("*100#")
        assert (await gw.ussd("*100#", port=1)).menu  # the port is free again


async def test_an_answer_to_a_menu_may_be_any_line_but_a_code_may_not(
    sim: SimulatedGateway,
) -> None:
    sim.set_ussd(1, "*100#", {"": "Your name?", "Anna Maria": "Hello"})
    async with gateway(sim) as gw, gw.ussd_session(1) as session:
        with pytest.raises(InvalidRequest):
            await session.send("Anna Maria")
        await session.send("*100#")
        with pytest.raises(InvalidRequest, match="quote"):
            await session.send('a" 5 "b')
        assert (await session.send("Anna Maria")).text == "Hello"


async def test_one_conversation_a_port(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        async with gw.ussd_session(1):
            with pytest.raises(InvalidRequest, match="another USSD"):
                await gw.ussd("*100#", port=1)
            with pytest.raises(InvalidRequest):
                gw.ussd_session(1).open()
            assert (await gw.ussd("*100#", port=2)).outcome == "done"
        assert (await gw.ussd("*100#", port=1)).outcome == "done"


@pytest.mark.parametrize("bad", ['*100"#', "", "*1 00#", "*100#\r\nAction: Logoff", "abc"])
async def test_a_bad_code_is_refused_before_anything_is_sent(
    sim: SimulatedGateway, bad: str
) -> None:
    async with gateway(sim) as gw:
        before = len(sim.commands)
        with pytest.raises(InvalidRequest):
            await gw.ussd(bad, port=1)
        with pytest.raises(InvalidRequest):
            await gw.ussd("*100#", port=9)
        with pytest.raises(InvalidRequest):
            gw.ussd_session(9)
        assert not any("ussd" in command.text for command in sim.commands[before:])


async def test_an_interrupted_ussd_blocks_neither_the_pool_nor_other_ports(
    sim: SimulatedGateway,
) -> None:
    sim.set_ussd(1, "*100#", UssdAnswer(trouble="never"))
    async with gateway(sim) as gw:
        running = asyncio.create_task(gw.ussd("*100#", port=1))
        await eventually(lambda: any("ussd" in c.text for c in sim.commands))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await gw.ussd("*100#", port=2)).outcome == "done"


async def test_while_the_link_is_down_it_fails_at_once(sim: SimulatedGateway) -> None:
    async with gateway(sim) as gw:
        sim.stop()
        await eventually(lambda: gw.status.startswith("down"))
        with pytest.raises(ConnectionLost, match=r"next attempt|restored"):
            await gw.ussd("*100#", port=1)


async def test_a_refused_second_session_falls_back_to_the_first_with_one_warning() -> None:
    with SimulatedGateway(ussd_delay=0.01, login_delay=0.01) as sim:
        async with gateway(sim) as gw:
            sim.refuse_logins("Login Already In Use")
            with pytest.warns(NeogateWarning, match="no second session") as caught:
                assert (await gw.ussd("*114#", port=1)).text == "Bonus: 5"
            attempts = sim.login_attempts
            assert (await gw.ussd("*114#", port=1)).text == "Bonus: 5"
            assert [warning.filename for warning in caught] == [__file__]
            assert sim.login_attempts == attempts  # the refusal is remembered for a while


# -- states of the port ----------------------------------------------------------------------------
class Port:
    """A gateway of one port whose state and answers the test decides."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.answers: list[str | None] = []
        self.log: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def serve(self, peer: Peer) -> None:
        self.tasks.append(asyncio.create_task(self._serve(peer)))

    async def _serve(self, peer: Peer) -> None:
        await peer.hear_login()
        while True:
            try:
                action = await peer.action()
            except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
                return
            command = action.get("command", "")
            if action["action"] != "SMSCommand":
                peer.say(answer(action, "Goodbye", "Thanks"))
            elif command == "gsm show spans":
                peer.say(follows(action, "GSM span 2: Power on, Up, Active, Standard\n"))
            elif command.startswith("gsm show span"):
                state = self.states.pop(0) if self.states else "READY"
                self.log.append(state or "no state")
                line = f"State: {state}\n" if state else "Status: Power on, Up\n"
                peer.say(follows(action, line))
            else:
                self.log.append("sent")
                body = self.answers.pop(0) if self.answers else reply("ok")
                if body is not None:
                    peer.say(follows(action, body))


def reply(text: str, m: int = 0) -> str:
    return (
        f"1:Received USSD success on span: 2\n\tUSSD Responses: {m}\n\tUSSD Code: 15\n"
        f"\tUSSD Len: {len(text)}\n\tUSSD Message: {text}\n"
    )


TIMEOUT = "0:Send USSD timeout on span 2\n"


@asynccontextmanager
async def one_port(
    script: Callable[[Port], None], **settings: Any
) -> AsyncIterator[tuple[AsyncGateway, Port]]:
    port = Port()
    script(port)

    async def accept(listener: Listening) -> None:
        while True:
            port.serve(await listener._peers.get())

    async with listening() as listener:
        accepting = asyncio.create_task(accept(listener))
        try:
            async with AsyncGateway(
                "127.0.0.1", port=listener.port, username="a", password="b", **settings
            ) as gw:
                yield gw, port
        finally:
            for task in (accepting, *port.tasks):
                task.cancel()
            await asyncio.gather(accepting, *port.tasks, return_exceptions=True)


async def test_a_port_in_the_middle_of_a_ussd_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neogate_lab.link.ussd.POLL_SECONDS", 0.01)

    def script(port: Port) -> None:
        port.states = ["USSD SENDING", "USSD SENDING", "READY"]

    async with one_port(script) as (gw, port):
        got = await gw.ussd("*100#", port=1)
        assert (got.text, got.doubtful) == ("ok", False)
        assert port.log == ["USSD SENDING", "USSD SENDING", "READY", "sent"]


async def test_a_port_that_stays_busy_is_told_as_busy_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neogate_lab.link.ussd.POLL_SECONDS", 0.01)

    def script(port: Port) -> None:
        port.states = ["USSD SENDING"] * 1000

    async with one_port(script) as (gw, port):
        got = await gw.ussd("*100#", port=1, timeout=0.1)
        assert got.outcome == "busy"
        assert "sent" not in port.log


async def test_it_is_told_what_a_ussd_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neogate_lab.link.ussd.POLL_SECONDS", 0.01)

    def script(port: Port) -> None:
        port.states = ["USSD SENDING", "USSD SENDING", "READY", "READY"]
        port.answers = [reply("a menu", m=1), reply("ok")]

    async with one_port(script) as (gw, port), gw.ussd_session(1) as session:
        told: list[str] = []
        await session.send("*100#", progress=lambda stage: told.append(f"{stage} {port.log[-1]}"))
        assert told == ["busy USSD SENDING", "sent READY"]
        await session.send("1", progress=lambda stage: 1 / 0)  # what fails there fails alone
        assert port.log[-2:] == ["READY", "sent"]


async def test_one_that_is_given_up_before_it_was_sent_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neogate_lab.link.ussd.POLL_SECONDS", 0.01)

    def script(port: Port) -> None:
        port.states = ["USSD SENDING"] * 1000

    async with one_port(script) as (gw, port), gw.ussd_session(1) as session:
        told: list[str] = []
        running = asyncio.create_task(session.send("*100#", progress=told.append))
        await eventually(lambda: told)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert told == ["busy"]
        assert "sent" not in port.log
        assert "ussd" not in gw._ledger.tables
        port.states = ["READY"]
        assert not (await session.send("*100#")).doubtful


async def test_nor_does_one_that_waited_in_line_behind_a_question() -> None:
    # Without a second session, at a gateway that echoes no ActionID.
    peers: list[Peer] = []

    async def serve(listener: Listening) -> None:
        while True:
            peer = await listener._peers.get()
            await peer.hear_login(echo=False)
            peers.append(peer)
            await peer.action()
            peer.say(follows({}, "GSM span 2: Power on, Up, Active, Standard\n"))

    async with listening() as listener:
        serving = asyncio.create_task(serve(listener))
        async with AsyncGateway(
            "127.0.0.1", port=listener.port, username="a", password="b", command_timeout=5
        ) as gw:
            gw._ussd._alone_until = float("inf")
            told: list[str] = []
            session = gw.ussd_session(1)
            running = asyncio.create_task(session.send("*100#", progress=told.append))
            assert "span" in (await peers[0].action())["command"]
            question = asyncio.create_task(gw.command("gsm show spans"))
            await turn()
            peers[0].say(follows({}, "State: READY\n"))
            assert (await peers[0].action())["command"] == "gsm show spans"
            await turn()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert told == []
            assert "ussd" not in gw._ledger.tables
            peers[0].say(follows({}, "GSM span 2: Power on, Up, Active, Standard\n"))
            await question
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("state", ["SMS SENDING", "CALL ACTIVE", "NET REQ"])
async def test_other_states_do_not_hold_a_ussd_up(state: str) -> None:
    def script(port: Port) -> None:
        port.states = [state]

    async with one_port(script) as (gw, port):
        assert (await gw.ussd("*100#", port=1)).outcome == "done"
        assert port.log == [state, "sent"]


async def test_after_a_timeout_a_reply_of_a_port_without_state_is_doubtful() -> None:
    def script(port: Port) -> None:
        port.states = [""] * 10
        port.answers = [TIMEOUT, reply("of the first?"), reply("clear")]

    async with one_port(script) as (gw, _):
        replies = [await gw.ussd("*100#", port=1) for _ in range(3)]
        assert [(got.outcome, got.doubtful) for got in replies] == [
            ("timeout", False),
            ("done", True),
            ("done", False),
        ]


async def test_after_a_timeout_one_reply_is_doubtful_even_where_the_port_says_ready() -> None:
    def script(port: Port) -> None:
        port.answers = [TIMEOUT, reply("the first's, or mine?"), reply("mine")]

    async with one_port(script) as (gw, _):
        replies = [await gw.ussd("*100#", port=1) for _ in range(3)]
        assert [(got.outcome, got.doubtful) for got in replies] == [
            ("timeout", False),
            ("done", True),
            ("done", False),
        ]


async def test_a_port_that_was_seen_to_end_its_ussd_is_believed() -> None:
    def script(port: Port) -> None:
        port.states = ["READY", "USSD SENDING", "READY"]
        port.answers = [TIMEOUT, reply("mine")]

    async with one_port(script) as (gw, _):
        replies = [await gw.ussd("*100#", port=1) for _ in range(2)]
        assert [got.doubtful for got in replies] == [False, False]


async def test_what_was_sent_is_a_row_whatever_came_of_it() -> None:
    def script(port: Port) -> None:
        port.answers = [None, "what is this?", "No GSM running on span 2\nCommand failed."]

    async with one_port(script, command_timeout=0.2) as (gw, _):
        with pytest.raises(NoAnswer):
            await gw.ussd("*1#", port=1, timeout=0.1)
        got = await gw.ussd("*2#", port=1)
        assert (got.outcome, got.raw, got.doubtful) == ("failed", "what is this?", True)
        with pytest.raises(CommandRefused):
            await gw.ussd("*3#", port=1)
        rows = gw._ledger.tables["ussd"]
        assert [(row["code"], row["outcome"]) for row in rows] == [
            ("*1#", "no_answer"),
            ("*2#", "failed"),
            ("*3#", "refused"),
        ]


class HeldLedger(MemoryLedger):
    """A disk that takes its time over USSD, and then fails or not."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Future[list[int]]] = []

    def append(self, table: str, rows: Any) -> Future[list[int]]:
        done = super().append(table, rows)
        if table != "ussd":
            return done
        self.held.append(Future())
        return self.held[-1]


@pytest.mark.parametrize(
    ("said", "error"), [(None, NoAnswer), ("No GSM running on span 2\n", CommandRefused)]
)
@pytest.mark.parametrize("fails", [False, True])
async def test_an_error_is_told_once_its_row_is_on_disk_or_can_not_be(
    said: str | None, error: type[Exception], fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def script(port: Port) -> None:
        port.answers = [said]

    ledger = HeldLedger()
    async with one_port(script, command_timeout=0.1, ledger=ledger) as (gw, _):
        asked = asyncio.create_task(gw.ussd("*1#", port=1, timeout=0.1))
        await eventually(lambda: ledger.held)
        await turn()
        assert not asked.done()
        if fails:
            ledger.held[0].set_exception(StoreError("the disk is full"))
        else:
            ledger.held[0].set_result([1])
        with pytest.raises(error):
            await asked
    assert ("the disk is full" in caplog.text) == fails


async def test_an_interrupt_waits_for_no_disk() -> None:
    def script(port: Port) -> None:
        port.answers = [None, reply("later")]

    ledger = HeldLedger()
    async with one_port(script, ledger=ledger) as (gw, port):
        asked = asyncio.create_task(gw.ussd("*1#", port=1))
        await eventually(lambda: "sent" in port.log)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert ledger.tables["ussd"][0]["outcome"] == "interrupted"
        assert not ledger.held[0].done()


async def test_a_session_that_nobody_holds_gives_its_port_back() -> None:
    def script(port: Port) -> None:
        port.answers = [reply("a menu", m=1), reply("mine")]

    async with one_port(script) as (gw, _):
        await gw.ussd_session(1).send("*100#")
        gc.collect()
        assert (await gw.ussd("*100#", port=1)).outcome == "done"


@pytest.mark.parametrize("state", ["", "READY"])
async def test_a_silent_gateway_is_no_outcome_and_casts_doubt_on_the_next_reply(state: str) -> None:
    def script(port: Port) -> None:
        port.states = [state] * 10
        port.answers = [None, reply("of the first?"), reply("clear")]

    async with one_port(script, command_timeout=0.2) as (gw, _):
        with pytest.raises(NoAnswer):
            await gw.ussd("*100#", port=1, timeout=0.1)
        replies = [await gw.ussd("*100#", port=1) for _ in range(2)]
        assert [got.doubtful for got in replies] == [True, False]


async def test_an_interrupt_casts_doubt_on_the_next_reply() -> None:
    def script(port: Port) -> None:
        port.answers = [None]

    async with one_port(script) as (gw, port):
        asked = asyncio.create_task(gw.ussd("*100#", port=1))
        await eventually(lambda: "sent" in port.log)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        port.answers = [reply("of the first?"), reply("clear")]
        replies = [await gw.ussd("*100#", port=1) for _ in range(2)]
        assert [got.doubtful for got in replies] == [True, False]


async def test_a_refusal_leaves_nothing_that_could_come_late() -> None:
    def script(port: Port) -> None:
        port.answers = ["No GSM running on span 2\n", reply("mine")]

    async with one_port(script) as (gw, _):
        with pytest.raises(CommandRefused):
            await gw.ussd("*100#", port=1)
        assert not (await gw.ussd("*100#", port=1)).doubtful

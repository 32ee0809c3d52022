"""One TCP session: no word before the banner, answers paired for certain, dead links found."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    LoginRefused,
    NeogateError,
    NoAnswer,
    ProtocolError,
    Unreachable,
)
from neogate_lab.link.session import Credentials
from neogate_lab.protocol import commands

from .support import (
    BANNER,
    Opened,
    answer,
    event,
    eventually,
    follows,
    listening,
    query,
    session_with,
    turn,
)


# -- opening ---------------------------------------------------------------------------------------
async def opening_against(greeting: bytes, *, close: bool = False) -> tuple[NeogateError, bytes]:
    """How opening ends when the peer greets like this, and what the peer was sent."""
    async with listening() as listener:
        opening = asyncio.create_task(Opened().open(listener.port, connect_timeout=0.2))
        peer = await listener.peer()
        peer.say(greeting)
        if close:
            peer.writer.write_eof()
        with pytest.raises(NeogateError) as caught:
            await opening
        return caught.value, await peer.rest()


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 mail ESMTP\r\n",
        b"\xff\xfd\x18",
        b"x" * 2_000_000,
    ],
)
async def test_whatever_is_no_gateway_is_shown_and_gets_no_credentials(greeting: bytes) -> None:
    error, sent = await opening_against(greeting)
    assert isinstance(error, ProtocolError)
    assert "no credentials were sent" in str(error)
    assert error.data[:10] == greeting[:10]
    assert sent == b""


async def test_a_silent_peer_is_no_gateway_either() -> None:
    error, sent = await opening_against(b"")
    assert isinstance(error, ProtocolError)
    assert "nothing" in str(error)
    assert sent == b""


async def test_of_several_addresses_of_a_name_one_that_answers_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(socket.AF_INET, 0, 0, "", (ip, 0)) for ip in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    async with listening() as listener:
        opening = asyncio.create_task(Opened().open(listener.port, host="gateway.example"))
        peer = await listener.peer()
        await peer.hear_login()
        session = await opening
        assert session.peer == f"127.0.0.1:{listener.port}"
        peer.writer.transport.abort()
        await session.close()
        await turn()


async def test_a_link_local_address_of_a_name_keeps_its_interface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    async def connect(_: object, host: str, port: int) -> None:
        tried.append(host)
        raise OSError("not here")

    found = [(socket.AF_INET6, 0, 0, "", ("fe80::1", 5038, 0, scope)) for scope in (3, 0)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    with pytest.raises(Unreachable, match="not here"):
        await Opened().open(5038, host="gateway.local")
    assert tried == ["fe80::1%3", "fe80::1"]


def test_a_lookup_that_hangs_holds_up_no_loop_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.wait(60) and [])

    def connect() -> None:
        with asyncio.Runner() as runner:
            runner.run(Opened().open(5038, host="gateway.example", connect_timeout=0.05))

    # In a thread, for the main thread's loop is pytest's, and perhaps nest_asyncio's.
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Unreachable, match="did not accept a connection within"),
    ):
        pool.submit(connect).result(10)
    (lookup,) = [each for each in threading.enumerate() if each.name == "neogate-resolver"]
    assert lookup.daemon  # nor the interpreter
    answers.set()
    lookup.join(10)


async def test_a_connection_closed_at_once_is_unreachable() -> None:
    error, sent = await opening_against(b"", close=True)
    assert isinstance(error, Unreachable)
    assert "permitted addresses" in str(error)
    assert sent == b""


async def test_half_a_banner_and_an_end_shows_what_came() -> None:
    error, _ = await opening_against(b"Aster", close=True)
    assert isinstance(error, ProtocolError)
    assert error.data == b"Aster"


async def test_nothing_listens() -> None:
    async with listening() as listener:
        port = listener.port
    with pytest.raises(Unreachable, match="API is switched on"):
        await Opened().open(port)


async def test_a_host_name_that_cannot_exist_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="no address is known for that name") as caught:
        await Opened().open(5038, host="a..b")
    assert "a..b" not in str(caught.value)  # `where` names it, and is hidden in redacted copies


async def test_a_refused_login_is_tried_once_and_its_words_are_told() -> None:
    async with listening() as listener:
        opened = Opened()
        opening = asyncio.create_task(opened.open(listener.port))
        peer = await listener.peer()
        peer.say(BANNER)
        action = await peer.action()
        peer.say(answer(action, "Error", "Authentication failed"))
        with pytest.raises(LoginRefused, match="Authentication failed") as caught:
            await opening
        assert await peer.rest() == b""
        assert len(listener.writers) == 1
    assert "s3cret" not in str(caught.value)
    assert opened.lost == []


async def test_a_close_instead_of_an_answer_to_the_login() -> None:
    async with listening() as listener:
        opening = asyncio.create_task(Opened().open(listener.port))
        peer = await listener.peer()
        peer.say(BANNER)
        await peer.action()
        peer.writer.close()
        with pytest.raises(Unreachable, match="closed the connection at the login"):
            await opening


async def test_an_interrupted_opening_closes_its_socket() -> None:
    async with listening() as listener:
        opening = asyncio.create_task(Opened().open(listener.port))
        peer = await listener.peer()
        peer.say(BANNER)
        await peer.action()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.action()


async def test_a_blind_session_asks_for_no_events() -> None:
    async with listening() as listener:
        opened = Opened()
        opening = asyncio.create_task(opened.open(listener.port, events=False))
        peer = await listener.peer()
        login = await peer.hear_login()
        assert login["events"] == "off"
        await (await opening).close()


def test_credentials_hide_themselves() -> None:
    assert "s3cret" not in repr(Credentials("apiuser", "s3cret"))
    assert "apiuser" not in repr(Credentials("apiuser", "s3cret"))


# -- pairing ---------------------------------------------------------------------------------------
async def test_answers_are_paired_by_their_id_whatever_their_order() -> None:
    async with session_with() as (opened, peer):
        first = asyncio.create_task(opened.session.command(query("one"), what="one"))
        second = asyncio.create_task(opened.session.command(query("two"), what="two"))
        one, two = await peer.action(), await peer.action()
        peer.say(follows(two, "second\n") + follows(one, "first\n"))
        assert await first == b"first\n"
        assert await second == b"second\n"


async def test_an_answer_without_an_id_goes_to_the_head_of_the_line() -> None:
    async with session_with() as (opened, peer):
        first = asyncio.create_task(opened.session.command(query("one"), what="one"))
        second = asyncio.create_task(opened.session.command(query("two"), what="two"))
        one, two = await peer.action(), await peer.action()
        assert one["actionid"] != two["actionid"]
        peer.say(answer({}, "Error", "Failed to parse message: line too long"))
        peer.say(follows(two, "second\n"))
        with pytest.raises(CommandRefused, match="line too long"):
            await first
        assert await second == b"second\n"


async def test_a_tombstone_eats_the_late_answer() -> None:
    async with session_with(echo=False) as (opened, peer):
        given_up = asyncio.create_task(opened.session.command(query("one"), what="one"))
        await peer.action()
        given_up.cancel()
        later = asyncio.create_task(opened.session.command(query("two"), what="two"))
        await turn()
        assert not opened.session.is_idle
        peer.say(follows({}, "of the first\n"))
        await peer.action()
        peer.say(follows({}, "of the second\n"))
        assert await later == b"of the second\n"
        assert opened.session.is_idle


async def test_an_id_that_is_echoed_at_the_login_only_is_relied_on_no_more() -> None:
    async with session_with() as (opened, peer):
        first = asyncio.create_task(opened.session.request(query("one"), what="one"))
        action = await peer.action()
        del action["actionid"]
        peer.say(answer(action, "Success", "one"))
        await first
        assert not opened.session.echoes_action_id


async def test_an_answer_without_an_id_is_nobodys_while_an_earlier_one_is_due() -> None:
    async with session_with() as (opened, peer):
        with pytest.raises(NoAnswer):
            await opened.session.request(query("one"), timeout=0.05, what="one")
        await peer.action()
        second = asyncio.create_task(opened.session.request(query("two"), what="two"))
        action = await peer.action()
        del action["actionid"]
        peer.say(answer(action, "Success", "of the first, or of the second?"))
        with pytest.raises(ConnectionLost):
            await second


async def test_without_ids_a_request_is_written_in_its_turn_only() -> None:
    async with session_with(echo=False) as (opened, peer):
        first = asyncio.create_task(opened.session.command(query("one"), what="one"))
        given_up = asyncio.create_task(opened.session.command(query("two"), what="two"))
        third = asyncio.create_task(opened.session.command(query("three"), what="three"))
        assert (await peer.action())["command"] == "one"
        await turn()
        given_up.cancel()
        assert [data for way, data in opened.traffic if way == ">"][1:] == [
            b"Action: SMSCommand\r\nActionID: ng2\r\ncommand: one\r\n\r\n"
        ]
        peer.say(follows({}, "1\n"))
        assert (await peer.action())["command"] == "three"
        peer.say(follows({}, "3\n"))
        assert (await first, await third) == (b"1\n", b"3\n")


async def test_queries_are_pipelined_where_ids_are_echoed() -> None:
    async with session_with() as (opened, peer):
        tasks = [
            asyncio.create_task(opened.session.command(query(f"q {n}"), what="q")) for n in range(5)
        ]
        actions = [await peer.action() for _ in tasks]
        assert [action["command"] for action in actions] == [f"q {n}" for n in range(5)]
        for action in actions:
            peer.say(follows(action, action["command"]))
        assert await asyncio.gather(*tasks) == [f"q {n}".encode() for n in range(5)]


async def test_a_deadline_counts_from_the_head_of_the_line() -> None:
    async with session_with(command_timeout=0.3) as (opened, peer):
        slow = asyncio.create_task(
            opened.session.command(query("slow"), timeout=5.0, what="the slow one")
        )
        quick = asyncio.create_task(opened.session.command(query("quick"), what="the quick one"))
        one, two = await peer.action(), await peer.action()
        await asyncio.sleep(0.5)  # longer than the second one's own time
        assert not quick.done()
        peer.say(follows(one, "1") + follows(two, "2"))
        assert (await slow, await quick) == (b"1", b"2")


async def test_an_overdue_answer_is_known_as_nobodys_by_its_id() -> None:
    async with session_with(command_timeout=0.05) as (opened, peer):
        with pytest.raises(NoAnswer, match=r"the first within 0\.05 s"):
            await opened.session.command(query("one"), what="the first")
        one = await peer.action()
        assert not opened.session.is_idle  # its answer may still come
        second = asyncio.create_task(
            opened.session.command(query("two"), timeout=2.0, what="the second")
        )
        while (two := await peer.action())["action"] == "Ping":
            peer.say(answer(two, "Success", "Pong"))
        peer.say(follows(one, "late") + follows(two, "right"))
        assert await second == b"right"
        assert opened.lost == []


async def test_without_ids_an_overdue_answer_ends_the_session() -> None:
    async with session_with(echo=False, command_timeout=0.05) as (opened, peer):
        first = asyncio.create_task(opened.session.command(query("one"), what="the first"))
        second = asyncio.create_task(opened.session.command(query("two"), what="the second"))
        await peer.action()
        with pytest.raises(NoAnswer):
            await first
        with pytest.raises(ConnectionLost):
            await second
        assert opened.lost == ["no answer to the first within 0.05 s"]
        with pytest.raises(ConnectionLost, match="no answer to the first"):
            await opened.session.command(query(), what="the third")


async def test_one_write_an_action() -> None:
    async with session_with() as (opened, peer):
        asking = asyncio.create_task(opened.session.command(query("gsm show spans"), what="q"))
        action = await peer.action()
        peer.say(follows(action, ""))
        await asking
        sent = [data for way, data in opened.traffic if way == ">"]
        assert [data.count(b"Action:") for data in sent] == [1, 1]
        assert all(data.endswith(b"\r\n\r\n") for data in sent)


# -- errors inside answers -------------------------------------------------------------------------
async def test_a_cli_error_that_looks_like_success_is_a_refusal_without_its_echo() -> None:
    async with session_with() as (opened, peer):
        asking = asyncio.create_task(
            opened.session.command(query("gsm sned sms 2 +79001234567 hi"), what="the command")
        )
        action = await peer.action()
        words = "No such command 'gsm sned sms 2 +79001234567 hi' (type 'core show help gsm sned')"
        peer.say(follows(action, words + "\n"))
        with pytest.raises(CommandRefused, match="the command: No such command") as caught:
            await asking
        assert "79001234567" not in str(caught.value)


async def test_a_packet_without_end_ends_the_session() -> None:
    async with session_with() as (opened, peer):
        peer.say(b"Event: Flood\r\nX: " + b"y" * (1 << 20) + b"z" * 100)
        await eventually(lambda: opened.lost)
        assert "longer than" in opened.lost[0]


# -- events and links ------------------------------------------------------------------------------
async def test_events_are_told_in_order_also_between_answers() -> None:
    async with session_with() as (opened, peer):
        asking = asyncio.create_task(opened.session.command(query(), what="q"))
        action = await peer.action()
        peer.say(event("A", N=1) + follows(action, "x") + event("B", N=2))
        assert await asking == b"x"
        await eventually(lambda: len(opened.events) == 2)
        assert [packet.get("Event") for packet in opened.events] == ["A", "B"]


async def test_a_silent_link_is_pinged_and_lives_on_at_any_answer() -> None:
    async with session_with(keepalive=0.05) as (opened, peer):
        for _ in range(3):
            action = await peer.action()
            assert action["action"] == "Ping"
            peer.say(answer(action, "Error", "Permission denied"))
        assert opened.session.is_open
        assert opened.lost == []


async def test_a_half_open_link_is_found_by_the_keepalive() -> None:
    async with session_with(keepalive=0.05, command_timeout=0.05) as (opened, _):
        await eventually(lambda: opened.lost)
        assert "keepalive" in opened.lost[0]
        assert not opened.session.is_open


async def test_a_link_that_is_dead_behind_an_overdue_answer_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neogate_lab.link.session.PROBE_TIMEOUT", 0.05)
    async with session_with(command_timeout=0.1) as (opened, _):
        with pytest.raises(NoAnswer):
            await opened.session.command(query(), what="q")
        await eventually(lambda: opened.lost)
        assert opened.lost == ["the gateway fell silent"]


async def test_an_answer_without_its_end_does_not_deafen_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that follows is taken for more of it: bytes alone are no sign of life."""
    monkeypatch.setattr("neogate_lab.link.session.PROBE_TIMEOUT", 0.1)
    async with session_with(command_timeout=0.2) as (opened, peer):
        asking = asyncio.create_task(opened.session.command(query(), what="q"))
        peer.say(follows(await peer.action(), "GSM span 2").partition(b"--END")[0])

        async def talk() -> None:
            while True:
                peer.say(event("A"))
                await asyncio.sleep(0.01)

        talking = asyncio.create_task(talk())
        with pytest.raises(NoAnswer):
            await asking
        await eventually(lambda: opened.lost)
        talking.cancel()
        assert opened.lost == ["the gateway fell silent within a packet"]


async def test_a_probe_that_is_answered_keeps_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neogate_lab.link.session.PROBE_TIMEOUT", 0.5)
    async with session_with(command_timeout=0.05) as (opened, peer):
        with pytest.raises(NoAnswer):
            await opened.session.command(query(), what="q")
        await peer.action()
        ping = await peer.action()
        assert ping["action"] == "Ping"
        peer.say(answer(ping, "Success", "Pong"))
        await asyncio.sleep(0.05)
        assert opened.session.is_open


async def test_a_running_command_is_not_a_dead_link() -> None:
    async with session_with(keepalive=0.03, command_timeout=0.05) as (opened, peer):
        running = asyncio.create_task(
            opened.session.command(query("gsm send ussd"), timeout=5.0, what="the USSD")
        )
        action = await peer.action()
        await asyncio.sleep(0.3)
        peer.say(follows(action, "done"))
        assert await running == b"done"
        assert opened.lost == []


async def test_a_lost_link_tells_once_and_fails_what_waits() -> None:
    async with session_with() as (opened, peer):
        asking = asyncio.create_task(opened.session.command(query(), what="q"))
        await peer.action()
        peer.writer.close()
        with pytest.raises(ConnectionLost, match="the gateway closed the connection"):
            await asking
        assert opened.lost == ["the gateway closed the connection"]


# -- closing ---------------------------------------------------------------------------------------
async def test_closing_says_goodbye_and_is_no_loss() -> None:
    async with session_with() as (opened, peer):
        closing = asyncio.create_task(opened.session.close())
        action = await peer.action()
        assert action["action"] == "Logoff"
        with pytest.raises(ConnectionLost, match="it was closed"):
            await opened.session.request(commands.ping(), what="a ping")
        peer.say(answer(action, "Goodbye", "Thanks for all the fish."))
        peer.writer.close()
        await closing
        assert opened.lost == []
        await opened.session.close()


async def test_closing_does_not_wait_for_a_running_command() -> None:
    async with session_with() as (opened, peer):
        running = asyncio.create_task(
            opened.session.command(query("slow"), timeout=60.0, what="the slow one")
        )
        await peer.action()
        closing = asyncio.create_task(opened.session.close())
        assert (await peer.action())["action"] == "Logoff"
        assert await peer.rest() == b""
        with pytest.raises(ConnectionLost):
            await running
        await closing
        assert opened.lost == []


async def test_a_gateway_that_says_no_goodbye_is_left_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neogate_lab.link.session.LOGOFF_GRACE", 0.05)
    async with session_with() as (opened, peer):
        closing = asyncio.create_task(opened.session.close())
        await peer.action()
        await closing
        assert not opened.session.is_open

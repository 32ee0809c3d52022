"""Everything that can be made to go wrong, one knob at a time."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import SimulatedGateway

from .raw import ACCEPTED, BANNER, LOGIN, Raw

Connect = Callable[[SimulatedGateway], Raw]
Make = Callable[..., SimulatedGateway]


def test_drop_ends_all_sessions_with_an_eof_and_goes_on_listening(
    sim: SimulatedGateway, connect: Connect
) -> None:
    first, second = connect(sim).login(), connect(sim).login()
    sim.drop_connections()
    assert (first.rest(), second.rest()) == (b"", b"")
    assert sim.sessions == 0
    assert connect(sim).login().quiet()
    assert (sim.logins, sim.connections) == (3, 3)


def test_drop_with_a_reset(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.drop_connections(reset=True)
    with pytest.raises(ConnectionResetError):
        client.rest()


def test_drop_during_a_ussd(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(1, "*1#", "never seen", delay=100.0)
    client = connect(sim).login()
    client.ask("gsm send ussd 2 *1#")
    assert sim.wait_until(lambda: len(sim.commands) == 1)
    sim.drop_connections()
    assert client.rest() == b""


def test_cut_sends_half_a_reply_and_closes(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    whole = client.run("gsm show spans")
    reply = f"Response: Follows\r\nPrivilege: SMSCommand\r\n{whole}--END COMMAND--\r\n\r\n"
    sim.cut_next_reply()
    client.ask("gsm show spans")
    assert client.rest() == reply.encode()[: len(reply) // 2]
    assert connect(sim).login().run("gsm show spans") == whole


def test_a_frozen_gateway_accepts_and_answers_nothing(
    sim: SimulatedGateway, connect: Connect
) -> None:
    old = connect(sim).login()
    sim.freeze()
    new = connect(sim)
    old.ask("gsm show spans")
    sim.send_event("Held")
    for client in (old, new):
        client.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(10.0)
    sim.thaw()
    new.exactly(BANNER)
    seen = old.until(b"Event: Held\r\n\r\n") + old.until(b"--END COMMAND--\r\n\r\n")
    assert b"GSM span 2: " in seen


def test_a_freeze_can_end_by_itself(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.freeze(0.05)
    assert client.quiet()


def test_a_frozen_gateway_can_stop_and_start(make_sim: Make, connect: Connect) -> None:
    sim = make_sim()
    connect(sim).login()
    sim.freeze(60.0)
    sim.stop()
    sim.start()
    assert connect(sim).login().quiet()


def test_delayed_replies_come_and_in_order(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.delay_replies(0.1)
    client.ask("gsm show spans")
    client.socket.settimeout(0.03)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(10.0)
    assert b"GSM span 2: " in client.until(b"--END COMMAND--\r\n\r\n")
    sim.delay_replies(0)
    assert client.quiet()


def test_swallowed_commands_get_no_answer(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.swallow(2)
    client.ask("gsm show spans")
    client.ask("gsm send sms 2 10086 lost")
    assert client.quiet()
    assert (sim.commands, sim.sent) == ([], [])
    assert client.run("gsm show spans").startswith("GSM span 2")
    sim.swallow(execute=True)
    client.ask("gsm send sms 2 10086 sent 1")
    assert b"ID: 1\r\n" in client.packet()
    assert client.quiet()


@pytest.mark.parametrize("n", [1, 7])
def test_trickled_bytes_are_the_same(sim: SimulatedGateway, connect: Connect, n: int) -> None:
    client = connect(sim).login()
    whole = client.run("gsm show spans")
    sim.trickle(n, interval=0.0)
    assert client.run("gsm show spans") == whole
    sim.trickle(0)
    assert client.quiet()


def test_trickled_pieces_are_small(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.trickle(3, interval=0.02)
    client.send(b"Action: Ping\r\n\r\n")
    assert len(client.socket.recv(1000)) == 3
    client.packet()


def test_events_may_come_before_a_running_commands_reply(
    sim: SimulatedGateway, connect: Connect
) -> None:
    sim.set_ussd(1, "*1#", "slow", delay=0.2)
    client = connect(sim).login()
    sim.interleave_events()
    client.ask("gsm send ussd 2 *1#")
    assert sim.wait_until(lambda: len(sim.commands) == 1)
    sim.send_event("Early")
    client.exactly(b"Event: Early\r\n\r\nResponse: Follows\r\n")


def test_refused_logins(sim: SimulatedGateway, connect: Connect) -> None:
    sim.refuse_logins("Login Already In Use", times=1)
    client = connect(sim)
    client.send(LOGIN)
    client.exactly(BANNER + b"Response: Error\r\nMessage: Login Already In Use\r\n\r\n")
    assert client.rest() == b""
    connect(sim).login()
    sim.refuse_logins()
    client = connect(sim)
    client.send(LOGIN)
    client.exactly(BANNER + b"Response: Error\r\nMessage: Authentication failed\r\n\r\n")
    sim.accept_logins()
    connect(sim).login()
    assert (sim.logins, sim.login_attempts) == (2, 4)


def test_restart_comes_back_on_the_same_port(sim: SimulatedGateway, connect: Connect) -> None:
    port = sim.port
    client = connect(sim).login()
    client.run("gsm send ussd 2 *101#")
    sim.restart()
    assert client.rest() == b""
    assert sim.port == port
    again = connect(sim).login()
    assert "UNKNOWN APPLICATION" in again.run("gsm send ussd 2 1")


def test_restart_with_a_time_when_nobody_listens(sim: SimulatedGateway, connect: Connect) -> None:
    sim.restart(down=0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((sim.host, sim.port), timeout=5.0)

    def back() -> bool:
        try:
            socket.create_connection((sim.host, sim.port), timeout=5.0).close()
        except ConnectionRefusedError:
            return False
        return True

    assert sim.wait_until(back)
    assert connect(sim).login().quiet()


def test_restart_twice_listens_once(
    sim: SimulatedGateway, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    sim.restart(down=0.05)
    sim.restart()
    assert not sim.wait_until(lambda: bool(caplog.records), timeout=0.15)
    assert connect(sim).login().quiet()
    sim.stop()
    gc.collect()  # a second attempt to listen would complain here
    assert caplog.records == []


def test_raw_bytes_reach_those_who_listen(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.send_raw(b"\xff\x00 anything\r\n")
    client.exactly(b"\xff\x00 anything\r\n")


def test_faults_can_be_set_before_the_start() -> None:
    sim = SimulatedGateway(login_delay=0.0)
    sim.refuse_logins(times=1)
    with sim, Raw(sim) as client:
        client.send(LOGIN)
        client.exactly(BANNER + b"Response: Error\r\n")
    with pytest.raises(InvalidRequest, match="not running"):
        sim.receive_sms(1, "1", "x")
    with pytest.raises(InvalidRequest, match="not running"):
        sim.freeze(1.0)


def test_what_cannot_be_is_refused(sim: SimulatedGateway) -> None:
    refusals: list[Callable[[], None]] = [
        lambda: sim.freeze(-1.0),
        lambda: sim.delay_replies(-1.0),
        lambda: sim.swallow(-1),
        lambda: sim.trickle(-1),
        lambda: sim.cut_next_reply(-1),
        lambda: sim.refuse_logins(times=0),
        lambda: sim.restart(down=-1.0),
    ]
    for refused in refusals:
        with pytest.raises(InvalidRequest, match="give a"):
            refused()


def test_login_text_is_the_same_after_all_that(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim)
    client.send(LOGIN)
    client.exactly(BANNER + ACCEPTED)

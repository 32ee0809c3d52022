"""Connection, login and the manager's actions, as bytes (WIRE §1 to §3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from neogate_lab.simulator import SimulatedGateway
from neogate_lab.simulator.ami import Request, RequestReader

from .raw import ACCEPTED, BANNER, LOGIN, Raw, fields

Connect = Callable[[SimulatedGateway], Raw]
Make = Callable[..., SimulatedGateway]


def test_banner_is_one_line_without_a_blank_one(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim)
    client.exactly(BANNER)
    client.send(LOGIN)
    client.exactly(ACCEPTED)


@pytest.mark.parametrize(
    "login",
    [
        pytest.param(LOGIN.replace(b"\r\n", b"\n"), id="lf only"),
        pytest.param(b"ACTION: login\r\nUSERNAME: apiuser\r\nsecret: apipass\r\n\r\n", id="case"),
        pytest.param(
            b"Action: Login \r\nUsername: apiuser  \r\nSecret: apipass\t\r\n\r\n", id="blanks"
        ),
        pytest.param(
            b"Secret:apipass\nUsername:apiuser\nAction:Login\n\n", id="no blank, any order"
        ),
        pytest.param(b"\r\n\r\n" + LOGIN, id="blank lines before"),
    ],
)
def test_login_before_the_banner_is_read_in_every_spelling(
    sim: SimulatedGateway, connect: Connect, login: bytes
) -> None:
    client = connect(sim)
    client.send(login)
    client.exactly(BANNER + ACCEPTED)
    assert (sim.logins, sim.login_attempts, sim.sessions) == (1, 1, 1)


def test_several_actions_in_one_write_and_one_action_in_many(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim)
    client.send(
        LOGIN + b"Action: Events\r\nEventMask: off\r\nActionID: 7\r\n\r\nAction: logoff\n\n"
    )
    client.exactly(BANNER + ACCEPTED)
    client.exactly(b"Response: Success\r\nActionID: 7\r\nEvents: Off\r\n\r\n")
    client.exactly(b"Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n")
    assert client.rest() == b""
    slow = connect(sim)
    for byte in LOGIN:
        slow.send(bytes([byte]))
    slow.exactly(BANNER + ACCEPTED)


def test_second_login_is_accepted_and_counts_once(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    client.send(LOGIN)
    client.exactly(b"Response: Success\r\nMessage: Already authenticated\r\n\r\n")
    assert sim.logins == 1


@pytest.mark.parametrize("wrong", [b"apiuse", b"apipas"])
def test_wrong_login_has_one_text_and_closes(
    sim: SimulatedGateway, connect: Connect, wrong: bytes
) -> None:
    client = connect(sim)
    client.send(
        LOGIN.replace(wrong, b"x").replace(b"Action: Login", b"Action: Login\r\nActionID: 3")
    )
    client.exactly(BANNER)
    client.exactly(b"Response: Error\r\nActionID: 3\r\nMessage: Authentication failed\r\n\r\n")
    assert client.rest() == b""
    assert (sim.logins, sim.login_attempts) == (0, 1)
    assert sim.wait_until(lambda: sim.sessions == 0)


def test_a_wrong_login_is_answered_late(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(login_delay=0.2))
    client.exactly(BANNER)
    client.send(LOGIN.replace(b"apipass", b"x"))
    client.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(10.0)
    assert b"Authentication failed" in client.packet()


def test_md5_challenge(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim)
    client.exactly(BANNER)
    client.send(b"Action: Challenge\r\nAuthType: MD5\r\n\r\n")
    challenge = fields(client.packet())["Challenge"]
    key = hashlib.md5((challenge + "apipass").encode()).hexdigest()
    client.send(
        f"Action: Login\r\nAuthType: MD5\r\nUsername: apiuser\r\nKey: {key}\r\n\r\n".encode()
    )
    client.exactly(ACCEPTED)


def test_action_before_login_is_refused_and_the_session_stays(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim)
    client.exactly(BANNER)
    client.send(b"Action: Ping\r\n\r\n")
    client.exactly(b"Response: Error\r\nMessage: Permission denied\r\n\r\n")
    client.send(LOGIN)
    client.exactly(ACCEPTED)


def test_session_without_login_is_closed_silently(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(login_timeout=0.05)
    stranger, user = connect(sim), connect(sim).login()
    assert stranger.rest() == BANNER
    assert user.quiet()


def test_ping_has_a_time_with_microseconds(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    client.send(b"Action: Ping\r\nActionID: p\r\n\r\n")
    reply = client.packet()
    assert reply.startswith(b"Response: Success\r\nActionID: p\r\nPing: Pong\r\nTimestamp: ")
    seconds, micros = fields(reply)["Timestamp"].split(".")
    assert seconds.isdigit()
    assert len(micros) == 6


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (b"Action: Fly", b"Invalid/unknown command"),
        (b"Action: Command\r\nCommand: gsm show spans", b"Permission denied"),
        (b"Colour: blue", b"Missing action in request"),
        (b"no colon at all", b"Missing action in request"),
        (b"Action: smscommand", b"No command provided"),
        (b"Action: Events", b"Invalid event mask"),
    ],
)
def test_real_errors_have_no_terminator(
    sim: SimulatedGateway, connect: Connect, action: bytes, message: bytes
) -> None:
    client = connect(sim).login()
    client.send(action + b"\r\nActionID: e\r\n\r\n")
    client.exactly(b"Response: Error\r\nActionID: e\r\nMessage: " + message + b"\r\n\r\n")


def test_a_line_over_the_limit_fails_its_action_only(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim).login()
    prefix = "command: gsm show "
    fits, over = "x" * (1024 - len(prefix)), "x" * (1025 - len(prefix))
    client.send(f"Action: smscommand\r\n{prefix}{over}\r\n\r\n".encode())
    client.exactly(b"Response: Error\r\nMessage: Failed to parse message: line too long\r\n\r\n")
    assert client.run(f"gsm show {fits}").startswith("No such command")


def test_a_line_over_the_limit_may_vanish(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(drop_long_lines=True)).login()
    client.send(b"Action: Ping\r\nActionID: " + b"x" * 5000 + b"\r\n\r\n")
    assert client.quiet()


def test_action_id_is_echoed_or_not(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(echo_action_id=False)).login()
    client.send(b"Action: smscommand\r\nActionID: 5\r\ncommand: gsm send sms 2 10086 hi\r\n\r\n")
    client.exactly(b"Response: Follows\r\nPrivilege: SMSCommand\r\n--END COMMAND--\r\n\r\n")
    client = connect(make_sim(echo_action_id=True, firmware="manual2013")).login()
    client.send(b"Action: smscommand\r\nActionID: 5\r\ncommand: gsm send sms 2 10086 hi\r\n\r\n")
    client.exactly(
        b"Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: 5\r\n--END COMMAND--\r\n\r\n"
    )


def test_events_go_to_every_session_that_wants_them(
    sim: SimulatedGateway, connect: Connect
) -> None:
    first, second = connect(sim).login(), connect(sim).login()
    deaf, stranger = connect(sim).login(events="off"), connect(sim)
    stranger.exactly(BANNER)
    sim.send_event("Test", {"A-B": 1}, Text="x")
    for client in (first, second):
        client.exactly(b"Event: Test\r\nA-B: 1\r\nText: x\r\n\r\n")
    assert deaf.quiet()
    deaf.send(b"Action: Events\r\nEventMask: On\r\n\r\n")
    deaf.exactly(b"Response: Success\r\nEvents: On\r\n\r\n")
    sim.send_event("Again")
    deaf.exactly(b"Event: Again\r\n\r\n")
    stranger.send(LOGIN)
    stranger.exactly(ACCEPTED)


def test_a_session_is_serial_and_its_events_wait(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(1, "*1#", "at last", delay=0.2)
    busy, idle = connect(sim).login(), connect(sim).login()
    busy.ask("gsm send ussd 2 *1#")
    busy.send(b"Action: Ping\r\n\r\n")
    assert sim.wait_until(lambda: len(sim.commands) == 1)
    sim.send_event("First")
    sim.send_event("Second")
    idle.exactly(b"Event: First\r\n\r\nEvent: Second\r\n\r\n")
    assert b"USSD Message: at last\n" in busy.until(b"--END COMMAND--\r\n\r\n")
    busy.exactly(b"Event: First\r\n\r\nEvent: Second\r\n\r\n")
    assert b"Ping: Pong" in busy.packet()


def test_two_sessions_run_commands_at_once(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(1, "*1#", "slow", delay=0.3)
    slow, quick = connect(sim).login(), connect(sim).login()
    slow.ask("gsm send ussd 2 *1#")
    assert sim.wait_until(lambda: len(sim.commands) == 1)
    assert quick.run("gsm send ussd 3 *114#").startswith("1:")
    assert b"slow" in slow.until(b"--END COMMAND--\r\n\r\n")
    assert [command.session for command in sim.commands] == [1, 2]


def test_a_client_that_does_not_read_is_dropped(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(max_backlog=10_000)
    lazy = connect(sim).login()
    assert sim.sessions == 1
    for _ in range(200):
        sim.send_raw(b"x" * 100_000)
        if sim.sessions == 0:
            break
    assert sim.sessions == 0
    lazy.socket.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_requests_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    data = (
        b"Action: A\r\nX: 1\r\n\r\n\r\nAction: B\nX: a: b\n\n"
        b"Action: C\r\nLong: " + b"y" * 200 + b"\r\nX: 2\r\n\r\nAction: D\r\nX: \xff\r\n\r\n"
    )
    reader, requests = RequestReader(max_line=100), list[Request]()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        while request := reader.next():
            requests.append(request)
    assert [request.get("action") for request in requests] == ["A", "B", "C", "D"]
    assert [request.get("x") for request in requests] == ["1", "a: b", "2", "\udcff"]
    assert [request.too_long for request in requests] == [False, False, True, False]

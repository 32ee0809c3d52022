"""The first seconds: wrong passwords, closed doors, and peers that are no gateway."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import pytest

from neogate_lab import errors

from . import hostile
from .gateway import ScriptedGateway
from .hostile import HostileServer, Script
from .support import PASSWORD, connect, eventually, scripted


@pytest.mark.parametrize(
    "wrong", [{"password": "guess-W0rd"}, {"username": "nobody"}], ids=["password", "user"]
)
def test_a_wrong_login_is_refused_after_exactly_one_attempt(wrong: dict[str, str]) -> None:
    with scripted() as double:
        with pytest.raises(errors.LoginRefused) as caught:
            connect(double, **wrong)
        time.sleep(0.5)
        assert double.logins == [False]
        assert len(double.connections) == 1
        assert "guess-W0rd" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
        assert str(double.port) in str(caught.value)


def test_a_login_already_in_use_is_refused_in_the_gateways_words() -> None:
    with scripted(max_sessions=0) as double:
        with pytest.raises(errors.LoginRefused, match="Already In Use"):
            connect(double)
        assert double.logins == [False]


def test_the_right_password_after_a_wrong_one_works() -> None:
    with scripted(refusal_delay=0.1) as double:
        with pytest.raises(errors.LoginRefused):
            connect(double, password="guess-W0rd")
        with connect(double) as gw:
            assert len(gw.spans()) == 4


def test_credentials_wait_for_a_slow_banner() -> None:
    with scripted(banner_delay=0.3) as double, connect(double) as gw:
        assert len(gw.spans()) == 4
    assert double.logins == [True]


def test_odd_but_legal_passwords_arrive_as_they_are() -> None:
    odd = "p: w#rd 'and' \"more\" %41+"
    with scripted(password=odd) as double, connect(double, password=odd) as gw:
        assert len(gw.spans()) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "x\r\nAction: Logoff"},
        {"password": "x\n\nAction: Ping"},
        {"username": "apiuser\r\nEvents: off"},
        {"password": "x\0"},
    ],
    ids=["crlf", "lf", "user", "nul"],
)
def test_credentials_can_not_inject_headers(wrong: dict[str, str]) -> None:
    with scripted() as double:
        with pytest.raises(errors.InvalidRequest) as caught:
            connect(double, **wrong)
        assert double.received == b""
        assert "Logoff" not in str(caught.value)


def test_nothing_listening() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(errors.Unreachable, match=str(port)):
        connect(SimpleNamespace(host="127.0.0.1", port=port))


@pytest.mark.parametrize("script", [hostile.eof, hostile.rst])
def test_closed_at_once(script: Script) -> None:
    with HostileServer(script) as server:
        with pytest.raises(errors.Unreachable):
            connect(server)
        assert PASSWORD.encode() not in server.received
        assert b"apiuser" not in server.received


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        (hostile.ssh, "SSH-2.0-OpenSSH"),
        (hostile.smtp, "220 mail.example.org"),
        (hostile.eager_http, "HTTP/1.1 400"),
        (hostile.garbage, "garbage"),
    ],
)
def test_another_kind_of_server_is_shown_and_gets_no_credentials(
    script: Script, shown: str
) -> None:
    with HostileServer(script) as server:
        with pytest.raises(errors.ProtocolError) as caught:
            connect(server, connect_timeout=1.0)
        assert shown.encode() in caught.value.data
        assert shown in str(caught.value)
        assert len(caught.value.data) <= 1024
        time.sleep(0.05)
        assert bytes(server.received) == b""


@pytest.mark.parametrize("script", [hostile.http, hostile.silence, hostile.drip_banner])
def test_a_peer_without_a_greeting_gets_no_credentials(script: Script) -> None:
    with HostileServer(script) as server:
        with pytest.raises(errors.ProtocolError):
            connect(server, connect_timeout=0.5)
        assert PASSWORD.encode() not in server.received
        assert b"apiuser" not in server.received
        assert server.connections == 1


def test_a_login_that_is_answered_for_ever_ends() -> None:
    with HostileServer(hostile.drip_login) as server:
        with pytest.raises(errors.NeogateError) as caught:
            connect(server, connect_timeout=0.5, command_timeout=0.5)
        assert not isinstance(caught.value, errors.LoginRefused)
        assert server.received.count(b"Secret:") == 1


@pytest.mark.parametrize("script", [hostile.flood_garbage, hostile.flood_body])
def test_a_flood_ends_in_an_error_and_not_in_memory(script: Script) -> None:
    with (
        HostileServer(script) as server,
        pytest.raises(errors.NeogateError) as caught,
        connect(server, connect_timeout=2.0, command_timeout=5.0) as gw,
    ):
        gw.spans()
    assert not isinstance(caught.value, errors.InvalidRequest | errors.NoAnswer)


def test_neither_repr_nor_html_holds_the_password_or_asks_the_gateway() -> None:
    with scripted() as double, connect(double) as gw:
        heard = len(double.received)
        assert PASSWORD not in repr(gw) + gw._repr_html_()
        assert str(double.port) in repr(gw)
        assert len(double.received) == heard


def test_closing_says_goodbye_and_closes_every_connection() -> None:
    with ScriptedGateway() as double:
        gw = connect(double)
        gw.close()
        gw.close()
        eventually(lambda: not double.live)
        assert [action["action"].lower() for action in double.connections[0].actions][-1] == (
            "logoff"
        )
        with pytest.raises(errors.GatewayClosed):
            gw.spans()

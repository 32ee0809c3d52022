"""The doctor: every step against peers that fail at it, in words, and nothing costly is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import neogate_lab as ng
from neogate_lab import cli
from neogate_lab.doctor import Diagnosis, Finding

from . import hostile
from .gateway import ScriptedGateway
from .hostile import ACCEPTED, BANNER, HostileServer, Peer, Script
from .support import PASSWORD, scripted
from .variants import FIRMWARES, TG200_PORTS

STEPS = [
    "packages",
    "widgets",
    "settings",
    "store",
    "resolve",
    "reach",
    "banner",
    "login",
    "spans",
    "events",
    "clock",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HOST", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"NEOGATE_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    assert list((tmp_path / "work").glob("neogate.neogate")) == []  # looking makes no store


def diagnose(target: Any, **settings: Any) -> Diagnosis:
    usual: dict[str, Any] = {"username": "apiuser", "password": PASSWORD, "timeout": 5.0}
    if not isinstance(target, str):
        target = f"{target.host}:{target.port}"
    return ng.diagnose(target, **(usual | settings))


def first_failure(diagnosis: Diagnosis) -> Finding:
    assert [finding.step for finding in diagnosis.findings] == STEPS
    assert not diagnosis.ok
    number = next(n for n, each in enumerate(diagnosis.findings) if each.status == "failed")
    return diagnosis.findings[number]


def statuses(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.step: finding.status for finding in diagnosis.findings}


@pytest.mark.parametrize("name", FIRMWARES)
def test_a_gateway_in_good_health(name: str) -> None:
    with scripted(FIRMWARES[name]) as double:
        diagnosis = diagnose(double)
        assert diagnosis.ok, diagnosis
        found = statuses(diagnosis)
        assert [found[step] for step in STEPS[2:10]] == ["ok"] * 8
        assert double.sends == []
        assert double.commands == ["gsm show spans"]
        assert double.logins == [True]


def test_what_is_not_up_is_named_and_a_strange_clock() -> None:
    with scripted() as double:
        spans, clock = (diagnose(double).findings[number] for number in (8, 10))
    assert spans.text == f"{len(TG200_PORTS)} ports, 1 of them up"
    assert "port 2: Undetected SIM Card" in spans.causes[0]
    assert "7093" not in str(spans)  # a SIM's PIN, which the gateway shows
    assert clock.status == "doubtful"
    assert "days behind ours" in clock.text


def test_a_gateway_that_counts_its_spans_from_1_is_told_as_such() -> None:
    with ng.SimulatedGateway(ports=4, span_offset=0, password=PASSWORD) as sim:
        spans = diagnose(sim).findings[8]
    assert "span_offset=0" in spans.causes[0]
    assert spans.causes[1].startswith("port 4: Undetected SIM Card")


def refuse(words: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.hear()
        peer.send(b"Response: Error\r\nMessage: " + words + b"\r\n\r\n")

    return script


def answering(*answers: bytes) -> Script:
    """Accept the login, then give these answers one after the other; refuse whatever follows."""

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        for answer in (ACCEPTED, *answers):
            if not peer.hear():
                return
            peer.send(answer)
        while peer.hear():
            peer.send(DENIED)

    return script


def eof_at_login(peer: Peer) -> None:
    peer.send(BANNER)
    peer.hear()


def leave_after_login(peer: Peer) -> None:
    peer.send(BANNER)
    peer.hear()
    peer.send(ACCEPTED)


EMPTY = b"Response: Follows\r\nPrivilege: SMSCommand\r\n--END COMMAND--\r\n\r\n"
ONE = EMPTY.replace(b"\n--", b"\nGSM span 2: Power on, Provisioned, Up, Active,Standard\n--")
DENIED = b"Response: Error\r\nMessage: Permission denied\r\n\r\n"
EVENTS_OFF = b"Response: Success\r\nEvents: Off\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "timeout", "step", "said", "cause"),
    [
        (hostile.http, 0.5, "banner", "said nothing", "web server"),
        (hostile.eager_http, 5.0, "banner", "'HTTP/1.1 400", "a web server"),
        (hostile.ssh, 5.0, "banner", "SSH-2.0", "an SSH server"),
        (hostile.smtp, 5.0, "banner", "220 mail", "mail"),
        (hostile.eof, 5.0, "banner", "at once", "permitted"),
        (hostile.rst, 5.0, "banner", "at once", "permitted"),
        (hostile.silence, 0.5, "banner", "said nothing", "tunnel"),
        (hostile.garbage, 5.0, "banner", "garbage", "another port"),
        (hostile.drip_banner, 0.5, "banner", "Asterisk Call Manager/1", "slow"),
        (hostile.drip_login, 1.0, "login", "did not answer the login", "busy"),
        (eof_at_login, 5.0, "login", "closed the connection", "permitted"),
        (refuse(b"Authentication failed"), 5.0, "login", "can't be known", "password is wrong"),
        (refuse(b"Login Already In Use"), 5.0, "login", "logged in already", "another program"),
        (hostile.flood_garbage, 5.0, "spans", "does not list", "firmware"),
        (hostile.flood_body, 5.0, "spans", "does not list", "firmware"),
        (answering(DENIED), 5.0, "spans", "Permission denied", "right for SMS"),
        (answering(EMPTY), 5.0, "spans", "no port", "modules"),
        (leave_after_login, 5.0, "spans", "does not list", "too many clients"),
        (answering(ONE, EVENTS_OFF), 5.0, "events", "keeps events off", "right to see events"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_peer_that_fails(
    script: Script, timeout: float, step: str, said: str, cause: str
) -> None:
    with HostileServer(script) as server:
        diagnosis = diagnose(server, timeout=timeout)
        finding = first_failure(diagnosis)
        heard = bytes(server.received)
    assert finding.step == step, diagnosis
    assert said in finding.text
    assert any(cause in each for each in finding.causes), finding
    assert PASSWORD not in repr(diagnosis)
    assert PASSWORD not in diagnosis._repr_html_()
    if step == "banner":
        assert "no credentials were sent" in finding.text
        assert heard == b""
        assert [statuses(diagnosis)[each] for each in STEPS[7:]] == ["not tried"] * 4
    assert b"gsm send" not in heard


def test_events_that_nobody_can_vouch_for() -> None:
    with HostileServer(answering(ONE, DENIED)) as server:
        diagnosis = diagnose(server)
    assert diagnosis.ok
    events, clock = diagnosis.findings[9:]
    assert events.status == "doubtful"
    assert "wait_for_sms" in events.causes[0]
    assert clock.step == "clock"


def test_a_name_that_is_not_there() -> None:
    finding = first_failure(diagnose("gateway.invalid"))
    assert (finding.step, finding.text) == (
        "resolve",
        "no address is known for the name 'gateway.invalid'",
    )


def test_a_profile_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    folder = tmp_path / "config" / "neogate_lab"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[roof]\nhost = '192.0.2.1'\n")
    finding = first_failure(diagnose("rof"))
    assert finding.step == "resolve"
    assert finding.causes[0].endswith("there are roof")


def test_a_closed_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    finding = first_failure(diagnose(f"127.0.0.1:{port}"))
    assert finding.step == "reach"
    assert "refuses" in finding.text
    assert "the API is switched off" in finding.causes[0]


def test_a_wrong_password_is_one_attempt_and_stays_hidden() -> None:
    with scripted(refusal_delay=0.05) as double:
        diagnosis = diagnose(double, password="hunter2-other")
        assert double.logins == [False]
    finding = first_failure(diagnosis)
    assert finding.step == "login"
    assert len(finding.causes) == 3
    assert "hunter2" not in repr(diagnosis)


def test_without_a_user_name_the_rest_is_looked_at() -> None:
    with ScriptedGateway() as double:
        found = diagnose(double, username=None)
        assert double.logins == []
    assert statuses(found)["banner"] == "ok"
    assert first_failure(found).step == "login"


def test_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no store")
    with scripted() as double:
        diagnosis = diagnose(double, store=tmp_path / "file")
    finding = first_failure(diagnosis)
    assert finding.step == "store"
    assert statuses(diagnosis)["events"] == "ok"  # the gateway is looked at all the same


def test_strangers_words_are_harmless() -> None:
    def script(peer: Peer) -> None:
        peer.send(b"<script>alert(1)</script>\x1b[31m\r\n")
        peer.listen_on()

    with HostileServer(script) as server:
        diagnosis = diagnose(server)
    assert "<script>" not in diagnosis._repr_html_()
    assert "\x1b" not in repr(diagnosis)


def run(*arguments: str, **environment: str) -> Any:
    return CliRunner(env=environment).invoke(cli.app, ["doctor", *arguments])


def test_the_command_says_it_and_ends_with_0_or_1() -> None:
    with scripted(refusal_delay=0.05) as double:
        where = f"{double.host}:{double.port}"
        good = run(where, "--username", "apiuser", NEOGATE_PASSWORD=PASSWORD, COLUMNS="80")
        bad = run(where, "--username", "apiuser", NEOGATE_PASSWORD="hunter2", COLUMNS="80")
    assert good.exit_code == 0, good.output
    assert good.stdout.endswith("\nnothing failed\n")
    assert bad.exit_code == 1
    assert "\nFAILED     login      refused" in bad.stdout
    assert "not tried  spans" in bad.stdout
    lines = [line for line in bad.stdout.splitlines() if "neogate.neogate" not in line]
    assert max(map(len, lines)) <= 80
    assert "hunter2" not in bad.output + good.output


def test_the_command_needs_a_gateway() -> None:
    result = run()
    assert result.exit_code == 1
    assert "set NEOGATE_HOST" in " ".join(result.stdout.split())

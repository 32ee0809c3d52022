"""SMS and USSD from the command line: what is asked before, what is said after, what is kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import neogate_lab as ng
from neogate_lab import cli
from neogate_lab.cli import terminal
from neogate_lab.simulator import SimulatedGateway, UssdAnswer

LONG = "x" * 700
NUMBER = "+79001234567"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sim() -> Iterator[SimulatedGateway]:
    with SimulatedGateway(sms_delay=0.02, ussd_delay=0.01, restless=False) as sim:
        yield sim


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "somebody_there", lambda: True)


def run(sim: SimulatedGateway, verb: str, *arguments: object, typed: str = "") -> Any:
    environment = {"NEOGATE_USERNAME": sim.username, "NEOGATE_PASSWORD": sim.password}
    where = f"{sim.host}:{sim.port}"
    command = [verb, where, *map(str, arguments)]
    return CliRunner(env=environment).invoke(cli.app, command, input=typed)


def send(sim: SimulatedGateway, text: str, *options: object, typed: str = "") -> Any:
    return run(sim, "send", text, "--to", NUMBER, "--port", 1, *options, typed=typed)


# -- send ------------------------------------------------------------------------------------------
def test_the_status_that_came_is_said_and_kept(sim: SimulatedGateway) -> None:
    result = send(sim, "hello")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("sent: the SMS centre accepted it, which is not yet delivery")
    assert NUMBER not in result.output
    with ng.open_store("neogate.neogate") as store:
        kept = store.outbox()
    assert kept[["to", "text", "status"]].values.tolist() == [[NUMBER, "hello", "sent"]]
    assert f"(1 segment, port 1, id {kept.id.tolist()[0]})" in result.stdout


def test_a_key_never_sends_twice(sim: SimulatedGateway, tmp_path: Path) -> None:
    store = tmp_path / "s.neogate"
    first = send(sim, "hello", "--key", "a", "--store", store)
    second = send(sim, "hello", "--key", "a", "--store", store)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "nothing was sent now" in second.stdout
    assert len(sim.sent) == 1


def test_a_failure_ends_with_1(sim: SimulatedGateway) -> None:
    sim.set_send_outcome(1, "failed")
    result = send(sim, "hello")
    assert result.exit_code == 1
    assert result.stdout.startswith("failed: ")


def test_many_segments_are_asked_about(sim: SimulatedGateway, at_terminal: None) -> None:
    refused = send(sim, LONG, typed="n\n")
    assert refused.exit_code == 1
    assert "takes 5 segments. Send it?" in refused.output
    assert refused.stdout.endswith("nothing was sent\n")
    assert sim.sent == []
    assert send(sim, LONG, typed="y\n").exit_code == 0
    assert send(sim, LONG, "--confirm-above", 5, "--port", 2, "--store", "second").exit_code == 0


def test_many_segments_with_nobody_there_need_yes(sim: SimulatedGateway) -> None:
    refused = send(sim, LONG)
    assert refused.exit_code == 1
    assert "--yes" in refused.stderr
    assert sim.connections == 0
    assert send(sim, LONG, "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", 9], "has no port 9"),
        (["--to", "+7 900"], "digits only"),
        (["--to", "79001234567.0"], "decimal point"),
    ],
)
def test_what_cannot_be_sent_is_one_line(
    sim: SimulatedGateway, options: list[object], words: str
) -> None:
    result = send(sim, "hello", *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert sim.sent == []


# -- ussd ------------------------------------------------------------------------------------------
def test_an_answer_without_a_menu(sim: SimulatedGateway) -> None:
    sim.set_ussd(1, "*100#", "Balance: 5 r.\n\x1b[31mSpend\x07 it\x1b[0m")
    result = run(sim, "ussd", "*100#", "--port", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout == "Balance: 5 r.\nSpend  it\n"
    with ng.open_store("neogate.neogate") as store:
        assert store.ussd_log().code.tolist() == ["*100#"]


def test_a_menu_is_walked_in_a_terminal(sim: SimulatedGateway, at_terminal: None) -> None:
    sim.set_ussd(1, "*100#", {"": "1 More", "1": "Done"})
    result = run(sim, "ussd", "*100#", "--port", 1, typed='"\n1\n')
    assert result.exit_code == 0, result.output
    shown = [line for line in result.stdout.splitlines() if not line.startswith("answer")]
    assert shown[0] == "1 More"
    assert "double quote" in shown[1]
    assert shown[-1] == "Done"


def test_a_menu_may_be_left(sim: SimulatedGateway, at_terminal: None) -> None:
    sim.set_ussd(1, "*100#", {"": "1 More", "1": "Done"})
    result = run(sim, "ussd", "*100#", "--port", 1, typed="\n")
    assert result.exit_code == 0
    assert result.stdout.endswith("the network drops it after a while\n")


def test_without_a_terminal_nobody_is_asked(sim: SimulatedGateway) -> None:
    sim.set_ussd(1, "*100#", {"": "1 More", "1": "Done"})
    result = run(sim, "ussd", "*100#", "--port", 1)
    assert result.exit_code == 0
    assert "answer" not in result.stdout


def test_no_answer_ends_with_1(sim: SimulatedGateway) -> None:
    sim.set_ussd(1, "*999#", UssdAnswer("", responses=4))
    result = run(sim, "ussd", "*999#", "--port", 1)
    assert result.exit_code == 1
    assert "does not support" in result.stdout
    bad = run(sim, "ussd", "hello", "--port", 1)
    assert bad.exit_code == 1
    assert "USSD code" in bad.stderr


# -- every verb ------------------------------------------------------------------------------------
def test_errors_speak_of_options_here(sim: SimulatedGateway) -> None:
    result = CliRunner(env={"NEOGATE_USERNAME": ""}).invoke(cli.app, ["spans", "192.0.2.1"])
    assert result.exit_code == 1
    assert "give --username, write it into a profile" in result.stderr
    assert "username=" not in result.stderr


def test_warnings_are_lines_of_the_command(
    sim: SimulatedGateway, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    folder = tmp_path / "neogate_lab"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"[lab]\nhost = '{sim.host}:{sim.port}'\nusername = 'apiuser'\npassword = 'apipass'\n"
    )
    (folder / "config.toml").chmod(0o644)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(cli.app, ["spans", "lab"])
    assert result.exit_code == 0
    assert result.stderr.startswith("neogate-lab: ")
    assert "chmod 600" in result.stderr
    assert ".py:" not in result.stderr


@pytest.mark.parametrize(
    "command", [each.callback.__name__ for each in cli.app.registered_commands]
)
def test_every_verb_explains_itself(command: str) -> None:
    overview = CliRunner(env={"COLUMNS": "80"}).invoke(cli.app, ["--help"]).stdout
    told = CliRunner(env={"COLUMNS": "80"}).invoke(cli.app, [command, "--help"])
    assert told.exit_code == 0
    assert "[[" not in told.stdout
    (line,) = [each for each in overview.splitlines() if each.startswith(f"  {command} ")]
    assert line.endswith(".")
    assert not line.endswith("...")
    lines = told.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    options = [line for line in lines if line.startswith("  --")]
    assert options

"""One survey in the terminal: its bar, its end, what it says, and going on with it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import neogate_lab as ng
from neogate_lab import cli
from tests.support import eventually, recorded
from tests.test_cli import ENTRY, ROOT, start

LOGIN = {"NEOGATE_USERNAME": "apiuser", "NEOGATE_PASSWORD": "apipass"}


@pytest.fixture
def sim() -> Iterator[ng.SimulatedGateway]:
    with ng.SimulatedGateway(4, restless=False) as sim:
        sim.set_signal(1, 20)
        yield sim


def run(sim: ng.SimulatedGateway, *arguments: object) -> Any:
    words = ["survey", f"{sim.host}:{sim.port}", *map(str, arguments)]
    return CliRunner(env=LOGIN).invoke(cli.app, words)


def test_it_measures_sums_up_and_draws(sim: ng.SimulatedGateway, tmp_path: Path) -> None:
    store, plot = tmp_path / "lab", tmp_path / "roof.png"
    options = ("--every", "0.1s", "--duration", "0.5s", "--label", "roof", "--store", store)
    result = run(sim, *options, "--name", "test", "--plot", plot)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "test: 5 of 5 ticks"
    assert lines[3].split() == ["1", "roof", "5", "0", "-73.0", "-73.0", "-73.0", "100.0"]
    assert re.fullmatch(r" +4 +no_sim +\d\d:\d\d:\d\d +- +-", lines[10])
    assert lines[12] == f"20 rows are in {store}"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert lines[14] == f"plot: {plot}"
    call = f"ng.open_store({str(store)!r})"
    assert lines[13].startswith(f"  {call}.signal(")
    with ng.open_store(store) as opened:
        assert len(eval(lines[13].strip().replace(call, "opened"), {"opened": opened})) == 20
    again = run(sim, *options, "--name", "test")
    assert "has come to its end with 5 of 5 ticks" in again.stderr
    assert again.stdout.splitlines()[0] == lines[0]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_it_sums_up_all_the_same(
    sim: ng.SimulatedGateway, tmp_path: Path, how: signal.Signals
) -> None:
    store = tmp_path / "lab"
    options = ("--every", "0.1s", "--store", store, "--name", "test", "--port", 1, "--port", 2)
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "survey", f"{sim.host}:{sim.port}", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **LOGIN},
    )
    try:
        eventually(lambda: len(recorded(store)))
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert re.match(r"test: \d+ ticks\n", out)
    with ng.open_store(store) as opened:
        assert f"{len(opened.signal())} rows are in {store}" in out
        assert opened.surveys().reason.tolist() == ["stopped"]
        assert set(opened.signal().port) == {1, 2}
    again = run(sim, *options[:-4], "--duration", "1h")
    assert again.exit_code == 1
    assert re.fullmatch(r"neogate-lab: a survey called 'test' is on record with .*\n", again.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_the_time_left(sim: ng.SimulatedGateway, tmp_path: Path) -> None:
    options = ["--every", "1s", "--duration", "2s", "--store", str(tmp_path / "lab")]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "survey", f"{sim.host}:{sim.port}", *options],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), **LOGIN},
    )
    os.close(theirs)
    shown = ""
    try:
        while True:
            shown += os.read(ours, 4096).decode()
    except OSError:  # its other end is gone
        pass
    finally:
        os.close(ours)
        process.wait(30)
    assert process.returncode == 0
    assert "0/2 ticks, 00:02 left" in shown
    assert "2/2 ticks, 00:00 left" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--plot", "x.foo"], "end it in .png"),
        (["--plot", "nowhere/x.png"], "there is no folder nowhere"),
        (["--port", "9"], "has no port 9"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line(
    sim: ng.SimulatedGateway, tmp_path: Path, options: list[str], words: str
) -> None:
    result = run(sim, "--store", tmp_path / "lab", *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_plot_that_cannot_be_written_costs_no_summary(
    sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    (tmp_path / "x.png").mkdir()
    once = ("--store", tmp_path / "lab", "--every", "0.2", "--duration", "0.2")
    result = run(sim, *once, "--plot", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "1 of 1 ticks" in result.stdout
    assert "x.png" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_plot_may_lie_in_the_home_folder(
    sim: ng.SimulatedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    once = ("--store", tmp_path / "lab", "--every", "0.2", "--duration", "0.2")
    assert run(sim, *once, "--plot", "~/x.png").exit_code == 0
    assert (tmp_path / "x.png").is_file()


@pytest.mark.parametrize("option", ["--every", "--duration"])
def test_a_period_that_is_none_is_named_with_its_option(
    sim: ng.SimulatedGateway, tmp_path: Path, option: str
) -> None:
    result = run(sim, "--store", tmp_path / "lab", option, "soon")
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': 'soon' is no period" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_period_may_be_seconds_as_a_number(sim: ng.SimulatedGateway, tmp_path: Path) -> None:
    result = run(sim, "--store", tmp_path / "lab", "--every", "0.2", "--duration", "0.4")
    assert result.exit_code == 0, result.stderr
    assert "2 of 2 ticks" in result.stdout


def test_a_recorder_goes_on_with_its_survey(tmp_path: Path, sim: ng.SimulatedGateway) -> None:
    store = tmp_path / "lab"
    where = f"{sim.host}:{sim.port}"
    for number in (1, 2):
        process = start("record", where, "--every", "1s", "--store", store, **LOGIN)
        try:
            eventually(lambda ticks=4 * number: len(recorded(store)) >= ticks)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 0, err
        assert ("'record' goes on after" in err) == (number == 2)
    with ng.open_store(store) as opened:
        assert opened.surveys().reason.tolist() == ["closed", "closed"]
        times = opened.signal().time
    assert (((times - times.iloc[0]).dt.total_seconds() % 1).round(4) % 1 == 0).all()

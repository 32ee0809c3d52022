"""The command line: what it prints, what it leaves behind, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

import neogate_lab as ng
from neogate_lab.cli import demo, terminal
from neogate_lab.history.frames import frame_of
from tests.support import UNHURRIED, run

ROOT = Path(__file__).parents[1]

# SIGINT is ignored in what a shell starts in the background, and children inherit that.
ENTRY = UNHURRIED + (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from neogate_lab.cli import app; app(prog_name='neogate-lab')"
)


def start(*arguments, **environment):
    """Run the command in a process of its own, warnings being errors."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", ENTRY, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
    )


# -- the plain things ------------------------------------------------------------------------------


def test_version():
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"neogate-lab {ng.__version__}\n")


def test_help_names_every_command_and_the_one_to_start_with():
    result = run("--help")
    assert result.exit_code == 0
    assert "Start with `neogate-lab demo`" in result.output
    assert "The exit status is 0 if" in result.output
    for command in ("demo", "simulate", "spans"):
        assert re.search(rf"^  {command} +[A-Z].*\.$", result.output, re.MULTILINE)
        told = run(command, "--help")
        assert told.exit_code == 0
        assert "Usage:" in told.output


def test_an_error_is_one_line_without_a_traceback():
    result = run("spans", "127.0.0.1:1", "--username", "apiuser", NEOGATE_PASSWORD="secret")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.fullmatch(r"neogate-lab: .*127\.0\.0\.1:1.*\n", result.stderr)
    assert "secret" not in result.stderr


def test_an_interrupt_leaves_with_130(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ng, "connect", interrupted)
    result = run("spans", "127.0.0.1")
    assert (result.exit_code, result.stderr) == (130, "neogate-lab: interrupted\n")


def test_an_interrupt_before_it_has_begun_shows_no_traceback():
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'neogate_lab.cli.base':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from neogate_lab.cli import app"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_spans_shows_the_ports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ng.SimulatedGateway(ports=4, seed=7) as sim:
        sim.set_signal(port=1, signal=20)
        where = f"{sim.host}:{sim.port}"
        result = run("spans", where, "--username", "apiuser", NEOGATE_PASSWORD="apipass")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["port", "status", "network", "registration", "dBm", "module"]
    assert lines[1].split()[:3] == ["1", "Up", "MegaFon"]
    assert "-73" in lines[1]
    assert "Undetected SIM Card" in lines[4]
    assert list(tmp_path.iterdir()) == []  # nothing is recorded where it was called


def test_spans_of_several_gateways_and_one_that_is_not_there():
    login = {"NEOGATE_USERNAME": "apiuser", "NEOGATE_PASSWORD": "apipass"}
    with ng.SimulatedGateway(ports=4, seed=7) as one, ng.SimulatedGateway(ports=2) as other:
        where = [f"{sim.host}:{sim.port}" for sim in (one, other)]
        result = run("spans", *where, **login)
        assert result.exit_code == 0, result.stderr
        lines = result.stdout.splitlines()
        assert lines[0].split()[:2] == ["gateway", "port"]
        assert len(lines) == 7
        other.stop()
        result = run("spans", *where, **login)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 5
    assert result.stderr.count("\n") == 1
    assert where[1] in result.stderr
    assert "refused" in result.stderr


# -- simulate --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_simulate_serves_until_it_is_stopped(stop):
    process = start("simulate", "--port", 0, "--ports", 2, "--firmware", "v3")
    try:
        line = process.stdout.readline()
        call = re.search(r"ng\.connect\((.*?)\)", line)[1]
        gateway = eval(f"ng.connect({call}, store=':memory:')", {"ng": ng})
        with gateway:
            assert list(gateway.spans()["port"]) == [1, 2]
        process.send_signal(stop)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_simulate_does_not_show_a_password_of_yours():
    process = start("simulate", "--port", 0, "--password", "hunter2")
    try:
        line = process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert 'password="…"' in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--firmware", "tg9000"], "tg200, v3, tg400, manual2013, ami5"),
        (["--ports", 33], "33"),
        (["--port", 99999], "99999"),
    ],
)
def test_simulate_refuses_what_is_not_there(options, words):
    result = run("simulate", "--port", 0, *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_simulate_says_that_a_port_is_taken():
    with ng.SimulatedGateway() as sim:
        result = run("simulate", "--port", sim.port)
    assert result.exit_code == 1
    assert str(sim.port) in result.stderr


# -- demo ------------------------------------------------------------------------------------------


def test_demo_does_the_whole_job(tmp_path):
    out = tmp_path / "out"
    process = start("demo", "--duration", 5, "--out", out, COLUMNS="60")
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, said + errors
    assert errors == ""  # no progress bar where no terminal is
    assert "NO  " not in said
    assert str(out) in said

    assert {path.name for path in out.iterdir()} == {
        "signal.parquet",
        "signal.csv",
        "inbox.csv",
        "outbox.csv",
        "signal.png",
    }
    measured = ng.read_parquet(out / "signal.parquet")
    assert measured.groupby("port").size().to_dict() == dict.fromkeys((1, 2, 3, 4), 20)
    assert set(measured["label"]) == set(demo._LABELS)
    assert ng.read_csv(out / "signal.csv").equals(measured)
    assert list(ng.read_csv(out / "inbox.csv")["text"]) == [
        demo._CODE_TEXT,
        demo._LONG_TEXT,
        demo._LATE_TEXT,
    ]
    assert sorted(ng.read_csv(out / "outbox.csv")["status"]) == ["failed", "sent"]

    tables = said[said.index("\nports\n") : said.index("what happened")]
    assert max(terminal.width(line) for line in tables.splitlines()) <= 60
    for title in ("ports", "signal, by port and label", "inbox", "outbox", "USSD", "connections"):
        assert f"\n{title}\n" in said


def test_demo_reports_what_did_not_happen(tmp_path, monkeypatch):
    def only_survey(gateway, simulator, duration, steps):
        survey = gateway.survey(every=0.1, duration=0.2, label=demo._LABELS[0], progress=False)
        survey.wait()
        with steps.attempt("a step"):
            raise ng.NoAnswer("nobody was there")
        return survey

    monkeypatch.setattr(demo, "_converse", only_survey)
    result = run("demo", "--out", tmp_path)
    assert result.exit_code == 1
    assert "NO   a step: nobody was there" in result.stdout
    assert "yes  a row for each of 4 ports at each of 2 ticks" in result.stdout
    assert "NO   short SMS received, once" in result.stdout
    assert "NO   USSD menu walked in UCS-2" in result.stdout
    assert "7 of 14 did not happen" in result.stdout


def test_an_interrupted_demo_leaves_nothing_running_and_no_store(tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = start("demo", "--out", tmp_path / "out", TMPDIR=str(temporary))
    try:
        while "received in 3 parts" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert errors.endswith("neogate-lab: interrupted\n")
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []


def test_demo_says_that_its_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    result = run("demo", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["spans"], ["--help"], ["spans", "--help"], ["--version"]])
def test_an_output_that_cannot_be_written_is_told(arguments, unbuffered):
    with ng.SimulatedGateway() as sim, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "neogate_lab.cli", *arguments],
            env=os.environ
            | {
                "NEOGATE_HOST": f"{sim.host}:{sim.port}",
                "NEOGATE_USERNAME": "apiuser",
                "NEOGATE_PASSWORD": "apipass",
                "PYTHONUNBUFFERED": unbuffered,
            },
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "neogate-lab: [Errno 28] No space left on device\n",
    )


# -- how the demo judges itself --------------------------------------------------------------------

PORTS, TICKS = 2, 4
HALF = TICKS // 2


def tables():
    """What a demo that went well has recorded."""
    return {
        "signal": [
            {"port": port, "ok": True, "rssi_dbm": -80, "label": demo._LABELS[tick // HALF]}
            for tick in range(TICKS)
            for port in range(1, PORTS + 1)
        ],
        "messages": [
            {"text": demo._CODE_TEXT, "parts": 1, "complete": True},
            {"text": demo._LONG_TEXT, "parts": 3, "complete": True},
            {"text": demo._LATE_TEXT, "parts": 1, "complete": True},
        ],
        "outbox": [{"id": "a", "status": "sent"}, {"id": "b", "status": "failed"}],
        "ussd": [
            {"code": code, "outcome": outcome, "dcs": 72, "text": "Меню"}
            for code, outcome in zip(demo._MENU, ["menu", "menu", "menu", "done"], strict=True)
        ],
        "connections": [{"event": event} for event in ("connected", "lost", "restored")],
    }


def judged(rows, sent):
    frames = {name: frame_of(name, each) for name, each in rows.items()}
    gateway = SimpleNamespace(
        inbox=lambda: frames["messages"],
        outbox=lambda: frames["outbox"],
        ussd_log=lambda: frames["ussd"],
        connections=lambda: frames["connections"],
    )
    survey = SimpleNamespace(total=TICKS, frame=lambda: frames["signal"])
    return demo._check(gateway, SimpleNamespace(sent_per_id=Counter(sent)), survey, PORTS)


def change(name, number, **values):
    def spoil(rows):
        rows[name][number].update(values)

    return spoil


def lose(name, number=0):
    return lambda rows: rows[name].pop(number)


def double(name, number=0):
    return lambda rows: rows[name].append(dict(rows[name][number]))


def test_a_demo_that_went_well_is_judged_so():
    assert set(judged(tables(), "ab").values()) == {True}


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lose("signal"), "at each of 4 ticks"),
        (double("signal"), "at each of 4 ticks"),
        (lambda rows: [each.update(rssi_dbm=None) for each in rows["signal"]], "signal values"),
        (lambda rows: [each.update(ok=False) for each in rows["signal"][1::2]], "every port"),
        (
            lambda rows: [each.update(label=demo._LABELS[0]) for each in rows["signal"][::2]],
            "both labels",
        ),
        (lose("messages", 0), "short SMS"),
        (double("messages", 0), "short SMS"),
        (lose("messages", 1), "long SMS"),
        (double("messages", 1), "long SMS"),
        (change("messages", 1, text="Добрый"), "long SMS"),
        (change("messages", 1, complete=False), "long SMS"),
        (change("outbox", 1, status="sent"), "two SMS"),
        (change("outbox", 0, status="unknown"), "two SMS"),
        (lose("outbox"), "two SMS"),
        (change("ussd", 0, dcs=15), "USSD"),
        (change("ussd", 3, outcome="timeout"), "USSD"),
        (change("ussd", 3, text="ascii"), "USSD"),
        (lose("ussd"), "USSD"),
        (lose("connections", 1), "dropped connection"),
        (lose("connections", 2), "dropped connection"),
        (lose("messages", 2), "dropped connection"),
    ],
)
def test_what_did_not_happen_is_seen_in_the_tables(spoil, what):
    rows = tables()
    spoil(rows)
    missing = [check for check, happened in judged(rows, "ab").items() if not happened]
    assert len(missing) == 1
    assert what in missing[0]


def test_an_sms_that_was_written_twice_is_seen():
    assert not all(judged(tables(), "aab").values())


def test_a_file_that_holds_something_else_is_seen(tmp_path):
    frames = {name: frame_of(name, [{"port": 1}]) for name in ("signal", "messages", "outbox")}
    gateway = SimpleNamespace(
        signal=lambda: frames["signal"],
        inbox=lambda: frames["messages"],
        outbox=lambda: frames["outbox"],
    )
    (tmp_path / "signal.csv").write_text("no table of ours\n1\n")
    (tmp_path / "signal.png").write_text("no picture")
    assert set(demo._check_files(gateway, tmp_path).values()) == {False}


# -- in a terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1bPq#0\x1b\\text", "text"),
        ("\x1bc reset", "reset"),
        ("bell\x07 and \x08backspace", "bell  and  backspace"),
        ("two\r\nlines\n", "two / lines"),
        ("\u202egnorw\u202c", " gnorw "),
        ("Баланс: 5 € 📡", "Баланс: 5 € 📡"),
        ("\x1b]0;never ended", ""),
        ("\x1b", ""),
    ],
)
def test_strangers_text_has_no_power_over_the_terminal(hostile, shown):
    assert terminal.plain(hostile) == shown
    assert terminal.plain(hostile).isprintable()


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_tables_fit_the_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = "你好 " * 20 + "\x1b[2J"
    frame = frame_of("messages", [{"port": p, "sender": "+79261234567", "text": text}
                                  for p in (1, 12)])  # fmt: skip
    terminal.print_table(
        frame, {"port": "port", "sender": "from", "parts": "parts", "text": "text"}
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(terminal.width(line) <= columns for line in lines)
    assert lines[2].startswith("    12  +7926")
    assert "-" in lines[2].split("+7926")[1]  # an unknown count
    assert columns > 150 or lines[2].endswith("…")


def test_an_empty_table_is_said_to_be_empty(capsys):
    terminal.print_table(frame_of("messages", []), {"text": "text"})
    assert capsys.readouterr().out == "  (none)\n"

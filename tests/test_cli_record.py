"""The recorder process: it runs until it is told to stop, and others read along."""

from __future__ import annotations

import concurrent.futures
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pandas.testing import assert_frame_equal

import neogate_lab as ng
from neogate_lab import cli
from tests.support import eventually, recorded, run
from tests.test_cli import ENTRY, ROOT, start

LOGIN = {"NEOGATE_USERNAME": "apiuser", "NEOGATE_PASSWORD": "apipass"}


@contextmanager
def recording(store: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = start("record", "--every", "1s", "--store", store, *arguments, **LOGIN)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], how: signal.Signals) -> list[str]:
    """Stop it; what it said, without the times."""
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == ""
    # Python's development mode lets asyncio tell of slow steps too.
    said = re.findall(r"^(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|neogate-lab:) (.*)", err, re.MULTILINE)
    assert "Traceback" not in err
    return [re.sub(r"127\.0\.0\.1:\d+: |[\d.]+ s$", "", line) for line in said]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_records_until_it_is_stopped_and_a_notebook_reads_along(
    tmp_path: Path, how: signal.Signals
) -> None:
    store = tmp_path / "lab.neogate"
    with (
        ng.SimulatedGateway(ports=2) as sim,
        recording(store, f"{sim.host}:{sim.port}", "--label", "roof") as process,
    ):
        eventually(lambda: len(recorded(store)) >= 2)
        sim.receive_sms(1, "+390123456789", "hello")
        eventually(lambda: len(recorded(store, "messages")) == 1)
        seen = len(recorded(store))
        eventually(lambda: len(recorded(store)) > seen)
        said = ended(process, how)
    assert said == ["recording 2 ports every 1s", "stopped"]
    frame = recorded(store)
    assert set(frame["label"]) == {"roof"}
    assert set(frame["survey"]) == {"record"}
    assert list(recorded(store, "surveys")["reason"]) == ["closed"]
    assert list(recorded(store, "connections")["event"]) == ["connected", "closed"]


def test_without_a_store_given_it_records_where_the_profiles_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    where = {name: tmp_path / f"{name}.neogate" for name in ("lab", "roof", "given", "neogate")}
    profiles = tmp_path / "neogate_lab" / "config.toml"
    profiles.parent.mkdir()
    with ng.SimulatedGateway(ports=2) as sim:
        host = f'host = "{sim.host}:{sim.port}"\n'
        named = {name: f'[{name}]\n{host}store = "{where[name]}"\n' for name in ("lab", "roof")}
        profiles.write_text("".join(named.values()) + f"[bare]\n{host}")
        for arguments, store in (
            (["lab"], where["lab"]),
            (["lab", "--store", where["given"]], where["given"]),
            (["bare"], where["neogate"]),
        ):
            process = start("record", "--every", "1s", *arguments, **LOGIN)
            try:
                eventually(lambda store=store: len(recorded(store)) >= 2)
                assert ended(process, signal.SIGTERM) == [
                    f"{arguments[0]}: recording 2 ports every 1s",
                    "stopped",
                ]
            finally:
                process.kill()
                process.communicate()
        result = run("record", "lab", "roof", **LOGIN)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the profiles name different stores" in result.stderr
    assert "give --store" in result.stderr
    assert not where["roof"].exists()


def test_it_says_only_what_changes(tmp_path: Path) -> None:
    store = tmp_path / "lab.neogate"
    with ng.SimulatedGateway(ports=2) as sim, recording(store, f"{sim.host}:{sim.port}") as process:
        eventually(lambda: len(recorded(store)) >= 2)
        sim.drop_connections()
        eventually(lambda: "restored" in list(recorded(store, "connections")["event"]))
        said = ended(process, signal.SIGTERM)
    assert said == [
        "recording 2 ports every 1s",
        "connection lost: the gateway closed the connection",
        "connection restored after ",
        "stopped",
    ]


def test_a_second_recorder_names_the_first_and_refuses(tmp_path: Path) -> None:
    store = tmp_path / "lab.neogate"
    with ng.SimulatedGateway(ports=2) as sim:
        target = f"{sim.host}:{sim.port}"
        with recording(store, target) as first:
            eventually(lambda: len(recorded(store)) >= 2)
            with recording(store, target) as second:
                out, err = second.communicate(timeout=20)
            assert (second.returncode, out) == (1, "")
            assert "recording" not in err
            assert err.splitlines()[-1] == (
                f"neogate-lab: process {first.pid} measures {target} under the survey name "
                "'record' already: stop it there, or give another name"
            )
            with recording(store, target, "--name", "beside") as second:
                eventually(lambda: len(recorded(store)) and "beside" in set(recorded(store).survey))
                said = ended(second, signal.SIGTERM)
            assert said[-3:] == [
                f"process {first.pid} measures {target} as well, every 1 s: its rows stand beside "
                "these with survey='record'",
                "recording 2 ports every 1s",
                "stopped",
            ]


def test_a_gateway_that_is_not_there_yet_is_looked_for_and_others_are_measured(
    tmp_path: Path,
) -> None:
    store = tmp_path / "lab.neogate"
    with (
        ng.SimulatedGateway(ports=2) as sim,
        recording(store, "127.0.0.1:1", f"{sim.host}:{sim.port}") as process,
    ):
        eventually(lambda: len(recorded(store)) >= 4)
        said = ended(process, signal.SIGTERM)
    assert said[0].startswith("no connection to")
    assert said[0].endswith("looked for again until it answers")
    assert said[1:] == ["recording 2 ports every 1s", "stopped"]


def test_one_that_says_nothing_keeps_no_other_waiting(tmp_path: Path) -> None:
    store = tmp_path / "lab.neogate"
    with ng.SimulatedGateway(ports=2) as mute, ng.SimulatedGateway(ports=2) as sim:
        mute.freeze()
        where = [f"{each.host}:{each.port}" for each in (mute, sim)]

        def measured() -> bool:
            seen = recorded(store)
            return len(seen) > 0 and set(seen[seen.ok].gateway) == set(where)

        with recording(store, *where) as process:
            eventually(lambda: sim.sessions)
            mute.thaw()
            eventually(measured)
            ended(process, signal.SIGTERM)


def test_a_wrong_password_of_one_is_logged_and_the_others_are_measured(tmp_path: Path) -> None:
    store = tmp_path / "lab.neogate"
    with (
        ng.SimulatedGateway(password="other") as strange,
        ng.SimulatedGateway(ports=2) as sim,
        recording(store, *(f"{each.host}:{each.port}" for each in (strange, sim))) as process,
    ):
        eventually(lambda: len(recorded(store)) >= 4)
        said = ended(process, signal.SIGTERM)
        assert strange.login_attempts == 1
    assert "refused the login" in said[0]
    assert said[0].endswith("; not tried again")
    assert said[1:] == ["recording 2 ports every 1s", "stopped"]


def test_a_gateway_that_comes_later_is_found_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cli.record, "_FIRST_DELAY", 0.0)
    monkeypatch.setenv("NEOGATE_PASSWORD", "apipass")
    with ng.SimulatedGateway(ports=2) as sim, ng.Store(tmp_path / "lab.neogate") as opened:
        sim.stop()
        target = f"{sim.host}:{sim.port}"
        one = cli.record._Recorder([target], opened, "1s", "", "record", "apiuser", None)
        one.look()
        one.look()
        assert one.status.startswith(f"{target}: no connection to")
        assert len(caplog.records) == 1  # the same trouble is told once
        sim.start()
        one.look()
        assert one.status == f"{target}: connected, 0 ticks" or "1 ticks" in one.status
        one.close()


def test_a_full_disk_ends_it_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOGATE_PASSWORD", "apipass")
    with ng.SimulatedGateway(ports=2) as sim, ng.Store(tmp_path / "lab.neogate") as opened:
        target = f"{sim.host}:{sim.port}"
        one = cli.record._Recorder([target], opened, "1s", "", "record", "apiuser", None)
        one.look()

        def full(table: str, rows: Any) -> Any:
            future: Any = concurrent.futures.Future()
            future.set_exception(ng.StoreError("the disk is full"))
            return future

        monkeypatch.setattr(opened, "append", full)
        with pytest.raises(ng.StoreError, match="the disk is full"):
            eventually(lambda: one.look())
        monkeypatch.undo()
        one.close()


def test_a_wrong_password_ends_it_with_one_line(tmp_path: Path) -> None:
    with ng.SimulatedGateway(password="other") as sim:
        result = run("record", f"{sim.host}:{sim.port}", "--store", tmp_path / "lab", **LOGIN)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "refused the login" in result.stderr
    assert "apipass" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--every", "often"], "'often' is no period"),
        (["a", "b", "--wire", "w.jsonl"], "one gateway"),
    ],
)
def test_what_cannot_be_recorded(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = run("record", "--store", tmp_path / "lab", *arguments, **LOGIN)
    assert result.exit_code != 0
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_traffic_can_be_kept_and_replayed(tmp_path: Path) -> None:
    store, wire = tmp_path / "lab.neogate", tmp_path / "wire.jsonl"
    with (
        ng.SimulatedGateway(ports=2) as sim,
        recording(store, f"{sim.host}:{sim.port}", "--wire", wire) as process,
    ):
        eventually(lambda: len(recorded(store)) >= 2)
        ended(process, signal.SIGTERM)
    assert "apipass" not in wire.read_text()
    result = run("replay", wire)
    assert result.exit_code == 0
    assert "SpanDetail span=3" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_one_line_that_moves(tmp_path: Path) -> None:
    store = tmp_path / "lab.neogate"
    ours, theirs = pty.openpty()
    with ng.SimulatedGateway(ports=2) as sim:
        target = f"{sim.host}:{sim.port}"
        options = ["record", "--every", "1s", "--store", str(store), target]
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *options],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "60", **LOGIN},
        )
        os.close(theirs)
        try:
            shown = ""
            while len(set(re.findall(r"connected, (\d+) ticks", shown))) < 2:
                shown += os.read(ours, 4096).decode()
            process.terminate()
            process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
    assert process.returncode == 0
    assert re.search(r"\r\x1b\[2K127\.0\.0\.1:\d+: connected, \d+ ticks", shown)
    assert shown.count("\n") == 1  # the one change of state


# -- export ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with ng.Store(tmp_path / "lab.neogate") as opened:
        sim = ng.SimulatedGateway(ports=2)
        with (
            sim,
            ng.connect(
                f"{sim.host}:{sim.port}", username="apiuser", password="apipass", store=opened
            ) as gateway,
        ):
            gateway.sample("roof")
            gateway.sample("sill")
            sim.receive_sms(1, "+390123456789", "hello")
            gateway.wait_for_sms(since="1m", timeout=10)
    return tmp_path / "lab.neogate"


def test_export_writes_what_the_store_holds(store: Path, tmp_path: Path) -> None:
    result = run("export", store, tmp_path / "x.parquet")
    assert (result.exit_code, result.stdout) == (0, f"wrote {tmp_path / 'x.parquet'}\n")
    with ng.open_store(store) as opened:
        assert_frame_equal(ng.read_parquet(tmp_path / "x.parquet"), opened.signal())
        run("export", store, tmp_path / "y.csv", "--label", "roof", "--port", 2, "--since", "2h")
        wanted = opened.signal(label="roof", port=2)
        assert_frame_equal(ng.read_csv(tmp_path / "y.csv"), wanted)
        assert len(wanted) == 1
    assert run("export", store, tmp_path / "folder").exit_code == 0
    assert len(ng.read_parquet(tmp_path / "folder")) == 4


def test_export_redacts(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    arguments = ("--table", "messages", "--redact", "numbers", "--bom", "--no-spreadsheet-safe")
    assert run("export", store, path, *arguments).exit_code == 0
    assert path.read_bytes().startswith(b'\xef\xbb\xbf"row_id"')
    assert b"390123456789" not in path.read_bytes()
    assert list(ng.read_csv(path)["text"]) == ["hello"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.xls"], "known format"),
        (["x.csv", "--table", "sms"], "no table"),
        (["x.csv", "--partitioned"], "only Parquet"),
    ],
)
def test_export_refuses_in_one_line(
    store: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = run("export", store, tmp_path / arguments[0], *arguments[1:])
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [store]


@pytest.mark.parametrize("command", ["export", "report"])
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--since", "soon", "'soon' is no time: give for example 2026-11-20"),
        ("--until", "2026-13-01", "'2026-13-01' is no time"),
        ("--redact", "some", "'numbers'"),
        ("--port", "0", "'--port'"),
    ],
)
def test_export_and_report_check_their_filters_alike(
    store: Path, tmp_path: Path, command: str, option: str, value: str, words: str
) -> None:
    result = run(command, store, tmp_path / "x.html", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == [store]


def test_times_in_the_wrong_order_are_shown_as_times(store: Path, tmp_path: Path) -> None:
    times = ("--since", "2027-01-01", "--until", "2026-01-01")
    result = run("export", store, tmp_path / "x.csv", *times)
    assert result.exit_code == 1
    assert "--since '2027-01-01 00:00:00+00:00' is later than --until '2026" in result.stderr


@pytest.mark.parametrize(("command", "file"), [("export", "x.csv"), ("report", "x.html")])
def test_a_gateway_that_is_not_in_the_store_is_named(
    store: Path, tmp_path: Path, command: str, file: str
) -> None:
    result = run(command, store, tmp_path / file, "--gateway", "labb", "--since", "2h")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("\n") == 1
    assert "no gateway 'labb' is in the store; there is 127.0.0.1:" in result.stderr
    with ng.open_store(store) as opened:
        (name,) = set(opened.signal()["gateway"])
    assert "no gateway" not in run(command, store, tmp_path / file, "--gateway", name).stderr


@pytest.mark.parametrize(("command", "file"), [("export", "x.csv"), ("report", "x.html")])
def test_export_and_report_go_to_urls_too(store: Path, command: str, file: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    url = f"memory://{command}/{file}"
    result = run(command, store, url)
    assert (result.exit_code, result.stdout) == (0, f"wrote {url}\n")
    system = fsspec.filesystem("memory")
    assert system.size(url) > 0
    system.rm(url)


def test_export_of_no_store(tmp_path: Path) -> None:
    result = run("export", tmp_path / "nothing", tmp_path / "x.csv")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

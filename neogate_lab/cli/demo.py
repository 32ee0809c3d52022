"""`neogate-lab demo`: the whole job once, on a simulated gateway, and what of it happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import neogate_lab as ng
from neogate_lab.cli.base import app, period, polite, stoppable
from neogate_lab.cli.terminal import plain, print_table, say, watched

if TYPE_CHECKING:
    import pandas as pd

    from neogate_lab.simulator import SimulatedGateway

__all__ = ["demo"]

_LABELS = ("window sill", "roof antenna")
_GAIN_DB = 10.0
_CODE_SENDER, _CODE_TEXT = "MegaFon", "Your code is 4711. Do not tell it to anyone."
_LONG_SENDER = "+79261234567"
_LONG_TEXT = (
    "Добрый день! Антенна на крыше установлена, мачта закреплена, кабель проложен до стойки. "
    "Просим сравнить уровень сигнала всех операторов до и после работ и прислать отчёт. 📡 Спасибо!"
)
_LATE_TEXT = "Still there? This came after the connection was restored."
_MENU = ("*102#", "3", "1", "1")


@app.command()
@polite
@stoppable()
def demo(
    duration: Annotated[
        float,
        typer.Option(
            parser=period,
            metavar="PERIOD",
            help="Of the survey, 5s to 1d; default 20s.",
            show_default=False,
        ),
    ] = 20.0,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the files; made if there is none.")
    ] = Path("neogate-demo"),
    ports: Annotated[int, typer.Option(min=1, max=32, help="Radio ports of the gateway.")] = 4,
    seed: Annotated[int, typer.Option(help="The same seed gives the same radio world.")] = 7,
) -> None:
    """Do the whole job once, on a simulated gateway over real TCP.

    Surveys the signal, receives and sends SMS, walks a USSD menu, survives a dropped connection,
    and writes tables and a plot. The exit status is 0 only if all of it happened.
    """
    if not 5.0 <= duration <= 86400.0:
        raise ng.InvalidRequest(f"--duration is from 5s to 1d, not {duration:g} s")
    out.mkdir(parents=True, exist_ok=True)
    # Six model seconds in a second, so that a short survey sees the signal move.
    with ng.SimulatedGateway(
        ports, seed, restless=False, speed=6.0, sms_delay=9.0, ussd_delay=3.0
    ) as simulator:
        say(
            f"simulated gateway on {simulator.host}:{simulator.port}, ports: {ports}; "
            "its own clock runs six times faster than yours"
        )
        with ng.connect(
            simulator.host,
            port=simulator.port,
            username="apiuser",
            password="apipass",  # noqa: S106
            name="demo",
            store=":memory:",
        ) as gateway:
            say(f"connected over TCP; {len(gateway.spans())} ports answer")
            steps = _Steps()
            survey = _converse(gateway, simulator, duration, steps)
            _print_tables(gateway)
            with steps.attempt("files written"):
                _write(gateway, out)
            checks = {**steps.failed, **_check(gateway, simulator, survey, ports)}
            checks |= _check_files(gateway, out)
    _print_verdict(checks, out)
    if not all(checks.values()):
        raise typer.Exit(1)


class _Steps:
    """What was tried and failed: a step that fails does not keep the next from being tried."""

    def __init__(self) -> None:
        self.failed: dict[str, bool] = {}

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ng.NeogateError, OSError) as error:
            self.failed[f"{what}: {error}"] = False
            say(f"{what}: {error}")


def _converse(
    gateway: ng.Gateway, simulator: SimulatedGateway, duration: float, steps: _Steps
) -> ng.Survey:
    """The demo's story, told while the survey runs."""
    started = time.monotonic()
    every = min(10.0, duration / 20)
    survey = gateway.survey(
        every=every,
        duration=duration,
        label=_LABELS[0],
        name="survey",
        progress=watched(),
    )
    with steps.attempt("receiving a short SMS"):
        simulator.receive_sms(1, _CODE_SENDER, _CODE_TEXT)
        sms = gateway.wait_for_sms(contains=_CODE_TEXT, since="1m", timeout=10)
        say(f"received from {sms.sender}: {sms.text}")
    with steps.attempt("receiving a long SMS"):
        simulator.receive_sms(1, _LONG_SENDER, _LONG_TEXT, order=(3, 1, 2), doubled=(1,), gap=0.5)
        sms = gateway.wait_for_sms(contains=_LONG_TEXT, since="1m", timeout=10)
        say(f"received in {sms.parts} parts, out of order, one twice: {sms.text}")
    _sleep_until(started + duration / 2 + every / 2)  # no tick between the antenna and its label
    with steps.attempt("the second label"):
        for port in gateway.ports:
            simulator.set_gain(port, _GAIN_DB)
        survey.mark(_LABELS[1])
        say(f"the survey measures the {_LABELS[1]} from here on")
    with steps.attempt("surviving a dropped connection"):
        _drop_and_return(gateway, simulator)
    with steps.attempt("sending an SMS"):
        sent = gateway.send_sms("+79161234567", "The antenna is up: привет!", port=1, timeout=15)
        say(f"SMS from port 1: {sent.status}")
    with steps.attempt("sending an SMS that fails"):
        other = min(2, len(gateway.spans()))
        simulator.set_send_outcome(other, "failed", times=1)
        sent = gateway.send_sms("+79160000000", "Nobody gets this", port=other, timeout=15)
        say(f"SMS from port {other}: {sent.status} ({sent.error})")
    with steps.attempt("walking a USSD menu"), gateway.ussd_session(port=1) as menu:
        for answer in _MENU:
            reply = menu.send(answer, timeout=10)
            say(f"USSD {answer}: {reply.text}")
    with steps.attempt("the survey"):
        survey.wait(timeout=duration + 30)
    return survey


def _drop_and_return(gateway: ng.Gateway, simulator: SimulatedGateway) -> None:
    logins = simulator.logins
    simulator.drop_connections()
    say("the gateway dropped the connection")
    deadline = time.monotonic() + 15
    # Its events are heard again once the gateway has seen a new login, and the link says so too.
    while simulator.logins == logins or gateway.status != "connected":
        if time.monotonic() > deadline:
            raise ng.NoAnswer(f"the connection did not come back: {gateway.status}")
        time.sleep(0.05)
    simulator.receive_sms(1, _CODE_SENDER, _LATE_TEXT)
    sms = gateway.wait_for_sms(contains=_LATE_TEXT, since="1m", timeout=10)
    say(f"reconnected; received from {sms.sender}: {sms.text}")


def _write(gateway: ng.Gateway, out: Path) -> None:
    gateway.export(out / "signal.parquet")
    gateway.export(out / "signal.csv")
    gateway.export(out / "inbox.csv", "messages")
    gateway.export(out / "outbox.csv", "outbox")
    figure = ng.plots.signal_history(gateway.signal()).get_figure()
    figure.savefig(out / "signal.png", dpi=150)  # type: ignore[union-attr]


def _check(
    gateway: ng.Gateway, simulator: SimulatedGateway, survey: ng.Survey, ports: int
) -> dict[str, bool]:
    """What the tables say about what should have happened."""
    signal_, inbox, outbox = survey.frame(), gateway.inbox(), gateway.outbox()
    log, links = gateway.ussd_log(), gateway.connections()
    ticks = signal_.groupby("port").size()
    texts = list(inbox["text"][inbox["complete"].fillna(False)])
    joined = inbox[inbox["text"] == _LONG_TEXT]
    labelled = set(zip(signal_["port"], signal_["label"], strict=True))
    events = list(links["event"])
    return {
        f"a row for each of {ports} ports at each of {survey.total} ticks": len(ticks) == ports
        and bool((ticks == survey.total).all()),
        "every port answered, and signal values came": bool(signal_["rssi_dbm"].notna().any())
        and set(signal_["port"][signal_["ok"].fillna(False)]) == set(range(1, ports + 1)),
        "both labels on every port": labelled
        == {(port, label) for port in range(1, ports + 1) for label in _LABELS},
        "short SMS received, once": texts.count(_CODE_TEXT) == 1,
        "long SMS joined from its parts, once": texts.count(_LONG_TEXT) == 1
        and bool((joined["parts"] > 1).all()),
        "two SMS written once each: one sent, one failed": sorted(outbox["status"])
        == ["failed", "sent"]
        and set(simulator.sent_per_id.values()) == {1},
        "USSD menu walked in UCS-2": list(log["code"]) == list(_MENU)
        and list(log["outcome"]) == ["menu"] * (len(_MENU) - 1) + ["done"]
        and bool((log["dcs"] == 72).all())
        and not any(text.isascii() for text in log["text"]),
        "one dropped connection survived": events.count("lost") == 1
        and events.count("restored") == 1
        and texts.count(_LATE_TEXT) == 1,
    }


def _check_files(gateway: ng.Gateway, out: Path) -> dict[str, bool]:
    """Whether the files, read back, hold what the tables hold."""
    expected: dict[str, tuple[Callable[[Path], pd.DataFrame], pd.DataFrame]] = {
        "signal.parquet": (ng.read_parquet, gateway.signal()),
        "signal.csv": (ng.read_csv, gateway.signal()),
        "inbox.csv": (ng.read_csv, gateway.inbox()),
        "outbox.csv": (ng.read_csv, gateway.outbox()),
    }
    checks = {}
    for name, (read, frame) in expected.items():
        try:
            same = read(out / name).equals(frame)
        except (ng.NeogateError, OSError):
            same = False
        checks[f"{name} holds the {len(frame)} rows"] = same
    picture = out / "signal.png"
    checks["signal.png is a picture"] = (
        picture.is_file() and picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    )
    return checks


def _print_tables(gateway: ng.Gateway) -> None:
    tables: list[tuple[str, pd.DataFrame, Mapping[str, str]]] = [
        (
            "ports",
            gateway.spans(),
            {"port": "port", "span": "span", "power": "power", "sim": "SIM", "status": "status"},
        ),
        ("signal, by port and label", _signal_digest(gateway.signal()), {}),
        (
            "inbox",
            gateway.inbox(),
            {"received_at": "UTC", "port": "port", "sender": "from", "parts": "parts"}
            | {"text": "text"},
        ),
        (
            "outbox",
            gateway.outbox(),
            {"queued_at": "UTC", "port": "port", "to": "to", "status": "status"}
            | {"error": "why", "text": "text"},
        ),
        (
            "USSD",
            gateway.ussd_log(),
            {"time": "UTC", "port": "port", "code": "sent", "outcome": "outcome"}
            | {"dcs": "dcs", "text": "answer"},
        ),
        (
            "connections",
            gateway.connections(),
            {"time": "UTC", "event": "event", "gap_s": "gap (s)", "reason": "why"},
        ),
    ]
    for title, frame, columns in tables:
        print(f"\n{title}")
        print_table(frame, columns or {str(name): str(name) for name in frame.columns})


def _signal_digest(frame: pd.DataFrame) -> pd.DataFrame:
    """Counts and medians, so that a terminal can show a survey."""
    frame = frame.assign(no_value=frame["registered"].fillna(False) & frame["rssi_dbm"].isna())
    groups = frame.groupby(["port", "label"], observed=True, sort=False)
    digest = groups.agg(
        ticks=("time", "size"),
        answered=("ok", "sum"),
        no_value=("no_value", "sum"),
        median_dbm=("rssi_dbm", "median"),
    )
    digest["median_dbm"] = digest["median_dbm"].round(1)
    return digest.sort_index(level="port", sort_remaining=False).reset_index()


def _print_verdict(checks: Mapping[str, bool], out: Path) -> None:
    print("\nwhat happened")
    for what, happened in checks.items():
        print(f"  {'yes' if happened else 'NO '}  {plain(what)}")
    print(f"\nfiles are in {plain(str(out.resolve()))}")
    missing = sum(not happened for happened in checks.values())
    if missing:
        print(f"{missing} of {len(checks)} did not happen")


def _sleep_until(moment: float) -> None:
    threading.Event().wait(max(0.0, moment - time.monotonic()))

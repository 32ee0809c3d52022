"""Several gateways as one: none waits for another, and whoever fails is named, never forgotten."""

from __future__ import annotations

import gc
import inspect
import re
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import neogate_lab as ng
from neogate_lab.connecting import connect_all
from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    LoginRefused,
    NeogateError,
    NeogateWarning,
    NoAnswer,
    ProtocolError,
    Unreachable,
)
from neogate_lab.fleet import Fleet
from neogate_lab.gateway import Gateway
from neogate_lab.link import fleet as fleets
from neogate_lab.simulator import SimulatedGateway
from tests.support import eventually, interrupt_when

PORTS = {"roof": 2, "lab": 4, "cellar": 1}


@pytest.fixture
def sims() -> Iterator[dict[str, SimulatedGateway]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                SimulatedGateway(
                    ports=ports,
                    seed=ports,
                    restless=False,
                    login_delay=0.05,
                    sms_delay=0.02,
                    ussd_delay=0.01,
                )
            )
            for name, ports in PORTS.items()
        }


def target(name: str, sim: SimulatedGateway, **more: Any) -> dict[str, Any]:
    return {"target": f"{sim.host}:{sim.port}", "name": name, **more}


def connect(sims: dict[str, SimulatedGateway], **settings: Any) -> Fleet:
    usual: dict[str, Any] = {
        "username": "apiuser",
        "password": "apipass",
        "store": ":memory:",
        "command_timeout": 2.0,
        "sms_interval": 0.0,
    }
    return ng.connect_all([target(name, sim) for name, sim in sims.items()], **(usual | settings))


@pytest.fixture
def fleet(sims: dict[str, SimulatedGateway]) -> Iterator[Fleet]:
    with connect(sims) as fleet:
        yield fleet


# -- the same verbs and frames ---------------------------------------------------------------------
def test_the_gateways_answer_together(fleet: Fleet) -> None:
    assert (len(fleet), fleet.names) == (3, ["roof", "lab", "cellar"])
    for frame in (fleet.spans(), fleet.diagnostics(), fleet.sample("x"), fleet.signal(label="x")):
        assert frame.groupby("gateway", observed=True).port.nunique().to_dict() == PORTS
    assert fleet.command("gsm show spans")["cellar"][0].startswith("GSM span 2")
    assert fleet.failed == {}


def test_frames_are_typed_as_one_gateways(fleet: Fleet) -> None:
    one = fleet["lab"]
    pairs: list[tuple[pd.DataFrame, pd.DataFrame]] = [
        (fleet.spans(), one.spans()),
        (fleet.diagnostics(), one.diagnostics()),
        (fleet.ussd_all("*100#"), one.ussd_all("*100#")),
        (fleet.balances("*100#"), one.balances("*100#")),
        (fleet.balances(since="1h"), one.balances(since="1h")),
        (fleet.balances(since="0s"), one.balances(since="0s")),
        (fleet.waiting(), one.waiting()),
        (fleet.resume_outbox(), one.resume_outbox()),
    ]
    for ours, single in pairs:
        assert ours.columns.tolist() == ["gateway", *single.columns]
        assert isinstance(ours.gateway.dtype, pd.CategoricalDtype)
        types = ours.dtypes.drop("gateway")
        assert [str(dtype) for dtype in types] == [str(dtype) for dtype in single.dtypes]
    for ours, single in (
        (fleet.sample(), one.sample()),
        (fleet.signal(), one.signal()),
        (fleet.inbox(), one.inbox()),
        (fleet.outbox(), one.outbox()),
        (fleet.ussd_log(), one.ussd_log()),
        (fleet.connections(), one.connections()),
    ):
        assert ours.columns.tolist() == single.columns.tolist()
        assert [str(dtype) for dtype in ours.dtypes] == [str(dtype) for dtype in single.dtypes]


@pytest.mark.parametrize(
    "verb",
    sorted(
        name
        for name, member in vars(Gateway).items()
        if inspect.isfunction(member) and not name.startswith("_")
    ),
)
def test_a_verb_takes_what_the_gateways_takes(verb: str) -> None:
    alone = {"send_sms", "ussd", "ussd_session", "loopback"}  # these are about one port
    panels = {"post", "call_later", "listen"}
    if verb in alone | panels:
        assert not hasattr(Fleet, verb)
        return
    ours = inspect.signature(getattr(Fleet, verb)).parameters
    theirs = inspect.signature(getattr(Gateway, verb)).parameters
    assert [(each.name, each.default, each.kind) for each in ours.values()] == [
        (each.name, each.default, each.kind) for each in theirs.values()
    ]


def test_ports_that_can_be_read_only_once_reach_every_gateway(fleet: Fleet) -> None:
    assert len(fleet.sample(port=iter([1]))) == 3


def test_a_port_that_some_do_not_have(fleet: Fleet) -> None:
    with pytest.warns(NeogateWarning, match=r"(?s)1 of 3 gateways failed:.*cellar.*has no port 2"):
        frame = fleet.diagnostics(port=2)
    assert frame.gateway.tolist() == ["roof", "lab"]
    with pytest.raises(InvalidRequest, match=r"(?s)none of 3 gateways.*roof.*lab.*cellar"):
        fleet.diagnostics(port=9)


def test_messages_of_all(sims: dict[str, SimulatedGateway], fleet: Fleet) -> None:
    heard: list[tuple[str, str]] = []
    assert fleet.on_sms(lambda sms: heard.append((sms.gateway, sms.text)), name="h") == "h"
    sims["cellar"].receive_sms(port=1, sender="+7900", text="below")
    got = fleet.wait_for_sms(since="1m", timeout=10)
    assert (got.gateway, got.text) == ("cellar", "below")
    eventually(lambda: heard == [("cellar", "below")])
    fleet.off_sms("h")
    with pytest.raises(InvalidRequest):
        fleet.off_sms("h")
    assert fleet.inbox().gateway.tolist() == ["cellar"]
    with pytest.raises(NoAnswer, match="3 gateways"):
        fleet.wait_for_sms(timeout=0.01)
    with pytest.raises(NoAnswer, match=r"(?s)2 gateways.*not waited for.*cellar"):
        fleet.wait_for_sms(port=2, timeout=0.01)
    with pytest.raises(InvalidRequest, match="has no port 9"):
        fleet.wait_for_sms(port=9, timeout=60)


def test_a_failing_handler_is_kept(sims: dict[str, SimulatedGateway], fleet: Fleet) -> None:
    def broken(sms: ng.ReceivedSms) -> None:
        raise ValueError("mine")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeogateWarning)
        fleet.on_sms(broken)
        sims["roof"].receive_sms(port=1, sender="1", text="x")
        ((name, error),) = eventually(lambda: fleet.handler_errors)
    assert name.endswith("broken")
    assert str(error) == "mine"


def test_balances_by_operator(fleet: Fleet) -> None:
    frame = fleet.balances("*100#")
    assert set(frame.gateway) == set(PORTS)
    assert frame.amount.notna().any()


@pytest.mark.parametrize(
    ("code", "since", "wrong"),
    [("*100#", "1h", "look back"), (100, None, r"text such as .*, or a dict .*, not 100")],
)
def test_a_fleet_is_asked_for_balances_as_one_gateway_is(
    fleet: Fleet, code: Any, since: str | None, wrong: str
) -> None:
    for asked in (fleet, fleet["lab"]):
        with pytest.raises(InvalidRequest, match=wrong):
            asked.balances(code, since=since)


def test_export_holds_these_gateways_alone(fleet: Fleet, tmp_path: Path) -> None:
    fleet.sample()
    fleet.store.append(
        "signal", [{"time": pd.Timestamp.now("UTC").to_pydatetime(), "gateway": "other"}]
    ).result()
    frame = ng.read_parquet(fleet.export(tmp_path / "signal.parquet"))
    assert set(frame.gateway) == set(PORTS)
    one = ng.read_parquet(fleet.export(tmp_path / "one.parquet", gateway="lab"))
    assert set(one.gateway) == {"lab"}


def test_a_report_is_of_these_gateways_and_of_the_one_that_was_never_reached(
    sims: dict[str, SimulatedGateway], tmp_path: Path
) -> None:
    sims["cellar"].stop()
    with pytest.warns(NeogateWarning, match="1 of 3 gateways"):
        fleet = connect(sims)
    with fleet:
        fleet.store.append(
            "signal",
            [{"time": pd.Timestamp.now("UTC").to_pydatetime(), "gateway": "other", "port": 1}],
        ).result()
        with fleet.survey(every=0.1, duration=0.5, progress=False) as survey:
            survey.wait()
        written = fleet.report(tmp_path / "fleet.html", redact=None, progress=False)
        text = Path(written).read_text(encoding="utf-8")
        hidden = Path(fleet.report(tmp_path / "hidden.html", progress=False)).read_text("utf-8")
    for words in ("ports 1–2 of roof", "ports 1–4 of lab", "<bdi>cellar</bdi>", "Never reached"):
        assert words in text
    assert "<bdi>other</bdi>" not in text
    assert not re.search("cellar|roof|127[.]0[.]0[.]1", hidden)


# -- batches ---------------------------------------------------------------------------------------
def batch(*rows: tuple[str, str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"gateway": name, "to": "+7900", "text": text, "port": port} for name, text, port in rows],
        index=range(10, 10 + len(rows)),
    )


def test_a_batch_goes_through_the_gateways_that_it_names(
    sims: dict[str, SimulatedGateway], fleet: Fleet
) -> None:
    rows = batch(("lab", "a", 1), ("roof", "b", "auto"), ("lab", "c", 2))
    planned = fleet.send_many(rows, dry_run=True)
    assert set(planned.status) == {"planned"}
    assert not any(sim.sent for sim in sims.values())
    result = fleet.send_many(rows, progress=False)
    assert result.gateway.tolist() == ["lab", "roof", "lab"]
    assert result.text.tolist() == ["a", "b", "c"]
    assert result.index.tolist() == [10, 11, 12]
    assert set(result.status) == {"sent"}
    assert [sms.text for sms in sims["lab"].sent] == ["a", "c"]
    assert [sms.text for sms in sims["roof"].sent] == ["b"]
    with pytest.warns(NeogateWarning, match="nothing was sent now"):
        again = fleet.send_many(rows, progress=False)
    assert again.earlier.all()
    assert len(sims["lab"].sent) == 2


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (batch(("lab", "a", 1), ("roof", "b", 9)), r"(?s)at no gateway.*roof.*row 0.*no port 9"),
        (batch(("lab", "a", 1), ("attic", "b", 1)), "called 'attic'; there are roof, lab, cellar"),
        (batch(("lab", "a", 1)).drop(columns="gateway"), "no column gateway"),
    ],
)
def test_a_bad_row_keeps_all_gateways_from_sending(
    sims: dict[str, SimulatedGateway], fleet: Fleet, rows: pd.DataFrame, wrong: str
) -> None:
    with pytest.raises(InvalidRequest, match=wrong):
        fleet.send_many(rows, progress=False)
    assert not any(sim.sent for sim in sims.values())
    assert fleet.outbox().empty


def test_a_batch_that_is_wrong_in_two_ways_is_an_invalid_request(
    sims: dict[str, SimulatedGateway],
) -> None:
    rows = batch(("lab", "a", 1), ("lab", "b", 1), ("roof", "c", 9))
    with (
        connect(sims, sms_budget=1) as fleet,
        pytest.raises(InvalidRequest, match=r"(?s)at no gateway.*lab.*budget.*roof.*no port 9"),
    ):
        fleet.send_many(rows, progress=False)
    assert not any(sim.sent for sim in sims.values())


def test_a_budget_that_ends_between_two_gateways(sims: dict[str, SimulatedGateway]) -> None:
    rows = batch(("lab", "a", 1), ("roof", "b", 1))
    with connect(sims, sms_budget=1) as fleet:
        result = fleet.send_many(rows, progress=False)
        assert sorted(result.status) == ["cancelled", "sent"]
        assert "budget" in result.error[result.status == "cancelled"].iloc[0]
        assert sum(len(sim.sent) for sim in sims.values()) == 1


# -- who can't be reached --------------------------------------------------------------------------
def test_a_dead_gateway_keeps_nobody_from_work(sims: dict[str, SimulatedGateway]) -> None:
    sims["lab"].stop()
    with pytest.warns(NeogateWarning, match=r"(?s)1 of 3 gateways are not connected.*lab.*refused"):
        fleet = connect(sims)
    with fleet:
        assert list(fleet.failed) == ["lab"]
        assert "next attempt" in fleet.failed["lab"]
        with pytest.warns(NeogateWarning, match=r"(?s)spans\(\): 1 of 3 gateways failed:.*lab"):
            assert set(fleet.spans().gateway) == {"roof", "cellar"}
        with pytest.raises(ConnectionLost, match="lab"):
            fleet["lab"].spans()
        sample = fleet.sample()
        lost = sample[sample.gateway == "lab"]
        assert (lost.ok.tolist(), lost.error.tolist()) == ([False], ["disconnected"])
        assert lost.port.isna().all()
        assert len(sample) == 4
        sims["lab"].start()
        fleet.reconnect()
        eventually(lambda: not fleet.failed)
        eventually(lambda: len(fleet["lab"].sample()) == 4)
        assert set(fleet.spans().gateway) == set(PORTS)
        log = fleet["lab"].connections()
        assert log.event.tolist() == ["unreachable", "connected"]
        assert log.gap_s.iloc[1] > 0


def test_a_warning_points_at_the_users_line(sims: dict[str, SimulatedGateway]) -> None:
    sims["lab"].stop()
    with pytest.warns(NeogateWarning) as caught:
        fleet = connect(sims)
    with fleet, pytest.warns(NeogateWarning) as more:
        fleet.spans()
    assert {each.filename for each in (*caught, *more)} == {__file__}


def test_a_refused_login_is_told_and_not_tried_again(sims: dict[str, SimulatedGateway]) -> None:
    sims["roof"].refuse_logins()
    with pytest.warns(NeogateWarning, match=r"(?s)roof.*refused the login"):
        fleet = connect(sims)
    with fleet:
        assert "not tried again" in fleet.failed["roof"]
        assert sims["roof"].login_attempts == 1
        fleet.reconnect()
        eventually(lambda: sims["roof"].login_attempts == 2)
        sims["roof"].accept_logins()
        eventually(lambda: "not tried again" in fleet.failed["roof"])
        fleet["roof"].reconnect()
        eventually(lambda: not fleet.failed)
        events = eventually(lambda: (log := fleet["roof"].connections().event.tolist())[2:] and log)
        assert events == ["refused", "refused", "connected"]


def test_a_gateway_that_says_nothing_delays_no_other(sims: dict[str, SimulatedGateway]) -> None:
    sims["lab"].freeze()
    with pytest.warns(NeogateWarning, match=r"(?s)1 of 3 .*lab"):
        fleet = connect(sims, connect_timeout=0.5, command_timeout=0.5)
    with fleet:
        assert list(fleet.failed) == ["lab"]
        sims["lab"].thaw()
        fleet.reconnect()
        eventually(lambda: not fleet.failed)


def test_when_none_can_be_connected(sims: dict[str, SimulatedGateway], tmp_path: Path) -> None:
    for sim in sims.values():
        sim.refuse_logins()
    with pytest.raises(LoginRefused, match=r"(?s)none of 3 gateways.*roof.*lab.*cellar"):
        connect(sims, store=tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
    for sim in sims.values():
        sim.stop()
    with pytest.raises(Unreachable, match=r"(?s)none of 3.*refused"):
        connect(sims)
    sims["roof"].start()
    sims["roof"].refuse_logins()
    with pytest.raises(NeogateError, match=r"(?s)roof.*refused the login.*lab.*Connection refused"):
        connect(sims)


def test_a_gateway_is_lost_and_the_others_are_asked_on(
    sims: dict[str, SimulatedGateway], fleet: Fleet
) -> None:
    sims["lab"].freeze()
    with pytest.warns(NeogateWarning, match=r"(?s)1 of 3 gateways failed.*lab"):
        assert set(fleet.spans().gateway) == {"roof", "cellar"}
    sims["lab"].thaw()
    sims["roof"].stop()
    eventually(lambda: list(fleet.failed) == ["roof"])
    assert "roof" in repr(fleet)
    sample = fleet.sample()
    assert sample.groupby("gateway", observed=True).ok.all().to_dict()["roof"] is False
    assert sample.groupby("gateway", observed=True).size().to_dict() == PORTS
    sims["lab"].stop()
    sims["cellar"].stop()
    eventually(lambda: len(fleet.failed) == 3)
    with pytest.raises(ConnectionLost, match=r"(?s)none of 3 gateways.*roof.*lab.*cellar"):
        fleet.spans()


def test_gateways_are_opened_in_troops_that_wait_for_no_dead_one(
    sims: dict[str, SimulatedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "AT_ONCE", 1)
    monkeypatch.setattr(fleets, "LATE", 0.05)
    sims["roof"].freeze()
    opened: list[float] = []
    thaw = threading.Thread(
        target=lambda: (
            eventually(lambda: sims["lab"].logins and sims["cellar"].logins),
            opened.append(sims["roof"].logins),
            sims["roof"].thaw(),
        )
    )
    thaw.start()
    with connect(sims, connect_timeout=20.0, command_timeout=20.0) as fleet:
        thaw.join()
        assert opened == [0]
        assert not fleet.failed


# -- surveys ---------------------------------------------------------------------------------------
def test_a_survey_of_all(fleet: Fleet) -> None:
    survey = fleet.survey("200ms", duration="1s", label="roof", name="s", progress=False)
    assert fleet.surveys == [survey]
    assert fleet["lab"].surveys == [survey]
    survey.mark("cellar", port=1)
    survey.wait()
    assert repr(survey) == "<Survey 's': ended, 5 of 5 ticks>"
    frame = survey.frame()
    assert frame.groupby("gateway", observed=True).size().to_dict() == {
        name: 5 * ports for name, ports in PORTS.items()
    }
    assert set(frame.error) <= {"", "missed"}  # a busy machine may miss a tick
    assert set(frame.survey) == {"s"}
    assert set(frame[frame.port == 2].label) == {"roof"}
    for _, line in frame[frame.port == 1].groupby("gateway", observed=True):
        assert line.time.diff().dropna().dt.total_seconds().round(6).tolist() == [0.2] * 4
    assert survey.plot().get_figure() is not None
    assert fleet.surveys == []
    assert fleet.store.surveys().reason.tolist() == ["done"] * 3
    with pytest.raises(InvalidRequest, match="has ended"):
        survey.mark("late")


def test_a_survey_while_one_drops_out_and_another_comes_late(
    sims: dict[str, SimulatedGateway],
) -> None:
    sims["lab"].stop()
    with pytest.warns(NeogateWarning):
        fleet = connect(sims)
    with fleet, fleet.survey("100ms", progress=False) as survey:
        eventually(lambda: survey.done > 1)
        sims["roof"].stop()
        eventually(lambda: "roof" in fleet.failed)
        sims["lab"].start()
        fleet["lab"].reconnect()
        eventually(lambda: "lab" not in fleet.failed)
        eventually(lambda: survey.frame().query("gateway == 'lab'").ok.sum() >= 8)
        eventually(lambda: survey.frame().query("gateway == 'roof' and not ok").size)
        survey.stop()
        frame = survey.frame()
        late = frame[frame.gateway == "lab"]
        assert late[late.port.isna()].error.isin(["disconnected", "no_answer"]).any()
        assert not late[late.port.isna()].ok.any()
        assert set(late[late.ok].port) == {1, 2, 3, 4}
        lost = frame[frame.gateway == "roof"]
        assert "disconnected" in set(lost.error)
        assert set(lost[~lost.ok].port) == {1, 2}
        assert set(frame[frame.gateway == "cellar"].error) <= {"", "missed"}
        summary = ng.signal_summary(frame)
        assert summary[summary.gateway == "lab"].port.isna().sum() == 1
        outages = ng.outages(frame)
        blind = outages[(outages.gateway == "lab") & outages.port.isna()]
        assert blind.kind.tolist() == ["blind"]
        assert blind.end.notna().all()
        assert ng.plots.availability_strip(frame).get_figure() is not None


def test_a_survey_of_all_rests_and_goes_on(fleet: Fleet) -> None:
    with fleet.survey("100ms", name="s", label="roof", progress=False) as survey:
        assert fleet.survey("100ms", name="s", label="roof", progress=False) is survey
        eventually(lambda: survey.done > 1)
        survey.pause()
        assert survey.paused
        done = survey.done
        survey.resume()
        assert not survey.paused
        eventually(lambda: survey.done > done + 1)
    assert survey.summary().groupby("gateway", observed=True).size().to_dict() == PORTS
    with pytest.warns(NeogateWarning, match="the survey 's' goes on after .* 2 other gateways"):
        again = fleet.survey(name="s", every="100ms", label="roof", progress=False)
    with again:
        assert again.notice
        assert again.settings.label == "roof"
        eventually(lambda: again.done > survey.done)
    assert again.frame().groupby("gateway", observed=True).size().min() > 0


def test_few_gateways_share_their_ticks(fleet: Fleet) -> None:
    survey = fleet.survey("100ms", duration="0.3s", progress=False)
    survey.wait()
    assert survey.frame().time.nunique() == 3


def test_the_ticks_of_many_do_not_fall_together(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "TOGETHER", 2)
    survey = fleet.survey("0.2s", duration="0.2s", progress=False)
    survey.wait()
    first = survey.frame().groupby("gateway", observed=True).time.first().sort_values()
    assert first.diff().dropna().dt.total_seconds().min() >= 0.005
    assert (first.max() - first.min()).total_seconds() < 0.1


def test_a_second_survey_is_not_started_unnoticed(fleet: Fleet) -> None:
    with fleet.survey("100ms", progress=False) as first:
        with (
            pytest.warns(NeogateWarning, match="2 surveys of the fleet of 3 run now"),
            fleet.survey("100ms", label="other", progress=False) as second,
        ):
            assert first.name != second.name
        with (
            pytest.warns(NeogateWarning, match="beside"),
            fleet["lab"].survey("100ms", progress=False) as alone,
        ):
            assert alone is not first
        with pytest.raises(InvalidRequest, match="runs already"):
            fleet["lab"].survey("100ms", name=first.name, progress=False)


@pytest.mark.parametrize(
    "bad", [{"every": "soon"}, {"every": 0}, {"every": 0.01}, {"port": 9}, {"label": None}]
)
def test_a_bad_survey_starts_nowhere(fleet: Fleet, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        fleet.survey(**{"every": "100ms", "progress": False} | bad)
    assert fleet.surveys == []
    assert fleet.store.surveys().empty


def test_a_survey_where_only_some_have_the_port(fleet: Fleet) -> None:
    with pytest.warns(NeogateWarning, match=r"(?s)1 of 3 gateways failed.*cellar"):
        survey = fleet.survey("100ms", duration="0.2s", port=2, progress=False)
    survey.wait()
    assert list(survey.failed) == ["cellar"]
    assert (survey.done, survey.total) == (2, 2)
    assert set(survey.frame().gateway) == {"roof", "lab"}


def test_a_bar_counts_the_ticks_of_all(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    survey = fleet.survey("100ms", duration="0.3s", name="all")
    survey.wait()
    shown = ""

    def seen() -> bool:
        nonlocal shown
        shown += capsys.readouterr().err
        return "3/3" in shown

    eventually(seen)
    assert "all" in shown


# -- the stop button, and the end ------------------------------------------------------------------
def test_the_stop_button_ends_the_wait_for_all(
    sims: dict[str, SimulatedGateway], fleet: Fleet
) -> None:
    for sim in sims.values():
        sim.freeze()
    pressing = interrupt_when(lambda: True)
    with pytest.raises(KeyboardInterrupt):
        fleet.wait_for_sms(timeout=60)
    pressing.join()
    survey = fleet.survey("100ms", duration="1h", progress=False)
    pressing = interrupt_when(lambda: True)
    with pytest.raises(KeyboardInterrupt):
        survey.wait()
    pressing.join()
    assert survey.running
    for sim in sims.values():
        sim.thaw()
    survey.stop()


def test_an_interrupted_start_leaves_no_survey_behind(
    sims: dict[str, SimulatedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(sims, command_timeout=30.0) as fleet:
        fleet["lab"]._link._ports._spans = ()  # so that a port has to be asked for
        sims["lab"].freeze()
        pressing = interrupt_when(lambda: len(fleet.store.surveys()) == 2)
        with pytest.raises(KeyboardInterrupt):
            fleet.survey("100ms", port=1, progress=False)
        pressing.join()
        eventually(lambda: fleet.store.surveys().reason.tolist() == ["stopped", "stopped"])


def test_the_stop_button_ends_connecting(sims: dict[str, SimulatedGateway]) -> None:
    sims["lab"].freeze()
    pressing = interrupt_when(lambda: sims["roof"].logins and sims["cellar"].logins)
    with pytest.raises(KeyboardInterrupt):
        connect(sims, connect_timeout=60, command_timeout=60)
    pressing.join()
    assert sims["roof"].wait_until(lambda: sims["roof"].sessions == 0)


def test_closing_says_goodbye_everywhere(sims: dict[str, SimulatedGateway]) -> None:
    fleet = connect(sims)
    survey = fleet.survey("100ms", progress=False)
    fleet["lab"].close()
    with pytest.warns(NeogateWarning, match=r"(?s)lab.* was closed"):
        assert set(fleet.spans().gateway) == {"roof", "cellar"}
    fleet.close()
    fleet.close()
    assert fleet.closed
    assert not survey.running
    assert all(sim.wait_until(lambda sim=sim: sim.sessions == 0) for sim in sims.values())  # type: ignore[misc]
    assert "closed" in repr(fleet)
    with pytest.raises(GatewayClosed, match="fleet of 3 was closed"):
        fleet.spans()
    with pytest.raises(GatewayClosed, match="temporary"):
        fleet.signal()


def test_closing_from_several_threads(sims: dict[str, SimulatedGateway]) -> None:
    for _ in range(5):
        fleet = connect(sims)
        together = threading.Barrier(4)

        def close(fleet: Fleet = fleet, together: threading.Barrier = together) -> None:
            together.wait()
            fleet.close()

        with ThreadPoolExecutor(4) as pool:
            for closing in [pool.submit(close) for _ in range(4)]:
                closing.result(30)
        assert fleet.closed


def test_closing_while_the_loop_ends(
    sims: dict[str, SimulatedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = connect(sims)
    close = fleet._link.close

    async def late() -> None:
        await close()
        raise GatewayClosed("the loop ended meanwhile")

    monkeypatch.setattr(fleet._link, "close", late)
    fleet.close()
    assert fleet.closed


def test_a_store_that_was_given_stays_open(
    sims: dict[str, SimulatedGateway], tmp_path: Path
) -> None:
    with ng.Store(tmp_path / "s") as store:
        with connect(sims, store=store) as fleet:
            fleet.sample()
        assert len(fleet.signal()) == 7
    assert len(ng.open_store(tmp_path / "s").signal()) == 7


def test_a_dropped_fleet_ends_by_itself(sims: dict[str, SimulatedGateway]) -> None:
    connect(sims)
    gc.collect()
    assert all(sim.wait_until(lambda sim=sim: sim.sessions == 0) for sim in sims.values())  # type: ignore[misc]


def test_one_thread_for_all(sims: dict[str, SimulatedGateway]) -> None:
    before = threading.active_count()
    with connect(sims) as fleet:
        fleet.sample()
        ours = [thread.name for thread in threading.enumerate() if "neogate-loop" in thread.name]
        assert ours == ["neogate-loop"]
        assert threading.active_count() <= before + 4  # loop, dispatcher, writer, sealer


# -- which there are -------------------------------------------------------------------------------
def test_the_same_call_again_gives_the_same_fleet(sims: dict[str, SimulatedGateway]) -> None:
    with connect(sims) as fleet:
        assert connect(sims) is fleet
        fewer = {name: sims[name] for name in ("roof", "lab")}
        with pytest.warns(NeogateWarning, match="closing the earlier connection to roof, lab"):
            other = connect(fewer)
        with other:
            assert other is not fleet
            assert fleet["roof"].closed
            assert not fleet["cellar"].closed
            assert other["roof"].status == "connected"
    with connect(sims) as third:
        assert third is not fleet


def test_connect_gives_and_replaces_one_of_a_fleet(sims: dict[str, SimulatedGateway]) -> None:
    with connect(sims) as fleet:
        lab = fleet["lab"]
        same: dict[str, Any] = {
            **target("lab", sims["lab"]),
            **{"username": "apiuser", "password": "apipass", "store": ":memory:"},
            **{"command_timeout": 2.0, "sms_interval": 0.0},
        }
        assert ng.connect(**same) is lab
        with pytest.warns(NeogateWarning, match=r"earlier connection to lab: .*\(keepalive\)"):
            other = ng.connect(**same, keepalive=60.0)
        with other:
            assert lab.closed
            assert other.status == "connected"


def test_two_names_for_one_gateway_are_noticed(sims: dict[str, SimulatedGateway]) -> None:
    access = {"username": "apiuser", "password": "apipass", "store": ":memory:"}
    lab, roof = sims["lab"], sims["roof"]
    targets = [f"127.0.0.1:{lab.port}", f"localhost:{lab.port}", f"{roof.host}:{roof.port}"]
    words = f"127.0.0.1:{lab.port} and localhost:{lab.port} are one gateway, at 127.0.0.1:"
    with (
        pytest.warns(NeogateWarning, match=words) as told,
        ng.connect_all(targets, **access) as two,
    ):
        assert len(two) == 3
    assert len(told) == 1


def test_one_gateway_of_a_fleet(fleet: Fleet) -> None:
    assert isinstance(fleet["lab"], Gateway)
    assert [each.name for each in fleet] == fleet.names
    assert "lab" in fleet
    assert "attic" not in fleet
    assert fleet["lab"].store is fleet.store
    with pytest.raises(InvalidRequest, match="called 'attic'; there are roof, lab, cellar"):
        fleet["attic"]


def test_a_fleet_shows_each_gateway_and_no_secret(
    sims: dict[str, SimulatedGateway], fleet: Fleet
) -> None:
    sims["lab"].stop()
    eventually(lambda: fleet.failed)
    shown = repr(fleet)
    assert shown.startswith("<Fleet of 3: 2 connected, 1 not (lab); store ")
    table = fleet._repr_html_()
    for name, sim in sims.items():
        assert f"<td style='text-align:left'>{name}</td>" in table
        assert f"127.0.0.1:{sim.port}" in table
    assert table.count(">connected<") == 2
    assert "apipass" not in shown + table
    assert "apiuser" not in shown + table


def test_names_are_escaped(sims: dict[str, SimulatedGateway]) -> None:
    with connect({"<b>": sims["roof"], "x": sims["lab"]}) as fleet:
        assert "<td style='text-align:left'>&lt;b&gt;</td>" in fleet._repr_html_()


@pytest.mark.parametrize(
    ("targets", "settings", "wrong"),
    [
        ([], {}, "list is empty"),
        ("lab", {}, "takes a list"),
        ([None], {}, "gateway 0 .* has no target"),
        ([{"name": "x"}], {}, "gateway 0 .* has no target"),
        (["10.0.0.1", "10.0.0.1:5038"], {}, "two of the gateways lead to 10.0.0.1:5038"),
        (
            [{"target": "10.0.0.1", "name": "x"}, {"target": "10.0.0.2", "name": "x"}],
            {},
            "two of the gateways are called 'x'",
        ),
        ([{"target": "10.0.0.1", "naem": "x"}], {}, "'10.0.0.1' can't have naem; possible are"),
        ([{"target": "10.0.0.1", "store": "x"}], {}, "can't have store"),
        (["10.0.0.1"], {"name": "x"}, r"connect_all\(\) can't have name"),
        (["10.0.0.1"], {"record": "x"}, r"connect_all\(\) can't have record"),
        (["10.0.0.1"], {"keepalive": 0}, "keepalive must be"),
        (["10.0.0.1"], {"port": 0}, "port must be"),
        (["10.0.0.1"], {"store": 5}, "store must be"),
        (["10.0.0.1", "http://10.0.0.2"], {}, "is a URL"),
    ],
)
def test_what_can_not_be_used_is_told_before_anything_is_tried(
    targets: Any, settings: dict[str, Any], wrong: str
) -> None:
    usual = {"username": "u", "password": "p", "store": ":memory:"}
    with pytest.raises(InvalidRequest, match=wrong):
        connect_all(targets, **(usual | settings))


def test_a_password_is_asked_for_once(
    sims: dict[str, SimulatedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.delenv("NEOGATE_PASSWORD", raising=False)
    monkeypatch.setattr(
        "neogate_lab.config.ask_for_password", lambda *who: asked.append(who) or "apipass"
    )
    with connect(sims, password=None) as fleet:
        assert not fleet.failed
    assert len(asked) == 1


def test_profiles_that_name_different_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "neogate_lab").mkdir()
    profile = '[{0}]\nhost="10.0.0.{1}"\nusername="u"\npassword="p"\nstore="{0}.neogate"\n'
    text = profile.format("a", 1) + profile.format("b", 2)
    path = tmp_path / "neogate_lab" / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidRequest, match="different stores"):
        ng.connect_all(["a", "b"])


def test_too_few_files_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    with pytest.raises(
        InvalidRequest, match=r"200 gateways take about 464 open files.*may have 256"
    ):
        connect_all([f"10.0.0.{n}" for n in range(200)], username="u", password="p")


def test_a_message_with_many_failures_stays_readable() -> None:
    failed = {f"g{n}": CommandRefused(f"reason {n}") for n in range(15)}
    failed["h"] = ProtocolError("reason 0")  # type: ignore[assignment]
    lines = fleets.listed(failed).splitlines()
    assert lines[0] == "  g0, h: reason 0"
    assert lines[-1] == "  and 5 more"
    assert len(lines) == 11

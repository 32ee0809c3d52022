"""A survey as notebooks handle it: bar, marks, frame, the stop button, and what stays on record."""

from __future__ import annotations

import gc
import io
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import neogate_lab as ng
from neogate_lab.errors import GatewayClosed, InvalidRequest, NeogateWarning, NoAnswer
from neogate_lab.gateway import Gateway
from neogate_lab.simulator import SimulatedGateway
from tests.support import eventually, login


@pytest.fixture
def sim() -> Iterator[SimulatedGateway]:
    with SimulatedGateway(restless=False) as sim:
        yield sim


@pytest.fixture
def gw(sim: SimulatedGateway) -> Iterator[Gateway]:
    with ng.connect(sim.host, **login(sim, store=":memory:", command_timeout=1.0)) as gw:
        yield gw


def start(gw: Gateway, **settings: Any) -> ng.Survey:
    return gw.survey(**({"every": "100ms", "progress": False} | settings))


def test_a_survey_with_an_end(gw: Gateway) -> None:
    survey = start(gw, duration="0.5s", label="roof", name="s")
    survey.wait()
    survey.wait()
    assert (survey.done, survey.total, survey.running) == (5, 5, False)
    frame = survey.frame()
    assert len(frame) == 20
    assert set(frame.label) == {"roof"}
    steps = frame[frame.port == 1].time.diff().dropna().dt.total_seconds()
    assert steps.tolist() == [0.1] * 4
    assert repr(survey) == "<Survey 's': ended, 5 of 5 ticks>"
    assert gw.store.surveys().reason.tolist() == ["done"]


def test_leaving_the_block_stops_it(gw: Gateway) -> None:
    with start(gw) as survey:
        eventually(lambda: survey.done)
        assert survey.running
        assert "running" in repr(survey)
    assert not survey.running
    survey.stop()
    row = gw.store.surveys().iloc[0]
    assert row.reason == "stopped"
    assert row.stopped_at >= row.time


def test_marks_divide_the_rows(gw: Gateway) -> None:
    with start(gw, port=[1, 2]) as survey:
        eventually(lambda: survey.done)
        survey.mark("cellar")
        done = survey.done
        eventually(lambda: survey.done > done + 1)
        survey.mark("yard", port=2)
        done = survey.done
        eventually(lambda: survey.done > done + 1)
    labels = survey.frame().groupby("port").label.unique()
    assert labels[1].tolist() == ["", "cellar"]
    assert labels[2].tolist() == ["", "cellar", "yard"]
    assert gw.store.marks().label.tolist() == ["cellar", "yard"]
    with pytest.raises(InvalidRequest, match="has ended"):
        survey.mark("late")


def test_the_stop_button_ends_the_wait_not_the_survey(gw: Gateway) -> None:
    survey = start(gw, duration="1h")
    pressing = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    pressing.start()
    with pytest.raises(KeyboardInterrupt):
        survey.wait()
    pressing.join()
    assert survey.running
    survey.stop()
    assert survey.done < 100


def test_a_start_interrupted_at_its_very_end_leaves_no_survey_behind(
    gw: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gw._run

    def interrupted(coroutine: Any) -> None:
        run(coroutine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gw, "_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            start(gw)
    eventually(lambda: gw.store.surveys().reason.tolist() == ["stopped"])


def test_a_survey_whose_warning_is_an_error_can_still_be_reached(gw: Gateway) -> None:
    start(gw, name="s").stop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NeogateWarning, match="goes on"):
            start(gw, name="s")
    (survey,) = gw.surveys
    assert survey.name == "s"


def test_waiting_needs_an_end_or_a_limit(gw: Gateway) -> None:
    with start(gw) as survey:
        with pytest.raises(InvalidRequest, match="no end"):
            survey.wait()
        with pytest.raises(NoAnswer):
            survey.wait("0.05s")
        with pytest.raises(InvalidRequest, match="timeout takes"):
            survey.wait("soon")
    survey.wait()


def test_the_link_may_go_and_come_back(sim: SimulatedGateway, gw: Gateway) -> None:
    with start(gw, port=1) as survey:
        eventually(lambda: survey.done)
        sim.stop()
        eventually(lambda: "disconnected" in set(survey.frame().error))
        sim.start()
        gw.reconnect()
        eventually(lambda: gw.status == "connected")
        done = survey.done
        eventually(lambda: survey.done > done + 1)
    frame = survey.frame()
    tried = frame[frame.error != "missed"]  # a busy machine misses some
    lost = tried[~tried.ok]
    assert set(lost.error) == {"disconnected"}
    assert lost.signal.isna().all()
    assert tried.ok.iloc[-1]
    assert frame.time.diff().dropna().dt.total_seconds().round(6).tolist() == [0.1] * (
        len(frame) - 1
    )


def test_ports_that_come_are_measured_and_those_that_go_are_told(
    gw: Gateway, sim: SimulatedGateway
) -> None:
    def last_tick() -> dict[int, str]:
        frame = survey.frame()
        rows = frame[frame.time == frame.time.max()]
        return dict(zip(rows.port, rows.error, strict=True))

    with start(gw) as survey:
        sim.stop()
        with SimulatedGateway(ports=6, port=sim.port, restless=False):
            gw.reconnect()
            eventually(lambda: last_tick() == dict.fromkeys(range(1, 7), ""))
        with SimulatedGateway(ports=1, port=sim.port, restless=False):
            gw.reconnect()
            eventually(lambda: gw.ports == [1])
            eventually(lambda: last_tick() == {1: "", **dict.fromkeys(range(2, 7), "refused")})


def test_closing_the_gateway_ends_it(gw: Gateway) -> None:
    survey = start(gw)
    eventually(lambda: survey.done)
    gw.close()
    assert not survey.running
    survey.stop()
    survey.wait()
    with pytest.raises(GatewayClosed, match="lab was closed"):
        survey.summary()


def test_a_dropped_gateway_object_is_held_by_its_survey(gw: Gateway) -> None:
    survey = start(gw, duration="0.3s")
    gc.collect()
    survey.wait()
    assert survey.done == 3


def test_a_pause_and_what_it_leaves(gw: Gateway) -> None:
    survey = start(gw, duration="0.8s", port=1)
    eventually(lambda: survey.done >= 2)
    survey.pause()
    assert repr(survey).startswith(f"<Survey {survey.name!r}: paused, ")
    done = survey.done
    with pytest.raises(NoAnswer):
        survey.wait("0.5s")
    assert survey.done <= done + 1  # the tick that ran when it was paused
    survey.resume()
    survey.wait()
    frame = survey.frame()
    assert len(frame) == 8
    assert "missed" not in set(frame.error)
    steps = frame.time.diff().dropna().dt.total_seconds().round(6)
    assert all((steps * 10).round(6) % 1 == 0)
    assert steps.max() > 0.4
    assert gw.store.surveys().reason.tolist() == ["paused", "done"]
    assert ng.outages(frame).kind.tolist() == ["blind"]


def test_a_cell_that_is_run_again_gives_the_survey_that_runs(gw: Gateway) -> None:
    unnamed = start(gw, label="roof")
    assert start(gw, label="roof") is unnamed
    unnamed.stop()
    named = start(gw, name="s", port=1)
    assert start(gw, name="s", port=1) is named
    assert gw.survey(name="s", progress=False) is named
    with pytest.raises(InvalidRequest, match="'s' runs already: stop"):
        start(gw, name="s", port=2)
    assert gw.surveys == [named]


def test_a_cell_that_is_run_again_shows_its_bar_again(
    gw: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = io.StringIO(), io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", first)
    survey = start(gw, name="s", duration="1h", progress=True)
    eventually(lambda: "left" in first.getvalue())
    monkeypatch.setattr("sys.stderr", second)
    assert start(gw, name="s", duration="1h", progress=True) is survey
    shown = first.getvalue()
    eventually(lambda: f"{survey.done}/36000 ticks" in second.getvalue())
    survey.pause()
    eventually(lambda: " left, paused" in second.getvalue())
    assert first.getvalue() == shown
    monkeypatch.setattr("sys.stderr", third)
    start(gw, name="s", duration="1h", progress=True)
    eventually(lambda: " left, paused" in third.getvalue())
    survey.stop()
    eventually(lambda: " left, ended" in third.getvalue())


def test_a_name_goes_on_and_says_so(gw: Gateway) -> None:
    with start(gw, name="s", duration="0.5s", label="roof") as survey:
        eventually(lambda: survey.done >= 2)
    with pytest.warns(NeogateWarning, match=r"'s' goes on after \d of 5 ticks.*\(stopped\)"):
        again = start(gw, name="s", duration="0.5s", label="roof")
    again.wait()
    assert len(again.frame()) == 20
    with pytest.warns(NeogateWarning, match="come to its end"):
        ended = start(gw, name="s", duration="0.5s", label="roof")
    ended.wait()
    ended.stop()
    assert (ended.running, ended.done, len(ended.frame())) == (False, 5, 20)
    assert gw.surveys == []


def test_who_else_measures_under_a_name_is_told(gw: Gateway) -> None:
    start(gw, name="s").stop()
    other = gw.store.survey_lock("lab", "s")
    assert other.acquire()
    with pytest.raises(InvalidRequest, match="this process measures lab under the survey name 's'"):
        start(gw, name="s")
    other.release()
    with pytest.warns(NeogateWarning, match="goes on"):
        start(gw, name="s").stop()


def test_it_tells_while_it_runs(gw: Gateway, sim: SimulatedGateway) -> None:
    sim.set_signal(1, 20)
    with start(gw, port=[1, 2], label="roof") as survey:
        eventually(lambda: survey.done >= 2)
        survey.mark("yard", port=1)
        eventually(lambda: "yard" in set(survey.frame().label))
        summary = survey.summary()
        assert list(zip(summary.port, summary.label, strict=True)) == [
            (1, "roof"),
            (1, "yard"),
            (2, "roof"),
        ]
        assert summary.mean_dbm[0] == -73
        assert list(survey.summary(by="port").columns[:2]) == ["port", "n"]
        axes = survey.plot()
        assert axes.get_figure() is not None
        assert survey.running


def test_outages_tell_a_missing_sim_from_no_power(gw: Gateway, sim: SimulatedGateway) -> None:
    sim.remove_sim(1)
    sim.set_status(2, power=False)
    sim.set_status(3, registered=False)
    gw.sample()
    found = ng.outages(gw.signal())
    assert dict(zip(found.port, found.kind, strict=True)) == {
        1: "no_sim",
        2: "power_off",
        3: "not_registered",
        4: "no_sim",
    }


@pytest.mark.parametrize("total", [None, 4])
def test_an_early_end_leaves_no_red_bar_in_a_notebook(total: int | None) -> None:
    from neogate_lab.progress import Bar

    with pytest.MonkeyPatch.context() as patch:
        import tqdm.auto
        import tqdm.notebook

        patch.setattr(tqdm.auto, "tqdm", tqdm.notebook.tqdm)
        patch.setattr("tqdm.notebook.display", lambda container: None)
        bar = Bar("roof", total, "tick", pace=10.0)
        bar.show(2)
        _, widget, right = bar._bar.container.children
        bar.close()
    assert widget.bar_style != "danger"
    if total is not None:
        assert "2/4" in right.value
        assert "00:20" in right.value


def test_a_bar_moves_and_is_finished(gw: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    survey = start(gw, duration="0.3s", name="the roof", progress=True)
    survey.wait()
    eventually(lambda: "3/3" in screen.getvalue())
    assert "ended" not in screen.getvalue()
    assert "the roof" in screen.getvalue()
    assert not any("tqdm" in thread.name.lower() for thread in threading.enumerate())


@pytest.mark.parametrize(
    "bad",
    [
        {"every": "soon"},
        {"every": 0},
        {"every": 0.01},
        {"duration": "-1s"},
        {"port": 9},
        {"label": None},
        {"name": 5},
    ],
    ids=str,
)
def test_what_cannot_be_surveyed_is_refused(gw: Gateway, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        start(gw, **bad)
    assert len(gw.store.surveys()) == 0

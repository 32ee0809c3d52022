"""SignalPanel: a survey started, marked and stopped; values and picture follow what is recorded."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import neogate_lab as ng
from neogate_lab.notebook import monitor
from tests.support import eventually


def signal(gateway: ng.Gateway, **options: object) -> ng.SignalPanel:
    panel = ng.SignalPanel(gateway, every="0.5s", **options)  # type: ignore[arg-type]
    eventually(lambda: panel._known.is_set() and len(panel.port_field.options) == 5)
    return panel


def measuring(gateway: ng.Gateway) -> ng.SignalPanel:
    panel = signal(gateway)
    panel.start_button.click()
    eventually(lambda: "<bdi>measuring</bdi>" in panel.status_line.value)
    eventually(lambda: panel.plot.value)
    return panel


def test_a_survey_is_started_and_seen(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.set_signal(1, 20)
    panel = signal(gw)
    eventually(lambda: "Nothing was measured" in panel.values.value)
    panel.start_button.click()
    assert panel.start_button.disabled
    eventually(lambda: "−73 dBm" in panel.values.value)
    assert "good" in panel.values.value
    eventually(lambda: bytes(panel.plot.value).startswith(b"\x89PNG"))
    eventually(lambda: not panel.stop_button.disabled)
    assert panel.start_button.disabled
    earlier = panel.plot.value
    eventually(lambda: panel.plot.value != earlier)
    (survey,) = gw.surveys
    panel.stop_button.click()
    eventually(lambda: "<bdi>stopped</bdi>" in panel.status_line.value)
    assert not survey.running
    assert not panel.start_button.disabled


def test_a_label_is_marked(gw: ng.Gateway) -> None:
    panel = measuring(gw)
    eventually(lambda: not panel.mark_button.disabled)
    panel.label_field.value = "roof <b>"
    panel.mark_button.click()
    eventually(lambda: "roof &lt;b&gt;" in panel.values.value)
    assert "roof <b>" in set(gw.signal().label)


def test_running_the_cell_again_takes_up_the_survey(gw: ng.Gateway) -> None:
    first = measuring(gw)
    second = signal(gw)
    assert len(gw.surveys) == 1
    assert second.start_button.disabled
    eventually(lambda: not second.stop_button.disabled)
    seen = first.plot.value
    eventually(lambda: second.plot.value)
    earlier = second.plot.value
    eventually(lambda: second.plot.value != earlier)
    assert first.plot.value == seen  # nobody updates it any more
    assert first.start_button.disabled
    assert first.stop_button.disabled


def test_what_others_record_is_seen_too(gw: ng.Gateway) -> None:
    panel = signal(gw)
    gw.sample()
    eventually(lambda: panel.plot.value)
    survey = gw.survey(every="0.5s", progress=False)
    eventually(lambda: not panel.stop_button.disabled)
    survey.stop()
    eventually(lambda: not panel.start_button.disabled)
    assert "<bdi>ended</bdi>" in panel.status_line.value


def test_one_port_and_a_time_can_be_chosen(gw: ng.Gateway) -> None:
    gw.sample()
    panel = signal(gw)
    eventually(lambda: panel.values.value.count("<tr>") == 5)
    panel.port_field.value = 2
    eventually(lambda: panel.values.value.count("<tr>") == 2)
    eventually(lambda: "Signal of port 2 from" in panel.plot_words.value)
    panel.window_field.value = timedelta(days=7)
    eventually(lambda: panel._live_window == timedelta(days=7))


def test_the_picture_is_told_in_words_too(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    for port, value in ((1, 20), (2, 5), (3, 10)):
        sim.set_signal(port, value)
    gw.sample()
    survey = gw.survey(every="0.5s", label="roof <b>", progress=False)
    panel = signal(gw)
    eventually(lambda: "labelled roof &lt;b&gt;" in panel.plot_words.value)
    survey.stop()
    words = panel.plot_words.value
    assert "Signal of ports 1, 2, 3, 4 from 20" in words
    assert "UTC: −103 dBm to −73 dBm" in words
    assert panel.plot_words.layout.display == "none"


def test_what_can_not_be_started_is_told(gw: ng.Gateway) -> None:
    panel = signal(gw)
    panel.every_field.value = "soon"
    panel.start_button.click()
    eventually(lambda: "every takes a period" in panel.status_line.value)
    assert not panel.start_button.disabled
    panel.every_field.value = "0.5"
    panel.start_button.click()
    eventually(lambda: "<bdi>measuring</bdi>" in panel.status_line.value)


def test_what_is_shown_is_exported(gw: ng.Gateway, tmp_path: Path) -> None:
    gw.sample()
    panel = signal(gw, port=1)
    panel.export_row.path_field.value = str(tmp_path / "signal.parquet")
    panel.export_row.write_button.click()
    eventually(lambda: "<bdi>written</bdi>" in panel.status_line.value)
    assert list(ng.read_parquet(tmp_path / "signal.parquet").port) == [1]


def test_a_failed_measurement_is_told_as_such(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: gw.status != "connected")
    gw.sample()
    panel = ng.SignalPanel(gw)
    eventually(lambda: "disconnected" in panel.values.value)
    sim.accept_logins()


def test_a_survey_that_is_paused_elsewhere_is_told_as_paused(gw: ng.Gateway) -> None:
    panel = measuring(gw)
    (survey,) = gw.surveys
    survey.pause()
    eventually(lambda: "<bdi>paused</bdi>" in panel.status_line.value)
    survey.resume()
    eventually(lambda: "<bdi>measuring</bdi>" in panel.status_line.value)


def test_why_a_survey_ended_is_told(gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = measuring(gw)
    (survey,) = gw.surveys

    def full(*_: object, **__: object) -> None:
        raise ng.StoreError("the disk is full")

    monkeypatch.setattr(survey, "wait", full)
    gw._loop.post(survey._survey.end)
    eventually(lambda: "the disk is full" in panel.status_line.value)


def test_another_process_that_measures_too_is_told(
    gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neogate_lab.link.survey import AsyncSurvey

    panel = signal(gw)
    begun = AsyncSurvey.begun

    async def beside(self: AsyncSurvey) -> None:
        await begun(self)
        self.notice = "another process measures too"

    monkeypatch.setattr(AsyncSurvey, "begun", beside)
    panel.start_button.click()
    with pytest.warns(ng.NeogateWarning, match="another process"):
        eventually(lambda: "another process measures too" in panel.status_line.value)


def test_what_becomes_too_old_goes_though_nothing_new_comes(
    gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gw.sample()
    monkeypatch.setitem(monitor._WINDOWS, "1 hour", timedelta(seconds=2))
    panel = signal(gw)
    eventually(lambda: panel.plot.value)
    eventually(lambda: "Nothing was measured" in panel.values.value)
    assert panel.plot.layout.display == "none"


def test_a_retired_panel_holds_no_history(gw: ng.Gateway) -> None:
    gw.sample()
    panel = signal(gw)
    eventually(lambda: panel.plot.value)
    signal(gw)
    assert panel._live is None


def test_every_takes_a_period_of_any_kind(gw: ng.Gateway) -> None:
    for every, shown in ((timedelta(seconds=10), "10s"), (0.5, "0.5s"), ("1m", "1m")):
        assert ng.SignalPanel(gw, every=every).every_field.value == shown
    with pytest.raises(ng.InvalidRequest, match="every takes a period"):
        ng.SignalPanel(gw, every=0)

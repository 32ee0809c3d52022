"""Ports and their signal as the facade tells them: errors are rows, secrets stay out."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from neogate_lab import errors

from .gateway import Firmware, Port, Reply, awkward, ussd_body
from .support import by_span, connect, eventually, rows, scripted, spans_again
from .variants import CALLED, PIN, TG200_PORTS, V3, V3_PORTS

GONE = "No GSM running on span 3\nCommand 'gsm show span 3' failed."
# Spans with gaps between them, so that a list of ports can't be guessed.
SCATTERED = tuple(
    Port(span, "Power on, Provisioned, Up, Active,Standard", ("Signal Quality (0,31): 20",))
    for span in (2, 8, 21)
)


@pytest.mark.parametrize("verb", ["spans", "diagnostics", "sample"])
def test_a_pin_in_the_status_is_never_shown(verb: str) -> None:
    with scripted() as double, connect(double) as gw:
        frame = getattr(gw, verb)()
        assert PIN not in frame.to_csv()
        if "status" in frame:
            assert "Pin" in by_span(frame)[4]["status"]


def test_numbers_are_taken_out_of_the_state_of_the_signal_table() -> None:
    with scripted(V3, V3_PORTS) as double, connect(double) as gw:
        state = by_span(gw.sample())[2]["state"]
        assert state.startswith("CALL ACTIVE")
        assert CALLED not in state


def test_unknown_fields_are_kept() -> None:
    with scripted(V3, V3_PORTS) as double, connect(double) as gw:
        extra = json.loads(by_span(gw.diagnostics())[2]["extra"])
        assert extra["Antenna Tuner"] == "auto: on"


def test_the_home_operator_comes_from_the_imsi_and_not_from_the_network() -> None:
    with scripted() as double, connect(double) as gw:
        row = by_span(gw.diagnostics())[2]
        assert "MTS" in row["operator"]
        assert row["network"] == "CHINA MOBILE"


def test_one_port_of_the_diagnostics() -> None:
    with scripted() as double, connect(double) as gw:
        assert gw.diagnostics(port=2)["span"].tolist() == [3]
        assert gw.diagnostics(port=[1, 4])["port"].tolist() == [1, 4]


def test_sample_is_recorded_and_told_alike() -> None:
    with scripted() as double, connect(double) as gw:
        told = rows(gw.sample(label="roof"))
        kept = rows(gw.signal())
        assert kept == told
        assert [row["signal_raw"] for row in told] == [17, 5, -1, 99]
        assert [row["signal"] for row in told] == [17, 5, None, None]
        assert [row["registered"] for row in told][:3] == [True, False, False]
        assert {row["label"] for row in told} == {"roof"}
        assert all(row["ok"] and row["error"] == "" for row in told)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(GONE), "refused"),
        (Reply(error="Permission denied"), "refused"),
        (Reply(error="Permission denied", anonymous=True), "refused"),
        (Reply("\x01\x02 what is this"), "unparsed"),
        (Reply(swallow=True), "no_answer"),
    ],
)
def test_a_port_that_fails_is_a_row_and_the_others_are_measured(reply: Reply, error: str) -> None:
    with scripted() as double, connect(double, command_timeout=0.6) as gw:
        gw.sample()
        double.script("gsm show span 3", reply)
        told = by_span(gw.sample())
        assert list(told) == [2, 3, 4, 5]
        assert (told[3]["ok"], told[3]["error"]) == (False, error)
        assert (told[3]["signal_raw"], told[3]["registered"], told[3]["up"]) == (None, None, None)
        assert (told[2]["ok"], told[2]["signal"]) == (True, 17)
        assert told[5]["ok"] is True


@pytest.mark.parametrize("echo", [True, False], ids=["echo", "no echo"])
@pytest.mark.parametrize("fault", [Reply(swallow=True), Reply(delay=0.6)], ids=["never", "late"])
def test_a_value_is_never_told_of_another_port(echo: bool, fault: Reply) -> None:
    true = {2: 17, 3: 5, 4: -1, 5: 99}
    firmware = Firmware(echo_action_id=echo)
    with scripted(firmware) as double, connect(double, command_timeout=0.3) as gw:
        gw.sample()
        double.script("gsm show span 3", fault)
        for _ in range(3):
            for row in rows(gw.sample()):
                assert row["signal_raw"] in (None, true[row["span"]])
        eventually(lambda: spans_again(gw))
        assert gw.diagnostics()["signal_raw"].tolist() == list(true.values())


@pytest.mark.parametrize("echo", [True, False], ids=["echo", "no echo"])
def test_a_deadline_counts_from_the_head_of_the_line(echo: bool) -> None:
    firmware = Firmware(echo_action_id=echo)
    with scripted(firmware) as double, connect(double, command_timeout=0.5) as gw:
        for span in (2, 3, 4, 5):
            double.script(f"gsm show span {span}", Reply(delay=0.2))
        assert gw.sample()["ok"].tolist() == [True] * 4
        assert double.logins == [True]


def test_a_port_that_was_added_is_found() -> None:
    with scripted(ports=SCATTERED[:1]) as double, connect(double) as gw:
        assert gw.spans()["port"].tolist() == [1]
        double.ports[8] = SCATTERED[1]
        assert gw.send_sms("900", "hi", port=7).status == "sent"
        assert gw.diagnostics(port=7)["signal"].tolist() == [20]


def test_a_gateway_without_ports_gives_empty_frames_with_types() -> None:
    with scripted(ports=()) as double, connect(double) as gw:
        for frame in (gw.spans(), gw.diagnostics()):
            assert len(frame) == 0
            assert {"port", "span", "power", "status"} <= set(frame)
            assert str(frame.dtypes["port"]) == "Int16"


def test_a_gateway_of_31_ports() -> None:
    ports = [
        Port(span, "Power on, Up, Active,Standard", (f"Signal Quality (0,31): {span - 2}",))
        for span in range(2, 33)
    ]
    with scripted(Firmware(cut=awkward), ports) as double, connect(double) as gw:
        assert gw.sample()["signal"].tolist() == list(range(31))
        assert double.peak_connections == 1


def test_a_survey_is_a_row_for_every_port_and_tick_also_while_the_link_is_down() -> None:
    with scripted() as double, connect(double) as gw:
        with gw.survey(every="200ms", duration="2s", label="roof", progress=False) as survey:
            eventually(lambda: len(gw.signal()) >= 8)
            double.drop()
            survey.wait()
            told = survey.frame()
        ticks = told.groupby("time")["port"].apply(list)
        assert list(ticks) == [[1, 2, 3, 4]] * len(ticks)
        assert len(ticks) in (10, 11)
        assert set(ticks.index.diff().dropna().total_seconds().round(6)) == {0.2}
        assert set(told["error"]) <= {"", "disconnected", "no_answer", "missed"}
        good = told[told["ok"]]
        assert set(good.loc[good["port"] == 1, "signal_raw"]) == {17}
        assert len(good) >= 8
        assert told.loc[~told["ok"], "signal_raw"].isna().all()


def test_samples_without_a_link_are_rows_too() -> None:
    with scripted() as double, connect(double) as gw:
        gw.spans()
        double.hang_up()
        eventually(lambda: _is_lost(gw))
        told = rows(gw.sample())
        assert [(row["port"], row["ok"], row["error"]) for row in told] == [
            (port, False, "disconnected") for port in (1, 2, 3, 4)
        ]


def _is_lost(gw: Any) -> bool:
    try:
        gw.spans()
    except errors.ConnectionLost:
        return True
    return False


@pytest.mark.parametrize(
    "ask",
    [
        lambda gw: gw.diagnostics(port=3),
        lambda gw: gw.send_sms("+79161234567", "hello", port=3),
        lambda gw: gw.ussd("*100#", port=3),
    ],
    ids=["diagnostics", "send_sms", "ussd"],
)
def test_a_port_that_is_not_there_names_those_that_are(ask: Any) -> None:
    with scripted(ports=SCATTERED) as double, connect(double) as gw:
        with pytest.raises(errors.InvalidRequest) as caught:
            ask(gw)
        for part in ("3", "1", "7", "20"):
            assert part in str(caught.value)
        assert double.sends == []
        assert not {"gsm show span 4", "gsm show span 3"} & set(double.commands)


@pytest.mark.parametrize("port", [0, -1, 99])
def test_impossible_ports(port: int) -> None:
    with scripted() as double, connect(double) as gw:
        with pytest.raises(errors.InvalidRequest):
            gw.send_sms("+79161234567", "hello", port=port)
        assert double.sends == []


def test_the_offset_between_port_and_span_is_a_setting() -> None:
    with scripted(ports=SCATTERED) as double, connect(double, span_offset=0) as gw:
        assert gw.spans()[["port", "span"]].to_numpy().tolist() == [[2, 2], [8, 8], [21, 21]]
        gw.send_sms("10086", "hi", port=8)
        assert [sms.span for sms in double.sms] == [8]


FROM_ONE = tuple(
    Port(span, "Power on, Up, Active,Standard", (f"Signal Quality (0,31): {span}", "State: READY"))
    for span in (1, 2, 3)
)


@pytest.mark.parametrize("offset", [0, 1])
def test_a_gateway_that_counts_its_spans_from_one(offset: int) -> None:
    ports = [span - offset for span in (1, 2, 3)]
    with scripted(ports=FROM_ONE) as double:
        for span in (1, 2, 3):
            double.ussd(span, "*1#", *[Reply(ussd_body(span, f"span {span}"))] * 3)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            gw = connect(double, span_offset=offset)
        with gw:
            hints = [str(one.message) for one in told]
            assert len(hints) == offset  # with the right one there is nothing to warn of
            assert all("span_offset=0 is meant" in hint for hint in hints)
            for frame in (gw.spans(), gw.diagnostics(), gw.sample(), gw.ussd_all("*1#")):
                assert frame["port"].tolist() == ports
            assert gw.ussd_all("*1#", port=ports)["text"].tolist() == ["span 1", "span 2", "span 3"]
            assert sorted(gw.balances("*1#")["port"]) == ports
            sms = [{"to": "900", "text": f"n {n}", "port": "auto"} for n in range(3)]
            assert sorted(gw.send_many(sms, progress=False)["port"]) == ports
            first = ports[0]
            assert gw.diagnostics(first)["signal"].tolist() == [1]
            assert gw.send_sms("900", "to the first", port=first).status == "sent"
            assert {sms.span for sms in double.sms if sms.text == "to the first"} == {1}
            double.receive_sms("hello", span=1)
            assert gw.wait_for_sms(port=first, since="1m").text == "hello"
            with gw.survey(every="100ms", duration="200ms", progress=False) as survey:
                survey.wait()
                assert sorted(set(survey.frame()["port"])) == ports
            # Whoever reads a port off the box is told of all that is there, and what to do.
            with pytest.raises(errors.InvalidRequest) as caught:
                gw.diagnostics(ports[-1] + 1)
            words = str(caught.value)
            assert f"has no port {ports[-1] + 1}; it has {first}-{ports[-1]}" in words
            assert ("span_offset=0 is meant" in words) == bool(offset)
            assert ("as printed on the box: span minus" in words) != bool(offset)


@pytest.mark.parametrize("port", [0, -1])
def test_no_port_below_one_where_none_is_listed(port: int) -> None:
    with (
        scripted(ports=FROM_ONE) as double,
        connect(double, span_offset=0) as gw,
        pytest.raises(errors.InvalidRequest),
    ):
        gw.diagnostics(port)


def test_every_status_word_in_any_order() -> None:
    words = {
        "Up": ("Power on, Up, Active,Standard", True),
        "Down": ("Active,Standard, Down, Power on", False),
        "Undetected SIM Card": ("Power on, Undetected SIM Card, Active, Standard", False),
        "No Signal": ("Power on, In Alarm, No Signal, Active,Standard", False),
        "Unregistered Network": ("Unregistered Network, Power on", False),
        "Block": ("Power on, Block, Standby, Multiplexer", False),
    }
    ports = [Port(span, said) for span, (said, _) in enumerate(words.values(), 2)]
    with scripted(ports=ports) as double, connect(double) as gw:
        told = rows(gw.spans())
        assert [row["status"] for row in told] == list(words)
        assert [row["up"] for row in told] == [up for _, up in words.values()]
        assert [row["alarm"] is True for row in told] == [False, False, False, True, False, False]
        assert told[2]["sim"] is False
        assert told[0]["sim"] is True
        assert {row["provisioned"] for row in told} == {None}


def test_the_tables_are_typed_as_declared() -> None:
    with scripted() as double, connect(double) as gw:
        gw.sample()
        types = gw.signal().dtypes.astype(str)
        assert types["time"] == "datetime64[us, UTC]"
        assert (types["signal"], types["signal_raw"], types["registered"]) == (
            *("Int8", "Int16", "boolean"),
        )
        assert gw.inbox().dtypes.astype(str)["received_at"] == "datetime64[us, UTC]"
        assert len(TG200_PORTS) == len(gw.signal())

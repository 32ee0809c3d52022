"""What came is found, whoever was there to hear it; what leaves is what arrives."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neogate_lab as ng
from neogate_lab.errors import InvalidRequest, NoAnswer
from neogate_lab.history.schema import VIEWS
from tests.support import eventually, login

Connect = Callable[..., ng.Gateway]


def test_waiting_since_a_time_sees_what_came_before_this_process(
    sim: ng.SimulatedGateway, connect: Connect, tmp_path: Path
) -> None:
    store = tmp_path / "lab.neogate"
    gw = connect(store=store)
    sim.receive_sms(port=1, sender="Bank", text="Your code is 4821")
    assert gw.wait_for_sms(since="1m").code == "4821"
    gw.close()
    gw = connect(store=store)
    found = gw.wait_for_sms(sender="Bank", contains="code", port=1, since="1m", timeout=5)
    assert (found.code, found.complete, found.port) == ("4821", True, 1)
    assert found.row_id == gw.inbox().row_id[0]
    assert gw.wait_for_sms(since="1m", timeout=0).row_id == found.row_id
    for other in ({"since": None}, {"since": None, "timeout": 0}, {"port": 2}, {"sender": "Else"}):
        with pytest.raises(NoAnswer):
            gw.wait_for_sms(**{"since": "1m", "timeout": 0.05, **other})


def test_the_oldest_that_fits_comes_first(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    for number in range(3):
        sim.receive_sms(port=1, sender="900", text=f"n {number}")
    gw.wait_for_sms(contains="2", since="1m")
    for _ in range(10):  # whatever is on record is looked at, with no time to wait for more
        assert gw.wait_for_sms(since="1m", timeout=0).text == "n 0"
    assert gw.wait_for_sms(since="1m").text == "n 0"


def test_parts_that_come_before_and_after_a_lost_connection_are_joined(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    text = "A long story. " * 20
    sim.receive_sms(port=1, sender="+79001", text=text, reference="7", order=[2])
    eventually(lambda: len(gw.store.message_parts()) == 1)
    sim.drop_connections()
    eventually(lambda: sim.logins == 2 and gw.status == "connected")
    sim.receive_sms(port=1, sender="+79001", text=text, reference="7", order=[2, 1])
    assert gw.wait_for_sms(since="1m", timeout=5).text == text
    assert list(gw.inbox().complete) == [True]


# -- loopback --------------------------------------------------------------------------------------
def test_a_loopback_measures_delay(sim: ng.SimulatedGateway, gw: ng.Gateway) -> None:
    trips = gw.loopback(1, 2, n=3, number=sim.number(2), timeout=5)
    assert list(trips.columns) == list(VIEWS["loopback"].names)
    assert list(trips.n) == [1, 2, 3]
    assert list(trips.parts) == [1, 1, 1]
    assert not trips.lost.any()
    assert (trips.delay_s > 0).all()
    assert set(trips.status) == {"sent"}


def test_a_loopback_of_several_parts_tells_what_was_lost(
    sim: ng.SimulatedGateway, gw: ng.Gateway
) -> None:
    sim.set_send_outcome(outcome="failed", times=1)
    trips = gw.loopback(1, 2, n=2, number=sim.number(2), segments=3, timeout=3600)
    assert list(trips.segments) == [3, 3]
    assert sorted(trips.lost) == [False, True]
    whole, lost = (trips[trips.lost == gone].iloc[0] for gone in (False, True))
    assert (whole.parts, lost.status) == (3, "failed")
    assert lost[["parts", "received_at", "delay_s"]].isna().all()


def test_a_loopback_that_left_and_never_came_is_lost(gw: ng.Gateway) -> None:
    trips = gw.loopback(1, 2, n=1, number="+79990000000", timeout=0.1)
    assert list(trips.status) == ["sent"]
    assert trips.lost.all()


def test_a_loopback_asks_the_gateway_for_the_number() -> None:
    with ng.demo(firmware="tg400") as gw:
        assert not gw.loopback(1, 2, n=1, timeout=10).lost.any()


@pytest.mark.parametrize(
    "bad",
    [{"n": 0}, {"n": True}, {"segments": 6}, {"to_port": 9}, {"number": None}, {"number": "x"}],
)
def test_a_loopback_that_can_not_be(
    sim: ng.SimulatedGateway, gw: ng.Gateway, bad: dict[str, Any]
) -> None:
    usual = {"from_port": 1, "to_port": 2, "n": 1, "number": sim.number(2)}
    with pytest.raises(InvalidRequest):
        gw.loopback(**(usual | bad))
    assert sim.sent == []


# -- what leaves is what arrives -------------------------------------------------------------------
PLANES = [range(plane << 16, (plane + 1) << 16) for plane in range(17)]
AWKWARD = [
    '"',
    "\n",
    "%",
    "+",
    " ",
    "\\",
    "'",
    "\t",
    "\r",
    "\u200f",
    "שלום",
    "%41",
    "\u2028",
    "\ufeff",
]


def character(plane: range) -> st.SearchStrategy[str]:
    return (
        st.integers(plane.start, plane.stop - 1)
        .map(chr)
        .filter(lambda mark: mark != "\0" and not 0xD800 <= ord(mark) <= 0xDFFF)
    )


TEXTS = st.lists(
    st.one_of(*map(character, PLANES), st.sampled_from(AWKWARD)), min_size=1, max_size=25
).map("".join)


@pytest.fixture(scope="module")
def loop() -> Iterator[Callable[[str], str]]:
    """Send a text to port 2 and return what arrives there."""
    with (
        ng.SimulatedGateway(sms_delay=0.0, restless=False, max_line=4096) as sim,
        ng.connect(sim.host, **login(sim, store=":memory:", max_line=4096)) as gw,
    ):
        last = 0

        def there_and_back(text: str) -> str:
            nonlocal last
            result = gw.send_sms(sim.number(2), text, port=1, timeout=5)
            assert result.status == "sent"
            assert sim.sent[-1].text == text
            sim.receive_sms(port=3, sender="mark", text="the end")
            while True:
                rows = gw.store.frame("messages", after_row=last)
                got = rows[rows.port == 2]
                if len(got):
                    last = int(got.row_id.max())
                    return str(got.text.iloc[-1])
                gw.wait_for_sms(since="10m", timeout=5)

        yield there_and_back


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_the_text_that_leaves_is_the_text_that_arrives(
    loop: Callable[[str], str], text: str
) -> None:
    assert loop(text) == text


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: f"plane {plane.start >> 16}")
def test_every_plane_arrives(loop: Callable[[str], str], plane: range) -> None:
    known = [chr(n) for n in plane if unicodedata.category(chr(n)) not in ("Cs", "Cn", "Cc")]
    text = "".join((known or [chr(plane.start + 0xFFFD)])[:: max(1, len(known) // 20)][:20])
    assert loop(f" {text} ") == f" {text} "

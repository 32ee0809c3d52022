"""The slips of a first hour: each gets one error that says what was wrong and what to do."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import neogate_lab as ng
from neogate_lab.errors import InvalidRequest, LoginRefused, NeogateWarning, Unreachable
from neogate_lab.history.schema import TABLES, VIEWS
from neogate_lab.simulator import SimulatedGateway

NUMBER = "+390000000001"

Complete = Callable[[str, dict[str, object]], set[str]]


@pytest.fixture(scope="module")
def gw() -> Iterator[ng.Gateway]:
    with ng.demo() as gw:
        yield gw


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda gw: gw.send_sms(NUMBER, "hi"), r"needs port=.* demo has 1-4; nothing was sent"),
        (lambda gw: gw.send_sms(NUMBER, "hi", 1), r"by its name, such as port=1; demo has 1-4"),
        (lambda gw: gw.send_sms(NUMBER, "hi", span=2), r"takes port=, and no span.* has 1-4"),
        (lambda gw: gw.ussd("*100#"), r"ussd\(\) needs port=.* demo has 1-4"),
        (lambda gw: gw.ussd("*100#", 1), r"by its name"),
        (
            lambda gw: gw.send_sms(NUMBER, "hi", port=5),
            r"has no port 5; it has 1-4.*span 5 is port 4",
        ),
        (lambda gw: gw.diagnostics(port=[1, 5]), r"span 5 is port 4"),
        (lambda gw: gw.send_sms(390123.0, "hi", port=1), "turned it into a float.*dtype=str"),
        (lambda gw: gw.send_sms("390123.0", "hi", port=1), "turned it into a float"),
        (lambda gw: gw.send_sms(390123, "hi", port=1), r"of type int.*drops the \+"),
        (lambda gw: gw.send_sms(pd.NA, "hi", port=1), "the number is missing"),
        (lambda gw: gw.send_sms(float("nan"), "hi", port=1), "the number is missing"),
        (lambda gw: gw.send_sms([NUMBER], "hi", port=1), r"type list.*send_many\(\) takes several"),
        (lambda gw: gw.send_sms(NUMBER, 5, port=1), "the text is of type int: write it in quotes"),
        (lambda gw: gw.send_sms(NUMBER, None, port=1), "the text is missing"),
        (lambda gw: gw.send_sms(NUMBER, float("nan"), port=1), "the text is missing"),
        (lambda gw: gw.send_sms(NUMBER, "hi", port=[1, 2]), r"one port at a time.*not \[1, 2\]"),
        (lambda gw: gw.send_many("sms.csv"), "takes a DataFrame.*read_csv"),
        (lambda gw: gw.send_sms(NUMBER, "hi", port="1"), "number from 1, without quotes, not '1'"),
        (
            lambda gw: gw.send_many(pd.DataFrame({"to": [390123.0], "text": "x", "port": 1})),
            r"row 0: the number has a decimal point",
        ),
        (lambda gw: gw.send_many([{"to": NUMBER, "text": "x", "span": 2}]), "span minus 1"),
        (lambda gw: gw.signal(since="yesterday"), "how long ago .*\"2h\".*not 'yesterday'"),
        (lambda gw: gw.wait_for_sms(since="yesterday", timeout=1), "not 'yesterday'"),
        (lambda gw: gw.wait_for_sms(390123.0, timeout=1), "sender must be text.*type float"),
        (lambda gw: gw.wait_for_sms(contains=4711, timeout=1), "contains must be text"),
        (lambda gw: gw.outbox(status="bogus"), "never 'bogus'; it is one of queued, written, sent"),
        (lambda gw: gw.survey("fast"), "every takes a period"),
        (lambda gw: gw.survey(duration="2000w"), "duration must be .* below 1e9, not 12096"),
        (lambda gw: gw.survey("10"), "not '10', which has no unit"),
        (lambda gw: ng.describe("sgnal"), "there is no table 'sgnal'; there are signal"),
        (lambda gw: ng.describe(gw.spans()), 'name of a table, such as "signal", not DataFrame$'),
        (lambda gw: ng.parse_balance(100), r"takes text, such as \.text of an answer, not int$"),
    ],
)
def test_a_slip_is_told_in_words(gw: ng.Gateway, slip: Callable[[Any], object], words: str) -> None:
    assert gw.simulator is not None
    with pytest.raises(InvalidRequest, match=words):
        slip(gw)
    assert gw.simulator.sent == []
    assert gw.outbox().empty


async def test_the_async_verbs_say_the_same() -> None:
    with SimulatedGateway(ports=2) as sim:
        async with ng.AsyncGateway(
            sim.host, port=sim.port, username="apiuser", password="apipass", name="lab"
        ) as link:
            with pytest.raises(InvalidRequest, match=r"needs port=.* lab has 1-2"):
                await link.send_sms(NUMBER, "hi")  # type: ignore[call-arg]
            with pytest.raises(InvalidRequest, match="needs port="):
                await link.ussd("*100#")  # type: ignore[call-arg]
    assert inspect.iscoroutinefunction(ng.AsyncGateway.send_sms)
    port = inspect.signature(ng.Gateway.send_sms).parameters["port"]
    assert (port.kind, port.default) == (port.KEYWORD_ONLY, port.empty)


def test_other_wrong_keywords_stay_type_errors(gw: ng.Gateway) -> None:
    with pytest.raises(TypeError, match="tiemout"):
        gw.send_sms(NUMBER, "hi", port=1, tiemout=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'text'"):
        gw.send_sms(NUMBER)  # type: ignore[call-arg]


# -- looking around --------------------------------------------------------------------------------
def test_completion_offers_verbs_and_nothing_else(gw: ng.Gateway) -> None:
    assert [name for name in dir(gw) if not name.startswith("_")] == [
        "balances",
        "close",
        "closed",
        "command",
        "connections",
        "diagnostics",
        "export",
        "handler_errors",
        "inbox",
        "loopback",
        "name",
        "names",
        "off_sms",
        "on_sms",
        "outbox",
        "ports",
        "reconnect",
        "report",
        "resume_outbox",
        "sample",
        "send_many",
        "send_sms",
        "signal",
        "simulator",
        "spans",
        "status",
        "store",
        "survey",
        "surveys",
        "trouble",
        "ussd",
        "ussd_all",
        "ussd_log",
        "ussd_session",
        "wait_for_sms",
        "waiting",
    ]


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What IPython offers after some letters; what asks its shell for magics is left out."""
    completer = pytest.importorskip("IPython.core.completer")
    # Processes that fill the user's cache at the same time read each other's half-written files.
    monkeypatch.setattr(pytest.importorskip("jedi").settings, "cache_directory", tmp_path)

    def complete(typed: str, names: dict[str, object]) -> set[str]:
        without = ["IPCompleter.magic_matcher", "IPCompleter.file_matcher"]
        made = completer.IPCompleter(namespace=names, disable_matchers=without)
        with completer.provisionalcompleter():
            return {each.text.lstrip(".") for each in made.completions(typed, len(typed))}

    return complete


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ng.sign", "signal_summary"),
        ("ng.conn", "connect"),
        ("gw.send_s", "send_sms"),
        ("gw.store.sig", "signal"),
        ("session.trans", "transcript"),
        ("ng.connect('x').dia", "diagnostics"),
        ("gw.ussd('*100#', port=1).out", "outcome"),
    ],
)
def test_completion_works_in_ipython(
    gw: ng.Gateway, complete: Complete, typed: str, offered: str
) -> None:
    session = gw.ussd_session(port=1)
    assert offered in complete(typed, {"ng": ng, "gw": gw, "session": session})


@pytest.mark.parametrize(("typed", "module"), [("ng.", ng), ("ng.plots.", ng.plots)])
def test_completion_of_a_module_offers_its_public_names_alone(
    complete: Complete, typed: str, module: Any
) -> None:
    offered = complete(typed, {"ng": ng})
    assert offered == {name for name in module.__all__ if not name.startswith("_")}


def test_every_public_name_has_a_docstring() -> None:
    bare = [
        name for name in ng.__all__ if not name.startswith("_") and not getattr(ng, name).__doc__
    ]
    assert bare == []


# -- what columns mean -----------------------------------------------------------------------------
def test_columns_are_described(gw: ng.Gateway) -> None:
    told = ng.describe("signal")
    assert list(told.index) == list(gw.signal().columns)
    assert list(told.columns) == ["type", "unit", "meaning"]
    assert told.loc["rssi_dbm", "unit"] == "dBm"
    types = {name: str(kind) for name, kind in gw.signal().dtypes.items()}
    assert told["type"].to_dict() == types
    assert ng.describe("inbox").equals(ng.describe("messages"))


@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_every_frame_is_described_as_it_is(table: str) -> None:
    from neogate_lab.history.frames import frame_of

    told = ng.describe(table)
    assert told["type"].to_dict() == {
        name: str(kind) for name, kind in frame_of(table, []).dtypes.items()
    }
    assert (told["meaning"].str.len() > 0).all()


def test_without_a_name_the_tables_are_listed() -> None:
    told = ng.describe()
    assert told.loc["signal", "stored"]
    assert not told.loc["diagnostics", "stored"]
    assert set(told.index) == {*TABLES, *VIEWS}


# -- a live connection is no value -----------------------------------------------------------------
@pytest.mark.parametrize("hand_on", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_gateway_is_not_copied(gw: ng.Gateway, hand_on: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"live connection.*open_store"):
        hand_on(gw)
    assert gw.status == "connected"


# -- connecting again ------------------------------------------------------------------------------
def again(sim: SimulatedGateway, **settings: Any) -> ng.Gateway:
    usual: dict[str, Any] = {"username": "apiuser", "password": "apipass", "store": ":memory:"}
    return ng.connect(sim.host, port=sim.port, **(usual | settings))


def test_a_failed_second_connect_leaves_the_first_usable() -> None:
    with SimulatedGateway(login_delay=0.05) as sim, again(sim) as first:
        with pytest.raises(LoginRefused):
            again(sim, password="wrong")
        assert not first.closed
        assert len(first.spans()) == 4
        assert again(sim) is first


def test_where_one_login_is_allowed_the_first_stays_and_is_named() -> None:
    with SimulatedGateway(login_delay=0.05) as sim, again(sim, name="lab") as first:
        sim.refuse_logins("Login Already In Use", times=1)
        with pytest.raises(LoginRefused, match=r"connection to lab is still open here.*close\(\)"):
            again(sim, name="lab", keepalive=60.0)
        assert len(first.spans()) == 4


def test_the_demos_other_end_goes_along() -> None:
    with ng.demo() as first:
        sim = first.simulator
        assert sim is not None
        with pytest.warns(NeogateWarning, match="closed the earlier"):
            second = again(sim, name="demo", keepalive=60.0)
        with second:
            assert first.closed
            assert len(second.spans()) == 4
    with pytest.raises(Unreachable):
        again(sim)


def test_what_arrives_while_connecting_again_is_kept_once(tmp_path: Any) -> None:
    with SimulatedGateway(login_delay=0.05, sms_delay=0.0) as sim:
        first = again(sim, store=tmp_path / "s")
        sim.receive_sms(port=1, sender="MegaFon", text="before")
        first.wait_for_sms(since="1m", timeout=10)
        with pytest.warns(NeogateWarning, match="closed the earlier"):
            second = again(sim, store=tmp_path / "s", keepalive=60.0)
        with second:
            sim.receive_sms(port=1, sender="MegaFon", text="after")
            second.wait_for_sms(contains="after", since="1m", timeout=10)
            assert second.inbox().text.tolist() == ["before", "after"]

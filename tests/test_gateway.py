"""The synchronous facade over TCP: plain calls, the stop button, handlers, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import neogate_lab as ng
from neogate_lab import dispatcher
from neogate_lab.errors import (
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    LoginRefused,
    NeogateWarning,
    NoAnswer,
    ProtocolError,
    Unreachable,
    WrongThread,
)
from neogate_lab.gateway import Gateway
from neogate_lab.link import loop_thread
from neogate_lab.simulator import SimulatedGateway, UssdAnswer
from tests.support import UNHURRIED, eventually, interrupt_when, login


@pytest.fixture
def sim() -> Iterator[SimulatedGateway]:
    with SimulatedGateway(sms_delay=0.02, ussd_delay=0.01, restless=False, login_delay=0.05) as sim:
        yield sim


def connect(sim: SimulatedGateway, **settings: Any) -> Gateway:
    return ng.connect(sim.host, **login(sim, **({"store": ":memory:"} | settings)))


@pytest.fixture
def gw(sim: SimulatedGateway) -> Iterator[Gateway]:
    with connect(sim) as gw:
        yield gw


# -- verbs -----------------------------------------------------------------------------------------
def test_the_wire_verbs_give_frames_with_ports_and_spans(
    sim: SimulatedGateway, gw: Gateway
) -> None:
    sim.set_signal(1, 17)
    spans, details, sample = gw.spans(), gw.diagnostics(), gw.sample("roof")
    assert spans.port.tolist() == [1, 2, 3, 4]
    assert spans.span.tolist() == [2, 3, 4, 5]
    assert details.signal.tolist()[0] == 17
    assert sample.rssi_dbm.tolist()[0] == -79
    assert gw.diagnostics(port=2).port.tolist() == [2]
    assert gw.command("gsm show spans")[0].startswith("GSM span 2")
    pd.testing.assert_frame_equal(gw.signal(label="roof"), sample)
    assert gw.signal(port=[1, 2]).port.tolist() == [1, 2]


def test_ports_may_come_straight_from_a_frame(gw: Gateway) -> None:
    for port in gw.spans().port.head(2):
        assert gw.ussd("*114#", port=port).text == "Bonus: 5"
    assert gw.ussd_log().port.tolist() == [1, 2]
    assert gw.sample(port=gw.spans().port).port.tolist() == [1, 2, 3, 4]


def test_messages_both_ways(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.receive_sms(port=1, sender="+79001234567", text="Привет, " * 20)
    got = gw.wait_for_sms(since="1m", timeout=5)
    assert got.text == "Привет, " * 20
    assert gw.inbox().text.tolist() == [got.text]
    result = gw.send_sms("900", "hello", port=1)
    assert result.status == "sent"
    assert gw.outbox(status="sent").id.tolist() == [result.id]
    with pytest.raises(NoAnswer):
        gw.wait_for_sms(timeout=0.01)


def test_ussd_and_its_session(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.set_ussd(1, "*100#", {"": "1 More", "1": "Done"})
    with gw.ussd_session() as session:
        assert session.send("*100#").menu
        assert session.send("1").text == "Done"
    assert [turn.sent for turn in session.transcript()] == ["*100#", "1"]
    assert gw.ussd_log().code.tolist() == ["*100#", "1"]


def test_every_change_of_the_link_is_on_record(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.drop_connections()
    eventually(lambda: sim.logins == 2 and gw.status == "connected")
    eventually(lambda: len(gw.connections()) == 3)
    log = gw.connections()
    assert log.event.tolist() == ["connected", "lost", "restored"]
    assert log.gap_s.iloc[2] > 0


def test_while_the_link_is_down(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.stop()
    eventually(lambda: gw.status.startswith("down"))
    for verb in (gw.spans, gw.diagnostics, lambda: gw.ussd("*100#", port=1)):
        with pytest.raises(ConnectionLost, match=r"next attempt|restored"):
            verb()
    assert gw.sample().error.tolist() == ["disconnected"] * 4
    result = gw.send_sms("900", "x", port=1, timeout=0)
    assert (result.status, sim.sent) == ("cancelled", [])
    sim.start()
    gw.reconnect()
    eventually(lambda: gw.status == "connected")
    assert len(gw.spans()) == 4


def test_an_export_holds_this_gateway_only(gw: Gateway, tmp_path: Path) -> None:
    gw.sample("roof")
    other = {"time": datetime.now(UTC), "gateway": "other", "port": 1, "span": 2, "ok": True}
    gw.store.append("signal", [other]).result()
    path = gw.export(tmp_path / "signal.parquet")
    assert ng.read_parquet(path).gateway.unique().tolist() == ["lab"]


def test_a_report_tells_of_this_gateway_only(gw: Gateway, tmp_path: Path) -> None:
    gw.sample("roof")
    other = {"time": datetime.now(UTC), "gateway": "other", "port": 9, "span": 10, "ok": True}
    gw.store.append("signal", [other]).result()
    path = gw.report(tmp_path / "report.html", redact=None, title="What the roof gives")
    assert path == tmp_path / "report.html"
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What the roof gives" in text
    assert "port 1" in text
    assert "port 9" not in text


# -- connecting ------------------------------------------------------------------------------------
def test_a_wrong_password_is_one_attempt(sim: SimulatedGateway) -> None:
    with pytest.raises(LoginRefused) as caught:
        connect(sim, password="wr0ng")
    assert sim.login_attempts == 1
    assert "wr0ng" not in str(caught.value)


def test_nothing_listens(sim: SimulatedGateway) -> None:
    sim.stop()
    with pytest.raises(Unreachable):
        connect(sim)


def test_what_is_no_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                heard.append(peer.recv(100))

        heard: list[bytes] = []
        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ProtocolError, match="SSH-2"):
            ng.connect(
                "127.0.0.1",
                port=server.getsockname()[1],
                username="a",
                password="s3cret",
                store=":memory:",
            )
        thread.join()
    assert heard == [b""]


def test_a_bad_setting_makes_no_store(sim: SimulatedGateway, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="keepalive"):
        connect(sim, store=tmp_path / "s.neogate", keepalive=-1)
    assert not (tmp_path / "s.neogate").exists()
    assert sim.connections == 0


def test_the_same_arguments_give_the_same_object(sim: SimulatedGateway, tmp_path: Path) -> None:
    with connect(sim, store=tmp_path / "s") as gw:
        assert connect(sim, store=str(tmp_path / "s")) is gw
        sim.drop_connections()
        assert connect(sim, store=tmp_path / "s") is gw
    again = connect(sim, store=tmp_path / "s")
    assert again is not gw
    again.close()


def test_other_arguments_close_the_old_one_and_warn(sim: SimulatedGateway) -> None:
    with connect(sim) as old:
        with pytest.warns(NeogateWarning, match="other arguments") as caught:
            new = connect(sim, keepalive=60.0)
        assert [warning.filename for warning in caught] == [__file__]
        assert (old.closed, new.closed) == (True, False)
        with pytest.raises(GatewayClosed):
            old.spans()
        assert sim.wait_until(lambda: sim.sessions == 1)
        new.close()


def test_two_gateways_of_one_name_do_not_share_a_store(
    sim: SimulatedGateway, tmp_path: Path
) -> None:
    with SimulatedGateway() as other:
        common = {"name": "lab", "store": tmp_path / "lab"}
        access = {"username": sim.username, "password": sim.password}
        with ng.connect(sim.host, port=sim.port, **access, **common) as gw:
            words = f"'lab' is in use .* at {sim.host}:{sim.port}, not {other.host}:{other.port}"
            with pytest.raises(InvalidRequest, match=words):
                ng.connect(other.host, port=other.port, **access, **common)
            with pytest.raises(InvalidRequest, match=words):
                ng.connect_all(
                    [{"target": f"{other.host}:{other.port}", **access, "name": "lab"}],
                    store=tmp_path / "lab",
                )
            sim.receive_sms(1, "900", "kept")
            assert gw.wait_for_sms().text == "kept"
        with ng.connect(other.host, port=other.port, **access, **common) as gw:
            other.receive_sms(1, "900", "kept, too")
            assert gw.wait_for_sms().text == "kept, too"


def test_many_threads_connecting_share_one_object(sim: SimulatedGateway) -> None:
    got: list[Gateway] = []
    threads = [threading.Thread(target=lambda: got.append(connect(sim))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(map(id, got))) == 1
    assert sim.logins == 1
    got[0].close()


def test_an_interrupted_connect_leaves_nothing(sim: SimulatedGateway) -> None:
    sim.freeze()
    pressing = interrupt_when(lambda: sim.connections)
    with pytest.raises(KeyboardInterrupt):
        connect(sim)
    pressing.join()
    sim.thaw()
    assert sim.wait_until(lambda: sim.sessions == 0)


def test_the_demo_brings_its_own_gateway_and_takes_it_away() -> None:
    with ng.demo(ports=2, seed=3) as gw:
        sim = gw.simulator
        assert sim is not None
        assert gw.spans().port.tolist() == [1, 2]
        folder = gw.store.path
        assert folder.exists()
    assert not folder.exists()
    assert "stopped" in repr(sim)


# -- the stop button -------------------------------------------------------------------------------
def test_an_interrupted_ussd_leaves_a_usable_gateway(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.set_ussd(1, "*100#", UssdAnswer(trouble="never"))
    pressing = interrupt_when(lambda: any("ussd" in c.text for c in sim.commands))
    with pytest.raises(KeyboardInterrupt):
        gw.ussd("*100#", port=1)
    pressing.join()
    assert len(gw.spans()) == 4
    assert gw.ussd("*114#", port=2).outcome == "done"


def test_an_interrupted_wait(sim: SimulatedGateway, gw: Gateway) -> None:
    pressing = interrupt_when(lambda: gw._link._inbound._waiting)
    with pytest.raises(KeyboardInterrupt):
        gw.wait_for_sms()
    pressing.join()
    assert not gw._link._inbound._waiting


def test_an_interrupt_withdraws_a_queued_sms(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.stop()
    eventually(lambda: gw.status.startswith("down"))
    pressing = interrupt_when(lambda: len(gw.outbox()))
    with pytest.raises(KeyboardInterrupt):
        gw.send_sms("900", "x", port=1)
    pressing.join()
    assert gw.outbox().status.tolist() == ["cancelled"]
    sim.start()
    gw.reconnect()
    eventually(lambda: gw.status == "connected")
    assert sim.sent == []


def test_an_interrupt_leaves_a_written_sms_alone(sim: SimulatedGateway, gw: Gateway) -> None:
    sim.set_send_outcome(delay=0.5)
    pressing = interrupt_when(lambda: sim.sent)
    with pytest.raises(KeyboardInterrupt):
        gw.send_sms("900", "x", port=1)
    pressing.join()
    eventually(lambda: gw.outbox().status.tolist() == ["sent"])


def test_an_interrupted_close_still_closes(sim: SimulatedGateway) -> None:
    gw = connect(sim)
    sim.freeze()
    pressing = interrupt_when(lambda: gw.closed)
    with pytest.raises(KeyboardInterrupt):
        gw.close()
    pressing.join()
    gw.close()
    assert gw.status == "closed"
    sim.thaw()
    assert sim.wait_until(lambda: sim.sessions == 0)


# -- handlers and panels ---------------------------------------------------------------------------
def test_handlers_are_called_once_on_the_dispatcher(sim: SimulatedGateway, gw: Gateway) -> None:
    heard: list[tuple[str, str]] = []

    def hear(message: ng.ReceivedSms) -> None:
        heard.append((message.text, threading.current_thread().name))

    for _ in range(3):  # a cell that is run again
        assert gw.on_sms(hear, name="hear") == "hear"
    sim.receive_sms(port=1, sender="900", text="a")
    eventually(lambda: heard)
    gw.off_sms("hear")
    sim.receive_sms(port=1, sender="900", text="b")
    eventually(lambda: len(gw.inbox()) == 2)
    assert heard == [("a", "neogate-dispatcher")]


def test_a_handler_may_use_every_verb(sim: SimulatedGateway, gw: Gateway) -> None:
    answered: list[str] = []

    def reply(message: ng.ReceivedSms) -> None:
        assert len(gw.inbox()) == 1  # told is committed
        answered.append(gw.send_sms(message.sender, "thanks", port=message.port).status)

    gw.on_sms(reply, name="reply")
    sim.receive_sms(port=2, sender="900", text="a")
    eventually(lambda: answered)
    assert answered == ["sent"]
    assert [(sms.port, sms.text) for sms in sim.sent] == [(2, "thanks")]


def test_a_handler_may_close_the_gateway(sim: SimulatedGateway) -> None:
    gw = connect(sim)
    gw.on_sms(lambda message: gw.close(), name="enough")
    sim.receive_sms(port=1, sender="900", text="a")
    eventually(lambda: gw.closed)
    assert sim.wait_until(lambda: sim.sessions == 0)


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(1)])
def test_a_failing_handler_is_warned_of_and_the_next_is_called(
    sim: SimulatedGateway, gw: Gateway, error: BaseException
) -> None:
    heard: list[str] = []

    def broken(message: ng.ReceivedSms) -> None:
        raise error

    gw.on_sms(broken, name="broken")
    gw.on_sms(lambda message: heard.append(message.text), name="fine")
    with pytest.warns(NeogateWarning, match="'broken'") as caught:  # noqa: PT031 - it comes later
        sim.receive_sms(port=1, sender="900", text="a")
        eventually(lambda: heard)
    line = broken.__code__.co_firstlineno + 1
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, line)]
    assert gw.handler_errors == [("broken", error)]


def test_a_handler_is_a_plain_function_with_a_name(gw: Gateway) -> None:
    async def later(message: ng.ReceivedSms) -> None: ...

    with pytest.raises(InvalidRequest, match="plain function"):
        gw.on_sms(later)
    with pytest.raises(InvalidRequest, match="no name"):
        gw.on_sms(lambda message: None)
    with pytest.raises(InvalidRequest):
        gw.off_sms("nobody")


def test_an_incomplete_message_only_for_those_who_asked(sim: SimulatedGateway) -> None:
    with connect(sim, part_timeout=0.1) as gw:
        whole: list[str] = []
        everything: list[bool] = []
        gw.on_sms(lambda message: whole.append(message.text), name="whole")
        gw.on_sms(lambda m: everything.append(m.complete), name="all", incomplete=True)
        sim.receive_sms(port=1, sender="900", text="x" * 200, missing=[2])
        eventually(lambda: everything)
        assert (whole, everything) == ([], [False])


def test_a_panel_posts_without_waiting(gw: Gateway) -> None:
    done: list[Any] = []

    def then(result: Any, error: BaseException | None) -> None:
        done.append((result, error, threading.current_thread().name))

    gw._post(lambda link: link.spans(), then)
    ((result, error, thread),) = eventually(lambda: done)
    assert (len(result), error, thread) == (4, None, "neogate-panels")


def test_a_posted_failure_is_handed_over(gw: Gateway) -> None:
    done: list[BaseException | None] = []

    async def fail(link: Any) -> None:
        raise NoAnswer("silent")

    def broken(link: Any) -> Any:
        raise ValueError("not even a coroutine")

    gw._post(fail, lambda result, error: done.append(error))
    gw._post(broken, lambda result, error: done.append(error))
    eventually(lambda: len(done) == 2)
    assert [type(error) for error in done] == [NoAnswer, ValueError]


def test_what_is_posted_when_the_gateway_closes_is_answered_all_the_same(
    sim: SimulatedGateway,
) -> None:
    gw = connect(sim)
    done: list[BaseException | None] = []
    gw._post(lambda link: asyncio.sleep(60), lambda result, error: done.append(error))
    gw.close()
    gw._post(lambda link: link.spans(), lambda result, error: done.append(error))
    assert [type(error) for error in done] == [GatewayClosed, GatewayClosed]


def test_what_is_posted_while_the_gateway_closes_runs_no_longer_than_that(
    sim: SimulatedGateway,
) -> None:
    gw = connect(sim)
    with SimulatedGateway() as neighbour, connect(neighbour, name="n"):  # keeps the loop alive
        done: list[BaseException | None] = []
        gw._link._closed = True  # as a call finds it that is on its way while another thread closes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gateway, "closed", False)
            gw._post(lambda link: asyncio.sleep(60), lambda result, error: done.append(error))
            eventually(lambda: done)
        assert [type(error) for error in done] == [GatewayClosed]
        gw._link._closed = False
        gw.close()


def test_listening_can_be_undone_after_the_loop_ended(sim: SimulatedGateway) -> None:
    gw = connect(sim)
    undo = gw._listen(lambda message: None)
    gw.close()
    gw._link._closed = False  # an interrupt came before it was noted
    undo()


def test_listening_hears_everything_until_undone(sim: SimulatedGateway, gw: Gateway) -> None:
    heard: list[str] = []
    undo = gw._listen(lambda message: heard.append(message.text))
    sim.receive_sms(port=1, sender="900", text="a")
    eventually(lambda: heard)
    undo()
    undo()
    sim.receive_sms(port=1, sender="900", text="b")
    eventually(lambda: len(gw.inbox()) == 2)
    assert heard == ["a"]


def test_a_blocking_verb_on_the_loop_thread_is_refused(gw: Gateway) -> None:
    done: list[BaseException | None] = []

    async def wrong(link: Any) -> Any:
        return gw.spans()

    async def close(link: Any) -> Any:
        gw.close()

    gw._post(wrong, lambda result, error: done.append(error))
    gw._post(close, lambda result, error: done.append(error))
    eventually(lambda: len(done) == 2)
    assert [type(error) for error in done] == [WrongThread, WrongThread]
    assert not gw.closed
    assert len(gw.spans()) == 4


# -- reprs -----------------------------------------------------------------------------------------
def test_reprs_are_short_without_secrets_or_questions(sim: SimulatedGateway) -> None:
    with connect(sim, name="<script>alert(1)</script>") as gw:
        asked = len(sim.commands)
        assert "\n" not in repr(gw)
        assert "connected" in repr(gw)
        assert str(gw.store.path) in repr(gw)
        html = gw._repr_html_()
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert "1-4" in html
        for shown in (repr(gw), html):
            assert sim.password not in shown
            assert sim.username not in shown
        assert len(sim.commands) == asked


# -- the end ---------------------------------------------------------------------------------------
def test_closing_twice_and_from_two_threads(sim: SimulatedGateway) -> None:
    gw = connect(sim)
    threads = [threading.Thread(target=gw.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    gw.close()
    assert gw.closed
    assert sim.wait_until(lambda: sim.sessions == 0)
    for verb in (gw.spans, gw.sample, gw.reconnect, lambda: gw.send_sms("900", "x", port=1)):
        with pytest.raises(GatewayClosed):
            verb()


def test_closing_ends_the_calls_of_other_threads(sim: SimulatedGateway) -> None:
    sim.set_send_outcome(outcome="never")
    gw = connect(sim)
    with SimulatedGateway() as neighbour, connect(neighbour, name="n"):  # keeps the loop alive
        ended: dict[str, Any] = {}

        def call(name: str, verb: Callable[[], Any]) -> threading.Thread:
            def run() -> None:
                try:
                    ended[name] = verb().status
                except ng.NeogateError as error:
                    ended[name] = type(error)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        threads = [
            call("wait", gw.wait_for_sms),
            call("send", lambda: gw.send_sms("900", "x", port=1)),
        ]
        eventually(lambda: sim.sent and gw._link._inbound._waiting)
        gw.close()
        for thread in threads:
            thread.join(5)
        assert ended == {"wait": GatewayClosed, "send": "written"}


def test_a_dropped_gateway_lets_go_without_waiting() -> None:
    gw = ng.demo(ports=2)
    sim = gw.simulator
    assert sim is not None
    gone = weakref.ref(gw)
    thread = gw._loop._thread
    folder = gw.store.path
    del gw
    gc.collect()
    assert gone() is None
    eventually(lambda: sim.sessions == 0 and "stopped" in repr(sim))
    eventually(lambda: not thread.is_alive())
    gc.collect()  # the store that nobody holds any more
    eventually(lambda: not folder.exists())
    eventually(
        lambda: not any(thread.name.startswith("neogate-") for thread in threading.enumerate())
    )


def test_closing_leaves_no_thread(sim: SimulatedGateway) -> None:
    def threads() -> set[str]:
        return {t.name for t in threading.enumerate() if t.name.startswith("neogate-")}

    before = threads()
    gw = connect(sim)
    assert {"neogate-loop", "neogate-dispatcher"} <= threads()
    gw.close()
    assert threads() == before


def test_a_store_of_the_users_outlives_the_gateway(sim: SimulatedGateway, tmp_path: Path) -> None:
    with ng.Store(tmp_path / "s") as store:
        with connect(sim, store=store) as gw:
            assert gw.store is store
            gw.sample()
        assert len(store.signal(gateway="lab")) == 4


def test_a_store_closed_first_does_not_keep_the_gateway_open(
    sim: SimulatedGateway, tmp_path: Path
) -> None:
    store = ng.Store(tmp_path / "s")
    gw = connect(sim, store=store)
    store.close()
    gw.close()
    assert sim.wait_until(lambda: sim.sessions == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_and_disturbs_nobody(sim: SimulatedGateway, gw: Gateway) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for verb in (gw.spans, gw.wait_for_sms, lambda: gw.ussd("*100#", port=1)):
                with pytest.raises(GatewayClosed, match="forked"):
                    verb()
            gw.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gw.status == "connected"
    assert len(gw.spans()) == 4
    assert sim.sessions == 1


def script(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, and let it end by itself."""
    code = UNHURRIED + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_program_that_just_ends_says_goodbye_and_nothing_else(host: str, tmp_path: Path) -> None:
    with SimulatedGateway(host=host, ussd_delay=0.01, restless=False) as sim:
        done = script(
            """
            import sys
            import neogate_lab as ng
            gw = ng.connect(sys.argv[1], port=int(sys.argv[2]), username=sys.argv[3],
                            password=sys.argv[4], store=sys.argv[5])
            gw.on_sms(print, name="print")
            survey = gw.survey(every=60, progress=False)
            gw.ussd("*114#", port=1)
            print(len(gw.spans()))
            """,
            host,
            str(sim.port),
            sim.username,
            sim.password,
            str(tmp_path / "s"),
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
        assert sim.wait_until(lambda: sim.sessions == 0)
    with ng.open_store(tmp_path / "s") as store:  # the farewell came before the store's own end
        assert store.surveys().reason.tolist() == ["closed"]
        assert store.connections().event.tolist() == ["connected", "closed"]


def test_a_demo_that_is_never_closed_ends_quietly() -> None:
    done = script(
        """
        import neogate_lab as ng
        gw = ng.demo()
        gw.sample()
        print("ok")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_an_exit_in_the_middle_of_a_call_does_not_hang(sim: SimulatedGateway) -> None:
    sim.set_ussd(1, "*100#", UssdAnswer(trouble="never"))
    done = script(
        """
        import sys, threading, time
        import neogate_lab as ng
        gw = ng.connect(sys.argv[1], port=int(sys.argv[2]), username=sys.argv[3],
                        password=sys.argv[4], store=":memory:")
        def call():
            try:
                gw.ussd("*100#", port=1)
            except ng.NeogateError:
                pass
        threading.Thread(target=call, daemon=True).start()
        while not gw._link._pool._lent:
            time.sleep(0.01)
        print("ok")
        """,
        sim.host,
        str(sim.port),
        sim.username,
        sim.password,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_all_users_share_the_loop(sim: SimulatedGateway, gw: Gateway) -> None:
    loop = loop_thread.acquire()
    try:
        assert loop is gw._loop
    finally:
        loop.release()
    assert len(gw.spans()) == 4


# -- what a first hour taught ----------------------------------------------------------------------
def shown(record: Any) -> str:
    """What a notebook shows for a record as a cell's answer."""

    class Printer:
        text_ = ""

        def text(self, more: str) -> None:
            self.text_ += more

    printer = Printer()
    record._repr_pretty_(printer, False)
    return printer.text_


def test_a_cells_answer_shows_the_text_and_a_log_does_not(
    gw: Gateway, sim: SimulatedGateway
) -> None:
    sim.set_ussd(1, "*100#", "Balance: 7.50\x1b[2J")
    reply = gw.ussd("*100#", port=1)
    assert shown(reply) == "USSD *100# on port 1: done\nBalance: 7.50\ufffd[2J"
    assert "7.50" not in repr(reply)
    since = datetime.now(UTC)
    sim.receive_sms(port=2, sender="MegaFon", text="Code 4711")
    sms = gw.wait_for_sms(since=since)
    assert shown(sms).startswith("SMS from MegaFon on port 2, ")
    assert shown(sms).endswith(" UTC\nCode 4711")
    assert "4711" not in repr(sms)
    result = gw.send_sms("+390000000001", "hi", port=1)
    assert shown(result) == f"SMS to +390000000001 on port 1: sent, 1 segment, id {result.id}"


def test_one_port_that_refuses_takes_no_answer_from_the_others(
    gw: Gateway, sim: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    detail = gw._link._ports.detail

    async def refuse_port_2(session: Any, span: int) -> Any:
        if span == 3:
            raise ng.CommandRefused("No GSM running on span 3")
        return await detail(session, span)

    monkeypatch.setattr(gw._link._ports, "detail", refuse_port_2)
    frame = gw.diagnostics()
    assert list(frame.port) == [1, 2, 3, 4]
    assert frame.model.tolist()[1] == ""
    assert frame.status.tolist()[1] == "Up"
    assert pd.isna(frame.signal[1])
    with pytest.raises(ng.CommandRefused):
        gw.diagnostics(2)


def test_a_query_never_shows_a_pin(gw: Gateway, sim: SimulatedGateway) -> None:
    sim.set_status(1, pin_error=True)
    lines = gw.command("gsm show spans")
    assert "Pin (****) Error" in lines[0]


def test_a_second_survey_is_noticed_and_both_can_be_reached(gw: Gateway) -> None:
    first = gw.survey(every=0.1, progress=False)
    with pytest.warns(NeogateWarning, match="2 surveys of lab run now"):
        second = gw.survey(every=0.1, label="beside", progress=False)
    assert gw.surveys == [first, second]
    assert first.name in gw._repr_html_()
    for survey in gw.surveys:
        survey.stop()
    assert gw.surveys == []


def test_surveys_of_one_second_have_names_of_their_own(gw: Gateway) -> None:
    names = set()
    for _ in range(3):
        survey = gw.survey(every=0.1, duration=0.1, progress=False)
        survey.wait()
        names.add(survey.name)
        assert len(survey.frame()) == 4
    assert len(names) == 3


def test_a_gateway_that_was_never_reached_leaves_no_store(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable):
        ng.connect("127.0.0.1", port=port, username="a", password="b", store=tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_after_closing_the_way_to_the_data_is_told(sim: SimulatedGateway, tmp_path: Path) -> None:
    with connect(sim, store=tmp_path / "lab") as gw:
        gw.sample()
    with pytest.raises(GatewayClosed, match=r"open_store\('.*lab'\)"):
        gw.signal()
    with connect(sim) as gw:
        pass
    with pytest.raises(GatewayClosed, match="temporary"):
        gw.signal()


def test_tables_go_by_the_names_of_their_verbs_too(
    gw: Gateway, sim: SimulatedGateway, tmp_path: Path
) -> None:
    since = datetime.now(UTC)
    sim.receive_sms(port=1, sender="900", text="x")
    gw.wait_for_sms(since=since)
    gw.export(tmp_path / "a.csv", "inbox")
    assert len(ng.read_csv(tmp_path / "a.csv")) == 1


def test_a_store_that_is_none_is_refused(sim: SimulatedGateway) -> None:
    with pytest.raises(InvalidRequest, match="store must be a path"):
        connect(sim, store=5)


def test_a_message_of_an_unknown_port_is_kept_and_its_port_is_missing(
    gw: Gateway, sim: SimulatedGateway
) -> None:
    since = datetime.now(UTC)
    sim.send_event("ReceivedSMS", {"Sender": "900", "Index": "1", "Total": "1", "Content": "x"})
    sms = gw.wait_for_sms(since=since)
    assert (sms.port, sms.span, sms.text) == (None, None, "x")
    frame = gw.inbox()
    assert frame.port.isna().all()
    assert str(frame.port.dtype) == "Int16"


def test_a_slow_handler_holds_up_no_panel(sim: SimulatedGateway, gw: Gateway) -> None:
    hold, shown = threading.Event(), threading.Event()
    gw.on_sms(lambda sms: hold.wait(30), name="slow")
    gw._listen(lambda sms: shown.set())
    sim.receive_sms(port=1, sender="900", text="a")
    assert shown.wait(10)
    hold.set()


def test_a_closed_gateway_takes_no_handler_and_writes_no_file(
    sim: SimulatedGateway, tmp_path: Path
) -> None:
    gw = connect(sim)
    gw.close()
    with pytest.raises(ng.GatewayClosed, match="was closed; connect again"):
        gw.on_sms(print)
    for write in (gw.export, gw.report):
        with pytest.raises(ng.GatewayClosed, match="was a temporary one, and is gone"):
            write(tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_one_store_is_one_whatever_it_is_called(
    sim: SimulatedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with connect(sim, store=tmp_path / "lab") as gw:
        assert connect(sim, store="lab") is gw
        assert connect(sim, store="./lab") is gw


def test_what_is_no_path_or_name_is_told(sim: SimulatedGateway, gw: Gateway) -> None:
    with pytest.raises(ng.InvalidRequest, match="record must be a path, not 5"):
        connect(sim, record=5)
    with pytest.raises(ng.InvalidRequest, match="name is text, not 5"):
        gw.on_sms(print, name=5)  # type: ignore[arg-type]
    with pytest.raises(ng.InvalidRequest, match=r"takes a store.* not int"):
        ng.write_report(5, "x.html")  # type: ignore[arg-type]


@pytest.mark.parametrize("closed", [False, True])
def test_a_store_that_another_begins_to_use_stays_when_a_connection_fails(
    tmp_path: Path, closed: bool
) -> None:
    folder, others = tmp_path / "lab", list[ng.Store]()

    def begin() -> None:  # as another process would, while this one waits for the banner
        eventually((folder / "journal.sqlite").exists)
        others.append(ng.Store(folder))
        others[0].append("marks", [{"time": datetime.now(UTC), "label": "roof"}]).result()
        if closed:
            others[0].close()

    other = threading.Thread(target=begin)
    other.start()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ng.NeogateError):
        ng.connect(
            "127.0.0.1",
            port=silent.getsockname()[1],
            username="a",
            password="b",
            store=folder,
            connect_timeout=2.0,
        )
    other.join()
    others[0].close()
    with ng.open_store(folder) as store:
        assert store.frame("marks").label.tolist() == ["roof"]


def test_a_gateway_that_can_not_be_made_leaves_no_link(
    sim: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as none:
        none.setattr(dispatcher, "acquire", full)
        with pytest.raises(RuntimeError):
            connect(sim)
    assert sim.wait_until(lambda: sim.sessions == 0)
    with connect(sim) as gw:
        assert len(gw.spans()) == 4

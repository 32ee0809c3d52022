"""Gateway: the synchronous facade, thin over AsyncGateway and Store; connecting.py opens it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import inspect
import json
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from neogate_lab import dispatcher, sending, times
from neogate_lab.choice import PortChoice, again
from neogate_lab.dispatcher import Dispatcher
from neogate_lab.errors import GatewayClosed, InvalidRequest, NeogateError
from neogate_lab.history.frames import frame_of, frame_of_records
from neogate_lab.history.schema import VIEWS
from neogate_lab.history.store import Store
from neogate_lab.link import balances
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.handlers import Handlers, SmsHandler
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.loop_thread import LoopThread
from neogate_lab.link.outbox import Progress, SmsResult
from neogate_lab.link.ports import needs_port
from neogate_lab.link.ussd import AsyncUssdSession, UssdProgress, UssdTurn
from neogate_lab.protocol.records import SpanDetail, SpanStatus, UssdReply
from neogate_lab.recorded import Recorded
from neogate_lab.survey import Survey
from neogate_lab.warn import warn

if TYPE_CHECKING:
    import pandas as pd

    from neogate_lab.simulator import SimulatedGateway

__all__ = ["Gateway", "UssdSession"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def _documented_as(verb: Callable[..., Any]) -> Callable[[F], F]:
    """Give a facade's verb the docstring of the one implementation."""

    def decorate(method: F) -> F:
        method.__doc__ = verb.__doc__
        return method

    return decorate


class Gateway(Recorded):
    """A connected gateway, for notebooks and scripts; made by `connect` or `demo`.

    Its verbs block until the answer is there, and may be called from any thread. The stop button
    ends a wait within a second; the connection stays usable. A context manager: leaving it closes.

    Attributes
    ----------
    name : str
        The gateway's name in tables.
    names : list of str
        That one name, where a `Fleet` has several.
    store : Store
        Everything that was recorded.
    simulator : SimulatedGateway or None
        The other end, for `demo`.
    surveys : list of Survey
        Those that run.
    """

    def __init__(
        self, link: AsyncGateway, loop: LoopThread, store: Store, owned: Store | None
    ) -> None:
        self.name = link.name
        self.names = [link.name]
        self.store = store
        self.simulator: SimulatedGateway | None = None
        self._link = link
        self._loop = loop
        self._owned_store = owned
        self._dispatcher = dispatcher.acquire()
        self._handlers = Handlers()
        self._surveys: list[Survey] = []
        self._finalizer: weakref.finalize[..., Gateway] | None = None
        tell = _Delivery(self._handlers, self._dispatcher)
        loop.post(lambda: link.listen(tell))
        loop.at_exit(link, link.close)
        self._embed(None)

    def _embed(self, simulator: SimulatedGateway | None) -> None:
        """Take a simulator along: like the session, it ends with this object, closed or dropped."""
        self.simulator = simulator
        if self._finalizer is not None:
            self._finalizer.detach()
        # Holds the session, never the facade, and does not wait: it may run anywhere.
        self._finalizer = weakref.finalize(
            self, _let_go, self._link, self._loop, self._dispatcher, simulator
        )
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        where = "" if self.name == self._link.endpoint else f" at {self._link.endpoint}"
        return f"<Gateway {self.name}{where}: {self.status}; store {self.store.path}>"

    def _repr_html_(self) -> str:
        """State from memory: showing an object does no I/O."""
        rows = {
            "gateway": self.name,
            "address": self._link.endpoint,
            "state": self.status,
            "ports": self._link.known_ports or "not known yet",
            "surveys": ", ".join(survey.name for survey in self.surveys) or "none running",
            "store": str(self.store.path),
        }
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in rows.items()
        )
        return f"<table class='neogate-gateway'><tbody>{cells}</tbody></table>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a Gateway is a live connection, and can't be copied or pickled: hand on what it "
            f"measured (a frame, or neogate_lab.open_store({str(self.store.path)!r})), or call "
            "neogate_lab.connect() where it is needed"
        )

    # -- life ------------------------------------------------------------------------------------
    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._link.closed

    @property
    def status(self) -> str:
        """The link in one line: connected, closed, or why it is down and what comes next."""
        return self._link.status

    @property
    def ports(self) -> list[int]:
        """The ports that the gateway listed last; empty while nobody knows."""
        return self._link.ports

    @property
    def trouble(self) -> NeogateError | None:
        """Why the link is down, or why what arrives is not recorded; None while all is well."""
        return self._link.trouble

    @property
    def handler_errors(self) -> list[tuple[str, BaseException]]:
        """The latest failures of `on_sms` handlers: name and exception."""
        return list(self._handlers.errors)

    @_documented_as(AsyncGateway.close)
    def close(self) -> None:
        if not self._loop.alive:  # a forked child: what is open belongs to the parent
            return
        self._loop.check_caller()
        if self._finalizer is None or not self._finalizer.detach():  # one caller alone gets it
            return
        # A stack, read upwards: whatever fails or is interrupted, the rest is let go all the same.
        with contextlib.ExitStack() as steps:
            if self.simulator is not None:
                steps.callback(self.simulator.stop)
            if self._owned_store is not None:
                steps.callback(self._owned_store.close)
            steps.callback(self._dispatcher.release)  # handlers that run now may still read
            steps.callback(self._loop.release)
            steps.callback(self._loop.forget, self._link)
            self._loop.run(self._link.close(), certain=True)

    @_documented_as(AsyncGateway.reconnect)
    def reconnect(self) -> None:
        self._run(self._link.reconnect())

    # -- looking ---------------------------------------------------------------------------------
    @_documented_as(AsyncGateway.spans)
    def spans(self) -> pd.DataFrame:
        return frame_of("spans", map(self._span_row, self._run(self._link.spans())))

    @_documented_as(AsyncGateway.diagnostics)
    def diagnostics(self, port: PortChoice = None) -> pd.DataFrame:
        details = self._run(self._link.diagnostics(port))
        return frame_of("diagnostics", map(self._detail_row, details))

    @_documented_as(AsyncGateway.sample)
    def sample(self, label: str = "", *, port: PortChoice = None) -> pd.DataFrame:
        rows = self._run(self._link.sample(label, port=port))
        return frame_of("signal", ({**row.as_row(), "row_id": row.row_id} for row in rows))

    @_documented_as(AsyncGateway.command)
    def command(self, command: str) -> list[str]:
        return self._run(self._link.command(command))

    def survey(
        self,
        every: times.Period = "10s",
        duration: times.Period | None = None,
        port: PortChoice = None,
        label: str = "",
        name: str | None = None,
        progress: bool = True,
    ) -> Survey:
        """Measure every port's signal on a fixed grid, in the background.

        The same arguments again, as when a cell is run anew, return the survey that runs. A `name`
        that is on record goes on with that survey, also in another process and after a crash: on
        its grid, under the label in force, for what is left of its duration; a warning says so. Its
        name alone takes its settings, too. One that came to its end stays ended. A warning also
        says when another process measures the same ports into this store.

        Parameters
        ----------
        every, duration : float, str or timedelta
            Seconds, or "10s", "5m", "2h", "1w"; no `duration` is an open end. Times in which it was
            paused or did not run are not part of it.
        port : int or iterable of int, optional
            Physical ports, from 1; default all.
        label : str
            What is measured first; change it with `Survey.mark`. When a survey goes on with another
            label than it was given last, that is a mark.
        name : str, optional
            How the survey is called in tables; default after its start.
        progress : bool
            Show a progress bar.

        Raises
        ------
        InvalidRequest
            A value can't be used, a port does not exist, a survey of this name runs already, here
            or in another process on this store, or is on record with other settings.
        """
        running = self.surveys
        asked = Survey.settings_of(every, duration, port, label)
        for known in running:
            if known.of(self) and known.is_asked_for(asked, name):
                known.show_progress(progress)
                return known
        survey = Survey(self, asked, name=name, progress=progress)
        self._surveys = [*running, survey]  # before a warning, which may be made an error
        if survey.notice:
            warn(survey.notice)
        if running and survey.running:
            warn(
                f"{len(self._surveys)} surveys of {self.name} run now, the new one beside "
                f"{', '.join(repr(other.name) for other in running)}; end one with "
                "gw.surveys[0].stop()"
            )
        return survey

    @property
    def surveys(self) -> list[Survey]:
        """The surveys that run, in the order in which they began."""
        return [survey for survey in self._surveys if survey.running]

    # -- messages and USSD -----------------------------------------------------------------------
    @_documented_as(AsyncGateway.wait_for_sms)
    def wait_for_sms(
        self,
        sender: str | None = None,
        contains: str | None = None,
        port: PortChoice = None,
        since: times.Moment | None = None,
        timeout: float = 60,
    ) -> ReceivedSms:
        return self._run(self._link.wait_for_sms(sender, contains, port, since, timeout))

    @_documented_as(AsyncGateway.on_sms)
    def on_sms(self, handler: SmsHandler, name: str | None = None, incomplete: bool = False) -> str:
        if self.closed:
            raise GatewayClosed(f"{self.name} was closed; connect again")
        if inspect.iscoroutinefunction(handler):
            raise InvalidRequest(
                "on_sms() takes a plain function here; a coroutine function is for an AsyncGateway"
            )
        return self._handlers.add(handler, name, incomplete)

    @_documented_as(AsyncGateway.off_sms)
    def off_sms(self, name: str) -> None:
        self._handlers.remove(name)

    @needs_port
    @_documented_as(AsyncGateway.send_sms)
    def send_sms(
        self,
        to: str,
        text: str,
        *,
        port: int,
        wait: bool = True,
        timeout: float | None = None,
        key: str | None = None,
        progress: Progress | None = None,
    ) -> SmsResult:
        submit = self._dispatcher.submit
        tell = None if progress is None else lambda result: submit(progress, result)
        return self._run(
            self._link.send_sms(
                to, text, port=port, wait=wait, timeout=timeout, key=key, progress=tell
            )
        )

    def send_many(
        self,
        frame: pd.DataFrame | Iterable[Mapping[str, Any]],
        *,
        progress: bool = True,
        dry_run: bool = False,
        retry_failed: bool = False,
        batch: str = "",
    ) -> pd.DataFrame:
        """Send the SMS of a frame, each at most once.

        Every row is checked before the first is sent, and all are queued on disk together. The stop
        button withdraws what is still queued; the same call again, also after a crash or in another
        process, sends what is missing and nothing twice.

        Parameters
        ----------
        frame : DataFrame, or list of dict
            Columns ``to`` and ``text``, as text; ``port``, a number or "auto" (spread over the
            ports that are up; one that waits moves on when its port goes down, and no more once it
            was written; while none is up it waits); and, optionally, ``key``. A row without a key
            gets one made of `batch`, its number, its text, and how often the same came before in
            the frame. Other columns and the index stay.
        progress : bool
            Show a progress bar.
        dry_run : bool
            Check everything and send nothing: the frame tells segments, ports and, in ``due_at``,
            when each would go; the last is when the batch would be through.
        retry_failed : bool
            Send again what the gateway reported as failed.
        batch : str
            A name that sets equal batches apart: give another one ("monday") to send the same rows
            again on purpose.

        Returns
        -------
        DataFrame
            The frame with the columns port, key, id, encoding, segments, status, error, queued_at,
            written_at, status_at, due_at, earlier (an earlier call had sent it).

        Raises
        ------
        InvalidRequest
            Some rows can't be sent, and so none was: the message names them all, and why.
        BudgetExceeded
            Together they go over `sms_budget`.
        ConnectionLost, NoAnswer, CommandRefused, ProtocolError
            "auto" has to ask which ports are up; as `spans`.
        StoreError
            It could not be recorded, so it was not sent.
        """
        frame = sending.as_frame(frame)
        messages = sending.messages_of(frame)
        results = sending.send(
            self,
            messages,
            progress=progress,
            dry_run=dry_run,
            retry_failed=retry_failed,
            batch=batch,
        )
        return sending.results_of(frame, results)

    @_documented_as(AsyncGateway.resume_outbox)
    def resume_outbox(self, *, wait: bool = True) -> pd.DataFrame:
        return frame_of_records("batch", self._run(self._link.resume_outbox(wait=wait)))

    @_documented_as(AsyncGateway.waiting)
    def waiting(self) -> pd.DataFrame:
        return frame_of_records("waiting", self._run(self._link.waiting()))

    @needs_port
    @_documented_as(AsyncGateway.ussd)
    def ussd(self, code: str, *, port: int, timeout: float = 30) -> UssdReply:
        return self._run(self._link.ussd(code, port=port, timeout=timeout))

    @_documented_as(AsyncGateway.ussd_all)
    def ussd_all(self, code: str, port: PortChoice = None, *, timeout: float = 30) -> pd.DataFrame:
        replies = self._run(self._link.ussd_all(code, port, timeout=timeout))
        return frame_of_records("replies", replies)

    def balances(
        self,
        code: str | Mapping[str, str] | None = None,
        port: PortChoice = None,
        *,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        timeout: float = 30,
    ) -> pd.DataFrame:
        """Ask the ports for their balances, or look at those that were asked for before.

        Each answer is kept among the USSD exchanges, so that the balances are a series.

        Parameters
        ----------
        code : str or dict, optional
            The code that asks, or one an operator: ``{"MegaFon": "*100#"}``, where the operator is
            what `diagnostics` shows as operator or network; ports of others are left out. Without
            a code nobody is asked, and what is on record is returned.
        port : int or iterable of int, optional
            Physical ports, from 1; default all that are up.
        since, until : date, datetime, timedelta or str, optional
            Of what is on record, as for `signal`.
        timeout : float
            Seconds that the network may take, each.

        Returns
        -------
        DataFrame
            One row an answer: time, port, code, amount, currency, outcome, text; the amount is
            missing where the answer told none (see `parse_balance`).

        Raises
        ------
        InvalidRequest
            The code or a port can't be used, a USSD is under way there, or the dict names no
            operator that is there.
        ConnectionLost, NoAnswer, CommandRefused, ProtocolError
            As `ussd_all`, or `diagnostics`, which tells the operators.
        """
        from neogate_lab.analysis.balances import balances_of

        if code is None:
            asked = self._read("ussd", since=since, until=until, port=again(port))
            return balances_of(asked, known=None)
        balances.check(code, since=since, until=until)
        began = datetime.now(UTC)
        codes = self._run(balances.ask(self._link, code, port, timeout))
        return balances_of(self._read("ussd", since=began, code=codes), known=codes)

    @_documented_as(AsyncGateway.loopback)
    def loopback(
        self,
        from_port: int,
        to_port: int,
        n: int = 10,
        *,
        number: str | None = None,
        segments: int = 1,
        timeout: float = 120,
    ) -> pd.DataFrame:
        trips = self._run(
            self._link.loopback(
                from_port, to_port, n, number=number, segments=segments, timeout=timeout
            )
        )
        return frame_of_records("loopback", trips)

    @_documented_as(AsyncGateway.ussd_session)
    def ussd_session(self, port: int = 1) -> UssdSession:
        return UssdSession(self, self._link.ussd_session(port))

    # -- for panels ------------------------------------------------------------------------------
    def _post(
        self,
        make: Callable[[AsyncGateway], Coroutine[Any, Any, T]],
        then: Callable[[T | None, BaseException | None], object],
    ) -> None:
        """Run a coroutine without waiting; `then(result, error)` is called on the panels' thread.

        Parameters
        ----------
        make : callable
            Gets the AsyncGateway, on the loop thread, and returns the coroutine.
        then : callable
            Called once, whatever happens; error is None, or what was raised.
        """
        link, show = self._link, self._dispatcher.show

        async def work() -> T:
            return await make(link)

        def finished(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                show(then, None, GatewayClosed(f"{link.name} was closed; connect again"))
            elif error := task.exception():
                show(then, None, error)
            else:
                show(then, task.result(), None)

        try:
            if self.closed:
                raise GatewayClosed(f"{self.name} was closed; connect again")
            self._loop.post(lambda: link.keep(work()).add_done_callback(finished))
        except GatewayClosed as error:
            then(None, error)  # here, since the dispatcher may have ended

    def _check_sms(self, to: str, text: str, port: int) -> None:
        """Raise `InvalidRequest` for an SMS that would be refused; waits for nothing."""
        self._link.check_sms(to, text, port)

    def _call_later(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the panels' thread, without waiting; from any thread."""
        self._dispatcher.show(callback)

    def _listen(self, callback: Callable[[ReceivedSms], object]) -> Callable[[], None]:
        """Call `callback` on the panels' thread with every message once it is on disk, incomplete
        ones too; returns its undoing.
        """
        link, loop, show = self._link, self._loop, self._dispatcher.show
        undo: list[Callable[[], None]] = []
        loop.post(lambda: undo.append(link.listen(lambda sms: show(callback, sms))))

        def stop() -> None:
            with contextlib.suppress(GatewayClosed):  # then nobody is told any more
                loop.post(lambda: undo.pop()() if undo else None)

        return stop

    # -- plumbing --------------------------------------------------------------------------------
    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self.closed:
            coroutine.close()
            raise GatewayClosed(f"{self.name} was closed; connect again")
        return self._loop.run(coroutine)

    def _span_row(self, status: SpanStatus) -> dict[str, Any]:
        row = {"port": self._link.port_of(status.span), **asdict(status)}
        return {name: row[name] for name in VIEWS["spans"].names}

    def _detail_row(self, detail: SpanDetail) -> dict[str, Any]:
        row = {"port": self._link.port_of(detail.span), **asdict(detail), **asdict(detail.status)}
        row["extra"] = json.dumps(detail.extra, ensure_ascii=False, sort_keys=True)
        return {name: row[name] for name in VIEWS["diagnostics"].names}


class UssdSession:
    """A conversation with a USSD menu, for notebooks; made by `Gateway.ussd_session`."""

    def __init__(self, gateway: Gateway, session: AsyncUssdSession) -> None:
        self._gateway = gateway
        self._session = session

    def __enter__(self) -> UssdSession:
        self._gateway._run(self._session.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        if not self._gateway.closed:
            self._gateway._run(self._session.__aexit__())

    @_documented_as(AsyncUssdSession.send)
    def send(
        self, text: str, *, timeout: float = 30, progress: UssdProgress | None = None
    ) -> UssdReply:
        submit = self._gateway._dispatcher.submit
        tell = None if progress is None else lambda stage: submit(progress, stage)
        return self._gateway._run(self._session.send(text, timeout=timeout, progress=tell))

    @_documented_as(AsyncUssdSession.transcript)
    def transcript(self) -> list[UssdTurn]:
        return self._session.transcript()


class _Delivery:
    """Passes each message to the dispatcher; holds no facade, so that one can be dropped."""

    def __init__(self, handlers: Handlers, dispatcher: Dispatcher) -> None:
        self._handlers = handlers
        self._dispatcher = dispatcher

    def __call__(self, sms: ReceivedSms) -> None:
        for name, handler in self._handlers.wanting(sms):
            self._dispatcher.submit(self._call, name, handler, sms)

    def _call(self, name: str, handler: SmsHandler, sms: ReceivedSms) -> None:
        try:
            handler(sms)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code, warned of
            self._handlers.failed(name, error)


def _let_go(
    link: AsyncGateway,
    loop: LoopThread,
    dispatcher: Dispatcher,
    simulator: SimulatedGateway | None,
) -> None:
    """Close a dropped gateway without waiting: this may run anywhere."""

    async def close() -> None:
        try:
            await link.close()
        finally:
            if simulator is not None:
                await asyncio.to_thread(simulator.stop)
            loop.forget(link)
            dispatcher.release(wait=False)
            loop.release()

    def start() -> None:
        task = asyncio.get_running_loop().create_task(close())
        _farewells.add(task)
        task.add_done_callback(_farewells.discard)

    if loop.alive:
        loop.post(start)


_farewells: set[asyncio.Task[None]] = set()

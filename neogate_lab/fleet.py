"""Fleet: several gateways with the verbs and frames of one; connecting.py opens them."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from neogate_lab import sending, times
from neogate_lab.choice import PortChoice, again
from neogate_lab.errors import GatewayClosed, InvalidRequest
from neogate_lab.gateway import Gateway
from neogate_lab.history.frames import frame_of
from neogate_lab.history.schema import FLEET_VIEWS, VIEWS
from neogate_lab.history.store import Store
from neogate_lab.link import balances
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.fleet import AsyncFleet, listed
from neogate_lab.link.handlers import SmsHandler
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.recorded import Recorded
from neogate_lab.survey import Survey
from neogate_lab.warn import warn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fleet"]

T = TypeVar("T")

SHOWN = 20
"""Connected gateways that the HTML table lists; those that are not connected it lists all."""


class Fleet(Recorded):
    """Several gateways, for notebooks and scripts; made by `connect_all`.

    Has the verbs of `Gateway` for all of them at once, and the same frames with the column
    ``gateway``. One that fails takes no answer from the others: a warning names it, and only when
    all fail an error is raised. The stop button ends the wait for all.

    ``fleet["lab"]`` is one gateway as `connect` would give it, for the verbs that concern one port;
    iterating gives all. A context manager: leaving it closes.

    Attributes
    ----------
    name : str
        For messages: how many gateways there are.
    names : list of str
        The gateways' names in tables.
    store : Store
        Everything that was recorded.
    """

    def __init__(
        self, link: AsyncFleet, gateways: list[Gateway], store: Store, owned: Store | None
    ) -> None:
        self.name = f"the fleet of {len(gateways)}"
        self.names = [each.name for each in gateways]
        self.store = store
        self._link = link
        self._gateways = dict(zip(self.names, gateways, strict=True))
        self._loop = gateways[0]._loop
        self._dispatcher = gateways[0]._dispatcher
        self._owned_store = owned
        self._surveys: list[Survey] = []

    # -- which there are -------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self._gateways)

    def __iter__(self) -> Iterator[Gateway]:
        return iter(self._gateways.values())

    def __contains__(self, name: object) -> bool:
        return name in self._gateways

    def __getitem__(self, name: str) -> Gateway:
        if name not in self._gateways:
            raise InvalidRequest(
                f"no gateway of this fleet is called {name!r}; there are {', '.join(self.names)}"
            )
        return self._gateways[name]

    @property
    def failed(self) -> dict[str, str]:
        """The gateways that are not connected now, and why, with what comes next."""
        return {each.name: each.status for each in self if each.status != "connected"}

    def __repr__(self) -> str:
        if self.closed:
            return f"<Fleet of {len(self)}: closed; store {self.store.path}>"
        failed = self.failed
        shown = ", ".join(list(failed)[:5]) + (", …" if len(failed) > 5 else "")
        state = f"{len(self) - len(failed)} connected" + (
            f", {len(failed)} not ({shown})" if failed else ""
        )
        return f"<Fleet of {len(self)}: {state}; store {self.store.path}>"

    def _repr_html_(self) -> str:
        """State from memory: showing an object does no I/O."""
        failed = self.failed
        there = [each for each in self if each.name not in failed]
        shown = [*(self._gateways[name] for name in failed), *there[:SHOWN]]
        rows = [
            (each.name, each._link.endpoint, each._link.known_ports or "not known yet", each.status)
            for each in shown
        ]
        if len(there) > SHOWN:
            rows.append((f"and {len(there) - SHOWN} more", "", "", "connected"))
        running = ", ".join(survey.name for survey in self.surveys) or "none running"
        style = "style='text-align:left'"
        heading = "".join(f"<th {style}>{n}</th>" for n in ("gateway", "address", "ports", "state"))
        cells = "".join(
            "<tr>" + "".join(f"<td {style}>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        caption = f"{len(self)} gateways, {len(failed)} of them not connected"
        below = f"surveys: {html.escape(running)}; store: {html.escape(str(self.store.path))}"
        return (
            f"<table class='neogate-fleet'><caption {style}>{caption}</caption>"
            f"<thead><tr>{heading}</tr></thead><tbody>{cells}</tbody>"
            f"<tfoot><tr><td colspan='4' {style}>{below}</td></tr></tfoot></table>"
        )

    # -- life ------------------------------------------------------------------------------------
    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or each of its gateways."""
        return all(each.closed for each in self)

    def close(self) -> None:
        """Close all gateways, at the same time, and the store; safe to call again."""
        if not self._loop.alive:
            return
        self._loop.check_caller()
        with contextlib.ExitStack() as steps:
            if self._owned_store is not None:
                steps.callback(self._owned_store.close)
            for each in self:
                steps.callback(each.close)
            with contextlib.suppress(GatewayClosed):  # closed elsewhere just then, with the loop
                self._loop.run(self._link.close())

    def reconnect(self) -> None:
        """Try to restore every lost link now, without waiting for the next attempt's time."""
        self._ask("reconnect", AsyncGateway.reconnect)

    # -- looking ---------------------------------------------------------------------------------
    def spans(self) -> pd.DataFrame:
        """Status of every port of every gateway now, as `Gateway.spans`."""
        answers = self._ask("spans", lambda link: link.spans())
        return frame_of(
            FLEET_VIEWS["spans"],
            (
                {"gateway": each.name, **each._span_row(status)}
                for each, statuses in answers
                for status in statuses
            ),
        )

    def diagnostics(self, port: PortChoice = None) -> pd.DataFrame:
        """Detail of some ports or of all, of every gateway, as `Gateway.diagnostics`."""
        port = again(port)
        answers = self._ask("diagnostics", lambda link: link.diagnostics(port))
        return frame_of(
            FLEET_VIEWS["diagnostics"],
            (
                {"gateway": each.name, **each._detail_row(detail)}
                for each, details in answers
                for detail in details
            ),
        )

    def sample(self, label: str = "", *, port: PortChoice = None) -> pd.DataFrame:
        """Measure the signal of some ports or of all, of every gateway, as `Gateway.sample`.

        A gateway that is not connected has its rows, too, with ``ok=False``; while nobody knows
        what ports it has, one row without a port.
        """
        port = again(port)
        answers = self._ask("sample", lambda link: link.sample(label, port=port))
        return frame_of(
            "signal",
            ({**row.as_row(), "row_id": row.row_id} for _, rows in answers for row in rows),
        )

    def command(self, command: str) -> dict[str, list[str]]:
        """Run a query at every gateway, as `Gateway.command`; the lines of each answer, by name."""
        answers = self._ask("command", lambda link: link.command(command))
        return {each.name: lines for each, lines in answers}

    def survey(
        self,
        every: times.Period = "10s",
        duration: times.Period | None = None,
        port: PortChoice = None,
        label: str = "",
        name: str | None = None,
        progress: bool = True,
    ) -> Survey:
        """Measure every port of every gateway on a fixed grid, in the background.

        A gateway that is lost, or not there yet, has rows with ``ok=False`` and is measured when
        it comes (back). Up to 25 gateways have the very same ticks; those of more follow each other
        by 10 ms at most, lest a large fleet is measured late.

        Parameters
        ----------
        every, duration, port, label, name, progress
            As for `Gateway.survey`; the one name stands in the rows of all gateways.

        Returns
        -------
        Survey
            One handle over all gateways: `Survey.mark`, `Survey.wait`, `Survey.frame` and the
            others concern them all.

        Raises
        ------
        InvalidRequest
            A value can't be used, or no gateway has the port.
        """
        running = self.surveys
        asked = Survey.settings_of(every, duration, port, label)
        for known in running:
            if known.is_asked_for(asked, name):
                known.show_progress(progress)
                return known
        survey = Survey(self, asked, name=name, progress=progress)
        self._surveys = [*running, survey]  # before a warning, which may be made an error
        for each in self:
            each._surveys = [*each.surveys, survey]
        if survey.notice:
            warn(survey.notice)
        if running and survey.running:
            warn(
                f"{len(self._surveys)} surveys of {self.name} run now, the new one beside "
                f"{', '.join(repr(other.name) for other in running)}; end one with "
                "fleet.surveys[0].stop()"
            )
        return survey

    @property
    def surveys(self) -> list[Survey]:
        """The surveys of the whole fleet that run, in the order in which they began."""
        return [survey for survey in self._surveys if survey.running]

    # -- messages and USSD -----------------------------------------------------------------------
    def wait_for_sms(
        self,
        sender: str | None = None,
        contains: str | None = None,
        port: PortChoice = None,
        since: times.Moment | None = None,
        timeout: float = 60,
    ) -> ReceivedSms:
        """Wait for a received SMS at any of the gateways, as `Gateway.wait_for_sms`."""
        port = again(port)
        return self._run(self._link.wait_for_sms(sender, contains, port, since, timeout))

    def on_sms(self, handler: SmsHandler, name: str | None = None, incomplete: bool = False) -> str:
        """Have `handler` called with every SMS that any gateway receives, as `Gateway.on_sms`."""
        called = {each.on_sms(handler, name, incomplete) for each in self}
        return called.pop()

    def off_sms(self, name: str) -> None:
        """Remove a handler at every gateway that has it.

        Raises
        ------
        InvalidRequest
            None has one of this name.
        """
        refused: list[InvalidRequest] = []
        for each in self:
            try:
                each.off_sms(name)
            except InvalidRequest as error:
                refused.append(error)
        if len(refused) == len(self):
            raise refused[0]

    @property
    def handler_errors(self) -> list[tuple[str, BaseException]]:
        """The latest failures of `on_sms` handlers: name and exception."""
        return [error for each in self for error in each.handler_errors]

    def send_many(
        self,
        frame: pd.DataFrame | Iterable[Mapping[str, Any]],
        *,
        progress: bool = True,
        dry_run: bool = False,
        retry_failed: bool = False,
        batch: str = "",
    ) -> pd.DataFrame:
        """Send the SMS of a frame, each at most once, through the gateway that its row names.

        Parameters
        ----------
        frame : DataFrame, or list of dict
            As for `Gateway.send_many`, and a column ``gateway`` with a name of this fleet in every
            row; a port "auto" is one of that gateway.
        progress, dry_run, retry_failed, batch
            As for `Gateway.send_many`.

        Returns
        -------
        DataFrame
            As `Gateway.send_many`.

        Raises
        ------
        InvalidRequest, BudgetExceeded, StoreError
            As `Gateway.send_many`: nothing was sent, at no gateway.
        ConnectionLost, NoAnswer, CommandRefused, ProtocolError
            Likewise.
        NeogateError
            Likewise, where the gateways' reasons are of several of these kinds.
        """
        frame = sending.as_frame(frame)
        messages = sending.messages_of(frame)
        if messages and "gateway" not in frame.columns:
            raise InvalidRequest(
                "the frame has no column gateway: say in every row which one is to send it"
            )
        for message, name in zip(messages, frame.get("gateway", []), strict=True):
            message["gateway"] = name
        results = sending.send(
            self,
            messages,
            progress=progress,
            dry_run=dry_run,
            retry_failed=retry_failed,
            batch=batch,
        )
        return sending.results_of(frame, results)

    def waiting(self) -> pd.DataFrame:
        """What is queued at every gateway, and when each is due, as `Gateway.waiting`."""
        answers = self._ask("waiting", AsyncGateway.waiting)
        return _frame("waiting", answers)

    def resume_outbox(self, *, wait: bool = True) -> pd.DataFrame:
        """Take up what processes that ended left in the outbox, as `Gateway.resume_outbox`."""
        answers = self._ask("resume_outbox", lambda link: link.resume_outbox(wait=wait))
        return _frame("batch", answers)

    def ussd_all(self, code: str, port: PortChoice = None, *, timeout: float = 30) -> pd.DataFrame:
        """Run a USSD code on several ports of every gateway, as `Gateway.ussd_all`."""
        port = again(port)
        answers = self._ask("ussd_all", lambda link: link.ussd_all(code, port, timeout=timeout))
        return _frame("replies", answers)

    def balances(
        self,
        code: str | Mapping[str, str] | None = None,
        port: PortChoice = None,
        *,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        timeout: float = 30,
    ) -> pd.DataFrame:
        """Ask the ports of every gateway for their balances, or look, as `Gateway.balances`."""
        from neogate_lab.analysis.balances import balances_of

        port = again(port)
        known: set[str] | None = None
        if code is None:
            ussd = self._read("ussd", since=since, until=until, port=port)
        else:
            balances.check(code, since=since, until=until)
            began = datetime.now(UTC)
            answers = self._ask("balances", lambda link: balances.ask(link, code, port, timeout))
            known = {each for _, codes in answers for each in codes}
            ussd = self._read("ussd", since=began, code=list(known))
        frame = balances_of(ussd, known=known)
        gateways = ussd.set_index("row_id").gateway.reindex(frame.row_id)
        frame.insert(0, "gateway", gateways.cat.remove_unused_categories().array)
        return frame

    # -- plumbing --------------------------------------------------------------------------------
    def _ask(
        self, verb: str, ask: Callable[[AsyncGateway], Awaitable[T]]
    ) -> list[tuple[Gateway, T]]:
        answers = self._run(self._link.each(ask), verb)
        return [(self._gateways[name], answer) for name, answer in answers.given.items()]

    def _run(self, coroutine: Coroutine[Any, Any, T], verb: str = "") -> T:
        if self.closed:
            coroutine.close()
            raise GatewayClosed(f"{self.name} was closed; connect again")
        answers = self._loop.run(coroutine)
        failed = getattr(answers, "failed", None)
        if failed:
            what = f"{verb}(): " if verb else ""
            warn(f"{what}{len(failed)} of {len(self)} gateways failed:\n{listed(failed)}")
        return answers


def _frame(view: str, answers: list[tuple[Gateway, list[Any]]]) -> pd.DataFrame:
    """Records of several gateways as a view's frame."""
    names = VIEWS[view].names
    rows = (
        {"gateway": each.name, **{name: getattr(record, name) for name in names}}
        for each, records in answers
        for record in records
    )
    return frame_of(FLEET_VIEWS[view], rows)

"""Fleet: several gateways with the verbs and frames of one; nothing is asked or computed here."""

from __future__ import annotations

import contextlib
import html
import os
import shutil
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from neogate_lab import batch as batches
from neogate_lab import config, gateway, times
from neogate_lab.errors import GatewayClosed, InvalidRequest
from neogate_lab.gateway import Gateway
from neogate_lab.history.frames import frame_of
from neogate_lab.history.schema import FLEET_VIEWS, VIEWS
from neogate_lab.history.store import Store
from neogate_lab.link import balances, loop_thread
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.fleet import AsyncFleet, listed
from neogate_lab.link.handlers import SmsHandler
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.options import LinkOptions
from neogate_lab.link.session import Secret
from neogate_lab.recorded import Ports, Recorded
from neogate_lab.survey import Survey
from neogate_lab.warn import warn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fleet", "connect_all"]

T = TypeVar("T")

SHOWN = 20
"""Connected gateways that the HTML table lists; those that are not connected it lists all."""
FILES = 2
"""Open files that a gateway takes: its connection, and the lock of who records."""
SPARE_FILES = 64
"""Open files that everything else takes."""

_SHARED = ("store",)
_OWN = ("target", "name")
_SETTINGS = tuple(name for name in signature(gateway.connect).parameters if name not in _OWN)
_ADDRESS = ("username", "password", "port")


def connect_all(
    targets: Iterable[str | Mapping[str, Any]],
    *,
    username: str | None = None,
    password: str | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    **settings: Any,
) -> Fleet:
    """Connect to several gateways at the same time, with one store for all.

    A gateway that can't be reached keeps no other waiting: it is named in a warning and in
    `Fleet.failed`, and is tried again in the background for as long as the fleet lives. One that
    refuses the login is named too, but not tried again before `Gateway.reconnect`.

    The same call again returns the same live fleet.

    Parameters
    ----------
    targets : iterable of str or dict
        Each a profile's name, a host or ``host:port``; or a dict with ``target`` and what `connect`
        takes, for this gateway alone.
    username, password, store
        As for `connect`, for all that have none of their own; a password is asked for once.
    **settings
        Whatever else `connect` takes, for all.

    Returns
    -------
    Fleet

    Raises
    ------
    InvalidRequest
        An argument can't be used, or two gateways have the same address or name; nothing was tried.
    Unreachable, LoginRefused, NeogateError
        None of the gateways could be connected.
    StoreError
        The store can't be opened.

    Examples
    --------
    >>> fleet = ng.connect_all(["lab", "10.0.0.5", {"target": "10.0.0.6", "name": "roof"}])
    >>> fleet.sample()
    """
    password, targets = Secret.of(password), _hidden(targets)
    common = {"username": username, "password": password, **settings}
    wanted = _resolved(targets, common)
    _check_files(len(wanted))
    if not isinstance(store, Store):
        store = _store_path(store, [endpoint for endpoint, _ in wanted])
    arguments = [(endpoint, store, tuple(options.items())) for endpoint, options in wanted]
    with gateway._connecting:
        for fleet in list(_fleets):
            if not fleet.closed and fleet._arguments == arguments:
                return fleet
        _close_earlier([endpoint for endpoint, _ in wanted])
        fleet = _open(arguments, store)
        _fleets.add(fleet)
        for each, made in zip(fleet, arguments, strict=True):
            each._arguments = made
            gateway._live[made[0].host, made[0].port] = each
    if fleet.failed:
        troubles = fleet._link.troubles
        warn(
            f"{len(troubles)} of {len(fleet)} gateways are not connected; who can't be reached is "
            f"tried again in the background, and fleet.failed tells how it stands:\n"
            f"{listed(troubles)}"
        )
    _warn_of_twins(fleet)
    return fleet


def _warn_of_twins(fleet: Fleet) -> None:
    """Names and numbers may lead to one box, which only its connections tell without a question."""
    names: dict[str, list[str]] = {}
    for each in fleet:
        if each._link.peer:
            names.setdefault(each._link.peer, []).append(each.name)
    for peer, twins in names.items():
        if len(twins) > 1:
            warn(
                f"{' and '.join(twins)} are one gateway, at {peer}: whatever it measures and "
                "receives is recorded once for each name, and its SMS are sent faster than "
                "sms_interval allows; leave one name out"
            )


def _hidden(targets: Any) -> Any:
    """`targets`, their passwords kept out of tracebacks that show variables."""
    if isinstance(targets, Mapping):
        return {name: Secret.of(v) if name == "password" else v for name, v in targets.items()}
    if isinstance(targets, Iterable) and not isinstance(targets, str):
        return [_hidden(each) for each in targets]
    return targets


def _resolved(
    targets: Iterable[str | Mapping[str, Any]], common: Mapping[str, Any]
) -> list[tuple[config.Endpoint, dict[str, Any]]]:
    """Where to connect and how, a pair a gateway; no two alike."""
    if isinstance(targets, str | Mapping) or not isinstance(targets, Iterable):
        raise InvalidRequest("connect_all() takes a list of gateways; for one there is connect()")
    _check_names(common, "connect_all()", {*_OWN, *_SHARED, "record"})
    asked: list[str] = []

    def ask(place: config.Place, username: str) -> str:
        if not asked:
            asked.append(gateway.password_for(place, username))
        return asked[0]

    found: list[tuple[config.Endpoint, dict[str, Any]]] = []
    taken: dict[str | tuple[str, int], str] = {}
    for number, target in enumerate(targets):
        given = dict(target) if isinstance(target, Mapping) else {"target": target}
        shown = given.get("target")
        if not isinstance(shown, str):
            raise InvalidRequest(
                f"gateway {number} (counted from 0) has no target: give a host or a profile's "
                'name, or {"target": …, "name": …}'
            )
        _check_names(given.keys() - {*_OWN}, f"the gateway {shown!r}", set(_SHARED))
        merged = {**common, **given}
        address = {name: merged.pop(name, None) for name in ("target", "name", *_ADDRESS)}
        address["port"] = config.DEFAULT_PORT if address["port"] is None else address["port"]
        endpoint = config.resolve(**address, ask=ask)
        if merged.get("record") is not None:
            merged["record"] = Path(merged["record"]).expanduser()
        LinkOptions(**merged)
        where = f"{endpoint.host}:{endpoint.port}"
        name = endpoint.name or (endpoint.host if endpoint.port == config.DEFAULT_PORT else where)
        for key, what in (
            ((endpoint.host.casefold(), endpoint.port), f"lead to {where}"),
            (name, f"are called {name!r}; give one of them another name"),
        ):
            if key in taken:
                raise InvalidRequest(f"two of the gateways {what}: {taken[key]!r} and {shown!r}")
            taken[key] = shown
        found.append((endpoint, merged))
    if not found:
        raise InvalidRequest("connect_all() needs at least one gateway, and the list is empty")
    return found


def _check_names(given: Iterable[str], what: str, never: set[str]) -> None:
    wrong = sorted(name for name in given if name not in _SETTINGS or name in never)
    if wrong:
        known = ", ".join(name for name in _SETTINGS if name not in never)
        raise InvalidRequest(f"{what} can't have {', '.join(wrong)}; possible are {known}")


def _store_path(given: str | os.PathLike[str] | None, endpoints: list[config.Endpoint]) -> str:
    stores = {endpoint.store for endpoint in endpoints if endpoint.store}
    if given is None and len(stores) > 1:
        raise InvalidRequest(
            "the profiles name different stores, and a fleet has one: give connect_all() a store"
        )
    try:
        return os.fspath(given or next(iter(stores), config.DEFAULT_STORE))
    except TypeError:
        raise InvalidRequest(f"store must be a path or a Store, not {given!r}") from None


def _check_files(gateways: int) -> None:
    """A process out of file descriptors fails in a hundred places: better here, in one sentence."""
    if sys.platform == "win32":
        return
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES * gateways + SPARE_FILES
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        raise InvalidRequest(
            f"{gateways} gateways take about {needed} open files, and this process may have "
            f"{allowed}: run `import resource; resource.setrlimit(resource.RLIMIT_NOFILE, "
            f"({needed}, {most}))` first, or start it after `ulimit -n {needed}`"
        )


def _close_earlier(endpoints: list[config.Endpoint]) -> None:
    known = [gateway._live.get((endpoint.host, endpoint.port)) for endpoint in endpoints]
    earlier = [each for each in known if each is not None and not each.closed]
    if earlier:
        warn(
            f"closing the earlier connection to {', '.join(each.name for each in earlier)}: "
            "connect_all() was called with other gateways or other arguments"
        )
    for each in earlier:
        each.close()


def _open(arguments: list[tuple[Any, ...]], store: str | Store) -> Fleet:
    fresh = isinstance(store, str) and store != ":memory:" and not Path(store).exists()
    owned = None if isinstance(store, Store) else Store(store)
    ledger = store if isinstance(store, Store) else owned
    assert ledger is not None
    loop = loop_thread.acquire()
    try:
        links = [
            AsyncGateway(
                endpoint.host,
                port=endpoint.port,
                username=endpoint.username,
                password=endpoint.password,
                name=endpoint.name,
                ledger=ledger,
                **dict(options),
            )
            for endpoint, _, options in arguments
        ]
        link = AsyncFleet(links)
        loop.run(link.open())
        gateways = [Gateway(each, loop_thread.acquire(), ledger, None) for each in links]
    except BaseException:
        if owned is not None:
            owned.close()
            if fresh:  # made a moment ago, for gateways that were never reached
                shutil.rmtree(owned.path)
        raise
    finally:
        loop.release()
    fleet = Fleet(link, gateways, ledger, owned)
    fleet._arguments = arguments
    return fleet


_fleets: weakref.WeakSet[Fleet] = weakref.WeakSet()


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
        self._arguments: list[tuple[Any, ...]] = []
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

    def diagnostics(self, port: Ports = None) -> pd.DataFrame:
        """Detail of some ports or of all, of every gateway, as `Gateway.diagnostics`."""
        port = _again(port)
        answers = self._ask("diagnostics", lambda link: link.diagnostics(port))
        return frame_of(
            FLEET_VIEWS["diagnostics"],
            (
                {"gateway": each.name, **each._detail_row(detail)}
                for each, details in answers
                for detail in details
            ),
        )

    def sample(self, label: str = "", *, port: Ports = None) -> pd.DataFrame:
        """Measure the signal of some ports or of all, of every gateway, as `Gateway.sample`.

        A gateway that is not connected has its rows, too, with ``ok=False``; while nobody knows
        what ports it has, one row without a port.
        """
        port = _again(port)
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
        port: Ports = None,
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
        port: Ports = None,
        since: times.Moment | None = None,
        timeout: float = 60,
    ) -> ReceivedSms:
        """Wait for a received SMS at any of the gateways, as `Gateway.wait_for_sms`."""
        port = _again(port)
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
        InvalidRequest, BudgetExceeded, ConnectionLost, StoreError
            As `Gateway.send_many`: nothing was sent, at no gateway.
        """
        frame = batches.as_frame(frame)
        messages = batches.messages_of(frame)
        if messages and "gateway" not in frame.columns:
            raise InvalidRequest(
                "the frame has no column gateway: say in every row which one is to send it"
            )
        for message, name in zip(messages, frame.get("gateway", []), strict=True):
            message["gateway"] = name
        results = batches.send(
            self,
            messages,
            progress=progress,
            dry_run=dry_run,
            retry_failed=retry_failed,
            batch=batch,
        )
        return batches.results_of(frame, results)

    def waiting(self) -> pd.DataFrame:
        """What is queued at every gateway, and when each is due, as `Gateway.waiting`."""
        answers = self._ask("waiting", AsyncGateway.waiting)
        return _frame("waiting", answers)

    def resume_outbox(self, *, wait: bool = True) -> pd.DataFrame:
        """Take up what processes that ended left in the outbox, as `Gateway.resume_outbox`."""
        answers = self._ask("resume_outbox", lambda link: link.resume_outbox(wait=wait))
        return _frame("batch", answers)

    def ussd_all(self, code: str, port: Ports = None, *, timeout: float = 30) -> pd.DataFrame:
        """Run a USSD code on several ports of every gateway, as `Gateway.ussd_all`."""
        port = _again(port)
        answers = self._ask("ussd_all", lambda link: link.ussd_all(code, port, timeout=timeout))
        return _frame("replies", answers)

    def balances(
        self,
        code: str | Mapping[str, str] | None = None,
        port: Ports = None,
        *,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        timeout: float = 30,
    ) -> pd.DataFrame:
        """Ask the ports of every gateway for their balances, or look, as `Gateway.balances`."""
        from neogate_lab.analysis.balances import balances_of

        port = _again(port)
        known: set[str] | None = None
        if code is None:
            ussd = self._read("ussd", since=since, until=until, port=port)
        else:
            if since is not None or until is not None:
                raise InvalidRequest("since and until look back: leave code out, or them")
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
        {"gateway": each.name, **{name: fields[name] for name in names}}
        for each, records in answers
        for fields in map(asdict, records)
    )
    return frame_of(FLEET_VIEWS[view], rows)


def _again(port: Ports) -> Ports:
    """Ports that every gateway can read: what yields them only once is made a list."""
    return list(port) if isinstance(port, Iterable) else port

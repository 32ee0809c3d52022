"""Which connections there are: opened as asked for, given again, or closed in favour of others."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Any

from neogate_lab import config
from neogate_lab.errors import InvalidRequest, LoginRefused, StoreError
from neogate_lab.fleet import Fleet
from neogate_lab.gateway import Gateway
from neogate_lab.history.schema import TABLES
from neogate_lab.history.store import Store
from neogate_lab.link import loop_thread
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.fleet import AsyncFleet, listed
from neogate_lab.link.loop_thread import LoopThread
from neogate_lab.link.options import LinkOptions, address_of
from neogate_lab.link.session import Secret
from neogate_lab.warn import warn

__all__ = ["connect", "connect_all", "demo"]

FILES = 2
"""Open files that a gateway takes: its connection, and the lock of who records."""
SPARE_FILES = 64
"""Open files that everything else takes."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a gateway was asked for: the same again means the same object."""

    endpoint: config.Endpoint
    store: str | Store
    options: LinkOptions

    @property
    def address(self) -> tuple[str, int]:
        return self.endpoint.host, self.endpoint.port

    def differences(self, other: _Wanted) -> list[str]:
        """Which of connect()'s arguments differ, by name: values may be secret."""
        pairs: list[tuple[Any, Any]] = [
            (self.endpoint, other.endpoint),
            (self, other),
            (self.options, other.options),
        ]
        names = [
            field.name
            for mine, others in pairs
            for field in fields(mine)
            if getattr(mine, field.name) != getattr(others, field.name)
        ]
        return [name for name in dict.fromkeys(names) if name not in ("endpoint", "options")]


_connecting = threading.RLock()
_live: weakref.WeakValueDictionary[tuple[str, int], Gateway] = weakref.WeakValueDictionary()
_asked: weakref.WeakKeyDictionary[Gateway, _Wanted] = weakref.WeakKeyDictionary()
_fleets: weakref.WeakKeyDictionary[Fleet, list[_Wanted]] = weakref.WeakKeyDictionary()


def connect(
    target: str | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    port: int = config.DEFAULT_PORT,
    name: str | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    span_offset: int = 1,
    gateway_timezone: str | None = None,
    connect_timeout: float = 10.0,
    command_timeout: float = 15.0,
    keepalive: float = 30.0,
    sms_interval: float = 10.0,
    sms_status_timeout: float = 180.0,
    sms_budget: int | None = None,
    part_timeout: float = 300.0,
    max_line: int = 1024,
    record: str | os.PathLike[str] | None = None,
) -> Gateway:
    """Connect to a gateway; it stays connected until `Gateway.close`, and reconnects by itself.

    The same arguments again return the same live object; other arguments for the same endpoint
    close the old one once the new one is connected, with a warning. Sends no SMS by itself.

    Parameters
    ----------
    target : str, optional
        A profile's name (see `neogate_lab.config`), else host or ``host:port``; default the
        environment's NEOGATE_HOST.
    username, password : str, optional
        Of the gateway's API user: argument, profile, NEOGATE_USERNAME and NEOGATE_PASSWORD, then
        a prompt for the password.
    port : int
        TCP port of the API.
    name : str, optional
        The gateway's name in tables, its own within the store; default the profile's, else host
        (``host:port`` if not 5038).
    store : path or Store, optional
        Where everything is kept; default ``neogate.neogate`` in the working directory; ":memory:"
        keeps it until `close` only.
    span_offset : int
        Span minus port (WIRE §4).
    gateway_timezone : str, optional
        Zone of the gateway's clock, for example "Europe/Rome", to read `gateway_time`.
    connect_timeout, command_timeout, keepalive : float
        Seconds for connection and banner; for an answer; of silence before a ping.
    sms_interval : float
        Seconds between two SMS of one port (the vendor's limit is 10).
    sms_status_timeout : float
        Seconds until an SMS without a report is ``unknown``.
    sms_budget : int, optional
        Segments that the store's gateways may send in 24 hours.
    part_timeout : float
        Seconds that a long message waits for its next part.
    max_line : int
        Characters of a header line that the firmware takes (WIRE §2).
    record : path, optional
        Write the raw traffic there as JSON lines, credentials and PINs masked.

    Raises
    ------
    InvalidRequest
        An argument can't be used.
    Unreachable
        No connection: nothing listens there, or a firewall is in between.
    ProtocolError
        Something else than a NeoGate answered; no credentials were sent.
    LoginRefused
        The gateway refused; exactly one attempt was made.
    NoAnswer
        A gateway greeted, but never answered the login: it may be busy, so try again later.
    StoreError
        The store can't be opened.
    """
    password = Secret.of(password)
    endpoint = config.resolve(
        target,
        username=username,
        password=password,
        port=port,
        name=name,
        ask=_password_for,
    )
    options = LinkOptions(
        span_offset=span_offset,
        gateway_timezone=gateway_timezone,
        connect_timeout=connect_timeout,
        command_timeout=command_timeout,
        keepalive=keepalive,
        sms_interval=sms_interval,
        sms_status_timeout=sms_status_timeout,
        sms_budget=sms_budget,
        part_timeout=part_timeout,
        max_line=max_line,
        record=_wire(record),
    )
    if not isinstance(store, Store):
        store = config.store_path(store, [endpoint.store])
    wanted = _Wanted(endpoint, store, options)
    with _connecting:
        known = _live.get(wanted.address)
        if known is None or known.closed:
            return _remembered(_open(wanted), wanted)
        before = _asked[known]
        if before == wanted:
            return known
        gateway = _remembered(_open_instead(known, wanted), wanted)
        warn(
            f"closed the earlier connection to {known.name}: connect() was called again with "
            f"other arguments ({', '.join(before.differences(wanted))})"
        )
        return gateway


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
    password = Secret.of(password)
    targets = _hidden(targets)
    common = {"username": username, "password": password, **settings}
    found = _resolved(targets, common)
    _check_files(len(found))
    if not isinstance(store, Store):
        store = config.store_path(store, [endpoint.store for endpoint, _ in found])
    wanted = [_Wanted(endpoint, store, options) for endpoint, options in found]
    with _connecting:
        for fleet, before in list(_fleets.items()):
            if not fleet.closed and before == wanted:
                return fleet
        _close_earlier(wanted)
        fleet = _open_all(wanted)
        _fleets[fleet] = wanted
        for each, its in zip(fleet, wanted, strict=True):
            _remembered(each, its)
    if fleet.failed:
        troubles = fleet._link.troubles
        warn(
            f"{len(troubles)} of {len(fleet)} gateways are not connected; who can't be reached is "
            f"tried again in the background, and fleet.failed tells how it stands:\n"
            f"{listed(troubles)}"
        )
    _warn_of_twins(fleet)
    return fleet


def demo(*, ports: int = 4, seed: int = 7, firmware: str = "tg200", **options: Any) -> Gateway:
    """Connect to an embedded simulated gateway, over real TCP; no hardware needed.

    The store is a temporary one; `Gateway.simulator` is the other end, to play with.

    Parameters
    ----------
    ports : int
        Radio ports, 1-32.
    seed : int
        The same seed gives the same radio world.
    firmware : str
        ``tg200``, ``v3``, ``tg400``, ``manual2013`` or ``ami5``.
    **options
        Of `connect`.
    """
    from neogate_lab.simulator import SimulatedGateway

    simulator = SimulatedGateway(ports=ports, seed=seed, firmware=firmware)
    simulator.start()
    try:
        gateway = connect(
            simulator.host,
            **{
                "port": simulator.port,
                "username": simulator.username,
                "password": simulator.password,
                "name": "demo",
                "store": ":memory:",
                **options,
            },
        )
    except BaseException:
        simulator.stop()
        raise
    gateway._embed(simulator)
    return gateway


_SHARED = ("store",)
_OWN = ("target", "name")
_SETTINGS = tuple(name for name in signature(connect).parameters if name not in _OWN)
_ADDRESS = ("username", "password", "port")


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
) -> list[tuple[config.Endpoint, LinkOptions]]:
    """Where to connect and how, a pair a gateway; no two alike."""
    if isinstance(targets, str | Mapping) or not isinstance(targets, Iterable):
        raise InvalidRequest("connect_all() takes a list of gateways; for one there is connect()")
    _check_names(common, "connect_all()", {*_OWN, *_SHARED, "record"})
    asked: list[str] = []

    def ask(place: config.Place, username: str) -> str:
        if not asked:
            asked.append(_password_for(place, username))
        return asked[0]

    found: list[tuple[config.Endpoint, LinkOptions]] = []
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
        merged["record"] = _wire(merged.get("record"))
        options = LinkOptions(**merged)
        where = f"{endpoint.host}:{endpoint.port}"
        name = endpoint.name or address_of(endpoint.host, endpoint.port)
        for key, what in (
            ((endpoint.host.casefold(), endpoint.port), f"lead to {where}"),
            (name, f"are called {name!r}; give one of them another name"),
        ):
            if key in taken:
                raise InvalidRequest(f"two of the gateways {what}: {taken[key]!r} and {shown!r}")
            taken[key] = shown
        found.append((endpoint, options))
    if not found:
        raise InvalidRequest("connect_all() needs at least one gateway, and the list is empty")
    return found


def _wire(record: str | os.PathLike[str] | None) -> Path | None:
    try:
        return None if record is None else Path(record).expanduser()
    except TypeError:
        raise InvalidRequest(f"record must be a path, not {record!r}") from None


def _check_names(given: Iterable[str], what: str, never: set[str]) -> None:
    wrong = sorted(name for name in given if name not in _SETTINGS or name in never)
    if wrong:
        known = ", ".join(name for name in _SETTINGS if name not in never)
        raise InvalidRequest(f"{what} can't have {', '.join(wrong)}; possible are {known}")


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


def _close_earlier(wanted: list[_Wanted]) -> None:
    known = [_live.get(each.address) for each in wanted]
    earlier = [each for each in known if each is not None and not each.closed]
    if earlier:
        warn(
            f"closing the earlier connection to {', '.join(each.name for each in earlier)}: "
            "connect_all() was called with other gateways or other arguments"
        )
    for each in earlier:
        each.close()


def _password_for(place: config.Place, username: str) -> str:
    """The password that is in use there now, so that a cell that is run again does not ask again;
    else ask.
    """
    known = _live.get((place.host, place.port))
    if known is None or known.closed or _asked[known].endpoint.username != username:
        return config.ask_for_password(place, username)
    return _asked[known].endpoint.password


def _remembered(gateway: Gateway, wanted: _Wanted) -> Gateway:
    _asked[gateway] = wanted
    _live[wanted.address] = gateway
    return gateway


def _open(wanted: _Wanted) -> Gateway:
    with _opened(wanted.store) as (store, owned), _loop() as loop:
        link = _link(wanted, store)
        loop.run(link.open())
        with _closing(loop, link):
            return _facade(link, store, owned)


def _open_instead(known: Gateway, wanted: _Wanted) -> Gateway:
    """Open a connection, and only then close the earlier one: if the new fails, the old stays."""
    try:
        gateway = _open(wanted)
    except LoginRefused as error:
        if "in use" not in str(error).lower():
            raise
        raise LoginRefused(
            f"{error}; the earlier connection to {known.name} is still open here, and this gateway "
            "allows one: close() that first"
        ) from error
    if known.simulator is not None:
        gateway._embed(known.simulator)
        known._embed(None)
    _remembered(gateway, wanted)  # before what may be interrupted
    known.close()
    return gateway


def _open_all(wanted: list[_Wanted]) -> Fleet:
    with _opened(wanted[0].store) as (ledger, owned), _loop() as loop:
        links = [_link(each, ledger) for each in wanted]
        link = AsyncFleet(links)
        loop.run(link.open())
        with _closing(loop, link):
            return Fleet(link, [_facade(each, ledger, None) for each in links], ledger, owned)


def _facade(link: AsyncGateway, store: Store, owned: Store | None) -> Gateway:
    loop = loop_thread.acquire()
    try:
        return Gateway(link, loop, store, owned)
    except BaseException:
        loop.release()
        raise


@contextlib.contextmanager
def _closing(loop: LoopThread, link: AsyncGateway | AsyncFleet) -> Iterator[None]:
    """Close a link for which no facade can be made, as where no thread can be started."""
    try:
        yield
    except BaseException:
        loop.run(link.close(), certain=True)
        raise


def _link(wanted: _Wanted, store: Store) -> AsyncGateway:
    endpoint = wanted.endpoint
    return AsyncGateway(
        endpoint.host,
        port=endpoint.port,
        username=endpoint.username,
        password=endpoint.password,
        name=endpoint.name,
        ledger=store,
        **asdict(wanted.options),
    )


@contextlib.contextmanager
def _opened(store: str | Store) -> Iterator[tuple[Store, Store | None]]:
    """A store to connect with; and the same again if it is opened here, for who is to close it.

    When no connection comes of it, it is closed at once; one that did not exist is removed, unless
    another process has begun to use it meanwhile.
    """
    if isinstance(store, Store):
        yield store, None
        return
    fresh = store != ":memory:" and not Path(store).exists()
    owned = Store(store)
    try:
        yield owned, owned
    except BaseException:
        unused = fresh and _is_empty(owned)
        owned.close()
        # The last who closes a journal takes its log along.
        if unused and not (owned.path / "journal.sqlite-wal").exists():
            shutil.rmtree(owned.path)
        raise


def _is_empty(store: Store) -> bool:
    """Whether nothing is recorded in a store, apart from attempts to connect."""
    try:
        return all(store.frame(name).empty for name in TABLES if name != "connections")
    except StoreError:  # it stays; why no connection came is what is told
        return False


@contextlib.contextmanager
def _loop() -> Iterator[LoopThread]:
    loop = loop_thread.acquire()
    try:
        yield loop
    finally:
        loop.release()

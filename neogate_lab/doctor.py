"""What is wrong between here and a gateway, step by step and in plain words; it mends nothing.

Everything that goes out is a login, a ping, the switch for events and ``gsm show spans``: never an
SMS or a USSD code.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import importlib.metadata
import ipaddress
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neogate_lab import config
from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    InvalidRequest,
    LoginRefused,
    NeogateError,
    NoAnswer,
    ProtocolError,
    StoreError,
    Unreachable,
)
from neogate_lab.history.store import open_store
from neogate_lab.link import loop_thread
from neogate_lab.link.loop_thread import LoopThread
from neogate_lab.link.options import check_seconds
from neogate_lab.link.session import GREETING, Credentials, Secret, Session
from neogate_lab.protocol import commands
from neogate_lab.protocol.records import parse_spans, printable
from neogate_lab.protocol.wire import Packet

__all__ = ["Diagnosis", "Finding", "diagnose", "examine"]

Status = Literal["ok", "doubtful", "failed", "not tried"]

LITTLE_SPACE = 200 << 20
"""Bytes of free disk below which a store will soon be full."""
CLOCK_TOLERANCE = 60.0
"""Seconds that the gateway's clock may differ before it is worth a word."""
PACKAGES = ("pandas", "pyarrow", "matplotlib", "ibis-framework", "duckdb", "ipywidgets", "typer")

_TOO_LATE = "an earlier step failed"
_ALLOWED = (
    "this computer's address is not on the gateway's list of permitted addresses: add it in the "
    "web interface, under the API's settings"
)
_API_OFF = "the API is switched off: enable it in the gateway's web interface"
_OTHER_PORT = "the API listens on another port: look at the API's settings; the usual one is 5038"
_FIREWALL = "a firewall is in between, perhaps the gateway's own: permit TCP to this port"
_WRONG_ADDRESS = "the address is another device's: compare it with the gateway's label or router"
_STRANGERS = (
    (b"HTTP/", "a web server: the web interface's port, where the API's is needed"),
    (b"SSH-", "an SSH server"),
    (b"220", "a mail or FTP server"),
    (b"+OK", "a mail server"),
    (b"* OK", "a mail server"),
    (b"RFB ", "a remote desktop"),
    (b"\xff\xfd", "a telnet server"),
    (b"\xff\xfb", "a telnet server"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step showed.

    Attributes
    ----------
    step : str
        What was looked at.
    status : {"ok", "doubtful", "failed", "not tried"}
        Doubtful works, but perhaps not as wanted.
    text : str
        What was seen, in words.
    causes : tuple of str
        What may be the reason, and what to do about it, the likeliest first.
    """

    step: str
    status: Status
    text: str
    causes: tuple[str, ...] = ()


class Diagnosis:
    """All findings of a `diagnose`; shows itself as a table.

    Attributes
    ----------
    findings : list of Finding
        In the order of the steps.
    """

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    @property
    def ok(self) -> bool:
        """Whether no step failed."""
        return all(finding.status != "failed" for finding in self.findings)

    def __repr__(self) -> str:
        return "\n".join(
            line
            for finding in self.findings
            for line in (
                f"{finding.status:<9}  {finding.step:<9}  {finding.text}",
                *(f"{'':<22}- {cause}" for cause in finding.causes),
            )
        )

    def _repr_html_(self) -> str:
        rows = []
        style = "text-align:left;vertical-align:top;padding-right:1em"
        for finding in self.findings:
            causes = "".join(f"<li>{html.escape(cause)}</li>" for cause in finding.causes)
            weight = "bold" if finding.status == "failed" else "normal"
            rows.append(
                f"<tr><td style='{style};white-space:nowrap;font-weight:{weight}'>{finding.status}"
                f"</td><td style='{style};white-space:nowrap'>{html.escape(finding.step)}</td>"
                f"<td style='{style};white-space:normal'>{html.escape(finding.text)}"
                f"{f'<ul>{causes}</ul>' if causes else ''}</td></tr>"
            )
        return f"<table class='neogate-diagnosis'><tbody>{''.join(rows)}</tbody></table>"


def diagnose(
    target: str | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    port: int = config.DEFAULT_PORT,
    store: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
) -> Diagnosis:
    """Look at everything that a connection needs, step by step; sends no SMS and no USSD code.

    Never raises for what it finds: a step that fails says so, and what may be the reason.

    Parameters
    ----------
    target, username, password, port, store
        As for `connect`. The store is looked at, and not made.
    timeout : float
        Seconds that each step may take.

    Returns
    -------
    Diagnosis
        Shows itself as a table; `Diagnosis.ok` is whether no step failed.
    """
    password = Secret.of(password)
    return Diagnosis(
        list(
            examine(
                target,
                username=username,
                password=password,
                port=port,
                store=store,
                timeout=timeout,
            )
        )
    )


def examine(
    target: str | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    port: int = config.DEFAULT_PORT,
    store: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
) -> Iterator[Finding]:
    """The findings of `diagnose`, each as soon as it is known."""
    password = Secret.of(password)
    check_seconds("timeout", timeout, above=0)
    yield _versions()
    yield _widgets()
    place, finding = _settings(target, port)
    yield finding
    named = None if place is None else place.settings.get("store")
    yield _store(Path(config.store_path(store, [named])).expanduser())
    loop = loop_thread.acquire()
    try:
        patient = None if place is None else _Patient(loop, place, timeout)
        steps: tuple[tuple[str, Callable[[_Patient], Finding]], ...] = (
            ("resolve", _Patient.resolve),
            ("reach", _Patient.reach),
            ("banner", _Patient.banner),
            ("login", lambda patient: patient.login(username, password)),
            ("spans", _Patient.spans),
            ("events", _Patient.events),
            ("clock", _Patient.clock),
        )
        try:
            well = patient is not None
            for step, look in steps:
                # What one needs from the other ends with the login; after it each stands alone.
                # A session that ended since then is for the first of them to tell.
                if patient is None or not well or (patient.gone and step != "spans"):
                    yield Finding(step, "not tried", _TOO_LATE)
                    continue
                finding = look(patient)
                well = finding.status != "failed" or step in ("spans", "events")
                yield finding
        finally:
            if patient is not None:
                patient.close()
    finally:
        loop.release()


# -- this computer -------------------------------------------------------------------------------
def _versions() -> Finding:
    found, lacking = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    python = f"Python {platform.python_version()} on {platform.system()}"
    if lacking:
        return Finding(
            "packages",
            "failed",
            f"{python}; {', '.join(lacking)} missing",
            (
                f"this is another environment than the one neogate-lab was installed into: this "
                f"one is {sys.prefix}",
                "the installation is broken: install neogate-lab again",
            ),
        )
    return Finding("packages", "ok", f"{python}; {', '.join(found)}")


def _widgets() -> Finding:
    if "ipykernel" not in sys.modules:
        return Finding("widgets", "not tried", "panels need a notebook; this is none")
    # A kernel can't see its browser: only what would have been installed beside it.
    try:
        version = importlib.metadata.version("jupyterlab_widgets")
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "widgets",
            "doubtful",
            "this kernel's environment has no jupyterlab_widgets; whether the browser can show "
            "panels depends on the environment that JupyterLab runs in, and can't be seen from "
            "here",
            ("if panels show as text: pip install jupyterlab_widgets there, and reload the page",),
        )
    return Finding("widgets", "ok", f"jupyterlab_widgets {version} is there; the browser decides")


def _settings(target: str | None, port: int) -> tuple[config.Place | None, Finding]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            place = config.locate(target, port)
        except InvalidRequest as error:
            return None, Finding("settings", "failed", str(error))
    origin = f"profile {place.profile!r} of {config.config_path()}" if place.profile else "given"
    words = f"{place.host}, TCP port {place.port} ({origin})"
    notes = tuple(str(warning.message) for warning in caught)
    return place, Finding("settings", "doubtful" if notes else "ok", words, notes)


def _store(folder: Path) -> Finding:
    """Whether a store can be written, without making one."""
    exists = folder.exists()
    if exists:
        try:
            open_store(folder).close()
        except StoreError as error:
            return Finding(
                "store",
                "failed",
                str(error),
                ("choose another folder with store=, or move this one away",),
            )
        home = folder
    else:
        home = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=home):
            free = shutil.disk_usage(home).free
    except OSError as error:
        return Finding(
            "store",
            "failed",
            f"{folder} can't be written: {error.strerror}",
            (f"{home} belongs to somebody else, or is read-only: choose a folder with store=",),
        )
    state = "is there and can be written" if exists else "can be made"
    words = f"{folder.absolute()} {state}; {free / (1 << 30):.1f} GiB are free"
    if free < LITTLE_SPACE:
        return Finding("store", "doubtful", words, ("the disk is nearly full: make room",))
    return Finding("store", "ok", words)


# -- the gateway ---------------------------------------------------------------------------------
class _Patient:
    """One gateway under examination: each step is a method that needs those before it."""

    def __init__(self, loop: LoopThread, place: config.Place, timeout: float) -> None:
        self._loop = loop
        self._place = place
        self._timeout = timeout
        self._where = f"{place.host}:{place.port}"
        self._addresses: list[str] = []
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._session: Session | None = None

    @property
    def gone(self) -> bool:
        """Whether a session was there and has ended."""
        return self._session is not None and not self._session.is_open

    def close(self) -> None:
        """Let go of whatever is open."""
        if self._streams is not None:
            self._loop.run(_drop(self._streams[1]))
        if self._session is not None:
            self._loop.run(self._session.close())

    def resolve(self) -> Finding:
        host = self._place.host
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host.partition("%")[0])
            self._addresses = [host]
            return Finding("resolve", "ok", f"{host} is an address")
        causes = ["the name is misspelt: give the gateway's address, such as 192.168.5.150"]
        if "." not in host and self._place.profiles:
            names = ", ".join(self._place.profiles)
            causes.insert(
                0, f"a profile was meant, and there is none of this name; there are {names}"
            )
        elif "." not in host:
            causes.insert(0, f"a profile was meant, and {config.config_path()} has none")
        causes.append("this computer has no DNS at the moment: check the network, or the VPN")
        try:
            found = self._loop.run(self._look_up(host))
        except TimeoutError:
            words = f"no name server answered for {host} within {self._timeout:g} s"
            return Finding("resolve", "failed", words, tuple(causes))
        except (OSError, UnicodeError):
            words = f"no address is known for the name {host!r}"
            return Finding("resolve", "failed", words, tuple(causes))
        self._addresses = list(dict.fromkeys(found))
        return Finding("resolve", "ok", f"{host} is {', '.join(self._addresses)}")

    async def _look_up(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]

    def reach(self) -> Finding:
        try:
            self._streams = self._loop.run(self._connect())
        except TimeoutError:
            return Finding(
                "reach",
                "failed",
                f"{self._where} did not answer within {self._timeout:g} s: packets vanish",
                (
                    "the gateway is off, or in another network: can this computer open its web "
                    "page?",
                    _FIREWALL,
                    _ALLOWED + " (some firmware drops others silently; this can't be told apart)",
                    _WRONG_ADDRESS,
                ),
            )
        except ConnectionResetError:
            self._streams = None  # accepted, and dropped before we could look: the next step's
        except ConnectionRefusedError:
            return Finding(
                "reach",
                "failed",
                f"{self._where} refuses: the computer is there, and nothing listens on this port",
                (
                    _API_OFF,
                    _OTHER_PORT,
                    _ALLOWED + " (some firmware refuses others; this can't be told apart)",
                    _WRONG_ADDRESS,
                ),
            )
        except OSError as error:
            code = error.errno if error.errno and error.errno > 0 else None
            words = os.strerror(code) if code else str(error)
            return Finding(
                "reach",
                "failed",
                f"no way to {self._where}: {words}",
                (
                    "this computer is in another network: check cable, WLAN or VPN",
                    _WRONG_ADDRESS,
                ),
            )
        return Finding("reach", "ok", f"{self._where} accepts TCP connections")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failures: list[OSError] = []
        async with asyncio.timeout(self._timeout):
            # One by one: asyncio's own error for several addresses no longer tells the kind.
            for address in self._addresses:
                try:
                    return await asyncio.open_connection(address, self._place.port)
                except OSError as error:
                    failures.append(error)
        raise failures[-1]

    def banner(self) -> Finding:
        came, ended = b"", True
        if self._streams is not None:
            came, ended = self._loop.run(self._listen())
            self._loop.run(_drop(self._streams[1]))
            self._streams = None
        if came.startswith(GREETING) and b"\n" in came:
            line = came.partition(b"\n")[0].decode("ascii", "replace").strip()
            return Finding("banner", "ok", f"greets as a gateway does: {line}")
        tail = "; no credentials were sent"
        if not came:
            if ended:
                return Finding(
                    "banner",
                    "failed",
                    "closed the connection at once, without a word" + tail,
                    (
                        _ALLOWED,
                        "too many clients are connected: close others, or restart the gateway",
                        _OTHER_PORT,
                    ),
                )
            return Finding(
                "banner",
                "failed",
                f"accepted the connection, and said nothing for {self._timeout:g} s" + tail,
                (
                    "a web server listens there, which waits to be asked: the API has a port of "
                    "its own, usually 5038",
                    "a tunnel or proxy accepts connections for a gateway that it can't reach "
                    "itself: test it on that computer",
                    "the gateway hangs: restart it",
                ),
            )
        shown = repr(came[:60])
        for start, what in _STRANGERS:
            if came.startswith(start):
                causes: tuple[str, ...] = (f"this is {what}", _OTHER_PORT, _WRONG_ADDRESS)
                break
        else:
            causes = (_OTHER_PORT, _WRONG_ADDRESS)
        if came.startswith(GREETING):
            causes = ("the connection is very slow, or the gateway hangs: try again later",)
        words = f"said {shown}, where a gateway says 'Asterisk Call Manager/…'"
        return Finding("banner", "failed", words + tail, causes)

    async def _listen(self) -> tuple[bytes, bool]:
        """The first line as far as it came, and whether the connection has ended."""
        assert self._streams is not None
        reader, _ = self._streams
        came = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                while b"\n" not in came and len(came) < 256:
                    try:
                        more = await reader.read(256)
                    except ConnectionError:
                        more = b""
                    if not more:
                        return came, True
                    came += more
        return came, False

    def login(self, username: str | None, password: str | None) -> Finding:
        try:
            user, secret, origin = config.credentials(self._place, username, password)
            self._session = self._loop.run(self._open(Credentials(user, secret)))
        except InvalidRequest as error:
            return Finding("login", "failed", str(error))
        except LoginRefused as error:
            return self._refused(str(error), origin)
        except Unreachable:
            return Finding(
                "login",
                "failed",
                "closed the connection when it was given the user name and password",
                (_ALLOWED, "too many clients are logged in: close others"),
            )
        except NoAnswer:
            return Finding(
                "login",
                "failed",
                f"did not answer the login within {self._timeout:g} s",
                (
                    "the gateway is busy or hangs: try again, then restart it",
                    "the connection is very slow: allow more with timeout=",
                ),
            )
        except NeogateError as error:
            return Finding("login", "failed", str(error), (_WRONG_ADDRESS,))
        return Finding("login", "ok", f"accepted; the password came from {origin}")

    def _refused(self, words: str, origin: str) -> Finding:
        if "in use" in words.lower():
            return Finding(
                "login",
                "failed",
                "refused: this user is logged in already, and the gateway allows it once",
                (
                    "another program is connected: close it, or give this one an API user of its "
                    "own",
                    "a killed program's session is not over yet: wait some minutes",
                ),
            )
        return Finding(
            "login",
            "failed",
            "refused; a gateway says the same for a wrong user name, a wrong password, and an "
            "address that is not permitted, so which it is can't be known from here",
            (
                f"the password is wrong (it came from {origin}): compare it with the API's "
                "settings; it is not the web interface's",
                "the user name is wrong: it is the API's user, not the web interface's",
                _ALLOWED,
            ),
        )

    async def _open(self, credentials: Credentials) -> Session:
        def ignore(_: Packet | str) -> None:
            return None

        return await Session.open(
            self._place.host,
            self._place.port,
            credentials,
            events=True,
            connect_timeout=self._timeout,
            where=self._where,
            command_timeout=self._timeout,
            keepalive=3600.0,
            on_event=ignore,
            on_lost=ignore,
        )

    def _asked(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, str]:
        """An answer, or why there is none."""
        try:
            return self._loop.run(coroutine), ""
        except CommandRefused as error:
            return None, str(error)
        except NoAnswer:
            return None, f"no answer came within {self._timeout:g} s"
        except (ConnectionLost, ProtocolError) as error:
            return None, str(error)

    def spans(self) -> Finding:
        assert self._session is not None
        action = commands.cli(commands.show_spans())
        body, trouble = self._asked(self._session.command(action, what="`gsm show spans`"))
        if trouble:
            return Finding(
                "spans",
                "failed",
                f"the gateway does not list its ports: {trouble}",
                (
                    *(("too many clients are connected: close others",) if self.gone else ()),
                    "the API user may log in, but not run commands: give it the right for SMS",
                    "the firmware is one that was not seen before: record it with `neogate-lab "
                    "record --wire wire.jsonl`, and report it",
                ),
            )
        statuses = parse_spans(body)
        if not statuses:
            return Finding(
                "spans",
                "failed",
                "the gateway lists no port",
                (
                    "its modules are not seated or not found: look at its web page and restart it",
                    "this is an Asterisk, and not a NeoGate TG",
                ),
            )
        up = [status for status in statuses if status.up]
        offset = min(1, min(status.span for status in statuses) - 1)  # no box has a port 0
        down = tuple(
            f"port {status.span - offset}: {printable(status.status) or 'not up'}"
            + (" - insert the SIM card, or seat it anew" if status.sim is False else "")
            for status in statuses
            if not status.up
        )
        words = f"{len(statuses)} ports, {len(up)} of them up"
        if offset != 1:
            down = ("it counts its spans from 1: give connect() span_offset=0", *down)
        return Finding("spans", "ok" if up else "doubtful", words, down)

    def events(self) -> Finding:
        assert self._session is not None
        request = self._session.request(commands.events(), what="the switch for events")
        answer, trouble = self._asked(request)
        unsure = (
            "to know for certain, send an SMS to one of its SIM cards while gw.wait_for_sms() runs",
        )
        if trouble:
            return Finding(
                "events", "doubtful", f"whether they come is not known: {trouble}", unsure
            )
        state = answer.get("Events").strip().lower()
        if answer.get("Response").strip().lower() == "success" and state in ("on", ""):
            return Finding(
                "events",
                "ok",
                "switched on, as far as the gateway says; that an SMS really arrives only an SMS "
                "can show",
            )
        if state == "off":
            return Finding(
                "events",
                "failed",
                "the gateway keeps events off: received SMS and reports of sent ones will not "
                "arrive",
                ("the API user lacks the right to see events: give it the right for SMS",),
            )
        said = printable(answer.get("Message").strip())[:80]
        return Finding(
            "events", "doubtful", f"the gateway knows no switch for them ({said!r})", unsure
        )

    def clock(self) -> Finding:
        assert self._session is not None
        answer, trouble = self._asked(self._session.request(commands.ping(), what="a ping"))
        here = time.time()
        try:
            ahead = float(answer.get("Timestamp")) - here
        except (AttributeError, ValueError):
            words = "the gateway does not tell its time" + (f": {trouble}" if trouble else "")
            return Finding("clock", "not tried", words)
        if abs(ahead) <= CLOCK_TOLERANCE:
            return Finding("clock", "ok", f"the gateway's differs by {abs(ahead):.0f} s from ours")
        way = "ahead of" if ahead > 0 else "behind"
        return Finding(
            "clock",
            "doubtful",
            f"the gateway's is {_length(abs(ahead))} {way} ours; times in tables are ours, only "
            "gateway_time is its own",
            ("set its clock, or its NTP server, in the web interface",),
        )


async def _drop(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _length(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

"""What the ports hear and hold: SIMs, operators, seeded signal; never a socket, task or clock.

Everything random is drawn lazily from one generator a port and process, so that the same seed gives
the same air however often, and in whatever order, it is asked.
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from neogate_lab.errors import InvalidRequest

CALM = 300.0
"""Seconds from the start in which no port drops out and no call comes in."""

_GRID = 5.0
_FADE = 90.0  # seconds in which fading forgets
_NO_SIGNAL = 99
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Operator:
    """A mobile network, as a SIM of it shows up on the gateway."""

    name: str
    shown: str  # "Network Name" of the detail: a name, or MCC+MNC in digits
    mcc: str
    mnc: str
    smsc: str
    prefix: str  # of its subscribers' numbers
    currency: str


OPERATORS = (
    Operator("MegaFon", "MegaFon", "250", "02", "+79262909090", "+7926", "r."),
    Operator("MTS", "MTS RUS", "250", "01", "+79168999100", "+7916", "руб."),
    Operator("Beeline", "Beeline", "250", "99", "+79037011111", "+7903", "rub"),
    Operator("CHINA MOBILE", "CHINA MOBILE", "460", "00", "+8613800100500", "+86138", "元"),
    Operator("Telmob", "61301", "613", "01", "+22670000999", "+22670", "FCFA"),
)


@dataclass(frozen=True, slots=True)
class SimCard:
    """One SIM; its numbers are drawn from the seed and belong to nobody on purpose."""

    operator: Operator
    imsi: str = field(repr=False)
    number: str = field(repr=False)
    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PortTruth:
    """What was really so on a port at one model time: the answer sheet for analyses.

    Attributes
    ----------
    time : float
        Model seconds since the start.
    rssi_dbm : float or None
        Received level before any rounding; None without service.
    csq : int
        What the modem would measure: 0-31, or 99 (3GPP TS 27.007 §8.5).
    shown : int
        What the driver shows: the cached value, -1 for unknown (WIRE §6).
    """

    time: float
    port: int
    power: bool
    sim: bool
    pin_error: bool
    registered: bool
    roaming: bool
    rssi_dbm: float | None
    csq: int
    shown: int
    calling: bool


@dataclass(frozen=True, slots=True)
class PortState:
    """What somebody set by hand; None leaves it to the model."""

    sim: SimCard | None
    power: bool = True
    gain: float = 0.0
    pinned: int | None = None
    registered: bool | None = None
    roaming: bool = False
    alarm: bool = False
    pin_error: bool = False
    blocked: bool = False
    network: str | None = None
    network_status: str | None = None
    state: str | None = None


class _Spells:
    """Quiet and active times in turn, each with a mark, as far ahead as anybody asked."""

    def __init__(
        self,
        rng: random.Random,
        quiet: float,
        active: float,
        mark: Callable[[random.Random], float],
        *,
        calm: float = 0.0,
    ) -> None:
        self._rng, self._quiet, self._active, self._mark = rng, quiet, active, mark
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._marks: list[float] = []
        self._until = calm

    def at(self, time: float) -> float | None:
        """Mark of the active spell around `time`, or None."""
        while self._until <= time:
            start = self._until + self._rng.expovariate(1.0 / self._quiet)
            end = start + self._rng.expovariate(1.0 / self._active)
            self._starts.append(start)
            self._ends.append(end)
            self._marks.append(self._mark(self._rng))
            self._until = end
        index = bisect_right(self._starts, time) - 1
        return self._marks[index] if index >= 0 and time < self._ends[index] else None


class _Fading:
    """Slow fading in dB: a first-order autoregression on a grid, straight lines in between."""

    def __init__(self, rng: random.Random, deviation: float) -> None:
        self._rng = rng
        self._keep = math.exp(-_GRID / _FADE)
        self._kick = deviation * math.sqrt(1.0 - self._keep**2)
        self._values = array("f", [rng.gauss(0.0, deviation)])

    def at(self, time: float) -> float:
        slot, part = divmod(max(time, 0.0) / _GRID, 1.0)
        first = int(slot)
        while len(self._values) <= first + 1:
            self._values.append(self._keep * self._values[-1] + self._rng.gauss(0.0, self._kick))
        low, high = self._values[first], self._values[first + 1]
        return low + (high - low) * part


class _Air:
    """The signal of one port before anybody touched it."""

    def __init__(self, seed: int, port: int, level: float, *, weak: bool, day_start: float) -> None:
        def rng(process: str) -> random.Random:
            # Not for secrets; a str seed hashes the same in every process.
            return random.Random(f"{seed}/{port}/{process}")  # noqa: S311

        self._level = level
        self._day_start = day_start
        self._swing = rng("day").uniform(1.5, 4.0)
        self._fading = _Fading(rng("fading"), 3.0 if weak else 2.0)
        self._shifts = _Spells(rng("jumps"), 1200.0, 1800.0, lambda r: r.gauss(0.0, 5.0))
        self._outages = _Spells(
            rng("outages"),
            1500.0 if weak else 10_800.0,
            90.0 if weak else 45.0,
            lambda r: r.random(),
            calm=CALM,
        )
        self._calls = _Spells(rng("calls"), 2400.0, 60.0, lambda r: r.random(), calm=CALM)

    def level(self, time: float) -> float:
        """Received level in dBm; busiest, and so lowest, at 19 h."""
        hour = ((self._day_start + time) / 3600.0) % 24.0
        day = -self._swing * math.cos((hour - 19.0) / 24.0 * 2.0 * math.pi) / 2.0
        return self._level + day + self._fading.at(time) + (self._shifts.at(time) or 0.0)

    def outage(self, time: float) -> float | None:
        return self._outages.at(time)

    def call(self, time: float) -> float | None:
        return self._calls.at(time)


class Radio:
    """All ports of a gateway: ``step(now)`` sets the model time, the rest asks about it.

    Parameters
    ----------
    ports : int
        1-32. The last of four or more ports has no SIM, the last but one of eight or more a wrong
        PIN, and port 3 is so weak that it often measures CSQ 0, which the driver shows as -1.
    seed : int
        The same seed gives the same air.
    refresh : float
        Seconds for which the driver shows a measurement before it takes the next; 0 shows every
        one. The phase differs by port.
    restless : bool
        False: no outages and no incoming calls by themselves.
    day_start : float
        Time of day at model time 0, in seconds: the day profile turns on it.
    """

    def __init__(
        self,
        ports: int,
        seed: int,
        *,
        refresh: float = 10.0,
        restless: bool = True,
        day_start: float = 8 * 3600.0,
    ) -> None:
        self.ports = range(1, ports + 1)
        self.now = 0.0
        self._refresh, self._restless = refresh, restless
        rng = random.Random(f"{seed}/ports")  # noqa: S311
        self._air: dict[int, _Air] = {}
        self._spare: dict[int, SimCard] = {}
        self._phase: dict[int, float] = {}
        self._imei: dict[int, str] = {}
        self._times: dict[int, list[float]] = {}
        self._states: dict[int, list[PortState]] = {}
        for port in self.ports:
            weak = port % 8 == 3
            level = rng.uniform(-112.0, -109.5) if weak else rng.uniform(-95.0, -63.0)
            self._air[port] = _Air(seed, port, level, weak=weak, day_start=day_start)
            operator = OPERATORS[(port - 1) % len(OPERATORS)]
            serial = f"{rng.randrange(10**9):09d}"
            imsi = f"{operator.mcc}{operator.mnc}0{serial}"[:15]
            number = operator.prefix + f"{rng.randrange(10**7):07d}"
            self._spare[port] = SimCard(operator, imsi, number, f"{rng.randrange(10**4):04d}")
            self._phase[port] = rng.uniform(0.0, refresh)
            self._imei[port] = f"8613510{rng.randrange(10**8):08d}"
            empty = ports >= 4 and port == ports
            self._times[port] = [-math.inf]
            self._states[port] = [
                PortState(
                    sim=None if empty else self._spare[port],
                    pin_error=ports >= 8 and port == ports - 1,
                )
            ]

    def step(self, now: float) -> None:
        """Move the model time to `now` (seconds); it never runs backwards."""
        self.now = max(self.now, now)

    def check(self, port: int) -> int:
        """Return `port`, or raise InvalidRequest naming the ports that exist."""
        if isinstance(port, bool) or not isinstance(port, int) or port not in self.ports:
            raise InvalidRequest(
                f"port {port!r} is not on this simulated gateway: "
                f"it has ports 1 to {self.ports[-1]}"
            )
        return port

    def state(self, port: int, at: float | None = None) -> PortState:
        """What somebody set by hand, as of `at` or now."""
        return self._states[port][self._index(port, self.now if at is None else at)]

    def change(self, port: int, **changes: object) -> None:
        """Set fields of PortState from now on; the driver's cache follows at once."""
        self._states[port].append(replace(self.state(port), **changes))  # type: ignore[arg-type]
        self._times[port].append(self.now)

    def pin_signal(self, port: int, csq: int | None) -> None:
        """Hold the port at `csq` (0-31, 99) without fading, outages or calls; None lets go."""
        if csq is not None and (
            isinstance(csq, bool)
            or not isinstance(csq, int)
            or not (0 <= csq <= 31 or csq == _NO_SIGNAL)
        ):
            raise InvalidRequest(f"signal {csq!r}: give a CSQ of 0 to 31, 99 (none), or None")
        self.change(port, pinned=csq)

    def spare_sim(self, port: int) -> SimCard:
        """The SIM that belongs to the port, whether it sits in it or not."""
        return self._spare[port]

    def imei(self, port: int) -> str:
        """The IMEI of the port's module: 15 digits."""
        return self._imei[port]

    def truth(self, port: int, at: float | None = None) -> PortTruth:
        """The port at model time `at` (default: now), past or yet to come if nobody touches it."""
        time = self.now if at is None else at
        state = self.state(port, time)
        dbm = self._dbm(port, state, time)
        return PortTruth(
            time=time,
            port=port,
            power=state.power,
            sim=state.sim is not None,
            pin_error=state.pin_error,
            registered=self._registered(port, state, time),
            roaming=state.roaming,
            rssi_dbm=dbm,
            csq=_csq(dbm),
            shown=self._shown(port, time),
            calling=self._calling(port, state, time),
        )

    def _index(self, port: int, at: float) -> int:
        return bisect_right(self._times[port], at) - 1

    def _loose(self, state: PortState) -> bool:
        return self._restless and state.pinned is None

    def _works(self, state: PortState) -> bool:
        return state.power and state.sim is not None and not state.pin_error and not state.blocked

    def _registered(self, port: int, state: PortState, time: float) -> bool:
        if not self._works(state):
            return False
        if state.registered is not None:
            return state.registered
        return not (self._loose(state) and self._air[port].outage(time) is not None)

    def _calling(self, port: int, state: PortState, time: float) -> bool:
        return (
            self._loose(state)
            and self._registered(port, state, time)
            and self._air[port].call(time) is not None
        )

    def _dbm(self, port: int, state: PortState, time: float) -> float | None:
        if not self._works(state) or state.pinned == _NO_SIGNAL:
            return None
        if state.pinned is not None:
            return -113.0 + 2.0 * state.pinned
        outage = self._air[port].outage(time) if self._restless else None
        # Some outages are no coverage at all, others a network that refuses a signal it sends.
        if outage is not None and outage < 0.5:
            return None
        return self._air[port].level(time) + state.gain

    def _shown(self, port: int, time: float) -> int:
        since = time
        if self._refresh > 0:
            since -= (time - self._phase[port]) % self._refresh
        # A change by hand shows at once; a test that set a signal need not wait for the cache.
        since = max(since, self._times[port][self._index(port, time)], 0.0)
        state = self.state(port, since)
        csq = _csq(self._dbm(port, state, since))
        if csq in (0, _NO_SIGNAL) or not self._registered(port, state, since):
            return _UNKNOWN
        return csq


def _csq(dbm: float | None) -> int:
    return _NO_SIGNAL if dbm is None else min(31, max(0, round((dbm + 113.0) / 2.0)))

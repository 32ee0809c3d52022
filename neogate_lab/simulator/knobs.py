"""The knobs of SimulatedGateway for its ports and its faults; never what obeys them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal

from neogate_lab.simulator import ami
from neogate_lab.simulator.checks import number, positive, whole
from neogate_lab.simulator.listener import Listener
from neogate_lab.simulator.radio import Radio
from neogate_lab.simulator.session import Hub


class PortKnobs(ABC):
    """What a port is like; it changes at once."""

    _listener: Listener
    _radio: Radio

    @abstractmethod
    def now(self) -> float:
        """Model time in seconds."""

    def set_signal(self, port: int, signal: int | None) -> None:
        """Hold a port at a CSQ (0-31, 99 for none), calm and shown at once; None lets go."""
        self._radio.check(port)
        self._change(lambda: self._radio.pin_signal(port, signal))

    def set_gain(self, port: int, gain: float) -> None:
        """Have a port receive `gain` dB more than at the start, as if its antenna was moved."""
        self._radio.check(port)
        number("gain", gain)
        self._change(lambda: self._radio.change(port, gain=float(gain)))

    def set_status(
        self,
        port: int,
        *,
        registered: bool | Literal["auto"] | None = None,
        roaming: bool | None = None,
        power: bool | None = None,
        alarm: bool | None = None,
        pin_error: bool | None = None,
        blocked: bool | None = None,
        network: str | None = None,
        network_status: str | None = None,
        state: str | None = None,
    ) -> None:
        """Change what a port is like; what is left out stays as it is.

        Parameters
        ----------
        port : int
        registered : bool or "auto"
            "auto" gives it back to the model.
        roaming, power, alarm, pin_error, blocked : bool
        network, network_status, state : str
            Words instead of the model's; "auto" gives them back.
        """
        self._radio.check(port)
        given: dict[str, object] = {
            "registered": registered,
            "roaming": roaming,
            "power": power,
            "alarm": alarm,
            "pin_error": pin_error,
            "blocked": blocked,
            "network": network,
            "network_status": network_status,
            "state": state,
        }
        changes = {
            name: None if value == "auto" else value
            for name, value in given.items()
            if value is not None
        }
        self._change(lambda: self._radio.change(port, **changes))

    def remove_sim(self, port: int) -> None:
        """Take the SIM out."""
        self._radio.check(port)
        self._change(lambda: self._radio.change(port, sim=None))

    def insert_sim(self, port: int) -> None:
        """Put the port's SIM in (again); it registers at once, its PIN is right."""
        sim = self._radio.spare_sim(self._radio.check(port))
        self._change(lambda: self._radio.change(port, sim=sim, pin_error=False, blocked=False))

    def _change(self, action: Callable[[], None]) -> None:
        def change() -> None:
            self._radio.step(self.now())
            action()

        self._listener.call(change)


class FaultKnobs:
    """The faults of SimulatedGateway; their times are real seconds."""

    _listener: Listener
    _hub: Hub

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close all connections, with an EOF or a reset; it goes on listening."""

        def drop() -> None:
            for session in tuple(self._hub.live):
                session.drop(reset=reset)

        self._listener.call(drop)

    def freeze(self, seconds: float | None = None) -> None:
        """Accept connections and answer nothing, for real `seconds` or until `thaw`.

        What arrives meanwhile is carried out and answered afterwards.
        """
        if seconds is not None:
            positive("seconds", seconds)

        self._listener.call_running(lambda: self._hub.freeze(seconds))

    def thaw(self) -> None:
        """End a freeze."""
        self._listener.call(self._hub.thaw)

    def delay_replies(self, seconds: float) -> None:
        """Answer everything late by real `seconds`; 0 ends it."""
        positive("seconds", seconds, zero=True)
        self._set_fault("reply_delay", seconds)

    def swallow(self, n: int = 1, *, execute: bool = False) -> None:
        """Give the next `n` CLI commands no answer at all; `execute` runs them in silence."""
        whole("n", n, 0, None)
        self._set_fault("swallow_after_running", execute)
        self._set_fault("swallow", n)

    def cut_next_reply(self, n: int = 1) -> None:
        """Send half of the next reply, then close; so with the next `n`."""
        whole("n", n, 0, None)
        self._set_fault("cuts", n)

    def trickle(self, n: int = 1, interval: float = 0.001) -> None:
        """Send `n` bytes at a time, `interval` real seconds apart; 0 ends it."""
        whole("n", n, 0, None)
        positive("interval", interval, zero=True)
        self._set_fault("trickle_interval", interval)
        self._set_fault("trickle", n)

    def interleave_events(self, on: bool = True) -> None:
        """Deliver events also while a command runs, as no serial manager would."""
        self._set_fault("interleave", on)

    def refuse_logins(
        self, message: str = "Authentication failed", times: int | None = None
    ) -> None:
        """Refuse logins with these words, the next `times` or until `accept_logins`."""
        if times is not None:
            whole("times", times, 1, None)
        self._set_fault("refusals_left", times)
        self._set_fault("refusal", message)

    def accept_logins(self) -> None:
        """End `refuse_logins`."""
        self._set_fault("refusal", None)

    def send_event(
        self, event: str, headers: Mapping[str, object] | None = None, /, **more: object
    ) -> None:
        """Send any event, its values as given, to all sessions that listen."""
        pairs = {**(headers or {}), **more}
        data = ami.event(event, [(key, str(value)) for key, value in pairs.items()])
        self._listener.call_running(lambda: self._hub.broadcast(data))

    def send_raw(self, data: bytes) -> None:
        """Send any bytes to all sessions that listen, where an event could stand."""
        self._listener.call_running(lambda: self._hub.broadcast(bytes(data)))

    def _set_fault(self, name: str, value: object) -> None:
        self._listener.call(lambda: setattr(self._hub.faults, name, value))

"""What every simulated gateway is: one user's session over TCP; never what it answers."""

from __future__ import annotations

from typing import Self

from neogate_lab.simulator.listener import Listener
from neogate_lab.simulator.session import Hub

__all__ = ["Served"]


class Served:
    """Starts and stops, also under ``with``, and tells where it listens and for whom."""

    _hub: Hub
    _listener: Listener

    @property
    def host(self) -> str:
        """Address it listens on."""
        return self._listener.host

    @property
    def port(self) -> int:
        """TCP port it listens on; 0 before the first start if none was asked for."""
        return self._listener.port

    @property
    def username(self) -> str:
        """The one user it knows."""
        return self._hub.settings.username

    @property
    def password(self) -> str:
        """The password of that user."""
        return self._hub.settings.password

    @property
    def logins(self) -> int:
        """How many logins were accepted."""
        return self._hub.logins

    def start(self) -> Self:
        """Listen; after a stop again on the same port, from the beginning.

        Raises
        ------
        InvalidRequest
            The address can't be listened on.
        """
        self._listener.start()
        return self

    def stop(self) -> None:
        """Close every socket and join the thread; a second call does nothing."""
        self._listener.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

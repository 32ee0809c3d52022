"""Every exception and warning of the package; nothing is raised that is not drawn here.

::

    NeogateError
    ├── InvalidRequest (ValueError)          you asked for something impossible; nothing was sent
    │   └── BudgetExceeded                   it would cost more segments than ``sms_budget`` allows
    ├── Unreachable (ConnectionError)        no TCP connection: refused, timed out, closed at once
    ├── LoginRefused                         the gateway did not accept the user name and password
    ├── ConnectionLost (ConnectionError)     the link is down now; it is being restored
    ├── CommandRefused                       the gateway answered with an error; its words, redacted
    ├── NoAnswer (TimeoutError)              nothing came in time
    ├── ProtocolError                        what came is not what a NeoGate says; keeps the bytes
    ├── WrongThread (RuntimeError)           a blocking verb was called on the event-loop thread
    ├── GatewayClosed (RuntimeError)         the object was closed, or belongs to a forked parent
    └── StoreError                           the history on disk can't be read or written

    NeogateWarning (UserWarning)             something works less well than asked

Each message says what happened, to which gateway and port, and what to do.
"""

from __future__ import annotations

__all__ = [
    "BudgetExceeded",
    "CommandRefused",
    "ConnectionLost",
    "GatewayClosed",
    "InvalidRequest",
    "LoginRefused",
    "NeogateError",
    "NeogateWarning",
    "NoAnswer",
    "ProtocolError",
    "StoreError",
    "Unreachable",
    "WrongThread",
]


class NeogateError(Exception):
    """Base of every error that this package raises."""


class InvalidRequest(NeogateError, ValueError):
    """The request itself is wrong: nothing was sent and nothing changed."""


class BudgetExceeded(InvalidRequest):
    """Sending would go over ``sms_budget`` (segments a store and 24 hours)."""


class Unreachable(NeogateError, ConnectionError):
    """No TCP connection to the gateway could be made."""


class LoginRefused(NeogateError):
    """The gateway refused the login; it gives the same words for every reason (WIRE §1)."""


class ConnectionLost(NeogateError, ConnectionError):
    """The connection broke, or is down at the moment."""


class CommandRefused(NeogateError):
    """The gateway answered a command with an error (WIRE §2)."""


class NoAnswer(NeogateError, TimeoutError):
    """The gateway, or the awaited message, stayed silent for the whole time allowed."""


class ProtocolError(NeogateError):
    """The peer sent something that a NeoGate gateway never sends.

    Attributes
    ----------
    data : bytes
        The start of what came, at most 1024 bytes.
    """

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = bytes(data[:1024])


class WrongThread(NeogateError, RuntimeError):
    """A blocking verb was called on the event-loop thread, where it would wait for itself."""


class GatewayClosed(NeogateError, RuntimeError):
    """The gateway object was closed; connect again."""


class StoreError(NeogateError):
    """The store can't be opened, read or written."""


class NeogateWarning(UserWarning):
    """Something works, but less well than was asked for."""

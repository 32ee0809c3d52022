"""What the user wants called for each message: kept by name, called once, never fatal."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from neogate_lab.errors import InvalidRequest, NeogateWarning
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.warn import warn

__all__ = ["Handlers", "SmsHandler"]

logger = logging.getLogger(__name__)

SmsHandler = Callable[[ReceivedSms], Any]


class Handlers:
    """Handlers by name, so that a re-run cell replaces its handler instead of adding one.

    Attributes
    ----------
    errors : deque of (str, BaseException)
        The latest 100 failures: handler's name and what it raised.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[SmsHandler, bool]] = {}
        self.errors: deque[tuple[str, BaseException]] = deque(maxlen=100)

    def add(self, handler: SmsHandler, name: str | None, incomplete: bool) -> str:
        """Set the handler called `name`; the name it got."""
        if not callable(handler):
            raise InvalidRequest(f"the handler must be callable, not {type(handler).__name__}")
        if name is None:
            name = getattr(handler, "__qualname__", "")
            if not name or "<lambda>" in name:
                raise InvalidRequest(
                    "this handler has no name of its own (a lambda or a partial): give one as "
                    "on_sms(handler, name='...'), so that running the cell again replaces it"
                )
        if not isinstance(name, str):
            raise InvalidRequest(f"a handler's name is text, not {name!r}")
        self._handlers[name] = (handler, incomplete)
        return name

    def remove(self, name: str) -> None:
        """Forget the handler called `name`."""
        if self._handlers.pop(name, None) is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            raise InvalidRequest(f"no handler is called {name!r}; there are: {known}")

    def wanting(self, message: ReceivedSms) -> list[tuple[str, SmsHandler]]:
        """The handlers that are to be called with this message."""
        return [
            (name, handler)
            for name, (handler, incomplete) in list(self._handlers.items())
            if message.complete or incomplete
        ]

    def failed(self, name: str, error: BaseException) -> None:
        """Keep what a handler raised, and warn of it."""
        self.errors.append((name, error))
        try:
            warn(
                f"the on_sms handler {name!r} raised {type(error).__name__}; the message is in "
                "inbox(), and the error in gw.handler_errors",
                error,
            )
        except NeogateWarning as strict:
            # Warnings are errors here; the thread that delivers messages must outlive that.
            logger.error("%s", strict)

"""How to talk to a gateway: the settings of a link, checked once; nothing here acts on them."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from neogate_lab.errors import InvalidRequest

__all__ = ["DEFAULT_PORT", "LinkOptions", "address_of", "check_seconds", "check_words"]

DEFAULT_PORT = 5038
"""Where the API listens unless its settings say otherwise."""


def address_of(host: str, port: int) -> str:
    """Where a gateway is, in few words, and its name if nobody gave one."""
    return host if port == DEFAULT_PORT else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to talk to a gateway; the keywords of `neogate_lab.connect`, checked.

    Raises
    ------
    InvalidRequest
        A value is out of range; the message names it.
    """

    span_offset: int = 1
    gateway_timezone: str | None = None
    connect_timeout: float = 10.0
    command_timeout: float = 15.0
    keepalive: float = 30.0
    sms_interval: float = 10.0
    sms_status_timeout: float = 180.0
    sms_budget: int | None = None
    part_timeout: float = 300.0
    max_line: int = 1024
    record: Path | None = None

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "command_timeout", "keepalive", "part_timeout"):
            check_seconds(name, getattr(self, name), above=0)
        for name in ("sms_interval", "sms_status_timeout"):
            check_seconds(name, getattr(self, name), least=0)
        for name, least in (("max_line", 128), ("span_offset", 0), ("sms_budget", 0)):
            value = getattr(self, name)
            if value is None and name == "sms_budget":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidRequest(f"{name} must be a whole number >= {least}, not {value!r}")
        _ = self.zone

    @property
    def zone(self) -> tzinfo | None:
        """`gateway_timezone` as a tzinfo."""
        if self.gateway_timezone is None:
            return None
        try:
            return ZoneInfo(self.gateway_timezone)
        except (ZoneInfoNotFoundError, ValueError, TypeError) as error:
            raise InvalidRequest(
                f"gateway_timezone={self.gateway_timezone!r} is no known time zone; give a name "
                "such as 'Europe/Rome' or 'UTC'"
            ) from error


def check_seconds(name: str, value: Any, *, above: float | None = None, least: float = 0) -> None:
    """Raise `InvalidRequest` unless `value` is a number of seconds within its bounds."""
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and value < 1e9
    if not fits or value < least or (above is not None and value <= above):
        bound = f"> {above:g}" if above is not None else f">= {least:g}"
        raise InvalidRequest(
            f"{name} must be a number of seconds {bound}, below 1e9, not {value!r}"
        )


def check_words(name: str, value: Any) -> None:
    """Raise `InvalidRequest` unless `value` is text, or None."""
    if not isinstance(value, str | None):
        raise InvalidRequest(
            f"{name} must be text, and is of type {type(value).__name__}: a number type drops the "
            "+ and leading zeros"
        )

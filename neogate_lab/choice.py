"""How users say which ports: one, several, or all; which there are is for others to know."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["PortChoice", "again"]

PortChoice = int | Iterable[int] | None
"""Physical ports, from 1: one, several, or None for all."""


def again(port: PortChoice) -> PortChoice:
    """The same ports, to be read more than once: what yields them only once is made a list."""
    return list(port) if isinstance(port, Iterable) else port

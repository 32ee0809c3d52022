"""Bytes of the wire <-> packets, however the bytes are cut (WIRE §1, §2, §8); never their meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Packet:
    """One unit of the wire."""

    kind: Literal["banner", "response", "event", "unknown"]
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    raw: bytes = b""

    def get(self, name: str, default: str = "") -> str: ...


@dataclass(frozen=True, slots=True)
class Action:
    """What a client asks: a manager action with its header fields, in order."""

    name: str
    fields: tuple[tuple[str, str], ...] = ()


class PacketParser:
    """Turns received bytes into packets."""

    def __init__(self, max_packet: int = 1 << 20) -> None: ...
    def feed(self, data: bytes) -> Iterator[Packet]: ...
    @property
    def pending(self) -> bytes: ...


def encode(action: Action, action_id: str = "") -> bytes: ...

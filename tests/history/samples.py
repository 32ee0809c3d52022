"""Rows as the link would record them, at a fixed noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def measurement(seconds: float = 0, port: int = 1, **values: Any) -> dict[str, Any]:
    return {
        "time": at(seconds),
        "gateway": "lab",
        "port": port,
        "span": port + 1,
        "ok": True,
        "signal_raw": 17,
        "signal": 17,
        "rssi_dbm": -79,
        "ber": 0,
        "registered": True,
        "network": "MegaFon",
        "latency_ms": 12.5,
        "label": "roof",
        **values,
    }


def part(seconds: float = 0, **values: Any) -> dict[str, Any]:
    return {
        "received_at": at(seconds),
        "gateway": "lab",
        "port": 1,
        "span": 2,
        "sender": "+390123",
        "content": "Ok",
        "index": 1,
        "total": 1,
        **values,
    }


def message(seconds: float = 0, **values: Any) -> dict[str, Any]:
    return {
        "received_at": at(seconds),
        "gateway": "lab",
        "port": 1,
        "span": 2,
        "sender": "+390123",
        "text": "Ok",
        "parts": 1,
        "total": 1,
        "complete": True,
        "encoding": "plain",
        **values,
    }


def sms(seconds: float = 0, **values: Any) -> dict[str, Any]:
    return {
        "queued_at": at(seconds),
        "gateway": "lab",
        "port": 1,
        "span": 2,
        "to": "+390123",
        "text": "hello",
        "encoding": "gsm7",
        "segments": 1,
        **values,
    }

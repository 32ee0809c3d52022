"""The command `neogate-lab`: the only place that prints; it does nothing that the API can't do."""

from __future__ import annotations

try:
    from neogate_lab.cli import (
        dashboard,
        demo,
        doctor,
        export,
        record,
        replay,
        report,
        send,
        simulate,
        spans,
        survey,
        ussd,
    )
    from neogate_lab.cli.base import app
except KeyboardInterrupt:  # Ctrl-C while this is read, which takes a moment
    raise SystemExit(130) from None

__all__ = [
    "app",
    "dashboard",
    "demo",
    "doctor",
    "export",
    "record",
    "replay",
    "report",
    "send",
    "simulate",
    "spans",
    "survey",
    "ussd",
]

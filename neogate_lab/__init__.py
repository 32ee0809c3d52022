"""A Jupyter toolkit for NeoGate TG GSM gateways: signal surveys, SMS and USSD as DataFrames.

>>> import neogate_lab as ng
>>> gw = ng.demo()          # a simulated gateway over real TCP; ng.connect("192.168.5.150", …)
>>> gw.spans()              # one row a port
>>> gw.close()

Everything heavy (pandas, Arrow, matplotlib, widgets) is imported on first use.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from neogate_lab.errors import (
    BudgetExceeded,
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    LoginRefused,
    NeogateError,
    NeogateWarning,
    NoAnswer,
    ProtocolError,
    StoreError,
    Unreachable,
    WrongThread,
)

if TYPE_CHECKING:
    from neogate_lab.analysis import plots
    from neogate_lab.analysis.balances import Balance, parse_balance
    from neogate_lab.analysis.comparison import compare
    from neogate_lab.analysis.report import write_report
    from neogate_lab.analysis.summaries import (
        availability,
        delivery,
        handovers,
        latency,
        operators,
        outages,
        signal_summary,
    )
    from neogate_lab.connecting import connect, connect_all, demo
    from neogate_lab.doctor import diagnose
    from neogate_lab.fleet import Fleet
    from neogate_lab.gateway import Gateway, UssdSession
    from neogate_lab.history.columns import describe
    from neogate_lab.history.export import read_csv, read_parquet
    from neogate_lab.history.store import Store, open_store
    from neogate_lab.link.async_gateway import AsyncGateway
    from neogate_lab.link.inbox import ReceivedSms
    from neogate_lab.link.outbox import SmsResult
    from neogate_lab.notebook.compose import ComposePanel
    from neogate_lab.notebook.dashboard import Dashboard
    from neogate_lab.notebook.inbox import InboxPanel
    from neogate_lab.notebook.monitor import SignalPanel
    from neogate_lab.notebook.nested import allow_nested_loops
    from neogate_lab.notebook.ussd import UssdPanel
    from neogate_lab.protocol.records import SpanDetail, SpanStatus, UssdReply
    from neogate_lab.simulator import SimulatedGateway
    from neogate_lab.survey import Survey

__version__ = "0.1.0"

_HOMES = {
    "AsyncGateway": "link.async_gateway",
    "Balance": "analysis.balances",
    "ComposePanel": "notebook.compose",
    "Dashboard": "notebook.dashboard",
    "Fleet": "fleet",
    "Gateway": "gateway",
    "InboxPanel": "notebook.inbox",
    "ReceivedSms": "link.inbox",
    "SignalPanel": "notebook.monitor",
    "SimulatedGateway": "simulator",
    "SmsResult": "link.outbox",
    "SpanDetail": "protocol.records",
    "SpanStatus": "protocol.records",
    "Store": "history.store",
    "Survey": "survey",
    "UssdPanel": "notebook.ussd",
    "UssdReply": "protocol.records",
    "UssdSession": "gateway",
    "allow_nested_loops": "notebook.nested",
    "availability": "analysis.summaries",
    "compare": "analysis.comparison",
    "connect": "connecting",
    "connect_all": "connecting",
    "delivery": "analysis.summaries",
    "demo": "connecting",
    "describe": "history.columns",
    "diagnose": "doctor",
    "handovers": "analysis.summaries",
    "latency": "analysis.summaries",
    "open_store": "history.store",
    "operators": "analysis.summaries",
    "outages": "analysis.summaries",
    "parse_balance": "analysis.balances",
    "plots": "analysis.plots",
    "read_csv": "history.export",
    "read_parquet": "history.export",
    "signal_summary": "analysis.summaries",
    "write_report": "analysis.report",
}
"""Public name -> the module below this package that defines it, imported on first use."""

__all__ = [
    "AsyncGateway",
    "Balance",
    "BudgetExceeded",
    "CommandRefused",
    "ComposePanel",
    "ConnectionLost",
    "Dashboard",
    "Fleet",
    "Gateway",
    "GatewayClosed",
    "InboxPanel",
    "InvalidRequest",
    "LoginRefused",
    "NeogateError",
    "NeogateWarning",
    "NoAnswer",
    "ProtocolError",
    "ReceivedSms",
    "SignalPanel",
    "SimulatedGateway",
    "SmsResult",
    "SpanDetail",
    "SpanStatus",
    "Store",
    "StoreError",
    "Survey",
    "Unreachable",
    "UssdPanel",
    "UssdReply",
    "UssdSession",
    "WrongThread",
    "__version__",
    "allow_nested_loops",
    "availability",
    "compare",
    "connect",
    "connect_all",
    "delivery",
    "demo",
    "describe",
    "diagnose",
    "handovers",
    "latency",
    "open_store",
    "operators",
    "outages",
    "parse_balance",
    "plots",
    "read_csv",
    "read_parquet",
    "signal_summary",
    "write_report",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{home}")
    value = module if home.rpartition(".")[2] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

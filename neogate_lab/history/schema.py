"""Every table's columns, types, units and meaning, declared once; nothing else defines a column.

Kinds, and what they are in pandas, Arrow and SQLite:

========  =====================  =====================  ===========================================
kind      pandas                 Arrow                  SQLite
========  =====================  =====================  ===========================================
time      datetime64[us, UTC]    timestamp[us, UTC]     INTEGER, microseconds since 1970 UTC
text      str                    string                 TEXT, never NULL ("" is none)
cat       category of str        dictionary of string   TEXT, never NULL ("" is none)
int8…64   Int8 … Int64           int8 … int64           INTEGER, NULL is unknown
flag      boolean                bool                   INTEGER 0/1, NULL is unknown
float     float64                float64                REAL, NULL is unknown (NaN in pandas)
========  =====================  =====================  ===========================================
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

__all__ = ["ALIASES", "FLEET_VIEWS", "SCHEMA_VERSION", "TABLES", "VIEWS", "Column", "Kind", "Table"]

SCHEMA_VERSION = 3

Kind = Literal["time", "text", "cat", "int8", "int16", "int32", "int64", "flag", "float"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, kind, unit ("" is none) and meaning.

    ``since`` is the `SCHEMA_VERSION` that brought it: what was written before lacks it, and reads
    as unknown. ``values`` are the only ones that this package writes there; empty is any.
    """

    name: str
    kind: Kind
    doc: str
    unit: str = ""
    since: int = 1
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table: what a row is, its columns in order, and whether its rows ever change.

    ``sealable`` tables are append-only: their rows may move from the journal into segments.
    ``time`` names the column that ``since`` and ``until`` filter.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    time: str = "time"
    sealable: bool = False

    def column(self, name: str) -> Column:
        """Return the column called `name`; `KeyError` when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def later(self, names: Collection[str]) -> tuple[Column, ...]:
        """Columns that are not among `names` because those were written before they came."""
        return tuple(
            column for column in self.columns if column.since > 1 and column.name not in names
        )


ROW_ID = Column("row_id", "int64", "stable and rising within a store")
GATEWAY = Column("gateway", "cat", "the gateway's name, else its profile's, else host[:port]")
PORT = Column("port", "int16", "radio port as printed on the box, from 1")
SPAN = Column("span", "int16", "the port's number on the wire: port + span_offset (WIRE §4)")

_SPAN_STATUS = (
    Column("power", "flag", "the radio module has power"),
    Column("provisioned", "flag", "configured; missing where the firmware never says (WIRE §5)"),
    Column("alarm", "flag", "In Alarm"),
    Column("sim", "flag", "a SIM card is detected"),
    Column("up", "flag", "ready for traffic"),
    Column("active", "flag", "Active (True) or Standby (False)"),
    Column("mode", "cat", "Standard or Multiplexer"),
    Column("status", "cat", "the status word as sent; a PIN is masked"),
)

_SIGNAL = Table(
    "signal",
    "one scheduled measurement of one port, also when it failed",
    (
        ROW_ID,
        Column("time", "time", "the tick: when the measurement was due", "UTC"),
        GATEWAY,
        PORT,
        SPAN,
        Column("ok", "flag", "answered and understood"),
        Column(
            "error",
            "cat",
            '"", no_answer, disconnected, refused, missed or unparsed',
            values=("", "no_answer", "disconnected", "refused", "missed", "unparsed"),
        ),
        Column("signal_raw", "int16", "CSQ as sent, -1 and 99 included"),
        Column("signal", "int8", "CSQ 0-31 (3GPP TS 27.007 §8.5), missing when unknown"),
        Column("rssi_dbm", "int16", "received signal strength from CSQ; see rssi_bound", "dBm"),
        Column("rssi_bound", "cat", '"", "<=" (CSQ 0: at most) or ">=" (CSQ 31: at least)'),
        Column("ber", "int8", "bit error rate as RXQUAL 0-7 (3GPP TS 45.008 §8.2.4)"),
        Column("up", "flag", "ready for traffic"),
        Column("registered", "flag", "registered with a network, home or roaming"),
        Column("roaming", "flag", "registered while roaming"),
        Column("network", "cat", "network name or MCC+MNC as sent"),
        Column("network_status", "cat", "registration status as sent"),
        Column("state", "cat", "state as sent, phone numbers removed"),
        Column("last_event", "cat", "the port's last event as sent"),
        Column("latency_ms", "float", "from the tick to the answer", "ms"),
        Column("label", "cat", "what was being measured: place, antenna, operator"),
        Column("survey", "cat", "the survey's name; empty for a single sample"),
        Column("power", "flag", "the radio module has power", since=2),
        Column("sim", "flag", "a SIM card is detected", since=2),
    ),
    sealable=True,
)

_MESSAGES = Table(
    "messages",
    "a received SMS, joined from its parts",
    (
        ROW_ID,
        Column("received_at", "time", "when its last part arrived here", "UTC"),
        GATEWAY,
        PORT,
        SPAN,
        Column("sender", "text", "as sent: a number, a short code or a name"),
        Column("text", "text", "decoded and joined"),
        Column("gateway_time", "text", "the gateway's own clock as sent, no zone (WIRE §8)"),
        Column("gateway_time_utc", "time", "the same read in gateway_timezone, if given", "UTC"),
        Column("smsc", "text", "SMS centre"),
        Column("reference", "text", "the ID of a long SMS; empty for a single part"),
        Column("parts", "int16", "parts that arrived"),
        Column("total", "int16", "parts that the sender announced"),
        Column("complete", "flag", "every part arrived, and is surely its own"),
        Column("encoding", "cat", "how the content was written: percent, plain, ucs2-hex, latin-1"),
    ),
    time="received_at",
)

_MESSAGE_PARTS = Table(
    "message_parts",
    "a part of a received SMS as it came, raw and never changed",
    (
        ROW_ID,
        Column("received_at", "time", "when it arrived here", "UTC"),
        GATEWAY,
        PORT,
        SPAN,
        Column("sender", "text", "as sent"),
        Column("content", "text", "Content as sent; a byte that is not UTF-8 stands as %XX"),
        Column("recvtime", "text", "Recvtime as sent"),
        Column("smsc", "text", "SMS centre"),
        Column("reference", "text", "ID as sent"),
        Column("index", "int16", "Index as sent (WIRE §8: base 0 or 1)"),
        Column("total", "int16", "Total as sent"),
    ),
    time="received_at",
    sealable=True,
)

_OUTBOX = Table(
    "outbox",
    "an SMS to send, and what became of it",
    (
        ROW_ID,
        Column("queued_at", "time", "when it was asked for", "UTC"),
        GATEWAY,
        PORT,
        SPAN,
        Column("to", "text", "destination as given"),
        Column("text", "text", "the text as given"),
        Column("encoding", "cat", "gsm7 or ucs2"),
        Column("segments", "int16", "SMS segments that it takes (3GPP TS 23.040 §9.2.3.24.1)"),
        Column("id", "text", "the id on the wire, unique across clients"),
        Column("key", "text", "the caller's idempotency key; empty for none"),
        Column(
            "status",
            "cat",
            "queued, written, sent, failed, unknown or cancelled",
            values=("queued", "written", "sent", "failed", "unknown", "cancelled"),
        ),
        Column("written_at", "time", "committed as written, just before the bytes left", "UTC"),
        Column("status_at", "time", "when the status last changed", "UTC"),
        Column("smsc", "text", "SMS centre that took it"),
        Column("error", "text", "why it failed, in words; empty for no error"),
        Column("owner", "text", "process that may write it"),
        Column("auto", "flag", 'port="auto" was asked for: queued, it leaves a dead port', since=3),
    ),
    time="queued_at",
)

_USSD = Table(
    "ussd",
    "one USSD exchange",
    (
        ROW_ID,
        Column("time", "time", "when the code was sent", "UTC"),
        GATEWAY,
        PORT,
        SPAN,
        Column("code", "text", "what was sent"),
        Column(
            "outcome",
            "cat",
            "done, menu, ended, other_client, not_supported, network_timeout, failed, busy, "
            "timeout; without an answer: no_answer, disconnected, refused, interrupted",
            values=(
                *("done", "menu", "ended", "other_client", "not_supported", "network_timeout"),
                *("failed", "busy", "timeout"),
                *("no_answer", "disconnected", "refused", "interrupted"),
            ),
        ),
        Column("menu", "flag", "the network waits for an answer"),
        Column("text", "text", "decoded answer"),
        Column("dcs", "int16", "data coding scheme (3GPP TS 23.038 §5)"),
        Column("raw", "text", "the answer as sent"),
        Column("doubtful", "flag", "may belong to an earlier request, or its length is wrong"),
        Column("latency_ms", "float", "from sending to the answer", "ms"),
    ),
    sealable=True,
)

_CONNECTIONS = Table(
    "connections",
    "a change of a link, or a time when nobody measured",
    (
        ROW_ID,
        Column("time", "time", "when it was noticed", "UTC"),
        GATEWAY,
        Column(
            "event",
            "cat",
            "connected, unreachable, lost, restored, closed, refused; asleep, clock_changed, "
            "not_running: a survey that could not measure",
            values=(
                *("connected", "unreachable", "lost", "restored", "closed", "refused"),
                *("asleep", "clock_changed", "not_running"),
            ),
        ),
        Column("reason", "text", "why, in words"),
        Column("gap_s", "float", "how long nothing could be seen before this", "s"),
    ),
    sealable=True,
)

_IDENTITIES = Table(
    "identities",
    "a change of what a port holds",
    (
        ROW_ID,
        Column("time", "time", "when it was noticed", "UTC"),
        GATEWAY,
        PORT,
        SPAN,
        Column("manufacturer", "cat", "of the radio module"),
        Column("model", "cat", "of the radio module"),
        Column("revision", "cat", "firmware of the radio module"),
        Column("imei", "text", "equipment identity, personal"),
        Column("imsi", "text", "subscriber identity, personal"),
        Column("operator", "cat", "home operator, from the IMSI's MCC and MNC"),
        Column("country", "cat", "home country, from the IMSI's MCC"),
        Column("smsc", "text", "SMS centre of the SIM"),
        Column("extra", "text", "unknown fields as JSON"),
    ),
)

_SURVEYS = Table(
    "surveys",
    "a stretch in which a survey measured, and its settings; it goes on under the same name",
    (
        ROW_ID,
        Column("time", "time", "start of the stretch; of the first one: the first tick", "UTC"),
        GATEWAY,
        Column("name", "cat", "the survey's name"),
        Column("every_s", "float", "distance of the ticks", "s"),
        Column("duration_s", "float", "planned length, all stretches; missing: no end", "s"),
        Column("ports", "text", "ports as a JSON list; empty for all"),
        Column("label", "cat", "the label it was given; changed by marks"),
        Column("stopped_at", "time", "missing while it runs, or when its process died", "UTC"),
        Column(
            "reason",
            "cat",
            "empty while it runs; done, paused, stopped, closed, failed, or died: found when it "
            "went on",
            values=("", "done", "paused", "stopped", "closed", "failed", "died"),
        ),
    ),
)

_MARKS = Table(
    "marks",
    "a label from a time on, for a port or for all",
    (
        ROW_ID,
        Column("time", "time", "from when", "UTC"),
        GATEWAY,
        PORT,
        Column("label", "cat", "what is measured from here on"),
        Column("survey", "cat", "the survey's name"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _SIGNAL,
        _SURVEYS,
        _MARKS,
        _IDENTITIES,
        _MESSAGES,
        _MESSAGE_PARTS,
        _OUTBOX,
        _USSD,
        _CONNECTIONS,
    )
}
"""The stored tables by name."""

_SPANS = Table("spans", "one port, as `gsm show spans` says now", (PORT, SPAN, *_SPAN_STATUS))

_DIAGNOSTICS = Table(
    "diagnostics",
    "one port, as `gsm show span N` says now",
    (
        PORT,
        SPAN,
        *_SPAN_STATUS,
        Column("manufacturer", "cat", "of the radio module"),
        Column("model", "cat", "of the radio module"),
        Column("revision", "cat", "firmware of the radio module"),
        Column("imei", "text", "equipment identity, personal"),
        Column("imsi", "text", "subscriber identity, personal"),
        Column("operator", "cat", "home operator, from the IMSI's MCC and MNC"),
        *(_SIGNAL.column(n) for n in ("network", "network_status", "registered", "roaming")),
        *(_SIGNAL.column(n) for n in ("signal_raw", "signal", "rssi_dbm", "rssi_bound", "ber")),
        Column("smsc", "text", "SMS centre of the SIM"),
        Column("pdd", "float", "post-dial delay", "s"),
        Column("asr", "float", "answer-seizure ratio", "%"),
        Column("acd", "float", "average call duration", "s"),
        *(_SIGNAL.column(n) for n in ("state", "last_event")),
        Column("extra", "text", "unknown fields as JSON"),
    ),
)

_BATCH = Table(
    "batch",
    "what became of a row of a batch of SMS",
    (
        PORT,
        *(_OUTBOX.column(n) for n in ("key", "id", "encoding", "segments")),
        Column("status", "cat", "as in outbox; planned in a dry run"),
        *(_OUTBOX.column(n) for n in ("error", "queued_at", "written_at", "status_at")),
        Column("due_at", "time", "when its turn comes, while the link is up: an estimate", "UTC"),
        Column("earlier", "flag", "an earlier call sent it: nothing was sent now"),
    ),
    time="queued_at",
)

_WAITING = Table(
    "waiting",
    "an SMS that waits for its turn",
    (
        PORT,
        *(_OUTBOX.column(n) for n in ("to", "text", "segments", "key", "id", "queued_at")),
        Column("due_at", "time", "when its turn comes, while the link is up: an estimate", "UTC"),
    ),
    time="queued_at",
)

_LOOPBACK = Table(
    "loopback",
    "an SMS from one port to another",
    (
        Column("n", "int32", "its number, from 1"),
        Column("from_port", "int16", "port that sent it"),
        Column("to_port", "int16", "port that should receive it"),
        Column("id", "text", "its id in outbox"),
        Column("status", "cat", "as in outbox"),
        Column("segments", "int16", "parts that it was sent in"),
        Column("parts", "int16", "parts that arrived; missing while none did"),
        Column("written_at", "time", "when it left", "UTC"),
        Column("status_at", "time", "when the SMS centre took it", "UTC"),
        Column("received_at", "time", "when its last part arrived; missing when lost", "UTC"),
        Column("delay_s", "float", "from written_at to received_at", "s"),
        Column("lost", "flag", "it did not arrive whole in time"),
    ),
    time="written_at",
)

_REPLIES = Table(
    "replies",
    "a port's answer to a USSD code",
    (
        PORT,
        SPAN,
        *(_USSD.column(n) for n in ("code", "outcome", "menu", "text", "dcs", "doubtful")),
    ),
)

_BALANCES = Table(
    "balances",
    "a port's answer to a code that asks for its balance",
    (
        ROW_ID,
        _USSD.column("time"),
        PORT,
        SPAN,
        _USSD.column("code"),
        Column("amount", "float", "missing when the answer tells none"),
        Column("currency", "cat", "ISO 4217 where the words tell it, else as written"),
        *(_USSD.column(n) for n in ("outcome", "text", "doubtful")),
    ),
)

VIEWS: dict[str, Table] = {
    table.name: table
    for table in (_SPANS, _DIAGNOSTICS, _BATCH, _WAITING, _LOOPBACK, _REPLIES, _BALANCES)
}
"""Frames that are answered, and not stored as they are."""

FLEET_VIEWS: dict[str, Table] = {
    view.name: Table(
        view.name, f"{view.row}, of several gateways", (GATEWAY, *view.columns), view.time
    )
    for view in VIEWS.values()
}
"""The same of several gateways, by the view's name."""

ALIASES = {"inbox": "messages", "ussd_log": "ussd"}
"""What the verbs call a table, where that is not its name."""

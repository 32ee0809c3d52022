"""What a report is made of: a store's tables, redacted, and answers that several sections share.

Everything that a report tells is read from copies that were redacted before, as exports are, so
that nothing else can reach its page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from neogate_lab.analysis import findings, summaries
from neogate_lab.analysis.tables import extents, fetch
from neogate_lab.history.export import read_parquet
from neogate_lab.history.schema import TABLES

if TYPE_CHECKING:
    from neogate_lab.history.store import Store

__all__ = ["PLACED", "PORTS_A_PICTURE", "Asked", "Copies"]

PORTS_A_PICTURE = 32

_COPIED = ("signal", "surveys", "identities", "messages", "outbox", "ussd", "connections")

PLACED = ("identities", "messages", "outbox", "ussd")
"""Tables that know of ports, measured or not."""

_WHOLE = ("identities", "surveys")
"""Tables whose rows before the period tell of it, too."""

_MEMORY = "1GB"
"""For queries; what needs more goes through a file."""

_MANY_ROWS = 2_000_000
_MANY_PORTS = 16
"""Of more, sentences are told of those that stand out; of several gateways, sums a gateway."""

_MOST_TOLD = 6
"""Labels whose medians stand in the verdict."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the report is to be of."""

    gateways: list[Any] | None
    ports: list[Any] | None
    since: datetime | None
    until: datetime | None
    redact: str | None


class Copies:
    """The store's tables as redacted Parquet files of their own, and what is asked of them."""

    def __init__(self, store: Store, folder: Path, asked: Asked) -> None:
        import ibis

        self.asked = asked
        self._folder = folder
        for name in _COPIED:
            table = TABLES[name]
            columns: dict[str, Any] = {"gateway": asked.gateways, "port": asked.ports}
            store.export(
                self._path(name),
                name,
                redact=asked.redact,
                progress=False,
                since=None if name in _WHOLE else asked.since,
                until=asked.until,
                **{n: v for n, v in columns.items() if n in table.names},
            )
        self._connection = ibis.duckdb.connect(
            memory_limit=_MEMORY, temp_directory=str(folder / "spill")
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def close(self) -> None:
        """Let go of the files."""
        self._connection.disconnect()

    def frame(self, name: str) -> pd.DataFrame:
        """A small table whole, as exports are read back."""
        return read_parquet(self._path(name))

    @cached_property
    def _ticks(self) -> Any:
        return self._connection.read_parquet(str(self._path("signal")))

    @cached_property
    def signal(self) -> Any:
        """The measurements of ports as an Ibis table: there may be too many for a frame."""
        return self._ticks.filter(self._ticks.port.notnull())

    @cached_property
    def unreached(self) -> pd.DataFrame:
        """Ticks of gateways before their ports were known: gateway, n, first, last."""
        table = self._ticks.filter(self._ticks.port.isnull())
        return extents(table, "gateway").sort_values("gateway", ignore_index=True)

    @cached_property
    def ports(self) -> pd.DataFrame:
        """A row a gateway and port: n, first, last, values."""
        table = self.signal
        rows = extents(table, "gateway", "port", values=table.rssi_dbm.count())
        return rows.sort_values(["gateway", "port"], ignore_index=True)

    @cached_property
    def valued(self) -> set[tuple[str, int]]:
        """Gateways and ports that have a value."""
        rows = self.ports[self.ports["values"] > 0]
        return set(zip(rows["gateway"].astype("str"), rows["port"].astype(int), strict=True))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Outages and blind times, as `summaries.outages` answers."""
        if self.rows <= _MANY_ROWS:
            return summaries.outages(self.signal)
        # Looking at neighbours takes memory by the row: one port after the other.
        found = [
            summaries.outages(self.of(str(gateway), [port]))
            for gateway, port in self.ports[["gateway", "port"]].itertuples(index=False)
        ]
        return pd.concat(found, ignore_index=True)

    @cached_property
    def registered(self) -> pd.DataFrame:
        """Availability of each port."""
        return summaries.availability(self.signal).astype({"gateway": "str"})

    @cached_property
    def strength(self) -> pd.DataFrame:
        """The summary of each port."""
        return summaries.signal_summary(self.signal).astype({"gateway": "str"})

    @cached_property
    def outages(self) -> pd.DataFrame:
        """Of ports that were registered at other times: the rest have no times to tell."""
        seen = self.registered[self.registered["n_registered"] > 0][["gateway", "port"]]
        return findings.joined(self.runs.astype({"gateway": "str"}).merge(seen))

    @cached_property
    def labels(self) -> pd.DataFrame:
        """A row a label, in the order in which they were measured: n, first, last, ports."""
        table = self.signal.filter(self.signal.label != "")
        rows = extents(table, "label", ports=table.port.nunique())
        return rows.sort_values(["first", "label"], ignore_index=True)

    @cached_property
    def by_label(self) -> tuple[dict[Any, dict[str, float]], pd.Series]:
        """Medians of each port by label, if there are two to tell of, and independent readings."""
        if len(self.labels) < 2:
            return {}, pd.Series(dtype=float)
        answer = summaries.signal_summary(self.signal, by=("gateway", "port", "label"))
        answer = answer.astype({"gateway": "str", "label": "str"})
        told = answer.groupby(["gateway", "port"])["n_independent"].sum()
        if len(self.labels) > _MOST_TOLD:
            return {key: {} for key in told.index}, told
        order = {str(label): number for number, label in enumerate(self.labels["label"])}
        answer = answer[answer["label"] != ""]
        answer = answer.sort_values("label", key=lambda labels: labels.map(order), kind="stable")
        medians: dict[Any, dict[str, float]] = {}
        for row in answer.to_dict("records"):
            mine = medians.setdefault((row["gateway"], row["port"]), {})
            mine[findings.readable(row["label"])] = float(row["median_dbm"])
        return medians, told

    @property
    def rows(self) -> int:
        """Measurements of all ports."""
        return int(self.ports["n"].sum())

    @cached_property
    def several(self) -> bool:
        """Whether there is more than one gateway, measured or not."""
        names = set(self.ports["gateway"]) | set(self.unreached["gateway"])
        for table in PLACED:
            found = self._connection.read_parquet(str(self._path(table)))
            names |= set(fetch(found.select("gateway").distinct())["gateway"])
        return len(names) > 1

    @property
    def many(self) -> bool:
        """Whether there are too many ports for a sentence each."""
        return len(self.ports) > _MANY_PORTS

    @property
    def keys(self) -> list[str]:
        """What has a row in tables that would be long: a port, or a gateway of a fleet."""
        return ["gateway"] if self.several and self.many else ["gateway", "port"]

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """The first and the last tick of all."""
        return self.ports["first"].min(), self.ports["last"].max()

    def of(self, gateway: str, ports: Iterable[int]) -> Any:
        """The measurements of some ports."""
        table = self.signal
        return table.filter((table.gateway == gateway) & table.port.isin([int(p) for p in ports]))

    def held(self, table: Any) -> Any:
        """A small part of the measurements in memory; it stands until the next is held."""
        return self._connection.create_table("held", table, temp=True, overwrite=True)

    def port_name(self, gateway: object, port: object) -> str:
        """What sentences call a port."""
        return f"port {port}" + (f" · {findings.readable(gateway)}" if self.several else "")

    def groups(self) -> Iterator[tuple[str, list[int]]]:
        """So many ports of one gateway as a picture can show."""
        for gateway, part in self.ports.groupby("gateway", observed=True, sort=True):
            ports = [int(port) for port in part["port"]]
            count = -(-len(ports) // PORTS_A_PICTURE)
            size = -(-len(ports) // count)
            for start in range(0, len(ports), size):
                yield str(gateway), ports[start : start + size]

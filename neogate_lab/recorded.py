"""Recorded: what a gateway or a fleet has on record, read from its store; it asks nobody."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neogate_lab import times
from neogate_lab.choice import PortChoice
from neogate_lab.errors import GatewayClosed
from neogate_lab.history.store import Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recorded"]


class Recorded(ABC):
    """The verbs of `Gateway` and `Fleet` that look back: rows of theirs alone.

    Attributes
    ----------
    name : str
        Who it is, for messages.
    names : list of str
        The gateways in tables.
    store : Store
        Everything that was recorded.
    """

    name: str
    names: list[str]
    store: Store
    _owned_store: Store | None

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it was closed."""

    def signal(
        self,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        port: PortChoice = None,
        label: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Recorded measurements: one row a port and tick, also when it failed.

        Parameters
        ----------
        since, until : datetime, date, timedelta or str, optional
            A time (naive is UTC) or how long ago ("2h"); `until` is exclusive.
        port : int or iterable of int, optional
            Physical ports, from 1.
        label : str or iterable of str, optional
            What was measured.

        Raises
        ------
        InvalidRequest
            A value can't be read.
        """
        return self._read("signal", since=since, until=until, port=port, label=label)

    def inbox(
        self,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        port: PortChoice = None,
        sender: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Received messages; filters as for `signal`."""
        return self._read("messages", since=since, until=until, port=port, sender=sender)

    def outbox(
        self,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        port: PortChoice = None,
        status: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """SMS to send and what became of them; filters as for `signal`."""
        return self._read("outbox", since=since, until=until, port=port, status=status)

    def ussd_log(
        self,
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        port: PortChoice = None,
        code: str | None = None,
    ) -> pd.DataFrame:
        """USSD exchanges; filters as for `signal`."""
        return self._read("ussd", since=since, until=until, port=port, code=code)

    def connections(
        self, since: times.Moment | None = None, until: times.Moment | None = None
    ) -> pd.DataFrame:
        """Changes of the link, and times when nobody was listening; filters as for `signal`."""
        return self._read("connections", since=since, until=until)

    def export(  # noqa: D102 - it takes the docstring of the store's
        self,
        path: str | os.PathLike[str],
        table: str = "signal",
        redact: str | None = None,
        spreadsheet_safe: bool = True,
        *,
        partitioned: bool | None = None,
        bom: bool = False,
        progress: bool = True,
        **filters: Any,
    ) -> Path | str:
        self._check_store()
        return self.store.export(
            path,
            table,
            redact=redact,
            spreadsheet_safe=spreadsheet_safe,
            partitioned=partitioned,
            bom=bom,
            progress=progress,
            **{"gateway": self.names, **filters},
        )

    def report(
        self,
        path: str | os.PathLike[str],
        since: times.Moment | None = None,
        until: times.Moment | None = None,
        port: PortChoice = None,
        redact: str | None = "all",
        title: str | None = None,
        *,
        progress: bool = True,
    ) -> Path | str:
        """Write what was measured as one HTML file that can be handed on.

        Verdicts, comparisons of labels, plots, outages, and what was not measured; never the text
        of a message. It needs no script, loads nothing, and prints well.

        Parameters
        ----------
        path : str or path
            Ends in .html; what stood there is replaced. Also a URL of fsspec.
        since, until, port
            As for `signal`.
        redact : {"all", "text", "numbers", None}
            What to hide, as in `export`; by default all, also the gateways' names.
        title : str, optional
            The heading; it is shown as it is given.
        progress : bool
            Show a bar when it takes longer than two seconds.

        Returns
        -------
        Path or str
            The file; a URL as it was given.

        Raises
        ------
        InvalidRequest
            Another suffix, a missing folder, an unknown level, or a filter that can't be read.
        GatewayClosed
            Its store was closed with it.
        StoreError
            The store can't be read or the file not be written.
        """
        from neogate_lab.analysis.report import write_report

        self._check_store()
        return write_report(
            self.store,
            path,
            gateway=self.names,
            since=since,
            until=until,
            port=port,
            redact=redact,
            title=title,
            progress=progress,
        )

    def _read(self, table: str, **filters: Any) -> pd.DataFrame:
        self._check_store()
        return self.store.frame(table, gateway=self.names, **filters)

    def _check_store(self) -> None:
        """Say where to read on when the store was closed with its gateway."""
        if self.closed and self._owned_store is not None:
            path = str(self.store.path)
            rest = (
                f"read on with neogate_lab.open_store({path!r})"
                if self.store.path.exists()
                else "its store was a temporary one, and is gone"
            )
            raise GatewayClosed(f"{self.name} was closed; {rest}")

    export.__doc__ = Store.export.__doc__

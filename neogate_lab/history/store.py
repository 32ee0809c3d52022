"""The store: the Ledger's verbs and the readers, over journal and writer; SQL lives beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history import codec, frames, inbound, outbox, surveys
from neogate_lab.history import export as files
from neogate_lab.history.codec import Row
from neogate_lab.history.journal import Journal, store_error
from neogate_lab.history.live import LiveFrame
from neogate_lab.history.locks import Owners, RecordLock, SurveyLock
from neogate_lab.history.places import text_of
from neogate_lab.history.schema import TABLES
from neogate_lab.history.sealer import Sealer
from neogate_lab.history.selection import Selection, select
from neogate_lab.history.tiers import Scan, sealed_rows
from neogate_lab.history.writer import Writer
from neogate_lab.times import Moment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Store", "open_store"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store that exists, also while another process records into it.

    Raises
    ------
    InvalidRequest
        `path` is no path.
    StoreError
        There is no store at `path`, or it is damaged, foreign or from a newer version.
    """
    Journal(_folder(path)).check()
    return Store(path)


class Store:
    """Everything that was recorded, in a folder; made if there is none.

    Writing verbs return at once with a future that is done when the rows are on disk. Readers open
    the journal for themselves: they work from any thread, and beside other processes. What this
    object was given before is among what they read, unless the disk takes more than 2 s over it.

    Parameters
    ----------
    path : str or path
        The folder (made 0700, files 0600), or ":memory:" for a private temporary one that `close`
        removes.
    clock : callable
        Gives the present as an aware datetime; "2h" is measured from it.

    Raises
    ------
    InvalidRequest
        `path` is no path.
    StoreError
        The path can't be made or isn't a store, or the store is damaged or from a newer version.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        temporary = text_of(path) == ":memory:"
        self._path = Path(tempfile.mkdtemp(prefix="neogate-")) if temporary else _folder(path)
        self._clock = clock
        self._journal = Journal(self._path)
        self._journal.create()
        self._owners = Owners(self._path / "owners")
        self._segments = self._path / "segments"
        sealer = self._sealer = Sealer(self._journal, self._segments, clock)
        doomed = self._path if temporary else None
        on_stop = partial(_clean_up, self._owners, sealer, doomed, os.getpid())
        self._writer = Writer(self._journal, on_stop, sealer.consider)
        self._closed = False
        # A store that nobody holds any more ends by itself, but waiting is for `close` alone.
        weakref.finalize(self, _let_go, sealer, self._writer).atexit = False
        sealer.tidy()

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._path

    @property
    def owner(self) -> str:
        """The name under which this store object queues SMS; dead once it is closed or its process
        ended.
        """
        return self._owners.name

    def close(self) -> None:
        """Write what is queued and let go; again is fine."""
        self._closed = True
        try:
            self._sealer.close()
        finally:  # an interrupt while it seals must not leave the writer behind
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self._path}{' closed' if self._closed else ''}>"

    # Writing: the verbs of link's Ledger, whose docstrings are the contract.

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> Future[list[int]]:
        """Commit rows of one table; their row_ids.

        Raises
        ------
        InvalidRequest
            At once: an unknown table or column, or a value that its column can't hold.
        StoreError
            From the future: the disk failed, and none of the rows is kept.
        """
        declared = codec.table_named(table)
        encoded = [codec.encode_row(declared, row) for row in rows]
        return self._writer.submit(lambda c: codec.insert(c, declared, encoded))

    def update(self, table: str, row_id: int, values: Mapping[str, Any]) -> Future[None]:
        """Commit new values of one row of surveys."""
        declared = TABLES["surveys"]
        if table != declared.name:
            raise InvalidRequest(f"rows of {table} are not changed this way, only those of surveys")
        if not values or not values.keys() <= set(declared.names) - {"row_id"}:
            raise InvalidRequest(f"values to change are columns of {table}, row_id apart")
        encoded = {n: codec.encode(declared, declared.column(n), v) for n, v in values.items()}

        def change(connection: Any) -> None:
            if not codec.update(connection, declared, row_id, encoded):
                raise InvalidRequest(f"{table} has no row {row_id}")

        return self._writer.submit(change)

    def recall_survey(
        self, gateway: str, name: str
    ) -> Future[tuple[list[Row], list[Row], datetime | None]]:
        """A survey's rows of surveys and of marks, and the last tick of one without an end."""
        of_it, folder = (codec.text(gateway), codec.text(name)), self._segments
        return self._writer.submit(lambda c: surveys.on_record(c, folder, *of_it))

    def open_surveys(self, gateway: str) -> Future[list[Row]]:
        """Rows of surveys without an end, of processes that measure or died."""
        where, of_it = "gateway = ? AND stopped_at IS NULL ORDER BY row_id", (codec.text(gateway),)
        return self._writer.submit(lambda c: list(codec.fetch(c, TABLES["surveys"], where, of_it)))

    def identify(self, row: Mapping[str, Any]) -> Future[bool]:
        """Commit an identity if it differs, time apart, from the port's last; True if so."""
        values = codec.encode_row(TABLES["identities"], row)
        return self._writer.submit(lambda c: inbound.identify(c, values))

    def receive(
        self,
        gateway: str,
        part: Mapping[str, Any] | None,
        group: str,
        message: Mapping[str, Any] | None,
    ) -> Future[int | None]:
        """Commit a part, and the message that it completes or its group; the message's row_id."""
        if part is None and message is None:
            raise InvalidRequest("there is neither a part nor a message to record")
        for row in (part, message):
            if row is not None and row.get("gateway", gateway) != gateway:
                raise InvalidRequest("the part, the message and the call name different gateways")
        encoded = [
            None if row is None else codec.encode_row(TABLES[name], {"gateway": gateway, **row})
            for name, row in (("message_parts", part), ("messages", message))
        ]
        storable = codec.text(group)
        return self._writer.submit(
            lambda c: inbound.receive(c, gateway, encoded[0], storable, encoded[1])
        )

    def recent_parts(self, gateway: str, since: datetime) -> Future[list[tuple[Row, str]]]:
        """Parts received from `since` on, and older open ones, each with its open group or ""."""
        start, folder = _micros(since), self._segments
        sealed = Selection(
            TABLES["message_parts"], since=start, equals=(("gateway", (codec.text(gateway),)),)
        )
        return self._writer.submit(
            lambda c: (
                [(row, "") for row in sealed_rows(c, folder, sealed)]
                + inbound.recent_parts(c, gateway, start)
            )
        )

    def messages(self, gateway: str, since: datetime) -> Future[list[Row]]:
        """Messages received from `since` on, oldest first."""
        start = _micros(since)
        return self._writer.submit(lambda c: inbound.messages(c, gateway, start))

    def enqueue(
        self, row: Mapping[str, Any], *, retry_failed: bool = False, budget: int | None = None
    ) -> Future[tuple[Row, bool]]:
        """Commit a queued SMS, or find the one of its key; the row, and whether to send it now.

        Raises
        ------
        InvalidRequest
            From the future: the key was used with another to, text or port.
        BudgetExceeded
            From the future: the segments of 24 hours would exceed `budget`.
        """
        values, owners = codec.encode_row(outbox.OUTBOX, row), self._owners
        return self._writer.submit(
            lambda c: outbox.enqueue(
                c,
                values,
                owner=owners.name,
                alive=owners.alive,
                retry_failed=retry_failed,
                budget=budget,
            )
        )

    def enqueue_many(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        retry_failed: bool = False,
        budget: int | None = None,
        any_port: Collection[str] = (),
        rehearse: bool = False,
    ) -> Future[list[tuple[Row, bool] | InvalidRequest]]:
        """Commit a batch of queued SMS, all or none; each row's answer as of `enqueue`."""
        encoded = [codec.encode_row(outbox.OUTBOX, row) for row in rows]
        owners, keys = self._owners, frozenset(any_port)
        return self._writer.submit(
            lambda c: outbox.enqueue_many(
                c,
                encoded,
                owner=owners.name,
                alive=owners.alive,
                retry_failed=retry_failed,
                budget=budget,
                any_port=keys,
                rehearse=rehearse,
            )
        )

    def adopt(self, gateway: str) -> Future[list[Row]]:
        """Take over the queued SMS of dead owners; their rows, oldest first."""
        owners = self._owners
        return self._writer.submit(
            lambda c: outbox.adopt(c, gateway, owner=owners.name, alive=owners.alive)
        )

    def look(self, ids: Collection[str]) -> Future[list[Row]]:
        """The SMS with these wire ids, each with `owner_alive`."""
        wanted, owners = tuple(ids), self._owners
        return self._writer.submit(lambda c: outbox.look(c, wanted, alive=owners.alive))

    def claim(self, row_id: int, *, now: datetime, interval: float) -> Future[float]:
        """Commit a queued row as written if its port may send; 0.0, seconds to wait, or -1.0."""
        present, distance, owners = _micros(now), round(interval * 1e6), self._owners
        return self._writer.submit(
            lambda c: outbox.claim(
                c,
                row_id,
                now=present,
                interval=distance,
                owner=owners.name,
                alive=owners.alive,
            )
        )

    def move(self, row_id: int, *, port: int, span: int) -> Future[Row]:
        """Commit another port for a queued SMS of this object; its row."""
        owner = self._owners.name
        return self._writer.submit(
            lambda c: outbox.move(c, row_id, port=port, span=span, owner=owner)
        )

    def settle(
        self, id: str, status: str, *, now: datetime, error: str = "", smsc: str = ""
    ) -> Future[Row | None]:
        """Commit what became of the SMS with this wire id; its row, None for a foreign id."""
        if status not in outbox.STATUSES:
            raise InvalidRequest(f"an SMS is {', '.join(outbox.STATUSES)}, never {status!r}")
        present = _micros(now)
        words = [
            codec.encode(outbox.OUTBOX, outbox.OUTBOX.column(name), value)
            for name, value in (("id", id), ("error", error), ("smsc", smsc))
        ]
        return self._writer.submit(
            lambda c: outbox.settle(c, words[0], status, now=present, error=words[1], smsc=words[2])
        )

    def waiting(self, gateway: str) -> Future[list[Row]]:
        """Rows of outbox that are queued or written, oldest first, with `owner_alive` and
        `port_written_at`.
        """
        owners = self._owners
        return self._writer.submit(lambda c: outbox.waiting(c, gateway, alive=owners.alive))

    # Keeping.

    def seal(self) -> int:
        """Move all rows that can't change any more into segments; any process may, at any time.

        It happens by itself, too. Rows stay where readers find them: nobody sees a difference.

        Returns
        -------
        int
            Rows that were moved.

        Raises
        ------
        StoreError
            The disk failed or is full; what was not moved is still in the journal.
        """
        self._check_open()
        return self._sealer.seal(self._writer)

    def record_lock(self, gateway: str, endpoint: str = "") -> RecordLock:
        """The lock of the one who records what arrives at a gateway: `acquire` it first.

        One holder at a time has it among all processes; its death frees it for the next.
        """
        return RecordLock(self._lock_path("record", gateway), endpoint)

    def survey_lock(self, gateway: str, name: str) -> SurveyLock:
        """The lock of the one who measures a survey of this name, as `record_lock`."""
        return SurveyLock(self._lock_path("survey", f"{gateway}\0{name}"))

    def _lock_path(self, what: str, of: str) -> Path:
        digest = hashlib.sha256(codec.text(of).encode()).hexdigest()[:32]
        return self._path / "locks" / f"{what}-{digest}"

    # Reading.

    def frame(
        self,
        table: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        gateway: str | Collection[str] | None = None,
        port: int | Collection[int] | None = None,
        label: str | Collection[str] | None = None,
        after_row: int | None = None,
        **equals: Any,
    ) -> pd.DataFrame:
        """Rows of a table, sorted by its time, then row_id.

        Parameters
        ----------
        table : str
            A name in `schema.TABLES`.
        since, until : datetime, date, timedelta or str, optional
            From `since` (inclusive) until `until` (exclusive): a time (naive means UTC), or how
            long ago ("2h", "30m", a timedelta).
        gateway, port, label, **equals
            Columns and the value, or the values, that they may have; None is no filter.
        after_row : int, optional
            Only rows with a greater row_id: what is new since the last look.

        Returns
        -------
        DataFrame
            Columns, types and units as `schema.TABLES` declares them, also when empty.

        Raises
        ------
        InvalidRequest
            An unknown table or column, or a value that can't be read.
        StoreError
            The store is closed, gone or damaged.
        """
        equals |= {"gateway": gateway, "port": port, "label": label}
        selection = self._select(table, since, until, after_row, **equals)
        return frames.frame_of_batches(selection.table, self._batches(selection, ahead=3))

    def live(self, table: str = "signal", **filters: Any) -> LiveFrame:
        """Make a frame that follows the store; each refresh costs no more than what is new.

        Parameters
        ----------
        table : str
            A name in `schema.TABLES`.
        **filters
            As for `frame`; "2h" is measured from now, once.
        """
        return LiveFrame(self._select(table, **filters), self._batches)

    def table(self, table: str = "signal") -> Any:
        """Open a table for queries of any size: it is never loaded whole.

        Parameters
        ----------
        table : str
            A name in `schema.TABLES`.

        Returns
        -------
        ibis.Table
            On a DuckDB in this process, in no order. Every query sees what is recorded by then,
            by other processes, too. The analysis functions take it, and anything made of it with
            Ibis, such as ``store.table().filter(_.port == 3)``.

        Raises
        ------
        InvalidRequest
            An unknown table.
        StoreError
            The store is closed, gone or damaged.
        """
        from neogate_lab.history.engine import ibis_table

        self._settled()
        return ibis_table(self._journal, self._segments, codec.table_named(table))

    def signal(self, **filters: Any) -> pd.DataFrame:
        """Scheduled measurements, one row a port and tick; filters as for `frame`."""
        return self.frame("signal", **filters)

    def inbox(self, **filters: Any) -> pd.DataFrame:
        """Received messages; filters as for `frame`, among them `port` and `sender`."""
        return self.frame("messages", **filters)

    def message_parts(self, **filters: Any) -> pd.DataFrame:
        """Parts of messages as they came; filters as for `frame`."""
        return self.frame("message_parts", **filters)

    def outbox(self, **filters: Any) -> pd.DataFrame:
        """SMS to send and what became of them; filters as for `frame`, among them `status`."""
        return self.frame("outbox", **filters)

    def ussd_log(self, **filters: Any) -> pd.DataFrame:
        """USSD exchanges; filters as for `frame`, among them `code` and `outcome`."""
        return self.frame("ussd", **filters)

    def connections(self, **filters: Any) -> pd.DataFrame:
        """Changes of links, and times when nobody listened; filters as for `frame`."""
        return self.frame("connections", **filters)

    def surveys(self, **filters: Any) -> pd.DataFrame:
        """Surveys: start, stop and settings; filters as for `frame`, among them `name`."""
        return self.frame("surveys", **filters)

    def marks(self, **filters: Any) -> pd.DataFrame:
        """Labels from a time on; filters as for `frame`, among them `survey`."""
        return self.frame("marks", **filters)

    def identities(self, **filters: Any) -> pd.DataFrame:
        """Changes of what a port holds: module and SIM; filters as for `frame`."""
        return self.frame("identities", **filters)

    def export(
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
        """Write rows of a table to a file or a dataset, whole or not at all.

        Of a `Gateway`, its own rows.

        Parameters
        ----------
        path : str or path
            The suffix says the format, .parquet, .csv or .xlsx; none is a Parquet dataset by
            gateway and UTC day, in a folder that belongs to the export. Also a URL of fsspec.
        table : str
            As the verb is called that shows it; `neogate_lab.describe` lists those that are
            stored, and says what their columns mean.
        redact : {None, "numbers", "text", "all"}
            What to hide; equal cells give equal tokens in every export of this store.
        spreadsheet_safe : bool
            In CSV, neutralise cells that a spreadsheet would run; `read_csv` undoes it.
        partitioned : bool, optional
            Write a dataset; default: if `path` has no suffix.
        bom : bool
            Begin CSV with the mark by which Excel knows UTF-8: without it, Excel shows other than
            Latin letters as gibberish. `read_csv` takes both.
        progress : bool
            Show a bar when it takes longer than two seconds.
        **filters
            As for `Store.frame`.

        Returns
        -------
        Path or str
            The file or folder; a URL as it was given.

        Raises
        ------
        InvalidRequest
            An unknown format, table, level or filter.
        StoreError
            The store can't be read or the file not be written; what was there before is untouched.
        """
        selection = self._select(table, **filters)
        key = None if redact is None else self._redaction_key()
        return files.export(
            self._batches(selection),
            path,
            table,
            redact=redact,
            spreadsheet_safe=spreadsheet_safe,
            partitioned=partitioned,
            bom=bom,
            progress=progress,
            key=key,
        )

    def _redaction_key(self) -> bytes:
        path = self._path / "redaction.key"
        try:
            if not path.exists():
                draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
                draft.touch(mode=0o600, exist_ok=False)
                draft.write_bytes(secrets.token_bytes(32))
                with contextlib.suppress(FileExistsError):  # another process was faster: its key
                    path.hardlink_to(draft)
                draft.unlink()
            return path.read_bytes()
        except OSError as error:
            raise store_error(error, self._path) from error

    def _select(
        self,
        table: str,
        since: Moment | None = None,
        until: Moment | None = None,
        after_row: int | None = None,
        **equals: Any,
    ) -> Selection:
        return select(
            codec.table_named(table),
            now=self._clock(),
            since=since,
            until=until,
            after_row=after_row,
            equals=equals,
        )

    def _batches(self, selection: Selection, ahead: int = 1) -> Scan:
        """The rows as Arrow batches: everything above sees one table, whatever it is kept in."""
        self._settled()
        return Scan(self._journal, self._segments, selection, ahead=ahead)

    def _settled(self) -> None:
        """Have it written before it is read: rows for which nobody waited, as of a lost link."""
        self._check_open()
        self._writer.settle()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self._path} is closed: open it again")


def _folder(path: str | os.PathLike[str]) -> Path:
    return Path(text_of(path)).expanduser().absolute()


def _micros(value: datetime) -> int:
    try:
        return codec.micros(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"a time here is {error}") from None


def _let_go(sealer: Sealer, writer: Writer) -> None:
    sealer.stop()
    writer.stop()


def _clean_up(owners: Owners, sealer: Sealer, temporary: Path | None, pid: int) -> None:
    owners.release()
    if temporary is not None and os.getpid() == pid:  # a forked child leaves it to its parent
        sealer.close()  # the last commit may have started it: it must add no file to what goes
        shutil.rmtree(temporary, ignore_errors=True)

"""Tables to Parquet and back, in one file or partitioned by gateway and day; never where they are.

A dataset is a folder of ``gateway=…/date=YYYY-MM-DD/part-….parquet``, by UTC days and without the
column gateway, which other tools too read off the path; and of ``_common_metadata``, which says
what it holds and lists its files: whatever else lies there is not part of it. The folder belongs to
its export.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import arrow_schema
from neogate_lab.history.places import Create, Place
from neogate_lab.history.schema import SCHEMA_VERSION, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_owned", "names", "package_version", "read", "write", "write_dataset"]

_PREFIX = "neogate_lab."
_LISTING = "_common_metadata"
_PART = re.compile(r"gateway=[^/]+/date=[^/]+/part-[0-9a-f]{8}-\d+\.parquet")
_GATEWAY = re.compile(r"(?:^|/)gateway=([^/]+)")
_NONE = "__HIVE_DEFAULT_PARTITION__"
_ROW_GROUP = 65_536  # rows at least, and fewer than twice as many
_BUFFERED = 8 * _ROW_GROUP  # rows kept back for all partitions together
_OPEN = 64  # files


class _About:
    """What is said of the rows that went by."""

    def __init__(self, table: Table, redact: str | None) -> None:
        self._table = table
        self._redact = redact or ""
        self._gateways: set[str] = set()
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._rows = 0

    def see(self, data: pa.Table) -> None:
        import pyarrow.compute as pc

        table = self._table
        self._rows += data.num_rows
        if "gateway" in table.names:
            self._gateways.update(pc.unique(data["gateway"].cast("string")).to_pylist())
        if table.time in table.names:
            span = pc.min_max(data[table.time]).as_py()
            if span["min"] is not None:
                self._first = min(self._first or span["min"], span["min"])
                self._last = max(self._last or span["max"], span["max"])

    def metadata(self, **more: Any) -> dict[str, str]:
        times = [] if self._first is None else [self._first, self._last]
        about = {
            "table": self._table.name,
            "schema_version": SCHEMA_VERSION,
            "units": {column.name: column.unit for column in self._table.columns if column.unit},
            "gateways": sorted(self._gateways),
            "time_range": [time.isoformat() for time in times if time is not None],
            "rows": self._rows,
            "redacted": self._redact,
            "package_version": package_version(),
            **more,
        }
        return {
            f"{_PREFIX}{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in about.items()
        }


class _Part:
    """One Parquet file that is being written."""

    def __init__(
        self, table: Table, file: IO[bytes], redact: str | None, without: tuple[str, ...] = ()
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([f for f in arrow_schema(table) if f.name not in without])
        self._about = _About(table, redact)
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, data: pa.Table) -> None:
        self._about.see(data)
        self._writer.write_table(data.select(self._schema.names), row_group_size=2 * _ROW_GROUP)

    def close(self) -> None:
        metadata = self._about.metadata()
        # Arrow's readers look into the schema that is kept under this key, all others beside it.
        schema = self._schema.with_metadata(metadata)
        kept = base64.b64encode(schema.serialize())
        self._writer.add_key_value_metadata({**metadata, "ARROW:schema": kept})
        self._writer.close()


def write(
    table: Table, batches: Iterable[pa.RecordBatch], file: IO[bytes], redact: str | None
) -> None:
    """Write rows, and what they are, to one file."""
    part = _Part(table, file, redact)
    for data in _groups(table, batches):
        part.write(data)
    part.close()


def _groups(table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather batches to row groups: many small ones would be large and slow."""
    import pyarrow as pa

    kept: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        kept.append(batch)
        rows += batch.num_rows
        if rows >= _ROW_GROUP:
            yield pa.Table.from_batches(kept, schema=arrow_schema(table))
            kept, rows = [], 0
    if rows:
        yield pa.Table.from_batches(kept, schema=arrow_schema(table))


def write_dataset(
    table: Table, batches: Iterable[pa.RecordBatch], create: Create, redact: str | None
) -> None:
    """Write rows to files by gateway and UTC day, and the listing at last.

    Rows of one partition keep their order; as few files as rows in time order need.
    """
    import pyarrow.parquet as pq

    about = _About(table, redact)
    partitions = _Partitions(table, create, redact)
    for data in _groups(table, batches):
        about.see(data)
        partitions.add(data)
    metadata = about.metadata(files=partitions.close())
    with create(_LISTING) as file:
        pq.write_metadata(arrow_schema(table).with_metadata(metadata), file)


class _Partitions:
    """Rows on their way to their partitions, and the files that are open."""

    def __init__(self, table: Table, create: Create, redact: str | None) -> None:
        self._table, self._create, self._redact = table, create, redact
        self._waiting: dict[str, list[pa.Table]] = {}
        self._rows: dict[str, int] = {}
        self._open: OrderedDict[str, tuple[_Part, IO[bytes]]] = OrderedDict()
        self._token = secrets.token_hex(4)  # no file of an earlier export has it
        self._files: list[str] = []

    def add(self, data: pa.Table) -> None:
        for folder, rows in _split(self._table, data):
            self._waiting.setdefault(folder, []).append(rows)
            self._rows[folder] = self._rows.get(folder, 0) + rows.num_rows
        while sum(self._rows.values()) > _BUFFERED:
            self._write(max(self._rows, key=self._rows.__getitem__))

    def close(self) -> list[str]:
        for folder in list(self._rows):
            self._write(folder)
        while self._open:
            self._close_oldest()
        return self._files

    def _write(self, folder: str) -> None:
        import pyarrow as pa

        data = pa.concat_tables(self._waiting.pop(folder))
        del self._rows[folder]
        if folder not in self._open:
            if len(self._open) >= _OPEN:
                self._close_oldest()
            name = f"{folder}/part-{self._token}-{len(self._files)}.parquet"
            file = self._create(name)
            self._files.append(name)
            self._open[folder] = _Part(self._table, file, self._redact, ("gateway",)), file
        self._open.move_to_end(folder)
        self._open[folder][0].write(data)

    def _close_oldest(self) -> None:
        part, file = self._open.popitem(last=False)[1]
        part.close()
        file.close()


def _split(table: Table, data: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each partition, in their order, and the partition's folder."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gateways = data["gateway"].cast("string")
    days = pc.strftime(data[table.time].cast(pa.timestamp("us")), format="%Y-%m-%d", locale="C")
    keys = pa.table({"gateway": gateways, "day": days})
    for pair in keys.group_by(["gateway", "day"], use_threads=False).aggregate([]).to_pylist():
        gateway, day = pair["gateway"], pair["day"]
        same_day = pc.is_null(days) if day is None else pc.equal(days, day)
        rows = data.filter(pc.and_(pc.equal(gateways, gateway), same_day))
        yield f"gateway={_quoted(gateway)}/date={day or _NONE}", rows


def _quoted(gateway: str) -> str:
    """A gateway's name as a folder's."""
    quoted = quote(gateway, safe="")
    return f"%5F{quoted[1:]}" if quoted == _NONE else quoted or _NONE


def _with_gateway(data: pa.Table, path: str) -> pa.Table:
    """Add the column that only the path tells."""
    import pyarrow as pa

    folders = _GATEWAY.findall(path)
    if "gateway" in data.column_names or not folders:
        return data
    name = "" if folders[-1] == _NONE else unquote(folders[-1])
    codes = pa.repeat(pa.scalar(0, pa.int32()), data.num_rows)
    return data.append_column("gateway", pa.DictionaryArray.from_arrays(codes, pa.array([name])))


def check_owned(place: Place) -> None:
    """Raise `InvalidRequest` if a folder holds what no export wrote: it would be deleted."""
    foreign = [name for name in place.files() if name != _LISTING and not _PART.fullmatch(name)]
    if foreign:
        raise InvalidRequest(
            f"{place} holds {foreign[0]}, which is no part of an export, and a dataset replaces "
            "its whole folder: give a new name"
        )


def names(place: Place) -> list[str]:
    """Files of a dataset as paths below its folder, listed ones where there is a listing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    present = place.files()
    if _LISTING not in present:
        found = [name for name in present if name.endswith(".parquet")]
        if not found:
            raise InvalidRequest(f"{place} is a folder without any .parquet file")
        return found
    try:
        with place.read(_LISTING) as file:
            metadata = pq.read_schema(file).metadata or {}
        listed = json.loads(metadata.get(f"{_PREFIX}files".encode(), b"[]"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidRequest(f"{place}/{_LISTING} can't be read: {error}") from error
    missing = sorted(set(listed) - set(present))
    if missing:
        raise InvalidRequest(
            f"{place} has not {missing[0]}, which it lists: it is just being replaced, or was "
            "changed by hand; read it again, or read the part that you want"
        )
    return [_LISTING, *listed]


def read(place: Place, below: list[str]) -> pa.Table:
    """Read files as one Arrow table, with the metadata of the first.

    Raises
    ------
    InvalidRequest
        One is not Parquet, or they differ, or they come from a newer version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for name in below:
        try:
            with place.read(name) as file:
                empty = name == _LISTING
                found = pq.read_schema(file).empty_table() if empty else pq.ParquetFile(file).read()
        except (pa.ArrowException, OSError) as error:
            raise InvalidRequest(f"{place} can't be read as Parquet: {error}") from error
        metadata = found.schema.metadata or {}
        if int(metadata.get(f"{_PREFIX}schema_version".encode(), b"0")) > SCHEMA_VERSION:
            raise InvalidRequest(f"{place} was written by a newer neogate_lab: upgrade to read it")
        tables.append(_with_gateway(found, f"{place}/{name}"))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InvalidRequest(f"the files of {place} do not hold the same columns") from error


def package_version() -> str:
    """Version of this package, "" where it runs from a source tree."""
    try:
        return importlib.metadata.version("neogate-lab")
    except importlib.metadata.PackageNotFoundError:
        return ""

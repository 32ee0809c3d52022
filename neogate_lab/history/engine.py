"""A store's tables as Ibis tables on DuckDB, whatever they are kept in; nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neogate_lab.history import frames, segments
from neogate_lab.history.journal import Journal
from neogate_lab.history.schema import Table
from neogate_lab.history.selection import Selection
from neogate_lab.history.tiers import journal_batches

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ibis_table"]

_TRIES = 3


def ibis_table(journal: Journal, folder: Path, table: Table) -> Any:
    """Open a table of a store for queries that never load it whole.

    Parameters
    ----------
    journal : Journal
        The store's.
    folder : Path
        Where the segments are: they stay on disk, and DuckDB reads what a query needs of them.
    table : Table
        Which one.

    Returns
    -------
    ibis.Table
        On a DuckDB of its own in this process. Every query sees what is recorded by then.
    """
    backend = _backend()().connect()
    backend.source = _Source(journal, folder, table)
    backend.look()
    return backend.table(table.name)


@dataclass(slots=True)
class _Source:
    """What a table is kept in, and the rows of the journal that were read already."""

    journal: Journal
    folder: Path
    table: Table
    read: pa.Table | None = field(default=None)

    def parts(self) -> tuple[list[str], pa.Table]:
        """Paths of the segments, and the rows that are in none, as of one moment."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table, schema = self.table, frames.arrow_schema(self.table)
        with self.journal.reading() as connection:
            if not table.sealable:
                batches = journal_batches(connection, Selection(table))
                return [], pa.Table.from_batches(batches, schema)
            listed = segments.listed(connection, table.name)
            sealed = segments.sealed_to(connection, table.name)
            known = schema.empty_table() if self.read is None else self.read
            known = known.filter(pc.greater(known["row_id"], sealed))
            after = pc.max(known["row_id"]).as_py() or sealed
            batches = journal_batches(connection, Selection(table, after_row=after))
            new = pa.Table.from_batches(batches, schema)
        # Small batches add up: one that DuckDB reads in one go is as quick to look at again.
        self.read = pa.concat_tables([known, new]).unify_dictionaries().combine_chunks()
        return [str(self.folder / one.name) for one in listed], self.read


@cache
def _backend() -> type[Any]:
    """Ibis's DuckDB, that looks at the store before every query."""
    import duckdb
    from ibis.backends.duckdb import Backend

    class StoreBackend(Backend):  # type: ignore[misc]
        source: _Source

        def _run_pre_execute_hooks(self, expr: Any) -> None:
            self.look()
            super()._run_pre_execute_hooks(expr)

        def look(self) -> None:
            for tries_left in reversed(range(_TRIES)):
                try:
                    return self._look()
                except duckdb.Error as error:  # perhaps segments were merged a moment ago
                    if not tries_left:
                        raise segments.damaged(self.source.folder, error) from error

        def _look(self) -> None:
            table = self.source.table
            paths, rest = self.source.parts()
            self.con.register(f"{table.name} in the journal", _plain(rest))
            query = f'SELECT * FROM "{table.name} in the journal"'  # noqa: S608 - a name from the schema
            if paths:
                files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
                # Columns that came later are in no file from before.
                segments_of = f"read_parquet([{files}], union_by_name = true)"
                query += f" UNION ALL BY NAME SELECT * FROM {segments_of}"  # noqa: S608 - as above
            self.con.execute(f'CREATE OR REPLACE TEMP VIEW "{table.name}" AS {query}')

    return StoreBackend


def _plain(data: pa.Table) -> pa.Table:
    """Words as words: the two sides of a union are of one type."""
    import pyarrow as pa

    fields = [
        pa.field(each.name, pa.string() if pa.types.is_dictionary(each.type) else each.type)
        for each in data.schema
    ]
    return data.cast(pa.schema(fields))

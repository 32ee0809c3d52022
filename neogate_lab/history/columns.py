"""What the tables and frames mean, for those who read them; the words stand in schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import ALIASES, TABLES, VIEWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe"]

_TYPES = {
    "time": "datetime64[us, UTC]",
    "text": "str",
    "cat": "category",
    "int8": "Int8",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
    "flag": "boolean",
    "float": "float64",
}


def describe(table: str | None = None) -> pd.DataFrame:
    """Tell what the columns of a table mean, or which tables there are.

    Parameters
    ----------
    table : str, optional
        As the verb is called that gives it ("signal", "inbox", "diagnostics"), or as `export`
        calls it ("messages"); default: all of them.

    Returns
    -------
    DataFrame
        One row a column: column (the index), type, unit, meaning; or one row a table: table (the
        index), row (what a row is), columns, stored (kept in the store, and can be exported).

    Raises
    ------
    InvalidRequest
        There is no such table, or `table` is not a name.
    """
    import pandas as pd

    everything = {**TABLES, **VIEWS}
    if table is None:
        frame = pd.DataFrame(
            {
                "table": list(everything),
                "row": [each.row for each in everything.values()],
                "columns": [len(each.columns) for each in everything.values()],
                "stored": [name in TABLES for name in everything],
            }
        )
        return frame.set_index("table")
    if not isinstance(table, str):
        raise InvalidRequest(
            f'describe() takes the name of a table, such as "signal", not {type(table).__name__}'
        )
    found = everything.get(ALIASES.get(table, table))
    if found is None:
        raise InvalidRequest(
            f"there is no table {table!r}; there are {', '.join([*everything, *ALIASES])}"
        )
    frame = pd.DataFrame(
        {
            "column": found.names,
            "type": [_TYPES[column.kind] for column in found.columns],
            "unit": [column.unit for column in found.columns],
            "meaning": [column.doc for column in found.columns],
        }
    )
    return frame.set_index("column")

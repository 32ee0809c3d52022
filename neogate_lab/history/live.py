"""A frame that follows a growing table, at the cost of what is new; never a query or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from neogate_lab.history.frames import arrow_schema, frame_of_batches
from neogate_lab.history.schema import Column
from neogate_lab.history.selection import Selection
from neogate_lab.history.tiers import Scan

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = ["LiveFrame"]

_NOT_A_TIME = -(1 << 63)
_ROOM = 65_536  # rows; beside an eighth of what is there


class LiveFrame:
    """A DataFrame that grows with the store.

    Tables whose rows never change are followed: what was there at the first `refresh` is sorted by
    time, what came later stands behind it in the order of arrival. Other tables, which are small,
    are read anew.

    Parameters
    ----------
    selection : Selection
        Which rows.
    read : callable
        Gives the rows of a selection.
    """

    def __init__(self, selection: Selection, read: Callable[[Selection], Scan]) -> None:
        self._selection = selection
        self._read = read
        self._columns: list[_Growing] = []
        self._frame: pd.DataFrame | None = None
        self._after = 0

    @property
    def frame(self) -> pd.DataFrame:
        """As of the last refresh; the first one happens by itself."""
        return self.refresh() if self._frame is None else self._frame.copy(deep=False)

    def refresh(self) -> pd.DataFrame:
        """Take in what is new.

        Returns
        -------
        DataFrame
            Columns and types as `Store.frame` gives them. It is yours: later refreshes don't
            change it, and changing it changes no later one.

        Raises
        ------
        StoreError
            The store is closed, gone or damaged.
        """
        import pandas as pd
        import pyarrow as pa

        table = self._selection.table
        if not table.sealable:
            return frame_of_batches(table, self._read(self._selection))
        selection = self._selection
        if self._frame is not None:
            selection = replace(selection, after_row=max(self._after, selection.after_row or 0))
        scan = self._read(selection)
        new = pa.Table.from_batches(scan, schema=arrow_schema(table))
        self._after = max(self._after, scan.newest)
        if self._frame is None or new.num_rows:
            if self._frame is None:
                self._columns = [_GROWING[column.kind](column) for column in table.columns]
            for column in self._columns:
                column.extend(new[column.name])
            arrays = {column.name: column.array() for column in self._columns}
            index = pd.RangeIndex(self._columns[0].length)
            self._frame = pd.DataFrame(arrays, index=index, copy=False)
        return self._frame.copy(deep=False)

    def __repr__(self) -> str:
        rows = 0 if self._frame is None else len(self._frame)
        return f"<LiveFrame of {self._selection.table.name}: {rows} rows>"


class _Growing(Protocol):
    """A column with room at its end: arrays given out earlier never see what is added."""

    name: str

    def __init__(self, column: Column) -> None: ...

    @property
    def length(self) -> int: ...

    def extend(self, data: pa.ChunkedArray) -> None: ...

    def array(self) -> Any: ...


class _Buffer:
    """A numpy array that grows at its end; a slice given out stays as it is."""

    def __init__(self, dtype: str) -> None:
        import numpy as np

        self._data: np.ndarray[Any, Any] = np.empty(0, dtype)
        self.length = 0

    def extend(self, values: np.ndarray[Any, Any]) -> None:
        import numpy as np

        end = self.length + len(values)
        if end > len(self._data):
            grown = np.empty(end + end // 8 + _ROOM, self._data.dtype)
            grown[: self.length] = self.view()
            self._data = grown
        self._data[self.length : end] = values
        self.length = end

    def view(self) -> np.ndarray[Any, Any]:
        return self._data[: self.length]


class _Plain:
    """Times and floats: one buffer."""

    def __init__(self, column: Column) -> None:
        self.name = column.name
        self._time = column.kind == "time"
        self._values = _Buffer("int64" if self._time else "float64")

    @property
    def length(self) -> int:
        return self._values.length

    def extend(self, data: pa.ChunkedArray) -> None:
        filled = (
            data.cast("int64").fill_null(_NOT_A_TIME)
            if self._time
            else data.fill_null(float("nan"))
        )
        self._values.extend(filled.to_numpy())

    def array(self) -> Any:
        import pandas as pd

        if not self._time:
            return self._values.view()
        return pd.array(self._values.view(), dtype=pd.DatetimeTZDtype("us", "UTC"), copy=False)


class _Masked:
    """Integers and flags: values and what is missing."""

    def __init__(self, column: Column) -> None:
        self.name = column.name
        self._flag = column.kind == "flag"
        self._values = _Buffer("bool" if self._flag else column.kind)
        self._missing = _Buffer("bool")

    @property
    def length(self) -> int:
        return self._values.length

    def extend(self, data: pa.ChunkedArray) -> None:
        self._missing.extend(data.is_null().to_numpy())
        self._values.extend(data.fill_null(False if self._flag else 0).to_numpy())

    def array(self) -> Any:
        import pandas as pd

        make: Any = pd.arrays.BooleanArray if self._flag else pd.arrays.IntegerArray
        return make(self._values.view(), self._missing.view(), copy=False)


class _Words:
    """Categories: codes, and the sorted words that they stand for."""

    def __init__(self, column: Column) -> None:
        self.name = column.name
        self._words: list[str] = []
        self._codes = _Buffer("int8")

    @property
    def length(self) -> int:
        return self._codes.length

    def extend(self, data: pa.ChunkedArray) -> None:
        import numpy as np

        for chunk in data.chunks:
            codes = chunk.indices.to_numpy()
            words = chunk.dictionary.to_pylist()
            used = np.flatnonzero(np.bincount(codes, minlength=len(words)))
            self._learn({words[code] for code in used})
            place = np.zeros(len(words), np.int32)
            known = {word: code for code, word in enumerate(self._words)}
            place[used] = [known[words[code]] for code in used]
            self._codes.extend(place[codes])

    def _learn(self, words: set[str]) -> None:
        """Sort new words in; the codes of the others may change, and the buffer with them."""
        import numpy as np

        if words <= set(self._words):
            return
        merged = sorted(words.union(self._words))
        place = {word: code for code, word in enumerate(merged)}
        moved = np.array([place[word] for word in self._words], np.int32)
        # The width that pandas gives codes: it would copy others at every refresh.
        width = "int8" if len(merged) < 128 else "int16" if len(merged) < 32_768 else "int32"
        codes = self._codes.view()
        if merged[: len(self._words)] != self._words or width != codes.dtype:
            self._codes = _Buffer(width)
            self._codes.extend(moved[codes])
        self._words = merged

    def array(self) -> Any:
        import pandas as pd

        categories = pd.CategoricalDtype(pd.Index(self._words, dtype="str"))
        return pd.Categorical.from_codes(self._codes.view(), dtype=categories, validate=False)


class _Texts:
    """Texts: chunks, of which a later one is never longer than half an earlier one."""

    def __init__(self, column: Column) -> None:
        self.name = column.name
        self._chunks: list[pa.Array] = []

    @property
    def length(self) -> int:
        return sum(map(len, self._chunks))

    def extend(self, data: pa.ChunkedArray) -> None:
        import pyarrow as pa

        self._chunks += data.cast(pa.large_string()).chunks
        while len(self._chunks) > 1 and len(self._chunks[-1]) * 2 > len(self._chunks[-2]):
            self._chunks[-2:] = [pa.concat_arrays(self._chunks[-2:])]

    def array(self) -> Any:
        import pandas as pd
        import pyarrow as pa

        dtype: Any = pd.api.types.pandas_dtype("str")
        return dtype.__from_arrow__(pa.chunked_array(self._chunks, pa.large_string()))


_GROWING: dict[str, type[_Growing]] = {
    "time": _Plain,
    "float": _Plain,
    "text": _Texts,
    "cat": _Words,
    **dict.fromkeys(("int8", "int16", "int32", "int64", "flag"), _Masked),
}

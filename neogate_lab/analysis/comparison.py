"""Two places, antennas or operators compared, with an honest interval; never a picture.

How far to trust it: `benchmarks/coverage_trial.py` simulates radio with known truth, 1000 runs a
cell, read every 10 s. In percent, lowest and highest of nine cells each (noise 0.4, 1 and 2 CSQ,
AR(1) of 0, 0.5 and 0.8 from refresh to refresh):

=======  =======  ============  ===========  ==========  ============  =======
minutes  refresh  covered       false alarm  6 dB seen   half (dB)     naive
=======  =======  ============  ===========  ==========  ============  =======
     10     10 s  94.9 - 97.0   3.0 - 5.1    54 - 100    0.4 - 5.3     47 - 96
     10     20 s  95.5 - 97.1   2.9 - 4.5    19 - 100    0.6 - 16.6    37 - 84
     10     60 s  94.9 - 97.1   2.9 - 5.1    12 - 87     1.1 - 40.0    20 - 56
     30     10 s  94.0 - 96.6   3.4 - 6.0    99 - 100    0.2 - 2.6     48 - 95
     30     20 s  94.2 - 96.5   3.5 - 5.8    78 - 100    0.3 - 3.8     35 - 83
     30     60 s  94.4 - 97.4   2.6 - 5.6    24 - 100    0.5 - 11.6    20 - 55
     60     10 s  93.5 - 96.1   3.9 - 6.5    100 - 100   0.2 - 1.8     50 - 95
     60     20 s  93.9 - 96.6   3.4 - 6.1    99 - 100    0.2 - 2.6     36 - 83
     60     60 s  94.0 - 96.4   3.6 - 6.0    52 - 100    0.4 - 5.5     20 - 58
    180     10 s  94.3 - 96.6   3.4 - 5.7    100 - 100   0.1 - 1.0     48 - 97
    180     20 s  94.9 - 96.1   3.9 - 5.1    100 - 100   0.1 - 1.5     35 - 83
    180     60 s  94.4 - 96.9   3.1 - 5.6    99 - 100    0.2 - 2.6     18 - 57
    360     10 s  93.9 - 96.5   3.5 - 6.1    100 - 100   0.1 - 0.7     49 - 96
    360     20 s  93.7 - 96.7   3.3 - 6.3    100 - 100   0.1 - 1.0     36 - 84
    360     60 s  93.9 - 96.6   3.4 - 6.1    100 - 100   0.2 - 1.8     21 - 58
=======  =======  ============  ===========  ==========  ============  =======

None of the 135 cells covers less than 93 %. What is above 97 % is chance (96 % in 10,000 runs), but
for ten readings a side of 0.4 CSQ without memory (97.3 %). Where ten readings that remember stand
beside a long side, 89-92 % are covered. "naive" is the coverage of counting every reading. All
cells, and why it isn't 95 % everywhere: benchmarks/coverage.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab.analysis import readings
from neogate_lab.analysis.series import in_order, refresh_by_port
from neogate_lab.analysis.tables import (
    Data,
    column_of,
    fetch,
    filled,
    micros,
    opened,
    since_1970,
    typed,
)
from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import GATEWAY, PORT, Column

__all__ = ["compare"]

_WEAKEST = -113.0
"""dBm at most: what CSQ 0 stands for (3GPP TS 27.007 §8.5), which drivers show as no value."""

_STRONGEST = -51.0
"""dBm at least: what CSQ 31 stands for."""

_MANY = 0.05
"""From this share of readings at an end of the scale on, their mean isn't that of the signal."""

_NO_DIFFERENCE = 2.0
"""dB, one step of CSQ: less than this is no difference that matters."""

_LEAST, _MOST = 60.0, 1e8
"""Seconds more, between which is searched for how many would be enough."""

_COLUMNS = (
    GATEWAY,
    PORT,
    Column("a", "text", "one side"),
    Column("b", "text", "the other side"),
    Column("mean_a_dbm", "float", "mean of the values of a", "dBm"),
    Column("mean_b_dbm", "float", "mean of the values of b", "dBm"),
    Column("median_a_dbm", "float", "median of the values of a", "dBm"),
    Column("median_b_dbm", "float", "median of the values of b", "dBm"),
    Column("difference_db", "float", "mean of b - mean of a", "dB"),
    Column("ci_low", "float", "95 % interval of the difference, from", "dB"),
    Column("ci_high", "float", "95 % interval of the difference, to", "dB"),
    Column("n_independent_a", "float", "independent readings of a"),
    Column("n_independent_b", "float", "independent readings of b"),
    Column("verdict", "text", "what this says, as a sentence"),
)


def compare(data: Data, a: Any, b: Any, by: str = "label", overall: bool = False) -> pd.DataFrame:
    """Compare signal strength under two labels, networks, surveys or ports.

    The 95 % interval is Welch's for a difference of means, with the number of readings corrected
    for repeats of the driver's cached value and for autocorrelation, and widened by what rounding
    to 2 dB can hide. It holds for means of what was measured; it knows nothing of other days.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.
    a, b : str or int
        Two values of the column `by`.
    by : str
        The column: label, network, survey, port, gateway …
    overall : bool
        One row in all instead of one a port: the mean of the ports' differences, or where no port
        has both sides, the difference of the means of each side's ports.

    Returns
    -------
    DataFrame
        gateway, port, a, b, mean_a_dbm, mean_b_dbm, median_a_dbm, median_b_dbm, difference_db
        (b - a, of means), ci_low, ci_high, n_independent_a, n_independent_b, and the verdict:
        "roof is 6 dB better, 95 % interval 4 to 8, from 41 independent readings", "no difference
        seen: less than 2 dB", "can't tell yet: measure about 25 minutes more" (each side).
        "Registered, but no value" is left out of the numbers; where counting it as -113 dBm, the
        weakest there is, would change the verdict, it says that it can't tell. Where many readings
        stand at an end of the scale (-113, -51 dBm), beyond which no difference shows, "roof is at
        least 8 dB better" is all that it says; "roof is better, nobody knows by how much" where
        roof stood at the weak end or the other at the strong one; or that it can't tell, and what
        would help (an attenuator, a better antenna). Several gateways, or ports, in one row are
        shown as none.

    Raises
    ------
    InvalidRequest
        `data` is no table `signal`, the column is unknown, or nothing was measured under `a` or
        `b`; the message names what there is.
    """
    column_of("signal", by)
    if a == b:
        raise InvalidRequest(f"a and b are both {a!r}: give two values of {by}")
    sides, silent = _sides(data, a, b, by)
    plain = _moments(sides, sides["value"].notna())
    counted = _moments(
        sides.assign(value=sides["value"].fillna(_WEAKEST)), sides["value"].notna() | silent
    )
    line = [name for name in ("gateway", "port") if name != by]
    shown = sides.drop_duplicates(line) if line else sides.head(1)
    lines: list[tuple[Any, list[tuple[Any, ...]]]] = [
        (row, [tuple(row[name] for name in line)]) for _, row in shown.iterrows()
    ]
    if overall:
        lines = [(_common(sides), [places for _, each in lines for places in each])]
    first, second = (str(side) or f"(no {by})" for side in (a, b))
    rows = []
    for place, members in lines:
        with_values = _Difference.of(members, plain)
        weak = _Difference.of(members, counted)
        rows.append(
            {
                "gateway": place["gateway"] if by != "gateway" else "",
                "port": place["port"] if by != "port" else pd.NA,
                "a": str(a),
                "b": str(b),
                **with_values.columns(),
                "verdict": _sentence(first, second, with_values, weak),
            }
        )
    frame = pd.DataFrame(rows).sort_values(["gateway", "port"], ignore_index=True)
    return typed(frame, _COLUMNS)


def _sides(data: Data, a: Any, b: Any, by: str) -> tuple[pd.DataFrame, pd.Series]:
    """The measurements of both sides, sorted, with side 0 or 1 and each port's refresh period."""
    names = {by, "gateway", "port", "time", "ok", "registered", "rssi_dbm"}
    table = filled(opened(data, "signal", names), {"gateway"})
    # The refresh period belongs to the port, whatever is compared: all of its rows tell of it that
    # lie between the first and the last of both sides.
    time = since_1970(table.time)
    places = list(dict.fromkeys((by, "gateway", "port")))
    there = fetch(table.group_by(places).aggregate(n_first=time.min(), n_last=time.max()))
    there = there[there["port"].notna()]  # before a gateway is reached, its ports are not known
    for side in (a, b):
        if not (there[by] == side).any():
            known = ", ".join(repr(each) for each in sorted(there[by].dropna().unique())[:12])
            raise InvalidRequest(
                f"nothing was measured with {by} {side!r}; there is {known}"
                if known
                else f"there is nothing to compare: no measurement has a {by}"
            )
    there = there[there[by].isin([a, b])]
    rows = fetch(
        table.filter(
            table.gateway.isin(there["gateway"].unique().tolist()),
            table.port.isin(there["port"].dropna().unique().tolist()),
            time.between(int(there["n_first"].min()), int(there["n_last"].max())),
        )
    )
    for flag in ("ok", "registered"):
        rows[flag] = rows[flag].astype("boolean").fillna(False).astype(bool)
    value = pd.to_numeric(rows["rssi_dbm"]).astype("Float64").to_numpy(float, na_value=np.nan)
    rows["value"] = np.where(rows["ok"], value, np.nan)
    rows["second"] = micros(rows["time"]) / 1e6
    rows = in_order(rows)
    refresh = refresh_by_port(rows)
    rows["refresh"] = np.where(np.isnan(refresh), readings.UNSEEN_REFRESH, refresh)
    found = rows[by].isin([a, b])
    rows = rows[found].assign(side=(rows.loc[found, by] == b).astype(int))
    line = ["side", *(name for name in ("gateway", "port") if name != by)]
    rows = rows.sort_values([*line, "gateway", "port", "second"], kind="stable", ignore_index=True)
    rows["group"] = rows.groupby(line, observed=True, sort=False, dropna=False).ngroup()
    rows["key"] = list(zip(*(rows[name] for name in line), strict=True))
    return rows, rows["ok"] & rows["registered"] & rows["value"].isna()


@dataclass(frozen=True, slots=True)
class _Moment:
    """One side of one port: what was measured, and how well that is known.

    `error` is the variance of the mean; `hidden` is rounding's part, which no measuring shrinks.
    """

    mean: float
    median: float
    error: float
    freedom: float
    hidden: float
    independent: float
    seconds: float
    silent: int
    at_low: bool
    at_high: bool

    @property
    def at_end(self) -> bool:
        """Whether many readings stand at an end of the scale."""
        return self.at_low or self.at_high

    @property
    def stuck(self) -> bool:
        """Whether so many do that more of them would not help."""
        return self.median <= _WEAKEST or self.median >= _STRONGEST


Moments = dict[tuple[Any, ...], _Moment]


def _moments(sides: pd.DataFrame, used: pd.Series) -> Moments:
    """Each side of each port, from the rows that are used."""
    rows = sides[used]
    number = rows["group"].to_numpy()
    total = int(sides["group"].max()) + 1
    columns = (rows[name].to_numpy() for name in ("second", "value", "refresh"))
    judged = readings.means(*readings.thinned(number, *columns), total)
    hidden = readings.rounding(judged.spread)
    silent = sides["ok"] & sides["registered"] & ~used
    measured = rows.groupby("group")["value"].agg(["mean", "median"])
    many = _MANY * np.bincount(number, minlength=total)
    low, high = (
        np.bincount(number[at_end], minlength=total) >= many
        for at_end in (rows["value"] <= _WEAKEST, rows["value"] >= _STRONGEST)
    )
    ticks = sides.groupby("group")["second"].diff()
    usual = ticks.groupby(sides["group"]).transform("median")
    seconds = usual.where(ticks.isna(), ticks.clip(upper=3 * usual)).groupby(sides["group"]).sum()
    moments = {}
    for key, group in zip(
        *(sides.drop_duplicates("group")[n] for n in ("key", "group")), strict=True
    ):
        there = group in measured.index
        moments[tuple(key)] = _Moment(
            mean=float(measured["mean"][group]) if there else np.nan,
            median=float(measured["median"][group]) if there else np.nan,
            error=float(judged.error[group]),
            freedom=float(judged.freedom[group]),
            hidden=float(hidden[group]),
            independent=float(judged.independent[group]),
            seconds=float(seconds[group]),
            silent=int(silent[sides["group"] == group].sum()),
            at_low=bool(low[group]),
            at_high=bool(high[group]),
        )
    return moments


def _common(sides: pd.DataFrame) -> dict[str, Any]:
    gateways, ports = sides["gateway"].unique(), sides["port"].unique()
    one = len(gateways) == 1
    return {
        "gateway": gateways[0] if one else "",
        "port": ports[0] if one and len(ports) == 1 else pd.NA,
    }


def _together(moments: list[Any]) -> _Moment | None:
    """The mean of several ports as one side."""
    known: list[_Moment] = [each for each in moments if each.mean == each.mean]
    if not known:
        return None
    count = len(known)
    error = sum(each.error for each in known) / count**2
    shares = sum((each.error / count**2) ** 2 / each.freedom for each in known)
    return _Moment(
        mean=sum(each.mean for each in known) / count,
        median=float(np.mean([each.median for each in known])),
        error=error,
        freedom=error**2 / shares if shares > 0 else np.nan,
        hidden=sum(each.hidden for each in known) / count**2,
        independent=sum(each.independent for each in known),
        seconds=max(each.seconds for each in known),
        silent=sum(each.silent for each in moments),
        at_low=any(each.at_low for each in known),
        at_high=any(each.at_high for each in known),
    )


@dataclass(frozen=True, slots=True)
class _Difference:
    """b - a, with its interval; NaN where a side has no values, or too few to judge them."""

    a: _Moment | None
    b: _Moment | None
    silent: tuple[int, int]
    middle: float
    half: float

    @classmethod
    def of(cls, members: list[tuple[Any, ...]], moments: Moments) -> _Difference:
        """The difference over these ports; only over those that have both sides, if any has."""
        pairs = [tuple(moments.get((side, *member)) for side in (0, 1)) for member in members]
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        silent = [sum(each.silent for each in side if each is not None) for side in sides]
        whole = [p for p in pairs if all(s is not None and s.mean == s.mean for s in p)]
        # A port whose single reading says nothing of its spread must not blind the others.
        sure = [p for p in whole if all(s is not None and s.error == s.error for s in p)]
        a, b = (
            _together([pair[side] for pair in sure or whole or pairs if pair[side] is not None])
            for side in (0, 1)
        )
        middle = half = np.nan
        if a is not None and b is not None:
            middle = b.mean - a.mean
            error = a.error + b.error
            freedom = error**2 / (a.error**2 / a.freedom + b.error**2 / b.freedom)
            half = float(readings.student(np.asarray(freedom))) * float(np.sqrt(error))
        return cls(a, b, (silent[0], silent[1]), middle, half)

    def columns(self) -> dict[str, Any]:
        """What the answer's row shows of it."""
        a, b = self.a, self.b
        return {
            "mean_a_dbm": a.mean if a else np.nan,
            "mean_b_dbm": b.mean if b else np.nan,
            "median_a_dbm": a.median if a else np.nan,
            "median_b_dbm": b.median if b else np.nan,
            "difference_db": self.middle,
            "ci_low": self.middle - self.half,
            "ci_high": self.middle + self.half,
            "n_independent_a": a.independent if a else 0.0,
            "n_independent_b": b.independent if b else 0.0,
        }

    @property
    def result(self) -> str:
        """Which is better, "a" or "b"; "same"; or "" when it can't be told."""
        if self.middle - self.half > 0:
            return "b"
        if self.middle + self.half < 0:
            return "a"
        return "same" if abs(self.middle) + self.half <= _NO_DIFFERENCE else ""

    def seconds_more(self) -> float:
        """How much longer each side must be measured for a result, were all to go on like this.

        NaN where nobody knows; infinite where rounding hides it, however long one measures.
        """
        a, b = self.a, self.b
        if a is None or b is None or np.isnan(self.half):
            return np.nan
        # Whichever comes first: the interval leaves 0 out, or it fits into what is no difference.
        # Student's t shrinks as well, but never helps by more than the square of its ratio to 2.
        wanted = 0.9 * max(abs(self.middle), _NO_DIFFERENCE - abs(self.middle))
        more = np.geomspace(_LEAST, _MOST, 1000)
        error = np.zeros_like(more)
        for side in (a, b):
            shrinks = (side.error - side.hidden) * side.seconds / (side.seconds + more)
            error += side.hidden + shrinks
        enough = error <= (wanted / 2) ** 2
        return float(more[np.argmax(enough)]) if enough.any() else np.inf


def _sentence(a: str, b: str, plain: _Difference, weak: _Difference) -> str:
    total = sum(plain.silent)
    if total and plain.result != weak.result:
        which = " and ".join(n for n, count in zip((a, b), plain.silent, strict=True) if count)
        many, they = (
            ("1 reading", "it counts") if total == 1 else (f"{total} readings", "they count")
        )
        return (
            f"can't tell: {many} of {which} had no value, and it turns on whether {they} "
            "as too weak (-113 dBm or less)"
        )
    if plain.a is None or plain.b is None:
        which = " or ".join(n for n, side in ((a, plain.a), (b, plain.b)) if side is None)
        return f"can't tell: no values of {which} here"
    at_end = " and ".join(n for n, side in ((a, plain.a), (b, plain.b)) if side.at_end)
    if plain.result in ("a", "b"):
        better, sign = (b, 1) if plain.result == "b" else (a, -1)
        best, worst = (plain.b, plain.a) if plain.result == "b" else (plain.a, plain.b)
        low, high = sorted((sign * (plain.middle - plain.half), sign * (plain.middle + plain.half)))
        places = 0 if low >= 1 and plain.half >= 1 else 1
        count = round(plain.a.independent + plain.b.independent)
        if best.at_low or worst.at_high:  # beyond that end, the difference is less
            return (
                f"{better} is better, nobody knows by how much: {at_end} stood at an end of the "
                "scale"
            )
        if at_end:
            return (
                f"{better} is at least {np.floor(10 * low) / 10:g} dB better, from {count} "
                f"independent readings; {at_end} stood at an end of the scale"
            )
        return (
            f"{better} is {abs(plain.middle):.{places}f} dB better, 95 % interval "
            f"{low:.{places}f} to {high:.{places}f}, from {count} independent readings"
        )
    if at_end and (plain.result == "same" or plain.a.stuck or plain.b.stuck):
        ends = (plain.a.at_high or plain.b.at_high, plain.a.at_low or plain.b.at_low)
        remedies = ("an attenuator", "a better antenna")
        with_it = " or ".join(each for end, each in zip(ends, remedies, strict=True) if end)
        return f"can't tell: {at_end} stood at an end of the scale: measure again with {with_it}"
    if plain.result == "same":
        most = np.ceil((abs(plain.middle) + plain.half) * 2) / 2
        return f"no difference seen: less than {most:g} dB"
    more = plain.seconds_more()
    if more == np.inf:
        return "can't tell: rounding to steps of 2 dB may hide so small a difference"
    return f"can't tell yet: measure {_more(more)} more"


def _more(seconds: float) -> str:
    if np.isnan(seconds):
        return "about 10 minutes"
    minutes = seconds / 60
    if minutes <= 5:
        return "about 5 minutes"
    if minutes <= 100:
        return f"about {5 * round(minutes / 5)} minutes"
    hours = minutes / 60
    if hours <= 48:
        return f"about {max(2, round(hours))} hours"
    return f"about {round(hours / 24)} days"

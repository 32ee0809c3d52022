"""Answers in plain words, as a report tells them; never HTML, a picture or a query."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import combinations
from typing import Any

import pandas as pd

from neogate_lab.analysis.quality import quality
from neogate_lab.analysis.tables import utc

__all__ = [
    "ERRORS",
    "KINDS",
    "WORDS",
    "joined",
    "length",
    "longest",
    "negative",
    "pairs",
    "percent",
    "readable",
    "striking",
    "unanswered",
    "verdict",
]

ERRORS = {
    "no_answer": "no answer in time",
    "disconnected": "no connection to the gateway",
    "refused": "refused by the gateway",
    "missed": "missed: the computer was late",
    "unparsed": "answered, but not understood",
}

KINDS = {
    "not_registered": "not registered",
    "down": "port down",
    "no_sim": "no SIM",
    "power_off": "power off",
    "blind": "nobody measured",
}

WORDS = ("excellent", "good", "fair", "weak", "unclear", "not registered", "not measured")
"""Of a port's verdict, the best first."""

_FINE = WORDS[:3]
_MOSTLY = 0.99
"""Ports that were registered for less of the time stand out."""

_LONGEST = 240
"""Letters of a name or sentence that are shown."""

_ROUNDED = ((86400, 3600), (3600, 60), (0, 1))
"""From so many seconds on, lengths are told to so many."""

_FEW = 8
"""Independent readings below which a word for a port's strength is a snapshot."""

_WORTH_TELLING = 0.02
"""What is rarer than this part of the measurements stands in the tables alone."""

_MOST_LABELS = 4
"""Up to so many labels, all pairs are compared; of more, each with the first."""

_MOST_PAIRS = 8


def readable(text: object) -> str:
    """A stranger's text on one line, without controls of terminals or of writing direction."""
    line = "".join(each if each.isprintable() else " " for each in str(text)).strip()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def negative(number: float, places: int = 0) -> str:
    """A number with a true minus, "–" for none."""
    if number != number:
        return "–"
    shown = f"{number:,.{places}f}"
    return (shown.lstrip("-") if not float(shown.replace(",", "")) else shown).replace("-", "−")


def percent(share: float) -> str:
    """A share in percent; what is not quite all or nothing never reads as all or nothing."""
    if share != share:
        return "–"
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9 %"
    if text == "0.0" and share > 0:
        return "< 0.1 %"
    return f"{text.removesuffix('.0')} %"


def length(seconds: float) -> str:
    """A length of time in its two largest units: "2 h 5 min"."""
    if seconds != seconds:
        return "–"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    least = next(unit for above, unit in _ROUNDED if seconds >= above)
    left = timedelta(seconds=round(seconds / least) * least)
    units = (
        (left.days, "d"),
        (left.seconds // 3600, "h"),
        (left.seconds // 60 % 60, "min"),
        (left.seconds % 60, "s"),
    )
    first = next(number for number, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)


def pairs(labels: list[str]) -> list[tuple[str, str]]:
    """Which labels to compare: all pairs when few, else each with the first."""
    if len(labels) <= _MOST_LABELS:
        return list(combinations(labels, 2))
    return [(labels[0], each) for each in labels[1:]][:_MOST_PAIRS]


def joined(outages: pd.DataFrame) -> pd.DataFrame:
    """Tell runs of one kind as one where only a shorter time parts them in which nobody measured.

    Parameters
    ----------
    outages : DataFrame
        As `summaries.outages` answers; blind times are needed, and are left out of the answer.
    """
    kept: list[dict[str, Any]] = []
    rows = outages.astype({"gateway": "str", "kind": "str"}).to_dict("records")
    for number, row in enumerate(rows):
        if row["kind"] == "blind":
            continue
        before = kept[-1] if kept else {}
        dark = rows[number - 1]
        if (
            dark["kind"] == "blind"
            and [before.get(name) for name in ("gateway", "port", "kind", "end")]
            == [row["gateway"], row["port"], row["kind"], dark["start"]]
            and dark["end"] == row["start"]
            and dark["seconds"] < before["seconds"]
            and not dark["seconds"] >= row["seconds"]
        ):
            before["end"] = row["end"]
            before["seconds"] = (row["end"] - before["start"]).total_seconds()
        else:
            kept.append({str(name): value for name, value in row.items()})
    if not kept:
        return outages.head(0)
    told = pd.DataFrame(kept, columns=outages.columns).astype({"port": outages["port"].dtype})
    return told.assign(start=utc(told["start"]), end=utc(told["end"]))


def unanswered(count: int) -> str:
    """That none of so many measurements was answered."""
    if count == 1:
        return "its only measurement was not answered"
    return f"none of {count:,} measurements was answered"


def longest(outages: pd.DataFrame, until: pd.Timestamp) -> float:
    """Seconds of the longest outage; an open one lasts until the last tick; NaN for none."""
    return float((outages["end"].fillna(until) - outages["start"]).dt.total_seconds().max())


def striking(port: Mapping[Any, Any]) -> bool:
    """Whether a port, with its verdict, is one to look at first among many."""
    answered, registered = int(port["n_answered"]), int(port["n_registered"])
    return (
        port["word"] not in _FINE
        or registered < _MOSTLY * answered
        or port["n_no_value"] >= _WORTH_TELLING * registered
        or port["n"] - answered >= _WORTH_TELLING * port["n"]
    )


def verdict(
    port: Mapping[Any, Any],
    outages: pd.DataFrame,
    until: pd.Timestamp,
    labels: Mapping[str, float],
) -> dict[str, str]:
    """What the measurements of one port say.

    Parameters
    ----------
    port : mapping
        Its row of `signal_summary`, with n_answered and n_registered of `availability`.
    outages : DataFrame
        Its outages, as `joined` tells them; with none of a port that was never registered, nobody
        knows.
    until : Timestamp
        The port's last tick: how long an open outage lasts at least.
    labels : mapping
        Medians in dBm by label, NaN for none; empty where there are fewer than two.

    Returns
    -------
    dict
        `word` (excellent, good, fair, weak, unclear, not registered or not measured), `headline`
        and `text`, sentences.
    """
    answered, registered = int(port["n_answered"]), int(port["n_registered"])
    if not answered:
        return {
            "word": "not measured",
            "headline": f"Not measured: {unanswered(int(port['n']))}.",
            "text": "",
        }
    if not registered and outages.empty:
        seen = float(port["median_dbm"])
        return {
            "word": "unclear",
            "headline": "Up, but the gateway does not say whether it is registered"
            + (f": median {negative(seen)} dBm." if seen == seen else "."),
            "text": _unanswered(port),
        }
    if not registered:
        kinds = outages["kind"].value_counts()
        kind = KINDS[str(kinds.index[0])] if len(kinds) else ""
        why = f": {kind}" if kind and kind != KINDS["not_registered"] else ""
        return {
            "word": "not registered",
            "headline": f"Never registered{why}.",
            "text": _unanswered(port),
        }
    median, silent = float(port["median_dbm"]), int(port["n_no_value"])
    if median != median:
        word, headline = "unclear", "Registered, but without a single signal value."
    else:
        word = quality(median)
        headline = f"{word.capitalize()} signal: median {negative(median)} dBm"
        if port["p90_dbm"] - port["p10_dbm"] >= 1:
            low, high = negative(port["p10_dbm"]), negative(port["p90_dbm"])
            headline += f", 80 % of the values between {low} and {high}"
        headline += "."
    parts = [_registration(port, outages, until)]
    if labels:
        told = ", ".join(f"{label} {negative(each)}" for label, each in labels.items())
        parts.append(f"Medians by label: {told} dBm.")
    if median == median:
        parts.append(_evidence(port))
    if silent >= _WORTH_TELLING * registered:
        parts.append(
            f"The gateway showed no value in {percent(silent / registered)} of the registered "
            "measurements, which may mean too weak to tell."
        )
    if silent > registered / 2:
        word = "unclear"
    parts.append(_unanswered(port))
    return {"word": word, "headline": headline, "text": " ".join(each for each in parts if each)}


def _registration(port: Mapping[Any, Any], outages: pd.DataFrame, until: pd.Timestamp) -> str:
    if outages.empty:
        return "Always registered."
    count = len(outages)
    lasted = length(longest(outages, until))
    text = (
        f"Registered {percent(float(port['availability']))} of the time; "
        f"{count:,} outage{'s' if count > 1 else ''}, {'the longest ' * (count > 1)}{lasted}"
    )
    return text + (", the last not over at the end." if outages["end"].isna().any() else ".")


def _evidence(port: Mapping[Any, Any]) -> str:
    count = port["n_independent"]
    told = round(float(count)) if count == count else 0
    if told >= _FEW:
        return f"{told:,} independent readings."
    return (
        f"Worth only {told:,} independent reading{'' if told == 1 else 's'}: another time may well "
        "differ."
    )


def _unanswered(port: Mapping[Any, Any]) -> str:
    lost = int(port["n"]) - int(port["n_answered"])
    if lost < _WORTH_TELLING * port["n"]:
        return ""
    return f"{percent(lost / int(port['n']))} of the scheduled measurements failed."

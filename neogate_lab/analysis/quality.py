"""How good a signal strength is, in one word; never a number of its own."""

from __future__ import annotations

__all__ = ["BANDS", "NO_VALUE", "quality"]

NO_VALUE = "no value"

BANDS = (
    (-70.0, "excellent", "−70 dBm or more (CSQ 22–31)"),
    (-85.0, "good", "−85 to −71 dBm (CSQ 14–21)"),
    (-100.0, "fair", "−100 to −86 dBm (CSQ 7–13)"),
    (-200.0, "weak", "below −100 dBm (CSQ 0–6)"),
)
"""From how many dBm on a word holds, and the same in words."""


def quality(rssi_dbm: float | None) -> str:
    """One word for a received signal strength of GSM.

    Parameters
    ----------
    rssi_dbm : float or None
        In dBm; None, NaN or NA is unknown.

    Returns
    -------
    str
        ``excellent`` from -70 dBm, ``good`` from -85, ``fair`` from -100, ``weak`` below, and
        ``no value``. No standard names such bands; these are the ones that vendors of modems
        commonly give for 2G. The specified sensitivity of handsets is -102 dBm (3GPP TS 45.005
        §6.2).

    Examples
    --------
    >>> quality(-73), quality(-101), quality(None)
    ('good', 'weak', 'no value')
    """
    # By their names, so that no frame library is imported for a word.
    if rssi_dbm is None or str(rssi_dbm) in ("nan", "<NA>"):
        return NO_VALUE
    return next(word for limit, word, _ in BANDS if rssi_dbm >= limit)

"""Records the raw traffic of a gateway as JSON lines, with credentials and PINs masked."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from datetime import datetime
from pathlib import Path

from neogate_lab.errors import StoreError

__all__ = ["WireLog"]

logger = logging.getLogger(__name__)

_CREDENTIALS = re.compile(rb"(?im)^((?:secret|username)[ \t]*:[ \t]*)[^\r\n]*")
_PIN = re.compile(rb"(?i)(\b(?:pin|puk)2?\s*\(\s*)\d+")


class WireLog:
    """Appends one line for each packet received and each action sent.

    A line holds ``time`` (ISO 8601, UTC), ``direction`` (``<`` from the gateway, ``>`` to it) and
    ``data`` (UTF-8; bytes that are not stand as lone surrogates, PEP 383).

    Parameters
    ----------
    path : Path
        Made with mode 0600; appended to if it exists.

    Raises
    ------
    StoreError
        It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise StoreError(f"the wire log {path} can't be written: {error.strerror}") from error
        self._path = path
        self._file = os.fdopen(handle, "a", encoding="ascii", buffering=1)
        self._broken = False

    def write(self, time: datetime, direction: str, data: bytes) -> None:
        """Append one line; a full disk ends the log, not the session."""
        if self._broken or self._file.closed:
            return
        masked = _PIN.sub(rb"\1****", _CREDENTIALS.sub(rb"\1****", data))
        line = {
            "time": time.isoformat(),
            "direction": direction,
            "data": masked.decode("utf-8", "surrogateescape"),
        }
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            self._broken = True
            logger.error("the wire log %s ends here: %s", self._path, error)

    def close(self) -> None:
        """Close the file; a line that the disk refused is not heard of again."""
        with contextlib.suppress(OSError):
            self._file.close()

"""Helpers that tests in every folder share; never a fixture, never a test."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["UNHURRIED", "missing"]


def missing(reason: str) -> NoReturn:
    """Skip the test because this machine lacks something; on CI, where nothing may lack, fail.

    Parameters
    ----------
    reason : str
        What is missing and how to get it; shown in the summary.
    """
    if os.environ.get("CI"):
        pytest.fail(f"missing on CI: {reason}", pytrace=False)
    pytest.skip(reason)


UNHURRIED = (
    "import logging\n"
    "logging.getLogger('asyncio').addFilter(lambda said: ' took ' not in said.getMessage())\n"
)
"""For programs under -X dev, where asyncio tells of every turn that a busy machine made slow."""

"""Asking ports for their balances, each with its operator's code; answers are read elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from neogate_lab.choice import PortChoice
from neogate_lab.errors import InvalidRequest

if TYPE_CHECKING:
    from neogate_lab.link.async_gateway import AsyncGateway

__all__ = ["ask", "check"]


def check(code: object, *, since: object, until: object) -> None:
    """Raise `InvalidRequest` unless ports can be asked so: by text or a dict, and for now alone."""
    if since is not None or until is not None:
        raise InvalidRequest("since and until look back: leave code out, or them")
    if not isinstance(code, str | Mapping):
        raise InvalidRequest(
            f'code must be text such as "*100#", or a dict of operators and codes, not {code!r}'
        )


async def ask(
    link: AsyncGateway,
    code: str | Mapping[str, str],
    port: PortChoice,
    timeout: float,
) -> list[str]:
    """Ask each port with the code of its operator; the codes that were used."""
    if isinstance(code, str):
        await link.ussd_all(code, port, timeout=timeout)
        return [code]
    asked: dict[str, list[int]] = {}
    wanted = {operator.casefold(): each for operator, each in code.items()}
    details = await link.diagnostics(port)
    for detail in details:
        if port is None and not detail.status.up:
            continue
        names = (detail.operator.casefold(), detail.network.casefold())
        found = next((wanted[name] for name in names if name in wanted), None)
        if found is not None:
            asked.setdefault(found, []).append(link.port_of(detail.span))
    if not asked:
        there = {name for detail in details for name in (detail.operator, detail.network) if name}
        raise InvalidRequest(
            f"none of these operators is there; the ports show {', '.join(sorted(there)) or 'none'}"
        )
    await asyncio.gather(
        *(link.ussd_all(each, ports, timeout=timeout) for each, ports in asked.items())
    )
    return list(asked)

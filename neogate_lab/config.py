"""Where a connection's settings come from: arguments, profiles, environment, and a prompt at last.

A profile is a table of ``~/.config/neogate_lab/config.toml`` (or below XDG_CONFIG_HOME)::

    [lab]
    host = "192.168.5.150"
    username = "apiuser"
    password = "…"        # or NEOGATE_PASSWORD, or the prompt
"""

from __future__ import annotations

import getpass
import os
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neogate_lab.errors import InvalidRequest

__all__ = ["DEFAULT_PORT", "Endpoint", "ask_for_password", "config_path", "resolve"]

DEFAULT_PORT = 5038
_PROFILE_KEYS = {"host", "port", "username", "password", "name", "store"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect and as whom."""

    host: str
    port: int
    username: str = field(repr=False)
    password: str = field(repr=False)
    name: str | None
    store: str | None


def config_path() -> Path:
    """The file that holds the profiles."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "neogate_lab" / "config.toml"


def resolve(
    target: str | None,
    *,
    username: str | None,
    password: str | None,
    port: int,
    name: str | None,
    ask: Callable[[str], str] | None = None,
) -> Endpoint:
    """Complete what the caller gave: argument, then profile, then environment, then the prompt.

    Parameters
    ----------
    target, username, password, port, name
        As for `neogate_lab.connect`.
    ask : callable, optional
        Gets the host and returns the password that nobody gave; default `ask_for_password`.

    Raises
    ------
    InvalidRequest
        Something is missing that nobody can be asked for, or can't be used.
    """
    if target is not None and not isinstance(target, str):
        raise InvalidRequest(f"target must be a host name or a profile's name, not {target!r}")
    if name is not None and not isinstance(name, str):
        raise InvalidRequest(f"name must be text, not {name!r}")
    profile = _profile(target) if target is not None else {}
    host = profile.get("host") or (None if profile else target) or os.environ.get("NEOGATE_HOST")
    if not host:
        raise InvalidRequest(
            "which gateway? give connect() a host name, a profile's name, or set NEOGATE_HOST"
        )
    host, given_port = _split(host)
    if given_port is not None and port not in (DEFAULT_PORT, given_port):
        raise InvalidRequest(f"the target says port {given_port} and port={port}; give one of them")
    if given_port is None:
        given_port = port if port != DEFAULT_PORT else profile.get("port", DEFAULT_PORT)
    if (
        isinstance(given_port, bool)
        or not isinstance(given_port, int)
        or not 0 < given_port < 65536
    ):
        raise InvalidRequest(f"port must be a whole number from 1 to 65535, not {given_port!r}")
    username = username or profile.get("username") or os.environ.get("NEOGATE_USERNAME")
    if not username:
        hint = "" if profile or target is None else f" (no profile is called {target!r})"
        raise InvalidRequest(
            f"user name for {host} is missing{hint}: give username=, or set NEOGATE_USERNAME"
        )
    password = password if password is not None else profile.get("password")
    if password is None:
        password = os.environ.get("NEOGATE_PASSWORD")
    if password is None:
        password = (ask or ask_for_password)(host)
    return Endpoint(
        host,
        given_port,
        username,
        password,
        name or profile.get("name") or (target if profile else None),
        profile.get("store"),
    )


def _profile(target: str) -> dict[str, Any]:
    path = config_path()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"the profiles in {path} can't be read: {error}") from error
    profile = profiles.get(target, {})
    if not isinstance(profile, dict):
        raise InvalidRequest(f"{target!r} in {path} must be a table: [{target}]")
    unknown = set(profile) - _PROFILE_KEYS
    if unknown:
        raise InvalidRequest(
            f"profile {target!r} in {path} has unknown entries {sorted(unknown)}; known are "
            f"{sorted(_PROFILE_KEYS)}"
        )
    if profile and not profile.get("host"):
        raise InvalidRequest(f"profile {target!r} in {path} has no host")
    for key, value in profile.items():
        if key != "port" and not isinstance(value, str):
            raise InvalidRequest(f"{key} of profile {target!r} in {path} must be text in quotes")
    return profile


def _split(target: str) -> tuple[str, int | None]:
    """Split host:port; an IPv6 address needs brackets for a port."""
    target = target.strip()
    if "://" in target:
        raise InvalidRequest(
            f"{target!r} is a URL; give the host alone, for example '192.168.5.150': the API is "
            "plain TCP, not the web page"
        )
    bracketed, _, rest = target.removeprefix("[").partition("]")
    if target.startswith("["):
        host, port = bracketed, rest.removeprefix(":")
    elif target.count(":") == 1:
        host, _, port = target.partition(":")
    else:
        host, port = target, ""
    if not host or any(character.isspace() or character in "/@" for character in host):
        raise InvalidRequest(
            f"{target!r} is no host name; give for example '192.168.5.150' or 'gateway:5038'"
        )
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit()):
        raise InvalidRequest(f"{target!r}: the part after the colon is no port number")
    return host, int(port)


def ask_for_password(host: str) -> str:
    """Ask where somebody can answer, a terminal or a notebook; `InvalidRequest` elsewhere."""
    if not (sys.stdin is not None and sys.stdin.isatty()) and "ipykernel" not in sys.modules:
        raise InvalidRequest(
            f"password for {host} is missing: give password=, or set NEOGATE_PASSWORD"
        )
    try:
        return getpass.getpass(f"Password for {host}: ")
    except (EOFError, NotImplementedError) as error:  # a notebook that runs with nobody at it
        raise InvalidRequest(
            f"password for {host} is missing, and nobody can be asked: give password=, or set "
            "NEOGATE_PASSWORD"
        ) from error

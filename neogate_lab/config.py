"""Where a connection's settings come from: arguments, profiles, environment, and a prompt at last.

A profile is a table of ``~/.config/neogate_lab/config.toml`` (or below XDG_CONFIG_HOME)::

    [lab]
    host = "192.168.5.150"
    username = "apiuser"
    password = "…"        # or NEOGATE_PASSWORD, or the prompt; then chmod 600
"""

from __future__ import annotations

import difflib
import getpass
import ipaddress
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.link.options import DEFAULT_PORT
from neogate_lab.link.session import Secret
from neogate_lab.warn import warn

__all__ = [
    "DEFAULT_PORT",
    "DEFAULT_STORE",
    "Endpoint",
    "Place",
    "ask_for_password",
    "config_path",
    "credentials",
    "locate",
    "resolve",
    "store_path",
]

DEFAULT_STORE = "neogate.neogate"
"""In the working directory."""
_SHOWN = {"host", "port", "username", "name", "store"}
_PROFILE_KEYS = _SHOWN | {"password"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is, and what its profile says of it."""

    host: str
    port: int
    profile: str = ""  # "" is none
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    profiles: tuple[str, ...] = ()  # all that there are


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
    ask: Callable[[Place, str], str] | None = None,
) -> Endpoint:
    """Complete what the caller gave: argument, then profile, then environment, then the prompt.

    Parameters
    ----------
    target, username, password, port, name
        As for `neogate_lab.connect`.
    ask : callable, optional
        Gets the place and the user name, and returns the password that nobody gave; default
        `ask_for_password`.

    Raises
    ------
    InvalidRequest
        Something is missing that nobody can be asked for, or can't be used.
    """
    password = Secret.of(password)
    if name is not None and not isinstance(name, str):
        raise InvalidRequest(f"name must be text, not {name!r}")
    place = locate(target, port)
    username, password, _ = credentials(place, username, password, ask)
    return Endpoint(
        place.host,
        place.port,
        username,
        password,
        name or place.settings.get("name") or place.profile or None,
        place.settings.get("store"),
    )


def store_path(given: str | os.PathLike[str] | None, named: Iterable[str | None]) -> str:
    """Where to record: the path given, else the one that the profiles name, else the default.

    An absolute path, so that one store is one whatever it is called; or ":memory:".

    Parameters
    ----------
    given : path, ":memory:" or None
        The caller's.
    named : iterable of str or None
        What the profile of each gateway says.

    Raises
    ------
    InvalidRequest
        `given` is no path, or it is none and the profiles disagree.
    """
    stores = set(filter(None, named))
    if not given and len(stores) > 1:
        raise InvalidRequest(
            "the profiles name different stores, and gateways that are connected together have "
            "one: give store="
        )
    try:
        path = os.fspath(given or next(iter(stores), DEFAULT_STORE))
        return path if path == ":memory:" else str(Path(path).expanduser().absolute())
    except TypeError:
        raise InvalidRequest(f"store must be a path or a Store, not {given!r}") from None


def locate(target: str | None, port: int = DEFAULT_PORT) -> Place:
    """Find the host and port that a target means; nobody is asked for anything.

    Raises
    ------
    InvalidRequest
        There is no target, its profile can't be used, or it is no host name.
    """
    if target is not None and not isinstance(target, str):
        raise InvalidRequest(f"target must be a host name or a profile's name, not {target!r}")
    profiles = {} if target is None else _profiles()
    profile = _profile(target, profiles) if target in profiles else {}
    host = profile.get("host") or (None if profile else target) or os.environ.get("NEOGATE_HOST")
    if not host:
        raise InvalidRequest("which gateway? name a host or a profile, or set NEOGATE_HOST")
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
    known = tuple(name for name, table in profiles.items() if isinstance(table, dict))
    return Place(host, given_port, (target or "") if profile else "", profile, known)


def credentials(
    place: Place,
    username: str | None,
    password: str | None,
    ask: Callable[[Place, str], str] | None = None,
) -> tuple[str, str, str]:
    """User name, password, and where the password came from.

    Raises
    ------
    InvalidRequest
        One is missing, and nobody can be asked for it.
    """
    username = username or place.settings.get("username") or os.environ.get("NEOGATE_USERNAME")
    if not username:
        raise InvalidRequest(
            f"the user name for {place.host} is missing{_no_profile(place)}: give username=, write "
            f"it into a profile in {config_path()}, or set NEOGATE_USERNAME"
        )
    if password is not None:
        return username, password, "the argument"
    if place.settings.get("password"):
        return username, place.settings["password"], f"the profile {place.profile!r}"
    if os.environ.get("NEOGATE_PASSWORD"):
        return username, Secret(os.environ["NEOGATE_PASSWORD"]), "NEOGATE_PASSWORD"
    return username, Secret((ask or ask_for_password)(place, username)), "the prompt"


def _no_profile(place: Place) -> str:
    """Whether the host may have been meant as a profile."""
    if place.profile or "." in place.host or not place.profiles:
        return ""
    close = difflib.get_close_matches(place.host, place.profiles, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f" (no profile is called {place.host!r}{hint})"


def _profiles() -> dict[str, Any]:
    path = config_path()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidRequest(f"the profiles in {path} can't be read: {error.strerror}") from None
    except ValueError as error:  # its own traceback would hold the file's content
        raise InvalidRequest(
            f"the profiles in {path} are no TOML: {error}; text stands in quotes, such as "
            'host = "192.168.5.150"'
        ) from None
    return {name: _hidden(name, value) for name, value in found.items()}


def _hidden(name: str, value: Any) -> Any:
    """An entry of the file as tracebacks may show it: under another name, it may be a password."""
    if isinstance(value, dict):
        return {inner: _hidden(inner, each) for inner, each in value.items()}
    if name in _SHOWN:
        return value
    return Secret(value) if isinstance(value, str) else None


def _profile(target: str, profiles: dict[str, Any]) -> dict[str, Any]:
    path = config_path()
    profile = profiles[target]
    if not isinstance(profile, dict):
        raise InvalidRequest(f"{target!r} in {path} must be a table: [{target}]")
    unknown = set(profile) - _PROFILE_KEYS
    if unknown:
        raise InvalidRequest(
            f"profile {target!r} in {path} has unknown entries {sorted(unknown)}; known are "
            f"{sorted(_PROFILE_KEYS)}"
        )
    if not profile.get("host"):
        raise InvalidRequest(f"profile {target!r} in {path} has no host")
    for key, value in profile.items():
        if key != "port" and not isinstance(value, str):
            raise InvalidRequest(f"{key} of profile {target!r} in {path} must be text in quotes")
    if "password" in profile and os.name == "posix" and path.stat().st_mode & 0o077:
        warn(
            f"{path} holds a password, and other users of this computer may read it: run "
            f"chmod 600 {path}"
        )
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
        if ":" in host and not _is_ipv6(host):
            raise InvalidRequest(f"{target!r} has too many colons; give host, or host:port")
    if not host or any(character.isspace() or character in "/@,;" for character in host):
        one = "one host" if re.search("[,;]", host) else "for example '192.168.5.150'"
        raise InvalidRequest(f"{target!r} is no host name; give {one} or 'gateway:5038'")
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit()):
        raise InvalidRequest(f"{target!r}: the part after the colon is no port number")
    return host, int(port)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def ask_for_password(place: Place, username: str) -> str:
    """Ask where somebody can answer, a terminal or a notebook; `InvalidRequest` elsewhere."""
    if not (sys.stdin is not None and sys.stdin.isatty()) and "ipykernel" not in sys.modules:
        raise InvalidRequest(_nobody(place.host))
    try:
        typed = Secret(getpass.getpass(f"Password for {place.host}: "))
    except (EOFError, NotImplementedError) as error:  # a notebook that runs with nobody at it
        raise InvalidRequest(_nobody(place.host)) from error
    if not typed:
        raise InvalidRequest(f"no password for {place.host} was typed")
    return typed


def _nobody(host: str) -> str:
    return (
        f"the password for {host} is missing, and nobody can be asked here: set NEOGATE_PASSWORD, "
        f"or write it into a profile in {config_path()}"
    )

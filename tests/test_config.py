"""Where a connection's settings come from: argument, profile, environment, at last a prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from neogate_lab import config
from neogate_lab.errors import InvalidRequest, NeogateWarning

PROFILES = """
[lab]
host = "192.168.5.150"
username = "labuser"
password = "labpass"

[far]
host = "far.example:5039"
name = "the mast"
username = "faruser"
store = "far.neogate"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOST", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"NEOGATE_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = config.config_path()
    path.parent.mkdir()
    path.write_text(PROFILES)
    path.chmod(0o600)
    return path


def resolve(target: Any = "h", **settings: Any) -> config.Endpoint:
    usual: dict[str, Any] = {"username": "u", "password": "p", "port": 5038, "name": None}
    return config.resolve(target, **(usual | settings))


def test_a_host_and_what_was_given() -> None:
    endpoint = resolve("192.168.5.150")
    assert (endpoint.host, endpoint.port, endpoint.name) == ("192.168.5.150", 5038, None)
    assert (endpoint.username, endpoint.password, endpoint.store) == ("u", "p", None)


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("gw:5040", "gw", 5040),
        (" gw ", "gw", 5038),
        ("::1", "::1", 5038),
        ("[::1]:5040", "::1", 5040),
        ("[fe80::1]", "fe80::1", 5038),
    ],
)
def test_a_port_may_stand_behind_the_host(target: str, host: str, port: int) -> None:
    endpoint = resolve(target)
    assert (endpoint.host, endpoint.port) == (host, port)


def test_a_profile_fills_in_and_gives_its_name() -> None:
    endpoint = resolve("lab", username=None, password=None)
    assert (endpoint.host, endpoint.name) == ("192.168.5.150", "lab")
    assert (endpoint.username, endpoint.password) == ("labuser", "labpass")
    far = resolve("far")
    assert (far.host, far.port) == ("far.example", 5039)
    assert (far.name, far.store) == ("the mast", "far.neogate")


def test_an_argument_beats_the_profile_and_that_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEOGATE_USERNAME", "envuser")
    monkeypatch.setenv("NEOGATE_PASSWORD", "envpass")
    monkeypatch.setenv("NEOGATE_HOST", "envhost")
    assert resolve("lab").username == "u"
    assert resolve("lab", username=None).username == "labuser"
    assert resolve("far", password=None).password == "envpass"
    assert resolve(None, username=None, password=None) == config.Endpoint(
        "envhost", 5038, "envuser", "envpass", None, None
    )
    assert resolve("lab", port=5050).port == 5050
    assert resolve("lab", name="mine").name == "mine"


def test_an_empty_password_is_a_password() -> None:
    assert resolve(password="").password == ""


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InvalidRequest, match="NEOGATE_PASSWORD"):
        resolve(password=None)


@pytest.mark.parametrize("error", [EOFError(), NotImplementedError()])
def test_a_notebook_that_runs_by_itself_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nobody(prompt: str) -> str:
        raise error

    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("getpass.getpass", nobody)
    with pytest.raises(InvalidRequest, match="nobody can be asked"):
        resolve(password=None)


@pytest.mark.parametrize("origin", ["environment", "profile"])
def test_what_was_left_empty_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, home: Path, origin: str
) -> None:
    if origin == "environment":
        monkeypatch.setenv("NEOGATE_PASSWORD", "")
    home.write_text('[gw]\nhost = "gw"\npassword = ""\n')
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed")
    target = "gw" if origin == "profile" else "10.0.0.5"
    assert resolve(target, password=None).password == "typed"


def test_nothing_typed_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "")
    with pytest.raises(InvalidRequest, match="no password for gw was typed"):
        resolve("gw", password=None)


def test_somebody_is_asked_for_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"typed at {prompt}")
    assert resolve("gw", password=None).password == "typed at Password for gw: "


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": None}, "which gateway"),
        ({"target": ["lab"]}, "target must be"),
        ({"target": "http://gw"}, "is a URL"),
        ({"target": "user@gw"}, "no host name"),
        ({"target": "a b"}, "no host name"),
        ({"target": "10.0.0.5, 10.0.0.6"}, "no host name; give one host"),
        ({"target": "192.168.5.150:5038:1"}, "too many colons"),
        ({"target": "gw:0"}, "1 to 65535"),
        ({"target": "gw:99999"}, "1 to 65535"),
        ({"target": "gw:5040", "port": 5041}, "give one of them"),
        ({"port": "5038"}, "1 to 65535"),
        ({"port": True}, "1 to 65535"),
        ({"username": None}, "user name"),
        ({"target": "labb", "username": None}, "no profile is called 'labb'; did you mean 'lab'"),
        ({"name": 5}, "name must be text"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        resolve(**settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[lab\n", "are no TOML.*line 1"),
        ("[lab]\nhost = gw\n", "are no TOML.*line 2.*stands in quotes"),
        ("lab = 5\n", "must be a table"),
        ("[lab]\nusername = 'u'\n", "has no host"),
        ("[lab]\nhost = 'h'\npasword = 'p'\n", "unknown entries"),
        ("[lab]\nhost = 5\n", "must be text"),
        ("[lab]\nhost = 'h'\nport = 'x'\n", "1 to 65535"),
    ],
    ids=repr,
)
def test_a_broken_profile_is_named(home: Path, text: str, words: str) -> None:
    home.write_text(text)
    with pytest.raises(InvalidRequest, match=words):
        resolve("lab")


def test_without_profiles_a_target_is_a_host(home: Path) -> None:
    home.unlink()
    assert resolve("lab").host == "lab"


def test_nothing_secret_in_its_repr() -> None:
    shown = repr(resolve("lab", username="someone", password="s3cret"))
    assert "s3cret" not in shown
    assert "someone" not in shown


def test_a_password_that_others_may_read_is_warned_of(home: Path) -> None:
    home.chmod(0o644)
    with pytest.warns(NeogateWarning, match="chmod 600") as caught:
        resolve("lab")
    assert [warning.filename for warning in caught] == [__file__]
    assert resolve("far").host == "far.example"  # holds no password


@pytest.mark.parametrize(
    ("target", "password", "environment", "origin"),
    [
        ("lab", "given", True, "the argument"),
        ("lab", None, True, "the profile 'lab'"),
        ("far", None, True, "NEOGATE_PASSWORD"),
        ("far", None, False, "the prompt"),
    ],
)
def test_where_the_password_came_from_is_known(
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    password: str | None,
    environment: bool,
    origin: str,
) -> None:
    if environment:
        monkeypatch.setenv("NEOGATE_PASSWORD", "envpass")
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed")
    place = config.locate(target)
    assert config.credentials(place, "u", password)[2] == origin
    assert "labpass" not in repr(place)

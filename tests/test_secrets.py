"""A password stays out of tracebacks, also of those that show every variable of every frame."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import neogate_lab as ng
from neogate_lab import config
from neogate_lab.link.session import Secret
from neogate_lab.simulator import SimulatedGateway

SECRET = "c0rrect-h0rse"
PACKAGE = str(Path(ng.__file__).parent)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NEOGATE_USERNAME", "apiuser")
    monkeypatch.delenv("NEOGATE_PASSWORD", raising=False)
    path = config.config_path()
    path.parent.mkdir()

    def write(text: str) -> None:
        path.write_text(text.replace("SECRET", SECRET))
        path.chmod(0o600)

    return write


def shown(error: BaseException) -> Iterator[str]:
    """What a traceback with variables shows of all but the test's own frames."""
    for each in (error, error.__cause__, None if error.__suppress_context__ else error.__context__):
        if each is None:
            continue
        yield str(each)
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield from (f"{name} = {value!r}" for name, value in frame.f_locals.items())


def failing(call: Callable[[], object]) -> list[str]:
    with pytest.raises(ng.NeogateError) as caught:
        call()
    return list(shown(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        '[lab]\nhost = "127.0.0.1"\npassword = "SECRET\n',
        '[lab]\nhost = "127.0.0.1"\npassword = SECRET\n',
        'lab = "SECRET"\n',
        '[lab]\nhost = "127.0.0.1"\npasword = "SECRET"\n',
        '[lab]\npassword = "SECRET"\n',
        '[lab]\nhost = 5\npassword = "SECRET"\n',
        '[lab]\nhost = "127.0.0.1"\nport = "x"\npassword = "SECRET"\n',
        '[lab]\nhost = "127.0.0.1"\npassword = "SECRET\\n"\n',
        '[lab]\nhost = "127.0.0.1"\nport = 1\npassword = "SECRET"\n',
    ],
)
@pytest.mark.parametrize("connect", [ng.connect, lambda *a, **k: ng.connect_all([*a], **k)])
def test_of_a_profile(
    profile: Callable[[str], None], text: str, connect: Callable[..., object]
) -> None:
    profile(text)
    told = failing(lambda: connect("lab", store=":memory:"))
    assert not [line for line in told if SECRET in line]


def test_an_unquoted_password_of_digits(profile: Callable[[str], None]) -> None:
    profile('[lab]\nhost = "127.0.0.1"\npassword = 4711\n')
    told = failing(lambda: ng.connect("lab", store=":memory:"))
    assert "must be text in quotes" in told[0]
    assert not [line for line in told if "4711" in line]


@pytest.mark.parametrize(
    "settings", [{}, {"record": "/nowhere/wire"}, {"sms_interval": "x"}, {"name": 5}], ids=str
)
def test_of_an_argument(settings: dict[str, object], tmp_path: Path) -> None:
    with SimulatedGateway(password="another") as sim:
        given = {"username": "apiuser", "password": SECRET, "port": sim.port, "store": tmp_path}
        told = failing(lambda: ng.connect(sim.host, **{**given, **settings}))  # type: ignore[arg-type]
        assert not [line for line in told if SECRET in line]
        assert any(line.startswith("password = ") for line in told)


@pytest.mark.parametrize(
    "call",
    [
        lambda given: ng.connect_all([given], store=":memory:"),
        lambda given: ng.connect_all([given | {"usrname": "u"}], store=":memory:"),
        lambda given: ng.connect_all(given, store=":memory:"),
        lambda given: ng.diagnose(**given, timeout=-1),
    ],
    ids=["unreachable", "misspelt", "no list", "doctor"],
)
def test_of_a_dict_and_of_the_doctor(call: Callable[[dict[str, object]], object]) -> None:
    told = failing(lambda: call({"target": "127.0.0.1:1", "username": "u", "password": SECRET}))
    assert not [line for line in told if SECRET in line]


def test_it_is_the_password_all_the_same() -> None:
    secret = Secret(SECRET)
    assert secret == SECRET
    assert f"{secret}" == SECRET
    assert repr([secret]) == "['…']"
    assert pickle.loads(pickle.dumps(secret)) == SECRET

"""Where exports go and come from, paths and fsspec URLs, replaced as a whole; never a format.

A file takes its place by one rename. A folder takes it by one exchange of names on Linux; elsewhere
by two renames, between which there is no folder for a moment. At a URL a file is written beside its
place and moved, which is one step on object stores and in memory; the files of a folder are
written beside the old ones, of which those that are no longer listed are deleted at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from neogate_lab.errors import InvalidRequest, StoreError

__all__ = ["Create", "Place", "locate", "sync_folder", "text_of"]

Create = Callable[[str], IO[bytes]]
"""Opens a new file of a folder, named by its path below the folder."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+::?//|[a-z][a-z0-9]+::")
_USER = re.compile(r"//[^/@]*@")
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE, AT_FDCWD


class Place(Protocol):
    """A file or a folder; its text is safe to show."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    def is_file(self) -> bool:
        """Whether there is a file."""

    def is_folder(self) -> bool:
        """Whether there is a folder."""

    def check_parent(self) -> None:
        """Raise `InvalidRequest` where no file can be made because its folder is missing."""

    def files(self) -> list[str]:
        """Paths of the files below this folder, sorted; none where there is no folder."""

    def read(self, below: str = "") -> IO[bytes]:
        """Open it, or a file below it."""

    def replacing(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Give a file that takes this place when everything is on disk, else nothing changes."""

    def replacing_folder(self) -> contextlib.AbstractContextManager[Create]:
        """Give a way to make the files that take this place; the last one made lists the others."""

    def answer(self) -> Path | str:
        """What the caller of an export gets."""


def locate(path: str | os.PathLike[str]) -> Place:
    """Find out what a path or URL leads to.

    Raises
    ------
    InvalidRequest
        It is no text, or a URL for which something has to be installed.
    """
    text = text_of(path)
    if text.lower().startswith("file://"):
        return Local(Path(url2pathname(urlsplit(text).path)))
    if not _URL.match(text):
        return Local(Path(path).expanduser())
    shown = _USER.sub("//", text).partition("?")[0]
    try:
        import fsspec
    except ImportError:
        raise InvalidRequest(
            f"{shown} is a URL, for which fsspec is missing: pip install 'neogate-lab[remote]'"
        ) from None
    try:
        system, inner = fsspec.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise InvalidRequest(f"{shown} can't be reached: {_USER.sub('//', str(error))}") from None
    return Remote(system, inner.rstrip("/"), text, shown)


def text_of(path: str | os.PathLike[str]) -> str:
    """Check that a path is one, and give it as text.

    Raises
    ------
    InvalidRequest
        It is no path, or an empty one.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InvalidRequest(f"a path is text that is not empty, or a pathlib.Path, not {path!r}")
    return text


class Local:
    """A path on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    @property
    def name(self) -> str:
        return self._path.name

    def is_file(self) -> bool:
        return self._path.exists() and not self._path.is_dir()  # devices and pipes are files, too

    def is_folder(self) -> bool:
        return self._path.is_dir()

    def check_parent(self) -> None:
        if not self._path.parent.is_dir():
            raise InvalidRequest(f"there is no folder {self._path.parent}: make it first")

    def files(self) -> list[str]:
        found = (path for path in self._path.rglob("*") if not path.is_dir())
        return sorted(path.relative_to(self._path).as_posix() for path in found)

    def read(self, below: str = "") -> IO[bytes]:
        return (self._path / below).open("rb")

    def answer(self) -> Path:
        return self._path

    @contextlib.contextmanager
    def replacing(self) -> Iterator[IO[bytes]]:
        target = Path(os.path.realpath(self._path))  # a link keeps leading to the file
        if self.is_file() and not target.is_file():
            raise InvalidRequest(f"{self} is a pipe or a device, no file: give another path")
        draft = self._beside(target)
        try:
            with draft.open("xb") as file:
                yield file
                _flush(file)
            draft.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise _unwritable(self, error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):  # there is none once it was renamed
                draft.unlink()

    @contextlib.contextmanager
    def replacing_folder(self) -> Iterator[Create]:
        target = self._path.resolve()
        draft, old = self._beside(target), self._beside(target)
        made: list[IO[bytes]] = []

        def create(below: str) -> IO[bytes]:
            path = draft / below
            path.parent.mkdir(parents=True, exist_ok=True)
            made.append(path.open("xb"))
            synced: IO[bytes] = _Synced(made[-1])  # type: ignore[assignment]  # all of it, by delegation
            return synced

        try:
            draft.mkdir()
            yield create
            for folder, _, _ in os.walk(draft):
                sync_folder(Path(folder))
            if not target.exists():
                draft.rename(target)
            elif not _exchange(draft, target):
                target.rename(old)
                try:
                    draft.rename(target)
                except OSError:
                    old.rename(target)
                    raise
            sync_folder(target.parent)
        except OSError as error:
            raise _unwritable(self, error) from error
        finally:
            for file in made:
                file.close()
            for rest in (draft, old):
                shutil.rmtree(rest, ignore_errors=True)

    @staticmethod
    def _beside(target: Path) -> Path:
        return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


class Remote:
    """A path of an fsspec file system."""

    def __init__(self, system: Any, path: str, url: str, shown: str) -> None:
        self._system = system
        self._path = path
        self._url = url
        self._shown = shown

    def __str__(self) -> str:
        return self._shown

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def is_file(self) -> bool:
        return self._asked(self._system.isfile)

    def is_folder(self) -> bool:
        return self._asked(self._system.isdir)

    def check_parent(self) -> None:
        """Object stores have no folders, and others make them."""

    def files(self) -> list[str]:
        self._system.invalidate_cache()
        try:
            found = self._system.find(self._path)
        except FileNotFoundError:
            return []
        prefix = self._path.strip("/") + "/"
        return sorted(path.strip("/").removeprefix(prefix) for path in found)

    def read(self, below: str = "") -> IO[bytes]:
        opened: IO[bytes] = self._system.open(self._join(below), "rb")
        return opened

    def answer(self) -> str:
        return self._url

    @contextlib.contextmanager
    def replacing(self) -> Iterator[IO[bytes]]:
        parent, _, name = self._path.rpartition("/")
        draft = f"{parent}/.{name}.{secrets.token_hex(4)}.tmp"
        try:
            self._system.makedirs(parent, exist_ok=True)
            with self._system.open(draft, "wb") as file:
                yield file
            self._system.mv(draft, self._path)
        except OSError as error:
            raise _unwritable(self, error) from error
        finally:
            self._forget([draft])

    @contextlib.contextmanager
    def replacing_folder(self) -> Iterator[Create]:
        before = self.files()
        made: list[str] = []

        def create(below: str) -> IO[bytes]:
            path = self._join(below)
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            made.append(below)
            opened: IO[bytes] = self._system.open(path, "wb")
            return opened

        done = False
        try:
            yield create
            done = True
        except OSError as error:
            raise StoreError(
                f"{self} can't be written ({error.strerror or error}); try again: an export there "
                "replaces what this one left"
            ) from error
        finally:
            keep = set(made) if done else set(before)
            self._forget([self._join(each) for each in {*before, *made} - keep])

    def _forget(self, paths: list[str]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):  # it is gone already, or the next export deletes it
                self._system.rm_file(path)

    def _join(self, below: str) -> str:
        return f"{self._path}/{below}" if below else self._path

    def _asked(self, question: Callable[[str], bool]) -> bool:
        self._system.invalidate_cache()  # others write there too
        try:
            return bool(question(self._path))
        except OSError as error:
            raise StoreError(f"{self} can't be reached ({error.strerror or error})") from error


class _Synced:
    """A file whose bytes are on disk once it is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Synced:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._file.closed:
            _flush(self._file)
            self._file.close()


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable, where the system has a call for it."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False where the system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    return bool(rename(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0)


def _unwritable(place: Place, error: OSError) -> StoreError:
    return StoreError(
        f"{place} can't be written ({error.strerror or error}): nothing was changed there"
    )

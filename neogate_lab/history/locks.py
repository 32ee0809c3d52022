"""Locks on files that the operating system frees when their holder dies; no timeout or pid decides.

They hold across processes, and across machines where the file system passes locks on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import uuid
import weakref
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["FileLock", "Owners", "RecordLock", "SurveyLock", "try_lock"]

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock the open file for as long as `descriptor` stays open; False when another has it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock the open file for as long as `descriptor` stays open; False when another has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_TIME_LENGTH = len("2026-11-20T12:00:00.000000+00:00")


class FileLock:
    """A lock that one holder at a time has, among all threads and processes.

    Parameters
    ----------
    path : Path
        The locked file; made if need be, and left there: removing it would let two hold it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._descriptor = -1
        _holders.add(self)

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._descriptor >= 0

    def acquire(self) -> bool:
        """Take the lock if it is free; True if this object has it now.

        Raises
        ------
        OSError
            The file can't be made or opened.
        """
        with self._mutex:
            if self._descriptor < 0:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
                try:
                    if try_lock(descriptor):
                        self._descriptor, descriptor = descriptor, -1
                        with contextlib.suppress(OSError):  # a full disk keeps nobody from it
                            self._sign()
                finally:
                    if descriptor >= 0:
                        os.close(descriptor)
            return self._descriptor >= 0

    def taken(self) -> bool:
        """Whether somebody has the lock now; who looks is never named as its holder.

        Raises
        ------
        OSError
            The file can't be opened.
        """
        if self.held:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Let another have the lock; without it, nothing happens."""
        with self._mutex:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.release()  # an interrupt may have kept its owner from that

    def _sign(self) -> None:
        """Note in the file who has it now; whether somebody has, the lock alone says."""

    def _write(self, text: str, at: int) -> None:
        os.lseek(self._descriptor, at, os.SEEK_SET)
        os.write(self._descriptor, text.encode())

    def _write_last(self, line: str, at: int) -> None:
        """Write the file's last line in one go: a reader finds the old one or the new."""
        self._write(f"{line}\n", at)
        os.ftruncate(self._descriptor, at + len(line.encode()) + 1)

    def _read_last(self, at: int) -> str:
        return self._path.read_bytes()[at:].partition(b"\n")[0].decode()

    def _forget(self) -> None:
        # The child closes its copy without unlocking: the lock is the parent's alone.
        self._mutex = threading.Lock()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


class RecordLock(FileLock):
    """The lock of who records what arrives at a gateway; in its file, until when one listened, and
    behind that where.

    Not a row: it is written every few seconds, and lost with the locks' folder at no harm.

    Parameters
    ----------
    path : Path
        As for `FileLock`.
    endpoint : str
        The gateway's address.
    """

    def __init__(self, path: Path, endpoint: str) -> None:
        super().__init__(path)
        self._endpoint = endpoint

    def _sign(self) -> None:
        self._write_last(self._endpoint, _TIME_LENGTH)

    @property
    def endpoint(self) -> str:
        """The address of whoever took it last; "" if that is not known."""
        try:
            return self._read_last(_TIME_LENGTH)
        except (OSError, ValueError):  # Windows lets nobody read what is locked
            return ""

    def noted(self) -> datetime | None:
        """The time that was noted last, by whomever; None if there is none, or without the lock."""
        with self._mutex:
            if self._descriptor < 0:
                return None
            with contextlib.suppress(ValueError):  # nothing yet, or cut off
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                time = datetime.fromisoformat(
                    os.read(self._descriptor, _TIME_LENGTH).decode("ascii")
                )
                return time.astimezone(UTC)
        return None

    def note(self, now: datetime) -> None:
        """Note a time; without the lock, nothing happens.

        Raises
        ------
        OSError
            The file can't be written.
        """
        text = now.astimezone(UTC).isoformat(timespec="microseconds")
        with self._mutex:
            if self._descriptor >= 0:
                self._write(text, 0)  # always as long: one takes the other's place


class SurveyLock(FileLock):
    """The lock of who measures a survey; in its file, which process that is, for messages alone."""

    def _sign(self) -> None:
        self._write_last(f"{os.getpid()} {socket.gethostname()}", 0)

    @property
    def holder(self) -> str:
        """Who took it last, in words: "process 4711"."""
        try:
            pid, host = self._read_last(0).split(" ", 1)
        except (OSError, ValueError):  # Windows lets nobody read what is locked
            return "another process"
        if host != socket.gethostname():
            return f"process {pid} on {host}"
        return "this process" if pid == str(os.getpid()) else f"process {pid}"


class Owners:
    """Names for the users of a store, and whether the one who bears a name still lives.

    An owner is a random name and a locked file of that name: a pid would be used again, and means
    nothing on another machine.

    Parameters
    ----------
    folder : Path
        Where the files are; made when the first name is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._name = ""
        self._descriptor = -1
        _holders.add(self)

    @property
    def name(self) -> str:
        """Own name of one store object, taken at the first use; another one after a fork."""
        with self._mutex:
            if not self._name:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                name = uuid.uuid4().hex
                flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
                self._descriptor = os.open(self._folder / name, flags, 0o600)
                try_lock(self._descriptor)
                self._name = name
            return self._name

    def alive(self, name: str) -> bool:
        """Whether the owner called `name` still runs and has its store open."""
        if name == self._name and name:
            return True
        if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
            return False  # what isn't a name of ours must not become a path
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # another user's: it can't be asked, so it must not be robbed
        try:
            dead = try_lock(descriptor)
        finally:
            os.close(descriptor)
        if dead:
            with contextlib.suppress(OSError):  # names never return: a file left over does no harm
                path.unlink()
        return not dead

    def release(self) -> None:
        """Give the name up: from now on its rows are a dead owner's."""
        with self._mutex:
            if self._name:
                os.close(self._descriptor)
                with contextlib.suppress(OSError):
                    (self._folder / self._name).unlink()
            self._name, self._descriptor = "", -1

    def _forget(self) -> None:
        # The child closes its copy without unlocking: the lock is the parent's alone.
        self._mutex = threading.Lock()
        if self._name:
            os.close(self._descriptor)
        self._name, self._descriptor = "", -1


_holders: weakref.WeakSet[FileLock | Owners] = weakref.WeakSet()


def _after_fork() -> None:
    for holder in list(_holders):
        holder._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

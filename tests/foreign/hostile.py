"""Peers that are no gateway, or bad ones: scripts on a plain socket that keep what came."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self


class Peer:
    """A client's connection as a script sees it."""

    def __init__(self, sock: socket.socket, stop: threading.Event, log: bytearray) -> None:
        self.sock = sock
        self.stop = stop
        self.log = log
        self.sock.settimeout(0.05)

    def send(self, data: bytes) -> None:
        """Send, giving way when the client reads no more or the test is over."""
        view = memoryview(data)
        while view and not self.stop.is_set():
            try:
                sent = self.sock.send(view)
            except TimeoutError:
                continue
            view = view[sent:]

    def hear(self) -> bytes:
        """Read what comes next; empty at the end of the connection or of the test."""
        while not self.stop.is_set():
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            self.log += data
            return data
        return b""

    def listen_on(self) -> None:
        """Read to the end, so that everything the client says is in the log."""
        while self.hear():
            pass

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Script = Callable[[Peer], None]

BANNER = b"Asterisk Call Manager/1.1\r\n"
ACCEPTED = b"Response: Success\r\nMessage: Authentication accepted\r\n\r\n"
HTTP_400 = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n"


def http(peer: Peer) -> None:
    """Say nothing until asked, then ``400 Bad Request``."""
    if peer.hear():
        peer.send(HTTP_400)


def eager_http(peer: Peer) -> None:
    """Say ``400 Bad Request`` at once, as some balancers do, and wait for the client to go."""
    peer.send(HTTP_400)
    peer.listen_on()


def ssh(peer: Peer) -> None:
    """Greet as an SSH server."""
    peer.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    peer.listen_on()


def smtp(peer: Peer) -> None:
    """Greet as a mail server."""
    peer.send(b"220 mail.example.org ESMTP\r\n")
    peer.listen_on()


def eof(peer: Peer) -> None:
    """Close at once, as a gateway may whose allow-list lacks the client."""


def rst(peer: Peer) -> None:
    """Reset at once."""
    peer.reset()


def silence(peer: Peer) -> None:
    """Accept and say nothing at all."""
    peer.listen_on()


def garbage(peer: Peer) -> None:
    """Send bytes without a line end for ever."""
    with contextlib.suppress(OSError):
        while not peer.stop.is_set():
            peer.send(b"\xff\x00garbage" * 4096)


def drip_banner(peer: Peer) -> None:
    """Send a greeting that never ends, a byte at a time."""
    with contextlib.suppress(OSError):
        peer.send(b"Asterisk Call Manager/")
        while not peer.stop.wait(0.02):
            peer.send(b"1")


def drip_login(peer: Peer) -> None:
    """Greet well, then answer the login with a header that never ends, a byte at a time."""
    with contextlib.suppress(OSError):
        peer.send(BANNER)
        peer.hear()
        peer.send(b"Response: Succ")
        while not peer.stop.wait(0.02):
            peer.send(b"e")


def flood_garbage(peer: Peer) -> None:
    """Accept the login, then send an endless line."""
    with contextlib.suppress(OSError):
        peer.send(BANNER)
        peer.hear()
        peer.send(ACCEPTED)
        while not peer.stop.is_set():
            peer.send(b"x" * 65536)


def flood_body(peer: Peer) -> None:
    """Accept the login, then answer with a body whose terminator never comes."""
    with contextlib.suppress(OSError):
        peer.send(BANNER)
        peer.hear()
        peer.send(ACCEPTED)
        peer.hear()
        peer.send(b"Response: Follows\r\nPrivilege: SMSCommand\r\n")
        while not peer.stop.is_set():
            peer.send(b"GSM span 2: Power on\n" * 2048)


class HostileServer:
    """Run a script for every connection, on 127.0.0.1 and a free port; a context manager."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.host, self.port = "127.0.0.1", 0
        self.received = bytearray()
        self.connections = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()

    def __enter__(self) -> Self:
        self._listener.bind((self.host, 0))
        self._listener.listen(16)
        self.port = self._listener.getsockname()[1]
        self._threads.append(threading.Thread(target=self._accept, name="hostile-accept"))
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), name="hostile-serve")
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(ConnectionError):
            self.script(Peer(sock, self._stop, self.received))

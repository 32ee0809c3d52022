"""A bare socket that speaks no protocol of its own; never more than a test needs."""

from __future__ import annotations

import socket
from typing import Self

from neogate_lab.simulator import SimulatedGateway

BANNER = b"Asterisk Call Manager/1.1\r\n"
ACCEPTED = b"Response: Success\r\nMessage: Authentication accepted\r\n\r\n"
LOGIN = b"Action: Login\r\nUsername: apiuser\r\nSecret: apipass\r\n\r\n"


class Raw:
    """One connection to a simulated gateway."""

    def __init__(self, sim: SimulatedGateway) -> None:
        self.socket = socket.create_connection((sim.host, sim.port), timeout=10.0)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        while end not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        place = self._buffer.index(end) + len(end)
        head, self._buffer = self._buffer[:place], self._buffer[place:]
        return head

    def exactly(self, expected: bytes) -> None:
        """The next bytes are these."""
        while len(self._buffer) < len(expected) and expected.startswith(self._buffer):
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        got, self._buffer = self._buffer[: len(expected)], self._buffer[len(expected) :]
        assert got == expected

    def packet(self) -> bytes:
        """Up to the next blank line."""
        return self.until(b"\r\n\r\n")

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        while data := self.socket.recv(65536):
            self._buffer += data
        return self._buffer

    def quiet(self) -> bool:
        """Whether a Ping is answered next, so that nothing else is on its way."""
        self.send(b"Action: Ping\r\n\r\n")
        return b"Ping: Pong\r\n" in self.packet()

    def login(self, events: str = "on") -> Self:
        self.until(b"\r\n")
        self.send(LOGIN[:-2] + f"Events: {events}\r\n\r\n".encode())
        assert b"Authentication accepted" in self.packet()
        return self

    def ask(self, command: str) -> None:
        self.send(f"Action: smscommand\r\ncommand: {command}\r\n\r\n".encode())

    def run(self, command: str) -> str:
        """Output of a command on firmware that answers with Follows."""
        self.ask(command)
        reply = self.until(b"--END COMMAND--\r\n\r\n")
        head = b"Response: Follows\r\nPrivilege: SMSCommand\r\n"
        assert reply.startswith(head), reply
        return reply.removeprefix(head).removesuffix(b"--END COMMAND--\r\n\r\n").decode()


def fields(packet: bytes) -> dict[str, str]:
    """Header lines of a packet by name."""
    lines = [line.partition(": ") for line in packet.decode().split("\r\n")]
    return {name: value for name, blank, value in lines if blank}

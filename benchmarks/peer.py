"""The peer that every client talks to: canned answers from a process of its own, and their bytes.

It does as little as possible, so that the client's cost is what is measured.
"""

from __future__ import annotations

import multiprocessing
import re
import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, Self

__all__ = ["BANNER", "USER", "Peer", "answer", "detail_reply", "received", "status_report"]

BANNER = b"Asterisk Call Manager/1.1\r\n"
USER = ("apiuser", "apipass")

_DETAIL = (
    "D-channel: 2\nStatus: Power on, Provisioned, Up, Active,Standard\nType: CPE\n"
    "Manufacturer: SIMCOM_Ltd\nModel Name: SIMCOM_SIM900\nModel IMEI: 354000000000017\n"
    "Model CBAND:  EGSM_MODE,ALL_BAND\nRevision: 1137B13SIM900M64_ST\n"
    "Network Name: CHINA MOBILE\nNetwork Status: Registered (Home network)\n"
    "Signal Quality (0,31): 22\nBER value (0,7): 0\nSIM IMSI: 460000000000017\n"
    "SIM SMS Center Number: +8613800000000\nSend SMS Center Number: Undefined\n"
    "Last event: SMS received\nState: READY\nLast send AT: AT+CREG?\\r\\n"
)
_SPANS = "".join(
    f"GSM span {span}: Power on, Provisioned, Up, Active,Standard\n" for span in range(2, 6)
)
_ACTION_ID = re.compile(rb"(?i)^actionid: *([^\r\n]*)", re.MULTILINE)
_COMMAND = re.compile(rb"(?i)^command: *([^\r\n]*)", re.MULTILINE)


def detail_reply(action_id: str) -> bytes:
    """Answer of `gsm show span N`, with the terminator glued (WIRE §2, §6)."""
    return _follows(action_id, _DETAIL)


def received(content: str, number: int = 0) -> bytes:
    """Write a ReceivedSMS of one part (WIRE §8)."""
    return (
        "Event: ReceivedSMS\r\nPrivilege: all,smscommand\r\nID: \r\nGsmSpan: 2\r\n"
        f"Sender: +39333{number:07d}\r\nRecvtime: 2026-11-20 08:00:00\r\nIndex: 1\r\nTotal: 1\r\n"
        f"Smsc: +390000000\r\nContent: {content}\r\n--END SMS EVENT--\r\n\r\n"
    ).encode()


def status_report(sms_id: str) -> bytes:
    """Write an UpdateSMSSend (WIRE §7)."""
    return (
        f"Event: UpdateSMSSend\r\nPrivilege: all,smscommand\r\nID: {sms_id}\r\n"
        "Smsc: +390000000\r\nStatus: 1\r\n--END SMS EVENT--\r\n\r\n"
    ).encode()


def _follows(action_id: str, body: str) -> bytes:
    return (
        f"Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: {action_id}\r\n"
        f"{body}--END COMMAND--\r\n\r\n"
    ).encode()


class Peer:
    """A gateway of few words in a child process; a context manager.

    Attributes
    ----------
    host : str
    port : int
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child,), daemon=True)
        self._process.start()
        self.port: int = self._pipe.recv()

    def prepare(self, count: int) -> None:
        """Make the messages that `burst` sends, so that making them is not measured."""
        self._pipe.send(("prepare", count, 0.0))
        self._pipe.recv()

    def burst(self) -> None:
        """Send the prepared messages to every session, as fast as they are read."""
        self._pipe.send(("burst", 0, 0.0))

    def stream(self, count: int, rate: float) -> None:
        """Send `count` messages, `rate` a second; each says when it left, in monotonic ns."""
        self._pipe.send(("stream", count, rate))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)


def _serve(pipe: Connection[Any, Any]) -> None:
    clients: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    threading.Thread(target=_accept, args=(listener, clients), daemon=True).start()
    prepared = b""
    while (order := pipe.recv()) is not None:
        what, count, rate = order
        if what == "prepare":
            prepared = b"".join(received("Hello%20there", number) for number in range(count))
            pipe.send(None)
            continue
        if what == "burst":
            _send(clients, prepared)
            continue
        start = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            _send(clients, received(f"t{time.monotonic_ns()}", number))


def _send(clients: list[socket.socket], data: bytes) -> None:
    for client in list(clients):
        try:
            client.sendall(data)
        except OSError:  # it has just left
            clients.remove(client)


def _accept(listener: socket.socket, clients: list[socket.socket]) -> None:
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(client, clients), daemon=True).start()


def _talk(client: socket.socket, clients: list[socket.socket]) -> None:
    client.sendall(BANNER)
    buffer = b""
    with client:
        while data := _receive(client):
            *actions, buffer = (buffer + data).split(b"\r\n\r\n")
            for action in actions:
                if b"ogin" in action and client not in clients:
                    clients.append(client)
                client.sendall(answer(action))
        if client in clients:
            clients.remove(client)


def _receive(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except OSError:  # a client that closes hard is gone all the same
        return b""


def answer(action: bytes) -> bytes:
    """Answer one action, whatever it asks."""
    found = _ACTION_ID.search(action)
    action_id = found[1].decode() if found else ""
    command = _COMMAND.search(action)
    if command is None:
        message = b"Message: Authentication accepted\r\n" if b"ogin" in action else b""
        kind = b"Goodbye" if b"ogoff" in action else b"Success"
        return b"Response: %s\r\nActionID: %s\r\n%s\r\n" % (kind, action_id.encode(), message)
    return _follows(action_id, _SPANS if b"spans" in command[1] else _DETAIL)

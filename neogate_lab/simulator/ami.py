"""The manager's grammar, server side: bytes to requests, replies to bytes; never a socket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from neogate_lab.simulator.firmware import Firmware

END_COMMAND = "--END COMMAND--"
END_SMS_EVENT = "--END SMS EVENT--"


@dataclass(frozen=True, slots=True)
class Request:
    """One action as a client sent it: header lines up to a blank one."""

    headers: tuple[tuple[str, str], ...] = ()
    too_long: bool = False

    def get(self, name: str) -> str:
        """Value of the first header of that name, case ignored; "" when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class RequestReader:
    """Cuts what a client sends into requests, however the bytes arrive (WIRE §1).

    Parameters
    ----------
    max_line : int
        A header line of more characters marks its request `too_long` (WIRE §2).
    """

    def __init__(self, max_line: int = 1024) -> None:
        self._max_line = max_line
        self._buffer = bytearray()
        self._headers: list[tuple[str, str]] = []
        self._too_long = False
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def next(self) -> Request | None:
        """The next whole request, or None until more is fed."""
        for line in self._lines():
            if line:
                name, _, value = line.partition(":")
                self._headers.append((name.strip(), value.strip(" \t")))
            elif self._headers or self._too_long:
                request = Request(tuple(self._headers), self._too_long)
                self._headers, self._too_long = [], False
                return request
        return None

    def _lines(self) -> Iterator[str]:
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                # The rest of an endless line is thrown away as it comes.
                if len(self._buffer) > self._max_line + 1:
                    self._too_long = self._skipping = True
                    self._buffer.clear()
                return
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if self._skipping:
                self._skipping = False
            elif len(line) > self._max_line:
                self._too_long = True
            else:
                yield line.decode("utf-8", "surrogateescape")


def wire_bytes(text: str) -> bytes:
    """Encode wire text; bytes that were never UTF-8 go back as they came."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


class Replies:
    """Builds what this firmware answers to one request."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    def success(self, request: Request, *headers: tuple[str, str]) -> bytes:
        """``Response: Success`` with the given headers."""
        return self._packet("Success", request, headers)

    def error(self, request: Request, message: str) -> bytes:
        """``Response: Error`` with a message."""
        return self._packet("Error", request, [("Message", message)])

    def goodbye(self, request: Request) -> bytes:
        """The last words after a Logoff."""
        return self._packet("Goodbye", request, [("Message", "Thanks for all the fish.")])

    def command(self, request: Request, body: str) -> bytes:
        """Output of a CLI command: a Follows reply, or ``Output:`` headers on AMI 2 and newer."""
        if self._firmware.output_headers:
            lines = body.removesuffix("\n").split("\n") if body else []
            headers = [("Message", "Command output follows"), *(("Output", line) for line in lines)]
            return self._packet("Success", request, headers)
        head = "Response: Follows\r\nPrivilege: SMSCommand\r\n" + self._echo(request)
        return wire_bytes(f"{head}{body}{END_COMMAND}\r\n\r\n")

    def _packet(self, response: str, request: Request, headers: Iterable[tuple[str, str]]) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return wire_bytes(f"Response: {response}\r\n{self._echo(request)}{lines}\r\n")

    def _echo(self, request: Request) -> str:
        action_id = request.get("ActionID")
        return f"ActionID: {action_id}\r\n" if action_id and self._firmware.echo_action_id else ""


def event(name: str, headers: Iterable[tuple[str, str]], *, sentinel: bool = False) -> bytes:
    """Build one event; `sentinel` puts the SMS events' own end before the blank line."""
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers)
    end = f"{END_SMS_EVENT}\r\n" if sentinel else ""
    return wire_bytes(f"Event: {name}\r\n{lines}{end}\r\n")

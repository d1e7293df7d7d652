"""The CLI's end of the admin socket: one HTTP request, one JSON answer, or a stream of lines."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

from wsd.config import Settings
from wsd.config_listen import Listen

TIMEOUT_S = 5.0
ASK_AS = "ask as root, or as the user that the daemon runs as"


class Unreachable(Exception):
    """No daemon answers."""


class Forbidden(Unreachable):
    """Whoever asks may not, so that whether a daemon runs is not known."""


class Denied(Exception):
    """The daemon answers that it will not do that; the text says why."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, listen: Listen) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = listen.path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        self.stream = self.sock  # http.client forgets ``sock`` when an answer has no end of its own


class Admin:
    def __init__(self, settings: Settings) -> None:
        sockets = [listen for listen in settings.admin if listen.path]
        if not sockets:
            raise Unreachable("admin: names no Unix socket, and commands go through one")
        self._listen = sockets[0]

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Raises Unreachable and Denied."""
        response = self._send(name, arguments)
        value = json.loads(response.read())
        if response.status != 200:
            raise Denied(value.get("error", {}).get("message", f"status {response.status}"))
        return value

    def lines(self, name: str, /, **arguments: Any) -> Iterator[Any]:
        """The objects of an endless answer, as they come.  Raises Denied, and Unreachable when it
        ends all the same: the daemon or its worker has gone."""
        response = self._send(name, arguments)
        if response.status != 200:
            value = json.loads(response.read())
            raise Denied(value.get("error", {}).get("message", f"status {response.status}"))
        # An endless answer may well be silent for longer than any limit on an ordinary one.
        self._connection.stream.settimeout(None)
        try:
            while (line := response.readline()).endswith(b"\n"):
                yield json.loads(line)
        except (OSError, http.client.HTTPException):
            pass
        raise Unreachable("the daemon has gone, or the process of it that was asked")

    def _send(self, name: str, arguments: dict[str, Any]) -> http.client.HTTPResponse:
        self._connection = _Connection(self._listen)
        body = json.dumps({k: v for k, v in arguments.items() if v is not None})
        try:
            self._connection.request("POST", f"/api/v1/{name}", body)
            return self._connection.getresponse()
        except TimeoutError:
            raise Unreachable(f"no answer on {self._listen.address} in {TIMEOUT_S:g} s") from None
        except PermissionError as error:
            raise Forbidden(f"{self._listen.address}: {error.strerror}; {ASK_AS}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no daemon on {self._listen.address}: {error}") from None

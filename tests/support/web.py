"""HTTP over a ``Wire`` of ``parts``: requests out, answers in, with loops turned by hand."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.support.parts import Site, Wire


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


class Browser:
    """One connection on which requests are made; ``answer`` is None while none has come."""

    def __init__(self, site: Site, worker: int = 0, **keys: Any) -> None:
        self.site = site
        self.wire: Wire = site.socket(worker, **keys)
        self.hub = True
        """The hub is there, and its loop is turned."""

    def send(self, method: str, target: str, value: Any = None, **headers: str) -> None:
        body = b"" if value is None else value if isinstance(value, bytes) else _json(value)
        lines = [f"{method} {target} HTTP/1.1", "Host: chat.example"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        self.site.settle(hub=self.hub)

    def answer(self) -> Answer | None:
        """The next whole answer that has come."""
        self.wire.read()
        head, found, rest = bytes(self.wire.data).partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", "0"))
        if len(rest) < size:
            return None
        self.wire.data[:] = rest[size:]
        return Answer(int(first.split()[1]), headers, rest[:size])

    def ask(self, method: str, target: str, value: Any = None, **headers: str) -> Answer:
        self.send(method, target, value, **headers)
        answer = self.answer()
        assert answer is not None, "no answer yet"
        return answer


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def ask(site: Site, method: str, target: str, value: Any = None, worker: int = 0,
        **headers: str) -> Answer:  # fmt: skip
    """One request over a connection of its own."""
    return Browser(site, worker).ask(method, target, value, **headers)


def token_of(site: Site, name: str = "Ann", worker: int = 0) -> str:
    """A guest, made by ``POST /send``."""
    answer = ask(site, "POST", "/send", {"commands": [{"type": "hello", "name": name}]}, worker)
    token: str = answer.value[0]["token"]
    return token


def say(site: Site, token: str, *texts: str, room: str = "lobby", worker: int = 0) -> list[Any]:
    commands = [{"type": "say", "room": room, "text": text} for text in texts]
    value = {"token": token, "commands": commands}
    replies: list[Any] = ask(site, "POST", "/send", value, worker).value
    return replies

"""Where the daemon is: an address as people write it, taken apart."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

_SECURE: Final = {"http": False, "ws": False, "https": True, "wss": True}
_HOST: Final = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?")


class Address(NamedTuple):
    """``path`` is a Unix socket's or empty; ``authority`` and ``target`` stand in the request."""

    secure: bool
    host: str
    port: int
    path: str
    authority: str
    target: str


def parse(url: str) -> Address:
    """Takes ``https://chat.example``, with a path where a proxy has the daemon below one, and
    ``unix:/run/wsd/chat.sock``.  Raises ValueError."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{url!r}: a socket's path begins with /")
        return Address(False, "", 0, path, "localhost", "/chat")
    parts = urlsplit(url)
    secure = _SECURE.get(parts.scheme)
    if secure is None or not parts.hostname:
        raise ValueError(f"{url!r} is no address like https://chat.example or unix:/path")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{url!r}: an address has a host, a port and a path, and no more")
    host = parts.hostname
    if ":" not in host:
        host = host.encode("idna").decode("ascii")  # UnicodeError is a ValueError
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"{host!r} is no host")
    usual = 443 if secure else 80
    port = usual if parts.port is None else parts.port
    if not port:
        raise ValueError(f"{url!r}: there is no port 0")
    authority = f"[{host}]" if ":" in host else host
    if port != usual:
        authority += f":{port}"
    base = quote(parts.path.rstrip("/"), safe="/%~!$&'()*+,;=:@-._")
    return Address(secure, host, port, "", authority, f"{base}/chat")

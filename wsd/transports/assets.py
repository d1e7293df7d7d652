"""The files of ``wsd/web`` as browsers get them: read once at start, packed, and versioned.

``/static/NAME`` is a file as it stands in the source.  ``/static/VERSION/NAME`` is made as small as
can be and may be kept for ever; relative imports between modules stay inside the version.  Pages of
other sites may use all of them.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import NamedTuple

from wsd.protocol.http import Request, response
from wsd.transports.lean import bundle, bundle_style, lean

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
SAFE = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))

_BUNDLED = ("box.js", "extras.js", "transports/fallbacks.js")
"""Each with all that it imports: what is fetched at once comes in one piece."""
_FOREVER = "public, max-age=31536000, immutable"
_SHARED = (
    ("Access-Control-Allow-Origin", "*"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)


class Asset(NamedTuple):
    type: str
    tag: str
    body: bytes
    packed: bytes


class Assets:
    """Raises OSError if files are missing, ValueError if they are damaged."""

    def __init__(self, root: Traversable) -> None:
        files = dict(_walk(root, ""))
        self._source = {name: make_asset(name, text) for name, text in files.items()}
        small = {**files, **{name: bundle(files, name) for name in _BUNDLED}}
        small["chat.css"] = bundle_style(files, "chat.css")
        self._small = {name: make_asset(name, lean(name, text)) for name, text in small.items()}
        everything = "".join(asset.tag for _, asset in sorted(self._small.items()))
        self.version = hashlib.sha256(everything.encode()).hexdigest()[:10]

    def text(self, name: str) -> str:
        """A file as it is sent."""
        return self._small[name].body.decode()

    def answer(self, request: Request) -> bytes | None:
        """The answer to a request for ``/static/…``; None for what is not there."""
        name = request.path.removeprefix("/static/")
        asset, age = self._source.get(name), "no-cache"
        if asset is None:
            version, _, name = name.partition("/")
            if not re.fullmatch("[0-9a-f]{10}", version):
                return None
            asset = self._small.get(name)
            # A page that came before an update asks for what was: it gets today's, for this once.
            age = _FOREVER if version == self.version else "no-cache"
        return None if asset is None else send(request, asset, age)


def make_asset(name: str, text: str) -> Asset:
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Asset(TYPES[posixpath.splitext(name)[1]], tag, body, gzip.compress(body, 9, mtime=0))


def send(request: Request, asset: Asset, age: str) -> bytes:
    """``asset``, or that the browser has it already; ``age`` is for Cache-Control."""
    headers = [
        ("Content-Type", asset.type),
        ("ETag", asset.tag),
        ("Vary", "Accept-Encoding"),
        ("Cache-Control", age),
        *_SHARED,
        *SAFE,
    ]
    if asset.tag in request.header("if-none-match"):
        return response(304, headers, keep_alive=request.keep_alive)
    body = asset.body
    if "gzip" in request.header("accept-encoding"):
        headers.append(("Content-Encoding", "gzip"))
        body = asset.packed
    head = request.method == "HEAD"
    return response(200, headers, body, keep_alive=request.keep_alive, head=head)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif posixpath.splitext(entry.name)[1] in TYPES and not entry.name.endswith(".html"):
            yield prefix + entry.name, entry.read_text("utf-8")

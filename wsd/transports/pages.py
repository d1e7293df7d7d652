"""What browsers get from ``wsd/web``: the chat page and its files, read once at start."""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import jinja2

from wsd.protocol.http import Headers, Request, response

LANGUAGES = ("en", "zh-CN")

_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
_SAFE = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))


_FOREVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    type: str
    tag: str
    body: bytes
    packed: bytes


class Pages:
    """Raises jinja2.TemplateError and OSError if the files of the package are incomplete."""

    def __init__(self) -> None:
        root = files("wsd") / "web"
        self._assets = {name: _asset(name, file) for name, file in _walk(root, "")}
        everything = "".join(asset.tag for asset in self._assets.values())
        self._version = hashlib.sha256(everything.encode()).hexdigest()[:10]
        self._words = {
            language: json.loads(self._assets[f"lang/{language}.json"].body)
            for language in LANGUAGES
        }
        environment = jinja2.Environment(
            autoescape=True, loader=jinja2.FunctionLoader(lambda name: (root / name).read_text())
        )
        self._page = environment.get_template("page.html")
        self._plain = environment.get_template("plain.html")
        self.message = environment.get_template("message.html")

    def static(self, request: Request) -> bytes:
        """The answer to a request for ``/static/NAME``."""
        asset = self._assets.get(request.path.removeprefix("/static/"))
        if asset is None:
            return not_found(request)
        headers = [
            ("Content-Type", asset.type),
            ("ETag", asset.tag),
            ("Vary", "Accept-Encoding"),
            # What is asked for with its version never changes.
            ("Cache-Control", _FOREVER if "v" in request.query else "no-cache"),
            *_SAFE,
        ]
        if asset.tag in request.header("if-none-match"):
            return response(304, headers, keep_alive=request.keep_alive)
        body = asset.body
        if "gzip" in request.header("accept-encoding"):
            headers.append(("Content-Encoding", "gzip"))
            body = asset.packed
        return _answer(request, headers, body)

    def page(
        self, request: Request, room: str, title: str, language: str, text_limit: int
    ) -> bytes:
        """The chat page for ``room``."""
        language = _language(request, language)
        html = self._page.render(
            title=title,
            room=room,
            lang=language,
            t=self._words[language],
            version=self._version,
            text_limit=text_limit,
        )
        host = request.header("host", "localhost")
        headers = [
            ("Content-Type", _TYPES[".html"]),
            ("Content-Language", language),
            ("Cache-Control", "no-cache"),
            ("Vary", "Accept-Language"),
            ("Content-Security-Policy", _policy(host)),
            *_SAFE,
        ]
        return _answer(request, headers, html.encode())


    def words(self, request: Request, language: str) -> dict[str, str]:
        """Texts of the interface in the language of the page that ``request`` asks for."""
        words: dict[str, str] = self._words[_language(request, language)]
        return words

    def plain(
        self, request: Request, language: str, status: int, headers: Headers, **values: Any
    ) -> bytes:
        """The page without script; ``values`` are what ``plain.html`` names."""
        language = _language(request, language)
        html = self._plain.render(
            lang=language, t=self._words[language], version=self._version, **values
        )
        headers = [
            *headers,
            ("Content-Type", _TYPES[".html"]),
            ("Content-Language", language),
            ("Content-Security-Policy", _PLAIN_POLICY),
            *_SAFE,
        ]
        return _answer(request, headers, html.encode(), status)


def not_found(request: Request) -> bytes:
    headers = [("Content-Type", "text/plain; charset=utf-8"), *_SAFE]
    return _answer(request, headers, b"There is nothing here.\n", 404)


def _answer(
    request: Request, headers: list[tuple[str, str]], body: bytes, status: int = 200
) -> bytes:
    head = request.method == "HEAD"
    return response(status, headers, body, keep_alive=request.keep_alive, head=head)


_PLAIN_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)


def _policy(host: str) -> str:
    # 'self' does not cover ws: in older browsers, so the page's own host is named.
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' ws://{host} wss://{host}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    )


def _language(request: Request, wanted: str) -> str:
    """``wanted``, or with ``auto`` the first language of the browser's that there is."""
    if wanted != "auto":
        return wanted
    for part in request.header("accept-language").lower().split(",")[:20]:
        primary = part.partition(";")[0].strip().partition("-")[0]
        for language in LANGUAGES:
            if language.lower().partition("-")[0] == primary:
                return language
    return LANGUAGES[0]


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif "." + entry.name.rpartition(".")[2] in _TYPES and not entry.name.endswith(".html"):
            yield prefix + entry.name, entry


def _asset(name: str, file: Traversable) -> Asset:
    body = file.read_bytes()
    ending = "." + name.rpartition(".")[2]
    type_ = _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Asset(type_, tag, body, gzip.compress(body, 9, mtime=0))

"""What browsers get: the chat page, the page without script, and the script for other sites."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jinja2

from wsd.config import LANGUAGES, Page
from wsd.protocol.http import Headers, Request, response
from wsd.transports.assets import SAFE, TYPES, Asset, Assets, make_asset, send

_LOADER_AGE = "public, max-age=300"
"""A site's visitors see an update after this many seconds at the latest."""


class Pages:
    """Raises jinja2.TemplateError, OSError or ValueError if the package is damaged."""

    def __init__(self) -> None:
        root = files("wsd") / "web"
        self.assets = Assets(root)
        self._loader: tuple[int, Asset] | None = None
        self._words = {
            language: json.loads((root / "lang" / f"{language}.json").read_text("utf-8"))
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
        return self.assets.answer(request) or not_found(request)

    def loader(self, request: Request, text_limit: int) -> bytes:
        """The script that other sites name, with what it needs to know of this daemon."""
        if self._loader is None or self._loader[0] != text_limit:
            self._loader = text_limit, self._make_loader(text_limit)
        return send(request, self._loader[1], _LOADER_AGE)

    def _make_loader(self, text_limit: int) -> Asset:
        about = {
            "version": self.assets.version,
            "languages": LANGUAGES,
            "rtl": [each for each in LANGUAGES if self._words[each]["direction"] == "rtl"],
            "open": {language: self._words[language]["open_chat"] for language in LANGUAGES},
            "limit": text_limit,
        }
        text = self.assets.text("wsd.js").replace('"@about"', json.dumps(about))
        return make_asset("wsd.js", text)

    def page(self, request: Request, room: str, settings: Page, text_limit: int) -> bytes:
        """The chat page for ``room``."""
        language = _language(request, settings.language)
        html = self._page.render(
            title=settings.title,
            room=room,
            lang=language,
            direction=self._words[language]["direction"],
            t=self._words[language],
            version=self.assets.version,
            text_limit=text_limit,
        )
        host = request.header("host", "localhost")
        headers = [
            ("Content-Type", TYPES[".html"]),
            ("Content-Language", language),
            ("Cache-Control", "no-cache"),
            ("Vary", "Accept-Language"),
            ("Content-Security-Policy", _policy(host)),
            *SAFE,
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
            lang=language,
            direction=self._words[language]["direction"],
            t=self._words[language],
            version=self.assets.version,
            **values,
        )
        headers = [
            *headers,
            ("Content-Type", TYPES[".html"]),
            ("Content-Language", language),
            ("Content-Security-Policy", _PLAIN_POLICY),
            *SAFE,
        ]
        return _answer(request, headers, html.encode(), status)


def not_found(request: Request) -> bytes:
    headers = [("Content-Type", "text/plain; charset=utf-8"), *SAFE]
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
        found = match_language(part.partition(";")[0].strip())
        if found:
            return found
    return LANGUAGES[0]


# Where the script differs, the country or the script of a tag decides.
_TRADITIONAL = ("zh-tw", "zh-hk", "zh-mo", "zh-hant")


def match_language(tag: str) -> str | None:
    """The language of ours that a reader of ``tag`` (RFC 5646, in lower case) reads best."""
    if tag.startswith("zh"):
        tag = "zh-tw" if tag.startswith(_TRADITIONAL) else "zh-cn"
    for language in LANGUAGES:
        if language.lower() == tag:
            return language
    for language in LANGUAGES:
        if language.lower().partition("-")[0] == tag.partition("-")[0]:
            return language
    return None

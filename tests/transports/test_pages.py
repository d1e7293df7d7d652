"""What browsers get: languages, escaping, caching, and nothing that is not meant for them."""

from __future__ import annotations

import gzip
import html
import json
import re

import pytest

from wsd.config import Page
from wsd.protocol.http import Request, RequestParser
from wsd.transports.pages import LANGUAGES, Pages


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages()


def request(path: str, method: str = "GET", **headers: str) -> Request:
    parser = RequestParser()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    host = "" if "Host" in headers else "Host: chat.example\r\n"
    parser.feed(f"{method} {path} HTTP/1.1\r\n{host}{lines}\r\n".encode())
    found = parser.next_request()
    assert found is not None
    return found


def split(data: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, body


def page(pages: Pages, room: str = "lobby", title: str = "wsd", language: str = "auto",
         **headers: str) -> tuple[dict[str, str], str]:  # fmt: skip
    settings = Page(title=title, language=language)
    status, found, body = split(pages.page(request("/", **headers), room, settings, 1000))
    assert status == 200
    assert int(found["content-length"]) == len(body)
    return found, body.decode()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("", "en"), ("en", "en"), ("en-GB,en;q=0.9", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
     ("zh", "zh-CN"), ("ZH-tw", "zh-TW"), ("nl, zh;q=0.5", "zh-CN"), ("nl,fi", "en"),
     ("nl,pt-PT;q=0.9,en;q=0.8", "pt-BR"), ("de-CH", "de"), ("ar-EG,ar;q=0.9", "ar"),
     ("*", "en"), (";;;,,,", "en"), ("x," * 4000 + "zh", "en"), ("enx", "en")],
)  # fmt: skip
def test_language(pages: Pages, accepted: str, language: str) -> None:
    headers, body = page(pages, Accept_Language=accepted)
    assert headers["content-language"] == language
    direction = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in body
    assert headers["vary"] == "Accept-Language"


def test_a_language_that_is_configured(pages: Pages) -> None:
    assert page(pages, language="zh-CN", Accept_Language="en")[0]["content-language"] == "zh-CN"


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "</title>",
     "{{ 7*7 }}", "{% raw %}", "&lt;b&gt;", "\u2028", "<!--", "]]>"],
)  # fmt: skip
def test_hostile_texts_are_escaped(pages: Pages, hostile: str) -> None:
    _, plain = page(pages, room="R" * 9, title="T" * 9)
    _, body = page(pages, room=hostile, title=hostile)
    structure = re.findall(r"<[^<>]*?[ >]", plain)
    assert len(re.findall(r"<[^<>]*?[ >]", body)) == len(structure)
    assert "<script>alert" not in body and "onerror=alert(1)>" not in body
    assert "49" not in re.findall(r"<title>(.*?)</title>", body)[0]
    assert html.unescape(re.findall(r"<title>(.*?)</title>", body)[0]) == html.unescape(
        html.escape(f"{hostile} · {hostile}")
    )


def test_message_html_is_escaped(pages: Pages) -> None:
    text = "<script>alert('x')</script>&\""
    shown = pages.message.render(seq=1, uid='"><b>', name="<i>", message=text)
    assert "<script>" not in shown and "<b>" not in shown and "<i>" not in shown
    assert html.unescape(re.findall(r'class="text">(.*?)</span>', shown)[0]) == text


def test_policy(pages: Pages) -> None:
    headers, body = page(pages, Host="chat.example:8443")
    policy = headers["content-security-policy"]
    assert "unsafe-inline" not in policy and "unsafe-eval" not in policy
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "ws://chat.example:8443 wss://chat.example:8443" in policy
    assert "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "referrer-policy" in headers
    # And the page lives by it: nothing inline.
    assert not re.search(r"<script(?![^>]* src=)", body)
    assert not re.search(r"\son[a-z]+=", body) and "<style" not in body
    assert not re.search(r"\sstyle=", body)


def test_head(pages: Pages) -> None:
    get = pages.page(request("/"), "lobby", Page(), 1000)
    head = pages.page(request("/", "HEAD"), "lobby", Page(), 1000)
    assert head == get[: get.index(b"\r\n\r\n") + 4]
    asset = pages.static(request("/static/chat.js", "HEAD"))
    assert asset.endswith(b"\r\n\r\n")


def assets_of(body: str) -> list[str]:
    return re.findall(r'(?:src|href)="(/static/[^"]+)"', body)


def test_every_file_of_the_page_is_there(pages: Pages) -> None:
    _, body = page(pages)
    names = assets_of(body)
    assert len(names) >= 4
    for name in names:
        assert split(pages.static(request(name)))[0] == 200, name


@pytest.mark.parametrize(
    ("name", "type_"),
    [("chat.js", "text/javascript; charset=utf-8"), ("page.css", "text/css; charset=utf-8"),
     ("icon.svg", "image/svg+xml"), ("lang/en.json", "application/json"),
     ("lang/zh-CN.json", "application/json")],
)  # fmt: skip
def test_assets(pages: Pages, name: str, type_: str) -> None:
    status, headers, body = split(pages.static(request(f"/static/{name}")))
    assert (status, headers["content-type"]) == (200, type_)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"
    assert int(headers["content-length"]) == len(body)
    status, packed, data = split(
        pages.static(request(f"/static/{name}", Accept_Encoding="gzip, br"))
    )
    assert packed["content-encoding"] == "gzip"
    assert "accept-encoding" in packed["vary"].lower()
    assert gzip.decompress(data) == body
    assert len(data) < len(body)


def test_etags(pages: Pages) -> None:
    _, headers, _ = split(pages.static(request("/static/chat.js")))
    tag = headers["etag"]
    for asked in (tag, f"W/{tag}", f'"x", {tag}'):
        status, again, body = split(pages.static(request("/static/chat.js", If_None_Match=asked)))
        assert (status, body, again["etag"]) == (304, b"", tag)
    assert split(pages.static(request("/static/chat.js", If_None_Match='"x"')))[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/none.js", "/static/lang", "/static/lang/", "/static/CHAT.JS",
     "/static//chat.js", "/static/chat.js/", "/static/static/chat.js", "/static/lang/xx.json",
     "/static/%E2%80%A6", "/static/__init__.py", "/static/chat.js%20"],
)  # fmt: skip
def test_what_is_not_there(pages: Pages, path: str) -> None:
    status, headers, _ = split(pages.static(request(path)))
    assert status == 404
    assert headers["content-type"].startswith("text/plain")


def test_a_version_of_a_file(pages: Pages) -> None:
    version = pages.assets.version
    status, headers, body = split(pages.static(request(f"/static/{version}/box.js")))
    assert status == 200
    assert "immutable" in headers["cache-control"]
    assert b"/**" not in body
    # A page from before an update gets today's file, and does not keep it.
    _, headers, again = split(pages.static(request("/static/0123456789/box.js")))
    assert headers["cache-control"] == "no-cache"
    assert again == body
    assert split(pages.static(request(f"/static/{version}/none.js")))[0] == 404
    assert split(pages.static(request("/static/v1/box.js")))[0] == 404


def test_pages_of_other_sites_may_use_the_files(pages: Pages) -> None:
    for answer in (
        pages.static(request("/static/client.js", Origin="https://shop.example")),
        pages.loader(request("/wsd.js"), 1000),
    ):
        _, headers, _ = split(answer)
        assert headers["access-control-allow-origin"] == "*"
        assert headers["cross-origin-resource-policy"] == "cross-origin"


def test_the_loader_knows_its_daemon(pages: Pages) -> None:
    status, headers, body = split(pages.loader(request("/wsd.js"), 77))
    assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    about = json.loads(re.findall(r"\}\)\((.*)\);?$", body.decode().strip())[0])
    assert (about["version"], about["limit"]) == (pages.assets.version, 77)
    assert set(about["languages"]) == set(about["open"]) == set(LANGUAGES)
    assert about["rtl"] == ["ar"]
    assert int(re.findall(r"max-age=(\d+)", headers["cache-control"])[0]) <= 3600
    tag = headers["etag"]
    assert split(pages.loader(request("/wsd.js", If_None_Match=tag), 77))[0] == 304
    # Settings are reloaded while it runs.
    assert split(pages.loader(request("/wsd.js", If_None_Match=tag), 78))[0] == 200

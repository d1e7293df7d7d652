"""The chat box as a test sees it, and a foreign site that lets in nothing but the chat."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

ANY_ORIGIN = 'origins: ["*"]\n'


def policy(chat: str) -> str:
    """The Content-Security-Policy of docs/embed.md for a daemon at ``chat``."""
    host = chat.rstrip("/")
    return (
        f"default-src 'none'; script-src {host}; style-src {host}; "
        f"connect-src {host} {host.replace('http', 'ws', 1)}; img-src {host}"
    )


def tag(chat: str, **options: str) -> str:
    words = "".join(f' data-{name.replace("_", "-")}="{value}"' for name, value in options.items())
    return f'<script async src="{chat}wsd.js"{words}></script>'


class Site:
    """Pages of another origin, each with a policy of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.pages: dict[str, tuple[str, str]] = {}

    def page(self, name: str, body: str, policy: str = "", head: str = "") -> str:
        """Serve a page from now on; returns its address."""
        meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        html = f'<!doctype html><html lang="en"><head>{meta}<title>A shop</title>{head}</head>'
        self.pages[f"/{name}"] = f"{html}<body>{body}</body></html>", policy
        return self.url + name


@contextmanager
def foreign_site() -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            html, rules = site.pages.get(self.path.split("?")[0], ("", ""))
            self.send_response(200 if html else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            if rules:
                self.send_header("Content-Security-Policy", rules)
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


class Box:
    """One box of a window, by its place in the page."""

    def __init__(self, window: webdriver.Chrome, index: int = 0) -> None:
        self.window = window
        self.index = index

    def wait(self, condition, seconds: float = 20):
        return WebDriverWait(self.window, seconds, poll_frequency=0.1).until(lambda _: condition())

    def run(self, script: str, *arguments: object) -> object:
        """Run ``script`` with ``root`` as the box's shadow root."""
        begin = f"const root = document.querySelectorAll('wsd-chat')[{self.index}]?.shadowRoot;"
        return self.window.execute_script(begin + script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.run("return root ? [...root.querySelectorAll(arguments[0])] : []", selector)

    def part(self, selector: str) -> WebElement:
        """The element, as soon as it is there."""
        return self.wait(lambda: self.all(selector))[0]

    @property
    def state(self) -> str | None:
        return self.run("return root?.querySelector('#state')?.dataset.status ?? null")

    @property
    def shown(self) -> list[str]:
        """The texts in the list, in order."""
        return self.run(
            "return [...root.querySelectorAll('#past [data-seq], #live [data-seq]')]"
            ".map(e => e.querySelector('.text')?.textContent ?? '')"
        )

    def online(self) -> Box:
        self.wait(lambda: self.state == "online")
        return self

    def say(self, text: str) -> None:
        self.part("#text").send_keys(text, Keys.ENTER)

    def sees(self, *texts: str) -> None:
        self.wait(lambda: self.shown[-len(texts) :] == list(texts))

    def do(self, text: str, what: str) -> None:
        """Press a button of the bar that comes when the pointer is over a message."""
        message = self.message(text)
        webdriver.ActionChains(self.window).move_to_element(message).perform()
        button = (
            "return [...root.querySelectorAll('.actions button')]"
            ".filter(b => b.textContent === arguments[0])"
        )
        self.wait(lambda: self.run(button, what))[0].click()

    def message(self, text: str) -> WebElement:
        script = (
            "return [...root.querySelectorAll('[data-seq]')]"
            ".filter(e => e.querySelector('.text').textContent === arguments[0])"
        )
        return self.wait(lambda: self.run(script, text))[0]


# For ``Box.run``: what stands out of the window, or is cut off.  The drawer waits
# outside, and what ends in an ellipsis is longer than it looks.
WIDER_THAN_ITS_PLACE = """
    const limit = document.documentElement.clientWidth;
    const out = [...root.querySelectorAll(".wsd, .wsd *")].filter((e) => {
      const { left, right, width } = e.getBoundingClientRect();
      if (width === 0 || e.closest(".sr, .people, .quote > *, .room > *")) return false;
      return left < -.5 || right > limit + .5;
    });
    if (document.documentElement.scrollWidth > limit) out.push(document.documentElement);
    for (const e of root.querySelectorAll(".chat, .bar, .where, .state, .composer, .notice")) {
      if (e.clientWidth && e.scrollWidth > e.clientWidth) out.push(e);
    }
    return out.map((e) => `${e.tagName} ${e.className}`);
"""


def requests_of(window: webdriver.Chrome, chat: str) -> list[str]:
    """What a page has fetched from the daemon."""
    return window.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(name => name.startsWith(arguments[0]))",
        chat,
    )


def size_of(address: str) -> int:
    """Bytes of a file as a browser gets it."""
    request = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return len(answer.read())


def complaints(window: webdriver.Chrome) -> list[str]:
    return [e["message"] for e in window.get_log("browser") if e["level"] == "SEVERE"
            and "favicon" not in e["message"]]  # fmt: skip

"""What docs/embed.md says to copy works as it stands there, but for the name of the daemon."""

from __future__ import annotations

import getpass
import re
import urllib.request
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.boxes import ANY_ORIGIN, Box, complaints
from tests.support.proxies import Proxy

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "embed.md").read_text()
THERE = "https://chat.example"


def block(kind: str, containing: str = "") -> str:
    """The one block of the page that is marked as ``kind`` and contains the text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M)
    (found,) = [text for marked, text in blocks if marked == kind and containing in text]
    return found


def here(text: str, chat) -> str:
    """``text`` with the daemon of the test in the place of the document's."""
    host = chat.url.rstrip("/")
    return text.replace(THERE, host).replace("wss://chat.example", host.replace("http", "ws", 1))


def policy_of(text: str, chat) -> str:
    return here(text, chat).strip().removeprefix("Content-Security-Policy: ")


def test_the_page_to_copy_works_under_the_strict_policies(make_daemon, site, window):
    chat = make_daemon(ANY_ORIGIN)
    page = here(block("html", "<!doctype html>"), chat)
    site.pages["/copied.html"] = page, policy_of(block("", "script-src https"), chat)
    nonce = here(block("html", "nonce="), chat)
    with_nonce = site.page("nonce.html", nonce, policy_of(block("", "strict-dynamic"), chat))
    ann = window(f"{site.url}copied.html")
    for number, address in enumerate((ann.current_url, with_nonce)):
        ann.get(address)
        box = Box(ann).online()
        box.say(f"hello {number}")
        box.sees(f"hello {number}")
        box.part("#emoji-open").click()
        box.part(".emoji button")
        assert complaints(ann) == []
    # The policies are in force: what they do not name is refused.
    ann.execute_script("document.body.append(Object.assign(new Image(), {src: '/x.png'}))")
    WebDriverWait(ann, 10).until(lambda w: "img-src" in "".join(complaints(w)))


def test_without_script_the_page_links_to_the_plain_one(make_daemon, site, window):
    chat = make_daemon(ANY_ORIGIN)
    site.pages["/plain.html"] = here(block("html", "<!doctype html>"), chat), ""
    ann = window(f"{site.url}plain.html", script=False)
    ann.find_element(By.CSS_SELECTOR, "a[href]").click()
    ann.find_element(By.ID, "message").send_keys("without script")
    ann.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    # Without script nothing else on the page can be asked whether the next one is there.
    WebDriverWait(ann, 10, ignored_exceptions=[StaleElementReferenceException]).until(
        lambda _: (
            [each.text for each in ann.find_elements(By.CSS_SELECTOR, "li span")]
            == ["without script"]
        )
    )


def test_the_style_sheet_to_copy(make_daemon, site, window):
    chat = make_daemon(ANY_ORIGIN)
    style = "<style>html{font-size:10px}" + block("css") + "</style>"
    tag = here(block("html", "<!doctype html>"), chat)
    (script,) = re.findall("<script.*</script>", tag)
    ann = window(site.page("coloured.html", script, head=style))
    box = Box(ann).online()
    box.part("#text").send_keys("x")
    assert box.part("#send").value_of_css_property("background-color") == "rgba(122, 31, 92, 1)"
    assert ann.find_element(By.TAG_NAME, "wsd-chat").size["height"] == 400


# ------------------------------------------------------------------ web servers


def answer(port: int) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as found:
        return found.headers["Content-Security-Policy"], found.read().decode()


class Server(Proxy):
    """A web server that is no proxy here: a site's own."""

    def prepare(self) -> list[str]:
        (self.directory / "root").mkdir()
        (self.directory / "root" / "index.html").write_text("<body><p>A shop</p></body>")
        return self.configure()


class SubstitutingNginx(Server):
    program = block = "nginx"

    def configure(self) -> list[str]:
        (self.directory / "nginx.conf").write_text(
            f"daemon off; user {getpass.getuser()}; pid nginx.pid; error_log stderr warn;\n"
            "events { } http { types { text/html html; } access_log off;\n"
            "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fast;\n"
            "uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
            f"server {{ listen 127.0.0.1:{self.port}; root {self.directory}/root;\n"
            f"{block('nginx')} }} }}\n"
        )
        return ["-p", str(self.directory), "-c", "nginx.conf"]


class SubstitutingApache(Server):
    program = block = "apache2"

    def configure(self) -> list[str]:
        modules = "mpm_event authz_core mime dir substitute filter headers"
        loaded = "\n".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
            for name in modules.split()
        )
        (self.directory / "apache.conf").write_text(
            f"ServerRoot {self.directory}\nServerName localhost\nPidFile apache.pid\n"
            f"{loaded}\nListen 127.0.0.1:{self.port}\nErrorLog {self.directory}/errors\n"
            "TypesConfig /dev/null\nAddType text/html .html\nDirectoryIndex index.html\n"
            f"DocumentRoot {self.directory}/root\n{block('apache')}"
        )
        return ["-d", str(self.directory), "-f", "apache.conf", "-DFOREGROUND"]


class HeaderOfCaddy(Server):
    program = block = "caddy"

    def configure(self) -> list[str]:
        (self.directory / "Caddyfile").write_text(
            f"{{\nadmin off\n}}\nhttp://127.0.0.1:{self.port} {{\nroot * {self.directory}/root\n"
            f"file_server\n{block('caddyfile')}}}\n"
        )
        return ["run", "--config", "Caddyfile"]


@pytest.mark.parametrize("kind", [SubstitutingNginx, SubstitutingApache, HeaderOfCaddy])
def test_a_web_server_does_it(kind, tmp_path):
    if not kind.installed():
        pytest.skip(f"{kind.program} is not installed")
    server = kind(tmp_path / "server", 0).start()
    try:
        policy, html = answer(server.port)
    finally:
        server.stop()
    assert f"script-src 'self' {THERE};" in policy
    script = '<script async src="https://chat.example/wsd.js" data-room="lobby"'
    put_in = f'<body><p>A shop</p>{script} data-mode="bubble"></script></body>'
    assert html == ("<body><p>A shop</p></body>" if kind is HeaderOfCaddy else put_in)

"""Proxies in front of a daemon, configured by what docs/proxies.md tells their administrators."""

from __future__ import annotations

import getpass
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from tests.support.certificates import Certificate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
READY_S = 10.0
STOP_S = 30.0


class Proxy(ABC):
    """One on a port of its own, in front of a daemon on the port ``upstream``."""

    program: ClassVar[str]
    block: ClassVar[str]
    """What the page's block with its configuration is marked as."""

    def __init__(self, directory: Path, upstream: int, certificate: Certificate | None = None):
        directory.mkdir(parents=True)
        self.directory = directory
        self.upstream = upstream
        self.certificate = certificate
        self.port = _free_port()
        self._log = directory / "log"

    @classmethod
    def installed(cls) -> bool:
        return shutil.which(cls.program, path=PATH) is not None

    @abstractmethod
    def prepare(self) -> list[str]:
        """Write the configuration; the arguments that have it read."""

    def recipe(self, changes: dict[str, str]) -> str:
        """The page's configuration with what is different here; each change is found once."""
        (text,) = re.findall(rf"^```{self.block}\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
        assert isinstance(text, str)
        for there, here in changes.items():
            assert text.count(there) == 1, f"{there!r} in the block {self.block}"
            text = text.replace(there, here)
        return text

    def start(self) -> Proxy:
        program = shutil.which(self.program, path=PATH)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(program), *self.prepare()], cwd=self.directory,
                env={**os.environ, "HOME": str(self.directory)},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._wait_for_port()
        return self

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self._process.kill()
        raise AssertionError(f"{self.program} does not listen:\n{self._log.read_text()}")

    def stop(self) -> None:
        # All of its processes: Apache's own way of ending its children may take ten seconds.
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(STOP_S)

    # -- where it is

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http{'s' if self.certificate else ''}://{self.host}{path}"

    def ws(self, path: str = "/chat") -> str:
        return f"ws{'s' if self.certificate else ''}://{self.host}{path}"

    @property
    def authority(self) -> str | None:
        """What clients check its certificate against."""
        return self.certificate.path if self.certificate else None

    # -- plain HTTP through it

    def begin(
        self, method: str, path: str, value: object = None, **headers: str
    ) -> http.client.HTTPConnection:
        """One request on a connection of its own, still to be answered."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        if self.certificate:
            context = self.certificate.client()
            connection = http.client.HTTPSConnection(self.host, timeout=10, context=context)
        connection.request(method, path, None if value is None else json.dumps(value), headers)
        return connection

    def ask(
        self, method: str, path: str, value: object = None, **headers: str
    ) -> http.client.HTTPResponse:
        """The answer to such a request; its body is still to be read."""
        return self.begin(method, path, value, **headers).getresponse()


class Nginx(Proxy):
    """``more``: directives for the ``server`` block beside those of the page."""

    program = block = "nginx"

    def __init__(
        self, directory: Path, upstream: int, certificate: Certificate | None = None, more: str = ""
    ):
        super().__init__(directory, upstream, certificate)
        self._more = more

    def prepare(self) -> list[str]:
        pair = self.certificate or Certificate("", "")
        text = self.recipe({
            "server 127.0.0.1:8002;": f"server 127.0.0.1:{self.upstream};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "server_name chat.example;": f"server_name localhost;\n{self._more}",
            "/etc/ssl/chat.example.pem": pair.path,
            "/etc/ssl/chat.example.key": pair.key,
        })  # fmt: skip
        if not self.certificate:
            text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.M).replace(" ssl;", ";")
        (self.directory / "nginx.conf").write_text(
            f"daemon off; user {getpass.getuser()}; pid nginx.pid; error_log stderr warn;\n"
            "events { }\n"
            "http {\n"
            "access_log off; client_body_temp_path body; proxy_temp_path proxy;\n"
            "fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
            f"{text}}}\n"
        )
        return ["-e", "stderr", "-p", str(self.directory), "-c", "nginx.conf"]


class Caddy(Proxy):
    program = "caddy"
    block = "caddyfile"

    def prepare(self) -> list[str]:
        text = self.recipe({
            "chat.example": f"http://localhost:{self.port}",
            "127.0.0.1:8002": f"127.0.0.1:{self.upstream}",
        })  # fmt: skip
        (self.directory / "Caddyfile").write_text(f"{{\nadmin off\n}}\n{text}")
        return ["run", "--config", "Caddyfile", "--adapter", "caddyfile"]


class Apache(Proxy):
    program = "apache2"
    block = "apache"

    MODULES = Path("/usr/lib/apache2/modules")
    """Debian's; those that the page has enabled, and what every Apache has."""

    def prepare(self) -> list[str]:
        text = self.recipe({
            "*:443": f"127.0.0.1:{self.port}",
            "chat.example\n": "localhost\n",
            "http://127.0.0.1:8002/": f"http://127.0.0.1:{self.upstream}/",
        })  # fmt: skip
        text = re.sub(r"^ *SSL.*\n", "", text, flags=re.M)
        loaded = "".join(
            f"LoadModule {name}_module {self.MODULES}/mod_{name}.so\n"
            for name in ("mpm_event", "authz_core", "headers", "proxy", "proxy_http")
        )
        (self.directory / "apache.conf").write_text(
            f"{loaded}ServerRoot {self.directory}\nServerName localhost\n"
            f"Listen 127.0.0.1:{self.port}\nPidFile apache.pid\nErrorLog error.log\n{text}"
        )
        return ["-D", "FOREGROUND", "-f", str(self.directory / "apache.conf")]


class Haproxy(Proxy):
    program = block = "haproxy"

    def prepare(self) -> list[str]:
        text = self.recipe({
            ":443 ssl crt /etc/haproxy/chat.example.pem": f"127.0.0.1:{self.port}",
            "127.0.0.1:8002": f"127.0.0.1:{self.upstream}",
        })  # fmt: skip
        (self.directory / "haproxy.cfg").write_text(text)
        return ["-db", "-f", "haproxy.cfg"]


class HaproxyTcp(Proxy):
    """HAProxy that does not look into what it hands on; a certificate is wsd's."""

    program = "haproxy"
    block = "haproxy-tcp"
    version = "send-proxy-v2"

    def prepare(self) -> list[str]:
        text = self.recipe({
            ":443": f"127.0.0.1:{self.port}",
            "127.0.0.1:8443": f"127.0.0.1:{self.upstream}",
            "send-proxy-v2": self.version,
        })  # fmt: skip
        (self.directory / "haproxy.cfg").write_text(text)
        return ["-db", "-f", "haproxy.cfg"]


class HaproxyTcp1(HaproxyTcp):
    version = "send-proxy"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port

"""Proxies in front of a daemon, configured by what docs/proxies.md tells their administrators."""

from __future__ import annotations

import getpass
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.support import certificates
from tests.support.certificates import Certificate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
READY_S = 10.0

_AROUND = """
daemon off;
user {user};
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{recipe}
}}
"""


def recipe(language: str) -> str:
    """The configuration in the page's only block of that kind."""
    (found,) = re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert isinstance(found, str)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Nginx:
    """nginx on a port of its own, in front of a daemon at ``upstream``.

    ``more`` are directives for the ``server`` block beside those of the recipe.
    """

    def __init__(
        self, directory: Path, upstream: int, *, tls: bool = False, more: str = ""
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = free_port()
        self.certificate: Certificate | None = None
        if tls:
            self.certificate = certificates.make(directory, "localhost", "127.0.0.1")
        text = _AROUND.format(
            user=getpass.getuser(), directory=directory, recipe=self._recipe(upstream, more)
        )
        (directory / "nginx.conf").write_text(text)
        self._log = directory / "log"

    def _recipe(self, upstream: int, more: str) -> str:
        text = recipe("nginx")
        changes = {
            "server 127.0.0.1:8002;": f"server 127.0.0.1:{upstream};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "server_name chat.example;": f"server_name localhost;\n{more}",
            "/etc/ssl/chat.example.pem": self.certificate.path if self.certificate else "",
            "/etc/ssl/chat.example.key": self.certificate.key if self.certificate else "",
        }
        for there, here in changes.items():
            assert text.count(there) == 1, there
            text = text.replace(there, here)
        return text if self.certificate else _without_tls(text)

    def start(self) -> Nginx:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(NGINX), "-e", "stderr", "-p", self.directory, "-c", "nginx.conf"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        _wait_for_port(self.port, self._process, self._log)
        return self

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(READY_S)

    @property
    def authority(self) -> str | None:
        """What clients check its certificate against."""
        return self.certificate.path if self.certificate else None

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http{'s' if self.certificate else ''}://{self.host}{path}"

    def ws(self, path: str = "/chat") -> str:
        return f"ws{'s' if self.certificate else ''}://{self.host}{path}"


def _without_tls(text: str) -> str:
    kept = (line for line in text.splitlines() if not line.lstrip().startswith("ssl_"))
    return "\n".join(kept).replace(" ssl;", ";")


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    process.kill()
    raise AssertionError(f"the proxy does not listen on {port}:\n{log.read_text()}")

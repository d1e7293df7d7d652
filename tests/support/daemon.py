"""The real daemon in a directory of its own, as the tests start, signal and question it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families

READY_S = 20.0
STOP_S = 20.0


class Daemon:
    """``config`` is YAML text that is added to what every test wants: a free port, two workers,
    no limits on messages or addresses, and no waiting when it stops.  ``prefix`` are words ahead of
    the command, for one that runs it somewhere else."""

    BASE: ClassVar[dict[str, str]] = {
        "listen": '["127.0.0.1:0"]',
        "workers": "2",
        "limits.every": "0",
        "limits.connections_per_address": "0",
        "drain.spread": "0",
    }

    def __init__(
        self, directory: Path, config: str = "", prefix: Sequence[str] = (), **keys: object
    ) -> None:
        self.directory = directory
        self.path = directory / "wsd.yaml"
        self.config = config
        self.prefix = prefix
        self.keys: dict[str, object] = {
            **self.BASE,
            "state": str(directory / "state"),
            "runtime": str(directory / "run"),
            **{key.replace("__", "."): value for key, value in keys.items()},
        }
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self.port = 0
        self.host = "127.0.0.1"

    # -- life

    def write_config(self, config: str | None = None, **keys: object) -> None:
        if config is not None:
            self.config = config
        self.keys.update({key.replace("__", "."): value for key, value in keys.items()})
        sections: dict[str, list[str]] = {}
        text = ""
        for key, value in self.keys.items():
            section, _, name = key.rpartition(".")
            if section:
                sections.setdefault(section, []).append(f"{name}: {value}")
            else:
                text += f"{name}: {value}\n"
        for section, entries in sections.items():
            text += f"{section}: {{{', '.join(entries)}}}\n"
        self.path.write_text(text + self.config)

    def start(self) -> Daemon:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_config()
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "wsd", "run", "-c", str(self.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.port = 0
        # Each run's own: the reader of the run before may be at its end only now.
        serving = threading.Event()
        reader = threading.Thread(
            target=self._read_output, args=(self.process, serving), daemon=True
        )
        reader.start()
        if not serving.wait(READY_S) or not self.port:
            self.kill()
            raise AssertionError(f"the daemon did not start:\n{self.output}")
        return self

    def _read_output(self, process: subprocess.Popen[str], serving: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            found = re.search(r"serving on https?://\[?([^\]/]*)\]?:(\d+)/", line)
            if found and not serving.is_set():
                self.host, self.port = found[1], int(found[2])
                serving.set()
        serving.set()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """Whatever it takes; for the end of a test."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        pids = [process.pid, *children_of(process.pid)]
        for signum in (signal.SIGCONT, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, signum)
                except ProcessLookupError:
                    pass
        process.wait(STOP_S)

    # -- questions

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def ws(self, path: str = "/chat") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def admin(self, path: str, body: dict[str, object] | None = None) -> tuple[int, bytes]:
        """One request on the admin socket: (status, body)."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        connection.sock.connect(str(self.directory / "run" / "admin.sock"))
        method = "GET" if body is None else "POST"
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        result = answer.status, answer.read()
        connection.close()
        return result

    def info(self) -> dict:
        return json.loads(self.admin("/api/v1/info")[1])

    def metrics(self) -> dict[str, float]:
        """Each metric, summed over the processes, and as ``name.reason`` those by reason."""
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(self.admin("/metrics")[1].decode()):
            assert family.documentation
            for sample in family.samples:
                ((label, value),) = sample.labels.items()
                name = sample.name if label == "process" else f"{sample.name}.{value}"
                totals[name] = totals.get(name, 0) + sample.value
        return totals

    def pid_of(self, name: str) -> int:
        """The process in the slot ``hub``, ``worker 0`` and so on, from its title."""
        for pid in children_of(self.pid):
            if title_of(pid) == f"wsd: {name}":
                return pid
        raise AssertionError(f"no process {name}")

    def workers(self) -> list[int]:
        return [pid for pid in children_of(self.pid) if title_of(pid).startswith("wsd: worker")]

    def cli(self, *words: str, timeout: float = 15, **environ: str) -> subprocess.CompletedProcess:
        """Run the command ``wsd WORDS -c FILE``."""
        return subprocess.run(
            [sys.executable, "-m", "wsd", *words, "-c", str(self.path)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.directory,
            env={**os.environ, **environ},
        )

    def wait_for(self, condition, what: str, timeout: float = 10.0):
        """Poll ``condition`` until it is true; what it then returns."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                value = condition()
            except (OSError, AssertionError, http.client.HTTPException):
                value = None
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout} s: {what}\n{self.output}")


def children_of(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""

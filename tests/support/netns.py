"""A machine of its own for the daemon: a network namespace, and a cable that can be pulled out."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from types import TracebackType

import pytest

_numbers = itertools.count()


class Cable:
    """``near`` is this machine's address, ``far`` that of the machine at the other end.  Commands
    run there with the words of ``inside`` ahead.  Skips the test where it cannot be made."""

    def __init__(self) -> None:
        number = os.getpid() % 16384 * 4 + next(_numbers) % 4
        net = f"10.{200 + number // 16384 % 4}.{number // 64 % 256}.{number % 64 * 4}"
        base = net.rpartition(".")
        self.near, self.far = (f"{base[0]}.{int(base[2]) + host}" for host in (1, 2))
        self.name = f"wsd{number}"
        self.inside = ["ip", "netns", "exec", self.name]

    def __enter__(self) -> Cable:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("a network namespace needs root and the command ip")
        if subprocess.run(["ip", "netns", "add", self.name], capture_output=True).returncode:
            pytest.skip("network namespaces are not possible here")
        a, b = f"{self.name}a", f"{self.name}b"
        _ip("link", "add", a, "type", "veth", "peer", "name", b, "netns", self.name)
        _ip("addr", "add", f"{self.near}/30", "dev", a)
        _ip("link", "set", a, "up")
        for words in (f"addr add {self.far}/30 dev {b}", f"link set {b} up", "link set lo up"):
            _ip("-n", self.name, *words.split())
        return self

    def pull_out(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        _ip("-n", self.name, "link", "set", f"{self.name}b", "down")

    def plug_in(self) -> None:
        _ip("-n", self.name, "link", "set", f"{self.name}b", "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        _ip("netns", "del", self.name)  # and the cable with it


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)

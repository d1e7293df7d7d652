"""An honest visitor, in a process of its own so that nothing of the attack slows it down.

``python -m tests.hostile.visitor PORT handshake|echo SECONDS`` makes one handshake after the
other, or says one message after the other on one connection, ten to twenty a second, and prints
the seconds that each took as a JSON list.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.support.raw import Raw, command, handshake

PAUSE_S = 0.05
ROOT = Path(__file__).resolve().parents[2]


class Visitor:
    """Starts one; ``took`` waits for it and gives its seconds in order."""

    def __init__(self, port: int, what: str, seconds: float) -> None:
        words = [sys.executable, "-m", "tests.hostile.visitor", str(port), what, str(seconds)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT)

    def took(self) -> list[float]:
        out, _ = self._process.communicate()
        assert self._process.returncode == 0, "an honest visitor was turned away"
        return sorted(json.loads(out))


def percentile(took: list[float], share: float) -> float:
    """Of a sorted list."""
    return took[min(len(took) - 1, int(len(took) * share))]


def _handshake(port: int) -> None:
    with Raw(("127.0.0.1", port), timeout=30) as one:
        assert one.send(handshake()).answer().status == 101


def main(port: int, what: str, seconds: float) -> None:
    took = []
    member = Raw(("127.0.0.1", port), timeout=30).upgrade()
    member.hello("visitors")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        if what == "handshake":
            _handshake(port)
        else:
            member.send(command("say", id=len(took), room="visitors", text="still here"))
            member.next("ok")
        took.append(time.monotonic() - began)
        time.sleep(PAUSE_S)
    print(json.dumps(took))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))

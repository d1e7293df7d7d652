"""Does a reader that stands still delay the others?  ``python -m tests.chaos.beside --pairs 10``.

99 readers get 2,000 messages of 1 KiB a second, alone and beside a 100th that does not read, in
turn and each in a room of its own.  The generator (``wsd/bench/wsload.c``) costs a fraction of the
daemon: one in Python would measure itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import ROOT, Tree
from tests.chaos.small import SmallClient

OTHERS = 99
SENDERS = 8
PER_SECOND = 2000
BYTES = 1024


def build(directory: Path) -> Path:
    program = directory / "wsload"
    subprocess.run(["cc", "-O2", "-o", program, ROOT / "wsd/bench/wsload.c"], check=True)
    return program


def load(program: Path, tree: Tree, room: str, seconds: float) -> dict[str, float]:
    """Milliseconds from sending to receiving, and what was delivered."""
    hello = {"type": "hello", "id": 1, "rooms": {room: None}}
    say = {"type": "say", "id": 2, "room": room, "cid": "c{conn}.{seq}", "text": "{marker}{pad}"}
    options = {
        "port": tree.port, "path": f"/chat?room={room}", "subprotocol": "wsd.v1",
        "hello": json.dumps(hello), "message": json.dumps(say), "members": OTHERS,
        "publishers": SENDERS, "rate": PER_SECOND, "size": BYTES, "seconds": seconds,
        "warmup": 1, "drain": 1,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    assert found["dead"] == 0 and found["out_of_order"] == 0, found
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.beside", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--receive-buffer", type=int, default=0, help="of the 100th reader")
    options = parser.parse_args()
    found: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = build(directory)
        tree = Tree(directory / "wsd", workers=1, limits=", text: 2000", ping_s=600)
        try:
            asyncio.run(tree.start())
            for number in range(options.pairs * 2):
                # By turns, and each first as often as second: drift of the machine cancels out.
                beside = number % 4 in (1, 2)
                room = f"r{number}"
                reader = None
                if beside:
                    buffer = options.receive_buffer
                    reader = SmallClient(tree.port, {room: None}, receive_buffer=buffer)
                p99 = load(program, tree, room, options.seconds)["p99_ms"]
                found[beside].append(p99)
                print(f"{'beside it' if beside else 'alone':10} p99 {p99:8.3f} ms", flush=True)
                if reader is not None:
                    reader.close()
        finally:
            tree.kill_all()
    alone, beside_it = statistics.median(found[False]), statistics.median(found[True])
    print(f"median of {options.pairs}: alone {alone:.3f} ms, beside it {beside_it:.3f} ms: "
          f"{beside_it / alone - 1:+.1%}")  # fmt: skip
    return 0 if beside_it <= alone * 1.2 else 1


if __name__ == "__main__":
    sys.exit(main())

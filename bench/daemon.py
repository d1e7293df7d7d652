"""wsd as a server to be measured."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.measure import Server

CONFIG = """\
listen: ["127.0.0.1:{port}"]
workers: {workers}
state: {directory}/state
runtime: {directory}/run
durability: {durability}
limits: {{every: 0, connections_per_address: 0, connections: 20000}}
"""
HELLO = '{"type":"hello","id":1,"rooms":{"room{room}":null}}'
SAY = '{"type":"say","id":2,"room":"room{room}","cid":"c{conn}.{seq}","text":"{marker}{pad}"}'
WORDS = (
    "--path", "/chat?room=room{room}", "--subprotocol", "wsd.v1", "--hello", HELLO,
    "--message", SAY,
)  # fmt: skip


def wsd(
    directory: Path, port: int, durability: str = "full", workers: int = 1, more: str = ""
) -> Server:
    """A daemon with its configuration, state and sockets in ``directory``.

    ``more`` is added to the configuration.
    """
    path = directory / "wsd.yaml"
    path.write_text(
        CONFIG.format(port=port, directory=directory, workers=workers, durability=durability) + more
    )
    return Server([sys.executable, "-m", "wsd", "run", "-c", str(path)], WORDS)

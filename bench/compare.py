"""wsd beside other servers, with the same generator and the same work: ``python -m bench.compare``.

The others are what pip, npm and Debian bring: plain broadcast servers, as their documentation has
them, in ``peers/``.  They keep no log and number nothing, wsd does both.  Each server gets each
kind of work right after the floor had it, ``--rounds`` times.  One that is not here is named, with
the command that would bring it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.daemon import wsd
from bench.measure import (
    FLOOR_WORDS,
    HERE,
    KINDS,
    Failed,
    Pairs,
    Server,
    build,
    circumstances,
    drive,
    drive_floor,
    free_port,
    record,
    summary,
)

PEERS = HERE / "peers"
WORK = KINDS[:3]
COLUMNS = ("cpu_us_per_copy", "p50_ms", "p99_ms")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
NODE_PATH = os.pathsep.join(
    filter(None, (os.environ.get("NODE_PATH"), str(HERE.parent / ".cache/node/node_modules")))
)
NCHAN_MODULE = os.environ.get("NCHAN_MODULE", "/usr/lib/nginx/modules/ngx_nchan_module.so")

NATS_WORDS = (
    "--binary", "--path", "/",
    "--hello", r'CONNECT {"verbose":false,"pedantic":false}\r\nSUB room{room} 1\r\n',
    "--message", r"PUB room{room} {len}\r\n{marker}{pad}\r\n",
)  # fmt: skip


class Peer(NamedTuple):
    """``bring`` is the command that installs it; ``server`` is given a directory and a port."""

    name: str
    here: Callable[[], bool]
    bring: str
    server: Callable[[Path, int], Server]


def python_peer(name: str) -> Peer:
    script = str(PEERS / f"{name}_server.py")

    def server(directory: Path, port: int) -> Server:
        return Server([sys.executable, script, str(port)], FLOOR_WORDS)

    bring = f"{sys.executable} -m pip install {name}" + (" uvloop" if name == "picows" else "")
    return Peer(name, lambda: importlib.util.find_spec(name) is not None, bring, server)


def ws_is_here() -> bool:
    node = shutil.which("node", path=PATH)
    return (
        node is not None
        and not subprocess.run(
            [node, "-e", "require('ws')"],
            env={**os.environ, "NODE_PATH": NODE_PATH},
            capture_output=True,
        ).returncode
    )


def ws_server(directory: Path, port: int) -> Server:
    script = str(PEERS / "ws_server.cjs")
    return Server(["node", script, str(port)], FLOOR_WORDS, {"NODE_PATH": NODE_PATH})


def nchan_is_here() -> bool:
    return shutil.which("nginx", path=PATH) is not None and Path(NCHAN_MODULE).exists()


def nchan_server(directory: Path, port: int) -> Server:
    path = filled("nchan.conf", directory, module=NCHAN_MODULE, directory=directory, port=port)
    command = ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(path)]
    return Server(command, FLOOR_WORDS, {"PATH": PATH})


def nats_server(directory: Path, port: int) -> Server:
    path = filled("nats.conf", directory, other_port=free_port(), port=port)
    return Server(["nats-server", "-c", str(path)], NATS_WORDS, {"PATH": PATH})


def filled(name: str, place: Path, /, **values: object) -> Path:
    """A configuration of ``peers/`` in ``place``, with its gaps filled in."""
    text = (PEERS / name).read_text()
    for gap, value in values.items():
        text = text.replace(f"{{{gap}}}", str(value))
    path = place / name
    path.write_text(text)
    return path


ALL = (
    Peer("wsd", lambda: True, "", wsd),
    Peer("nchan", nchan_is_here, "apt-get install libnginx-mod-nchan", nchan_server),
    Peer(
        "nats", lambda: shutil.which("nats-server", path=PATH) is not None,
        "apt-get install nats-server", nats_server,
    ),
    Peer("ws", ws_is_here, f"npm install --prefix {HERE.parent / '.cache/node'} ws", ws_server),
    python_peer("websockets"),
    python_peer("picows"),
    python_peer("tornado"),
)  # fmt: skip


def measure(
    directory: Path, options: argparse.Namespace, peers: list[Peer]
) -> dict[tuple[str, str], dict[str, float] | str]:
    """By peer and kind of work: the medians, or why there are none."""
    pairs: dict[tuple[str, str], Pairs] = {}
    failures: dict[tuple[str, str], str] = {}
    for round_ in range(options.rounds):
        for work in WORK:
            for peer in peers:
                key = peer.name, work.name
                say(f"round {round_ + 1} of {options.rounds}: {work.name}, {peer.name}")
                try:
                    floor = drive_floor(directory, work, options.seconds)
                    with tempfile.TemporaryDirectory() as name:
                        os.chmod(name, 0o755)  # nginx's worker is another user
                        port = free_port()
                        server = peer.server(Path(name), port)
                        figures = drive(directory / "wsload", server, port, work, options.seconds)
                    pairs.setdefault(key, []).append((figures, floor))
                except Failed as error:
                    failures[key] = str(error)
    say("")
    return {**failures, **{key: summary(found, COLUMNS) for key, found in pairs.items()}}


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def table(results: dict[tuple[str, str], dict[str, float] | str], peers: list[Peer]) -> str:
    """Microseconds of CPU a copy, and how many times the floor that is."""
    lines = ["".join([f"{'':<12}", *(f"{work.name + ', µs':>12}{'ratio':>8}" for work in WORK)])]
    floors = []
    for work in WORK:
        found = [r["floor"] for (_, kind), r in results.items()
                 if kind == work.name and not isinstance(r, str)]  # fmt: skip
        floors.append(f"{min(found):>12.3f}{'1':>8}" if found else f"{'-':>12}{'':>8}")
    lines.append(f"{'floor':<12}{''.join(floors)}")
    for peer in peers:
        cells = []
        for work in WORK:
            row = results[peer.name, work.name]
            if isinstance(row, str):
                cells.append(f"{'failed':>12}{'':>8}")
            else:
                cells.append(f"{row['cpu_us_per_copy']:>12.3f}{row['ratio']:>8.2f}")
        lines.append(f"{peer.name:<12}{''.join(cells)}")
    failed = [f"{name}, {kind}: {row}" for (name, kind), row in results.items()
              if isinstance(row, str)]  # fmt: skip
    return "\n".join([*lines, *failed])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    names = [peer.name for peer in ALL]
    parser.add_argument("server", nargs="*", choices=[[], *names], help=f"of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--no-record", action="store_true", help="add nothing to history.csv")
    options = parser.parse_args()
    chosen = [peer for peer in ALL if not options.server or peer.name in options.server]
    peers = [peer for peer in chosen if peer.here()]
    shared = circumstances()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build(directory)
        results = measure(directory, options, peers)
    print(table(results, peers))
    for peer in chosen:
        if peer not in peers:
            print(f"skipped: {peer.name} is not installed: {peer.bring}")
    if not options.no_record:
        record([
            {**shared, **own(name), "kind": kind, "us_per_copy": row["cpu_us_per_copy"], **row}
            for (name, kind), row in results.items() if not isinstance(row, str)
        ])  # fmt: skip
    return 1 if any(isinstance(row, str) for row in results.values()) else 0


def own(name: str) -> dict[str, object]:
    """What the history says of a server beside its name."""
    wsd_has = {"durability": "full"} if name == "wsd" else {}
    return {"server": name, "workers": 1, **wsd_has}


if __name__ == "__main__":
    sys.exit(main())

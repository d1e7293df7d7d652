"""The latency of delivery under load, beside other servers: ``python -m bench.latency``.

First each server shows how many messages a second it carries at most, with 40 of them always on
their way to a room of 1,000.  Then messages come at a fixed pace, at 25, 50, 75 and 90 % of that.
wsd is also measured at 50 % while readers join and load the room's history, while the
configuration is read again, and while old messages are removed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import NamedTuple

import websockets
from websockets import Subprotocol

from bench.compare import ALL, Peer
from bench.daemon import HELLO, wsd
from bench.measure import Failed, Figures, Server, Work, build, drive, free_port
from wsd.bench.plot import label, line

SERVERS = ("wsd", "nchan", "websockets")
SHARES = (0.25, 0.5, 0.75, 0.9)
PERCENTILES = ("p50_ms", "p99_ms", "p999_ms")
ROOM = "--members 1000 --publishers 10"
SATURATED = Work("saturated", f"{ROOM} --window 4", "", 0)
KEPT_UP = 0.97
"""Less of the pace than that, and the server did not keep up: latency only grows."""

Beside = Callable[[int, int], None]
"""What a process of its own does to (pid, port) of the daemon until it is ended."""


def paced(rate: float) -> Work:
    return Work(f"{rate:.0f}/s", f"{ROOM} --rate {rate:.1f}", "", 0)


class Point(NamedTuple):
    """``share`` of the saturation, as messages a second, and what came of it."""

    share: float
    rate: float
    figures: Figures

    @property
    def kept_up(self) -> bool:
        copies = self.figures["delivered_per_s"] / self.figures["members"]
        return copies >= KEPT_UP * self.rate


# -- what may disturb the others


def joins(pid: int, port: int) -> None:
    """Readers who come, load what is there, and go: 20 a second."""

    async def read() -> None:
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with asyncio.timeout(5), websockets.connect(
                    f"ws://127.0.0.1:{port}/chat?room=room0", subprotocols=[Subprotocol("wsd.v1")],
                ) as one:  # fmt: skip
                    await one.send(HELLO.replace("{room}", "0"))
                    for _ in range(50):
                        await one.recv()
            await asyncio.sleep(0.05)

    asyncio.run(read())


def reloads(pid: int, port: int) -> None:
    while True:
        os.kill(pid, signal.SIGHUP)
        time.sleep(1)


def nothing(pid: int, port: int) -> None:
    signal.pause()


SHORT = "history: {size: 200}\n"
DISTURBED: tuple[tuple[str, Beside, str], ...] = (
    ("undisturbed", nothing, ""),
    ("readers join", joins, ""),
    ("reload", reloads, ""),
    ("retention", nothing, SHORT),
)


@contextlib.contextmanager
def beside(act: Beside, pid: int, port: int) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=act, args=(pid, port))
    process.start()
    try:
        os.sched_setaffinity(process.pid or 0, {1})  # a guest's work is not the server's
        yield
    finally:
        process.kill()
        process.join()


# -- measuring


def run(
    peer: Peer, wsload: Path, work: Work, seconds: float, act: Beside = nothing, config: str = ""
) -> Figures:
    """Raises Failed."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # nginx's worker is another user
        port = free_port()
        if peer.name == "wsd":
            server: Server = wsd(Path(name), port, more=config)
        else:
            server = peer.server(Path(name), port)
        return drive(wsload, server, port, work, seconds, lambda pid: beside(act, pid, port))


def measure(peer: Peer, wsload: Path, seconds: float) -> list[Point]:
    most = run(peer, wsload, SATURATED, seconds)
    saturation = most["delivered_per_s"] / most["members"]
    points = []
    for share in SHARES:
        rate = share * saturation
        points.append(Point(share, rate, run(peer, wsload, paced(rate), seconds)))
        print(row(peer.name, points[-1]), flush=True)
    return points


def row(name: str, point: Point) -> str:
    figures = "".join(f"{point.figures[column]:>10.2f}" for column in PERCENTILES)
    remark = "" if point.kept_up else "   does not keep up"
    return f"{name:<14}{point.share * 100:>4.0f} %{point.rate:>12.0f}{figures}{remark}"


def disturb(wsload: Path, rate: float, seconds: float) -> None:
    """wsd at this pace, by itself and with each disturbance."""
    peer = ALL[0]
    for name, act, config in DISTURBED:
        point = Point(0.5, rate, run(peer, wsload, paced(rate), seconds, act, config))
        print(row(name, point), flush=True)


# -- the picture

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 60, 60
COLOURS = ("#0b63c5", "#c0392b", "#2e8b57", "#8e44ad")
DASHES = {"p50_ms": "", "p99_ms": "6 4", "p999_ms": "2 3"}


def svg(results: Sequence[tuple[str, Sequence[Point]]]) -> str:
    """Both axes are logarithmic: messages a second to a room of 1,000, milliseconds."""
    points = [point for _, found in results for point in found]
    times = [point.figures[column] for point in points for column in PERCENTILES]
    x0, x1 = floor(log10(min(p.rate for p in points))), ceil(log10(max(p.rate for p in points)))
    y0, y1 = floor(log10(max(min(times), 0.01))), ceil(log10(max(times)))

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (log10(rate) - x0) / (x1 - x0)

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (log10(max(ms, 10**y0)) - y0) / (y1 - y0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" font-size="12">',
        "<title>Latency of delivery at 25, 50, 75 and 90 % of what each server carries</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#222">Latency of delivery to a room of '
        "1,000: median, 99 % (dashed), 99.9 % (dotted)</text>",
    ]
    for power in range(y0, y1 + 1):
        parts.append(line(LEFT, y(10**power), WIDTH - RIGHT, y(10**power)))
        parts.append(label(LEFT - 8, y(10**power) + 4, f"{10**power:g}", "end"))
    for power in range(x0, x1 + 1):
        parts.append(line(x(10**power), TOP, x(10**power), HEIGHT - BOTTOM))
        parts.append(label(x(10**power), HEIGHT - BOTTOM + 18, f"{10**power:,}", "middle"))
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "messages a second", "middle"))
    parts.append(label(LEFT - 8, TOP - 12, "ms", "end"))
    for number, ((name, found), colour) in enumerate(zip(results, COLOURS, strict=False)):
        at = LEFT + 110 * number
        parts.append(f'<rect x="{at}" y="34" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{at + 18}" y="44" fill="#222">{name}</text>')
        for column, dash in DASHES.items():
            path = " ".join(f"{x(p.rate):.1f},{y(p.figures[column]):.1f}" for p in found)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
                f'stroke-dasharray="{dash}"/>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("server", nargs="*", default=SERVERS, help=f"default: {SERVERS}")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--svg", type=Path, help="draw the latencies into this file")
    options = parser.parse_args()
    peers = {peer.name: peer for peer in ALL if peer.here()}
    missing = [name for name in options.server if name not in peers]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)} (python -m bench.compare says how)")
    print(f"{'':<14}{'share':>6}{'messages/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}")
    results: list[tuple[str, list[Point]]] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build(directory)
        wsload = directory / "wsload"
        try:
            for server in options.server:
                results.append((server, measure(peers[server], wsload, options.seconds)))
            if results[0][0] == "wsd":
                disturb(wsload, results[0][1][1].rate, options.seconds)
        except Failed as error:
            raise SystemExit(str(error)) from None
    if options.svg:
        options.svg.write_text(svg(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())

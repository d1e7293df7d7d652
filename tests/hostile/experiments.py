"""The experiments: each starts a daemon of its own and gives figures, most of them with a bound."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.hostile.swarm import Swarm, reset
from tests.hostile.visitor import Visitor, percentile
from tests.support.daemon import Daemon
from tests.support.raw import TEXT, Raw, command, frame, handshake
from tests.support.usage import cpu_s, descriptors, load, memory_kib
from wsd.protocol.handshake import accept_value


class Figure(NamedTuple):
    """``bound`` is what ``value`` may be at most; None is for information."""

    name: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def kept(self) -> bool:
        return self.bound is None or self.value <= self.bound


@contextmanager
def running(directory: Path, **keys: object) -> Iterator[Daemon]:
    daemon = Daemon(directory, **{"workers": 1, "limits__connections": 20_000, **keys}).start()
    pids = daemon.workers()
    try:
        yield daemon
        assert daemon.workers() == pids, "a worker died"
        assert "Traceback" not in daemon.output, daemon.output
    finally:
        daemon.kill()


def address(daemon: Daemon) -> tuple[str, int]:
    return daemon.host, daemon.port


def settled(daemon: Daemon) -> None:
    """Wait until nobody is connected but who asks."""
    daemon.wait_for(lambda: daemon.info()["connections"] == 1, "all are gone", timeout=60)
    time.sleep(0.3)  # so is the connection that asked


def waits(took: list[float], bound_ms: float | None) -> list[Figure]:
    return [
        Figure("honest p50", percentile(took, 0.5) * 1000, "ms"),
        Figure("honest p99", percentile(took, 0.99) * 1000, "ms", bound_ms),
    ]


# -- slow


def slowloris(directory: Path) -> list[Figure]:
    """SL-01: a byte of a header every 2 s from 1,000, for longer than timeouts.header."""
    return _slow(directory, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: xxxxxx")


def silence(directory: Path) -> list[Figure]:
    """SL-02: 1,000 that say nothing at all."""
    return _slow(directory, b"")


def _slow(directory: Path, data: bytes) -> list[Figure]:
    with running(directory) as daemon:
        visitor = Visitor(daemon.port, "handshake", 14)
        time.sleep(1)
        swarm = Swarm(address(daemon), 1000, 0.01)
        swarm.trickle(data, 2.0, 20)
        lived = [bee.lived_s for bee in swarm.bees]
        answered = sum(b" 408 " in bee.data for bee in swarm.bees)
        swarm.close()
        return [
            Figure("not closed", sum(not bee.ended for bee in swarm.bees), "", 0),
            Figure("closed without 408", len(lived) - answered, "", 0),
            Figure("the last one closed after", max(lived), "s", 11),
            *waits(visitor.took(), 100),
        ]


# -- gone


def resets(directory: Path) -> list[Figure]:
    """SL-12: 5,000 connections reset in the middle of a frame."""
    opening = handshake() + command("hello", rooms={"resets": None})
    half = frame(TEXT, b"x" * 1000)[:500]
    with running(directory) as daemon:
        worker = daemon.workers()[0]

        def wave(count: int) -> None:
            for _ in range(count):
                one = Raw(address(daemon))
                one.send(opening + half)
                one.until(b"\r\n\r\n")
                reset(one.sock)
            settled(daemon)

        wave(2000)
        fds, memory = descriptors(worker), memory_kib(worker)
        wave(5000)
        return [
            Figure("descriptors more", descriptors(worker) - fds, "", 0),
            Figure("memory more", (memory_kib(worker) - memory) / 1024, "MiB", 1),
            Figure("CPU afterwards", load(worker, 2) * 100, "%", 5),
        ]


def churn(directory: Path) -> list[Figure]:
    """SL-14: connect and close, as often as one process can, for 30 s."""
    with running(directory) as daemon:
        worker = daemon.workers()[0]
        _churn(daemon, 5)
        settled(daemon)
        fds, memory = descriptors(worker), memory_kib(worker)
        count = _churn(daemon, 30)
        settled(daemon)
        return [
            Figure("connections a second", count / 30, ""),
            Figure("descriptors more", descriptors(worker) - fds, "", 0),
            Figure("memory more", (memory_kib(worker) - memory) / 1024, "MiB", 8),
        ]


def flood(directory: Path) -> list[Figure]:
    """LM-12: the same while a member says one message after the other."""
    with running(directory) as daemon:
        visitor = Visitor(daemon.port, "echo", 12)
        time.sleep(1)
        count = _churn(daemon, 10)
        return [Figure("connections a second", count / 10, ""), *waits(visitor.took(), 200)]


def _churn(daemon: Daemon, seconds: float) -> int:
    count, until, where = 0, time.monotonic() + seconds, address(daemon)
    while time.monotonic() < until:
        for _ in range(100):
            try:
                socket.create_connection(where, timeout=30).close()
                count += 1
            except OSError:  # our own ports are used up for a moment
                time.sleep(0.1)
    return count


def reconnects(directory: Path) -> list[Figure]:
    """PY-11: 100,000 handshakes in a row, half of them left before the answer, which is made from
    the key of each: one that was meant for somebody else shows."""
    with running(directory) as daemon:
        worker = daemon.workers()[0]
        settled(daemon)
        fds, wrong = descriptors(worker), 0
        for n in range(100_000):
            key = b64encode(os.urandom(16)).decode()
            text = handshake().replace(b"dGhlIHNhbXBsZSBub25jZQ==", key.encode())
            one = _connected(daemon)
            one.send(text)
            if n % 2:
                wrong += one.answer().headers.get("sec-websocket-accept") != accept_value(key)
            reset(one.sock)  # leaves no port behind in TIME_WAIT
        settled(daemon)
        return [
            Figure("answers meant for others", wrong, "", 0),
            Figure("descriptors more", descriptors(worker) - fds, "", 0),
        ]


def _connected(daemon: Daemon) -> Raw:
    while True:
        try:
            return Raw(address(daemon))
        except OSError:
            time.sleep(0.05)


# -- trouble on the server's side


def out_of_descriptors(directory: Path) -> list[Figure]:
    """LM-10: 100 descriptors for a worker to which 500 come."""
    with running(directory) as daemon:
        worker = daemon.workers()[0]
        member = Raw(address(daemon)).upgrade()
        member.hello("visitors")
        soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (100, hard))
        crowd = [socket.create_connection(address(daemon), timeout=30) for _ in range(500)]
        daemon.wait_for(lambda: "accept_paused" in daemon.output, "it is short")
        before, began, lines = cpu_s(worker), time.monotonic(), len(daemon.lines)
        waited = []
        while time.monotonic() - began < 9:  # until the header's time frees some
            asked = time.monotonic()
            member.send(command("say", id=7, room="visitors", text="still here"))
            member.next("ok")
            waited.append(time.monotonic() - asked)
            time.sleep(0.25)
        took = (cpu_s(worker) - before) / (time.monotonic() - began)
        lines = len(daemon.lines) - lines
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
        restored = time.monotonic()
        with Raw(address(daemon)) as late:
            late.send(handshake()).answer()
        recovered = time.monotonic() - restored
        for sock in crowd:
            sock.close()
        return [
            Figure("CPU meanwhile", took * 100, "%", 5),
            *waits(sorted(waited), 1000),
            Figure("log lines in 9 s", lines, "", 1),
            Figure("newcomers served again after", recovered, "s", 1),
        ]


def log_storm(directory: Path) -> list[Figure]:
    """LG-05: 100,000 bad requests, of four kinds."""
    bad = [
        b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    ]  # fmt: skip
    with running(directory) as daemon:
        before, began = len(daemon.output), time.monotonic()
        for n in range(100_000):
            one = _connected(daemon)
            one.send(bad[n % len(bad)])
            one.more()
            reset(one.sock)
        minutes = (time.monotonic() - began) / 60
        refused = daemon.metrics()
        counted = sum(v for k, v in refused.items() if k.startswith("wsd_http_rejected"))
        return [
            Figure("requests a minute", 100_000 / minutes, ""),
            Figure("not counted", 100_000 - counted, "", 0),
            Figure("log", (len(daemon.output) - before) / 1024, "KiB", 10 * 1024),
        ]


def idle(directory: Path) -> list[Figure]:
    """SL-15: 5,000 members with nothing to say, but for pings every 25 s."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    opening = handshake() + command("hello", rooms={"idle": None})
    with running(directory) as daemon:
        worker, memory = daemon.workers()[0], memory_kib(daemon.workers()[0])
        swarm = Swarm(address(daemon), 5000)
        swarm.say(opening)
        swarm.until(5000, b'"welcome"')
        stopping = threading.Event()
        answering = threading.Thread(target=_answer_pings, args=(swarm, stopping), daemon=True)
        answering.start()
        time.sleep(5)
        took = load(worker, 30)
        stopping.set()
        answering.join()
        gone = sum(bool(bee.ended) for bee in swarm.bees)
        swarm.close()
        return [
            Figure("CPU at rest", took * 100, "%", 2),
            Figure("members lost", gone, "", 0),
            Figure("memory per member", (memory_kib(worker) - memory) / 5000, "KiB"),
        ]


def _answer_pings(swarm: Swarm, stopping: threading.Event) -> None:
    """Each is asked about every 25 s: a pong from everybody every 5 s is an answer to all."""
    pong = frame(10)
    while not stopping.wait(5):
        for bee in swarm.bees:
            if not bee.ended:
                bee.sock.send(pong)
        swarm.turn(0.1)


EXPERIMENTS: dict[str, Callable[[Path], list[Figure]]] = {
    run.__name__: run
    for run in (
        slowloris, silence, resets, churn, flood, reconnects, out_of_descriptors, log_storm, idle,
    )
}  # fmt: skip

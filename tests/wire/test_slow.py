"""Clients that are slow, silent, broken or gone (RELIABILITY 4.6), with short timeouts.

What takes a thousand of them is ``bin/test hostile``.
"""

from __future__ import annotations

import re
import resource
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.clients import V1
from tests.support.daemon import Daemon
from tests.support.raw import CLOSE, PING, TEXT, WAIT_S, Raw, command, frame, handshake
from tests.support.usage import cpu_s, descriptors, load, memory_kib
from wsd.hub.presence import LINGER_S

POLL = b'{"type":"hello","rooms":{"quiet":null},"wait":60}'


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One worker, with short timeouts."""
    daemon = Daemon(
        tmp_path_factory.mktemp("hasty") / "wsd", workers=1,
        timeouts__header="1s", timeouts__hello="1s", timeouts__body="1s",
        timeouts__keep_alive="2s", timeouts__close="1s", timeouts__write="2s",
        ping__every="1s", ping__timeout="500ms", limits__message="1MiB",
    ).start()  # fmt: skip
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output
    assert "unknown_reason" not in daemon.output


def open_to(daemon: Daemon, **options: int) -> Raw:
    return Raw((daemon.host, daemon.port), **options)


def reset(one: Raw) -> None:
    """Close with RST."""
    one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.sock.close()


def post(path: str, body: bytes, length: int = 0) -> bytes:
    """A request whose body may be announced as longer than it is."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


class Counted:
    """What has moved in a daemon's metrics since this was made."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._before = daemon.metrics()

    def __getitem__(self, name: str) -> float:
        return self._daemon.metrics()[name] - self._before[name]

    def wait(self, name: str, value: float) -> None:
        self._daemon.wait_for(lambda: self[name] == value, f"{name} moves by {value}")


# -- requests that take their time


def trickle(one: Raw, data: bytes, pause_s: float) -> bytes:
    """Send byte by byte until an answer comes; the answer."""
    one.sock.settimeout(pause_s)
    for byte in data:
        try:
            one.sock.sendall(bytes([byte]))
            return one.sock.recv(4096)
        except TimeoutError:
            continue
    raise AssertionError("all was sent")


def test_sl_01_a_header_has_its_time_in_all_not_between_bytes(hasty):
    began, counted = time.monotonic(), Counted(hasty)
    with open_to(hasty) as one:
        answer = trickle(one, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"x" * 100, 0.1)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert 0.9 < time.monotonic() - began < 3
    assert counted["wsd_http_rejected_total.header_timeout"] == 1


def test_sl_01_between_two_requests_the_time_begins_anew(hasty):
    with open_to(hasty) as one:
        assert one.get("/").status == 200
        time.sleep(1.2)
        began = time.monotonic()
        answer = trickle(one, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"x" * 100, 0.1)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert 0.9 < time.monotonic() - began < 3


def test_sl_01_others_are_served_meanwhile(hasty):
    slow = [open_to(hasty).send(b"GET / HTTP/1.1\r\nHo") for _ in range(50)]
    for _ in range(20):
        with open_to(hasty) as one:
            assert one.send(handshake()).answer().status == 101
    for one in slow:
        assert one.answer().status == 408
        one.sock.close()


def test_sl_02_silence_has_its_time_too(hasty):
    with open_to(hasty) as one:
        assert 0.9 < one.ends_in_s() < 3


@pytest.mark.parametrize("head", [
    post("/send", b"slow", 1000),
    b"POST /send HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
])  # fmt: skip
def test_sl_03_a_body_has_its_time_in_all(hasty, head):
    began, counted = time.monotonic(), Counted(hasty)
    with open_to(hasty) as one:
        answer = trickle(one.send(head), b"y" * 100, 0.1)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert 0.9 < time.monotonic() - began < 3
    assert counted["wsd_http_rejected_total.body_timeout"] == 1


def big_history(daemon: Daemon, room: str) -> str:
    """A room with 300 KiB of messages; the address of a page of them."""
    ann = V1(daemon.ws()).hello({room: None})
    for n in range(100):
        ann.say(room, f"{n} ".ljust(1000, "x") * 1, cid=f"c{n}")
    ann.close()
    return f"/rooms/{room}/messages?limit=100"


def test_sl_04_an_answer_that_nobody_reads_has_its_time(hasty):
    path = big_history(hasty, "big")
    counted = Counted(hasty)
    with open_to(hasty, receive_buffer=4096) as one:
        ask = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        began = time.monotonic()
        one.send(ask * 30)  # more than the kernel takes
        counted.wait("wsd_closed_total.write_timeout", 1)
        assert time.monotonic() - began > 1.9


def test_sl_04_who_reads_slowly_gets_all(hasty):
    path = big_history(hasty, "large")
    with open_to(hasty) as fast:
        whole = fast.get(path).body
    with open_to(hasty, receive_buffer=4096) as one:
        one.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 3)
        for _ in range(12):  # twice as long as a stopped one may take
            time.sleep(0.35)
            one.buffer += one.sock.recv(3000)
        assert [one.answer().body for _ in range(3)] == [whole] * 3


def test_sl_05_an_idle_connection_is_closed_without_a_word(hasty):
    with open_to(hasty) as one:
        assert one.get("/").status == 200
        time.sleep(1.2)  # more than a header may take: this is no header
        assert one.get("/").status == 200
        began = time.monotonic()
        assert one.rest() == b""
        assert 1.9 < time.monotonic() - began < 4


# -- WebSockets


def test_sl_06_no_hello_no_stay(hasty):
    with open_to(hasty) as one:
        one.upgrade().send(frame(PING, b"I am here"))
        began = time.monotonic()
        closed = one.close_frame()
        assert (closed.code, closed.reason) == (4501, "hello_timeout")
        assert 0.9 < time.monotonic() - began < 3
        assert one.ends_in_s() < 3, "the client did not answer the close frame"  # WS-26


def test_sl_07_who_does_not_answer_pings_is_gone_and_the_others_are_told(hasty):
    watcher = V1(hasty.ws()).hello({"pings": None})
    with open_to(hasty) as one:
        uid = one.upgrade().hello("pings")["uid"]
        began = time.monotonic()
        ping = one.next("ping").json
        assert ping["heads"] == {"pings": 0}
        closed = one.close_frame()
        assert (closed.code, closed.reason) == (4000, "ping_timeout")
        assert 0.9 < time.monotonic() - began < 5
        # Somebody who comes back at once has never been away.
        watcher.take("presence", when=lambda v: uid in v.get("left", ()), timeout=LINGER_S + 10)
    watcher.close()


def test_who_answers_pings_stays(hasty, library):
    client = V1(hasty.ws(), library=library).hello({library: None})
    client.say(library, "x")
    pings = [client.take("ping", timeout=4) for _ in range(2)]
    assert pings[0]["heads"] == {library: 1}
    assert client.say(library, "still here")["type"] == "ok"
    client.close()


@pytest.mark.parametrize("begun", [
    b"", handshake()[:40], handshake(), handshake() + command("hello", rooms={"half": None}),
    handshake() + command("hello", rooms={"half": None}) + frame(TEXT, b"x" * 100)[:50],
    handshake() + command("hello", rooms={"half": None}) + frame(TEXT, b"x", fin=False),
    post("/poll", POLL), post("/stream", POLL),
], ids=["nothing", "header", "handshake", "hello", "frame", "fragment", "poll", "stream"],
)  # fmt: skip
def test_sl_09_half_closed_is_closed(hasty, begun):
    worker = hasty.workers()[0]
    hasty.wait_for(lambda: hasty.metrics()["wsd_connections"] == 1, "only this question is open")
    before = descriptors(worker)
    with open_to(hasty) as one:
        one.send(begun)
        time.sleep(0.1)
        one.sock.shutdown(socket.SHUT_WR)
        assert one.ends_in_s() < 1.5
        hasty.wait_for(lambda: descriptors(worker) <= before, "the descriptor is free", 1.5)
    assert hasty.metrics()["wsd_members"] == 0


# -- whoever is gone


def test_sl_12_resets_leave_nothing_behind(hasty):
    worker = hasty.workers()[0]
    hasty.wait_for(lambda: hasty.metrics()["wsd_connections"] == 1, "only this question is open")
    before = descriptors(worker)
    stages = [
        b"", handshake()[:60], handshake(),
        handshake() + command("hello", rooms={"resets": None}) + frame(TEXT, b"x" * 1000)[:500],
        post("/stream", POLL),
    ]  # fmt: skip
    for n in range(300):
        one = open_to(hasty)
        one.send(stages[n % len(stages)])
        if n % 2:
            one.sock.settimeout(WAIT_S)
            if n % 5 > 1:
                one.sock.recv(100)  # the answer is under way, or more of it than we read
        reset(one)
    hasty.wait_for(lambda: hasty.metrics()["wsd_connections"] == 1, "all are gone")
    hasty.wait_for(lambda: descriptors(worker) <= before, "descriptors are free")
    assert hasty.metrics()["wsd_members"] == 0
    assert load(worker, 1.0) < 0.2, "it turns without need"


@pytest.mark.parametrize("path", ["/poll", "/stream"])
@pytest.mark.parametrize("leave", [reset, lambda one: one.sock.close()], ids=["reset", "close"])
def test_sl_13_a_reader_that_vanishes_is_noticed(hasty, path, leave):
    worker = hasty.workers()[0]
    hasty.wait_for(lambda: hasty.metrics()["wsd_connections"] == 1, "only this question is open")
    before = descriptors(worker)
    readers = [open_to(hasty).send(post(path, POLL)) for _ in range(20)]
    hasty.wait_for(lambda: hasty.metrics()["wsd_members"] == 20, "all are members")
    for one in readers:
        leave(one)
    hasty.wait_for(lambda: hasty.metrics()["wsd_members"] == 0, "none is a member any more")
    hasty.wait_for(lambda: descriptors(worker) <= before, "descriptors are free")
    # What took over their descriptors hears nothing of it.
    with open_to(hasty) as one:
        assert one.get("/").status == 200
        ann = V1(hasty.ws()).hello({"lobby": None})
        ann.say("lobby", "to whoever is there")
        ann.close()
        one.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.sock.recv(100)


def test_sl_14_connections_in_a_row_leave_nothing_behind(hasty):
    worker = hasty.workers()[0]
    address = (hasty.host, hasty.port)

    def visits(count: int) -> None:
        for _ in range(count):
            socket.create_connection(address).close()
        hasty.wait_for(lambda: hasty.metrics()["wsd_connections"] == 1, "all are gone")

    visits(2000)
    before, memory = descriptors(worker), memory_kib(worker)
    visits(4000)
    hasty.wait_for(lambda: descriptors(worker) <= before, "descriptors are free")
    # What the collector of cycles has not looked at yet is less than 6 MiB (wsd/child.py).  Kept
    # for ever, these would be 20.
    assert memory_kib(worker) - memory < 8 * 1024


def test_py_11_a_descriptor_that_is_used_again_belongs_to_the_new_one(hasty):
    """Each asks for something only it knows, and half of them do not wait for the answer."""
    for n in range(500):
        rooms = f"r{n}"
        with open_to(hasty) as hurried:
            hurried.send(f"GET /rooms/hurried{n}/messages HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        with open_to(hasty) as one:
            assert list(one.upgrade().hello(rooms)["rooms"]) == [rooms]


# -- trouble on this side


def test_lm_10_without_descriptors_it_waits_and_does_not_spin(make_daemon):
    daemon = make_daemon(workers=1)
    worker = daemon.workers()[0]
    member = V1(daemon.ws()).hello({"lobby": None})
    soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (descriptors(worker) + 10, hard))
    crowd = [socket.create_connection((daemon.host, daemon.port)) for _ in range(60)]
    daemon.wait_for(lambda: "accept_paused" in daemon.output, "it is short")
    before, began = cpu_s(worker), time.monotonic()
    for n in range(10):
        assert member.say("lobby", f"{n}")["type"] == "ok"
        time.sleep(0.2)
    assert (cpu_s(worker) - before) / (time.monotonic() - began) < 0.15
    assert daemon.output.count("accept_paused") <= 2
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
    with Raw((daemon.host, daemon.port)) as late:
        assert late.send(handshake()).answer().status == 101
    for sock in crowd:
        sock.close()
    member.close()


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(
    "error", ["ECONNABORTED", "EPROTO", "EPERM", "ENFILE", "ENOBUFS", "ENOMEM"]
)
def test_lm_11_whatever_accept_says_the_listener_survives(make_daemon, error):
    daemon = make_daemon(workers=1)
    worker = daemon.workers()[0]
    inject = f"inject=accept4:error={error}:when=1+3"  # the first of any three
    strace = subprocess.Popen(
        ["strace", "-p", str(worker), "-e", "trace=accept4", "-e", inject],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert strace.stderr is not None and "attached" in strace.stderr.readline()
        for _ in range(8):
            with open_to(daemon) as one:
                assert one.send(handshake()).answer().status == 101
    finally:
        strace.terminate()
        seen = strace.communicate()[1]
    assert f"{error} (" in seen and "INJECTED" in seen
    assert daemon.workers() == [worker]
    assert daemon.output.count("accept_paused") <= 2


def test_py_10_a_bug_met_by_one_client_ends_that_one_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WSD_FAILPOINT", "worker.after_receive:fail:0.2")
    daemon = Daemon(tmp_path / "wsd", workers=1).start()
    pids = daemon.workers()
    try:
        met = said = 0
        for n in range(200):
            with Raw((daemon.host, daemon.port)) as one:
                one.upgrade().hello("lobby")
                one.send(command("say", id=2, room="lobby", text=f"{n}"))
                while (found := one.frame()).opcode != CLOSE and found.json.get("id") != 2:
                    pass
                if found.opcode == CLOSE:
                    assert (found.code, found.reason) == (1011, "internal")
                    met += 1
                else:
                    said += 1
        assert met > 10 and said > 100
        assert daemon.workers() == pids
        assert daemon.metrics()["wsd_errors_total"] == met
        assert len(re.findall("client_failed", daemon.output)) == met
    finally:
        daemon.kill()

"""Every key of the configuration is in force: one probe for each, and the table has all of them.

A probe looks at the daemon from outside with one value and with another, and must see what each of
them means (SD-20).  Where a reload can change the key, it is a reload that changes it.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.support.daemon import Daemon
from tests.support.raw import Raw, command, frame, handshake
from wsd.chat.identity import Tokens
from wsd.config import table

LATE_S = 2.5
"""Lies between a time limit that is short here (300 ms, seen within a second more) and a long one.
"""

SECRETS = (b"a" * 64, b"b" * 64)

_numbers = itertools.count(1)


class Probe(NamedTuple):
    """``sees`` maps each value, as YAML, to what is then seen; DIR in a value is the daemon's
    directory.  ``beside`` are keys that have to have other values than usual for it."""

    look: Callable[[Daemon], Any]
    sees: dict[str, Any]
    beside: Mapping[str, str] = MappingProxyType({})


# -- looking


def room() -> str:
    return f"room{next(_numbers)}"


def raw(daemon: Daemon, **options: Any) -> Raw:
    return Raw((daemon.host, daemon.port), **options)


def status(daemon: Daemon, path: str = "/chat", extra: str = "") -> int:
    """Of a WebSocket's handshake."""
    with raw(daemon) as one:
        return one.send(handshake(path, extra=extra)).answer().status


def page(daemon: Daemon) -> str:
    with raw(daemon) as one:
        return one.get("/").body.decode()


def told(daemon: Daemon, rooms: dict[str, str | None] | None = None, **fields: Any) -> Any:
    """The answer to a hello."""
    with raw(daemon) as one:
        wanted = {} if rooms is None else {"rooms": rooms}
        one.upgrade().send(command("hello", id=1, **wanted, **fields))
        while (found := one.frame().json).get("id") != 1:
            pass
        return found


def answers(daemon: Daemon, texts: list[str], name: str = "", address: str = "") -> list[Any]:
    """What one guest, of an address of its own, is answered to its messages."""
    address = address or f"10.0.{next(_numbers)}.1"
    name = name or room()
    with raw(daemon) as one:
        one.send(handshake(extra=f"X-Forwarded-For: {address}\r\n")).answer()
        one.hello(name)
        found = []
        for n, text in enumerate(texts, 2):
            one.send(command("say", id=n, room=name, text=text))
            while (reply := one.frame().json).get("id") != n:
                pass
            found.append(reply)
        return found


def codes(daemon: Daemon, texts: list[str], **more: str) -> list[str]:
    return [reply.get("code", "ok") for reply in answers(daemon, texts, **more)]


def history(daemon: Daemon, name: str, limit: int = 50) -> list[Any]:
    with raw(daemon) as one:
        return json.loads(one.get(f"/rooms/{name}/messages?limit={limit}").body)["messages"]


def ends(one: Raw, within_s: float = LATE_S) -> bool:
    """Whether the server ends the connection in that time."""
    one.sock.settimeout(within_s)
    try:
        one.rest()
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def closed_with(daemon: Daemon, *frames: bytes) -> int:
    """The close code that answers frames; 0 if none does."""
    with raw(daemon) as one:
        one.upgrade().hello(room())
        one.send(b"".join(frames))
        one.sock.settimeout(0.5)
        try:
            return one.close_frame().code
        except TimeoutError:
            return 0


def opened(daemon: Daemon, count: int) -> int:
    """How many of ``count`` WebSockets may be open at once."""
    daemon.wait_for(lambda: daemon.info()["connections"] == 1, "nobody is here")
    all_ = [raw(daemon) for _ in range(count)]
    found = [one.send(handshake()).answer().status for one in all_]
    for one in all_:
        one.sock.close()
    return found.count(101)


def listens(path: Path) -> bool:
    try:
        with Raw(str(path)) as one:
            return one.get("/healthz").status > 0
    except OSError:
        return False


def stops_in(daemon: Daemon) -> float:
    began = time.monotonic()
    daemon.stop()
    return time.monotonic() - began


# -- probes of more than a line


def _kept(daemon: Daemon) -> int:
    """Of 12 messages, how many are there when retention has been round."""
    name = room()
    answers(daemon, [f"{n}" for n in range(12)], name=name)
    time.sleep(1.5)
    return len(history(daemon, name))


def _recovered(daemon: Daemon) -> bool:
    name = room()
    position = told(daemon, {name: None})["rooms"][name]["position"]
    answers(daemon, [f"{n}" for n in range(6)], name=name)
    return told(daemon, {name: position})["rooms"][name]["recovered"]


def _synchronous(daemon: Daemon) -> bool:
    """Whether messages wait for the disk."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    hub = daemon.pid_of("hub")
    strace = subprocess.Popen(
        ["strace", "-f", "-p", str(hub), "-e", "trace=fdatasync,fsync"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert strace.stderr is not None and "attached" in strace.stderr.readline()
    answers(daemon, [f"{n}" for n in range(10)])
    strace.terminate()
    return strace.communicate()[1].count("sync(") >= 10


def _address_is(daemon: Daemon) -> str:
    """Whose word on addresses counts: two visitors of one proxy, of whom one each may come."""
    with raw(daemon) as first, raw(daemon) as second:
        first.send(handshake(extra="X-Forwarded-For: 10.1.1.1\r\n")).answer()
        again = second.send(handshake(extra="X-Forwarded-For: 10.1.1.2\r\n")).answer()
        return "forwarded" if again.status == 101 else "the peer's"


def _from_one_address(daemon: Daemon) -> int:
    """How many guests of one address get one message each through."""
    address = f"10.0.{next(_numbers)}.1"
    return sum(codes(daemon, ["hi"], address=address) == ["ok"] for _ in range(7))


def _falls_behind(daemon: Daemon) -> bool:
    """Whether a reader that does not read is cut off from 9 MB of live messages."""
    name = room()
    before = daemon.metrics()["wsd_lagged_total"]
    with raw(daemon, receive_buffer=4096) as sleeper:
        sleeper.upgrade().hello(name)
        answers(daemon, [f"{n} " + "x" * 60_000 for n in range(150)], name=name)
        return daemon.metrics()["wsd_lagged_total"] > before


def _gives_up_writing(daemon: Daemon) -> bool:
    """Whether a client that does not read its answers is let go soon."""
    name = room()
    answers(daemon, [f"{n} " + "x" * 60_000 for n in range(10)], name=name)
    before = daemon.metrics()["wsd_closed_total.write_timeout"]
    with raw(daemon, receive_buffer=4096) as one:
        one.send(f"GET /rooms/{name}/messages HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 20)
        time.sleep(2.5)
        return daemon.metrics()["wsd_closed_total.write_timeout"] > before


def _waits_for_close(daemon: Daemon) -> bool:
    """Whether a client that does not answer a close frame keeps its connection."""
    with raw(daemon) as one:
        one.upgrade()
        assert one.close_frame().reason == "hello_timeout"
        return not ends(one)


def _keeps_alive(daemon: Daemon) -> bool:
    with raw(daemon) as one:
        one.get("/")
        return not ends(one)


def _times_out(daemon: Daemon, data: bytes) -> bool:
    with raw(daemon) as one:
        return ends(one.send(data))


def _pinged(daemon: Daemon) -> bool:
    """Whether a ping comes within two and a half seconds."""
    with raw(daemon) as one:
        one.upgrade().hello(room())
        one.sock.settimeout(2.5)
        try:
            return bool(one.next("ping"))
        except TimeoutError:
            return False


def _pong_is_due_soon(daemon: Daemon) -> bool:
    with raw(daemon) as one:
        one.upgrade().hello(room())
        one.next("ping")
        began = time.monotonic()
        assert one.close_frame().reason == "ping_timeout"
        return time.monotonic() - began < 2.2


def _poll_is_held(daemon: Daemon) -> bool:
    with raw(daemon) as one:
        began = time.monotonic()
        one.get(f"/poll?room={room()}")
        return time.monotonic() - began > 1.5


def _compresses(daemon: Daemon) -> bool:
    with raw(daemon) as one:
        one.send(handshake(extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        return "permessage-deflate" in one.answer().headers.get("sec-websocket-extensions", "")


def _announced_spread(daemon: Daemon) -> int:
    with raw(daemon) as one:
        one.upgrade().hello(room())
        daemon.signal(signal.SIGTERM)
        return one.next("bye").json["retry_ms"][1]


def _ends_in_spite_of(daemon: Daemon) -> bool:
    """Whether the daemon ends soon though a client does not answer its close frame."""
    with raw(daemon) as one:
        one.upgrade().hello(room())
        return stops_in(daemon) < 2.5


def _signed_with(daemon: Daemon) -> list[bool]:
    """Which of two secrets makes a token that says who one is."""
    tokens = [Tokens(secret, 0).make("gmyself", "Me", time.time()) for secret in SECRETS]
    return [told(daemon, {}, token=token)["uid"] == "gmyself" for token in tokens]


def _old_token_counts(daemon: Daemon) -> bool:
    secret = (daemon.directory / "secret0").read_bytes()
    token = Tokens(secret, 0).make("gmyself", "Me", time.time() - 3600)
    return told(daemon, {}, token=token)["uid"] == "gmyself"


def _logs_ends(daemon: Daemon) -> bool:
    before = len(daemon.lines)
    page(daemon)
    time.sleep(0.3)
    return any(" closed " in line for line in daemon.lines[before:])


def _log_format(daemon: Daemon) -> str:
    before = len(daemon.lines)
    with raw(daemon) as one:
        one.send(b"BAD\r\n\r\n").rest()
    line = daemon.wait_for(
        lambda: next((x for x in daemon.lines[before:] if "rejected" in x), ""), "a line"
    )
    return "json" if line.startswith("{") else "text"


# -- the probes

PROBES: dict[str, Probe] = {
    "listen": Probe(
        lambda d: listens(d.directory / "visitors.sock"),
        {'["127.0.0.1:0"]': False, '["127.0.0.1:0", "unix:DIR/visitors.sock"]': True},
    ),
    "admin": Probe(
        lambda d: [listens(d.directory / name) for name in ("a.sock", "b.sock")],
        {'"unix:DIR/a.sock"': [True, False], '"unix:DIR/b.sock"': [False, True]},
    ),
    "workers": Probe(
        lambda d: len(d.workers()), {"1": 1, "3": 3}
    ),
    "state": Probe(
        lambda d: [(d.directory / name / "wsd.db").exists() for name in ("here", "there")],
        {'"DIR/here"': [True, False], '"DIR/there"': [False, True]},
    ),
    "runtime": Probe(
        lambda d: [(d.directory / name / "hub.sock").exists() for name in ("here", "there")],
        {'"DIR/here"': [True, False], '"DIR/there"': [False, True]},
    ),
    "origins": Probe(
        lambda d: status(d, extra="Origin: https://other.example\r\n"),
        {"[]": 403, '["https://other.example"]': 101},
    ),
    "trusted_proxies": Probe(
        _address_is,
        {'["127.0.0.1"]': "forwarded", '["192.0.2.1"]': "the peer's"},
        {"limits.connections_per_address": "1"},
    ),
    "echo": Probe(lambda d: status(d, "/echo"), {"false": 404, "true": 101}),
    "page.title": Probe(
        lambda d: ["Bees" in page(d), "Wasps" in page(d)],
        {'"Bees"': [True, False], '"Wasps"': [False, True]},
    ),
    "page.default_room": Probe(
        lambda d: list(told(d)["rooms"]), {"garden": ["garden"], "forest": ["forest"]}
    ),
    "page.language": Probe(
        lambda d: 'lang="zh-CN"' in page(d), {"en": False, "zh-CN": True}
    ),
    "rooms": Probe(
        lambda d: codes(d, ["abcd"], name="short"),
        {"{}": ["ok"], "{short: {limits: {text: 3}}}": ["too_long"]},
    ),
    "history.size": Probe(_kept, {"50": 12, "5": 5}),
    "history.keep": Probe(_kept, {"1h": 12, "1s": 0}),
    "history.replay": Probe(
        lambda d: (
            name := room(),
            answers(d, ["a", "b", "c", "d"], name=name),
            told(d, {name: None})["rooms"][name]["follows"],
        )[-1],
        {"2": 2, "3": 3},
    ),
    "history.recover_max": Probe(_recovered, {"100": True, "5": False}),
    "history.page_max": Probe(
        lambda d: (
            name := room(),
            answers(d, ["a", "b", "c", "d"], name=name),
            len(history(d, name)),
        )[-1],
        {"2": 2, "3": 3},
    ),
    "durability": Probe(_synchronous, {"full": True, "normal": False}),
    "limits.text": Probe(lambda d: codes(d, ["abcd"]), {"4": ["ok"], "3": ["too_long"]}),
    "limits.message": Probe(
        lambda d: closed_with(d, frame(1, b"{" + b" " * 300)), {"1KiB": 0, "300B": 1009},
        {"limits.text": "100"},
    ),
    "limits.fragments": Probe(
        lambda d: closed_with(
            d, frame(1, b"{", fin=False), frame(0, b"", fin=False), frame(0, b"", fin=False),
            frame(0, b"}"),
        ),
        {"4": 0, "3": 1008},
    ),
    "limits.burst": Probe(
        lambda d: codes(d, list("abcd")).count("ok"), {"2": 2, "3": 3}, {"limits.every": "1h"}
    ),
    "limits.every": Probe(
        lambda d: answers(d, ["a", "b"])[1].get("retry_ms", 0) // 1_000_000,
        {"0": 0, "1h": 3, "2h": 7},
        {"limits.burst": "1"},
    ),
    "limits.address_share": Probe(
        _from_one_address, {"2": 2, "4": 4, "0": 7}, {"limits.burst": "1", "limits.every": "1h"}
    ),
    "limits.repeat": Probe(
        lambda d: codes(d, ["what is said twice"] * 2)[1], {"0": "ok", "30s": "duplicate"},
        {"limits.every": "1ms"},
    ),
    "limits.connections": Probe(lambda d: opened(d, 6), {"3": 3, "5": 5}, {"workers": "1"}),
    "limits.connections_per_address": Probe(lambda d: opened(d, 6), {"3": 3, "5": 5, "0": 6}),
    "limits.queue": Probe(
        _falls_behind, {"64KiB": True, "64MiB": False},
        {"limits.text": "100000", "limits.message": "256KiB", "durability": "normal"},
    ),
    "limits.rooms_per_connection": Probe(
        lambda d: told(d, {"a": None, "b": None, "c": None})["type"], {"3": "welcome", "2": "error"}
    ),
    "timeouts.header": Probe(
        lambda d: _times_out(d, b"GET / HTTP/1.1\r\n"), {"300ms": True, "1h": False}
    ),
    "timeouts.hello": Probe(
        lambda d: _times_out(d, handshake()), {"300ms": True, "1h": False},
        {"timeouts.close": "100ms"},
    ),
    "timeouts.body": Probe(
        lambda d: _times_out(d, b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"),
        {"300ms": True, "1h": False},
    ),
    "timeouts.write": Probe(
        _gives_up_writing, {"500ms": True, "1h": False},
        {"limits.text": "100000", "limits.message": "256KiB"},
    ),
    "timeouts.close": Probe(
        _waits_for_close, {"300ms": False, "1h": True}, {"timeouts.hello": "200ms"}
    ),
    "timeouts.keep_alive": Probe(_keeps_alive, {"300ms": False, "1h": True}),
    "ping.every": Probe(_pinged, {"1s": True, "1h": False}, {"ping.timeout": "500ms"}),
    "ping.timeout": Probe(
        _pong_is_due_soon, {"200ms": True, "3s": False}, {"ping.every": "3100ms"}
    ),
    "poll.hold": Probe(_poll_is_held, {"300ms": False, "3s": True}),
    "compression": Probe(_compresses, {"off": False, "on": True}),
    "drain.spread": Probe(_announced_spread, {"100ms": 100, "200ms": 200}),
    "drain.stop": Probe(
        _ends_in_spite_of, {"500ms": True, "30s": False}, {"timeouts.close": "4s"}
    ),
    "identity.secret_file": Probe(
        _signed_with, {'"DIR/secret0"': [True, False], '"DIR/secret1"': [False, True]}
    ),
    "identity.guest_token_life": Probe(
        _old_token_counts, {"30m": False, "2h": True}, {"identity.secret_file": '"DIR/secret0"'}
    ),
    "log.level": Probe(_logs_ends, {"info": False, "debug": True}),
    "log.format": Probe(_log_format, {"text": "text", "json": "json"}),
}  # fmt: skip

ALONE = {"drain.spread", "drain.stop", "workers", "limits.connections"}
"""Keys that each value of needs a daemon of its own for, though a reload can change them: some show
when it ends, some by the number of its workers (which tests/wire/test_resize.py changes)."""

STARTED = [key for key, row in table().rows.items() if row.key.restart or key in ALONE]
RELOADED = [key for key in PROBES if key not in STARTED]


def test_every_key_has_a_probe_that_sees_a_difference() -> None:
    assert list(PROBES) == list(table().rows)
    for key, probe in PROBES.items():
        assert len({repr(seen) for seen in probe.sees.values()}) > 1, key


def keys_for(probe: Probe, key: str, value: str, directory: Path) -> dict[str, object]:
    keys = {**probe.beside, key: value}
    return {name: text.replace("DIR", str(directory)) for name, text in keys.items()}


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon in which reloads change one key after the other."""
    daemon = Daemon(tmp_path_factory.mktemp("keys") / "wsd")
    daemon.directory.mkdir()
    for number, secret in enumerate(SECRETS):
        file = daemon.directory / f"secret{number}"
        file.write_bytes(secret)
        file.chmod(0o600)
    yield daemon.start()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def reload(daemon: Daemon, keys: dict[str, object]) -> None:
    """As far as the master is concerned; the workers follow in a moment."""
    daemon.write_config(**keys)
    before = daemon.info()["reloads"]
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: daemon.info()["reloads"] > before, "the reload")


@pytest.mark.parametrize("key", RELOADED)
def test_a_reload_puts_a_key_in_force(key: str, changing: Daemon) -> None:
    probe, usual = PROBES[key], dict(changing.keys)
    for value, seen in probe.sees.items():
        reload(changing, keys_for(probe, key, value, changing.directory))
        found = [probe.look(changing)]
        while found[-1] != seen and len(found) < 4:
            time.sleep(0.5)
            found.append(probe.look(changing))
        assert found[-1] == seen, (value, found)
    changing.keys = usual
    reload(changing, {})


@pytest.mark.parametrize("key", STARTED)
def test_a_start_puts_a_key_in_force(
    key: str, tmp_path: Path, make_daemon: Callable[..., Daemon]
) -> None:
    probe = PROBES[key]
    for number, (value, seen) in enumerate(probe.sees.items()):
        daemon = make_daemon(**keys_for(probe, key, value, tmp_path / f"wsd{number}"))
        assert probe.look(daemon) == seen, value
        daemon.stop()

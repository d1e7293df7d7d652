"""What an administrator has: health, metrics, commands, and a log that tells no secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.daemon import Daemon
from tests.support.raw import TEXT, Raw, frame, handshake


def test_healthy_and_ready(daemon):
    assert daemon.admin("/healthz") == (200, b"ok\n")
    assert daemon.admin("/readyz") == (200, b"ready\n")


def test_counters_move(make_daemon, join):
    daemon = make_daemon(limits__text=50)
    before = daemon.metrics()
    assert before["wsd_ready"] == 4  # master, hub, two workers
    assert before["wsd_starts_total"] == 4
    assert before["wsd_links"] == before["wsd_link_up"] == 2
    ann, bo = join(daemon, "lobby"), join(daemon, "lobby")
    ann.say("lobby", "hello", cid="c1")
    ann.say("lobby", "hello", cid="c1")
    bo.take("message")
    Raw((daemon.host, daemon.port)).send(b"BAD\r\n\r\n").rest()
    join(daemon, "lobby", after=ann.position("lobby"))
    join(daemon, "lobby", after="x.1")
    daemon.cli("reload")
    daemon.path.write_text("nonsense: 1\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(lambda: daemon.info()["reloads_failed"], "the reload is refused")
    after = daemon.metrics()
    moved = {name: after[name] - before[name] for name in after}
    assert moved["wsd_stored_total"] == 1
    assert moved["wsd_duplicates_total"] == 1
    assert moved["wsd_published_total"] == 2
    assert moved["wsd_copies_total"] == 2
    assert moved["wsd_recovered_total"] == 1
    assert moved["wsd_not_recovered_total"] == 1
    assert moved["wsd_reloads_total"] == 1
    assert moved["wsd_reloads_failed_total"] == 1
    assert moved["wsd_http_rejected_total.bad_request_line"] == 1
    assert moved["wsd_closed_total.refused"] == 1
    assert moved["wsd_commands_total"] == 6
    assert moved["wsd_members"] == 4
    assert moved["wsd_accepted_total"] >= 5
    assert moved["wsd_commits_total"] >= 1
    os.kill(daemon.pid_of("worker 0"), signal.SIGKILL)
    daemon.wait_for(lambda: daemon.metrics()["wsd_starts_total"] == 5, "a replacement")
    daemon.wait_for(lambda: daemon.metrics()["wsd_ready"] == 4, "and it is ready")
    assert daemon.metrics()["wsd_stored_total"] == after["wsd_stored_total"]


def test_every_refusal_and_every_end_is_counted_by_its_reason(make_daemon, join):
    daemon = make_daemon(limits__text=50, log__level="debug", timeouts__hello="300ms")
    before = daemon.metrics()
    address = daemon.host, daemon.port
    ann = join(daemon, "lobby")
    assert ann.ask("say", room="lobby", text="x" * 51)["code"] == "too_long"
    assert ann.ask("say", room="tech", text="hi")["code"] == "unknown_room"
    ann.peer.send("nonsense")
    ann.take("error")
    Raw(address).send(b"GET / HTTP/1.1\r\n\r\n").rest()
    Raw(address).send(b"GET /../x HTTP/1.1\r\nHost: wsd.test\r\n\r\n").rest()
    Raw(address).send(handshake()).send(frame(TEXT, b"\xff")).rest()
    assert Raw(address).upgrade().close_frame().reason == "hello_timeout"
    ann.close()
    expected = {
        "wsd_refused_total.too_long": 1,
        "wsd_refused_total.unknown_room": 1,
        "wsd_refused_total.bad": 1,
        "wsd_http_rejected_total.missing_host": 1,
        "wsd_http_rejected_total.bad_path": 1,
        "wsd_closed_total.refused": 2,
        "wsd_closed_total.invalid_utf8": 1,
        "wsd_closed_total.hello_timeout": 1,
        "wsd_closed_total.client_closed": 1,
    }

    def moved() -> dict[str, float]:
        after = daemon.metrics()
        return {name: after[name] - before[name] for name in expected}

    daemon.wait_for(lambda: moved() == expected, "all of it is counted")
    for name in expected:
        metric, _, reason = name.partition(".")
        event = metric.removeprefix("wsd_").removesuffix("_total").removeprefix("http_")
        line = re.compile(rf" {event} .*reason={reason}\b")
        daemon.wait_for(lambda line=line: line.search(daemon.output), f"the log's line of {name}")
    assert not any(name.endswith(".other") and value for name, value in daemon.metrics().items())


def test_lg_05_a_storm_of_bad_requests_is_a_few_lines(make_daemon):
    daemon = make_daemon(workers=1)
    for _ in range(2000):
        with Raw((daemon.host, daemon.port)) as raw:
            raw.send(b"BAD\r\n\r\n").rest()
    assert daemon.metrics()["wsd_http_rejected_total.bad_request_line"] == 2000
    assert daemon.output.count(" rejected ") < 20


def test_connections_come_and_go_in_the_count(daemon, join):
    def connections() -> float:
        return daemon.metrics()["wsd_connections"]

    empty = connections()
    clients = [join(daemon, "lobby") for _ in range(5)]
    assert connections() == empty + 5
    with Raw((daemon.host, daemon.port)) as one:
        one.get("/")
        assert connections() == empty + 6
    for client in clients:
        client.close()
    daemon.wait_for(lambda: connections() == empty, "nobody is left")
    assert daemon.metrics()["wsd_members"] == 0


# -- commands


def test_say_appears_in_the_room(daemon, join):
    ann = join(daemon, "tech")
    done = daemon.cli("say", "tech", "grüß", "<b>Gott</b>")
    assert (done.returncode, done.stderr) == (0, "")
    message = ann.take("message")
    assert message["text"] == "grüß <b>Gott</b>"
    assert (message["name"], message["role"]) == ("wsd", "owner")
    daemon.cli("say", "tech", "x", "--name", "Boss")
    assert ann.take("message")["name"] == "Boss"
    for words in (("a b", "x"), ("tech", "x" * 2000), ("tech", " "), ("tech", "x", "--name", "x")):
        wrong = daemon.cli("say", *words)
        assert wrong.returncode == 1 and wrong.stderr.startswith("wsd: "), words
        assert wrong.stderr.count("\n") == 1
    assert ann.say("tech", "next")["seq"] == 3


def test_tail_prints_what_is_said(daemon, join):
    ann = join(daemon, "tech", name="Ann")
    tail = subprocess.Popen(
        [sys.executable, "-m", "wsd", "tail", "tech", "-c", str(daemon.path)],
        stdout=subprocess.PIPE, text=True, cwd=daemon.directory,
    )  # fmt: skip
    lines: list[str] = []
    threading.Thread(
        target=lambda: lines.extend(iter(tail.stdout.readline, "")), daemon=True
    ).start()
    try:
        daemon.wait_for(lambda: daemon.metrics()["wsd_members"] == 2, "it watches")
        ann.say("tech", "hello \x1b[31mred\x1b[0m\nsecond line")
        ann.ask("edit", room="tech", seq=1, text="better")
        ann.ask("delete", room="tech", seq=1)
        daemon.wait_for(lambda: len(lines) >= 3, "three lines")
    finally:
        tail.kill()
        tail.wait()
    assert lines[0].endswith("<Ann> hello [31mred[0m\\x0asecond line\n")
    assert lines[1].endswith("1 now reads: better\n")
    assert lines[2].endswith("delete 1\n")
    assert "\x1b" not in "".join(lines)
    daemon.wait_for(lambda: daemon.metrics()["wsd_members"] == 1, "it is gone")
    # Nobody in the room saw that somebody watched.
    assert max(v["online"] for v in ann.seen if v["type"] == "presence") == 1


def test_rooms_and_who(daemon, join):
    ann, bo = join(daemon, "lobby", "tech", name="Ann"), join(daemon, "lobby", name="Bo")
    ann.say("tech", "x")
    daemon.wait_for(lambda: "2 online" in daemon.cli("rooms").stdout, "both are counted")
    rooms = [line.split() for line in daemon.cli("rooms").stdout.splitlines()]
    assert rooms == [
        ["lobby", "2", "online", "0", "events"],
        ["tech", "1", "online", "1", "events"],
    ]
    who = daemon.cli("who", "lobby").stdout.splitlines()
    assert sorted(who) == sorted([f"{ann.uid} Ann", f"{bo.uid} Bo"])
    assert daemon.cli("who", "empty").stdout == ""


def test_status_of_a_running_and_of_no_daemon(daemon):
    status = daemon.cli("status")
    assert status.returncode == 0
    assert f"ready, pid {daemon.pid}" in status.stdout
    assert "hub" in status.stdout and "worker 1" in status.stdout
    daemon.stop()
    assert daemon.cli("status").returncode == 3
    for words in (("say", "lobby", "x"), ("rooms",), ("who", "lobby"), ("reload",), ("tail", "x")):
        gone = daemon.cli(*words)
        assert gone.returncode == 1 and gone.stderr.startswith("wsd: no daemon"), words


def test_the_api_is_not_for_tcp(make_daemon, tmp_path, join):
    daemon = make_daemon(admin=f'["unix:{tmp_path}/a.sock", "127.0.0.1:0"]')
    port = next(port for port in listening(daemon) if port != daemon.port)
    with Raw(("127.0.0.1", port)) as one:
        assert one.get("/healthz").status == 200
        assert one.get("/readyz").status == 200
        assert b"wsd_connections" in one.get("/metrics").body
        for path in ("info", "rooms", "who?room=lobby", "tail?room=lobby", "say"):
            assert one.get(f"/api/v1/{path}").status == 404
        body = '{"room":"lobby","text":"from a page"}'
        answer = one.get("/api/v1/say", f"Content-Length: {len(body)}\r\n\r\n{body}", method="POST")
        assert answer.status == 404
    with Raw(("127.0.0.1", port)) as one:
        assert one.send(handshake()).answer().status != 101
    assert oct((tmp_path / "a.sock").stat().st_mode & 0o777) == "0o600"
    assert join(daemon, "lobby").welcome["rooms"]["lobby"]["position"].endswith(".0")


def listening(daemon: Daemon) -> set[int]:
    inodes = set()
    for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
        target = os.readlink(f"/proc/{daemon.pid}/fd/{fd}")
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    with open("/proc/net/tcp") as file:
        lines = [line.split() for line in file.readlines()[1:]]
    return {int(f[1].split(":")[1], 16) for f in lines if f[9] in inodes and f[3] == "0A"}


@pytest.mark.parametrize("body", ["", "x", "[]", "5", '{"room":5}', "{}", '{"room":"lobby"}'])
def test_wrong_calls_of_the_api_are_answered(daemon, body):
    with Raw(str(daemon.directory / "run" / "admin.sock")) as one:
        extra = f"Content-Length: {len(body)}\r\n\r\n{body}"
        assert one.get("/api/v1/say", extra, method="POST").status == 400


# -- the log


@pytest.mark.parametrize("format_", ["text", "json"])
def test_the_log_has_no_words_and_no_tokens(make_daemon, join, format_):
    daemon = make_daemon(log__level="debug", log__format=format_)
    ann = join(daemon, "lobby", name="Secretname")
    ann.say("lobby", "secret text")
    ann.send("say", room="lobby", text="secret text" * 200, id=70)
    ann.peer.send('{"type":"secret text"}')
    ann.ask("edit", room="lobby", seq=1, text="secret edit")
    join(daemon, "lobby", token=ann.token)
    daemon.cli("say", "lobby", "secret words")
    with Raw((daemon.host, daemon.port)) as one:
        one.send(b"GET /secret\x1b[31m\r\nlevel=error HTTP/1.1\r\n\r\n").rest()
    with Raw((daemon.host, daemon.port)) as one:
        one.upgrade().send(b"\x81\x0bsecret text").close_frame()
    ann.close()
    hub = daemon.pid_of("hub")
    os.kill(hub, signal.SIGKILL)
    time.sleep(0.5)
    assert daemon.stop() == 0
    lines = [line for line in daemon.output.splitlines() if "wsd: serving on" not in line]
    assert len(lines) > 20
    assert "secret" not in daemon.output.lower().replace("state/secret", "")
    assert ann.token not in daemon.output
    assert "\x1b" not in daemon.output
    assert any("bad_" in line or "rejected" in line for line in lines)
    for line in lines:
        assert line.isascii()
        if format_ == "json":
            entry = json.loads(line)
            assert {"time", "level", "process", "event"} <= set(entry)
        else:
            stamp, level, process = line.split()[:3]
            assert stamp.endswith("Z") and "T" in stamp, line
            assert level in ("debug", "info", "warning", "error"), line
            assert process in ("master", "hub", "worker.0", "worker.1"), line

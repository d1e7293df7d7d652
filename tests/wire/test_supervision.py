"""Processes are killed, stopped and signalled; who is connected should not notice."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.clients import V1
from tests.support.daemon import Daemon, children_of, title_of
from tests.support.raw import CLOSE, Raw, command, split


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def whose(daemon: Daemon, client: V1) -> str:
    """The name of the worker that serves ``client``, from the sockets' inodes."""
    sock = client.peer._ws.socket  # of websockets
    port = sock.getsockname()[1]
    ends = f":{daemon.port:04X}", f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # The table may change while it is read, which shows a line twice; old connections have inode 0.
    (inode,) = {f[9] for f in lines if (f[1][8:], f[2][8:]) == ends} - {"0"}
    for pid in daemon.workers():
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                    return title_of(pid).removeprefix("wsd: ")
            except OSError:
                continue
    raise AssertionError("nobody has the connection")


def one_at_each(daemon: Daemon, join, room: str = "lobby") -> dict[str, V1]:
    """A client at each worker."""
    found: dict[str, V1] = {}
    for _ in range(60):
        client = join(daemon, room)
        found.setdefault(whose(daemon, client), client)
        if len(found) == len(daemon.workers()):
            return found
    raise AssertionError("the kernel does not spread connections over the workers")


def replaced(daemon: Daemon, name: str, pid: int, since: float, timeout: float = 10) -> float:
    """Wait until the process ``name`` is another than ``pid`` and ready; the seconds it took."""

    def done() -> bool:
        row = next(p for p in daemon.info()["processes"] if p["name"] == name)
        return row["pid"] not in (0, pid) and row["ready"]

    daemon.wait_for(done, f"{name} is replaced", timeout)
    return time.monotonic() - since


def test_processes_have_their_titles(daemon):
    assert title_of(daemon.pid) == "wsd: master"
    titles = sorted(title_of(pid) for pid in children_of(daemon.pid))
    assert titles == ["wsd: hub", "wsd: worker 0", "wsd: worker 1"]


def test_a_killed_worker_is_replaced_and_only_its_own_clients_notice(make_daemon, join):  # SU-01
    daemon = make_daemon()
    times = []
    for _ in range(4):
        at = one_at_each(daemon, join)
        victim, other = at["worker 0"], at["worker 1"]
        pid = daemon.pid_of("worker 0")
        os.kill(pid, signal.SIGKILL)
        times.append(replaced(daemon, "worker 0", pid, time.monotonic()))
        assert victim.closed(2).code is None
        position = other.position("lobby")
        back = join(daemon, "lobby", token=victim.token, after=position)
        assert back.uid == victim.uid
        seq = other.say("lobby", "still here")["seq"]
        assert back.take("message", when=lambda v, seq=seq: v["seq"] == seq)
        other.close()
    print(f"\nkill -9 of a worker to its replacement: {', '.join(f'{t:.2f}' for t in times)} s")
    assert max(times) < 2
    # With both dead at once no client is left, and nobody may be counted any more but who asks.
    pids = {name: daemon.pid_of(name) for name in ("worker 0", "worker 1")}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for name, pid in pids.items():
        replaced(daemon, name, pid, time.monotonic())
    daemon.wait_for(lambda: daemon.info()["connections"] <= 1, "the places of the dead are free")


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM])
def test_other_deaths_of_a_worker(make_daemon, join, signum):  # SU-02
    daemon = make_daemon()
    other = one_at_each(daemon, join)["worker 1"]
    pid = daemon.pid_of("worker 0")
    os.kill(pid, signum)
    replaced(daemon, "worker 0", pid, time.monotonic())
    assert other.say("lobby", "undisturbed")["type"] == "ok"
    how = "status 0" if signum == signal.SIGTERM else f"signal {signum.name}"
    daemon.wait_for(lambda: f'child="worker 0" how="{how}"' in daemon.output, "the log says how")
    if signum != signal.SIGTERM:
        daemon.wait_for(lambda: "Fatal Python error" in daemon.output, "the stack dump")


def test_signals_from_outside_do_not_end_a_child(daemon, join):  # SU-35
    client = join(daemon, "lobby")
    pids = children_of(daemon.pid)
    for pid in pids:
        for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT,
                       signal.SIGPIPE, signal.SIGCHLD, signal.SIGWINCH):  # fmt: skip
            os.kill(pid, signum)
    time.sleep(0.5)
    assert children_of(daemon.pid) == pids
    assert client.say("lobby", "here")["seq"] == 1


def test_signals_that_mean_nothing_do_not_end_the_master(daemon, join):
    client = join(daemon, "lobby")
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGWINCH):
        daemon.signal(signum)
        time.sleep(0.1)
    assert daemon.process.poll() is None
    assert client.say("lobby", "here")["seq"] == 1


def test_what_hangs_is_replaced_and_leaves_its_stack(make_daemon, join):  # SU-04, SU-21
    """A worker of one daemon and the hub of another, in the same ten seconds."""
    one, two = make_daemon(), make_daemon()
    at = one_at_each(one, join)
    ann = join(two, "lobby")
    ann.say("lobby", "before")
    worker, hub = one.pid_of("worker 0"), two.pid_of("hub")
    os.kill(worker, signal.SIGSTOP)
    os.kill(hub, signal.SIGSTOP)
    began = time.monotonic()
    ann.send("say", id=77, room="lobby", text="meanwhile", cid="c")
    while time.monotonic() - began < 9:
        assert at["worker 1"].say("lobby", "undisturbed")["type"] == "ok"
        time.sleep(0.5)
        assert alive(worker) and alive(hub), "killed too early"
    after = replaced(one, "worker 0", worker, began, timeout=8)
    print(f"\na stopped worker was replaced after {after:.1f} s")
    assert 9 < after < 15
    assert f'hung child="worker 0" pid={worker}' in one.output
    for daemon in (one, two):
        daemon.wait_for(lambda d=daemon: "Fatal Python error: Aborted" in d.output, "the dump")
        daemon.wait_for(lambda d=daemon: "wsd/net/loop.py" in d.output, "the stack in it")
    assert at["worker 1"].say("lobby", "undisturbed")["type"] == "ok"
    assert ann.take("ok", when=lambda v: v["id"] == 77, timeout=6)["seq"] == 2
    assert two.pid_of("hub") != hub
    assert [e["text"] for e in ann.take_events(2)] == ["before", "meanwhile"]


def test_nobody_is_killed_after_a_sleep(make_daemon, join):  # SU-06
    """Of one daemon the master sleeps, of another everybody, as when a machine is suspended."""
    one, two = make_daemon(), make_daemon()
    clients = one_at_each(one, join)
    other = join(two, "lobby")
    before = children_of(one.pid)
    pids = [two.pid, *children_of(two.pid)]
    for pid in (one.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(12)
    for client in clients.values():  # the master is not needed for talking
        assert client.say("lobby", "the master sleeps")["type"] == "ok"
    one.signal(signal.SIGCONT)
    two.signal(signal.SIGCONT)
    time.sleep(0.3)  # the master wakes first, and sees the others' old heartbeats
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    time.sleep(2.5)
    assert children_of(one.pid) == before
    assert [two.pid, *children_of(two.pid)] == pids
    assert "hung" not in one.output + two.output
    for client in (*clients.values(), other):
        assert client.say("lobby", "good morning")["type"] == "ok"


def test_a_stopped_hub_keeps_everybody_waiting_and_nobody_out(make_daemon, join):  # SU-21
    daemon = make_daemon(ping__every="2s", ping__timeout="1s")
    clients = list(one_at_each(daemon, join).values())
    hub = daemon.pid_of("hub")
    os.kill(hub, signal.SIGSTOP)
    for number, client in enumerate(clients):
        for n in range(80):  # more than may be unanswered
            client.send("say", id=n + 100, room="lobby", text="x", cid=f"{number}.{n}")
    status = daemon.wait_for(
        lambda: daemon.admin("/readyz")[0] == 503, "readyz says so while the hub hangs", 6
    )
    assert status and daemon.admin("/healthz")[0] == 200
    time.sleep(1.5)  # longer than a pong may take
    os.kill(hub, signal.SIGCONT)
    for client in clients:
        seqs = [client.take("ok", when=lambda v, n=n: v["id"] == n + 100)["seq"] for n in range(80)]
        assert seqs == sorted(set(seqs))
        client.take_events(160)
        assert [e["seq"] for e in client.events()] == list(range(1, 161))
    assert daemon.pid_of("hub") == hub
    daemon.wait_for(lambda: daemon.admin("/readyz")[0] == 200, "ready again")


def test_the_death_of_the_master_leaves_nothing_behind(make_daemon, join):  # SU-30
    port = free_port()
    daemon = make_daemon(listen=f'["127.0.0.1:{port}"]')
    ann = join(daemon, "lobby")
    acknowledged = 0
    children = children_of(daemon.pid)
    stopped = children[1]
    for number in range(200):
        ann.send("say", id=number + 100, room="lobby", text=f"m{number}", cid=f"c{number}")
    for number in range(200):
        if number == 100:
            os.kill(stopped, signal.SIGSTOP)  # even one that hears nothing must go
            os.kill(daemon.pid, signal.SIGKILL)
            began = time.monotonic()
        try:
            ann.take("ok", when=lambda v, n=number: v["id"] == n + 100, timeout=2)
        except Exception:
            break
        acknowledged += 1
    while any(alive(pid) for pid in children):
        assert time.monotonic() - began < 5, "an orphan is left"
        time.sleep(0.01)
    print(f"\nkill -9 of the master: everybody gone after {time.monotonic() - began:.2f} s, "
          f"{acknowledged} acknowledged")  # fmt: skip
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    daemon.process.wait()
    daemon.start()  # over the socket files that nobody removed
    back = join(daemon, "lobby", token=ann.token)
    page = back.ask("history", room="lobby", limit=200)["messages"]
    texts = [m["text"] for m in page]
    assert texts[:acknowledged] == [f"m{n}" for n in range(acknowledged)]
    assert [m["seq"] for m in page] == list(range(1, len(page) + 1))
    assert back.say("lobby", "again", cid="c3")["seq"] == 4  # retries still are


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_second_daemon_finds_the_place_taken(daemon, tmp_path, join):
    """On the same address, and on the same state: one line, and the first is not disturbed."""
    client = join(daemon, "lobby")
    config = tmp_path / "second.yaml"
    for text, word in (
        (f'listen: ["127.0.0.1:{daemon.port}"]\nstate: {tmp_path}/a\nruntime: {tmp_path}/b\n',
         "Address already in use"),
        (f'listen: ["127.0.0.1:0"]\nstate: {daemon.directory}/state\nruntime: {tmp_path}/b\n',
         "another"),
        (f'listen: ["127.0.0.1:0"]\nstate: {tmp_path}/a\nruntime: {daemon.directory}/run\n',
         "another"),
    ):  # fmt: skip
        config.write_text(text)
        second = subprocess.run(
            [sys.executable, "-m", "wsd", "run", "-c", str(config)],
            capture_output=True, text=True, timeout=20, cwd=tmp_path,
        )  # fmt: skip
        assert second.returncode == 1
        assert word in second.stderr and "serving on" not in second.stdout
        assert client.say("lobby", "undisturbed")["type"] == "ok"
        assert daemon.cli("status").returncode == 0


# -- reload


def reload(daemon: Daemon, **keys: object) -> subprocess.CompletedProcess:
    daemon.write_config(**keys)
    return daemon.cli("reload")


def test_a_change_takes_effect_for_those_who_are_here(make_daemon, join, library):
    daemon = make_daemon()
    client = join(daemon, "lobby", library=library)
    pids = children_of(daemon.pid)
    assert client.say("lobby", "x" * 1000)["type"] == "ok"
    done = reload(daemon, limits__text=20, log__format="json")
    assert (done.returncode, done.stdout) == (0, "wsd: reloaded\n")
    daemon.wait_for(
        lambda: client.ask("say", room="lobby", text="x" * 21)["code"] == "too_long", "the limit"
    )
    assert client.say("lobby", "x" * 20)["type"] == "ok"
    assert reload(daemon, limits__text=21).returncode == 0
    time.sleep(0.1)
    assert client.say("lobby", "x" * 21)["type"] == "ok"
    assert children_of(daemon.pid) == pids


def test_a_replacement_has_the_settings_that_are_in_force(make_daemon, join):
    daemon = make_daemon()
    reload(daemon, limits__text=20)
    for name in ("worker 0", "worker 1", "hub"):
        pid = daemon.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        replaced(daemon, name, pid, time.monotonic())
    for client in one_at_each(daemon, join).values():
        assert client.ask("say", room="lobby", text="x" * 21)["code"] == "too_long"


def test_what_needs_a_restart_is_refused_by_name_and_nothing_else_changes(make_daemon, join):
    daemon = make_daemon()
    client = join(daemon, "lobby")
    port = free_port()
    state = daemon.directory / "elsewhere"
    state.mkdir()
    done = reload(daemon, limits__text=20, state=state, listen=f'["127.0.0.1:{port}"]')
    assert done.returncode == 1
    assert "state" in done.stderr and "listen" in done.stderr and "restart" in done.stderr
    assert "limits" not in done.stderr
    assert client.say("lobby", "x" * 21)["type"] == "ok"
    assert list(state.iterdir()) == []
    daemon.wait_for(lambda: "reload_refused" in daemon.output, "the log says so")


def test_a_big_configuration_reloads_as_well(make_daemon, join):
    daemon = make_daemon()
    client = join(daemon, "lobby")
    pids = children_of(daemon.pid)
    rooms = "".join(
        f"  room-number-{n}: {{history: {{size: 1000, replay: 20, recover_max: 100}},"
        f' limits: {{text: 100}}, origins: ["https://a{n}.example.com"]}}\n'
        for n in range(5000)
    )
    daemon.write_config(f"rooms:\n{rooms}")
    assert daemon.path.stat().st_size < 1024 * 1024
    done = daemon.cli("reload", timeout=30)
    assert done.returncode == 0, done
    time.sleep(0.5)
    assert children_of(daemon.pid) == pids, daemon.output
    other = join(daemon, "room-number-4999")
    assert other.ask("say", room="room-number-4999", text="x" * 101)["code"] == "too_long"
    assert client.say("lobby", "x" * 101)["type"] == "ok"


def test_twenty_reloads_in_a_row_refuse_nobody(make_daemon, join):  # SU-11, SU-33
    daemon = make_daemon()
    client = join(daemon, "lobby")
    pids = children_of(daemon.pid)
    stop = threading.Event()
    served, trouble = [0], []

    def visit() -> None:
        while not stop.is_set():
            try:
                with Raw((daemon.host, daemon.port)) as one:
                    served[0] += one.get("/static/page.css", "Connection: close\r\n").status == 200
            except (OSError, EOFError) as error:
                trouble.append(repr(error))

    visitors = [threading.Thread(target=visit) for _ in range(2)]
    for thread in visitors:
        thread.start()
    for _ in range(20):
        daemon.signal(signal.SIGHUP)
        time.sleep(0.05)
    for _ in range(50):
        daemon.signal(signal.SIGHUP)
    time.sleep(0.3)
    stop.set()
    for thread in visitors:
        thread.join()
    print(f"\n70 reloads: {served[0]} connections served, {len(trouble)} in trouble")
    assert trouble == [] and served[0] > 100
    assert daemon.info()["reloads"] >= 15
    assert children_of(daemon.pid) == pids
    assert client.say("lobby", "undisturbed")["type"] == "ok"


# -- stop


def test_everybody_is_told_and_let_go_evenly(make_daemon):  # BP-22
    daemon = make_daemon(drain__spread="2s")
    crowd = []
    for _ in range(200):
        one = Raw((daemon.host, daemon.port)).upgrade()
        one.hello("lobby")
        crowd.append(one)
    daemon.signal(signal.SIGTERM)
    began = time.monotonic()
    for one in crowd:
        bye = one.next("bye").json
        assert bye["code"] == 3001 and bye["reason"] == "restart"
        assert bye["retry_ms"] == [0, 2000]
    assert time.monotonic() - began < 1, "not everybody was told at once"
    closed_at: dict[int, float] = {}
    waiting = {one.sock.fileno(): one for one in crowd}
    ready = list(waiting)
    while waiting:
        assert time.monotonic() - began < 10
        for fd in ready:
            one = waiting[fd]
            one.frames += split(one.buffer)
            closes = [found for found in one.frames if found.opcode == CLOSE]
            if closes:
                assert (closes[0].code, closes[0].reason) == (1012, "restart")
                closed_at[fd] = time.monotonic() - began
                one.sock.close()
                del waiting[fd]
        ready = select.select(list(waiting), [], [], 1)[0]
        for fd in ready:
            assert waiting[fd].more(), "closed without a close frame"
    tenths = [0] * 30
    for moment in closed_at.values():
        tenths[min(29, int(moment * 10))] += 1
    print(f"\nclosed in each tenth of a second: {tenths[:24]}")
    assert max(closed_at.values()) < 3
    assert max(closed_at.values()) > 1.5
    assert max(tenths) <= 3 * 200 / 20
    assert daemon.process.wait(10) == 0


def test_what_was_accepted_is_answered_before_the_end(make_daemon, join):  # SU-34
    daemon = make_daemon()
    clients = list(one_at_each(daemon, join).values())
    for client in clients:
        for number in range(60):
            client.send("say", id=number + 100, room="lobby", text="x", cid=f"c{number}")
        client.take("ok")
    daemon.signal(signal.SIGTERM)
    answered = set()
    for client in clients:
        assert client.closed(2).code == 1012
        answered |= {(client.uid, v["id"] - 100) for v in client.seen if v["type"] == "ok"}
    assert daemon.process.wait(10) == 0
    daemon.start()
    reader = join(daemon, "lobby")
    stored = reader.ask("history", room="lobby", limit=200)["messages"]
    assert len(answered) == len(stored), "stored and not answered, or the reverse"


def test_nothing_follows_a_close_frame(make_daemon):
    """RFC 6455 section 5.5.1, in a room where others go on talking."""
    daemon = make_daemon(drain__spread="1s", workers=1, timeouts__close="1s")
    address = daemon.host, daemon.port
    talkers = [Raw(address).upgrade() for _ in range(30)]
    for one in talkers:
        one.hello("lobby")
        one.sock.settimeout(0.5)
    daemon.signal(signal.SIGTERM)
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        for number, one in enumerate(talkers):
            try:
                one.send(command("say", id=number + 10, room="lobby", text="x"))
            except OSError:
                pass
        time.sleep(0.02)
    behind = 0
    for one in talkers:  # none of them has answered its close frame
        try:
            one.rest()
        except OSError:
            pass
        frames = one.frames + split(one.buffer)
        at = next((i for i, found in enumerate(frames) if found.opcode == CLOSE), None)
        assert at is not None
        behind += len(frames) - at - 1
        one.sock.close()
    assert behind == 0
    assert daemon.process.wait(10) == 0


@pytest.mark.parametrize("signals", [
    (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,), (signal.SIGTERM, signal.SIGINT),
])  # fmt: skip
def test_in_a_hurry(make_daemon, signals):  # SU-33
    daemon = make_daemon(drain__spread="20s")
    crowd = [Raw((daemon.host, daemon.port)).upgrade() for _ in range(20)]
    for one in crowd:
        one.hello("lobby")
    began = time.monotonic()
    for signum in signals:
        daemon.signal(signum)
        time.sleep(0.2)
    for one in crowd:
        assert one.close_frame().code == 1012
    assert daemon.process.wait(10) == 0
    assert time.monotonic() - began < 4
    for one in crowd:
        one.sock.close()


def test_a_stop_without_clients_is_quick(make_daemon):
    daemon = make_daemon(drain__spread="20s")
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 2
    assert not (daemon.directory / "run" / "admin.sock").exists()
    assert not (daemon.directory / "run" / "hub.sock").exists()


def test_a_stop_with_a_hung_hub_and_a_hung_worker_ends_all_the_same(make_daemon, join):
    daemon = make_daemon(drain__stop="2s")
    client = join(daemon, "lobby")
    client.send("say", id=50, room="lobby", text="x")
    for name in ("hub", "worker 1"):
        os.kill(daemon.pid_of(name), signal.SIGSTOP)
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    children = children_of(daemon.pid)
    daemon.process.wait(15)
    assert time.monotonic() - began < 12
    assert not any(alive(pid) for pid in children)


def test_a_reload_during_the_stop_is_ignored(make_daemon):
    daemon = make_daemon(drain__spread="1s")
    one = Raw((daemon.host, daemon.port)).upgrade()
    one.hello("lobby")
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGHUP)
    one.close_frame()
    one.sock.close()
    assert daemon.process.wait(10) == 0


def test_who_asked_before_the_stop_is_answered(make_daemon):
    """A request that waited in the backlog when the stop came gets an answer, not an empty end."""
    daemon = make_daemon(workers=1)
    (worker,) = daemon.workers()
    os.kill(worker, signal.SIGSTOP)
    time.sleep(0.1)
    waiting = [Raw((daemon.host, daemon.port)) for _ in range(20)]
    for one in waiting:
        one.send(b"GET /static/page.css HTTP/1.1\r\nHost: a\r\n\r\n")
    daemon.signal(signal.SIGTERM)
    time.sleep(0.3)
    os.kill(worker, signal.SIGCONT)
    statuses = []
    for one in waiting:
        try:
            statuses.append(one.answer().status)
        except (OSError, EOFError) as error:
            statuses.append(repr(error))
        one.sock.close()
    assert set(statuses) <= {200, 503}, statuses
    assert daemon.process.wait(10) == 0


def test_a_worker_short_of_descriptors_outlives_the_hub(make_daemon):
    daemon = make_daemon(workers=1)
    (worker,) = daemon.workers()
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, 4096))
    os.kill(daemon.pid_of("hub"), signal.SIGKILL)
    daemon.wait_for(lambda: "hub_unreachable" in daemon.output, "the failed contact")
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (4096, 4096))
    daemon.wait_for(lambda: daemon.info()["ready"], "contact", 10)
    assert daemon.workers() == [worker]


def test_a_master_short_of_descriptors_starts_a_worker_later(make_daemon):
    daemon = make_daemon(workers=2)
    used = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used, 4096))
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_for(lambda: "fork_failed" in daemon.output, "the shortage")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    daemon.wait_for(lambda: len(daemon.workers()) == 2, "two workers", 10)

"""`workers` goes up and down by reload, under a stream of new connections: none is lost."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time

import pytest

from tests.support.daemon import children_of, title_of
from wsd.master import STEER_S


class Visitors:
    """Ask for the page again and again, each time on a new connection."""

    def __init__(self, port, count=4, pause_s=0.004):
        self.port = port
        self.pause_s = pause_s
        self.served = 0
        self.lost = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _visit(self):
        while not self.stopped.is_set():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/static/icon.svg", headers={"Connection": "close"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.lost.append(answer.status)
                self.served += 1
            except OSError as error:
                self.lost.append(repr(error))
            finally:
                connection.close()
            time.sleep(self.pause_s)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(15)


def test_workers_come_and_go_without_losing_a_connection(make_daemon):
    daemon = make_daemon(workers=2, drain__spread="100ms")
    visitors = Visitors(daemon.port)
    try:
        for workers in (4, 1, 3):
            daemon.write_config(workers=workers)
            assert daemon.cli("reload").returncode == 0
            daemon.wait_for(lambda n=workers: len(daemon.workers()) == n, f"{workers} workers")
            time.sleep(0.5)
    finally:
        visitors.stop()
    print(f"{visitors.served} connections served while workers went 2, 4, 1, 3")
    assert visitors.served > 300
    assert visitors.lost == []
    assert daemon.info()["ready"]
    assert [p["name"] for p in daemon.info()["processes"]] == [
        "master", "hub", "worker 0", "worker 1", "worker 2",
    ]  # fmt: skip


def test_clients_of_a_worker_that_goes_are_told(make_daemon):
    import json

    from websockets.sync.client import connect

    daemon = make_daemon(workers=4, drain__spread="200ms")
    clients = [connect(daemon.ws(), subprotocols=["wsd.v1"]) for _ in range(24)]
    for client in clients:
        client.send(json.dumps({"type": "hello", "id": 1}))
        assert json.loads(client.recv(5))["type"] == "welcome"
    daemon.write_config(workers=1)
    assert daemon.cli("reload").returncode == 0
    daemon.wait_for(lambda: len(daemon.workers()) == 1, "one worker")
    codes = []
    for client in clients:
        try:
            while True:
                client.recv(0.3)
        except TimeoutError:
            codes.append("open")
        except Exception:
            codes.append(client.close_code)
    assert set(codes) == {"open", 1012}


def crash_loop(daemon, title, tries):
    """Kill each of them as soon as it is there, as a worker that cannot live does."""
    seen = set()
    while len(seen) < tries:
        for pid in set(children_of(daemon.pid)) - seen:
            if title_of(pid) == title:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


@pytest.mark.parametrize(("before", "dead"), [(3, 2), (2, 1)])
def test_fewer_workers_while_one_of_them_waits_for_its_restart(make_daemon, before, dead):
    daemon = make_daemon(workers=before, drain__spread="100ms")
    crash_loop(daemon, f"wsd: worker {dead}", 7)
    daemon.write_config(workers=1)
    assert daemon.cli("reload").returncode == 0
    daemon.wait_for(lambda: len(daemon.workers()) == 1, "one worker")
    time.sleep(STEER_S + 0.5)
    daemon.write_config(workers=2)
    assert daemon.cli("reload").returncode == 0, daemon.output
    daemon.wait_for(lambda: len(daemon.workers()) == 2, "two workers")
    time.sleep(4)  # the restart would have been by now
    assert len(daemon.workers()) == 2
    assert "error worker.1" not in daemon.output


def test_a_worker_that_goes_as_planned_is_no_error(make_daemon):
    daemon = make_daemon(workers=2, drain__spread="100ms")
    daemon.write_config(workers=1)
    assert daemon.cli("reload").returncode == 0
    daemon.wait_for(lambda: "exited" in daemon.output, "the exit")
    assert [line for line in daemon.lines if " error " in line] == []

"""Workers die again and again while connections wait in the backlogs: none is reset (SU-10)."""

from __future__ import annotations

import os
import signal
import time

from tests.support.raw import Raw

ROUNDS = int(os.environ.get("WSD_BACKLOG_ROUNDS", "5"))  # 100 in the long form
WAITING = 400


def test_kills_of_workers_reset_nobody_in_the_backlogs(make_daemon):
    daemon = make_daemon(workers=4)
    answered = lost = 0
    for round_ in range(ROUNDS):
        daemon.wait_for(lambda: len(daemon.workers()) == 4, "four workers")
        workers = daemon.workers()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        crowd = [Raw((daemon.host, daemon.port), timeout=15) for _ in range(WAITING)]
        for one in crowd:
            one.send(b"GET /static/icon.svg HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        victim = workers[round_ % 4]
        os.kill(victim, signal.SIGKILL)
        for pid in workers:
            if pid != victim:
                os.kill(pid, signal.SIGCONT)
        for one in crowd:
            try:
                answered += one.answer().status == 200
            except (OSError, EOFError):
                lost += 1
            one.sock.close()
        time.sleep(0.3)  # a worker that has lived for a while is replaced without delay
    print(f"\n{ROUNDS} kills over {WAITING} waiting each: {answered} answered, {lost} lost")
    assert (answered, lost) == (ROUNDS * WAITING, 0)

"""Timers by a clock that is set, signals through the wake-up socket, readiness that is stale."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.parts import Clock
from wsd.net.loop import MAX_WAIT_S, READ, WRITE, Loop


def noting(list_: list[str], name: str) -> Callable[[], None]:
    return lambda: list_.append(name)


def test_timers_fire_in_the_order_of_their_times(loop: Loop, clock: Clock) -> None:
    fired: list[str] = []
    for delay_s, name in ((3, "c"), (1, "a"), (2, "b"), (2, "b2")):
        loop.call_later(delay_s, noting(fired, name))
    clock.pass_(0.999)
    loop.turn()
    assert fired == []
    clock.pass_(0.001)
    loop.turn()
    assert fired == ["a"]
    clock.pass_(10)
    loop.turn()
    assert fired == ["a", "b", "b2", "c"]


def test_a_cancelled_timer_never_fires(loop: Loop, clock: Clock) -> None:
    fired: list[str] = []
    timer = loop.call_later(1, noting(fired, "x"))
    timer.cancel()
    timer.cancel()
    other = loop.call_later(1, lambda: last.cancel())
    last = loop.call_later(1, noting(fired, "cancelled by the one before"))
    clock.pass_(5)
    loop.turn()
    other.cancel()  # after it fired
    assert fired == []


def test_a_timer_made_by_a_timer_waits_for_its_own_time(loop: Loop, clock: Clock) -> None:
    fired: list[str] = []
    loop.call_later(1, lambda: loop.call_later(1, noting(fired, "second")) and None)
    clock.pass_(1)
    loop.turn()
    assert fired == []
    clock.pass_(1)
    loop.turn()
    assert fired == ["second"]


def test_every_leaves_out_what_a_pause_missed(loop: Loop, clock: Clock) -> None:
    times: list[float] = []
    loop.every(1.0, lambda: times.append(clock.now))
    for _ in range(3):
        clock.pass_(1)
        loop.turn()
    assert times == [1001, 1002, 1003]
    clock.pass_(60)  # the machine was suspended
    loop.turn()
    loop.turn()
    assert times == [1001, 1002, 1003, 1063]
    clock.pass_(1)
    loop.turn()
    assert times[-1] == 1064


def test_the_loop_waits_for_the_next_timer_and_not_for_cancelled_ones(
    loop: Loop, clock: Clock
) -> None:
    assert loop._wait_s() == MAX_WAIT_S
    soon = loop.call_later(0.25, lambda: None)
    loop.call_later(0.5, lambda: None)
    assert loop._wait_s() == 0.25
    soon.cancel()
    assert loop._wait_s() == 0.5
    clock.pass_(7)
    assert loop._wait_s() == 0.0


def test_turn_end_callbacks_run_in_order_after_readiness_and_timers(loop: Loop) -> None:
    order: list[str] = []
    a, b = socket.socketpair()
    with a, b:
        b.send(b"x")
        loop.add(a, READ, lambda mask: order.append("ready"))
        loop.call_later(0, noting(order, "timer"))
        loop.at_turn_end += [noting(order, "end 1"), noting(order, "end 2")]
        loop.turn()
        loop.remove(a)
    assert order == ["ready", "timer", "end 1", "end 2"]


def test_readiness_masks(loop: Loop) -> None:
    masks: list[int] = []
    a, b = socket.socketpair()
    with a, b:
        loop.add(a, READ | WRITE, masks.append)
        loop.turn()
        b.send(b"x")
        loop.turn()
        loop.modify(a, READ, masks.append)
        loop.turn()
        loop.remove(a)
        loop.turn()
    assert masks == [WRITE, READ | WRITE, READ]


def test_py_11_stale_readiness_never_reaches_the_new_owner_of_a_descriptor(loop: Loop) -> None:
    """Both are ready in one turn; the first closes the second, whose number is used again."""
    got: list[str] = []
    pairs = [socket.socketpair() for _ in range(2)]
    new: list[socket.socket] = []

    def closing(mine: int) -> Callable[[int], None]:
        def ready(mask: int) -> None:
            got.append(f"old {mine}")
            if len(got) > 1:  # removed within this turn: that it is called once more is promised
                return
            other = pairs[1 - mine][0]
            number = other.fileno()
            loop.remove(other)
            other.close()
            fresh, end = socket.socketpair()
            new.extend((fresh, end))
            if fresh.fileno() != number:
                os.dup2(fresh.fileno(), number)
                fresh = socket.socket(fileno=number)
                new.append(fresh)
            loop.add(fresh, READ, lambda mask: got.append("new"))

        return ready

    for mine, (ours, theirs) in enumerate(pairs):
        theirs.send(b"x")
        loop.add(ours, READ, closing(mine))
    loop.turn()
    assert "new" not in got
    new[1].send(b"y")
    loop.turn()
    assert got[-2:].count("new") == 1
    for sock in [*new, *(s for pair in pairs for s in pair)]:
        sock.close()


@pytest.fixture
def restored_signals() -> Iterator[None]:
    before = {s: signal.getsignal(s) for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_signals_arrive_in_the_loop_and_a_burst_counts_once(
    loop: Loop, restored_signals: None
) -> None:
    got: list[str] = []
    loop.on_signal(signal.SIGUSR1, noting(got, "usr1"))
    loop.on_signal(signal.SIGUSR2, noting(got, "usr2"))
    for _ in range(200):
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert got == []  # the handler itself does nothing
    loop.turn(1.0)
    assert sorted(got) == ["usr1", "usr2"]
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.turn(1.0)
    assert got.count("usr1") == 2


def test_su_33_more_signals_than_the_wakeup_socket_holds(
    loop: Loop, restored_signals: None
) -> None:
    got: list[str] = []
    loop.on_signal(signal.SIGUSR1, noting(got, "usr1"))
    assert loop._wakeup is not None
    with pytest.raises(BlockingIOError):
        while True:
            loop._wakeup[1].send(bytes([signal.SIGUSR1]) * 4096)
    os.kill(os.getpid(), signal.SIGUSR1)
    for _ in range(1000):
        loop.turn(0)
    assert 1 <= len(got) < 1000


def test_a_signal_wakes_a_waiting_loop_and_stop_ends_run(restored_signals: None) -> None:
    loop = Loop()
    seen: list[str] = []

    def on_hup() -> None:
        seen.append("hup")
        loop.stop()

    loop.on_signal(signal.SIGHUP, on_hup)
    loop.call_later(0.02, lambda: os.kill(os.getpid(), signal.SIGHUP))
    loop.run()
    loop.close()
    assert seen == ["hup"]
    assert signal.set_wakeup_fd(-1) == -1

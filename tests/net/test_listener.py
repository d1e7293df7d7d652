"""Binding without taking anything from anybody, and accepting when descriptors are short."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import struct
from pathlib import Path

import pytest

from tests.support.parts import Clock
from wsd.net.listener import ACCEPTS_PER_TURN, PAUSE_S, Acceptor, bind_tcp, bind_unix
from wsd.net.loop import Loop

# -- TCP


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def close_all(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.close()


def test_slots_share_one_port(loop: Loop) -> None:
    listeners = bind_tcp("127.0.0.1", 0, 4)
    assert len({port_of(sock) for sock in listeners}) == 1
    assert not any(sock.getblocking() for sock in listeners)
    accepted: list[int] = []
    acceptors = [
        Acceptor(loop, sock, lambda conn, address, i=i: accepted.append(i) or conn.close())
        for i, sock in enumerate(listeners)
    ]
    clients = [socket.create_connection(("127.0.0.1", port_of(listeners[0]))) for _ in range(80)]
    for _ in range(5):
        loop.turn()
    assert len(accepted) == 80
    assert len(set(accepted)) == 4  # the kernel spreads them
    for acceptor in acceptors:
        acceptor.stop()
    close_all(listeners + clients)


@pytest.mark.parametrize("option", ["", "SO_REUSEADDR", "SO_REUSEPORT"])
def test_su_23_a_port_in_use_is_refused(option: str) -> None:
    """Also one that the same user has with SO_REUSEPORT, which the kernel would let us share."""
    with socket.socket() as other:
        if option:
            other.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            bind_tcp("127.0.0.1", port_of(other), 2)


def test_a_port_that_was_in_use_a_moment_ago_is_free() -> None:
    listeners = bind_tcp("127.0.0.1", 0, 1)
    port = port_of(listeners[0])
    listeners[0].setblocking(True)
    client = socket.create_connection(("127.0.0.1", port))
    server, _ = listeners[0].accept()
    server.close()  # this side closed first: it is the one in TIME_WAIT
    client.close()
    close_all(listeners)
    close_all(bind_tcp("127.0.0.1", port, 2))


def test_ipv6_and_ipv4_on_one_port_do_not_clash() -> None:
    for _ in range(20):  # somebody else on this machine may have the port with the other one
        six = bind_tcp("::", 0, 2)
        try:
            close_all(bind_tcp("0.0.0.0", port_of(six[0]), 2))
            return
        except OSError as error:
            assert error.errno == errno.EADDRINUSE
        finally:
            close_all(six)
    raise AssertionError("they clash")


def test_a_bad_address_raises_and_leaks_nothing() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError):
        bind_tcp("192.0.2.77", 0, 2)
    assert len(os.listdir("/proc/self/fd")) == before


def test_py_15_accepted_sockets_do_not_wait_for_more(loop: Loop) -> None:
    (listener,) = bind_tcp("127.0.0.1", 0, 1)
    got: list[tuple[socket.socket, str]] = []
    Acceptor(loop, listener, lambda sock, address: got.append((sock, address)))
    client = socket.create_connection(("127.0.0.1", port_of(listener)))
    loop.turn()
    ((sock, address),) = got
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not sock.getblocking()
    assert address == "127.0.0.1"
    close_all([listener, client, sock])


# -- Unix


def test_a_unix_socket_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    before = os.umask(0)
    try:
        listener = bind_unix(path)
        assert os.umask(0) == 0  # put back as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    listener.close()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    bind_unix(path).close()
    listener = bind_unix(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    listener.close()


def test_su_23_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with bind_unix(path) as live:
        with pytest.raises(OSError, match="another program listens there"):
            bind_unix(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)  # it was not unlinked
        live.accept()[0].close()


@pytest.mark.parametrize("kind", ["file", "directory", "link to a file", "dangling link", "fifo"])
def test_su_23_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if kind == "link to a file":
            (tmp_path / "target").write_text("precious")
        path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        bind_unix(str(path))
    assert os.path.lexists(path)
    if kind == "file":
        assert path.read_text() == "precious"


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bind_unix(str(tmp_path / "none" / "x.sock"))


# -- accepting


def unix_listener(tmp_path: Path) -> tuple[socket.socket, str]:
    path = str(tmp_path / "a.sock")
    return bind_unix(path), path


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def test_emfile_pauses_instead_of_spinning(tmp_path: Path, loop: Loop, clock: Clock) -> None:
    listener, path = unix_listener(tmp_path)
    accepted: list[socket.socket] = []
    short: list[OSError] = []
    Acceptor(loop, listener, lambda sock, address: accepted.append(sock), short.append)
    clients = [connect(path) for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null") as lowest_free:
        highest = lowest_free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        for _ in range(50):
            loop.turn()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (len(short), accepted) == (1, [])
    loop.turn()
    assert accepted == []  # still pausing
    clock.pass_(PAUSE_S)
    loop.turn()
    loop.turn()
    assert len(accepted) == 3
    close_all([listener, *clients, *accepted])


def test_stop_accepts_all_that_waits_and_then_no_more(tmp_path: Path, loop: Loop) -> None:
    """SU-12: whoever is in the backlog has been promised a connection."""
    listener, path = unix_listener(tmp_path)
    accepted: list[socket.socket] = []
    acceptor = Acceptor(loop, listener, lambda sock, address: accepted.append(sock))
    waiting = 2 * ACCEPTS_PER_TURN + 5
    clients = [connect(path) for _ in range(waiting)]
    acceptor.stop()
    acceptor.stop()
    assert len(accepted) == waiting
    clients.append(connect(path))
    loop.turn()
    acceptor.resume()
    loop.turn()
    assert len(accepted) == waiting
    assert listener.fileno() > 0  # it is the master's
    close_all([listener, *clients, *accepted])


def test_a_turn_accepts_a_bounded_number(tmp_path: Path, loop: Loop) -> None:
    listener, path = unix_listener(tmp_path)
    accepted: list[socket.socket] = []
    Acceptor(loop, listener, lambda sock, address: accepted.append(sock))
    clients = [connect(path) for _ in range(ACCEPTS_PER_TURN + 1)]
    loop.turn()
    assert len(accepted) == ACCEPTS_PER_TURN
    loop.turn()
    assert len(accepted) == ACCEPTS_PER_TURN + 1
    close_all([listener, *clients, *accepted])


def test_stop_while_paused_stays_stopped(tmp_path: Path, loop: Loop, clock: Clock) -> None:
    listener, path = unix_listener(tmp_path)
    accepted: list[socket.socket] = []
    acceptor = Acceptor(loop, listener, lambda sock, address: accepted.append(sock))
    acceptor._pause()
    acceptor.stop()
    client = connect(path)
    clock.pass_(1)
    loop.turn()
    loop.turn()
    assert accepted == []
    close_all([listener, client])


def test_a_connection_that_was_reset_while_it_waited(loop: Loop) -> None:
    """The one behind it is served, and nothing is raised."""
    (listener,) = bind_tcp("127.0.0.1", 0, 1)
    address = ("127.0.0.1", port_of(listener))
    accepted: list[socket.socket] = []

    def on_accept(sock: socket.socket, address: str) -> None:
        accepted.append(sock)

    Acceptor(loop, listener, on_accept)
    broken = socket.create_connection(address)
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    broken.close()
    good = socket.create_connection(address)
    loop.turn()
    assert any(sock.getpeername() == good.getsockname() for sock in accepted[-1:])
    close_all([listener, good, *accepted])

"""TLS on a connection, against Python's own client."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Certificate, make
from tests.support.parts import Callbacks, Clock
from wsd.certificates import read_pair
from wsd.net.connection import Flusher, State
from wsd.net.loop import Loop
from wsd.net.tls import (
    TlsConnection,
    TlsContext,
    ignore_names_that_are_no_text,
    make_context,
)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="session")
def context(certificate: Certificate) -> TlsContext:
    return make_context([read_pair(*certificate)])


class End:
    """A secured connection under test and the plain socket of its peer."""

    def __init__(self, loop: Loop, context: TlsContext) -> None:
        self.loop = loop
        self.flusher = Flusher()
        loop.at_turn_end.append(self.flusher.flush)
        ours, self.raw = socket.socketpair()
        ours.setblocking(False)
        self.raw.setblocking(False)
        self.data = b""
        self.gone: list[str] = []
        self.connection = TlsConnection(
            loop, self.flusher, ours, Callbacks(self.on_data, self.gone.append), context
        )
        self.peer: ssl.SSLSocket | None = None

    def on_data(self, data: bytes) -> None:
        self.data += data

    def secure(
        self,
        certificate: Certificate,
        version: ssl.TLSVersion | None = None,
        name: str | None = "localhost",
    ) -> None:
        """The handshake, as a client that checks the certificate does it."""
        client = certificate.client()
        client.check_hostname = name is not None
        if version is not None:
            client.minimum_version = client.maximum_version = version
            if version < ssl.TLSVersion.TLSv1_2:
                client.set_ciphers("ALL:@SECLEVEL=0")
        client.set_alpn_protocols(["h2", "http/1.1"])
        self.shake_hands(client, name)

    def shake_hands(self, client: ssl.SSLContext, name: str | None) -> None:
        self.peer = client.wrap_socket(
            self.raw, server_hostname=name, do_handshake_on_connect=False
        )
        for _ in range(20):
            try:
                self.peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.loop.turn()
        self.loop.turn()

    def read(self, size: int) -> bytes:
        assert self.peer is not None
        data = b""
        while len(data) < size:
            self.loop.turn()
            try:
                part = self.peer.recv(1 << 16)
            except ssl.SSLWantReadError:
                continue
            if not part:
                break
            data += part
        return data


@pytest.fixture
def end(loop: Loop, context: TlsContext) -> End:
    return End(loop, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_directions(end: End, certificate: Certificate, version: ssl.TLSVersion) -> None:
    end.secure(certificate, version)
    assert end.peer is not None
    assert end.peer.selected_alpn_protocol() == "http/1.1"
    end.peer.send(b"hello")
    end.loop.turn()
    assert end.data == b"hello"
    end.connection.write(b"and ")
    end.connection.write(b"welcome")
    assert end.read(11) == b"and welcome"


def test_tl_01_old_versions_are_refused(end: End, certificate: Certificate) -> None:
    with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError):
        end.secure(certificate, ssl.TLSVersion.TLSv1_1)
    assert end.gone == ["tls_failed"]


def test_tl_06_everything_that_came_is_read_at_once(end: End, certificate: Certificate) -> None:
    """What OpenSSL holds is not reported by the selector: no stall without another byte."""
    end.secure(certificate)
    assert end.peer is not None
    data = bytes(range(256)) * 256
    sent = end.peer.send(data)
    assert sent == 65536
    for _ in range(6):
        end.loop.turn()
    assert end.data == data


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(100), b"\x16\x03"])
def test_what_is_no_tls_is_cut(end: End, garbage: bytes) -> None:
    end.raw.send(garbage)
    end.loop.turn()
    if garbage == b"\x16\x03":  # may still become a handshake
        assert end.gone == []
        end.raw.close()
        end.loop.turn()
    assert end.gone == ["tls_failed"]


def test_tl_05_a_half_handshake_is_closed_as_soon_as_somebody_says_so(end: End) -> None:
    """Nobody can be told anything on it: ``ready`` says so to whoever watches the time."""
    end.raw.send(b"\x16")
    end.loop.turn()
    assert not end.connection.ready
    end.connection.abort("handshake_timeout")
    assert end.gone == ["handshake_timeout"]
    assert end.connection.state is State.CLOSED


def test_a_half_handshake_does_not_spin(end: End) -> None:
    calls = 0
    handshake = end.connection._tls.do_handshake

    def counting() -> None:
        nonlocal calls
        calls += 1
        handshake()

    end.connection._tls.do_handshake = counting  # type: ignore[method-assign]
    end.raw.send(b"\x16")
    for _ in range(50):
        end.loop.turn()
    assert calls <= 2


def test_output_queued_before_the_handshake_leaves_after_it(
    end: End, certificate: Certificate
) -> None:
    end.connection.write(b"early")
    end.loop.turn()
    end.secure(certificate)
    assert end.read(5) == b"early"


def test_tl_07_large_writes_to_a_slow_reader(
    end: End, certificate: Certificate, clock: Clock
) -> None:
    end.secure(certificate)
    data = bytes(range(251)) * 20_000
    end.connection.write(data[:3_000_000])
    end.loop.turn()
    end.connection.write(data[3_000_000:])
    end.connection.close("done")
    assert end.read(len(data)) == data
    assert end.peer is not None
    assert end.peer.recv(1) == b""  # close_notify, so the end is an honest one
    end.peer.unwrap().close()
    end.loop.turn()
    end.loop.turn()
    assert end.gone == ["done"]


def test_progress_of_a_large_write_is_seen(
    end: End, certificate: Certificate, clock: Clock
) -> None:
    """A reader that is slow but reads must not be taken for one that has stopped."""
    end.secure(certificate)
    assert end.peer is not None
    end.connection.write(bytes(4_000_000))
    end.loop.turn()
    queued = end.connection.queued
    assert queued < 4_000_000
    clock.pass_(20)
    taken = 0
    while taken < 1_000_000:
        try:
            taken += len(end.peer.recv(1 << 16))
        except ssl.SSLWantReadError:
            end.loop.turn()
    assert end.connection.progress_at == clock.now
    assert end.connection.queued < queued


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tl_08_a_connection_that_is_cut_off(
    end: End, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    """A FIN without close_notify is no end that the peer meant; half a message stays half."""
    end.secure(certificate, version)
    assert end.peer is not None
    end.peer.send(b"half a mess")
    socket.socket(fileno=end.peer.detach()).close()
    for _ in range(3):
        end.loop.turn()
    assert end.data == b"half a mess"
    assert end.gone == ["truncated"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tl_08_an_end_with_close_notify(
    end: End, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    end.secure(certificate, version)
    assert end.peer is not None
    end.peer.send(b"all of it")
    with pytest.raises(ssl.SSLWantReadError):
        end.peer.unwrap()
    for _ in range(3):
        end.loop.turn()
    assert end.data == b"all of it"
    assert end.gone == ["eof"]


def test_lingering_throws_away_what_still_comes(end: End, certificate: Certificate) -> None:
    end.secure(certificate)
    assert end.peer is not None
    end.connection.write(b"bye")
    end.connection.close("done")
    end.loop.turn()
    end.peer.send(b"too late")
    end.loop.turn()
    assert (end.data, end.gone) == (b"", [])
    assert end.read(3) == b"bye"
    end.peer.close()
    end.loop.turn()
    assert end.gone == ["done"]


def test_a_peer_that_was_reset_before_the_handshake(loop: Loop, context: TlsContext) -> None:
    """OSError, which whoever accepts expects (tests/transports/test_http.py)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        sock, _ = server.accept()
    sock.setblocking(False)
    with pytest.raises(OSError):
        TlsConnection(loop, Flusher(), sock, Callbacks(), context)


def test_closing_before_the_handshake_is_over(end: End) -> None:
    """Nobody is there yet who could be told, and what still comes is no more of a handshake."""
    end.raw.send(b"\x16\x03\x01")
    end.loop.turn()
    end.connection.close("restart")
    end.loop.turn()
    with contextlib.suppress(BrokenPipeError):
        end.raw.send(b"\x00\x05hello")
    end.loop.turn()
    assert end.gone == ["restart"]


def test_tl_02_no_compression_and_no_renegotiation(end: End, certificate: Certificate) -> None:
    end.secure(certificate, ssl.TLSVersion.TLSv1_2)
    assert end.peer is not None
    assert end.peer.compression() is None
    assert end.connection._tls.context.options & ssl.OP_NO_RENEGOTIATION


# -- names (TL-04)


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> list[Certificate]:
    folder = tmp_path_factory.mktemp("names")
    return [
        make(folder, "first.example"),
        make(folder, "second.example", "*.second.example"),
        make(folder, "third.example", "second.example"),
    ]


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("first.example", 0),
        ("second.example", 1),  # the third has it too, but stands behind it
        ("SECOND.example", 1),
        ("a.second.example", 1),
        ("third.example", 2),
        ("a.b.second.example", 0),  # a wildcard is one label
        ("xsecond.example", 0),
        ("unknown.example", 0),
        ("localhost", 0),
        (None, 0),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tl_04_the_certificate_is_the_one_for_the_name(
    loop: Loop,
    several: list[Certificate],
    name: str | None,
    served: int,
    version: ssl.TLSVersion,
) -> None:
    end = End(loop, make_context([read_pair(*one) for one in several]))
    client = several[served].client()
    client.check_hostname = False
    client.minimum_version = client.maximum_version = version
    end.shake_hands(client, name)
    assert end.peer is not None
    expected = ssl.PEM_cert_to_DER_cert(Path(several[served].path).read_text())
    assert end.peer.getpeercert(binary_form=True) == expected
    end.peer.send(b"hello")
    end.loop.turn()
    assert end.data == b"hello"


def test_tl_04_a_name_that_is_no_text(
    loop: Loop,
    several: list[Certificate],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No such host exists; the handshake fails, and that is all."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    ignore_names_that_are_no_text()
    hello, coming = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(coming, hello, server_hostname="abcdefgh")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    end = End(loop, make_context([read_pair(*one) for one in several]))
    end.raw.send(hello.read().replace(b"abcdefgh", b"ab\xff\xc3\xfe\x80gh"))
    end.loop.turn()
    assert end.gone == ["tls_failed"]
    assert capfd.readouterr() == ("", "")


def test_tl_04_a_client_that_offers_only_http_2(end: End, certificate: Certificate) -> None:
    client = certificate.client()
    client.set_alpn_protocols(["h2"])
    end.shake_hands(client, "localhost")
    assert end.peer is not None
    assert end.peer.selected_alpn_protocol() is None

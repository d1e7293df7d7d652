"""Listeners of every kind, side by side: IPv4, IPv6, Unix sockets; plain, TLS, PROXY, and both."""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.certificates import Certificate, make
from tests.support.daemon import Daemon
from tests.support.proxies import HaproxyTcp, HaproxyTcp1, Proxy
from tests.support.raw import Raw, command, handshake

Address = tuple[str, int] | str

V2_START = b"\r\n\r\n\x00\r\nQUIT\n"


def v1(source: str) -> bytes:
    return f"PROXY TCP4 {source} 192.0.2.99 4711 443\r\n".encode()


def v2(source: str, extensions: bytes = b"") -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) * 2 + b"\x12\x67\x01\xbb" + extensions
    kind = b"\x21\x21" if ":" in source else b"\x21\x11"
    return V2_START + kind + len(addresses).to_bytes(2, "big") + addresses


class Way(NamedTuple):
    """One kind of listener, and how a client comes in by it."""

    where: str
    tls: bool = False
    header: bytes = b""

    @property
    def name(self) -> str:
        kind = {"1": "ipv4", "[": "ipv6", "u": "unix"}[self.where[0]]
        return kind + (" proxy" if self.header else "") + (" tls" if self.tls else "")

    def entry(self, certificate: Certificate, directory: Path, number: int) -> str:
        address = self.where.format(path=directory / f"{number}.sock")
        tls = f", tls: {certificate.yaml}" if self.tls else ""
        proxied = ", proxy_protocol: true" if self.header else ""
        return f'{{address: "{address}"{tls}{proxied}}}'


WAYS = [
    Way(where, tls, header)
    for where, header in (
        ("127.0.0.1:0", v1("192.0.2.1")),
        ("[::1]:0", v2("2001:db8::1")),
        ("unix:{path}", v2("192.0.2.2", b"\x04\x00\x02ab")),
    )
    for tls in (False, True)
    for header in (b"", header)
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="module")
def all_kinds(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("kinds")
    listen = ", ".join(way.entry(certificate, folder, n) for n, way in enumerate(WAYS))
    daemon = Daemon(folder / "wsd", listen=f"[{listen}]").start()
    daemon.wait_for(lambda: len(served(daemon)) == len(WAYS), "all addresses are told")
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output, daemon.output
    assert list(folder.glob("*.sock")) == []


def served(daemon: Daemon) -> list[Address]:
    """Where it says that it serves, in the order of ``listen``."""
    found: list[Address] = []
    for line in list(daemon.lines):
        if told := re.match(r"wsd: serving on (?:unix:(\S+)|https?://\[?(.+?)\]?:(\d+)/)$", line):
            found.append(told[1] or (told[2], int(told[3])))
    return found


def come_in(daemon: Daemon, way: Way, certificate: Certificate, *, slowly: bool = False) -> Raw:
    raw = Raw(served(daemon)[WAYS.index(way)])
    if slowly:
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in [bytes([byte]) for byte in way.header] if slowly else [way.header]:
        raw.send(piece)
        time.sleep(0.002 if slowly else 0)
    if way.tls:
        raw.sock = certificate.client().wrap_socket(raw.sock, server_hostname="localhost")
    return raw


def test_one_room_for_all_of_them(all_kinds: Daemon, certificate: Certificate) -> None:
    everybody = [come_in(all_kinds, way, certificate) for way in WAYS]
    for number, one in enumerate(everybody):
        one.upgrade().hello("lobby", name=f"guest {number}")
    for number, one in enumerate(everybody):
        one.send(command("say", id=2, room="lobby", text=f"by way {number}"))
        for other in everybody:
            assert other.next("message").json["text"] == f"by way {number}"
    for one in everybody:
        one.sock.close()


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_the_page(all_kinds: Daemon, certificate: Certificate, way: Way) -> None:
    with come_in(all_kinds, way, certificate) as one:
        assert one.get("/").status == 200


PROXIED = [way for way in WAYS if way.header]


@pytest.mark.parametrize(
    "way", [way for way in PROXIED if way.where[0] != "u"], ids=lambda way: way.name
)
def test_nx_10_nx_11_a_header_that_comes_byte_by_byte(
    all_kinds: Daemon, certificate: Certificate, way: Way
) -> None:
    with come_in(all_kinds, way, certificate, slowly=True) as one:
        assert one.get("/").status == 200


@pytest.mark.parametrize("way", PROXIED, ids=lambda way: way.name)
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01" * 20,
                                  b"PROXY TCP4 1.2.3.4\r\n", V2_START + b"\x21\x11\xff\xff"],
                         ids=["http", "tls", "bad v1", "too long v2"])  # fmt: skip
def test_nx_10_nx_11_without_a_header_nobody_is_served(
    all_kinds: Daemon, way: Way, data: bytes
) -> None:
    with Raw(served(all_kinds)[WAYS.index(way)]) as one:
        one.send(data)
        try:
            assert one.rest() == b""
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("way", [way for way in WAYS if not way.header], ids=lambda way: way.name)
def test_a_header_that_nobody_expects_is_no_request(
    all_kinds: Daemon, certificate: Certificate, way: Way
) -> None:
    with come_in(all_kinds, way, certificate) as one:
        one.send(v1("192.0.2.1") + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one.answer().status == 400


def test_anybody_may_connect_to_a_unix_socket_that_they_can_reach(all_kinds: Daemon) -> None:
    paths = [address for address in served(all_kinds) if isinstance(address, str)]
    assert len(paths) == 4
    for path in paths:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666


# -- whose address counts


MakeDaemon = Callable[..., Daemon]
PROXY_LISTENER = '[{address: "127.0.0.1:0", proxy_protocol: true}]'


@pytest.fixture
def keep() -> Iterator[Callable[[Raw], Raw]]:
    """Connections that stay open until the test ends."""
    kept: list[Raw] = []

    def keep(raw: Raw) -> Raw:
        kept.append(raw)
        return raw

    yield keep
    for raw in kept:
        raw.sock.close()


def test_the_address_of_the_header_is_limited(
    make_daemon: MakeDaemon, keep: Callable[[Raw], Raw]
) -> None:
    daemon = make_daemon(listen=PROXY_LISTENER, limits__connections_per_address=2)

    def come(header: bytes, claim: str = "") -> int:
        raw = keep(Raw(("127.0.0.1", daemon.port)))
        extra = f"X-Forwarded-For: {claim}\r\n" if claim else ""
        return raw.send(header + handshake(extra=extra)).answer().status

    assert [come(v1("192.0.2.1")) for _ in range(3)] == [101, 101, 503]
    assert come(v2("192.0.2.1")) == 503
    assert come(v2("::ffff:192.0.2.1")) == 503  # LM-03: the same one in other clothes
    assert come(v1("192.0.2.1"), claim="192.0.2.7") == 503  # who is no proxy is not believed
    assert [come(v2(f"2001:db8::{n}")) for n in range(3)] == [101, 101, 503]
    assert come(v2("2001:db8:0:1::1")) == 101
    # Where the header names nobody, nobody is limited, and nobody is believed either.
    unknown = [come(b"PROXY UNKNOWN\r\n", claim="192.0.2.7") for _ in range(3)]
    assert unknown == [101, 101, 101]
    assert [come(v1("192.0.2.7")) for _ in range(3)] == [101, 101, 503]


def test_nx_12_who_is_believed_changes_with_a_reload(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(listen=PROXY_LISTENER, trusted_proxies="[127.0.0.0/8]", workers=1)

    def served_to(source: str) -> bool:
        try:
            with Raw(("127.0.0.1", daemon.port), source=source) as one:
                one.send(v1("192.0.2.1"))
                return one.get("/").status == 200
        except (EOFError, OSError):
            return False

    assert served_to("127.0.0.2")
    daemon.write_config(trusted_proxies="[127.0.0.3]")
    assert daemon.cli("reload").returncode == 0
    daemon.wait_for(lambda: not served_to("127.0.0.2"), "it is refused")
    assert served_to("127.0.0.3")
    told = "proxy_refused reason=proxy_not_trusted peer=127.0.0.2"
    daemon.wait_for(lambda: any(told in line for line in daemon.lines), "it is logged")
    metrics = daemon.admin("/metrics")[1]
    assert re.search(rb'wsd_closed_total\{reason="proxy_not_trusted"\} [1-9]', metrics)


def test_nx_13_a_header_that_never_ends(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(listen=PROXY_LISTENER, workers=1)
    began = time.monotonic()
    waiting = [Raw(("127.0.0.1", daemon.port)) for _ in range(20)]
    for one in waiting[1:]:
        one.send(b"PROXY TCP4")
    with Raw(("127.0.0.1", daemon.port)) as beside:
        assert beside.send(v1("192.0.2.1")).get("/").status == 200
    for one in waiting:
        try:
            assert one.rest() == b""
        except ConnectionResetError:
            pass
        one.sock.close()
    assert 5.0 <= time.monotonic() - began < 15.0


@pytest.mark.parametrize("trusted", [False, True])
def test_nx_06_a_proxy_on_a_unix_socket(
    make_daemon: MakeDaemon, keep: Callable[[Raw], Raw], tmp_path: Path, trusted: bool
) -> None:
    """Its word is taken if the configuration says so."""
    path = str(tmp_path / "chat.sock")
    daemon = make_daemon(
        listen=f'["127.0.0.1:0", "unix:{path}"]', limits__connections_per_address=2,
        trusted_proxies="[unix]" if trusted else "[127.0.0.1]",
    )  # fmt: skip

    def come(address: str) -> int:
        extra = f"X-Forwarded-For: {address}\r\n"
        return keep(Raw(path)).send(handshake(extra=extra)).answer().status

    assert [come("192.0.2.1") for _ in range(3)] == [101, 101, 503 if trusted else 101]
    assert come("192.0.2.2") == 101
    assert daemon.info()["connections"] >= 3


def test_nx_03_two_headers_that_differ(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(workers=1)
    with Raw(("127.0.0.1", daemon.port)) as one:
        listed = "X-Forwarded-For: 192.0.2.1\r\n"
        assert one.get("/", f"{listed}Forwarded: for=192.0.2.1\r\n").status == 200
        answer = one.get("/", f"{listed}Forwarded: for=192.0.2.2\r\n")
        assert (answer.status, b"forwarded_conflict" in answer.body) == (400, True)


# -- a real proxy


@pytest.mark.parametrize("kind", [HaproxyTcp, HaproxyTcp1], ids=["version 2", "version 1"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_haproxy_hands_on_whole_connections(
    make_daemon: MakeDaemon,
    make_proxy: Callable[..., Proxy],
    keep: Callable[[Raw], Raw],
    certificate: Certificate,
    kind: type[Proxy],
    tls: bool,
) -> None:
    pair = f", tls: {certificate.yaml}" if tls else ""
    listen = f'[{{address: "127.0.0.1:0", proxy_protocol: true{pair}}}]'
    daemon = make_daemon(
        listen=listen, limits__connections_per_address=2, trusted_proxies="[127.0.0.1]"
    )
    proxy = make_proxy(kind, daemon)

    def come(source: str) -> Raw:
        raw = keep(Raw(("127.0.0.1", proxy.port), source=source))
        if tls:
            raw.sock = certificate.client().wrap_socket(raw.sock, server_hostname="localhost")
        return raw

    ann, bo = come("127.0.0.2").upgrade(), come("127.0.0.3").upgrade()
    for one in (ann, bo):
        one.hello("lobby")
    ann.send(command("say", id=2, room="lobby", text="through the proxy"))
    assert bo.next("message").json["text"] == "through the proxy"
    statuses = [come(source).get("/").status for source in ("127.0.0.2", "127.0.0.2", "127.0.0.4")]
    assert statuses == [200, 503, 200]

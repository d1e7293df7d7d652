"""Where to listen: addresses, certificates and proxies, and what is said of wrong ones."""

import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from tests.support.certificates import make, make_dated
from wsd.certificates import Pair
from wsd.config import ConfigError, Settings, load, needs_restart, render_effective
from wsd.config_listen import Listen, certificate_warnings, listen_address, newly_invalid
from wsd.config_values import MAX_SOCKET_PATH, Refused

ADDRESSES = {
    "127.0.0.1:8002": Listen("127.0.0.1", 8002),
    "0.0.0.0:0": Listen("0.0.0.0", 0),
    "[::1]:8002": Listen("::1", 8002),
    "[::]:80": Listen("::", 80),
    "localhost:65535": Listen("localhost", 65535),
    "unix:/run/a.sock": Listen(path="/run/a.sock"),
    "unix:/run//b/../a.sock": Listen(path="/run/a.sock"),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text):
    listen = listen_address(text)
    assert listen == ADDRESSES[text]
    assert listen_address(listen.address) == listen
    assert not listen.tls


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an address"),
        ("8002", r"did you mean 127.0.0.1:8002\?"),
        (":8002", r"0.0.0.0:8002 or \[::\]:8002"),
        ("*:8002", r"0.0.0.0:8002 or \[::\]:8002"),
        ("::1:8002", r"did you mean \[::1\]:8002\?"),
        ("/run/a.sock", r"did you mean unix:/run/a.sock\?"),
        ("localhost", "is not an address"),
        ("localhost:", "is not a port"),
        ("localhost:http", "is not a port"),
        ("localhost:65536", "is not a port"),
        ("localhost:-1", "is not a port"),
        ("127.0.0.256:80", "is not an IP address"),
        ("[127.0.0.1]:80", "only an IPv6 address"),
        ("[]:80", "only an IPv6 address"),
        ("[::1]", "is not an address"),
        ("http://a:80", "is not an address"),
        ("a b:80", "is not a host"),
        ("unix:", "is not a path"),
        ("unix:a\0b", "is not a path"),
    ],
)
def test_bad_addresses(text, message):
    with pytest.raises(Refused, match=message):
        listen_address(text)


def test_socket_paths_fit_the_system():
    longest = "/" + "x" * (MAX_SOCKET_PATH - 1)
    assert listen_address(f"unix:{longest}").path == longest
    with pytest.raises(Refused, match="has a path of 108 bytes; the system allows 107"):
        listen_address(f"unix:{longest}x")
    # bytes count, not characters
    with pytest.raises(Refused, match="has a path of 121 bytes"):
        listen_address("unix:/" + "é" * 60)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes wsd.yaml into a directory of the test's own, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("wsd.yaml").write_text(text)
        return "wsd.yaml"

    return write


def listeners(path: str) -> tuple[Listen, ...]:
    return load(path, {}).listen


def refusal(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    made = tmp_path_factory.mktemp("pairs")
    return lambda *names: make(made, *names, name=names[0] if names else "nameless")


class TestTls:
    TEXT = """\
listen:
  - 127.0.0.1:8002
  - address: "0.0.0.0:443"
    tls:
      certificate: {0}
      key: {1}
"""

    def test_a_pair(self, write, pair):
        one = pair("a.example")
        plain, secured = listeners(write(self.TEXT.format(*one)))
        assert (plain.tls, secured.tls) == (False, True)
        assert secured.address == "0.0.0.0:443"
        (found,) = secured.pairs
        assert (found.certificate, found.key) == one
        assert found.chain == Path(one.path).read_bytes()
        assert found.names == ("a.example",)

    def test_relative_paths(self, write, pair):
        one = pair("a.example")
        shutil.copy(one.path, "c.pem")
        shutil.copy(one.key, "k.pem")
        (found,) = listeners(write(self.TEXT.format("c.pem", "./k.pem")))[1].pairs
        assert (found.certificate, found.key) == (f"{os.getcwd()}/c.pem", f"{os.getcwd()}/k.pem")

    def test_tl_03_not_of_each_other(self, write, pair):
        found = refusal(write(self.TEXT.format(pair("a.example").path, pair("b.example").key)))
        assert found.startswith("wsd.yaml:5: listen[1].tls.certificate: ")
        assert "do not load together: key values mismatch" in found

    def test_an_encrypted_key_does_not_ask(self, write, pair, tmp_path):
        kind = ("ed25519", "-passout", "pass:secret")
        locked = make(tmp_path, "localhost", kind=kind, encrypted=True)
        found = refusal(write(self.TEXT.format(*locked)))
        assert found.startswith("wsd.yaml:6: listen[1].tls.key: ")
        assert found.endswith("is encrypted; a daemon needs it without")

    def test_not_pem(self, write, pair):
        Path("k.pem").write_text("hello")
        found = refusal(write(self.TEXT.format(pair("a.example").path, "k.pem")))
        assert found.startswith("wsd.yaml:5: listen[1].tls.certificate: ")

    def test_both_missing(self, write):
        assert refusal(write(self.TEXT.format("c.pem", "k.pem"))).split("\n") == [
            f"wsd.yaml:{line}: listen[1].tls.{name}: {os.getcwd()}/{file} cannot be read:"
            " No such file or directory"
            for line, name, file in ((5, "certificate", "c.pem"), (6, "key", "k.pem"))
        ]

    def test_one_without_the_other(self, write, pair):
        text = f"listen:\n- address: 'a:1'\n  tls:\n    certificate: {pair('a.example').path}\n"
        assert refusal(write(text)) == "wsd.yaml:3: listen[0].tls.key: this key is missing"

    def test_neither_a_pair_nor_a_list_of_them(self, write):
        for wrong in ("x", "[x]", "true"):
            found = refusal(write(f"listen: {{address: 'a:1', tls: {wrong}}}"))
            assert found.endswith("expected {certificate: FILE, key: FILE}"), wrong
        assert "the list is empty" in refusal(write("listen: {address: 'a:1', tls: []}"))


class TestSeveralCertificates:
    TEXT = "listen:\n- address: a:1\n  tls:\n  - {}\n  - {}\n"

    def test_in_the_order_of_the_file(self, write, pair):
        a, b = pair("a.example"), pair("b.example", "*.b.example")
        (listen,) = listeners(write(self.TEXT.format(a.yaml, b.yaml)))
        assert [found.names for found in listen.pairs] == [
            ("a.example",),
            ("b.example", "*.b.example"),
        ]

    def test_what_is_wrong_with_one_has_its_place(self, write, pair):
        a, b = pair("a.example"), pair("b.example")
        mixed = b._replace(key=a.key)
        found = refusal(write(self.TEXT.format(a.yaml, mixed.yaml)))
        assert found.startswith("wsd.yaml:5: listen[0].tls[1].certificate: ")

    def test_only_the_first_may_be_without_a_name(self, write, pair):
        nameless, a = pair(), pair("a.example")
        assert len(listeners(write(self.TEXT.format(nameless.yaml, a.yaml)))[0].pairs) == 2
        found = refusal(write(self.TEXT.format(a.yaml, nameless.yaml)))
        assert found == (
            f"wsd.yaml:5: listen[0].tls[1].certificate: {nameless.path} names no host,"
            " so nobody could ask for it"
        )


def test_what_is_in_force_reads_back_as_the_same(write, pair):
    a, b = pair("a.example"), pair("b.example")
    path = write(
        f"listen:\n- 'unix:/x'\n- {{address: 'a:1', tls: {a.yaml}, proxy_protocol: yes}}\n"
        f"- {{address: 'a:2', tls: [{a.yaml}, {b.yaml}]}}\n"
        "- {address: 'unix:/y', proxy_protocol: true}\n- {address: 'a:3', proxy_protocol: no}\n"
    )
    settings = load(path, {})
    proxied = [listen.proxy_protocol for listen in settings.listen]
    assert proxied == [False, True, False, True, False]
    text = render_effective(settings)
    assert load(write(text), {}).listen == settings.listen
    assert "PRIVATE" not in text


def test_the_proxy_protocol_is_on_or_off(write):
    found = refusal(write("listen: {address: 'a:1', proxy_protocol: v2}"))
    assert found == "wsd.yaml:1: listen.proxy_protocol: v2 is not true or false"


# -- reloads


def test_certificates_change_with_a_reload_but_tls_is_not_switched():
    plain = Listen("a", 1)
    first = Listen("a", 1, pairs=(Pair("/c", "/k"),))
    second = Listen("a", 1, pairs=(Pair("/c2", "/k2"), Pair("/c3", "/k3")))
    assert needs_restart(Settings(listen=(first,)), Settings(listen=(second,))) == []
    assert needs_restart(Settings(listen=(plain,)), Settings(listen=(first,))) == ["listen"]
    assert needs_restart(Settings(listen=(plain,)), Settings(listen=(plain, first))) == ["listen"]
    proxied = msgspec.structs.replace(plain, proxy_protocol=True)
    assert needs_restart(Settings(listen=(plain,)), Settings(listen=(proxied,))) == ["listen"]


def test_tl_03_an_expired_certificate_is_not_taken_up_but_may_be_there_already(write, tmp_path):
    expired, good = make_dated(tmp_path, "20200101000000Z", "20210101000000Z"), make(tmp_path, "a")
    stale = listeners(write(f"listen: {{address: 'a:1', tls: {expired.yaml}}}"))
    fresh = listeners(write(f"listen: {{address: 'a:1', tls: {good.yaml}}}"))
    now, words = time.time(), [f"{expired.path} expired on 2021-01-01 00:00:00 UTC"]
    assert newly_invalid(fresh, stale, now) == words
    assert newly_invalid(stale, stale, now) == []
    assert newly_invalid(stale, fresh, now) == []
    assert certificate_warnings(stale, now) == words
    assert certificate_warnings(fresh, now) == []

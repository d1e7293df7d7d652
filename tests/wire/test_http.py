"""HTTP as curl and plain sockets see it: the page, frames, proxies, TLS."""

from __future__ import annotations

import itertools
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.raw import BINARY, CLOSE, PING, TEXT, Raw, command, frame, handshake

WEB = Path(__file__).resolve().parents[2] / "wsd" / "web"


def curl(*words: str) -> subprocess.CompletedProcess:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "10", "--noproxy", "*", *words],
        capture_output=True, text=True, timeout=15,
    )  # fmt: skip


# -- the page and its files


@pytest.mark.parametrize("path", ["/", "/r/tech", "/r/%E4%BD%A0%E5%A5%BD"])
def test_the_page_allows_no_script_but_its_own(raw, path):
    answer = raw().get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and "*" not in policy
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    html = answer.body.decode()
    # Nothing in it needs what the policy forbids.
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", html)
    assert not re.search(r"\son\w+\s*=", html) and "style=" not in html
    assert "javascript:" not in html


def test_everything_the_page_names_is_there(raw):
    one = raw()
    html = one.get("/").body.decode()
    names = re.findall(r'(?:src|href)="(/[^"]+)"', html)
    assert len(names) >= 3
    for name in names:
        answer = one.get(name.replace("&amp;", "&"))
        assert answer.status == 200, name
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.body, name
        if "/static/" in name:
            again = one.get(name, f"If-None-Match: {answer.headers['etag']}\r\n")
            assert (again.status, again.body) == (304, b"")


def test_modules_import_only_what_is_served(raw):
    for file in WEB.glob("*.js"):
        answer = raw().get(f"/static/{file.name}")
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.body == file.read_bytes()
        for name in re.findall(r'from "\./([^"?]+)', file.read_text()):
            assert raw().get(f"/static/{name}").status == 200, name


def test_packed_files_are_the_same_files(shared):
    url = f"{shared.url}static/page.css"
    assert curl("--compressed", url).stdout == curl(url).stdout == (WEB / "page.css").read_text()


def test_the_page_speaks_the_browsers_language(raw):
    german = raw().get("/", "Accept-Language: de\r\n")
    chinese = raw().get("/", "Accept-Language: nl;q=0.9, zh-CN;q=0.8, en\r\n")
    assert german.headers["content-language"] == "de"
    assert chinese.headers["content-language"] == "zh-CN"
    assert 'lang="zh-CN"' in chinese.body.decode()


def test_a_room_name_in_the_address_cannot_break_out_of_the_page(raw):
    answer = raw().get("/r/%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert answer.status == 404 and b"<script>alert" not in answer.body
    answer = raw().get("/r/a%0d%0aSet-Cookie:%20x=1")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", [
    "/nothing", "/static/", "/static/nothing.js", "/static/../config.py", "/static/%2e%2e/cli.py",
    "/static//etc/passwd", "/r/", "/r/a/b", "/chat/", "/healthz", "/metrics", "/api/v1/info",
    "/wsd/web/page.js",
])  # fmt: skip
def test_nothing_else_is_there(raw, path):
    answer = raw().get(path)
    assert answer.status == (400 if ".." in path or "%2e" in path else 404), path
    assert not answer.body.startswith((b"<", b"#", b"import", b'"""'))


def test_head_is_get_without_a_body(raw):
    one = raw()
    for path, status in (("/", 200), ("/static/chat.js", 200), ("/nothing", 404)):
        head = one.get(path, method="HEAD")
        get = one.get(path)
        assert (head.status, get.status) == (status, status)
        assert head.headers["content-length"] == get.headers["content-length"]
        assert head.headers.get("etag") == get.headers.get("etag")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_told_which_there_are(raw, method):
    answer = raw().get("/", "Content-Length: 0\r\n", method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


# -- connections


def test_curl_keeps_one_connection_for_three_files(shared):
    urls = [shared.url, f"{shared.url}static/chat.js", f"{shared.url}nothing"]
    words = [word for url in urls for word in ("-o", "/dev/null", url)]
    done = curl("-w", "%{http_code} %{num_connects}\n", *words)
    assert done.stdout.split("\n")[:3] == ["200 1", "200 0", "404 0"]


def test_http_1_0_is_answered_and_closed(raw):
    answer = raw().send(b"GET / HTTP/1.0\r\n\r\n")
    assert answer.answer().status == 200
    assert answer.rest() == b""


def test_connection_close_is_obeyed(raw):
    one = raw()
    answer = one.get("/static/chat.js", "Connection: close\r\n")
    assert answer.headers["connection"] == "close"
    assert one.rest() == b""


def test_fifty_requests_in_one_segment_are_answered_in_order(raw):  # HP-30
    paths = [("/static/chat.js", "/nothing", "/")[n % 3] for n in range(50)]
    one = raw().send(b"".join(f"GET {p} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for p in paths))
    answers = [one.answer() for _ in paths]
    assert [a.status for a in answers] == [(200, 404, 200)[n % 3] for n in range(50)]


def test_a_bad_request_behind_a_good_one(raw):  # HP-30
    one = raw().send(
        b"GET /static/chat.js HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"
        b"GET /canary HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert one.answer().status == 200
    bad = one.answer()
    assert bad.status == 400 and bad.headers["connection"] == "close"
    assert one.rest() == b""


def test_a_refusal_arrives_although_the_client_sent_more(raw):  # A.5
    """With unread input a plain close() would reset the connection and destroy the answer."""
    for _ in range(5):
        one = raw()
        one.send(b"GET / HTTP/9.9\r\n\r\n")
        for _ in range(20):
            one.send(b"x" * 10_000)
            time.sleep(0.001)
        assert one.answer().status in (400, 505)
        assert one.rest() == b""


def test_a_reader_who_asks_and_never_reads_costs_bounded_memory(make_daemon):
    """Answers to pipelined requests wait in memory: past a limit no more may be made."""
    daemon = make_daemon(workers=1)
    (worker,) = daemon.workers()
    before = rss_mib(worker)
    with Raw((daemon.host, daemon.port), receive_buffer=4096) as one:
        one.sock.setblocking(False)
        request = b"GET /static/chat.js HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        deadline = time.monotonic() + 2
        sent = 0
        while time.monotonic() < deadline and sent < 4_000_000:
            try:
                sent += one.sock.send(request)
            except BlockingIOError:
                time.sleep(0.01)
        grown = rss_mib(worker) - before
        assert grown < 20, f"{grown:.0f} MiB for one connection"
        # And when it does read, it gets all that it asked for.
        one.sock.settimeout(10)
        for _ in range(500):
            assert one.answer().status == 200


def test_a_reader_of_history_who_never_reads_costs_bounded_memory(make_daemon, join):
    daemon = make_daemon(workers=1)
    (worker,) = daemon.workers()
    ann = join(daemon, "lobby")
    for number in range(200):
        ann.send("say", room="lobby", text="x" * 1000, id=number + 100)
    ann.take("ok", when=lambda v: v["id"] == 299)
    before = rss_mib(worker)
    with Raw((daemon.host, daemon.port), receive_buffer=4096) as one:
        one.upgrade().hello("empty")
        one.sock.setblocking(False)
        ask = command("history", id=1, room="lobby", limit=200)
        deadline = time.monotonic() + 2
        sent = 0
        while time.monotonic() < deadline and sent < 2000:
            try:
                one.sock.send(ask)
                sent += 1
            except BlockingIOError:
                time.sleep(0.01)
        grown = rss_mib(worker) - before
        assert grown < 40, f"{grown:.0f} MiB for one connection"
        assert ann.say("lobby", "the others are served")["seq"] == 201
        one.sock.settimeout(10)
        for _ in range(50):
            assert len(one.next("history").json["messages"]) == 200


def test_pings_without_end_cost_bounded_memory(make_daemon):  # WS-29
    daemon = make_daemon(workers=1)
    (worker,) = daemon.workers()
    before = rss_mib(worker)
    with Raw((daemon.host, daemon.port), receive_buffer=4096) as one:
        one.upgrade().hello("lobby")
        one.sock.setblocking(False)
        many = frame(PING, b"x" * 125) * 500
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                one.sock.send(many)
            except BlockingIOError:
                time.sleep(0.01)
        grown = rss_mib(worker) - before
        assert grown < 8, f"{grown:.0f} MiB for one connection"


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


# -- frames


def test_frames_behind_the_handshake_in_one_segment(raw, room):  # HP-31, WS-28
    one = raw()
    said = b"".join(command("say", id=n, room=room, text=f"m{n}") for n in range(2, 100))
    one.send(handshake() + command("hello", id=1, rooms={room: None}) + said)
    assert one.answer().status == 101
    assert one.next("welcome").json["id"] == 1
    came = [one.next("message").json for _ in range(98)]
    assert [m["text"] for m in came] == [f"m{n}" for n in range(2, 100)]


def test_one_byte_at_a_time_is_the_same(raw, room):  # WS-27
    one = raw()
    one.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    whole = handshake() + command("hello", id=1, rooms={room: None})
    whole += command("say", id=2, room=room, text="ü" * 70)
    for at in range(len(whole)):
        one.send(whole[at : at + 1])
    assert one.answer().status == 101
    assert one.next("message").json["text"] == "ü" * 70
    for byte in frame(CLOSE, b"\x03\xe8"):
        one.send(bytes([byte]))
    closed = one.close_frame()
    assert closed.code == 1000
    assert one.rest() == b""


@pytest.mark.parametrize(("sent", "code"), [
    (b"\x81\x05hello", 1002),  # WS-10: not masked
    (frame(3, b"x"), 1002),  # WS-11
    (frame(11, b"x"), 1002),
    (b"\xc1" + frame(TEXT, b"x")[1:], 1002),  # WS-12
    (frame(PING, b"x" * 126), 1002),  # WS-13
    (frame(PING, b"x", fin=False), 1002),
    (b"\x81\xfe\x00\x05\0\0\0\0hello", 1002),  # WS-14
    (b"\x81\xff" + b"\x80" + b"\0" * 7, 1002),  # WS-20
    (b"\x81\xff" + b"\x7f" + b"\xff" * 7, 1009),  # WS-21
    (frame(CLOSE, b"\x03"), 1002),  # WS-22
    (frame(CLOSE, b"\x03\xed"), 1002),  # WS-23: 1005
    (frame(CLOSE, b"\x03\xe8\xff"), 1007),  # WS-24
    (frame(TEXT, b"\xff"), 1007),
    (frame(TEXT, b"x", fin=False) * 2, 1002),  # WS-34
    (frame(0, b"x"), 1002),
    (frame(BINARY, b"x"), 1003),
    (frame(TEXT, b"x" * 65537), 1009),  # WS-30
    (frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 1024, 1008),  # WS-31
], ids=itertools.count())  # fmt: skip
def test_what_breaks_the_protocol_is_closed_with_its_code(raw, room, sent, code):
    one = raw().upgrade()
    one.hello(room)
    one.send(sent)
    assert one.close_frame().code == code
    one.send(frame(CLOSE, code.to_bytes(2, "big")))
    assert one.rest() == b"", "something came behind the close frame"


def test_nothing_is_done_behind_a_close_frame(raw, room):  # WS-25
    one = raw().upgrade()
    one.hello(room)
    one.send(frame(CLOSE, b"\x03\xe8") + command("say", room=room, text="from the grave"))
    assert one.close_frame().code == 1000
    one.rest()
    other = raw().upgrade()
    assert other.hello(room)["rooms"][room]["follows"] == 0


# -- proxies


def test_addresses_are_counted_behind_a_trusted_proxy(make_daemon):
    daemon = make_daemon(workers=1, limits__connections_per_address=2)
    address = daemon.host, daemon.port

    here: list[Raw] = []

    def visit(forwarded: str) -> int:
        here.append(Raw(address))
        text = handshake(extra=f"X-Forwarded-For: {forwarded}\r\n")
        return here[-1].send(text).answer().status

    # The right-most address counts; what stands left of it is the visitor's own invention.
    assert [visit(f"9.9.9.{n}, 203.0.113.1") for n in range(3)] == [101, 101, 503]
    assert [visit("203.0.113.2"), visit("203.0.113.2, 127.0.0.1")] == [101, 101]
    assert visit("203.0.113.2") == 503
    # IPv6 visitors are counted by /64.
    assert [visit(f"2001:db8:0:1::{n}") for n in range(3)] == [101, 101, 503]
    assert visit("2001:db8:0:2::1") == 101
    here[0].sock.close()
    daemon.wait_for(lambda: visit("203.0.113.1") == 101, "the place of who left")
    for one in here:
        one.sock.close()


def test_nobody_elses_word_on_addresses_counts(make_daemon):
    daemon = make_daemon(
        workers=1, limits__connections_per_address=2, trusted_proxies='["10.0.0.0/8"]'
    )
    address = daemon.host, daemon.port
    here = [Raw(address) for _ in range(3)]
    statuses = []
    for number, one in enumerate(here):
        one.send(handshake(extra=f"X-Forwarded-For: 203.0.113.{number}\r\n"))
        statuses.append(one.answer().status)
    assert statuses == [101, 101, 503]
    for one in here:
        one.sock.close()


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, pem = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", pem, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key


def tls_daemon(make_daemon, certificate, **keys):
    pem, key = certificate
    listen = f'[{{address: "127.0.0.1:0", tls: {{certificate: "{pem}", key: "{key}"}}}}]'
    return make_daemon(listen=listen, **keys)


def secured(daemon, certificate, sock: socket.socket | None = None) -> Raw:
    one = Raw((daemon.host, daemon.port))
    context = ssl.create_default_context(cafile=str(certificate[0]))
    one.sock = context.wrap_socket(one.sock, server_hostname="localhost")
    return one


def test_tls_serves_the_page_and_the_chat(make_daemon, certificate):
    daemon = tls_daemon(make_daemon, certificate)
    url = f"https://localhost:{daemon.port}/"
    resolve = f"localhost:{daemon.port}:127.0.0.1"
    page = curl("--cacert", str(certificate[0]), "--resolve", resolve, "-i", url)
    assert page.stdout.startswith("HTTP/1.1 200"), page
    with secured(daemon, certificate) as ann, secured(daemon, certificate) as bo:
        for one in (ann, bo):
            one.upgrade().hello("lobby")
        assert ann.sock.version() in ("TLSv1.2", "TLSv1.3")
        ann.send(b"".join(
            command("say", id=n, room="lobby", text=f"{n}" * 300) for n in range(10, 60)
        ))  # fmt: skip
        assert [bo.next("message").json["seq"] for _ in range(50)] == list(range(1, 51))


def test_plain_words_on_a_tls_listener_and_silence(make_daemon, certificate):  # HP-60, TL-05
    daemon = tls_daemon(make_daemon, certificate, timeouts__header="1s", workers=1)
    with Raw((daemon.host, daemon.port)) as one:
        one.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            assert one.ends_in_s() < 1
        except ConnectionResetError:
            pass  # there is nothing that a plain client could have been told
    with Raw((daemon.host, daemon.port)) as one:
        assert one.ends_in_s() < 4, "a handshake that never came was waited for"
    with secured(daemon, certificate) as one:
        assert one.get("/").status == 200


def test_a_refusal_over_tls_can_be_read(make_daemon, certificate):
    daemon = tls_daemon(make_daemon, certificate, limits__connections=1, workers=1)
    with secured(daemon, certificate) as first:
        first.upgrade().hello("lobby")
        with secured(daemon, certificate) as one:
            answer = one.send(handshake()).answer()
            assert answer.status == 503 and "retry-after" in answer.headers
            assert one.ends_in_s() < 2

"""WebSocket clients: pings, time limits, closing, and the dialects."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest

from tests.support.parts import V1, Site, WebSocket, change, draft
from wsd.chat.commands import MAX_UNANSWERED
from wsd.chat.schema import Pong
from wsd.metrics import CLOSED, M
from wsd.protocol.frames import encode_close, encode_masked
from wsd.reasons import BYE_RESTART
from wsd.transports.context import SOON_S
from wsd.transports.subscriber import LAG_S

Make = Callable[..., Site]


def connections(site: Site) -> float:
    return site.scoreboard.row("worker 0")[M.CONNECTIONS]


def live(client: V1, seconds: float) -> None:
    """Let time pass for a client that answers pings."""
    for _ in range(int(seconds)):
        client.site.pass_(1)
        for opcode, payload in client.ws.take():
            assert opcode != 8
            if opcode == 9:
                client.ws.send(payload, opcode=10)


# -- frames


def test_ping_is_answered(site: Site) -> None:
    ws = site.v1().ws
    assert ws.ask(b"payload", opcode=9) == [(10, b"payload")]
    assert ws.ask(b"unasked for", opcode=10) == []


def test_early_frames_behind_the_handshake(site: Site) -> None:
    wire = site.socket()
    wire.send(
        b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: wsd.v1\r\n\r\n"
        + encode_masked(1, b'{"type":"hello","id":1}', b"abcd")
    )
    site.settle()
    data = wire.take()
    assert data.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data
    assert b'"type":"welcome","id":1' in data


def test_binary_is_not_for_v1(site: Site) -> None:
    ws = site.v1().ws
    ws.send(b"\0\1", opcode=2)
    site.settle()
    assert ws.close_code() == 1003


@pytest.mark.parametrize(
    ("data", "code"),
    [(encode_masked(1, b"\xff", b"abcd"), 1007), (b"\x81\x02hi", 1002), (b"\xff\xff", 1002),
     (encode_masked(1, bytes(70_000), b"abcd"), 1009),
     (encode_masked(1, b"a", b"abcd", False) * 2, 1002),
     (encode_masked(1, b"a", b"abcd", False) + encode_masked(0, b"", b"abcd", False) * 1024, 1008)],
)  # fmt: skip
def test_what_breaks_the_protocol_ends_the_connection(site: Site, data: bytes, code: int) -> None:
    client = site.join()
    bystander = site.join()
    client.ws.wire.send(data)
    site.settle()
    client.ws.wire.send(encode_masked(1, b'{"type":"say","room":"lobby","text":"x"}', b"abcd"))
    site.settle()
    assert client.ws.close_code() == code
    assert client.ws.wire.ended
    site.pass_(6)
    assert connections(site) == 1
    assert bystander.events() == []


# -- closing


def test_the_client_closes(site: Site) -> None:
    client = site.join()
    client.ws.send(b"\x03\xe8bye", opcode=8)
    site.settle()
    assert client.ws.close_code() == 1000
    assert client.ws.wire.ended
    client.close()
    site.settle()
    assert connections(site) == 0
    assert site.workers[0].context.rooms.get("lobby").live == {}  # type: ignore[union-attr]


def test_the_client_closes_without_a_code(site: Site) -> None:
    ws = site.v1().ws
    assert ws.ask(b"", opcode=8) == [(8, b"")]


def test_the_client_vanishes(site: Site) -> None:
    for how in ("close", "shut"):
        client = site.join()
        getattr(client.ws.wire, how)()
        site.settle()
        assert connections(site) == 0


def test_nothing_follows_the_close_frame(site: Site) -> None:
    """RFC 6455, 5.5.1: MUST NOT send any more data frames after sending a Close frame."""
    client, other = site.join(), site.join()
    (attendant, _) = site.workers[0].context.attendants
    attendant.restart()
    site.settle()
    other.ask(type="say", room="lobby", text="to those who stay")
    client.ask(type="say", id=1, room="lobby", text="too late")
    site.workers[0].context.rooms.get("lobby").notice({"type": "x"})  # type: ignore[union-attr]
    site.pass_(3)
    client.pump()  # asserts that nothing follows
    assert client.closed == 1012
    assert other.events() == [(1, "to those who stay")]
    client.ws.send(encode_close(1012, "")[2:], opcode=8)
    site.settle()
    assert client.ws.wire.read() == b"" and client.ws.wire.ended


def test_a_client_that_does_not_answer_the_close(site: Site) -> None:
    client = site.join()
    (attendant,) = site.workers[0].context.attendants
    attendant.restart()
    site.pass_(4)
    assert connections(site) == 1
    site.pass_(3)
    assert connections(site) == 0
    client.pump()
    assert client.closed == 1012


# -- time


def test_hello_has_a_time_limit(site: Site) -> None:
    ws = site.v1().ws
    site.pass_(9)
    ws.ask(b"", opcode=9)  # a ping is no hello
    site.pass_(2.5)
    assert ws.close_code() == 4501
    site.pass_(7)
    assert connections(site) == 0


def test_pings_go_out_and_silence_ends_the_connection(site: Site) -> None:
    client = site.join()
    for _ in range(26):
        site.pass_(1)
        frames = client.ws.take()
        if any(opcode == 9 for opcode, _ in frames):
            break
    (told,) = [json.loads(p) for op, p in frames if op == 1 and b'"ping"' in p]
    assert told == {"type": "ping", "heads": {"lobby": 0}}
    site.pass_(12)
    assert client.ws.close_code() == 4000


def test_a_client_that_answers_pings_stays(site: Site) -> None:
    client = site.join()
    live(client, 200)
    assert connections(site) == 1


@pytest.mark.parametrize("every", [1.0, 3.0, 6.0])
def test_pings_as_often_as_is_asked_for(make_site: Make, every: float) -> None:
    """Also where that is less than ``ping.timeout``."""
    site = make_site(ping={"every": every})
    client = site.join()
    pings = []
    for tenth in range(600):
        site.pass_(0.1)
        frames = client.ws.take()
        if any(opcode == 9 for opcode, _ in frames):
            pings.append(tenth / 10)
            client.send(type="pong")
    pauses = [b - a for a, b in itertools.pairwise(pings)]
    assert len(pauses) >= 50 / (every + SOON_S) and max(pauses) <= every + SOON_S + 0.1


def test_heads_in_the_ping(site: Site) -> None:
    client = site.join()
    client.ask(type="say", room="lobby", text="x")
    client.ask(type="join", room="tech")
    site.pass_(26)
    (ping,) = [v for v in client.pump() if v["type"] == "ping"]
    assert ping["heads"] == {"lobby": 1, "tech": 0}


def test_pings_are_spread(make_site: Make) -> None:
    site = make_site()
    clients = [site.v1() for _ in range(60)]
    for client in clients:
        client.say_hello()
    seconds = []
    for _ in range(26):
        site.pass_(1)
        seconds.append(sum(any(op == 9 for op, _ in c.ws.take()) for c in clients))
    assert sum(seconds) == 60
    assert max(seconds) < 25


def test_a_hub_that_is_away_is_not_the_clients_fault(site: Site) -> None:
    """A held client cannot be heard, so its silence means nothing."""
    client = site.join()
    client.send(type="join", id=7, room="tech")
    client.send(type="pong")
    site.turn(hub=False)
    client.send(type="pong")
    site.pass_(60, 0.5, hub=False)
    for opcode, payload in client.ws.take():
        assert opcode != 8
        if opcode == 9:
            client.ws.send(payload, opcode=10)
    site.settle()
    assert client.closed is None
    assert any(v.get("id") == 7 for v in client.pump())


def test_bp_01_a_reader_that_has_stopped(make_site: Make) -> None:
    """Bounded memory, nobody else waits, and after a while it is given up."""
    site = make_site(limits={"queue": 64 * 1024, "text": 5000})
    slow, fast = site.join(), site.join()
    (attendant, _) = site.workers[0].context.attendants
    link = site.workers[0].context.link
    for i in range(200):
        link.publish(draft("x" * 4000, cid=str(i)), lambda outcome: None)
        site.turn()
        fast.pump()
        assert attendant.connection.queued < 64 * 1024 + 100 * 4200
    site.settle()
    assert [seq for seq, _ in fast.events()] == list(range(1, 201))
    assert site.scoreboard.row("worker 0")[M.LAGGED] == 1
    live(fast, 12)
    assert connections(site) == 2
    live(fast, LAG_S)
    assert connections(site) == 1
    del slow


def test_bp_03_a_slow_reader_gets_everything_in_order(make_site: Make) -> None:
    site = make_site(limits={"queue": 16 * 1024, "text": 5000}, history={"recover_max": 20})
    slow = site.join()
    link = site.workers[0].context.link
    for i in range(500):
        link.publish(draft(f"{i} " + "x" * 3000, cid=str(i)), lambda outcome: None)
        site.turn()
    for _ in range(3000):
        site.turn()
        slow.pump()
        site.clock.pass_(0.001)
        if len(slow.events()) == 500:
            break
    assert [seq for seq, _ in slow.events()] == list(range(1, 501))
    slow.ask(type="say", room="lobby", text="and on it goes")
    assert slow.events()[-1] == (501, "and on it goes")


def test_answers_that_nobody_reads_cost_bounded_memory(make_site: Make) -> None:
    site = make_site(limits={"queue": 64 * 1024})
    client = site.join()
    (attendant,) = site.workers[0].context.attendants
    sent = 0
    for _ in range(300):
        try:
            client.ws.send(b'{"type":"nonsense","id":1}' * 1)
            client.ws.wire.send(encode_masked(1, b"{}", b"abcd") * 500)
            sent += 501
        except BlockingIOError:
            pass  # so it should be: the kernel's buffer is full
        site.turn()
        assert attendant.connection.queued < 64 * 1024 + 4096
    got = 0
    for _ in range(5000):
        got += len(client.pump())
        site.turn()
        if got >= sent:
            break
    assert got >= sent - 1


# -- drain


def test_drain_says_bye_and_then_closes(site: Site) -> None:
    client = site.join()
    site.workers[0].apply(change(site.settings, drain={"spread": 5.0}))
    site.workers[0].drain()
    site.settle()
    (bye,) = [v for v in client.pump() if v["type"] == "bye"]
    assert bye == {"type": "bye", "code": BYE_RESTART, "reason": "restart", "retry_ms": [0, 5000]}
    site.pass_(6)
    client.pump()
    assert client.closed == 1012


def test_bp_22_a_drain_is_even(make_site: Make) -> None:
    site = make_site(drain={"spread": 10.0})
    clients = [site.join() for _ in range(100)]
    site.workers[0].drain()
    closed = []
    for _ in range(10):
        site.pass_(1)
        for client in clients:
            client.pump()
        closed.append(sum(client.closed is not None for client in clients))
    steps = [b - a for a, b in zip([0, *closed], closed, strict=False)]
    assert closed[-1] >= 99
    assert max(steps) <= 14


def test_a_restart_waits_for_answers_that_are_due(site: Site) -> None:
    client = site.join()
    client.send(type="say", id=1, room="lobby", text="x")
    site.turn(hub=False)
    (attendant,) = site.workers[0].context.attendants
    attendant.restart()
    site.pass_(1, hub=False)
    assert client.pump() == []
    site.pass_(0.5)
    client.pump()
    assert [v["type"] for v in client.got if v.get("id") == 1] == ["ok"]
    assert client.closed == 1012


# -- dialects


def texts_of(ws: WebSocket) -> list[str]:
    ws.site.settle()
    return ws.texts()


def test_the_text_dialect(site: Site) -> None:
    site.hub.log.append([draft("old")])
    one, two = site.websocket("/"), site.websocket("/")
    one.send("hello <b>")
    assert texts_of(one) == ["hello <b>"]
    assert texts_of(two) == ["hello <b>"]
    one.send("")
    assert texts_of(one) == ["wsd: a message has a text"]
    assert texts_of(two) == []


def test_the_tornado_dialect(site: Site) -> None:
    site.hub.log.append([draft("<old>")])
    ws = site.websocket("/chat")
    uid, history = texts_of(ws)
    assert uid[0] == "g"
    assert "&lt;old&gt;" in history and "<old>" not in history
    ws.send(json.dumps({"uid": "somebody else", "message": "<i>hi"}))
    (shown,) = texts_of(ws)
    assert f'data-uid="{uid}"' in shown and "&lt;i&gt;hi" in shown
    for bad in ("x", "[]", '{"message":5}', '{"uid":"x"}', "[" * 50_000, '{"message":""}'):
        ws.send(bad)
        (problem,) = texts_of(ws)
        assert "wsd" in problem


def test_dialects_and_v1_hear_each_other(site: Site) -> None:
    text, html, v1 = site.websocket("/"), site.websocket("/chat"), site.join()
    texts_of(html)
    v1.ask(type="say", room="lobby", text="hi & bye")
    assert texts_of(text) == ["hi & bye"]
    assert "hi &amp; bye" in texts_of(html)[0]
    text.send("from below")
    site.settle()
    assert v1.events()[-1] == (2, "from below")
    v1.ask(type="edit", room="lobby", seq=1, text="edited")
    v1.ask(type="delete", room="lobby", seq=1)
    assert texts_of(text) == ["from below"]


def test_dialects_have_the_rate_limit(make_site: Make) -> None:
    site = make_site(limits={"burst": 2, "every": 5.0})
    ws = site.websocket("/")
    for i in range(3):
        ws.send(str(i))
    site.pass_(0.5)
    words = "wsd: one message every 5 s; trying before the time doubles the wait"
    assert sorted(ws.texts()) == ["0", "1", words]


def test_rooms_of_dialects(site: Site) -> None:
    a, b = site.websocket("/?room=a"), site.websocket("/?room=b")
    a.send("x")
    assert (texts_of(a), texts_of(b)) == (["x"], [])


def test_echo(make_site: Make) -> None:
    site = make_site(echo=True)
    ws = site.websocket("/echo")
    assert ws.ask("täxt") == [(1, "täxt".encode())]
    assert ws.ask(bytes(range(256)) * 200, opcode=2) == [(2, bytes(range(256)) * 200)]
    ws.wire.close()
    site.settle()
    assert connections(site) == 0


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/chat?room=a%20b", "", 400), ("/chat", "Origin: https://evil.example\r\n", 403),
     ("/chat", "Origin: null\r\n", 403), ("/", "Origin: https://evil.example\r\n", 403),
     ("/chat", "Origin: http://chat.example\r\n", 101),
     ("/chat", "Origin: https://chat.example\r\n", 101), ("/chat", "", 101),
     ("/echo", "", 404), ("/none", "", 404), ("/r/lobby", "", 200)],
)  # fmt: skip
def test_upgrades_and_origins(site: Site, path: str, headers: str, status: int) -> None:
    wire = site.socket()
    answer = wire.ask(
        f"GET {path} HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\n{headers}"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert int(answer.split()[1]) == status
    if status >= 400:
        assert b"\r\nUpgrade:" not in answer  # HS-10


def test_origins_of_one_room(make_site: Make) -> None:
    from wsd.config import RoomOverrides

    site = make_site(rooms={"shop": RoomOverrides(origins=("https://shop.example",))})
    site.websocket("/chat?room=shop", headers="Origin: https://shop.example\r\n")
    with pytest.raises(AssertionError, match="403"):
        site.websocket("/chat?room=lobby", headers="Origin: https://shop.example\r\n")


def test_py_10_a_bug_met_by_one_client(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = site.join(), site.join()

    def bug(*args: object) -> None:
        raise ZeroDivisionError

    commands = site.workers[0].context.commands
    monkeypatch.setitem(commands._table, Pong, bug)
    client.ask(type="pong")
    assert client.closed == 1011
    assert site.scoreboard.row("worker 0")[M.ERRORS] == 1
    other.ask(type="say", room="lobby", text="x")
    assert other.events() == [(1, "x")]


def test_py_10_a_bug_met_when_the_hub_answers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = site.join(), site.join()
    commands = site.workers[0].context.commands
    real = commands._stored

    def bug(found: V1, *args: object) -> None:
        if found.guest.uid == client.welcome["uid"]:  # type: ignore[attr-defined]
            raise ZeroDivisionError
        real(found, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(commands, "_stored", bug)
    client.ask(type="say", id=1, room="lobby", text="x")
    got = other.ask(type="say", id=2, room="lobby", text="y")
    assert any(v.get("id") == 2 for v in got)
    assert other.events() == [(1, "x"), (2, "y")]
    assert site.scoreboard.row("worker 0")[M.ERRORS] == 1


# -- members that are written to past their queue


def test_a_reset_is_noticed_while_events_are_given_out(site: Site) -> None:
    """Whoever is found gone in the midst of it leaves the room only afterwards."""
    clients = [site.join() for _ in range(5)]
    for client in clients[1:4]:
        client.ws.wire.sock.close()
    clients[0].ask(type="say", room="lobby", text="hi")
    site.settle()
    assert clients[0].events() == clients[4].events() == [(1, "hi")]
    assert connections(site) == 2


# -- messages that do not end, pings without end


@pytest.mark.parametrize(
    "begun",
    [b"\x81", encode_masked(1, b"a" * 200, b"abcd")[:100], encode_masked(1, b"a", b"abcd", False)],
    ids=["half a header", "half a frame", "a fragment"],
)
def test_sl_11_a_message_that_does_not_end(site: Site, begun: bytes) -> None:
    client = site.join()
    client.ws.wire.send(begun)
    site.settle()
    site.pass_(15)
    assert not client.ws.wire.ended
    if begun[0] == 1:  # a ping between fragments shows life, but does not end the message
        assert (10, b"p") in client.ws.ask(b"p", opcode=9)
    site.pass_(7)
    assert client.ws.close_code() == 4000
    site.pass_(6)
    assert client.ws.take() == [] and client.ws.wire.ended
    assert CLOSED.counts(site.scoreboard.row("worker 0")) == {"message_timeout": 1}


def test_a_slow_message_that_ends_in_time(site: Site) -> None:
    client = site.join()
    for _ in range(3):  # each begins anew
        frame = encode_masked(1, b'{"type":"pong"}', b"abcd")
        for at in range(0, len(frame), 4):
            client.ws.wire.send(frame[at : at + 4])
            site.pass_(3)
    assert not client.ws.wire.ended


def test_a_message_that_waits_for_us_is_not_late(site: Site) -> None:
    client = site.join()
    (attendant,) = site.workers[0].context.attendants
    frame = encode_masked(1, b'{"type":"pong"}', b"abcd")
    client.ws.wire.send(frame[:9])
    site.settle()
    attendant.hold()  # as while the hub has too much to answer
    site.pass_(40)  # longer than it takes to ping and to miss the pong
    attendant.release()
    site.pass_(2)
    assert client.ws.close_code() is None
    client.ws.wire.send(frame[9:])
    site.settle()
    assert client.error(type="say", room="lobby") == "bad"


def test_ws_29_a_client_that_takes_nothing_gets_one_pong(site: Site) -> None:
    client = site.join()
    ws = client.ws
    sent = 0
    connection = next(iter(site.workers[0].context.attendants)).connection
    while not connection.blocked:
        ws.wire.send(encode_masked(9, b"%0125d" % sent, b"abcd"))
        sent += 1
        site.settle(2)
    queued = connection.queued
    for _ in range(500):
        ws.wire.send(encode_masked(9, b"%0125d" % sent, b"abcd"))
        sent += 1
        site.settle(2)
    assert connection.queued == queued
    pongs: list[bytes] = []
    while connection.queued or not pongs:
        pongs += [payload for opcode, payload in ws.take() if opcode == 10]
        site.settle()
    pongs += [payload for opcode, payload in ws.take() if opcode == 10]
    assert len(pongs) < sent - 490 and pongs[-1] == b"%0125d" % (sent - 1)


# -- sessions are lent


def half(text: str) -> tuple[bytes, bytes]:
    """A frame in two pieces."""
    frame = encode_masked(1, text.encode(), b"abcd")
    return frame[:7], frame[7:]


def test_an_idle_client_has_no_session(site: Site) -> None:
    """Most are silent most of the time; one for each would be a fifth of their memory."""
    clients = [site.join(name=name) for name in ("Ann", "Bob", "Cleo")]
    attendants = list(site.workers[0].context.attendants)
    assert [client._session for client in attendants] == [None] * 3  # type: ignore[attr-defined]
    assert clients[0].ask(type="say", room="lobby", text="hi", cid="c", id=2)


def test_unfinished_frames_of_two_clients_are_not_mixed(site: Site) -> None:
    ann, bob = site.join(name="Ann"), site.join(name="Bob")
    parts = [
        half(json.dumps({"type": "say", "room": "lobby", "text": text, "cid": text, "id": 9}))
        for text in ("from ann", "from bob")
    ]
    for i in range(2):
        for client, part in zip((ann, bob), parts, strict=True):
            client.ws.wire.send(part[i])
            site.settle()
    assert ann.events() == [(1, "from ann"), (2, "from bob")]


def test_a_session_that_ended_is_not_lent_again(site: Site) -> None:
    broken, other = site.join(name="Ann"), site.join(name="Bob")
    broken.ws.wire.send(b"\xf1\x80abcd")  # reserved bits
    site.settle()
    assert broken.ws.close_code() == 1002
    assert other.ask(type="say", room="lobby", text="hi", cid="c", id=2)[0]["type"] == "ok"


def test_a_reload_holds_for_sessions_that_were_lent_before(site: Site) -> None:
    ann = site.join(name="Ann")
    context = site.workers[0].context
    first, rest = half("x" * 300)
    ann.ws.wire.send(first)  # has one from before the reload
    site.settle()
    context.apply(change(context.settings, limits={"message": 1000}))
    ann.ws.wire.send(rest)
    site.settle()
    ann.ws.send("y" * 2000)
    site.settle()
    assert ann.ws.close_code() == 1009


@pytest.mark.parametrize("path", ["/", "/chat"])
def test_the_tutorials_dialects_are_held_while_too_much_is_unanswered(
    make_site: Make, path: str
) -> None:
    site = make_site(limits={"every": 0.0})
    socket = site.websocket(path)
    site.settle()
    for i in range(3 * MAX_UNANSWERED):
        socket.send(f'{{"message": "{i}"}}')
        site.settle(1, hub=False)
    assert site.workers[0].context.link.unanswered == MAX_UNANSWERED
    site.settle(20)
    assert site.hub.log.bounds("lobby") == (1, 3 * MAX_UNANSWERED)

"""``wsd.v1`` as other people's client libraries speak it."""

from __future__ import annotations

import json
import re
import time
import urllib.request

import pytest

from tests.support.clients import V1, PeerClosed, Refused, connect

# -- hello and welcome


def test_welcome_says_who_one_is_and_where_one_stands(shared, room, library, join):
    client = join(shared, room, library=library)
    welcome = client.welcome
    assert client.peer.subprotocol == "wsd.v1"
    assert set(welcome) == {
        "type", "id", "uid", "token", "name", "role", "ping_s", "time", "rooms",
    }  # fmt: skip
    assert welcome["id"] == 1
    assert re.fullmatch(r"g[a-z0-9]{5,}", welcome["uid"])
    assert welcome["role"] == "guest"
    assert 2 <= len(welcome["name"]) <= 24
    assert welcome["ping_s"] == 25
    assert abs(welcome["time"] - time.time()) < 5
    assert set(welcome["rooms"]) == {room}
    there = welcome["rooms"][room]
    assert set(there) == {"position", "follows", "recovered", "online", "modes"}
    assert re.fullmatch(r"[a-z0-9]+\.0", there["position"])
    assert there == {**there, "follows": 0, "recovered": False, "online": 1, "modes": {}}


def test_said_to_all_and_to_the_sender_in_the_same_words(shared, room, library, join):
    sender = join(shared, room, library=library, name="Ann")
    others = [join(shared, room, library=library) for _ in range(2)]
    text = "grüß Gott 你好 👋 <b>&amp;"
    reply = sender.say(room, text, cid="c1", reply_to=None)
    assert set(reply) == {"type", "id", "room", "seq", "time"}
    assert (reply["room"], reply["seq"]) == (room, 1)
    expected = {
        "type": "message", "room": room, "seq": 1, "time": reply["time"], "uid": sender.uid,
        "name": "Ann", "role": "guest", "text": text,
    }  # fmt: skip
    for client in [sender, *others]:
        assert client.take("message") == expected


def test_every_length_up_to_the_limit_arrives_whole(shared, room, library, join):
    sender, reader = join(shared, room, library=library), join(shared, room, library=library)
    for length in (1, 60, 125, 126, 199, 200):
        sender.say(room, "ß" * length)
        assert reader.take("message")["text"] == "ß" * length
    refused = sender.ask("say", room=room, text="x" * 201)
    assert (refused["type"], refused["code"]) == ("error", "too_long")
    assert not [value for value in reader.quiet() if value["type"] == "message"]


def test_edit_and_delete_are_events_and_change_what_history_shows(shared, room, library, join):
    ann, bo = join(shared, room, library=library), join(shared, room, library=library)
    ann.say(room, "frist")
    ann.say(room, "second")
    edited = ann.ask("edit", room=room, seq=1, text="first")
    deleted = ann.ask("delete", room=room, seq=2)
    assert (edited["type"], edited["seq"]) == ("ok", 3)
    assert (deleted["type"], deleted["seq"]) == ("ok", 4)
    for client in (ann, bo):
        client.take_events(2)
        assert client.take("edit") == {
            "type": "edit", "room": room, "seq": 3, "time": edited["time"], "ref": 1,
            "text": "first",
        }  # fmt: skip
        assert client.take("delete") == {
            "type": "delete", "room": room, "seq": 4, "time": deleted["time"], "ref": 2,
        }  # fmt: skip
    first, second = bo.ask("history", room=room)["messages"]
    assert first["text"] == "first"
    assert second["text"] == "" and second["deleted"]
    # A newcomer is not shown what was taken back either.
    newcomer = join(shared, room, library=library)
    texts = [event.get("text") for event in newcomer.take_events(4)]
    assert "second" not in texts and "frist" not in texts


def test_what_is_not_ones_own_cannot_be_changed(shared, room, join):
    ann, bo = join(shared, room), join(shared, room)
    ann.say(room, "mine")
    assert bo.ask("edit", room=room, seq=1, text="yours")["code"] == "denied"
    assert bo.ask("delete", room=room, seq=1)["code"] == "denied"
    assert bo.ask("delete", room=room, seq=99)["code"] == "bad"
    assert bo.ask("history", room=room)["messages"][0]["text"] == "mine"
    assert ann.ask("delete", room=room, seq=1)["type"] == "ok"
    assert ann.ask("edit", room=room, seq=1, text="again")["code"] == "bad"


def test_a_token_brings_uid_and_name_back(shared, room, library, join):
    before = join(shared, room, library=library)
    renamed = before.ask("rename", name="Ann  Lee")
    assert renamed["type"] == "ok" and renamed["name"] == "Ann Lee"
    before.say(room, "hello")
    assert before.take("message")["name"] == "Ann Lee"
    before.close()
    for _ in range(4):  # whichever worker answers
        after = join(shared, room, library=library, token=renamed["token"])
        assert (after.uid, after.welcome["name"]) == (before.uid, "Ann Lee")
        assert after.ask("edit", room=room, seq=1, text="still mine")["type"] == "ok"


def test_a_new_name_holds_at_every_worker_whatever_an_older_token_says(shared, room, join):
    """Tabs at both workers, as many as make it sure, and a command that comes without a socket."""
    tabs = [join(shared, room, name="Ann")]
    old = tabs[0].token
    tabs += [join(shared, room, token=old) for _ in range(7)]
    uid = tabs[0].uid

    def all_call_it(name: str) -> None:
        for tab in tabs:
            tab.take("presence", when=lambda v: [uid, name] in v["joined"])
        again = [join(shared, room, token=old) for _ in range(8)]
        assert {tab.welcome["name"] for tab in again} == {name}
        for n, tab in enumerate(tabs):
            text = f"{name} {n}"
            tab.say(room, text)
            assert tab.take("message", when=lambda v, text=text: v["text"] == text)["name"] == name
        shared.wait_for(lambda: shared.cli("who", room).stdout == f"{uid} {name}\n", "it is listed")

    assert tabs[0].ask("rename", name="Anna")["name"] == "Anna"
    all_call_it("Anna")
    for name in ("Anne", "Annette"):
        (reply,) = post_send(shared, tabs[0].token, {"type": "rename", "id": 1, "name": name})
        assert reply["name"] == name
        all_call_it(name)


def post_send(daemon, token, *commands):
    """The replies to ``POST /send``, on a connection of its own, at whichever worker."""
    body = json.dumps({"token": token, "commands": commands}).encode()
    with urllib.request.urlopen(f"{daemon.url}send", body, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("spoil", [
    lambda token: token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
    lambda token: "A" + token[1:],
    lambda token: token + "A",
    lambda token: "",
    lambda token: "x" * 5000,
    lambda token: "ä" * 40,
])  # fmt: skip
def test_a_spoiled_token_makes_somebody_new(shared, room, join, spoil):
    real = join(shared, room, name="Ann")
    other = join(shared, room, token=spoil(real.token))
    assert other.uid != real.uid
    assert other.welcome["name"] != "Ann"


def test_hello_without_rooms_enters_the_room_of_the_address(shared, room, library):
    client = V1(shared.ws(f"/chat?room={room}"), library=library).hello()
    assert list(client.welcome["rooms"]) == [room]
    client.close()
    client = V1(shared.ws(), library=library).hello()
    assert list(client.welcome["rooms"]) == ["lobby"]
    client.close()


# -- follows, then live


def test_exactly_what_follows_comes_and_then_what_is_live(shared, room, library, join):
    ann = join(shared, room)
    for number in range(8):
        ann.say(room, f"m{number}")
    ann.ask("edit", room=room, seq=8, text="edited")
    newcomer = join(shared, room, library=library)
    there = newcomer.welcome["rooms"][room]
    assert (there["follows"], there["recovered"]) == (5, False)  # history.replay
    assert there["position"].endswith(".9")
    ann.say(room, "live")
    assert [event["seq"] for event in newcomer.take_events(6)] == [5, 6, 7, 8, 9, 10]
    kinds = [value["type"] for value in newcomer.seen]
    assert kinds[:6] == ["welcome", "message", "message", "message", "message", "edit"]


def test_several_rooms_each_with_their_own_numbers(shared, room, library, join):
    one, two = f"{room}.one", f"{room}.two"
    ann = join(shared, one, two)
    ann.say(one, "1")
    ann.say(two, "2")
    ann.say(one, "3")
    bo = join(shared, one, two, library=library)
    assert [bo.welcome["rooms"][r]["follows"] for r in (one, two)] == [2, 1]
    bo.take_events(3)
    assert [e["seq"] for e in bo.events(one)] == [1, 2]
    assert [e["seq"] for e in bo.events(two)] == [1]


def test_join_and_leave(shared, room, library, join):
    ann = join(shared, room)
    ann.say(room, "before")
    bo = join(shared, f"{room}.other", library=library)
    joined = bo.ask("join", room=room)
    assert joined["type"] == "ok" and joined["room"] == room
    assert (joined["follows"], joined["recovered"]) == (1, False)
    assert bo.take("message")["text"] == "before"
    bo.say(room, "hi")
    assert ann.take("message", when=lambda v: v["text"] == "hi")
    left = bo.ask("leave", room=room)
    assert left["type"] == "ok" and left["room"] == room
    ann.say(room, "after")
    assert not [v for v in bo.quiet() if v["type"] == "message" and v["text"] == "after"]
    assert bo.ask("say", room=room, text="x")["code"] == "unknown_room"
    assert bo.ask("leave", room=room)["code"] == "unknown_room"
    # Coming back with the position brings what was missed.
    again = bo.ask("join", room=room, after=f"{joined['position'].split('.')[0]}.2")
    assert (again["follows"], again["recovered"]) == (1, True)
    assert bo.take("message", when=lambda v: v["seq"] == 3)["text"] == "after"


def test_history_pages_reach_the_first_message(shared, room, library, join):
    ann = join(shared, room)
    for number in range(1, 24):
        ann.send("say", room=room, text=f"m{number}", id=1000 + number)
    for number in range(1, 24):
        ann.take("ok", when=lambda v, n=number: v["id"] == 1000 + n)
    ann.ask("delete", room=room, seq=5)
    reader = join(shared, room, library=library)
    found: list[dict] = []
    before, pages = None, 0
    while True:
        wanted = {} if before is None else {"before": before}
        page = reader.ask("history", room=room, limit=7, **wanted)
        assert page["type"] == "history" and page["room"] == room
        assert page["epoch"] == reader.welcome["rooms"][room]["position"].split(".")[0]
        assert len(page["messages"]) <= 7
        found[:0] = page["messages"]
        pages += 1
        if not page["more"]:
            break
        before = page["messages"][0]["seq"]
    assert pages == 4
    assert [m["seq"] for m in found] == list(range(1, 24))
    assert found[4]["deleted"] and found[4]["text"] == ""
    assert [m["text"] for m in found[:4]] == ["m1", "m2", "m3", "m4"]
    # No page is longer than the limit of the configuration, whatever is asked for.
    assert len(reader.ask("history", room=room, limit=10**6)["messages"]) == 10
    assert reader.ask("history", room=room, limit=0)["code"] == "bad"
    assert reader.ask("history", room=room, before=-1)["code"] == "bad"
    empty = reader.ask("history", room=f"{room}.never")
    assert (empty["messages"], empty["more"]) == ([], False)


# -- who is there


def test_typing_is_told_to_the_room(shared, room, library, join):
    ann, bo = join(shared, room, library=library), join(shared, room, library=library)
    ann.send("typing", room=room)
    assert bo.take("typing") == {"type": "typing", "room": room, "uid": ann.uid}
    assert ann.ask("typing", room="elsewhere")["code"] == "unknown_room"


def test_presence_tells_newcomers_everybody_and_the_others_the_newcomer(
    shared, room, library, join
):
    ann = join(shared, room, library=library, name="Ann")
    full = ann.take("presence", when=lambda v: v.get("full"))
    assert full["joined"] == [[ann.uid, "Ann"]] and full["online"] == 1
    bo = join(shared, room, library=library, name="Bo")
    told = ann.take("presence", when=lambda v: bo.uid in [uid for uid, _ in v["joined"]])
    assert told["online"] == 2 and told["left"] == [] and [bo.uid, "Bo"] in told["joined"]
    people: dict[str, str] = {}
    while people != {ann.uid: "Ann", bo.uid: "Bo"}:
        told = bo.take("presence")
        people = {} if told.get("full") else people
        people.update(told["joined"])
    bo.ask("rename", name="Bob")
    assert ann.take("presence", when=lambda v: [bo.uid, "Bob"] in v["joined"])["online"] == 2


def test_three_connections_count_once_and_leaving_is_told_after_ten_seconds(shared, room, join):
    ann = join(shared, room)
    bo = [join(shared, room)]
    bo += [join(shared, room, token=bo[0].token) for _ in range(2)]
    assert {client.uid for client in bo} == {bo[0].uid}
    ann.take("presence", when=lambda v: v["online"] == 2)
    carl = join(shared, room)
    ann.take("presence", when=lambda v: v["online"] == 3)
    assert max(value["online"] for value in ann.seen if value["type"] == "presence") == 3
    for client in bo[:2]:
        client.close()
    carl.close()
    carl_left_at = time.monotonic()
    time.sleep(1)
    # Somebody who comes back in time was never away for the others.
    join(shared, room, token=carl.token)
    bo[2].close()
    left_at = time.monotonic()
    told = ann.take("presence", when=lambda v: v["left"], timeout=14)
    after = time.monotonic() - left_at
    assert told["left"] == [bo[0].uid] and told["online"] == 2
    assert 9 < after < 13, f"told after {after:.1f} s"
    assert time.monotonic() - carl_left_at > 10
    assert not [v for v in ann.seen if carl.uid in v.get("left", ())]


# -- what is wrong is answered


REFUSED = [  # (what is sent, the code of the answer)
    ('{"type":"dance","id":7}', "bad"),
    ('{"type":"Say","id":7,"room":"ROOM","text":"x"}', "bad"),
    ('{"id":7}', "bad"),
    ('{"type":5,"id":7}', "bad"),
    ('{"type":null,"id":7}', "bad"),
    ('{"type":"say","id":7}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":5}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":""}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":" \\n\\t\\u0000 "}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":"x","cid":""}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":"x","cid":"LONG"}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":"x","reply_to":-1}', "bad"),
    ('{"type":"say","id":7,"room":"ROOM","text":"x","reply_to":1e400}', "bad"),
    ('{"type":"say","id":7,"room":"never joined","text":"x"}', "unknown_room"),
    ('{"type":"say","id":7,"room":"ROOM","text":"LONGLONGLONGLONG"}', "too_long"),
    ('{"type":"edit","id":7,"room":"ROOM","seq":0,"text":"x"}', "bad"),
    ('{"type":"edit","id":7,"room":"ROOM","seq":99999999999999999999,"text":"x"}', "bad"),
    ('{"type":"join","id":7,"room":"a/b"}', "bad"),
    ('{"type":"join","id":7,"room":""}', "bad"),
    ('{"type":"join","id":7,"room":".."}', "bad"),
    ('{"type":"join","id":7,"room":"LONG"}', "bad"),
    ('{"type":"join","id":7,"room":["x"]}', "bad"),
    ('{"type":"rename","id":7,"name":"x"}', "name_bad"),
    ('{"type":"rename","id":7,"name":"LONG"}', "name_bad"),
    ('{"type":"rename","id":7,"name":"a\\u202eb"}', "name_bad"),
    ('{"type":"rename","id":7,"name":"a\\u200bb"}', "name_bad"),
    ('{"type":"moderate","id":7,"room":"ROOM","action":"mute","uid":"g1"}', "denied"),
    ('{"type":"hello","id":7}', "bad"),
]


def test_whatever_is_wrong_is_answered_with_its_id_and_closes_nothing(shared, room, library, join):
    client = join(shared, room, library=library)
    for sent, code in REFUSED:
        client.peer.send(sent.replace("ROOM", room).replace("LONG", "x" * 65))
        answer = client.take("error")
        assert (answer.get("id"), answer["code"]) == (7, code), (sent, answer)
        assert answer["message"], sent
    for garbage in (
        "", "x", "[]", "5", "null", '"say"', "{", "[" * 5000, "{}{}", "\ufeff{}",
        '{"type":"\\ud800"}',
    ):  # fmt: skip
        client.peer.send(garbage)
        answer = client.take("error")
        assert answer["code"] == "bad" and "id" not in answer, garbage
    assert client.say(room, "still here")["seq"] == 1, "something of all that was stored"


def test_unknown_fields_are_ignored_and_an_id_is_optional(shared, room, library, join):
    ann, bo = join(shared, room, library=library), join(shared, room, library=library)
    ann.send("say", room=room, text="no id", colour="red", extra={"deep": [1, 2]})
    assert bo.take("message")["text"] == "no id"
    ann.send("edit", room=room, seq=1, text="edited")
    ann.send("rename", name="Anna")
    ann.send("pong")
    ann.send("leave", room=room)
    ann.ask("join", room=room)
    kinds = {value["type"] for value in ann.seen}
    assert "error" not in kinds
    # An answer without an id could belong to anything: there is none for what went well.
    assert not [v for v in ann.seen if v["type"] == "ok" and "id" not in v]


def test_nothing_before_hello(shared, room, library, open_peer):
    peer = open_peer(shared.ws(), "wsd.v1", library=library)
    for type_ in ("say", "join", "history", "rename", "dance"):
        peer.send(json.dumps({"type": type_, "id": 3, "room": room, "text": "x", "name": "Ann"}))
        answer = json.loads(peer.recv())
        assert answer["id"] == 3
        assert answer["code"] == ("bad" if type_ == "dance" else "auth")
    peer.send(json.dumps({"type": "hello", "id": 4, "name": "\u202e"}))
    assert json.loads(peer.recv())["code"] == "name_bad"
    peer.send(json.dumps({"type": "hello", "id": 5, "rooms": {"a b": None}}))
    assert json.loads(peer.recv())["code"] == "bad"
    many = {f"{room}.{n}": None for n in range(17)}
    peer.send(json.dumps({"type": "hello", "id": 6, "rooms": many}))
    assert json.loads(peer.recv())["code"] == "bad"
    peer.send(json.dumps({"type": "hello", "id": 7, "rooms": {room: None}}))
    assert json.loads(peer.recv())["type"] == "welcome"


def test_a_room_has_one_name_however_its_accents_are_written(shared, room, join):
    composed, decomposed = f"{room}é", f"{room}e\u0301"
    ann, bo = join(shared, composed), join(shared, decomposed)
    assert list(bo.welcome["rooms"]) == [composed]
    assert bo.ask("say", room=decomposed, text="salut")["type"] == "ok"
    assert ann.take("message")["text"] == "salut"


def test_the_rate_limit_says_when_to_come_back(make_daemon, join):
    daemon = make_daemon(limits__every="2s", limits__burst=3)
    ann = join(daemon, "lobby")
    answers = [ann.ask("say", room="lobby", text="x", cid=f"c{n}") for n in range(4)]
    assert [answer["type"] for answer in answers] == ["ok", "ok", "ok", "error"]
    assert answers[3]["code"] == "rate"
    assert 1000 < answers[3]["retry_ms"] <= 2001
    # Another connection of the same guest does not have another allowance.
    time.sleep(answers[3]["retry_ms"] / 1000)
    assert ann.ask("say", room="lobby", text="x", cid="c3")["type"] == "ok"
    assert ann.ask("say", room="lobby", text="x", cid="c4")["code"] == "rate"


# -- the end


def test_goodbye_from_the_client_is_answered(shared, room, library):
    client = V1(shared.ws(), library=library).hello({room: None})
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 1.5


def test_binary_is_not_spoken(shared, room, library, join):
    client = join(shared, room, library=library)
    client.peer.send(b"\x00\x01")
    assert client.closed().code == 1003


def test_more_than_the_largest_message_is_too_much(shared, room, library, join):
    client = join(shared, room, library=library)
    client.peer.send("x" * 65536)
    assert client.take("error")["code"] == "bad"
    client.peer.send("x" * 65537)
    assert client.closed().code == 1009


def test_other_subprotocols_are_not_agreed_to(shared, library):
    try:
        peer = connect(shared.ws(), "wsd.v2", library=library)
    except (ConnectionError, Refused):
        return  # ws itself refuses a server that chose none
    assert peer.subprotocol is None
    peer.close()


def test_echo_gives_back_every_byte(shared, library, open_peer):
    peer = open_peer(shared.ws("/echo"), library=library)
    for data in ("", "x", "grüß 👋\u0000", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536):
        peer.send(data)
        assert peer.recv() == data
    for blob in (b"", bytes(range(256)), b"\xff" * 65536):
        peer.send(blob)
        assert peer.recv() == blob
    peer.send(b"x" * 65537)
    with pytest.raises(PeerClosed) as closed:
        peer.recv()
    assert closed.value.code == 1009


def test_no_echo_unless_it_is_switched_on(daemon, library):
    with pytest.raises(Refused) as refused:
        connect(daemon.ws("/echo"), library=library)
    assert refused.value.status == 404

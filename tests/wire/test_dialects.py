"""The tutorial's two servers, as their pages speak to them, and all dialects in one room."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.clients import V1, PeerClosed


def rendered(html: str) -> tuple[str, str]:
    """(uid, text as HTML) of one message as the Tornado page gets it."""
    found = re.fullmatch(
        r'<div class="message" id="m\d+" data-uid="([^"]*)"><span class="name">[^<]*</span> '
        r'<span class="text">([^<]*)</span></div>',
        html.strip(),
    )
    assert found, html
    return found[1], found[2]


def say(peer, text: str, uid: str = "") -> None:
    peer.send(json.dumps({"uid": uid, "message": text}))


# -- the Tornado chat, on /chat


def test_the_uid_comes_first_then_history_then_what_is_live(shared, room, library, open_peer):
    url = shared.ws(f"/chat?room={room}")
    ann = open_peer(url, library=library)
    uid = ann.recv()
    assert re.fullmatch(r"g[a-z0-9]{5,}", uid)
    for number in range(7):
        say(ann, f"m{number}", uid)
        assert rendered(ann.recv()) == (uid, f"m{number}")
    bo = open_peer(url, library=library)
    assert bo.recv() != uid
    assert [rendered(bo.recv())[1] for _ in range(5)] == ["m2", "m3", "m4", "m5", "m6"]
    say(ann, "live", uid)
    assert rendered(bo.recv()) == (uid, "live")


def test_a_claimed_uid_is_not_believed_and_html_is_escaped(shared, room, library, open_peer):
    url = shared.ws(f"/chat?room={room}")
    ann, eve = open_peer(url, library=library), open_peer(url, library=library)
    ann_uid, eve_uid = ann.recv(), eve.recv()
    say(eve, "<script>alert(\"1\")</script> & 'x'", ann_uid)
    uid, text = rendered(ann.recv())
    assert uid == eve_uid
    assert text == "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; &#39;x&#39;"
    eve.send(json.dumps({"message": "without a uid"}))
    assert rendered(ann.recv()) == (eve_uid, "without a uid")
    eve.send(json.dumps({"uid": {"not": "a string"}, "message": "odd", "more": 1}))
    assert rendered(ann.recv()) == (eve_uid, "odd")


def test_what_is_no_message_is_told_to_its_sender_alone(shared, room, library, open_peer):
    url = shared.ws(f"/chat?room={room}")
    ann, bo = open_peer(url, library=library), open_peer(url, library=library)
    ann.recv(), bo.recv()
    wrong = ("hello", "{}", '{"message":5}', "[]", '{"message":""}')
    for sent in (*wrong, json.dumps({"message": "x" * 201})):
        ann.send(sent)
        uid, text = rendered(ann.recv())
        assert uid == "" and text, sent
    say(ann, "right")
    assert rendered(bo.recv())[1] == "right"


# -- the first server, on /


def test_the_same_text_to_everybody_and_no_history(shared, room, library, open_peer):
    url = shared.ws(f"/?room={room}")
    ann, bo = open_peer(url, library=library), open_peer(url, library=library)
    for text in ("hello", "grüß 👋", '{"type":"say"}', "<b>bold</b>", "two\nlines"):
        ann.send(text)
        assert (ann.recv(), bo.recv()) == (text, text)
    carl = open_peer(url, library=library)
    bo.send("after")
    assert carl.recv() == "after"
    with pytest.raises(TimeoutError):
        carl.recv(0.3)


def test_text_dialect_explains_itself_and_goes_on(shared, room, library, open_peer):
    ann = open_peer(shared.ws(f"/?room={room}"), library=library)
    ann.send("x" * 201)
    assert ann.recv().startswith("wsd: ")
    ann.send("fine")
    assert ann.recv() == "fine"
    ann.send(b"bytes")
    with pytest.raises(PeerClosed) as closed:
        ann.recv()
    assert closed.value.code == 1003


def test_the_room_of_the_address_without_a_name_is_the_default_one(shared, open_peer, join):
    listener = join(shared, "lobby")
    text, tornado = open_peer(shared.ws("/")), open_peer(shared.ws("/chat"))
    uid = tornado.recv()
    text.send("from the text dialect")
    say(tornado, "from the other")
    texts = {listener.take("message")["text"] for _ in range(2)}
    assert texts == {"from the text dialect", "from the other"}
    assert [m["text"] for m in listener.events("lobby") if m["uid"] == uid] == ["from the other"]


# -- all together


def test_all_dialects_in_one_room_see_each_other(shared, room, library, open_peer, join):
    v1 = join(shared, room, library=library, name="Ann")
    tornado = open_peer(shared.ws(f"/chat?room={room}"), library=library)
    text = open_peer(shared.ws(f"/?room={room}"), library=library)
    uid = tornado.recv()

    v1.say(room, "1 < 2")
    assert v1.take("message")["text"] == "1 < 2"
    assert rendered(tornado.recv()) == (v1.uid, "1 &lt; 2")
    assert text.recv() == "1 < 2"

    say(tornado, "2 > 1")
    assert v1.take("message")["uid"] == uid
    assert rendered(tornado.recv()) == (uid, "2 &gt; 1")
    assert text.recv() == "2 > 1"

    text.send("three")
    assert v1.take("message")["text"] == "three"
    assert rendered(tornado.recv())[1] == "three"
    assert text.recv() == "three"

    # What the dialects have no words for does not reach them, and is no gap for v1.
    v1.ask("edit", room=room, seq=1, text="1 <= 2")
    v1.ask("delete", room=room, seq=1)
    v1.say(room, "last")
    assert rendered(tornado.recv())[1] == "last"
    assert text.recv() == "last"
    v1.take("message", when=lambda v: v["text"] == "last")
    assert [event["seq"] for event in v1.events(room)] == [1, 2, 3, 4, 5, 6]


def test_people_of_all_dialects_are_counted(shared, room, open_peer, join):
    ann = join(shared, room)
    open_peer(shared.ws(f"/chat?room={room}"))
    open_peer(shared.ws(f"/?room={room}"))
    ann.take("presence", when=lambda v: v["online"] == 3)


def test_a_name_with_html_is_escaped_too(shared, room, open_peer, join):
    tornado = open_peer(shared.ws(f"/chat?room={room}"))
    tornado.recv()
    ann: V1 = join(shared, room, name='<b>"x"</b>')
    ann.say(room, "hi")
    html = tornado.recv()
    assert "<b>" not in html and "&lt;b&gt;" in html

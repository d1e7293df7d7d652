"""Commands over HTTP: replies in order, a guest without a connection, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import Site
from tests.support.web import Browser, ask, say, token_of

Make = Callable[..., Site]


def send(site: Site, *commands: dict[str, Any], token: str = "", worker: int = 0) -> Any:
    body = {"token": token, "commands": list(commands)}
    return ask(site, "POST", "/send", body, worker).value


def test_hello_brings_a_token_and_joins_nothing(site: Site) -> None:
    (welcome,) = send(site, {"type": "hello", "id": 5, "name": "Ann"})
    assert (welcome["type"], welcome["id"], welcome["name"]) == ("welcome", 5, "Ann")
    assert welcome["token"] and welcome["rooms"] == {}
    assert site.workers[0].context.rooms.get("lobby") is None


def test_hello_tells_where_rooms_are(site: Site) -> None:
    say(site, token_of(site), "one", "two")
    (welcome,) = send(site, {"type": "hello", "rooms": {"lobby": None}})
    lobby = welcome["rooms"]["lobby"]
    assert lobby["position"].endswith(".2") and lobby["follows"] == 0
    assert lobby["recovered"] is False  # nothing follows: what was missed is a poll's to bring


def test_replies_stand_in_the_order_of_the_commands(site: Site) -> None:
    watcher = site.join()
    replies = send(
        site,
        {"type": "hello", "name": "Ann"},
        {"type": "say", "room": "lobby", "text": "one", "id": 7, "cid": "a"},
        {"type": "history", "room": "lobby", "id": 8},
        {"type": "nonsense", "id": 9},
        {"type": "say", "room": "lobby", "text": "two"},
        {"type": "typing", "room": "lobby", "id": 10},
        {"type": "pong"},
    )
    types = [(reply["type"], reply.get("id")) for reply in replies]
    assert types == [
        ("welcome", None), ("ok", 7), ("history", 8), ("error", 9), ("ok", None), ("ok", 10),
        ("ok", None),
    ]  # fmt: skip
    assert [reply.get("seq") for reply in replies] == [None, 1, None, None, 2, None, None]
    assert watcher.events() == [(1, "one"), (2, "two")]


def test_a_refused_typing_is_an_error_wherever_it_stands(site: Site) -> None:
    hello = {"type": "hello"}
    for commands in ([hello], [hello, hello]):
        typing = {"type": "typing", "id": 1, "room": "lobby"}
        error, *_ = send(site, typing, *commands)
        assert (error["type"], error["id"], error["code"]) == ("error", 1, "auth")
    replies = send(site, {"type": "typing", "room": "a b"}, {"type": "pong"}, token=token_of(site))
    assert [reply.get("code") for reply in replies] == ["bad", None]


def test_who_is_refused_leaves_no_timer_behind(site: Site) -> None:
    def timers() -> int:
        return sum(timer.callback is not None for _, _, timer in site.workers[0]._loop._timers)

    before = timers()
    body = {"token": "not.one.of.ours", "commands": [{"type": "pong"}]}
    assert ask(site, "POST", "/send", body).status == 401
    assert timers() == before


def test_any_worker_takes_the_token(make_site: Make) -> None:
    site = make_site(workers=2)
    token = token_of(site, worker=0)
    (ok,) = send(site, {"type": "say", "room": "lobby", "text": "hi", "cid": "c"}, token=token,
                 worker=1)  # fmt: skip
    (again,) = send(site, {"type": "say", "room": "lobby", "text": "hi", "cid": "c"}, token=token)
    assert (ok["type"], ok["seq"]) == ("ok", 1)
    assert (again["seq"], again["duplicate"]) == (1, True)


def test_without_a_token_the_first_command_is_hello(site: Site) -> None:
    replies = send(site, {"type": "say", "room": "lobby", "text": "hi"}, {"type": "hello"})
    assert replies[0]["code"] == "auth"
    assert replies[1]["type"] == "welcome"


def test_a_token_that_is_not_ours(site: Site) -> None:
    answer = ask(site, "POST", "/send", {"token": "x" * 40, "commands": [{"type": "pong"}]})
    assert answer.status == 401
    assert answer.value[0]["code"] == "auth"


@pytest.mark.parametrize("command", ["join", "leave"])
def test_rooms_are_not_joined_here(site: Site, command: str) -> None:
    (reply,) = send(site, {"type": command, "room": "lobby", "id": 1}, token=token_of(site))
    assert (reply["type"], reply["id"], reply["code"]) == ("error", 1, "bad")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"nonsense", b'{"commands":[]}', b'{"commands":{}}', b"[" * 60000,
     b'{"commands":[' + b",".join([b'{"type":"pong"}'] * 17) + b"]}"],
)  # fmt: skip
def test_bodies_of_which_nothing_can_be_done(site: Site, body: bytes) -> None:
    answer = ask(site, "POST", "/send", body)
    assert answer.status == 400
    assert answer.value[0]["code"] == "bad"


def test_one_bad_command_spoils_no_other(site: Site) -> None:
    token = token_of(site)
    body = b'{"token":"%b","commands":[5,"x",{"type":"say","room":"a b","text":"x"},' % (
        token.encode()
    )
    answer = ask(site, "POST", "/send", body + b'{"type":"say","room":"lobby","text":"y"}]}')
    assert [reply["type"] for reply in answer.value] == ["error", "error", "error", "ok"]


def test_the_allowance_holds_and_order_with_it(make_site: Make) -> None:
    site = make_site(limits={"every": 2.0, "burst": 2})
    token = token_of(site)
    says = [{"type": "say", "room": "lobby", "text": str(i), "cid": f"c{i}"} for i in range(4)]
    replies = send(site, *says, token=token)
    assert [reply.get("code", "ok") for reply in replies] == ["ok", "ok", "rate", "rate"]
    assert replies[2]["retry_ms"] > 1000


def test_hub_away_for_long_is_an_answer_and_no_loss(make_site: Make) -> None:
    site = make_site(durability="normal")
    token = token_of(site)
    site.kill_hub()
    browser = Browser(site)
    browser.hub = False
    command = {"type": "say", "room": "lobby", "text": "hi", "cid": "c", "id": 3}
    browser.send("POST", "/send", {"token": token, "commands": [command]})
    site.pass_(11, 0.5, hub=False)
    answer = browser.answer()
    assert answer is not None
    assert (answer.value[0]["code"], answer.value[0]["id"]) == ("busy", 3)
    assert answer.value[0]["retry_ms"] > 0
    site.start_hub()
    site.pass_(2)
    (again,) = send(site, command, token=token)
    assert again["type"] == "ok" and again["seq"] == 1
    watcher = site.join()
    assert watcher.events() == [(1, "hi")]


def test_who_hangs_up_is_forgotten(make_site: Make) -> None:
    site = make_site(durability="normal")
    token = token_of(site)
    browser = Browser(site)
    browser.hub = False
    site.kill_hub()
    command = {"type": "say", "room": "lobby", "text": "hi", "cid": "c"}
    browser.send("POST", "/send", {"token": token, "commands": [command]})
    browser.wire.close()
    site.settle(hub=False)
    assert not site.workers[0].context.guests._by_uid
    site.start_hub()
    site.pass_(2)  # the answer finds nobody, and that is all
    assert site.join().events() == [(1, "hi")]

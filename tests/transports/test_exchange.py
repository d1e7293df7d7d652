"""The addresses for scripts over HTTP: methods, origins, and pages of history."""

from __future__ import annotations

import pytest

from tests.support.parts import Site, change
from tests.support.web import Answer, ask, say, token_of
from wsd.config import RoomOverrides

HELLO = {"type": "hello"}
COMMANDS = {"commands": [{"type": "hello"}]}
REQUESTS = [
    ("POST", "/poll?wait=0", {"wait": 0, **HELLO}),
    ("GET", "/poll?wait=0", None),
    ("POST", "/send", COMMANDS),
    ("GET", "/rooms/lobby/messages", None),
]
ids = [f"{method} {target}" for method, target, _ in REQUESTS]


def allow(site: Site, *origins: str, **rooms: RoomOverrides) -> None:
    site.workers[0].apply(change(site.settings, origins=origins, rooms=rooms))


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS, ids=ids)
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://chat.example", True), ("http://chat.example", True), ("https://a.example", False),
     ("null", False), ("https://chat.example:8443", False)],
)  # fmt: skip
def test_same_origin_by_default(
    site: Site, method: str, target: str, body: object, origin: str, allowed: bool
) -> None:
    answer = ask(site, method, target, body, Origin=origin)
    assert answer.status == (200 if allowed else 403)
    if allowed:
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"
    else:  # the page may read that it is refused, and there is nothing else in it
        assert answer.headers["access-control-allow-origin"] == "*"
        assert list(answer.value) == ["error"] and answer.value["error"]["code"] == "bad_origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS, ids=ids)
def test_other_sites_that_have_leave(site: Site, method: str, target: str, body: object) -> None:
    allow(site, "https://*.shop.example")
    assert ask(site, method, target, body, Origin="https://www.shop.example").status == 200
    assert ask(site, method, target, body, Origin="https://chat.example").status == 200  # our own
    assert ask(site, method, target, body, Origin="https://shop.example").status == 403


@pytest.mark.parametrize(("method", "target", "body"), REQUESTS, ids=ids)
@pytest.mark.parametrize("site_is", ["cross-site", "same-site", "same-origin", "none"])
def test_a_browser_that_hides_the_origin(
    site: Site, method: str, target: str, body: object, site_is: str
) -> None:
    answer = ask(site, method, target, body, Sec_Fetch_Site=site_is)
    assert answer.status == (403 if site_is in ("cross-site", "same-site") else 200)


def test_origins_of_the_room_decide(site: Site) -> None:
    allow(site, news=RoomOverrides(origins=("https://a.example",)))
    token = token_of(site)
    for room, status in (("news", 200), ("lobby", 403)):
        value = {"token": token, "commands": [{"type": "say", "room": room, "text": "x"}]}
        origin = "https://a.example"
        assert ask(site, "POST", "/send", value, Origin=origin).status == status
        poll = {"rooms": {room: None}, "wait": 0}
        assert ask(site, "POST", "/poll", poll, Origin=origin).status == status
        assert ask(site, "GET", f"/poll?wait=0&room={room}", Origin=origin).status == status
        assert ask(site, "GET", f"/rooms/{room}/messages", Origin=origin).status == status
    both = {"rooms": {"news": None, "lobby": None}, "wait": 0}
    assert ask(site, "POST", "/poll", both, Origin="https://a.example").status == 403


@pytest.mark.parametrize("target", ["/poll", "/send", "/stream", "/rooms/lobby/messages"])
def test_preflight(site: Site, target: str) -> None:
    allow(site, "https://a.example", news=RoomOverrides(origins=("https://b.example",)))
    for origin in ("https://a.example", "https://b.example"):
        answer = ask(site, "OPTIONS", target, Origin=origin)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Content-Type" in answer.headers["access-control-allow-headers"]
        wanted = "GET" if "rooms" in target else "POST"
        assert wanted in answer.headers["access-control-allow-methods"]
    assert ask(site, "OPTIONS", target, Origin="https://c.example").status == 403


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [("PUT", "/poll", "GET, POST, OPTIONS"), ("GET", "/send", "POST, OPTIONS"),
     ("POST", "/rooms/a/messages", "GET, OPTIONS"), ("DELETE", "/stream", "GET, POST, OPTIONS")],
)  # fmt: skip
def test_other_methods(site: Site, method: str, target: str, allowed: str) -> None:
    answer = ask(site, method, target)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed


def test_errors_can_be_read_by_the_page(site: Site) -> None:
    allow(site, "https://a.example")
    answer = ask(site, "POST", "/poll", {"name": "x"}, Origin="https://a.example")
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] == "https://a.example"


def test_nothing_is_begun_while_the_daemon_stops(site: Site) -> None:
    site.workers[0].context.draining = True
    answer = ask(site, "POST", "/poll", {})
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1


# -- history


def page(site: Site, query: str = "", **headers: str) -> Answer:
    return ask(site, "GET", f"/rooms/lobby/messages{query}", **headers)


def texts(answer: Answer) -> list[str]:
    return [message["text"] for message in answer.value["messages"]]


def test_pages_of_history(site: Site) -> None:
    say(site, token_of(site), *"abcdef")
    newest = page(site, "?limit=2")
    assert texts(newest) == ["e", "f"]
    assert newest.value["more"] is True
    assert newest.value["epoch"] == site.hub.log.epoch
    older = page(site, "?limit=9&before=5")
    assert texts(older) == list("abcd")
    assert older.value["more"] is False
    assert texts(page(site, "?before=1")) == []


def test_what_may_be_kept_by_caches(site: Site) -> None:
    token = token_of(site)
    say(site, token, *"abc")
    assert page(site).headers["cache-control"] == "no-cache"
    older = page(site, "?before=3")
    assert older.headers["cache-control"].startswith("public, max-age=")
    same = page(site, "?before=3", If_None_Match=older.headers["etag"])
    assert (same.status, same.body) == (304, b"")
    delete = {"type": "delete", "room": "lobby", "seq": 1}
    ask(site, "POST", "/send", {"token": token, "commands": [delete]})
    changed = page(site, "?before=3", If_None_Match=older.headers["etag"])
    assert changed.status == 200
    assert texts(changed) == ["", "b"]


@pytest.mark.parametrize("query", ["?before=0", "?before=x", "?limit=-1", "?limit=1.5", "?limit="])
def test_queries_that_are_none(site: Site, query: str) -> None:
    answer = page(site, query)
    assert answer.status == 400
    assert answer.value[0]["code"] == "bad"


def test_a_room_that_cannot_be(site: Site) -> None:
    assert ask(site, "GET", "/rooms/a%20b/messages").status == 400

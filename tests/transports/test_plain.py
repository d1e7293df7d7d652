"""The page without script: what it shows, what its form does, and whose forms it takes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from tests.support.parts import Site, change
from tests.support.web import Answer, Browser, ask, say, token_of


class Form(HTMLParser):
    """The fields of the one form of a page, as a browser would send them."""

    def __init__(self, page: Answer) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.text: list[str] = []
        self._area = ""
        self.refresh = ""
        self.feed(page.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert tag != "script" and not any(name.startswith("on") for name in found)
        if tag == "meta" and found.get("http-equiv") == "refresh":
            self.refresh = found["content"]
        elif tag in ("input", "textarea") and "name" in found:
            self.fields[found["name"]] = found.get("value", "")
            self._area = found["name"] if tag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.fields[self._area] += data
        else:
            self.text.append(data)


def cookie_of(page: Answer) -> str:
    return page.headers["set-cookie"].partition(";")[0]


def submit(site: Site, fields: dict[str, str], room: str = "lobby", **headers: str) -> Answer:
    return ask(site, "POST", f"/plain/{room}", urlencode(fields).encode(), **headers)


def said(site: Site) -> list[tuple[str, str]]:
    watcher = site.join()
    watcher.pump()
    return [(v["name"], v["text"]) for v in watcher.got if v["type"] == "message"]


def test_it_shows_the_messages_newest_first_and_loads_itself_again(site: Site) -> None:
    say(site, token_of(site), "first", "<b>second</b>\nline")
    page = ask(site, "GET", "/plain/lobby")
    assert page.status == 200
    assert page.headers["cache-control"] == "no-store"
    assert "script" not in page.headers["content-security-policy"]
    form = Form(page)
    text = " ".join(form.text)
    assert text.index("<b>second</b>") < text.index("first")
    assert form.refresh == "20; url=/plain/lobby"
    assert Form(ask(site, "GET", "/plain/lobby?still")).refresh == ""


def test_a_guest_says_something_under_a_name(site: Site) -> None:
    form = Form(ask(site, "GET", "/plain/lobby"))
    answer = submit(site, form.fields | {"name": "Ann", "message": "hello <there>"})
    assert answer.status == 200  # without a cookie the page itself is the answer
    assert "hello &lt;there&gt;" in answer.body.decode()
    again = Form(answer)
    assert (again.fields["name"], again.fields["message"]) == ("Ann", "")
    submit(site, again.fields | {"message": "and more"})
    assert said(site) == [("Ann", "hello <there>"), ("Ann", "and more")]
    uids = {v["uid"] for v in site.join().got if v["type"] == "message"}
    assert len(uids) <= 1


def test_with_a_cookie_reloading_sends_nothing_twice(site: Site) -> None:
    page = ask(site, "GET", "/plain/lobby")
    answer = submit(site, Form(page).fields | {"message": "hi"}, Cookie=cookie_of(page))
    assert answer.status == 303
    assert answer.headers["location"] == "/plain/lobby"
    back = ask(site, "GET", "/plain/lobby", Cookie=f"other=1; {cookie_of(answer)}")
    assert cookie_of(back) == cookie_of(answer)
    for part in ("HttpOnly", "SameSite=Lax", "Path=/plain"):
        assert part in back.headers["set-cookie"]


def test_a_form_sent_twice_is_one_message(site: Site) -> None:
    fields = Form(ask(site, "GET", "/plain/lobby")).fields | {"message": "hi"}
    for _ in range(3):
        assert submit(site, fields).status == 200
    assert [text for _, text in said(site)] == ["hi"]


def test_a_room_in_another_script(site: Site) -> None:
    page = ask(site, "GET", "/plain/%E8%8C%B6")
    assert "茶" in page.body.decode()
    answer = submit(
        site, Form(page).fields | {"message": "好"}, "%E8%8C%B6", Cookie=cookie_of(page)
    )
    assert answer.headers["location"] == "/plain/%E8%8C%B6"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
)
def test_forms_of_other_sites(site: Site, headers: dict[str, str]) -> None:
    fields = Form(ask(site, "GET", "/plain/lobby")).fields | {"message": "spam"}
    assert submit(site, fields, **headers).status == 403
    assert said(site) == []
    own = submit(site, fields, Origin="http://chat.example", Sec_Fetch_Site="same-origin")
    assert own.status == 200


def test_forms_without_a_token_or_with_somebody_elses(site: Site) -> None:
    """Old browsers do not tell from where a form comes."""
    page = ask(site, "GET", "/plain/lobby")
    for token in ("", "x" * 40, None):
        fields = Form(page).fields | {"message": "spam"}
        if token is None:
            del fields["token"]
        else:
            fields["token"] = token
        answer = submit(site, fields)
        assert answer.status == 403
        assert Form(answer).fields["message"] == "spam"  # nothing that was typed is lost
    other = Form(ask(site, "GET", "/plain/lobby")).fields | {"message": "spam"}
    assert submit(site, other, Cookie=cookie_of(page)).status == 403
    assert said(site) == []


def test_what_cannot_be_said_keeps_the_text(site: Site) -> None:
    site.workers[0].apply(change(site.settings, limits={"text": 10, "every": 2.0, "burst": 1}))
    form = Form(ask(site, "GET", "/plain/lobby"))
    long = submit(site, form.fields | {"message": "x" * 11})
    assert long.status == 400 and "at most 10 characters" in long.body.decode()
    assert Form(long).fields["message"] == "x" * 11
    assert Form(long).refresh == ""  # it would take the text away
    named = submit(site, form.fields | {"name": "x", "message": "hi"})
    assert named.status == 400 and Form(named).fields["name"] == "x"
    assert submit(site, form.fields | {"message": "one"}).status == 200
    soon = submit(site, form.fields | {"message": "two", "cid": "another"})
    assert soon.status == 429 and Form(soon).fields["message"] == "two"


@pytest.mark.parametrize("body", [b"\xff=1", b"message=%FF", b"a=1&" * 20, b"message=%"])
def test_bodies_that_are_no_form(site: Site, body: bytes) -> None:
    assert ask(site, "POST", "/plain/lobby", body).status in (400, 403)


def test_older_messages(site: Site) -> None:
    token = token_of(site)
    for i in range(4):
        say(site, token, *(f"no{i}.{j}." for j in range(16)))
    page = ask(site, "GET", "/plain/lobby").body.decode()
    (older,) = re.findall(r'href="/plain/lobby\?before=(\d+)"', page)
    assert "no3.15." in page and "no0.0." not in page
    before = ask(site, "GET", f"/plain/lobby?before={older}").body.decode()
    assert "no0.0." in before and "refresh" not in before.partition("</head>")[0]


@pytest.mark.parametrize("before", ["0", "x", "-1", "9" * 30])
def test_queries_that_mean_nothing(site: Site, before: str) -> None:
    assert ask(site, "GET", f"/plain/lobby?before={before}").status == 200


def test_methods_and_names(site: Site) -> None:
    assert ask(site, "PUT", "/plain/lobby").status == 405
    assert ask(site, "GET", "/plain/a%20b").status == 404
    head = Browser(site)
    head.send("HEAD", "/plain/lobby")
    assert head.wire.take().endswith(b"\r\n\r\n")


def test_http_1_0(site: Site) -> None:
    wire = site.socket()
    answer = wire.ask(b"GET /plain/lobby HTTP/1.0\r\nHost: chat.example\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200") and b"<form" in answer
    assert wire.ended

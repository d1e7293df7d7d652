"""The rules for how much somebody may say: waits, breaches, addresses, repetitions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.parts import V1, Clock, Site, draft
from wsd.allowances import Allowances
from wsd.chat.rates import (
    LONGEST_WAIT_S,
    ON_THE_WAY_S,
    QUIET_S,
    RENAMES,
    TYPING_NOTES,
    Rates,
)
from wsd.chat.schema import Refuse
from wsd.config import Limits

Make = Callable[..., Site]

LIMITS = Limits(burst=3, every=2.0, address_share=0, repeat=0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(Allowances(), clock)


def wait_ms(
    rates: Rates, uid: str = "ann", address: str = "192.0.2.1", limits: Limits = LIMITS
) -> int:
    """What a message of ``uid`` is told; 0 if it may be sent."""
    try:
        rates.say(uid, address, limits)
    except Refuse as refusal:
        assert refusal.code == "rate" and refusal.retry_ms
        return refusal.retry_ms
    return 0


def use_up(rates: Rates, limits: Limits = LIMITS) -> int:
    """The whole burst, and what the next message is told."""
    assert [wait_ms(rates, limits=limits) for _ in range(limits.burst)] == [0] * limits.burst
    return wait_ms(rates, limits=limits)


def test_who_waits_as_told_is_never_punished(rates: Rates, clock: Clock) -> None:
    told = use_up(rates)
    for _ in range(50):
        assert told == pytest.approx(2000, abs=2)
        clock.pass_(told / 1000)
        assert wait_ms(rates) == 0
        told = wait_ms(rates)


def test_a_timer_that_fires_a_little_early_is_no_breach(rates: Rates, clock: Clock) -> None:
    told = use_up(rates)
    for _ in range(50):
        clock.pass_(told / 1000 - 0.04)
        assert wait_ms(rates) == 0
        told = wait_ms(rates)
        assert told < 2100


def test_what_was_on_its_way_is_no_breach(rates: Rates, clock: Clock) -> None:
    told = use_up(rates)
    for _ in range(20):
        clock.pass_(ON_THE_WAY_S / 25)
        told -= int(ON_THE_WAY_S / 25 * 1000)
        assert wait_ms(rates) == pytest.approx(told, abs=25)  # the rest of the same wait


def test_a_breach_doubles_the_wait_up_to_five_minutes(rates: Rates, clock: Clock) -> None:
    use_up(rates)
    waits = []
    for _ in range(10):
        clock.pass_(ON_THE_WAY_S + 0.01)
        waits.append(wait_ms(rates))
    expected = [min(2000 * 2**n, LONGEST_WAIT_S * 1000) for n in range(1, 11)]
    assert waits == [pytest.approx(wait, abs=3) for wait in expected]


def test_a_penalty_is_remembered_while_it_goes_on_like_this(rates: Rates, clock: Clock) -> None:
    use_up(rates)
    clock.pass_(1.5)
    assert wait_ms(rates) == pytest.approx(4000, abs=3)
    clock.pass_(4.01)
    assert wait_ms(rates) == 0  # it has waited
    while not (told := wait_ms(rates)):
        pass
    assert told <= 2001  # being refused is no breach
    clock.pass_(told / 1000 * 0.6)
    assert wait_ms(rates) == pytest.approx(8000, abs=3)


def test_a_penalty_is_forgotten_after_five_quiet_minutes(rates: Rates, clock: Clock) -> None:
    use_up(rates)
    clock.pass_(1.5)
    assert wait_ms(rates) == pytest.approx(4000, abs=3)
    clock.pass_(4 + QUIET_S + 1)
    use_up(rates)
    clock.pass_(1.5)
    assert wait_ms(rates) == pytest.approx(4000, abs=3)


def test_who_tries_a_thousand_times_a_second_sends_nothing(rates: Rates, clock: Clock) -> None:
    use_up(rates)
    sent = 0
    for _ in range(60_000):
        clock.pass_(0.001)
        sent += wait_ms(rates) == 0
    assert sent == 0


def test_one_allowance_in_two_processes(clock: Clock) -> None:
    """Two workers: the same memory, rules of their own."""
    allowances = Allowances()
    one, two = Rates(allowances, clock), Rates(allowances, clock)
    assert [wait_ms(one), wait_ms(two), wait_ms(one)] == [0, 0, 0]
    assert wait_ms(two) and wait_ms(one)
    clock.pass_(1.5)
    assert wait_ms(one) == pytest.approx(4000, abs=3)
    assert wait_ms(two) == pytest.approx(4000, abs=3)


def test_an_address_may_send_a_number_of_times_what_a_guest_may(rates: Rates, clock: Clock) -> None:
    limits = Limits(burst=3, every=2.0, address_share=4)

    def sent(address: str, tag: str) -> int:
        """Messages that ever new guests of one address get through."""
        count = 0
        while not wait_ms(rates, f"{tag}{count}", address, limits):
            count += 1
        return count

    assert sent("192.0.2.1", "a") == 12
    assert sent("192.0.2.2", "b") == 12
    clock.pass_(2.0)
    assert sent("192.0.2.1", "c") == 4
    assert wait_ms(rates, "somebody", "192.0.2.1", limits) <= 501
    assert [wait_ms(rates, f"u{n}", "", limits) for n in range(100)] == [0] * 100  # unknown


def test_who_is_refused_for_the_address_has_not_paid(rates: Rates, clock: Clock) -> None:
    limits = Limits(burst=2, every=2.0, address_share=1)
    assert [wait_ms(rates, "bob", limits=limits) for _ in range(2)] == [0, 0]
    assert wait_ms(rates, "ann", limits=limits)
    assert [wait_ms(rates, "ann", "192.0.2.9", limits) > 0 for _ in range(1)] == [True]  # told
    clock.pass_(2.01)
    assert [wait_ms(rates, "ann", "192.0.2.9", limits) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("share", [0, 1])
def test_without_every_nothing_is_limited(rates: Rates, share: int) -> None:
    limits = Limits(burst=1, every=0.0, address_share=share, repeat=30.0)
    assert [wait_ms(rates, limits=limits) for _ in range(1000)] == [0] * 1000
    rates.stored(draft("a text that is long enough"), limits)
    rates.refuse_repeat("ann", "lobby", "a text that is long enough", limits)


def test_a_limit_of_many_messages_a_second(rates: Rates, clock: Clock) -> None:
    """LM-05: what timers are granted may not lift a limit that is finer than they are."""
    limits, sent = Limits(burst=20, every=0.01, address_share=0), 0
    for _ in range(10_000):
        sent += wait_ms(rates, limits=limits) == 0
        clock.pass_(0.001)
    assert sent == pytest.approx(20 + 1000, rel=0.05)


# -- the same again

LONG = "buy our wonderful thing"


def repeats(rates: Rates, text: str = LONG, room: str = "lobby", uid: str = "ann") -> bool:
    try:
        rates.refuse_repeat(uid, room, text, Limits(repeat=30.0))
    except Refuse as refusal:
        # Final: a retry_ms would have the client hold everything else back and say it again.
        assert (refusal.code, refusal.retry_ms) == ("duplicate", None)
        return True
    return False


def test_the_same_text_in_the_same_room_is_refused_for_a_while(rates: Rates, clock: Clock) -> None:
    assert not repeats(rates)
    assert not repeats(rates)  # only what was stored counts
    rates.stored(draft(LONG), Limits(repeat=30.0))
    assert repeats(rates)
    assert not repeats(rates, LONG + "!")
    assert not repeats(rates, room="tech")
    assert not repeats(rates, uid="bob")
    clock.pass_(29.9)
    assert repeats(rates)
    clock.pass_(0.2)
    assert not repeats(rates)


@pytest.mark.parametrize("text", ["ok", "+1", "thanks!", "x" * 15])
def test_short_words_may_be_said_again(rates: Rates, text: str) -> None:
    rates.stored(draft(text), Limits(repeat=30.0))
    assert not repeats(rates, text)


def test_repetition_may_be_allowed(rates: Rates) -> None:
    rates.stored(draft(LONG), Limits(repeat=0.0))
    assert not repeats(rates)
    rates.stored(draft(LONG), Limits(repeat=30.0))
    rates.refuse_repeat("ann", "lobby", LONG, Limits(repeat=0.0))


# -- as clients meet it


def answer(client: V1, **command: object) -> dict:
    """The reply to a command, which gets an id of its own."""
    (reply,) = [v for v in client.ask(id=99, **command) if v.get("id") == 99]
    return reply


def test_two_tabs_at_two_workers_have_one_allowance(make_site: Make) -> None:
    site = make_site(2, limits={"burst": 3, "every": 2.0})
    ann = site.join(0)
    tab = site.join(1, token=ann.welcome["token"])
    assert tab.welcome["uid"] == ann.welcome["uid"]
    replies = [
        answer((ann, tab)[n % 2], type="say", room="lobby", text=str(n), cid=str(n))
        for n in range(4)
    ]
    assert [reply["type"] for reply in replies] == ["ok", "ok", "ok", "error"]
    assert replies[3]["code"] == "rate"


def test_what_is_held_back_for_order_is_no_breach(make_site: Make) -> None:
    """DL-18: a client that has sent ten at once is told of each, and waits no longer for that."""
    site = make_site(limits={"burst": 1, "every": 2.0})
    ann = site.join()
    assert answer(ann, type="say", room="lobby", text="0", cid="c0")["type"] == "ok"
    assert answer(ann, type="say", room="lobby", text="1", cid="c1")["retry_ms"] <= 2001
    site.clock.pass_(1.5)
    for n in range(2, 10):
        refused = answer(ann, type="say", room="lobby", text=str(n), cid=f"c{n}")
        assert refused["code"] == "rate" and refused["retry_ms"] <= 501
    site.clock.pass_(0.51)
    assert answer(ann, type="say", room="lobby", text="1", cid="c1")["type"] == "ok"


def test_a_retry_of_what_was_stored_is_no_repetition(make_site: Make) -> None:
    site = make_site(limits={"burst": 5, "every": 2.0})
    ann = site.join()
    stored = answer(ann, type="say", room="lobby", text=LONG, cid="c1")
    again = answer(ann, type="say", room="lobby", text=LONG, cid="c1")
    assert (again["seq"], again["duplicate"]) == (stored["seq"], True)
    assert answer(ann, type="say", room="lobby", text=LONG, cid="c2")["code"] == "duplicate"
    assert answer(ann, type="say", room="lobby", text=LONG)["code"] == "duplicate"
    assert answer(ann, type="say", room="lobby", text="another", cid="c3")["type"] == "ok"
    assert [text for _, text in ann.events()] == [LONG, "another"]


def test_what_was_not_stored_may_be_said_again(make_site: Make) -> None:
    site = make_site(limits={"burst": 5, "every": 2.0})
    ann = site.join()
    assert answer(ann, type="say", room="lobby", text="\t" + LONG, cid="c1")["type"] == "ok"
    assert answer(ann, type="edit", room="lobby", seq=1, text=LONG)["type"] == "ok"  # no message
    bob = site.join()
    assert answer(bob, type="say", room="lobby", text=LONG, reply_to=-1)["code"] == "bad"
    assert answer(bob, type="say", room="lobby", text=LONG)["type"] == "ok"


def test_the_tutorials_dialects_have_the_same_limits(make_site: Make) -> None:
    site = make_site(limits={"burst": 2, "every": 2.0})
    ws = site.websocket("/")
    for _ in range(3):
        ws.send(LONG)
        site.settle()
    said = ws.texts()
    assert said == [LONG, "wsd: you have just said that", "wsd: you have just said that"]
    for text in ("one", "two"):
        ws.send(text)
        site.settle()
    words = "wsd: one message every 2 s; trying before the time doubles the wait"
    assert ws.texts() == ["one", words]


def test_names_change_ten_times_and_then_once_a_minute(site: Site) -> None:
    ann = site.join()
    replies = [answer(ann, type="rename", name=f"Ann {n}") for n in range(RENAMES.burst + 1)]
    assert [reply["type"] for reply in replies] == ["ok"] * RENAMES.burst + ["error"]
    assert replies[-1]["code"] == "rate" and replies[-1]["retry_ms"] <= 60_001
    assert answer(ann, type="rename", name="x\n")["code"] == "name_bad"
    site.clock.pass_(61)
    assert answer(ann, type="rename", name="Ann again")["name"] == "Ann again"


def test_typing_is_told_now_and_then(site: Site) -> None:
    ann, bob = site.join(), site.join()

    def heard(notes: int) -> int:
        """How many of Ann's notes reach Bob."""
        for _ in range(notes):
            ann.ask(type="typing", room="lobby")
        return len([v for v in bob.pump() if v["type"] == "typing"])

    assert heard(10) == TYPING_NOTES.burst
    site.clock.pass_(TYPING_NOTES.every_s + 0.01)
    assert heard(3) == 1

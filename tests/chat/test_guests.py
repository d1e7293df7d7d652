"""Who is here, and how many messages somebody may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import Clock
from wsd.chat.guests import KEEP_S, Guest, Guests
from wsd.chat.identity import Tokens


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guests(clock: Clock) -> Guests:
    return Guests(Tokens(b"s" * 32, 3600), clock, Clock(1_700_000_000.0))


def test_a_token_brings_somebody_back(guests: Guests) -> None:
    ann = guests.arrive("", "Ann")
    again = guests.arrive(guests.token(ann), None)
    assert again is ann
    assert (ann.connections, ann.name) == (2, "Ann")


def test_a_token_of_somebody_who_was_never_here(guests: Guests) -> None:
    token = guests.tokens.make("gfaraway", "Bo", 1_700_000_000.0)
    guest = guests.arrive(token, None)
    assert (guest.uid, guest.name) == ("gfaraway", "Bo")
    assert guests.arrive(token, "Bob") is guest
    assert guest.name == "Bob"


def test_the_newest_token_knows_the_name(guests: Guests) -> None:
    """Somebody is renamed at one worker and says something by way of another."""
    ann = guests.arrive(guests.tokens.make("gann", "Ann", 1_699_999_990.0), None)
    old = guests.token(ann)
    for token, name in [
        (guests.tokens.make("gann", "Anna", 1_700_000_005.0), "Anna"),
        (old, "Anna"),
        (guests.tokens.make("gann", "Anne", 1_700_000_009.0), "Anne"),
    ]:
        assert guests.recognise(token) is ann
        assert ann.name == name


@pytest.mark.parametrize("token", ["", "nonsense", "A" * 60])
def test_without_a_good_token_one_is_new(guests: Guests, token: str) -> None:
    one, two = guests.arrive(token, None), guests.arrive(token, None)
    assert one.uid != two.uid
    assert len(one.name) > 3


def test_guests_without_connections_are_forgotten_after_a_while(
    guests: Guests, clock: Clock
) -> None:
    ann, bob = guests.arrive("", "Ann"), guests.arrive("", "Bob")
    guests.leave(ann)
    clock.pass_(KEEP_S)
    guests.sweep()
    assert guests.get(ann.uid) is ann
    clock.pass_(1)
    guests.sweep()
    assert guests.get(ann.uid) is None
    assert guests.get(bob.uid) is bob


def test_a_reconnect_does_not_refill_the_allowance(guests: Guests, clock: Clock) -> None:
    ann = guests.arrive("", "Ann")
    token = guests.token(ann)
    for _ in range(5):
        assert ann.take(5, 2.0, clock()) == 0
    guests.leave(ann)
    clock.pass_(1)
    guests.sweep()
    assert guests.arrive(token, None).take(5, 2.0, clock()) == pytest.approx(1.0)


def test_the_allowance() -> None:
    guest = Guest("u", "U", "guest", 0.0)
    assert [guest.take(3, 2.0, 100.0) for _ in range(3)] == [0, 0, 0]
    assert guest.take(3, 2.0, 100.0) == pytest.approx(2.0)
    assert guest.take(3, 2.0, 101.5) == pytest.approx(0.5)  # asking costs nothing
    assert guest.take(3, 2.0, 102.0) == 0
    assert guest.take(3, 2.0, 1000.0) == 0  # a long rest fills it, and no more than that
    assert [guest.take(3, 2.0, 1000.0) > 0 for _ in range(3)] == [False, False, True]


def test_no_limit() -> None:
    guest = Guest("u", "U", "guest", 0.0)
    assert all(guest.take(1, 0.0, 0.0) == 0 for _ in range(1000))


def test_a_limit_that_is_put_in_force_later() -> None:
    guest = Guest("u", "U", "guest", 0.0)
    guest.take(1, 0.0, 0.0)
    assert [guest.take(2, 10.0, 50.0) > 0 for _ in range(3)] == [False, False, True]
    assert guest.take(1, 1.0, 51.0) == 0


@given(
    st.integers(1, 10),
    st.floats(0.01, 1000),
    st.lists(st.floats(0, 100), max_size=60),
)
def test_never_more_than_burst_and_one_per_interval(
    burst: int, every_s: float, pauses: list[float]
) -> None:
    guest, now = Guest("u", "U", "guest", 0.0), 0.0
    for sent, pause in enumerate(pauses, 1):
        now += pause
        wait_s = guest.take(burst, every_s, now)
        if wait_s:
            # Whoever waits as long as told is served.
            now += wait_s + 0.001 + every_s * 1e-9
            assert guest.take(burst, every_s, now) == 0
        assert sent <= burst + now / every_s + 1e-6

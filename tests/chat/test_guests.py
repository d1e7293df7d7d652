"""Who is here."""

from __future__ import annotations

import pytest

from tests.support.parts import Clock
from wsd.chat.guests import KEEP_S, Guests
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

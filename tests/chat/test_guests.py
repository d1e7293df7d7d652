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
def wall() -> Clock:
    return Clock(1_700_000_000.0)


@pytest.fixture
def guests(clock: Clock, wall: Clock) -> Guests:
    return Guests(Tokens(b"s" * 32, 3600), clock, wall)


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
    assert guest.name == "Bo"  # another name is a rename, which not everybody may


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


def test_a_guest_that_was_renamed_is_remembered_for_a_while(
    guests: Guests, clock: Clock, wall: Clock
) -> None:
    """Its older tokens, in other tabs, have the older name."""
    ann, bob = guests.arrive("", "Ann"), guests.arrive("", "Bob")
    old = guests.token(ann)  # in the same second: tokens have whole ones
    guests.rename(ann, "Anna")
    guests.leave(ann)
    clock.pass_(KEEP_S)
    guests.sweep()
    assert guests.arrive(old, None) is ann
    assert ann.name == "Anna"
    guests.leave(ann)
    clock.pass_(KEEP_S + 1)
    guests.sweep()
    assert guests.get(ann.uid) is None
    assert guests.get(bob.uid) is bob


def test_who_was_renamed_elsewhere_keeps_that_name_here(guests: Guests, clock: Clock) -> None:
    """Another tab of it, with an older token, comes back to this worker."""
    old = guests.tokens.make("gann", "Ann", 1_699_999_990.0)
    assert guests.name("gann", "Anna", 1_700_000_000) is guests.get("gann")
    assert guests.name("gann", "Annette", 1_699_999_999) is None  # overtaken by a newer one
    ann = guests.arrive(old, None)
    assert (ann.name, ann.connections) == ("Anna", 1)
    guests.leave(ann)
    clock.pass_(KEEP_S + 1)
    guests.sweep()
    assert guests.get("gann") is None


def test_a_newer_token_renames_as_well(guests: Guests) -> None:
    old = guests.tokens.make("gann", "Ann", 1_699_999_990.0)
    ann = guests.arrive(old, None)
    guests.arrive(guests.tokens.make("gann", "Anna", 1_700_000_000.0), None)
    guests.leave(ann)
    guests.leave(ann)
    assert guests.arrive(old, None).name == "Anna"


@pytest.mark.parametrize("name", [None, "Ann"])
def test_of_a_guest_that_was_never_renamed_nothing_is_kept(
    guests: Guests, name: str | None
) -> None:
    """Or one address that comes and goes fills the memory.  Its token brings it back whole."""
    ann = guests.arrive("", name)
    token = guests.token(ann)
    again = guests.arrive(token, None)
    guests.rename(ann, ann.name)  # by its own presence, as the hub tells it
    guests.leave(again)
    assert guests.get(ann.uid) is ann
    guests.leave(ann)
    assert guests.get(ann.uid) is None
    assert guests.arrive(token, None).name == ann.name

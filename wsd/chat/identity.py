"""Guests: who somebody is without an account, and the signed token that brings them back."""

from __future__ import annotations

import base64
import hmac
import os
import random
import secrets
from collections.abc import Iterator

import msgspec

from wsd.config import Settings

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0, 1, which look alike
# It has 32 characters: 5 bits of a byte choose one, none more often than another.
_LETTERS = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))
_UID_LETTERS = 9
_TAG_BYTES = 16

_ADJECTIVES = (
    "Amber Bold Brave Bright Calm Clever Coral Cosy Crisp Curious Daring Eager Fair Fleet Gentle "
    "Glad Golden Happy Honest Jolly Keen Kind Lively Lucky Mellow Merry Misty Nimble Noble Patient "
    "Plucky Polite Proud Quick Quiet Rosy Sage Silver Smart Snowy Steady Sunny Swift Tidy Warm "
    "Wise Witty Zesty"
).split()
_ANIMALS = (
    "Badger Beaver Bison Bunting Crane Deer Dolphin Dove Eagle Falcon Ferret Finch Fox Gecko Goose "
    "Hare Heron Ibex Jay Kestrel Koala Lark Lemur Lion Lynx Marten Mole Moose Newt Otter Owl Panda "
    "Pelican Puffin Quail Rabbit Raven Robin Salmon Seal Sparrow Stork Swan Tapir Tiger Trout "
    "Turtle Whale Wolf Wren"
).split()
# Made once: guests of the same name share it.
_NAMES = [f"{adjective} {animal}" for adjective in _ADJECTIVES for animal in _ANIMALS]


class Claims(msgspec.Struct, array_like=True, frozen=True):
    """What a token says: who, under which name, and when it was made (seconds since 1970)."""

    uid: str
    name: str
    time: int


def new_uids() -> Iterator[str]:
    """Uids that nobody has, without end.  Each process needs an iterator of its own.

    Randomness comes for a hundred at once: asking the kernel for each would be a thirtieth of what
    a newcomer costs.
    """
    while True:
        letters = os.urandom(100 * _UID_LETTERS).translate(_LETTERS).decode()
        for at in range(0, len(letters), _UID_LETTERS):
            yield "g" + letters[at : at + _UID_LETTERS]


def friendly_name() -> str:
    return random.choice(_NAMES)


class Tokens:
    """Makes and reads tokens: base64url of claims and an HMAC-SHA-256 tag of 16 bytes."""

    def __init__(self, secret: bytes, life_s: float) -> None:
        self.life_s = life_s
        self.sign_with(secret)

    def sign_with(self, secret: bytes) -> None:
        """From now on tokens of another secret are not genuine."""
        # To be copied: beginning anew with each token took a twentieth of what a newcomer costs.
        self._keyed = hmac.new(secret, digestmod="sha256")

    def make(self, uid: str, name: str, now: float) -> str:
        claims = msgspec.msgpack.encode(Claims(uid, name, int(now)))
        return _text(claims + self._tag(claims))

    def read(self, token: str, now: float) -> Claims | None:
        """What a genuine token that is not too old says; None for every other."""
        if not 24 <= len(token) <= 512:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            if _text(raw) != token:  # of all spellings that base64 has for the same bytes, one
                return None
            claims, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
            if not hmac.compare_digest(tag, self._tag(claims)):
                return None
            read = msgspec.msgpack.decode(claims, type=Claims)
        except (ValueError, msgspec.MsgspecError):
            return None
        return read if read.time + self.life_s >= now else None

    def _tag(self, claims: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(claims)
        return keyed.digest()[:_TAG_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def secret_path(settings: Settings) -> str:
    return settings.identity.secret_file or os.path.join(settings.state, "secret")


def load_secret(path: str) -> bytes:
    """The secret that tokens are signed with; made at first use, readable by its owner alone.

    Raises OSError, and ValueError for a file that holds too little.
    """
    try:
        with open(path, "rb") as file:
            secret = file.read(4096).strip()
    except FileNotFoundError:
        return _make_secret(path)
    if len(secret) < 32:
        raise ValueError(f"{path}: a secret has at least 32 bytes, this file has {len(secret)}")
    return secret


def _make_secret(path: str) -> bytes:
    secret = secrets.token_hex(32).encode()
    temporary = f"{path}.{os.getpid()}"
    try:
        os.unlink(temporary)  # of a process that died in here; in a container all have one number
    except FileNotFoundError:
        pass
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secret + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:  # a full disk: what there is of it is of no use to anybody
        os.unlink(temporary)
        raise
    return secret

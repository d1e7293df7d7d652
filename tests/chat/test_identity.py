"""Guests as they are made, tokens that are believed, and the secret behind them."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import stat
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.chat.identity import (
    Tokens,
    friendly_name,
    load_secret,
    new_uids,
)
from wsd.names import guest_name

NOW = 1_700_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, 3600.0)


def test_names_and_uids_that_are_given() -> None:
    assert all(guest_name(friendly_name()) for _ in range(200))
    uids = set(islice(new_uids(), 500))
    assert len(uids) == 500
    assert all(uid[0] == "g" and uid.isalnum() and uid.isascii() for uid in uids)


# -- tokens


def test_a_token_says_who(tokens: Tokens) -> None:
    token = tokens.make("gabc", "Änn 张", NOW)
    claims = tokens.read(token, NOW)
    assert claims is not None
    assert (claims.uid, claims.name, claims.time) == ("gabc", "Änn 张", int(NOW))
    assert token.isascii() and "=" not in token and "+" not in token and "/" not in token


@pytest.mark.parametrize("size", [32, 64, 65, 200])
def test_the_tag_is_an_hmac_of_rfc_2104(size: int) -> None:
    secret = os.urandom(size)
    token = Tokens(secret, 3600.0).make("gabc", "Ann", NOW)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert raw[-16:] == hmac.digest(secret, raw[:-16], hashlib.sha256)[:16]


def test_au_04_every_bit_counts(tokens: Tokens) -> None:
    token = tokens.make("gabc", "Ann", NOW)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for at in range(len(raw)):
        for bit in range(8):
            forged = bytearray(raw)
            forged[at] ^= 1 << bit
            assert tokens.read(base64.urlsafe_b64encode(forged).rstrip(b"=").decode(), NOW) is None


def test_au_04_every_character_counts(tokens: Tokens) -> None:
    for name in ("Ann", "Anne", "Annie"):  # each leaves another number of spare bits at the end
        token = tokens.make("gabc", name, NOW)
        for at in range(len(token)):
            for other in "ABab01-_+/= \n.":
                if other != token[at]:
                    forged = token[:at] + other + token[at + 1 :]
                    assert tokens.read(forged, NOW) is None, (at, other)


def test_au_04_pieces_and_additions(tokens: Tokens) -> None:
    token = tokens.make("gabc", "Ann", NOW)
    for size in range(len(token)):
        assert tokens.read(token[:size], NOW) is None
    for wrong in (token + "A", token + "=", "=" + token, token + "\n", f" {token}", token * 2,
                  token + "é", "\ud800" + token, "A" * 513, "A" * 24, "\0" * 30):  # fmt: skip
        assert tokens.read(wrong, NOW) is None


def test_expiry(tokens: Tokens) -> None:
    token = tokens.make("gabc", "Ann", NOW)
    assert tokens.read(token, NOW + 3600) is not None
    assert tokens.read(token, NOW + 3601) is None
    assert tokens.read(token, NOW - 3600) is not None  # the clock was set back
    tokens.life_s = 7200
    assert tokens.read(token, NOW + 3601) is not None


def test_another_secret(tokens: Tokens) -> None:
    token = tokens.make("gabc", "Ann", NOW)
    assert Tokens(SECRET[::-1], 3600).read(token, NOW) is None


@given(st.text(max_size=100))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert Tokens(SECRET, 3600).read(text, NOW) is None


# -- the secret


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    before = os.umask(0)
    try:
        secret = load_secret(str(path))
    finally:
        os.umask(before)
    assert len(secret) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_secret(str(path)) == secret
    assert list(tmp_path.iterdir()) == [path]


def test_au_12_a_short_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content in (b"", b"x" * 31, b"x" * 31 + b"\n\n\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="at least 32 bytes"):
            load_secret(str(path))


def test_what_a_crash_left_behind_does_not_prevent_a_start(tmp_path: Path) -> None:
    """In a container every start has the same process id."""
    (tmp_path / f"secret.{os.getpid()}").write_bytes(b"")
    assert len(load_secret(str(tmp_path / "secret"))) >= 32


def test_a_full_disk_leaves_no_half_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        load_secret(str(tmp_path / "secret"))
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(OSError):
        load_secret(str(tmp_path / "secret"))
    with pytest.raises(OSError):
        load_secret(str(tmp_path / "none" / "secret"))

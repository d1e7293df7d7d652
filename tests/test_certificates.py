"""Pairs of certificate and key: what is read of them, and how a bad one is named (TL-03, TL-10)."""

from __future__ import annotations

import os
import shutil
import ssl
import time
from pathlib import Path

import pytest

from tests.support.certificates import Certificate, make, make_dated
from wsd.certificates import MAX_BYTES, BadPair, read_pair, use

DAY = 86400.0


def problems(certificate: str, key: str) -> dict[str, str]:
    with pytest.raises(BadPair) as caught:
        read_pair(certificate, key)
    return caught.value.problems


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make(tmp_path_factory.mktemp("one"), "Chat.Example", "*.chat.example", "127.0.0.1")


def test_names_and_dates_are_those_of_the_certificate(one: Certificate) -> None:
    pair = read_pair(*one)
    assert pair.names == ("chat.example", "*.chat.example")
    now = time.time()
    assert abs(pair.begins - now) < 300
    assert abs(pair.ends - now - 30 * DAY) < 300
    assert pair.why_not_valid(now) == ""


@pytest.mark.parametrize(
    "kind", [("rsa:2048",), ("ed25519",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-384")], ids=str
)
def test_every_usual_kind_of_key(tmp_path: Path, kind: tuple[str, ...]) -> None:
    assert read_pair(*make(tmp_path, "localhost", kind=kind)).names == ("localhost",)


def test_both_may_be_in_one_file(one: Certificate, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(one.key).read_text() + Path(one.path).read_text())
    assert read_pair(str(both), str(both)).names == read_pair(*one).names


def test_a_certificate_without_names(tmp_path: Path) -> None:
    assert read_pair(*make(tmp_path, name="none")).names == ()


def test_what_was_read_serves_whatever_becomes_of_the_files(tmp_path: Path) -> None:
    pair = read_pair(*make(tmp_path, "localhost"))
    for path in tmp_path.iterdir():
        path.write_text("gone")
    use(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)


def test_the_key_is_not_shown(one: Certificate) -> None:
    assert "PRIVATE" not in repr(read_pair(*one)) + str(read_pair(*one))


# -- what is wrong


def test_tl_03_what_cannot_be_read_is_named(one: Certificate, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    reason = f"{gone} cannot be read: No such file or directory"
    assert problems(gone, one.key) == {"certificate": reason}
    assert problems(one.path, gone) == {"key": reason}
    assert problems(gone, gone) == {"certificate": reason, "key": reason}


def test_what_is_no_file_is_not_waited_for(one: Certificate, tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    for path in (pipe, str(tmp_path), "/dev/zero"):
        assert problems(one.path, path)["key"].startswith(f"{path} cannot be read: ")


def test_a_file_that_is_no_certificate_for_its_size_alone(one: Certificate, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"x" * (MAX_BYTES + 1))
    assert problems(str(huge), one.key) == {
        "certificate": f"{huge} cannot be read: it is larger than 1024KiB"
    }


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, None])
def test_tl_03_a_certificate_that_is_none(
    one: Certificate, tmp_path: Path, content: bytes | None
) -> None:
    bad = tmp_path / "bad.pem"
    whole = Path(one.path).read_bytes()
    bad.write_bytes(whole[: len(whole) // 2] if content is None else content)
    (text,) = problems(str(bad), one.key).values()
    assert text.startswith(f"{bad} and {one.key} do not load together: ")


def test_tl_03_a_key_of_another_certificate(one: Certificate, tmp_path: Path) -> None:
    other = make(tmp_path, "localhost")
    assert problems(one.path, other.key) == {
        "certificate": f"{one.path} and {other.key} do not load together: key values mismatch"
    }


def test_a_key_that_openssl_finds_too_weak(tmp_path: Path) -> None:
    weak = make(tmp_path, "localhost", kind=("rsa:1024",))
    assert problems(*weak)["certificate"].endswith("ee key too small")


def test_a_certificate_that_is_for_clients_only(tmp_path: Path) -> None:
    kind = ("ed25519", "-addext", "extendedKeyUsage=clientAuth")
    certificate = make(tmp_path, "localhost", kind=kind)
    text = problems(*certificate)["certificate"]
    assert text == f"{certificate.path} is of no use to a server: unsuitable certificate purpose"


# -- what should be mended


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [("20200101000000Z", "20210101000000Z", "expired on 2021-01-01 00:00:00 UTC"),
     ("20990101000000Z", "21000101000000Z", "is not valid before 2099-01-01 00:00:00 UTC")],
)  # fmt: skip
def test_tl_03_dates(tmp_path: Path, begins: str, ends: str, words: str) -> None:
    """Such a pair can be read, so that the daemon can start with it and say what is wrong."""
    certificate = make_dated(tmp_path, begins, ends)
    pair = read_pair(*certificate)
    assert pair.names == ("localhost",)
    assert pair.warnings(time.time()) == [f"{certificate.path} {words}"]


def test_tl_10_a_key_that_everybody_may_read(one: Certificate, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    shutil.copy(one.key, key)
    for mode, warned in ((0o600, False), (0o640, False), (0o644, True), (0o604, True)):
        key.chmod(mode)
        warnings = read_pair(one.path, str(key)).warnings(time.time())
        assert bool(warnings) is warned
        assert all("can be read by every user" in text and str(key) in text for text in warnings)

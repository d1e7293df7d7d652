"""Certificates with their keys: read once, proved to fit, and kept as what the files held.

The master reads them and hands their contents to the workers with the settings.  What was checked
is therefore what is served, at any later moment too: a program that renews a certificate writes
two files one after the other, and a worker that is replaced in between must not notice.
"""

from __future__ import annotations

import errno
import os
import ssl
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

MAX_BYTES = 1024 * 1024

# OpenSSL's X509_V_FLAG_NO_CHECK_TIME: what has expired is decoded too, in order to say so.
_NO_CHECK_TIME = 0x200000


class BadPair(ValueError):
    """The files cannot serve TLS.  ``problems`` has the words for "certificate", "key" or both."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class Pair(msgspec.Struct, frozen=True):
    """A certificate, with the chain that it comes with, and its key.

    ``certificate`` and ``key`` are paths, ``chain`` and ``secret`` what the files there held.
    ``names`` are the certificate's host names in lower case, wildcards among them; it is valid from
    ``begins`` to ``ends`` (seconds since 1970).  ``exposed``: others on this machine may read the
    key.
    """

    certificate: str
    key: str
    chain: bytes = b""
    secret: bytes = b""
    names: tuple[str, ...] = ()
    begins: float = 0.0
    ends: float = 0.0
    exposed: bool = False

    def __repr__(self) -> str:
        return f"Pair({self.certificate!r}, {self.key!r})"  # not the key itself

    def why_not_valid(self, now: float) -> str:
        """Why a browser would refuse the certificate today; "" if it would not."""
        if now >= self.ends:
            return f"{self.certificate} expired on {_date(self.ends)}"
        if now < self.begins:
            return f"{self.certificate} is not valid before {_date(self.begins)}"
        return ""

    def warnings(self, now: float) -> list[str]:
        """What works, but should be mended."""
        exposed = f"{self.key} can be read by every user of this machine: chmod o= {self.key}"
        return [w for w in (self.why_not_valid(now), exposed if self.exposed else "") if w]


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def read_pair(certificate: str, key: str) -> Pair:
    """The pair in two files, which may be the same one.  Raises BadPair."""
    held: dict[str, tuple[bytes, int]] = {}
    problems: dict[str, str] = {}
    for part, path in (("certificate", certificate), ("key", key)):
        try:
            held[part] = _read(path)
        except OSError as error:
            problems[part] = f"{path} cannot be read: {error.strerror}"
    if problems:
        raise BadPair(problems)
    (chain, _), (secret, mode) = held["certificate"], held["key"]
    bare = Pair(certificate, key, chain, secret, exposed=bool(mode & stat.S_IROTH))
    return msgspec.structs.replace(bare, **_facts(bare))


def _read(path: str) -> tuple[bytes, int]:
    """What a file holds, and its mode.  Raises OSError."""
    # Not to wait where a pipe was put in its place.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES // 1024}KiB")
    return data, mode


def use(context: ssl.SSLContext, pair: Pair) -> None:
    """Have ``context`` serve the pair.  Raises BadPair."""

    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal, and a reload would hang there.
        raise BadPair({"key": f"the key {pair.key} is encrypted; a daemon needs it without"})

    with _as_file(pair.chain) as certificate, _as_file(pair.secret) as key:
        try:
            context.load_cert_chain(certificate, key, no_password)
        except ssl.SSLError as error:
            reason = (error.reason or "not PEM files").lower().replace("_", " ")
            text = f"{pair.certificate} and {pair.key} do not load together: {reason}"
            raise BadPair({"certificate": text}) from None


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path at which OpenSSL finds ``data``; it takes keys from nowhere else."""
    with os.fdopen(os.memfd_create("pem", os.MFD_CLOEXEC), "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _facts(pair: Pair) -> dict[str, Any]:
    """The fields of ``pair`` that its certificate tells.  Raises BadPair.

    Python decodes only what a peer has sent and what was verified.  So the two ends of a
    connection in memory shake hands, with the certificate itself as the only one that is trusted.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    use(server, pair)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.verify_flags |= _NO_CHECK_TIME
    try:
        with _as_file(pair.chain) as path:
            client.load_verify_locations(path)
        found: Any = _shake_hands(client, server).getpeercert()
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or str(error.reason).lower()
        text = f"{pair.certificate} is of no use to a server: {reason}"
        raise BadPair({"certificate": text}) from None
    names = [name.lower() for kind, name in found.get("subjectAltName", ()) if kind == "DNS"]
    begins, ends = (ssl.cert_time_to_seconds(found[at]) for at in ("notBefore", "notAfter"))
    return {"names": tuple(names), "begins": float(begins), "ends": float(ends)}


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """The client's end after its handshake.  Raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for end in ends * 3:  # two flights each way are the most that TLS has
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return ends[0]

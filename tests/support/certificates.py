"""Certificates of any kind that a test wants, made by the openssl command."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


class Certificate(NamedTuple):
    """A self-signed certificate and its key, by their paths."""

    path: str
    key: str

    @property
    def yaml(self) -> str:
        return f'{{certificate: "{self.path}", key: "{self.key}"}}'

    def client(self) -> ssl.SSLContext:
        """What a client uses that trusts this certificate and no other."""
        return ssl.create_default_context(cafile=self.path)

    def become(self, other: Certificate) -> None:
        """Have these paths hold another pair, as a program that renews certificates does it."""
        for new, old in ((other.path, self.path), (other.key, self.key)):
            shutil.copy(new, f"{old}.new")
            os.replace(f"{old}.new", old)


def make(
    directory: Path,
    *hosts: str,
    name: str = "",
    kind: tuple[str, ...] = P256,
    encrypted: bool = False,
) -> Certificate:
    """A certificate for ``hosts``, the first of which names the files too."""
    made = _paths(directory, name or hosts[0])
    alternatives = ",".join(_alternative(host) for host in hosts)
    names = ["-addext", f"subjectAltName={alternatives}"] if hosts else []
    _openssl(
        "req", "-x509", "-newkey", *kind, *([] if encrypted else ["-nodes"]), "-days", "30",
        "-subj", "/CN=wsd test", *names, "-out", made.path, "-keyout", made.key,
    )  # fmt: skip
    return made


def make_dated(directory: Path, begins: str, ends: str) -> Certificate:
    """One for localhost with dates like ``20200101000000Z``."""
    made = _paths(directory, f"dated{begins[:4]}")
    request, config = f"{made.path}.csr", directory / "ca.conf"
    (directory / "index.txt").write_text("")
    config.write_text(
        "[ca]\ndefault_ca=it\n[it]\nx509_extensions=names\npolicy=any\ndefault_md=sha256\n"
        f"database={directory}/index.txt\nrand_serial=yes\nnew_certs_dir={directory}\n"
        "[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:localhost\n"
    )
    _openssl("req", "-new", "-newkey", *P256, "-nodes", "-subj", "/CN=wsd test",
             "-out", request, "-keyout", made.key)  # fmt: skip
    _openssl("ca", "-batch", "-selfsign", "-notext", "-config", str(config), "-in", request,
             "-keyfile", made.key, "-out", made.path,
             "-startdate", begins, "-enddate", ends)  # fmt: skip
    return made


def _paths(directory: Path, name: str) -> Certificate:
    stem = name.replace("*", "any")
    return Certificate(str(directory / f"{stem}.pem"), str(directory / f"{stem}.key"))


def _alternative(host: str) -> str:
    is_address = ":" in host or host.replace(".", "").isdecimal()
    return f"IP:{host}" if is_address else f"DNS:{host}"


def _openssl(*words: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

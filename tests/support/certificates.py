"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


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


def make(directory: Path, *hosts: str) -> Certificate:
    """A certificate for ``hosts``, the first of which names the files too."""
    made = Certificate(str(directory / f"{hosts[0]}.pem"), str(directory / f"{hosts[0]}.key"))
    alternatives = ",".join(
        f"{'IP' if host.replace('.', '').isdecimal() else 'DNS'}:{host}" for host in hosts
    )
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=wsd test",
         "-addext", f"subjectAltName={alternatives}", "-out", made.path, "-keyout", made.key],
        check=True, capture_output=True,
    )  # fmt: skip
    return made

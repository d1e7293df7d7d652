"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """PEM files; the certificate signs itself, so it is its own authority."""

    certificate: str
    key: str


def make_certificate(directory: Path, *names: str) -> Certificate:
    """One for the DNS ``names``, ``localhost`` if there are none, and for 127.0.0.1."""
    names = names or ("localhost",)
    made = Certificate(str(directory / f"{names[0]}.pem"), str(directory / f"{names[0]}.key"))
    alternatives = ",".join([*(f"DNS:{name}" for name in names), "IP:127.0.0.1"])
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "3650", "-subj", f"/CN={names[0]}",
         "-addext", f"subjectAltName={alternatives}",
         "-out", made.certificate, "-keyout", made.key],
        check=True, capture_output=True,
    )  # fmt: skip
    return made

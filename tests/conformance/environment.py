"""Where the Autobahn test suite lives: ``.cache/autobahn``, made once.

The suite needs Python 2.7.  One is looked for on PATH and among pyenv's versions; WSD_PYTHON27
names another.  ``python -m tests.conformance.environment`` makes the environment and nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).resolve().parents[2] / ".cache"
PACKAGES = CACHE / "autobahn"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

MAKE_S = 600
"""How long pip may take; some of the packages are compiled."""


class Unavailable(Exception):
    """The suite cannot be run here; the text says why, and what to do."""


class Environment(NamedTuple):
    """An interpreter, and the folder whose packages it has to be given."""

    python: str
    packages: Path


def prepare() -> Environment:
    """The environment, made now if there is none yet.  Raises Unavailable."""
    python = find_python()
    made_for = f"{python}\n{REQUIREMENTS.read_text()}"
    stamp = PACKAGES / "made-for"
    if not stamp.exists() or stamp.read_text() != made_for:
        _make(python, made_for)
    return Environment(python, PACKAGES)


def find_python() -> str:
    """A Python 2.7 that has pip.  Raises Unavailable."""
    for candidate in _candidates():
        if _answers(candidate, "import sys; sys.exit(sys.version_info[:2] != (2, 7))"):
            if _answers(candidate, "import pip"):
                return candidate
            raise Unavailable(f"{candidate} has no pip")
    named = os.environ.get("WSD_PYTHON27")
    if named:
        raise Unavailable(f"WSD_PYTHON27={named} is no Python 2.7")
    raise Unavailable("no Python 2.7: name one with WSD_PYTHON27=/path/to/python2.7")


def _candidates() -> Iterator[str]:
    named = os.environ.get("WSD_PYTHON27")
    if named:
        yield named
        return
    yield "python2.7"
    for root in _pyenv_roots():
        yield from map(str, sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True))


def _pyenv_roots() -> Iterator[Path]:
    if os.environ.get("PYENV_ROOT"):
        yield Path(os.environ["PYENV_ROOT"])
    elif shutil.which("pyenv"):
        said = subprocess.run(["pyenv", "root"], capture_output=True, text=True, timeout=30)
        yield Path(said.stdout.strip())


def _answers(python: str, code: str) -> bool:
    """Whether it runs at all: on PATH there may be a pyenv shim with nothing behind it."""
    try:
        return not subprocess.run([python, "-c", code], capture_output=True, timeout=30).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def version_of(environment: Environment) -> str:
    code = "import platform; print(platform.python_version())"
    said = subprocess.run([environment.python, "-c", code], capture_output=True, text=True)
    return said.stdout.strip()


def _make(python: str, made_for: str) -> None:
    print(f"installing the Autobahn test suite in {PACKAGES} (once)", file=sys.stderr)
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        packages = Path(temporary) / "packages"
        log = CACHE / "autobahn.log"
        with log.open("w") as output:
            done = subprocess.run(
                ["timeout", str(MAKE_S), python, "-m", "pip", "install", "--no-input", "--no-deps",
                 "--disable-pip-version-check", "--target", packages, "-r", REQUIREMENTS],
                cwd=temporary, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        if done.returncode:
            last = log.read_text().strip().splitlines()[-1:]
            raise Unavailable(f"pip of Python 2.7 failed ({log}): {''.join(last)}")
        (packages / "made-for").write_text(made_for)
        shutil.rmtree(PACKAGES, ignore_errors=True)
        packages.rename(PACKAGES)


if __name__ == "__main__":
    try:
        print(prepare().packages)
    except Unavailable as reason:
        sys.exit(str(reason))

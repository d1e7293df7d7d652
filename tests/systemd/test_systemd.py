"""The service on a real systemd, in a machine that is thrown away (systemd-box).

One boot runs inside.py, whose steps follow on one another; each step is a test here.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).with_name("inside.py")
STEPS = re.findall(r"^@step\ndef (\w+)", INSIDE.read_text(), re.M)
TIMEOUT_S = 120


def find_box() -> str | None:
    places = [os.environ.get("WSD_SYSTEMD_BOX"), ROOT.parent / "shared/tools/systemd-box"]
    return next((str(place) for place in places if place and os.access(place, os.X_OK)), None)


def why_not() -> str:
    if os.geteuid():
        return "a machine with systemd needs root"
    if not find_box():
        return "no systemd-box (WSD_SYSTEMD_BOX, or ../shared/tools/systemd-box)"
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def requirements() -> list[str]:
    """What the project and its build need."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = setup["options"]["install_requires"].split("\n") + project["build-system"]["requires"]
    return [line.strip() for line in needed if line.strip()]


def build_wheels(directory: Path) -> Path:
    """A folder of wheels for the interpreter that bin/install takes: the box has no network."""
    places = ("/usr/bin/python3", "/usr/local/bin/python3")
    python = next(place for place in places if os.access(place, os.X_OK))
    subprocess.run([python, "-I", "-m", "venv", directory / "venv"], check=True)
    pip = [directory / "venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--quiet", "-w", directory / "wheels", *requirements(), "wheel"], check=True
    )
    return directory / "wheels"


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, str]]:
    """What became of each step: (ok or failed, detail)."""
    # Not below /tmp, which is new in the box.
    directory = ROOT / ".cache/systemd"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    wheels = build_wheels(directory)
    box = find_box()
    assert box
    command = [sys.executable, INSIDE, ROOT, wheels]
    done = subprocess.run(
        [box, "run", "--bind-ro", ROOT, "--timeout", str(TIMEOUT_S), "--", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT_S + 60,
    )
    print(done.stdout, done.stderr)
    found = re.findall(r"^step (\w+) (ok|failed) (.*)$", done.stdout, re.M)
    assert found, f"systemd-box: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return {name: (outcome, json.loads(detail)) for name, outcome, detail in found}


@pytest.mark.parametrize("name", STEPS)
def test_step(
    name: str, outcomes: dict[str, tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, detail = outcomes.get(name, ("failed", "the box ended before it"))
    if outcome == "ok":
        with capsys.disabled():
            print(f"\n  {name}: {detail}", end="")
    assert outcome == "ok", detail

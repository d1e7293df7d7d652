"""What ``python -m bench.…`` measures, for real and in small: it runs, counts and puts into its
table what it says.  How long anything took is nobody's business here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import clients, latency, measure, scale
from bench.compare import ALL
from bench.measure import Work

pytestmark = [
    pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler"),
    pytest.mark.skipif(
        not {0, 1} <= os.sched_getaffinity(0), reason="server and generator need a CPU each"
    ),
]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("programs")
    measure.build(directory)
    return directory


@pytest.fixture
def everywhere() -> Iterator[None]:
    """For what binds this process to a CPU."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


def bench(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_run_compares_with_the_floor() -> None:
    history = measure.HISTORY.read_bytes()
    words = ("echo", "--rounds", "1", "--seconds", "0.5", "--no-record")
    title, *rows = bench("bench.run", *words).splitlines()
    assert title.split()[:2] == ["work", "us"]
    assert [row.split()[0] for row in rows] == ["echo"]
    for row in rows:
        us, floor, ratio = map(float, row.split()[1:4])
        assert us > 0 and floor > 0
        assert ratio == pytest.approx(us / floor, rel=0.01)
    assert measure.HISTORY.read_bytes() == history


def test_scale_counts_floors_and_rooms(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "TALK_S", 0.5)
    assert scale.floor(programs, 40, 2) > 0
    assert scale.rooms(programs, 3) > 0


def test_clients_that_resume_and_that_compress(everywhere: None) -> None:
    assert clients.resume(20, 5) > 0
    assert clients.compressed(20, 3, compress=True) > 0


def test_latency_at_a_pace(programs: Path) -> None:
    (wsd,) = [peer for peer in ALL if peer.name == "wsd"]
    work = Work("paced", "--members 20 --publishers 5 --rate 50", "", 0)
    point = latency.Point(0.5, 50.0, latency.run(wsd, programs / "wsload", work, 1.0))
    assert 0 < point.figures["p50_ms"] <= point.figures["p99_ms"] <= point.figures["p999_ms"]
    picture = ElementTree.fromstring(latency.svg([("wsd", [point, point])]))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"

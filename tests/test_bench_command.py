"""``wsd bench`` for real, with few members: its figures fit together, with either generator."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

from wsd.cli import main

FEW = ("--seconds", "0.3", "--durability", "memory")
SVG = "{http://www.w3.org/2000/svg}"


def bench(
    *words: str, preexec_fn: Callable[[], None] | None = None, **environ: str
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "wsd", "bench", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environ},
        preexec_fn=preexec_fn,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_the_table_and_the_plot(tmp_path: Path) -> None:
    """Beside a daemon whose configuration is in the environment, which it does not touch."""
    picture = tmp_path / "latency.svg"
    code, out, err = bench(
        *FEW, "--members", "7", "--rooms", "3", "--workers", "2", "--svg", str(picture),
        WSD__LISTEN="127.0.0.1:1", WSD__STATE=str(tmp_path / "state"), TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert (code, err) == (0, "")
    rows = dict(re.findall(r"^(\S.*?)  +([\d,.]+)$", out, re.MULTILINE))
    figures = {name: float(value.replace(",", "")) for name, value in rows.items()}
    assert figures["members of a room"] == 7
    assert figures["rooms"] == 3
    assert figures["messages"] > 0
    assert figures["copies"] == figures["messages"] * 7
    assert figures["messages a second"] == pytest.approx(
        figures["messages"] / figures["seconds"], rel=0.05
    )
    assert figures["copies a second"] == pytest.approx(
        figures["messages a second"] * 7, rel=0.01, abs=1
    )
    assert 0 < figures["CPU µs a copy, all processes"] < 10_000
    p50, p99 = (value for name, value in figures.items() if name.startswith("delivered within"))
    assert 0 < p50 <= p99
    assert figures["memory a member, KiB"] > 0

    root = ElementTree.parse(picture).getroot()
    assert root.tag == f"{SVG}svg"
    line = root.find(f"{SVG}polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) > 8
    assert points == sorted(points)
    heights = [y for _, y in points]
    assert heights == sorted(heights, reverse=True)  # latency only rises
    assert [path.name for path in tmp_path.iterdir()] == ["latency.svg"]  # and nothing is left


def test_without_a_compiler_python_counts_the_same(tmp_path: Path) -> None:
    code, out, err = bench(*FEW, "--members", "5", "--rooms", "2", "--json", PATH=str(tmp_path))
    assert code == 0
    assert err.startswith("wsd: bench: there is no C compiler")
    report = json.loads(out)
    assert report["generator"] == "Python"
    assert report["messages"] > 0
    assert report["copies"] == report["messages"] * 5
    assert report["copies_per_s"] == pytest.approx(report["copies"] / report["seconds"])
    used_s = report["cpu_us_per_copy"] * report["copies"] / 1e6
    assert 0 < used_s < report["seconds"] * (os.cpu_count() or 1)
    assert report["daemon_cpu"] == pytest.approx(used_s / report["seconds"])
    latencies = [ms for _, ms in report["percentiles"]]
    assert latencies == sorted(latencies)
    assert report["kib_per_member"] > 0


def test_a_limit_that_is_too_low_is_named_with_what_is_needed() -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))

    code, out, err = bench("--members", "100", "--rooms", "5", preexec_fn=lower)
    assert (code, out) == (1, "")
    assert "500 members need 600 open files in one process, and the limit is 512" in err
    assert "ask for at most 412 members" in err


@pytest.mark.parametrize("generator", ["c", "python"])
def test_whoever_kills_it_leaves_nothing_running(generator: str, tmp_path: Path) -> None:
    if generator == "c" and not shutil.which("cc"):
        pytest.skip("there is no C compiler")
    words = ("--seconds", "60", "--members", "5", "--durability", "memory", "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "wsd", "bench", *words, "--generator", generator],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    started: list[int] = []
    try:
        deadline = time.monotonic() + 30
        while not any("--publishers" in words_of(pid) for pid in started):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
            started = below(process.pid)
        assert len(started) == 4  # master, hub, a worker, and who measures them
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while any(words_of(pid) for pid in started):
            assert time.monotonic() < deadline, [words_of(pid) for pid in started]
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        for pid in filter(words_of, started):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def below(pid: int) -> list[int]:
    """All processes that descend from ``pid``."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in (child, *below(child))]


def words_of(pid: int) -> str:
    """Empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    "words", [("--members", "0"), ("--text", "29"), ("--seconds", "0"), ("--durability", "no")]
)
def test_bad_options(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words])
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_terminal_sees_how_far_it_is_and_a_soft_limit_is_raised() -> None:
    def lower() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))

    own, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wsd", "bench", *FEW, "--members", "80", "--generator", "python"],
        stdout=subprocess.DEVNULL,
        stderr=its,
        preexec_fn=lower,
    )
    os.close(its)
    seen = b""
    try:
        while data := os.read(own, 4096):
            seen += data
    except OSError:  # EIO: nobody has the other end any more
        pass
    os.close(own)
    assert process.wait(10) == 0
    assert b"starting a daemon" in seen
    assert re.search(rb"\[#*\.*\] 0\.\d of 0\.3 s, [\d,]+ copies", seen)
    assert seen.endswith(b"\r\x1b[K")

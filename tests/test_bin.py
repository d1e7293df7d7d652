"""bin/wsd from a checkout: its environment is made, kept and mended without anybody's help."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("bin", "wsd", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
OK = "wsd: embedded defaults: ok\n"


class Checkout:
    """A copy of this one without an environment, in a directory whose name has a space."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, root / name, ignore=ignored)
            else:
                shutil.copy(source, root / name)
        self.venv = root / ".venv"

    def start(self, *words: str, cwd: Path | None = None, **environ: str) -> subprocess.Popen[str]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("WSD_", "PYTHON"))}
        return subprocess.Popen(
            [str(self.root / "bin/wsd"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or "/",
            env={**keep, **environ},
        )

    def wsd(self, *words: str, **keys: str) -> tuple[int, str, str]:
        process = self.start(*words, **keys)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Checkout, list[str]]]:
    """A checkout after its first two runs, which were at once, and what these said."""
    checkout = Checkout(tmp_path_factory.mktemp("bin") / "check out")
    runs = [checkout.start("check") for _ in range(2)]
    results = [(*run.communicate(timeout=300), run.returncode) for run in runs]
    if any("pip could not fetch" in err for _, err, _ in results):
        pytest.skip("no package registry can be reached")
    assert [(out, code) for out, _, code in results] == [(OK, 0)] * 2, results
    yield checkout, [err for _, err, _ in results]


@pytest.fixture
def checkout(made: tuple[Checkout, list[str]]) -> Checkout:
    return made[0]


def test_two_first_runs_at_once_make_one_environment(made: tuple[Checkout, list[str]]) -> None:
    said = "".join(made[1])
    assert said.count("wsd: making ") == 1
    assert said.count("wsd: another run is making ") <= 1
    assert len(said.splitlines()) <= 2


def test_later_runs_are_quiet(checkout: Checkout) -> None:
    assert checkout.wsd("check") == (0, OK, "")


def test_it_costs_next_to_nothing(checkout: Checkout, tmp_path: Path) -> None:
    """A later run starts four small programs before Python: counted, as times vary."""
    log = tmp_path / "log"
    for name in os.listdir("/bin"):
        wrapper = tmp_path / "bin" / name
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\necho {shlex.quote(name)} >>"$LOG"\nexec /bin/{name} "$@"\n')
        wrapper.chmod(0o755)
    process = checkout.start("--version", PATH=str(wrapper.parent), LOG=str(log))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), err
    assert out.startswith("wsd ")
    assert sorted(log.read_text().split()) == ["cat", "cat", "readlink", "readlink"]


def test_from_anywhere_and_through_links(checkout: Checkout, tmp_path: Path) -> None:
    """It does not leave the caller's directory: there is its state, and there is nothing of it
    taken for a module."""
    (tmp_path / "wsd.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "yaml.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "first").symlink_to(checkout.root / "bin/wsd")
    (tmp_path / "second").symlink_to("first")
    process = subprocess.Popen(
        ["./second", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "WSD__LISTEN": "127.0.0.1:0", "WSD__WORKERS": "1"},
    )
    try:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("wsd: serving on http://127.0.0.1:"):
                break
        else:
            raise AssertionError(lines)
        assert (tmp_path / "var/wsd.db").exists()
        assert not (checkout.root / "var").exists()
        process.send_signal(signal.SIGINT)  # it is the daemon itself: the shell has gone
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_exit_status_and_arguments_are_the_daemons(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "a file.yaml").write_text("wrokers: 1\n")
    code, out, err = checkout.wsd("check", "-c", "a file.yaml", cwd=tmp_path)
    assert (code, out) == (78, "")
    assert err == "a file.yaml:1: wrokers: unknown key (did you mean workers?)\n"


def test_changed_dependencies_are_installed(checkout: Checkout) -> None:
    setup = checkout.root / "setup.cfg"
    before = (checkout.venv / "pyvenv.cfg").stat().st_ino
    setup.write_text(setup.read_text().replace("PyYAML >= 6.0", "PyYAML >= 6.0.1"))
    assert checkout.wsd("check") == (0, OK, "")
    assert "6.0.1" in (checkout.venv / "run.stamp").read_text()
    assert (checkout.venv / "pyvenv.cfg").stat().st_ino == before  # brought up to date, not anew


def test_without_a_registry_it_says_what_to_do(checkout: Checkout) -> None:
    setup = checkout.root / "setup.cfg"
    good = setup.read_text()
    setup.write_text(good.replace("PyYAML >= 6.0.1", "PyYAML >= 600"))
    code, out, err = checkout.wsd("check", PIP_NO_INDEX="1", PIP_FIND_LINKS="/nowhere")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "PIP_FIND_LINKS" in err
    setup.write_text(good)
    assert checkout.wsd("check") == (0, OK, "")


@pytest.mark.parametrize("harm", ["killed while pip worked", "interpreter removed"])
def test_a_broken_environment_is_made_anew(checkout: Checkout, harm: str) -> None:
    if harm == "interpreter removed":
        (checkout.venv / "bin/python").unlink()
        (checkout.venv / "bin/python").symlink_to("/nowhere/python3")
    else:
        (checkout.venv / "run.stamp").unlink(missing_ok=True)
        (checkout.venv / "unfinished").touch()
        packages = next(checkout.venv.glob("lib/python3*/site-packages"))
        shutil.rmtree(packages / "msgspec")
    code, out, err = checkout.wsd("check")
    assert (code, out) == (0, OK), err
    assert err.startswith("wsd: making ") and len(err.splitlines()) == 1
    assert not (checkout.venv / "unfinished").exists()


# -- machines without what it takes


def fake_python(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Checkout, Path]:
    """A checkout, and a PATH with the shell's tools and no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("readlink", "cat", "flock", "mkdir", "rm", "tail", "grep"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    return Checkout(tmp_path / "checkout"), tools


def test_without_python(bare: tuple[Checkout, Path]) -> None:
    checkout, tools = bare
    code, out, err = checkout.wsd("check", PATH=str(tools))
    assert (code, out) == (1, "")
    assert err == (
        "wsd: no Python 3.11 or later: install one, or name it with WSD_PYTHON=/path/to/python3\n"
    )
    fake_python(tools / "python3", "exit 1")  # as an old one answers to what is asked of it
    assert checkout.wsd("check", PATH=str(tools)) == (code, out, err)


def test_without_venv(bare: tuple[Checkout, Path]) -> None:
    checkout, tools = bare
    fake_python(tools / "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    code, out, err = checkout.wsd("check", PATH=str(tools))
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "apt-get install python3-venv" in err


def test_the_newest_is_taken_when_python3_is_too_old(bare: tuple[Checkout, Path]) -> None:
    checkout, tools = bare
    fake_python(tools / "python3", "exit 1")
    for minor in (11, 12, 14):
        venv = '"-m venv"*) echo "no room"; exit 1 ;;'
        fake_python(
            tools / f"python3.{minor}",
            f'case "$*" in *platform*) echo 3.{minor} ;; {venv} esac',
        )
    code, _, err = checkout.wsd("check", PATH=str(tools))
    making, problem = err.splitlines()
    assert code == 1
    assert making.startswith(f"wsd: making {checkout.venv} with Python 3.14 ")
    assert problem.startswith("wsd: ") and problem.endswith("no room")


def test_a_checkout_of_somebody_elses(bare: tuple[Checkout, Path]) -> None:
    checkout, tools = bare
    (checkout.root / ".cache").write_text("in the way")  # root may write everywhere else
    code, _, err = checkout.wsd("check", PATH=str(tools))
    assert (code, len(err.splitlines())) == (1, 1)
    assert err.startswith(f"wsd: cannot write to {checkout.root}")

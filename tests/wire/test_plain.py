"""The page without script in lynx, which speaks HTTP/1.0."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

LYNX = shutil.which("lynx")


@pytest.mark.skipif(LYNX is None, reason="lynx is not here")
def test_lynx_reads_and_writes(daemon: Daemon, tmp_path: Path) -> None:
    """As a person would: load the page, type a name and a message, press Send."""
    down = "key Down Arrow"
    keys = [
        down,  # from the link that lynx makes of the refresh, to the name
        "key ^U", *typed("Ann Lynx"), down, *typed("hello from lynx"), down, down, down,
        "key ^J", "key q", "key y",
    ]  # fmt: skip
    script = tmp_path / "keys"
    script.write_text("\n".join(keys) + "\n")
    done = subprocess.run(
        [str(LYNX), "-accept_all_cookies", f"-cmd_script={script}", "-nocolor",
         f"http://127.0.0.1:{daemon.port}/plain/lobby"],
        capture_output=True, timeout=30, env={"TERM": "vt100", "HOME": str(tmp_path), "LANG": "C"},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    shown = subprocess.run(
        [str(LYNX), "-dump", "-display_charset=utf-8", f"http://127.0.0.1:{daemon.port}/plain/lobby"],
        capture_output=True, text=True, timeout=30, env={"TERM": "dumb", "HOME": str(tmp_path)},
    ).stdout  # fmt: skip
    assert "hello from lynx" in shown, done.stdout[-2000:]
    assert "Ann Lynx" in shown


def typed(text: str) -> list[str]:
    return [f"key {'<space>' if c == ' ' else c}" for c in text]

"""The example of docs/python-client.md, as somebody copies and runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import wsd

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "python-client.md"


def test_the_example_answers_and_ctrl_c_ends_it(make_daemon, client, tmp_path: Path) -> None:
    (example,) = re.findall(r'```python\n(""".*?)```', GUIDE.read_text(), re.DOTALL)
    (tmp_path / "bot.py").write_text(example)
    daemon = make_daemon(workers=1)
    ann = client(daemon, "lobby", name="Ann")
    bot = subprocess.Popen(
        [sys.executable, "bot.py", daemon.url, "lobby"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(wsd.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell without job control has its background jobs, and theirs, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert bot.stdout is not None
        assert bot.stdout.readline() == "Clock is in lobby\n"
        asked = ann.say("lobby", "!time")
        answer = next(ann.messages())
        assert re.fullmatch(r"Ann: It is \d\d:\d\d UTC\.", answer.text)
        assert (answer.name, answer.reply_to) == ("Clock", asked.seq)
        bot.send_signal(signal.SIGINT)
        assert bot.wait(10) == 0
        assert bot.stderr is not None
        assert bot.stderr.read() == ""
        daemon.wait_for(
            lambda: daemon.metrics()["wsd_closed_total.client_closed"] == 1, "its goodbye"
        )
    finally:
        bot.kill()
        bot.wait()
    assert (tmp_path / "clock.token").exists()

"""Places where a test may have this process die: compiled in, off unless the environment asks.

``WSD_FAILPOINT=hub.after_commit:kill:0.03,worker.after_ok:stop:0.01`` kills (or stops) the process
at three of a hundred passes of the one point and at one of the other; ``fail`` raises an exception
there, as a bug would.  Random kills hardly ever hit the moments that matter; these do.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping

from wsd import logs

VARIABLE = "WSD_FAILPOINT"
NAMES = frozenset(
    (
        "worker.after_receive",
        "worker.after_forward",
        "worker.after_ok",
        "worker.mid_write",
        "worker.during_recovery",
        "hub.before_begin",
        "hub.in_transaction",
        "hub.before_commit",
        "hub.after_commit",
        "hub.after_partial_publish",
        "hub.before_ok",
    )
)
_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "fail": None}


class Failed(Exception):
    """A bug that was ordered."""


def parse(text: str) -> dict[str, tuple[signal.Signals | None, float]]:
    """Raises ValueError, which names what is wrong."""
    points = {}
    for part in filter(None, text.split(",")):
        name, _, rest = part.partition(":")
        action, _, chance = rest.partition(":")
        if name not in NAMES:
            raise ValueError(f"{VARIABLE}: there is no failpoint {name}")
        if action not in _ACTIONS:
            raise ValueError(f"{VARIABLE}: {name}: kill, stop or fail, not {action or 'nothing'}")
        points[name] = (_ACTIONS[action], float(chance or "1"))
    return points


_armed: dict[str, tuple[signal.Signals | None, float]] = {}


def arm(environ: Mapping[str, str]) -> None:
    """Raises ValueError.  Processes that are forked from here on are armed as well."""
    _armed.update(parse(environ.get(VARIABLE, "")))


def due(name: str) -> bool:
    """Whether this pass of the point is one to fail at; for points that prepare for ``act``."""
    return bool(_armed) and name in _armed and random.random() < _armed[name][1]


def act(name: str) -> None:
    logs.event(logs.warning, f"failpoint name={name}")
    signum = _armed[name][0]
    if signum is None:
        raise Failed(name)
    os.kill(os.getpid(), signum)


def hit(name: str) -> None:
    """Pass the point ``name``."""
    if due(name):
        act(name)

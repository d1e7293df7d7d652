"""Stopping in the middle of trouble is still an orderly stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.chaos.faults import Tree, _signal


def test_worker_that_is_not_in_contact_yet(tmp_path: Path) -> None:
    """SIGTERM while a replaced worker still waits for the hub."""
    tree = Tree(tmp_path / "wsd", workers=2)

    async def stop() -> int:
        await tree.start()
        hub = tree.hub()
        _signal(hub, signal.SIGSTOP)
        before = set(tree.workers())
        for pid in before:
            _signal(pid, signal.SIGKILL)
        while len(set(tree.workers()) - before) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        asyncio.get_running_loop().call_later(0.5, _signal, hub, signal.SIGCONT)
        return await tree.stop()

    try:
        assert asyncio.run(asyncio.wait_for(stop(), 30)) == 0
    finally:
        tree.kill_all()
    assert not tree.crashes()

"""A client may know more than the worker that it comes to: workers hear of events one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.faults import Tree
from tests.chaos.small import SmallClient


@pytest.mark.parametrize(
    ("ahead", "recovered", "follows"), [(5, True, 0), (3, True, 2), (6, False, 5), (900, False, 5)]
)
def test_position_ahead_of_the_worker(
    tmp_path: Path, ahead: int, recovered: bool, follows: int
) -> None:
    switch = tmp_path / "meddling"
    tree = Tree(tmp_path / "wsd", workers=1, chaos={"drop": 1.0, "while": str(switch)})
    try:
        asyncio.run(tree.start())
        sender = SmallClient(tree.port)
        epoch = sender.welcome["rooms"]["lobby"]["position"].partition(".")[0]
        switch.touch()  # from here on no news reach the worker
        assert [sender.say("x", f"c{n}")["seq"] for n in range(5)] == [1, 2, 3, 4, 5]
        client = SmallClient(tree.port, {"lobby": f"{epoch}.{ahead}"})
        entry = client.welcome["rooms"]["lobby"]
        assert (entry["position"], entry["recovered"], entry["follows"]) == (
            f"{epoch}.5", recovered, follows,
        )  # fmt: skip
        expected = list(range(6 - follows, 6))
        if expected:
            assert [event["seq"] for event in client.events(5)] == expected
        # Those who were there have what the answer brought as well.
        assert [event["seq"] for event in sender.events(5)] == [1, 2, 3, 4, 5]
    finally:
        tree.kill_all()

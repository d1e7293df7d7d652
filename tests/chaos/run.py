"""The long form: ``python -m tests.chaos.run --minutes 20``.

Three workers, eight senders, eight more listeners, two rooms, and something always going wrong.
Each phase has a daemon and a log of its own and is judged by itself.  The table comes at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import checker
from tests.chaos.checker import SEVEN, Counts
from tests.chaos.client import Client, World
from tests.chaos.faults import KERNEL_RESETS, SmallDisk, Tormentor, Tree, Unavailable, small_disk
from tests.chaos.launcher import MUTANTS
from tests.chaos.listeners import HttpListener, Poll, Stream

ROOMS = ["lobby", "tech"]
SENDERS = 8
LISTENERS = 8
HTTP = (Stream, Stream, Poll, Poll)
"""How the last of the listeners listen; all others have a WebSocket."""
WANDERERS = 4
"""Listeners that leave and come back all the time."""
RATE = 40.0
RECOVER_MAX = 2000
SETTLE_S = 30.0

BUS_FAULTS: dict[str, object] = {"drop": 0.02, "double": 0.05, "swap": 0.02, "cut": 0.003}

FAILPOINTS = {
    # name: the probability that makes it strike about once or twice a second
    "hub.before_begin": 0.011,
    "hub.in_transaction": 0.004,  # more often, and the hub dies over its backlog again and again
    "hub.before_commit": 0.011,
    "hub.after_commit": 0.011,
    "hub.after_partial_publish": 0.003,
    "hub.before_ok": 0.011,
    "worker.after_receive": 0.006,
    "worker.after_forward": 0.006,
    "worker.after_ok": 0.006,
    "worker.mid_write": 0.006,
    "worker.during_recovery": 0.1,
}
LONGER = {"hub.in_transaction": 12}
"""Shares of the time of those that strike less often."""


@dataclass
class Phase:
    """``torment`` injects faults until it is cancelled."""

    name: str
    torment: Callable[[Tormentor], Awaitable[None]]
    share: float
    failpoint: str = ""
    chaos: dict[str, object] = field(default_factory=dict)
    resends: bool = True
    settle_s: float = SETTLE_S
    disk_mib: int = 0
    """State is on a tmpfs of this size; 0: wherever temporary files are."""


@dataclass
class Result:
    name: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failpoints: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)
    happened: Counter[str] = field(default_factory=Counter)
    acked: int = 0
    deliveries: int = 0
    latencies: list[float] = field(default_factory=list)
    outages: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Violations of another kind: a traceback, a bad exit status, a client that did not settle."""

    @property
    def injected(self) -> int:
        return self.faults.total() + self.failpoints.total()

    @property
    def good(self) -> bool:
        return not self.counts.total() and not self.trouble

    def as_json(self) -> dict[str, Any]:
        return {
            "phase": self.name, "seconds": round(self.seconds, 1), "faults": dict(self.faults),
            "failpoints": dict(self.failpoints), "acked": self.acked,
            "deliveries": self.deliveries, "counts": self.counts.as_dict(),
            "ack_ms": _percentiles_ms(self.latencies), "outage_ms": _percentiles_ms(self.outages),
            "clients": dict(self.happened), "notes": self.notes, "trouble": self.trouble,
        }  # fmt: skip


def _percentiles_ms(seconds: list[float]) -> dict[str, float | None]:
    found: dict[str, float | None] = {"p50": None, "p99": None}
    if seconds:
        ordered = sorted(seconds)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            found[name] = round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000, 1)
    return found


# -- the ways to torment


def every(low_s: float, high_s: float, *acts: Callable[[Tormentor], Any]) -> Any:
    """One of ``acts``, by chance, again and again."""

    async def torment(tormentor: Tormentor) -> None:
        while True:
            await asyncio.sleep(tormentor.rng.uniform(low_s, high_s))
            done = tormentor.rng.choice(acts)(tormentor)
            if asyncio.iscoroutine(done):
                await done

    return torment


def kill_hub(tormentor: Tormentor) -> None:
    tormentor.kill_hub()


def kill_worker(tormentor: Tormentor) -> None:
    tormentor.kill_worker()


def stop_hub(tormentor: Tormentor) -> None:
    tormentor.pause("hub", tormentor.tree.hub())


def stop_worker(tormentor: Tormentor) -> None:
    workers = tormentor.tree.workers()
    if workers:
        tormentor.pause("worker", tormentor.rng.choice(workers))


def reset_client(tormentor: Tormentor) -> None:
    tormentor.reset_client()


def kill_everything(tormentor: Tormentor) -> Awaitable[None]:
    return tormentor.kill_everything()


def kill_master(tormentor: Tormentor) -> Awaitable[None]:
    return tormentor.kill_master()


def restart(tormentor: Tormentor) -> Awaitable[None]:
    return tormentor.restart()


async def hang(tormentor: Tormentor) -> None:
    """One process after the other hangs until it is replaced."""
    while True:
        workers = tormentor.tree.workers()
        if workers:
            tormentor.hang("worker", tormentor.rng.choice(workers))
        await asyncio.sleep(15)
        tormentor.hang("hub", tormentor.tree.hub())
        await asyncio.sleep(15)


async def fill_disk(tormentor: Tormentor) -> None:
    disk = SmallDisk(tormentor.tree.state.parent)
    while True:
        await asyncio.sleep(tormentor.rng.uniform(0.3, 1.0))
        disk.fill()
        tormentor.counts["disk full"] += 1
        try:
            await asyncio.sleep(tormentor.rng.uniform(0.5, 1.5))
        finally:
            disk.free()


async def only_failpoints(tormentor: Tormentor) -> None:
    while True:
        await asyncio.sleep(0.05)
        tormentor.wake_failpoints()


async def nothing(tormentor: Tormentor) -> None:
    await asyncio.sleep(1e9)


def phases() -> list[Phase]:
    plain = [
        Phase("no faults", nothing, 2),
        Phase("kill hub, workers", every(0.1, 0.5, kill_hub, kill_worker), 14),
        Phase("stop hub, workers", every(0.1, 0.5, stop_hub, stop_worker, stop_worker), 10),
        Phase("client resets", every(0.02, 0.12, reset_client), 8),
        Phase("kill all, master; restart",
              every(1.0, 2.5, kill_everything, kill_everything, kill_master, restart), 12),
        Phase("hang until killed", hang, 5),
        Phase("bus faults", every(1.0, 3.0, kill_hub), 8, chaos=dict(BUS_FAULTS)),
        Phase(
            "all at once",
            every(0.1, 0.6, kill_hub, kill_worker, stop_hub, stop_worker, reset_client,
                  reset_client, reset_client, reset_client),
            8, chaos={"drop": 0.01, "double": 0.01, "swap": 0.01, "cut": 0.001},
        ),
    ]  # fmt: skip
    points = [
        Phase(f"failpoint {name}", only_failpoints, LONGER.get(name, 6), f"{name}:kill:{chance}")
        for name, chance in FAILPOINTS.items()
    ]
    stops = Phase(
        "failpoints, stopping", only_failpoints, 4,
        ",".join(f"{name}:stop:{chance / 5}" for name, chance in FAILPOINTS.items()),
    )  # fmt: skip
    return [*plain, *points, stops, disk_phase()]


def disk_phase() -> Phase:
    return Phase("full disk", fill_disk, 4, disk_mib=64)


# -- one phase


async def produce(world: World, senders: list[Client], until: Callable[[], bool]) -> None:
    """``RATE`` messages a second of each sender, to its rooms in turn."""
    turn = 0
    period = 1 / RATE / len(senders)
    due = time.monotonic()
    while not until():
        now = time.monotonic()
        while due <= now:
            sender = senders[turn % len(senders)]
            sender.say(ROOMS[(turn // len(senders)) % len(ROOMS)])
            turn += 1
            due += period
        if now - due > 1.0:
            due = now
        await asyncio.sleep(max(due - time.monotonic(), 0.005))


async def wander(world: World, client: Client, until: Callable[[], bool]) -> None:
    rng = random.Random(world.rng.random())
    while not until():
        room = rng.choice(ROOMS)
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        client.wander(room, False)
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        client.wander(room, True)


async def watch(clients: list[Client]) -> None:
    while True:
        await asyncio.sleep(0.25)
        now = time.monotonic()
        for client in clients:
            client.watch(now)


async def run_phase(phase: Phase, seconds: float, directory: Path, seed: int) -> Result:
    """Raises Unavailable."""
    if not phase.disk_mib:
        return await _run_phase(phase, seconds, directory, seed, directory / "state")
    with small_disk(directory / "disk", phase.disk_mib) as disk:
        return await _run_phase(phase, seconds, directory, seed, disk.path / "state")


async def _run_phase(
    phase: Phase, seconds: float, directory: Path, seed: int, state: Path
) -> Result:
    rng = random.Random(f"{seed} {phase.name}")
    result = Result(phase.name)
    switch = directory / "meddling"
    chaos = {"large_rooms": True, **phase.chaos}
    tree = Tree(
        directory, recover_max=RECOVER_MAX, failpoint=phase.failpoint, chaos=chaos, state=state
    )
    if any(kind in chaos for kind in BUS_FAULTS):
        tree.chaos["while"] = str(switch)
    began = time.monotonic()
    world = World(tree.port, rng)
    senders = [
        Client(world, f"s{i}", ROOMS, copies=3 if i == SENDERS - 1 else 1, resends=phase.resends)
        for i in range(SENDERS)
    ]
    listeners = [Client(world, f"l{i}", ROOMS) for i in range(LISTENERS - len(HTTP))]
    listeners += [
        HttpListener(world, f"{wire.path} {i}", ROOMS, wire=wire) for i, wire in enumerate(HTTP)
    ]
    clients = senders + listeners
    tormentor = Tormentor(tree, clients, rng)
    background: list[asyncio.Task[Any]] = []
    try:
        await tree.start()
        lives = [asyncio.create_task(client.live()) for client in clients]
        background += [*lives, asyncio.create_task(watch(clients))]
        over = asyncio.Event()
        for client in listeners[:WANDERERS]:
            background.append(asyncio.create_task(wander(world, client, over.is_set)))
        production = asyncio.create_task(produce(world, senders, over.is_set))
        background.append(production)
        await asyncio.sleep(0.3)
        switch.touch()
        torment = asyncio.ensure_future(phase.torment(tormentor))
        background.append(torment)
        await asyncio.wait([torment], timeout=seconds)
        if torment.done():
            await torment  # it never ends by itself but by an exception
        await _cancel(torment)
        switch.unlink()
        result.seconds = time.monotonic() - began
        over.set()
        await tormentor.close()
        if phase.failpoint:
            tree.kill_all()
            tree.failpoint = ""
            await tree.start()
        await settle(world, clients, listeners, senders, result, phase.settle_s)
        world.stopping = True
        for client in clients:
            if client.wire is not None:
                client.wire.abort()
        await asyncio.wait(lives, timeout=10)
        status = await tree.stop()
        if status:
            result.trouble.append(f"exit status {status} after SIGTERM")
    except AssertionError as error:
        result.trouble.append(str(error))
    finally:
        for task in background:
            await _cancel(task)
        await tormentor.close()
        tree.kill_all()
    result.faults = tormentor.counts
    result.faults.update({f"bus {kind}": n for kind, n in tree.bus_hits().items()})
    result.failpoints = tree.failpoint_hits()
    result.trouble += [line[:2000] for line in tree.crashes()[:5]]
    result.happened = world.counts
    result.deliveries = world.counts.pop("deliveries", 0)
    for bad in ("another uid", "garbled frames"):
        if bad in world.counts:
            result.trouble.append(f"{bad}: {world.counts[bad]}")
    result.acked = len(world.acks)
    result.latencies = [done - first for first, done in world.acks]
    result.outages = outages(tormentor.hub_kills, world.acks)
    if not world.newest:
        return result  # it did not even start
    log = checker.read_log(tree.state / "wsd.db")
    result.counts = checker.check(
        [s.as_sender() for s in senders], [c.as_receiver() for c in clients], log, RECOVER_MAX,
        result.notes,
    )  # fmt: skip
    return result


async def settle(
    world: World, clients: list[Client], listeners: list[Client], senders: list[Client],
    result: Result, seconds: float,
) -> None:  # fmt: skip
    """Everything is well again: everybody comes back, and everything that is owed arrives."""
    for client in listeners:
        for room in ROOMS:
            client.wander(room, True)
    deadline = time.monotonic() + seconds
    said = 0.0
    while time.monotonic() < deadline:
        for client in listeners:
            for room in ROOMS:
                client.wander(room, True)
        if said == 0.0 and all(client.welcomed for client in clients):
            # What the bus lost last shows with the next event of the room.
            said = time.monotonic()
            for room in ROOMS:
                senders[0].say(room)
        if said and time.monotonic() - said > 0.5 and all(client.settled for client in clients):
            await asyncio.sleep(0.2)
            return
        await asyncio.sleep(0.02)
    lagging = [client.describe() for client in clients if not client.settled]
    result.trouble.append(f"not settled within {seconds:g} s: {'; '.join(lagging)[:2000]}")


def outages(kills: list[float], acks: list[tuple[float, float]]) -> list[float]:
    """From each kill of the hub to the first ok for a message that was said after it."""
    found = []
    ordered = sorted(acks)
    at = 0
    for killed, following in zip(kills, [*kills, float("inf")][1:], strict=True):
        while at < len(ordered) and ordered[at][0] < killed:
            at += 1
        later = [done for first, done in ordered[at : at + 200]]
        if later and min(later) < following:  # else the next kill came before the recovery
            found.append(min(later) - killed)
    return found


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    try:
        await task
    except (asyncio.CancelledError, AssertionError):
        pass


# -- the table


def table(results: list[Result]) -> str:
    short = {
        "acked_lost": "lost", "duplicates": "dup log", "delivered_twice": "twice",
        "missing": "missing", "out_of_order": "order", "disagreements": "disagr",
        "sender_order": "FIFO",
    }  # fmt: skip
    header = ["phase", "s", "faults", "acked", "delivered", *(short[name] for name in SEVEN),
              "other", "ack p50", "p99", "outage p50", "p99"]  # fmt: skip
    rows = [header]
    total = Result("total")
    for result in results:
        rows.append(_row(result))
        total.seconds += result.seconds
        total.faults += result.faults
        total.failpoints += result.failpoints
        total.counts += result.counts
        total.happened += result.happened
        total.acked += result.acked
        total.deliveries += result.deliveries
        total.latencies += result.latencies
        total.outages += result.outages
        total.trouble += result.trouble
    rows.append(_row(total))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                  for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
    lines.insert(1, "-" * len(lines[0]))
    lines.insert(-1, "-" * len(lines[0]))
    lines += [
        "",
        f"faults: {_listed(total.faults)}",
        f"failpoints: {_listed(total.failpoints)}",
        f"clients: {_listed(total.happened)}",
        f"client resets by {'ss -K' if KERNEL_RESETS else 'SO_LINGER 0 (ss -K does nothing here)'}",
    ]
    if not total.counts.total() and total.acked and total.deliveries and total.injected:
        lines.append(
            "none was seen, so with 95 % confidence (rule of three) at most "
            f"{3 / total.acked:.1e} of acknowledged messages are lost, {3 / total.deliveries:.1e} "
            f"of deliveries wrong, {3 / total.injected:.1e} of faults do harm"
        )
    return "\n".join(lines)


def _row(result: Result) -> list[str]:
    counts = result.counts.as_dict()
    ack, outage = _percentiles_ms(result.latencies), _percentiles_ms(result.outages)
    other = sum(n for name, n in counts.items() if name not in SEVEN) + len(result.trouble)
    return [
        result.name, f"{result.seconds:.0f}", str(result.injected), str(result.acked),
        str(result.deliveries), *(str(counts[name]) for name in SEVEN), str(other),
        *("-" if value is None else f"{value:.0f}" for value in
          (ack["p50"], ack["p99"], outage["p50"], outage["p99"])),
    ]  # fmt: skip


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "none"


# -- mutants


def mutant_phase(name: str) -> Phase:
    """The faults under which this mutant shows soonest."""
    if name == "client_does_not_resend":
        return Phase(name, every(0.2, 0.4, kill_hub, kill_worker), 1, resends=False, settle_s=3.0)
    point = {
        "no_dedup": "hub.after_commit:kill:0.02",
        "publish_before_commit": "hub.before_commit:kill:0.02",
        "no_resync": "hub.after_partial_publish:kill:0.01",
    }[name]
    return Phase(name, only_failpoints, 1, point, {"mutant": name}, settle_s=3.0)


ALL_MUTANTS = (*MUTANTS, "client_does_not_resend")


# -- the command


async def run_all(wanted: list[Phase], seconds: float, directory: Path, seed: int) -> list[Result]:
    total = sum(phase.share for phase in wanted)
    results = []
    for number, phase in enumerate(wanted):
        place = directory / f"{number}"
        try:
            result = await run_phase(phase, seconds * phase.share / total, place, seed)
        except Unavailable as error:
            print(f"{phase.name}: left out: {error}", file=sys.stderr, flush=True)
            continue
        results.append(result)
        print(
            f"{phase.name}: {result.injected} faults, {result.acked} acked, "
            f"{result.counts.total()} violations{'' if result.good else f' (see {place})'}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        for line in result.notes + result.trouble:
            print(f"    {line}", file=sys.stderr, flush=True)
        if result.good:
            shutil.rmtree(place)
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="", help="phases whose name has this in it")
    parser.add_argument("--mutant", choices=ALL_MUTANTS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    wanted = [phase for phase in phases() if options.only in phase.name]
    if options.mutant:
        wanted = [mutant_phase(options.mutant)]
    if not wanted:
        parser.error(f"there is no phase {options.only!r}")
    directory = Path(tempfile.mkdtemp(prefix="wsd-chaos-"))
    print(f"seed {options.seed}, in {directory}", file=sys.stderr, flush=True)
    results = asyncio.run(run_all(wanted, options.minutes * 60, directory, options.seed))
    print(table(results))
    if options.json:
        options.json.write_text(
            json.dumps({"seed": options.seed, "phases": [r.as_json() for r in results]}, indent=1)
        )
    good = all(result.good for result in results)
    if good:
        shutil.rmtree(directory)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

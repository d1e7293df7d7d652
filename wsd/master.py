"""The master: makes the listeners, forks hub and workers, watches, reloads and stops them.

It holds no data and reads nothing from the network.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Collection
from enum import Enum
from functools import partial
from typing import BinaryIO

import setproctitle

from wsd import child, failpoints, logs
from wsd.chat.identity import load_secret, secret_path
from wsd.child import CANNOT_START, Child, Work
from wsd.config import ConfigError, Settings, needs_restart
from wsd.config_listen import certificate_warnings, newly_invalid
from wsd.config_values import MAX_WORKERS
from wsd.hub.log import open_log
from wsd.hub.server import Hub
from wsd.listeners import CannotListen, Listeners, Opening
from wsd.metrics import M
from wsd.net.loop import READ, Loop
from wsd.shared import Shared, worker_name
from wsd.systemd import Notifier
from wsd.worker import Worker

HUNG_S = 10.0
"""Silence after which a child is taken for hung."""
ABORT_GRACE_S = 2.0
"""What a hung child gets to leave a stack dump before it is killed."""
STARTED_WELL_S = 0.1
"""A child that was ready and lived so long did not fail to start: it is replaced without delay,
however often it is killed.  Only failing starts are put off, further each time.  A message that
kills whoever reads it comes again at once, so that it does not take so long."""
BACKOFF_S = (0.1, 30.0)
BOOT_TRIES = 5
"""Deaths before the first ``ready`` of all after which the daemon gives up."""
HUB_STOP_S = 5.0
STEER_S = 1.0
"""How long a worker that is to go still serves after new connections are kept from it."""


class CannotStart(Exception):
    """The daemon cannot serve here; the text says what is in the way."""


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING_HUB = "stopping hub"
    DONE = "done"


class Slot:
    """The place of one child, which processes fill one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self.control: socket.socket | None = None
        self.started_at = 0.0
        self.deaths = 0
        self.retiring = False
        self.beat = 0.0
        self.beat_seen_at = 0.0
        self.aborted_at = 0.0

    @property
    def is_hub(self) -> bool:
        return self.name == "hub"

    def back_off_s(self, lived_s: float) -> float:
        """How long to wait before the next start: 0, 0.1, 0.2 … 30 s, with jitter.

        ``lived_s`` is how long the last process was there; 0 if it was never ready.
        """
        if lived_s >= STARTED_WELL_S:
            self.deaths = 0
        self.deaths += 1
        if self.deaths == 1:
            return 0.0
        doublings = min(self.deaths - 2, 20)  # a float ends at 2 ** 1024, and nights are long
        delay_s: float = min(BACKOFF_S[0] * 2**doublings, BACKOFF_S[1])
        return delay_s * random.uniform(0.5, 1.5)


class Master:
    """``reload`` reads the configuration again, and raises ConfigError; ``keep_from_children``
    are descriptors that only the master may hold."""

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        on_ready: Callable[[list[str]], None],
        keep_from_children: Collection[int] = (),
    ) -> None:
        self._settings = settings
        self._reload_settings = reload
        self._on_ready = on_ready
        self._private = keep_from_children
        self._phase = Phase.STARTING
        self._notifier = Notifier()
        self._slots = [Slot("hub")] + [Slot(worker_name(i)) for i in range(settings.workers)]
        # Room for all the workers that a reload may ask for: memory can be shared only now.
        self._shared = Shared(MAX_WORKERS)
        self._scoreboard = self._shared.scoreboard
        self._row = self._scoreboard.row("master")
        self._listeners = Listeners()
        self._loop = Loop()
        self._ticked_at = self._loop.clock()
        self._fed_at = 0.0
        self._exit_status = 0

    # -- start

    def run(self) -> int:
        """Serve until told to stop; returns the exit status.  Raises CannotStart."""
        setproctitle.setproctitle("wsd: master")
        os.umask(0o077)  # what the daemon writes is nobody else's business
        self._row[M.PID] = os.getpid()
        self._row[M.STARTED_AT] = time.time()
        self._row[M.STARTS] = self._row[M.READY] = 1
        try:
            self._prepare()
            for signum, callback in (
                (signal.SIGTERM, self._on_sigterm),
                (signal.SIGINT, self._on_sigint),
                (signal.SIGHUP, self._on_sighup),
                (signal.SIGCHLD, self._on_sigchld),
            ):
                self._loop.on_signal(signum, callback)
            for signum in (signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(signum, signal.SIG_IGN)  # what rotates logs may well send them
            logs.event(logs.info, "starting", pid=os.getpid(), workers=self._settings.workers)
            self._warn()
            for slot in self._slots:
                self._spawn(slot)
            self._loop.every(1.0, self._tick)
            self._loop.run()
        finally:
            self._listeners.close()
        return self._exit_status

    def _prepare(self) -> None:
        settings = self._settings
        try:
            failpoints.arm(os.environ)
        except ValueError as error:
            raise CannotStart(str(error)) from None
        for directory in (settings.state, settings.runtime):
            make_directory(directory)
        try:
            load_secret(secret_path(settings))  # made here if need be, once, before the fork
        except (OSError, ValueError) as error:
            raise CannotStart(f"the secret for guest tokens: {error}") from None
        self._hub_path = os.path.join(settings.runtime, "hub.sock")
        try:
            self._listeners.open(settings, self._hub_path)
        except CannotListen as error:
            raise CannotStart(str(error)) from None

    # -- children

    def _number(self, slot: Slot) -> int:
        """Of a worker, from 0."""
        return self._slots.index(slot) - 1

    def _spawn(self, slot: Slot) -> None:
        if slot.retiring:  # a reload has asked for fewer while it was to be started
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:  # no descriptors, or no memory: there may be some later
            logs.event(logs.error, "fork_failed", detail=str(error), child=slot.name)
            self._respawn_later(slot, 0.0)
            return
        ours.setblocking(False)
        theirs.setblocking(False)
        if not slot.is_hub:
            self._shared.addresses.wipe(self._number(slot))
        # A signal that reached the child before it has its own handlers would be written to the
        # master's wake-up socket.
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        try:
            pid = os.fork()
        except OSError as error:
            logs.event(logs.error, "fork_failed", detail=str(error), child=slot.name)
            ours.close()
            theirs.close()
            self._respawn_later(slot, 0.0)
            return
        finally:
            if os.getpid() == int(self._row[M.PID]):
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if pid == 0:
            self._become(slot, theirs, ours)
        theirs.close()
        now = self._loop.clock()
        slot.pid, slot.control = pid, ours
        slot.started_at = slot.beat_seen_at = now
        slot.aborted_at = 0.0
        self._loop.add(ours, READ, lambda _mask: self._on_report(slot, ours))

    def _become(self, slot: Slot, control: socket.socket, ours: socket.socket) -> None:
        """In the child: let go of what is the master's or a sibling's, work, and end."""
        status = 1
        try:
            settings = self._settings
            logs.setup(settings.log.level, settings.log.format, slot.name)
            openings = [] if slot.is_hub else self._listeners.openings(self._number(slot))
            self._drop_inherited(slot, openings, ours)
            row = self._scoreboard.row(slot.name)
            status = Child(slot.name, row, control).live(
                lambda loop: self._make_work(loop, slot, openings)
            )
        except BaseException:
            logs.exception("crashed")
        finally:
            os._exit(status)

    def _drop_inherited(self, slot: Slot, openings: list[Opening], ours: socket.socket) -> None:
        self._loop.close()
        ours.close()
        for other in self._slots:
            if other.control is not None:
                other.control.close()
        kept = {opening.listener for opening in openings}
        if slot.is_hub and self._listeners.hub:
            kept = {self._listeners.hub}
        self._listeners.close_others(kept)
        for fd in self._private:
            os.close(fd)

    def _make_work(self, loop: Loop, slot: Slot, openings: list[Opening]) -> Work:
        settings = self._settings
        if not slot.is_hub:
            return Worker(
                loop, self._number(slot), openings, self._hub_path, settings, self._shared
            )
        listener = self._listeners.hub
        assert listener is not None
        # The whole file is read when the daemon starts, not when a hub is replaced: that has to
        # be quick, and the one before it had the file open without a complaint.
        thorough = self._scoreboard.row("hub")[M.STARTS] <= 1
        log = open_log(settings.state, settings.durability, thorough=thorough)
        return Hub(loop, listener, log, settings, self._scoreboard.row("hub"))

    def _on_report(self, slot: Slot, control: socket.socket) -> None:
        try:
            report = control.recv(64)
        except OSError:
            report = b""
        if not report:  # SIGCHLD tells the rest
            if slot.control is control:
                self._drop_control(slot)
            return
        if self._phase is Phase.STARTING and all(
            self._scoreboard.row(s.name)[M.READY] for s in self._slots
        ):
            self._phase = Phase.SERVING
            addresses = self._listeners.addresses()
            logs.event(logs.info, "serving", addresses=" ".join(addresses))
            self._notifier.ready(f"serving {' '.join(addresses)}")
            self._on_ready(addresses)

    def _drop_control(self, slot: Slot) -> None:
        if slot.control is not None:
            self._loop.remove(slot.control)
            slot.control.close()
            slot.control = None

    def _on_sigchld(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for slot in self._slots:
                if slot.pid == pid:
                    self._on_death(slot, os.waitstatus_to_exitcode(status))

    def _on_death(self, slot: Slot, code: int) -> None:
        lived_s = self._loop.clock() - slot.started_at
        slot.pid = 0
        self._drop_control(slot)
        row = self._scoreboard.row(slot.name)
        was_ready = bool(row[M.READY])
        for cell in (M.READY, M.CONNECTIONS, M.MEMBERS, M.ROOMS, M.LINKS, M.LINK_UP, M.PID):
            row[cell] = 0
        if not slot.is_hub:
            self._shared.addresses.wipe(self._number(slot))
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        expected = self._phase in (Phase.DRAINING, Phase.STOPPING_HUB)
        logs.event(
            logs.info if expected or (slot.retiring and not code) else logs.error,
            "exited", child=slot.name, how=how, lived_s=round(lived_s, 1),
        )  # fmt: skip
        if slot.retiring:
            self._retired(slot)
        if expected and not slot.is_hub:
            self._go_on_stopping()
        elif self._phase is Phase.STOPPING_HUB:
            self._finish(0)
        elif self._phase is Phase.STARTING and (
            code == CANNOT_START or slot.deaths >= BOOT_TRIES - 1
        ):
            logs.event(logs.error, "giving_up", child=slot.name)
            self._exit_status = 1
            self._begin_stop(now=True)
        elif not slot.retiring:
            self._respawn_later(slot, lived_s if was_ready else 0.0)

    def _respawn_later(self, slot: Slot, lived_s: float) -> None:
        delay_s = slot.back_off_s(lived_s)
        if delay_s:
            logs.event(logs.warning, "restart_delayed", child=slot.name, delay_s=round(delay_s, 2))

        def respawn() -> None:
            if self._phase in (Phase.STARTING, Phase.SERVING) or (
                slot.is_hub and self._phase is Phase.DRAINING
            ):
                self._spawn(slot)

        # Not from within the callback that told us: the slot may be in use further up.
        self._loop.call_later(delay_s, respawn)

    # -- watching

    def _tick(self) -> None:
        now = self._loop.clock()
        slept = now - self._ticked_at > 3.0
        self._ticked_at = now
        self._row[M.BEAT] = now
        for slot in self._slots:
            if slot.pid:
                self._watch(slot, now, slept)
        self._feed_watchdog(now)

    def _watch(self, slot: Slot, now: float, slept: bool) -> None:
        beat = self._scoreboard.row(slot.name)[M.BEAT]
        # After a pause of this process (a suspended machine, say) the children may have been
        # paused as well: their silence counts from now.
        if beat != slot.beat or slept:
            slot.beat = beat
            slot.beat_seen_at = now
            return
        if slot.aborted_at:
            if now - slot.aborted_at >= ABORT_GRACE_S:
                self._kill(slot, signal.SIGKILL)
        elif now - slot.beat_seen_at >= HUNG_S:
            logs.event(logs.error, "hung", child=slot.name, pid=slot.pid, silent_s=HUNG_S)
            slot.aborted_at = now
            self._kill(slot, signal.SIGABRT)
            self._kill(slot, signal.SIGCONT)  # a stopped process leaves no dump

    def _kill(self, slot: Slot, signum: signal.Signals) -> None:
        if slot.pid:
            try:
                os.kill(slot.pid, signum)
            except ProcessLookupError:
                pass

    def _feed_watchdog(self, now: float) -> None:
        """Only while the hub and a worker are well: else a restart of everything is better."""

        def well(slot: Slot) -> bool:
            ready = bool(self._scoreboard.row(slot.name)[M.READY])
            return ready and bool(slot.pid) and now - slot.beat_seen_at < HUNG_S

        if well(self._slots[0]) and any(well(slot) for slot in self._slots[1:]):
            self._notifier.feed_watchdog()

    # -- reload

    def _on_sighup(self) -> None:
        if self._phase is not Phase.SERVING:
            logs.event(logs.warning, "reload_ignored", phase=self._phase.value)
            return
        self._notifier.reloading()
        try:
            settings = self._reload_settings()
            fixed = needs_restart(self._settings, settings)
            if not fixed:
                if invalid := newly_invalid(self._settings.listen, settings.listen, time.time()):
                    raise ValueError("\n".join(invalid))
                load_secret(secret_path(settings))
                file = child.packed(settings)
                self._resize(settings.workers)
        except (ConfigError, OSError, ValueError) as error:
            self._refuse_reload(str(error))
        else:
            if fixed:
                self._refuse_reload(f"{', '.join(fixed)}: changed, and that needs a restart")
            else:
                self._apply(settings, file)
        self._notifier.ready(self._scoreboard.note)

    def _resize(self, workers: int) -> None:
        """Have so many workers from now on.  Raises OSError, with nothing changed."""
        there = len(self._slots) - 1
        if workers == there:
            return
        if any(slot.retiring for slot in self._slots):
            raise OSError(f"workers: going down to {there} is not finished yet; try again")
        if workers > there:
            self._listeners.grow(workers - there)
            for i in range(there, workers):
                slot = Slot(worker_name(i))
                self._slots.append(slot)
                # After the new settings have been put in force, which it is to start with.
                self._loop.call_later(0, partial(self._spawn, slot))
            return
        self._listeners.steer(workers)
        for slot in self._slots[workers + 1 :]:
            slot.retiring = True
            # What is on its way to it still arrives, and is served, before it is told.
            self._loop.call_later(STEER_S, partial(self._retire, slot))

    def _retire(self, slot: Slot) -> None:
        if slot.pid:
            self._order(slot, child.DRAIN)
        elif slot in self._slots:  # it was waiting to be started again
            self._retired(slot)

    def _retired(self, slot: Slot) -> None:
        self._scoreboard.row(slot.name)[M.STARTS] = 0
        if any(other.pid for other in self._slots if other.retiring):
            return
        self._slots = [other for other in self._slots if not other.retiring]
        self._listeners.shrink(len(self._slots) - 1)

    def _warn(self) -> None:
        for text in certificate_warnings(self._settings.listen, time.time()):
            logs.event(logs.warning, "certificate", detail=text)

    def _refuse_reload(self, problem: str) -> None:
        # The words come first: who waits for the count reads them as soon as it changes.
        self._scoreboard.note = f"reload refused, nothing changed: {problem}"
        self._row[M.RELOADS_FAILED] += 1
        for line in problem.splitlines():
            logs.event(logs.error, "reload_refused", detail=line)

    def _apply(self, settings: Settings, file: BinaryIO) -> None:
        """``file`` is what the children get of ``settings``; it is closed here."""
        self._settings = settings
        logs.setup(settings.log.level, settings.log.format, "master")
        self._warn()
        with file:
            for slot in self._slots:
                self._order(slot, child.RELOAD, (file.fileno(),))
        self._scoreboard.note = "configuration reloaded"
        self._row[M.RELOADS] += 1
        logs.event(logs.info, "reloaded")

    def _order(self, slot: Slot, order: bytes, fds: tuple[int, ...] = ()) -> None:
        if slot.control is None:
            return
        try:
            socket.send_fds(slot.control, [order], fds)
        except OSError as error:
            # Its replacement is forked with what is in force.
            logs.event(logs.error, "order_failed", child=slot.name, detail=str(error))
            self._kill(slot, signal.SIGKILL)

    # -- stop

    def _on_sigterm(self) -> None:
        self._begin_stop(now=self._phase in (Phase.DRAINING, Phase.STOPPING_HUB))

    def _on_sigint(self) -> None:
        self._begin_stop(now=True)

    def _begin_stop(self, *, now: bool) -> None:
        """Workers first, so that what they accepted is still answered; then the hub."""
        if self._phase in (Phase.STARTING, Phase.SERVING):
            self._phase = Phase.DRAINING
            self._notifier.stopping()
            logs.event(logs.info, "stopping", now=now)
            self._loop.call_later(self._settings.drain.stop, self._stop_hard)
        if now:
            self._loop.call_later(2.0, self._stop_hard)
        for slot in self._slots[1:]:
            self._order(slot, child.STOP if now else child.DRAIN)
        # The workers still accept what waits there, then close them as well.
        self._listeners.close_public()
        self._go_on_stopping()

    def _go_on_stopping(self) -> None:
        if self._phase is not Phase.DRAINING or any(slot.pid for slot in self._slots[1:]):
            return
        self._phase = Phase.STOPPING_HUB
        hub = self._slots[0]
        if not hub.pid:
            self._finish(0)
            return
        self._order(hub, child.STOP)
        self._loop.call_later(HUB_STOP_S, self._stop_hard)

    def _stop_hard(self) -> None:
        """The time is up: end what is left of the present phase."""
        if self._phase is Phase.DONE:
            return
        slots = self._slots if self._phase is Phase.STOPPING_HUB else self._slots[1:]
        for slot in slots:
            if slot.pid:
                logs.event(logs.warning, "killed", child=slot.name)
                self._kill(slot, signal.SIGKILL)

    def _finish(self, status: int) -> None:
        self._phase = Phase.DONE
        self._exit_status = self._exit_status or status
        logs.event(logs.info, "stopped")
        self._loop.stop()


def make_directory(path: str) -> None:
    """Raises CannotStart."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise CannotStart(
            f"{path}: {error.strerror or error} (the directory for state: or runtime:)"
        ) from None

"""Counters and gauges: one row of shared memory for each process, written by it alone.

The master makes the rows before it forks, so a row outlives its process and its counters go on
when a replacement takes it over.  Any process reads all rows, which is how one worker answers
``/metrics`` for everybody, and how the master sees heartbeats.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from wsd import logs, reasons


class M(IntEnum):
    """A place in a row."""

    PID = 0
    BEAT = 1  # monotonic seconds of the last turn of the heartbeat timer
    READY = 2
    STARTS = 3
    CONNECTIONS = 4
    MEMBERS = 5
    ACCEPTED = 6
    HTTP_REQUESTS = 7
    COMMANDS = 9
    MESSAGES_IN = 10
    EVENTS = 11
    COPIES = 12
    BYTES_OUT = 13
    COMMITS = 14
    STORED = 15
    DUPLICATES = 16
    STORAGE_ERRORS = 17
    LINKS = 18
    ROOMS = 19
    RELOADS = 20
    RELOADS_FAILED = 21
    ACCEPT_PAUSES = 22
    ERRORS = 23
    RECOVERED = 24
    NOT_RECOVERED = 25
    LAGGED = 26
    LINK_UP = 27
    STARTED_AT = 28  # wall clock, seconds
    DRAINING = 29
    READS = 30
    COMPRESSED = 31


class Described(NamedTuple):
    cell: M
    name: str
    kind: type[Metric]
    help: str


EXPORTED = (
    Described(M.READY, "wsd_ready", GaugeMetricFamily, "1 while the process is ready"),
    Described(M.STARTS, "wsd_starts", CounterMetricFamily, "Starts of the process in this slot"),
    Described(M.CONNECTIONS, "wsd_connections", GaugeMetricFamily, "Open client connections"),
    Described(M.MEMBERS, "wsd_members", GaugeMetricFamily, "Memberships of connections in rooms"),
    Described(M.ACCEPTED, "wsd_accepted", CounterMetricFamily, "Connections accepted"),
    Described(M.ACCEPT_PAUSES, "wsd_accept_pauses", CounterMetricFamily,
              "Times that accepting paused for want of descriptors or memory"),
    Described(M.HTTP_REQUESTS, "wsd_http_requests", CounterMetricFamily, "HTTP requests answered"),
    Described(M.COMMANDS, "wsd_commands", CounterMetricFamily, "Commands received from clients"),
    Described(M.MESSAGES_IN, "wsd_published", CounterMetricFamily, "Events sent to the hub"),
    Described(M.EVENTS, "wsd_events", CounterMetricFamily, "Events received from the hub"),
    Described(M.COPIES, "wsd_copies", CounterMetricFamily, "Copies of events given to members"),
    Described(M.COMPRESSED, "wsd_compressed", CounterMetricFamily,
              "Messages compressed, once for all who get the same"),
    Described(M.COMMITS, "wsd_commits", CounterMetricFamily, "Transactions committed to the log"),
    Described(M.STORED, "wsd_stored", CounterMetricFamily, "Events stored in the log"),
    Described(M.DUPLICATES, "wsd_duplicates", CounterMetricFamily, "Retries found stored already"),
    Described(M.READS, "wsd_reads", CounterMetricFamily, "Questions answered from the log"),
    Described(M.STORAGE_ERRORS, "wsd_storage_errors", CounterMetricFamily,
              "Transactions that the log refused"),
    Described(M.LINKS, "wsd_links", GaugeMetricFamily, "Workers connected to the hub"),
    Described(M.LINK_UP, "wsd_link_up", GaugeMetricFamily, "1 while the hub is in contact"),
    Described(M.ROOMS, "wsd_rooms", GaugeMetricFamily, "Rooms with members in this process"),
    Described(M.RELOADS, "wsd_reloads", CounterMetricFamily, "Reloads of the configuration"),
    Described(M.RELOADS_FAILED, "wsd_reloads_failed", CounterMetricFamily,
              "Reloads refused because of the configuration"),
    Described(M.ERRORS, "wsd_errors", CounterMetricFamily, "Connections closed by a bug"),
    Described(M.RECOVERED, "wsd_recovered", CounterMetricFamily,
              "Positions from which nothing was missed"),
    Described(M.NOT_RECOVERED, "wsd_not_recovered", CounterMetricFamily,
              "Positions that could not be continued"),
    Described(M.LAGGED, "wsd_lagged", CounterMetricFamily,
              "Times that a slow reader was switched to being fed from the log"),
)  # fmt: skip

Row: TypeAlias = "memoryview[float]"
"""A process's own row: ``row[M.COPIES] += 1``.  Cells are float64, each with one writer."""

_OTHER = "other"


class Reasons:
    """A counter for each name in one table of ``wsd.reasons``, from the cell ``first`` on."""

    def __init__(
        self, name: str, label: str, help_: str, names: Mapping[str, str], first: int
    ) -> None:
        self.name = name
        self.label = label
        self.help = help_
        self.labels = (*names, _OTHER)
        self.first = first
        self.end = first + len(self.labels)
        self._cells = {reason: first + i for i, reason in enumerate(self.labels)}

    def count(self, row: Row, reason: str) -> None:
        cell = self._cells.get(reason)
        if cell is None:  # labels are bounded: what is in no table has none of its own
            logs.event(logs.error, "unknown_reason", metric=self.name, reason=reason)
            cell = self._cells[_OTHER]
        row[cell] += 1

    def counts(self, row: Row) -> dict[str, float]:
        """What has been counted in one row, without zeros."""
        values = zip(self.labels, row[self.first : self.end], strict=True)
        return {reason: value for reason, value in values if value}

    def family(self, rows: list[Row]) -> Metric:
        """The sums over all processes: by process they would be thousands of lines."""
        family = CounterMetricFamily(self.name, self.help, labels=[self.label])
        counts = [row[self.first : self.end].tolist() for row in rows]
        for reason, values in zip(self.labels, zip(*counts, strict=True), strict=True):
            family.add_metric([reason], sum(values))
        return family


_FIRST_REASON = 64  # the cells below are for M

HTTP_REJECTED = Reasons(
    "wsd_http_rejected", "reason", "HTTP requests refused", reasons.HTTP, _FIRST_REASON
)
REFUSED = Reasons("wsd_refused", "code", "Commands refused", reasons.COMMANDS, HTTP_REJECTED.end)
CLOSED = Reasons("wsd_closed", "reason", "Connections ended", reasons.CLOSED, REFUSED.end)

BY_REASON = (HTTP_REJECTED, REFUSED, CLOSED)

_CELLS = CLOSED.end
_TEXT_BYTES = 1024


class Scoreboard:
    """The rows of all processes, and a line of text that the master leaves for the others.

    ``names`` are the processes in order: "master", "hub", "worker 0" and so on.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._memory = mmap.mmap(-1, len(names) * _CELLS * 8 + _TEXT_BYTES)
        self._view = memoryview(self._memory)

    def row(self, name: str) -> Row:
        at = self.names.index(name) * _CELLS * 8
        return self._view[at : at + _CELLS * 8].cast("d")

    def rows(self) -> Iterator[tuple[str, Row]]:
        for name in self.names:
            yield name, self.row(name)

    def used_rows(self) -> Iterator[tuple[str, Row]]:
        """The rows of processes that there are."""
        return ((name, row) for name, row in self.rows() if row[M.STARTS])

    @property
    def note(self) -> str:
        """What the master last reported: the outcome of the last reload."""
        raw = bytes(self._view[-_TEXT_BYTES:])
        return raw.split(b"\0", 1)[0].decode("utf-8", "replace")

    @note.setter
    def note(self, text: str) -> None:
        raw = text.encode()[: _TEXT_BYTES - 1]
        self._view[-_TEXT_BYTES:] = raw.ljust(_TEXT_BYTES, b"\0")

    def collect(self) -> Iterator[Metric]:
        """All rows in prometheus-client's terms, a label for the process or one for the reason."""
        rows = list(self.used_rows())
        for cell, name, kind, text in EXPORTED:
            family = kind(name, text, labels=["process"])  # type: ignore[call-arg]
            for process, row in rows:
                family.add_metric([process], row[cell])  # type: ignore[attr-defined]
            yield family
        # Rows of workers that are no more count too, or a counter would go back.
        everybody = [row for _, row in self.rows()]
        for counters in BY_REASON:
            yield counters.family(everybody)

    def exposition(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

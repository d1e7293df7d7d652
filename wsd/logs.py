"""Log lines: one event a line, as text or JSON, on standard error.

Values never break a line or reach a terminal as control sequences: everything that is not plain
printable ASCII is escaped.  Callers log names of causes and counts, never message texts or tokens.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any

_LOGGER = logging.getLogger("wsd")
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII without space, quote, "=", backslash

LINES_AT_ONCE = 10
LINE_EVERY_S = 10.0

debug = logging.DEBUG
info = logging.INFO
warning = logging.WARNING
error = logging.ERROR


def setup(level: str, format_: str, process: str) -> None:
    """Send this process's log lines to standard error.  Called again, it changes the settings."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(process) if format_ == "json" else _Text(process))
    _LOGGER.handlers[:] = [handler]
    _LOGGER.setLevel(level.upper())
    _LOGGER.propagate = False
    logging.raiseExceptions = False  # a closed standard error must not take the daemon along


def event(level: int, name: str, **fields: Any) -> None:
    """Log that ``name`` happened; ``fields`` say to whom and how much."""
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, "%s", name, extra={"fields": fields})


def limited(level: int, name: str, reason: str, **fields: Any) -> None:
    """``event`` for what anybody outside can cause as often as they like.

    Of one name and reason ``LINES_AT_ONCE`` lines are written, then one every ``LINE_EVERY_S``;
    ``suppressed`` in a line is the number of those left out before it.  Both must be from
    bounded sets.
    """
    if not _LOGGER.isEnabledFor(level):
        return
    bucket = _buckets.get((name, reason))
    if bucket is None:
        bucket = _buckets[name, reason] = _Bucket()
    suppressed = bucket.take(time.monotonic())
    if suppressed:
        fields["suppressed"] = suppressed
    if suppressed is not None:
        event(level, name, reason=reason, **fields)


class _Bucket:
    """Lines that may be written, and how many could not be."""

    __slots__ = ("_at", "_lines", "_suppressed")

    def __init__(self) -> None:
        self._lines = float(LINES_AT_ONCE)
        self._at = 0.0
        self._suppressed = 0

    def take(self, now: float) -> int | None:
        """None: no line; else how many have been left out since the last one."""
        gained = (now - self._at) / LINE_EVERY_S
        self._lines = min(float(LINES_AT_ONCE), self._lines + gained)
        self._at = now
        if self._lines < 1.0:
            self._suppressed += 1
            return None
        self._lines -= 1.0
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


_buckets: dict[tuple[str, str], _Bucket] = {}


def exception(name: str, **fields: Any) -> None:
    """Log a bug: the current exception's traceback goes into the line, escaped."""
    _LOGGER.error("%s", name, exc_info=True, extra={"fields": fields})


def _time(created: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created % 1 * 1000):03d}Z"


def _ascii(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


class _Base(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return fields


class _Text(_Base):
    def format(self, record: logging.LogRecord) -> str:
        parts = [_time(record.created), record.levelname.lower(), self.process.replace(" ", ".")]
        parts.append(record.getMessage())
        for key, value in self.fields(record).items():
            text = str(value)
            parts.append(f"{key}={text if _PLAIN.fullmatch(text) else _ascii(text)}")
        return " ".join(parts)


class _Json(_Base):
    def format(self, record: logging.LogRecord) -> str:
        return _ascii(
            {
                "time": _time(record.created),
                "level": record.levelname.lower(),
                "process": self.process,
                "event": record.getMessage(),
                **self.fields(record),
            }
        )

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

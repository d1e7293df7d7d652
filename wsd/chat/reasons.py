"""Why a connection is closed: one name for each reason, used in the log and the close frame.

Codes of 3000-3499 and 4000-4499 ask the client to come back, 3500-3999 and 4500-4999 to stay
away; the others are registered with RFC 6455.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    name: str
    code: int


RESTART = Reason("restart", 1012)
OVERLOAD = Reason("overload", 1013)
INTERNAL = Reason("internal", 1011)
UNSUPPORTED_DATA = Reason("unsupported_data", 1003)
PING_TIMEOUT = Reason("ping_timeout", 4000)
SLOW = Reason("slow", 4008)
RESYNC = Reason("resync", 4009)
ROTATED = Reason("rotated", 3002)
HELLO_TIMEOUT = Reason("hello_timeout", 4501)

BYE_RESTART = 3001
"""The code in the ``bye`` that goes ahead of a restart."""

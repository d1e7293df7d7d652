"""HttpError: why an HTTP request is refused, and with which status."""

from __future__ import annotations


class HttpError(Exception):
    """A request that must be refused: the caller answers with `status` and closes.

    `reason` is a stable snake_case identifier, the same in the log, the metric and the answer;
    `detail` is one sentence for a person; `headers` are what this status has to carry.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(status, reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"

"""Who this client is: the token that the server knows it by, kept in a file over runs."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

MAX_TOKEN_BYTES = 16 * 1024


class Identity:
    """``wish`` is a name that the caller wants; without one the server's choice is taken.

    Raises OSError when the file is there and cannot be read; a missing one is a new guest.
    """

    def __init__(self, wish: str | None, token: str, path: str | os.PathLike[str] | None) -> None:
        self.uid = ""
        self.name = wish or ""
        self.role = ""
        self.wish = wish
        self._path = None if path is None else Path(path)
        self._kept = self._read()
        self._token = token or self._kept

    def introduce(self) -> dict[str, Any]:
        """What a hello says of us."""
        told = {"token": self._token, "name": self.wish}
        return {key: value for key, value in told.items() if value}

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def told(self, frame: dict[str, Any]) -> None:
        """A ``welcome`` or the answer to a ``rename`` says who we are; ``keep`` is to follow."""
        self.uid = str(frame.get("uid", self.uid))
        self.name = str(frame.get("name", self.name))
        self.role = str(frame.get("role", self.role))
        token = frame.get("token")
        if isinstance(token, str) and token:
            self._token = token

    def forget(self) -> None:
        """The token is refused: be a new guest."""
        self._token = ""

    def _read(self) -> str:
        if self._path is None:
            return ""
        try:
            with self._path.open("rb") as file:
                return file.read(MAX_TOKEN_BYTES).decode("ascii", "ignore").strip()
        except FileNotFoundError:
            return ""

    def keep(self) -> None:
        """Writes the file: whole or not at all, and for our own user's eyes, since whoever has the
        token is this guest.  Raises OSError: else the next run would be somebody else, and nobody
        would know why."""
        if self._path is None or self._token == self._kept:
            return
        fresh = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(file, "w") as out:
                out.write(self._token + "\n")
            os.replace(fresh, self._path)
            self._kept = self._token
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise

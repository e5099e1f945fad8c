"""What happens while the server is away: calls fail open, it is said once in a while, and not tried all the time."""

from __future__ import annotations

import logging
import threading
import time

import psycopg

logger = logging.getLogger("pg_stash")


class Outage:
    """The state of a client that cannot reach its server."""

    def __init__(self, *, warn_interval: float, retry_interval: float) -> None:
        self._warn_interval = warn_interval
        self._retry_interval = retry_interval
        self._lock = threading.Lock()
        self._error: psycopg.Error | None = None
        self._retry_at = 0.0
        self._warn_at = 0.0
        self._untold = 0

    def blocks(self) -> bool:
        """Whether it is too early to try again. Once it is not, one caller is let through, and the others wait to see
        how that one fares."""
        if self._error is None:
            return False
        now = time.monotonic()
        with self._lock:
            if self._error is None:
                return False
            if now < self._retry_at:
                self._untold += 1
                return True
            self._retry_at = now + self._retry_interval
            return False

    def lost(self, error: psycopg.Error) -> None:
        """There is no connection, so that other calls would fail likewise."""
        with self._lock:
            self._error = error
            self._retry_at = time.monotonic() + self._retry_interval

    def missed(self, error: psycopg.Error) -> None:
        """A call that went without the cache. Logs it, unless that was done a short time ago."""
        now = time.monotonic()
        with self._lock:
            self._untold += 1
            if now < self._warn_at:
                return
            self._warn_at = now + self._warn_interval
            count, self._untold = self._untold, 0
        logger.warning("the cache is not available, calls that went without it: %d: %s", count, str(error).strip())

    def over(self) -> None:
        """A call that succeeded."""
        if self._error is not None:
            with self._lock:
                self._error = None
                self._warn_at = 0.0
            logger.info("the cache is available again")

    def dropped(self, error: Exception) -> None:
        """A call that failed for its value's sake."""
        now = time.monotonic()
        with self._lock:
            if now < self._warn_at:
                return
            self._warn_at = now + self._warn_interval
        logger.warning("a value could not be cached or read: %s", str(error).strip())

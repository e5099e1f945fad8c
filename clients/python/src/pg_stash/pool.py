"""The connections of a client: a stack of idle ones, the most recently used on top.

Taking one off and putting it back are single operations of a deque, which need no lock; a lock is taken only to open a
connection or to wait for one. There is no thread in the background, so that a process may fork at any time.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections import deque
from typing import Any

from .connection import Connection
from .errors import Exhausted
from .settings import Settings


class _Stack:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: deque[Connection] = deque()
        self._reset()
        if hasattr(os, "register_at_fork"):
            myself = weakref.ref(self)

            def in_child() -> None:
                stack = myself()
                if stack is not None:
                    stack._after_fork()

            os.register_at_fork(after_in_child=in_child)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._open = 0

    def _after_fork(self) -> None:
        # The sockets are the parent's, too. The locks may be held by threads that are not in this process.
        idle, self._idle = self._idle, deque()
        self._reset()
        for connection in idle:
            connection.abandon()

    def _pop(self) -> Connection | None:
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        return connection

    def _reserve(self) -> bool:
        """Whether another connection may be opened; if so, it is counted."""
        with self._lock:
            if self._open >= self.settings.max_connections:
                return False
            self._open += 1
            return True

    def _unreserve(self) -> None:
        with self._lock:
            self._open -= 1

    def _close_long_idle(self) -> None:
        """Closes what has been at the bottom for too long."""
        limit = time.monotonic() - self.settings.max_idle
        try:
            while self._idle[0].idle_since < limit:
                connection = self._idle.popleft()
                connection.close()
                self._unreserve()
        except IndexError:  # other threads have taken them
            return

    def close_idle(self) -> None:
        """Closes all connections that are not in use."""
        while True:
            connection = self._pop()
            if connection is None:
                return
            connection.close()
            self._unreserve()


def _exhausted(settings: Settings) -> Exhausted:
    return Exhausted(
        f"all {settings.max_connections} connections to the cache have been in use for {settings.timeout:g} s"
    )


class Pool(_Stack):
    """Connections for threads."""

    def _reset(self) -> None:
        super()._reset()
        self._returned = threading.Condition()
        self._waiting = 0

    def take(self) -> tuple[Connection, bool]:
        """A connection, and whether it has been used before."""
        connection = self._pop()
        if connection is not None:
            return connection, True
        if self._reserve():
            return self._open_one(), False
        deadline = time.monotonic() + self.settings.timeout
        with self._returned:
            # Counted before it looks again: whoever gives one back after that look sees the count.
            self._waiting += 1
            try:
                while True:
                    connection = self._pop()
                    if connection is not None:
                        return connection, True
                    if self._reserve():
                        break
                    if not self._returned.wait(deadline - time.monotonic()):
                        raise _exhausted(self.settings)
            finally:
                self._waiting -= 1
        return self._open_one(), False

    def _open_one(self) -> Connection:
        try:
            return Connection.open(self.settings)
        except BaseException:
            self._unreserve()
            self._wake()
            raise

    def give_back(self, connection: Connection) -> None:
        connection.touch()
        self._idle.append(connection)
        if self._waiting:
            self._wake()
        elif len(self._idle) > 1:
            self._close_long_idle()

    def discard(self, connection: Connection) -> None:
        connection.close()
        self._unreserve()
        self._wake()

    def _wake(self) -> None:
        with self._returned:
            self._returned.notify()


class AsyncPool(_Stack):
    """Connections for coroutines, of any number of event loops."""

    def _reset(self) -> None:
        super()._reset()
        self._waiters: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]] = deque()

    async def take(self) -> tuple[Connection, bool]:
        """A connection, and whether it has been used before."""
        deadline = time.monotonic() + self.settings.timeout
        loop = asyncio.get_running_loop()
        while True:
            connection = self._pop()
            if connection is not None:
                return connection, True
            if self._reserve():
                break
            woken: asyncio.Future[Any] = loop.create_future()
            self._waiters.append((loop, woken))
            if self._idle:
                self._wake()
            try:
                await asyncio.wait_for(woken, deadline - time.monotonic())
            except asyncio.TimeoutError:
                raise _exhausted(self.settings) from None
            except BaseException:
                # What woke this one is for another then.
                self._wake()
                raise
        try:
            return await Connection.open_async(self.settings), False
        except BaseException:
            self._unreserve()
            self._wake()
            raise

    def give_back(self, connection: Connection) -> None:
        connection.touch()
        self._idle.append(connection)
        if self._waiters:
            self._wake()
        elif len(self._idle) > 1:
            self._close_long_idle()

    def discard(self, connection: Connection) -> None:
        connection.close()
        self._unreserve()
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            try:
                loop, woken = self._waiters.popleft()
            except IndexError:
                return
            if woken.done():
                continue
            try:
                loop.call_soon_threadsafe(_settle, woken)
            except RuntimeError:  # its loop is closed
                continue
            return


def _settle(woken: asyncio.Future[Any]) -> None:
    if not woken.done():
        woken.set_result(None)

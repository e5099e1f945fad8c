"""The connections of a client: a pool of psycopg_pool for each process, and for each event loop.

psycopg_pool makes connections in the background and goes on trying. A cache shall rather do without them at once, so a
pool ends when it has no connection left and cannot make one: that tells all who wait for one, and the next call begins
a new pool. No connection is checked before its use, which would double a call's cost; a call that finds its connection
lost is sent again.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import threading
import weakref
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout

from .connection import AsyncConnection, Connection
from .errors import Exhausted, TimedOut
from .settings import Settings

_numbers = itertools.count(1)

# No fork while a pool is being opened: the child would find it half open.
_opening = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_opening.release)


class _Life:
    """What a pool knows of its connections, and why it has none."""

    settings: Settings

    def _begin(self, settings: Settings) -> dict[str, Any]:
        """Returns the pool's arguments."""
        self.settings = settings
        self.error: psycopg.Error | None = None
        self.pid = os.getpid()
        self._made: weakref.WeakSet[Any] = weakref.WeakSet()
        return {
            "conninfo": settings.conninfo,
            "kwargs": {
                "autocommit": True,
                "connect_timeout": max(1, round(settings.connect_timeout)),
                "owner": self,
            },
            "name": f"pg_stash-{next(_numbers)}",
            "min_size": 0,
            "max_size": settings.max_connections,
            "timeout": settings.timeout,
            "max_idle": settings.max_idle,
            "reconnect_timeout": 0,
            "num_workers": 1,
            "open": False,
        }

    def connected(self, connection: Any) -> None:
        self._made.add(connection)
        self.error = None

    def is_empty(self) -> bool:
        """Whether there is no connection, neither idle nor in use."""
        return all(connection.closed for connection in list(self._made))

    def is_foreign(self) -> bool:
        """Whether it is the parent's: its threads are not here, its locks may be held, its sockets are not ours."""
        return self.pid != os.getpid()

    def unserved(self) -> psycopg.Error:
        """Why a caller has waited in vain."""
        settings = self.settings
        if not self.is_empty():
            return Exhausted(
                f"all {settings.max_connections} connections to the cache have been in use for {settings.timeout:g} s"
            )
        return self.cause() or TimedOut(f"no connection to the cache within {settings.timeout:g} s")

    def cause(self) -> psycopg.Error | None:
        """Why there is no connection. Each caller raises an exception of its own."""
        return self.error and type(self.error)(*self.error.args)


class _ThreadPool(ConnectionPool[Connection], _Life):
    def __init__(self, settings: Settings) -> None:
        super().__init__(connection_class=Connection, **self._begin(settings))

    def failed(self, error: psycopg.Error) -> None:
        self.error = error
        if self.is_empty():
            # By another thread, because closing waits for this one, which is the pool's.
            threading.Thread(target=self.close, name=f"{self.name}-closing", daemon=True).start()

    def __del__(self) -> None:
        if not self.is_foreign():
            super().__del__()


class _LoopPool(AsyncConnectionPool[AsyncConnection], _Life):
    _closing: asyncio.Task[None] | None = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(connection_class=AsyncConnection, **self._begin(settings))

    def failed(self, error: psycopg.Error) -> None:
        self.error = error
        if self.is_empty():
            self._closing = asyncio.ensure_future(self.close())

    def abandon(self) -> None:
        """Closes the connections of a pool whose event loop has ended, and its tasks with it."""
        for connection in list(self._made):
            connection.pgconn.finish()


class Pool:
    """Connections for threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: _ThreadPool | None = None

    def _current(self) -> _ThreadPool:
        pool = self._pool
        if pool is None or pool.closed or pool.is_foreign():
            with _opening:
                pool = self._pool
                if pool is None or pool.closed or pool.is_foreign():
                    pool = self._pool = _ThreadPool(self._settings)
                    pool.open()
                    _pools.add(self)
        return pool

    def take(self) -> Connection:
        while True:
            pool = self._current()
            try:
                return pool.getconn()
            except PoolTimeout:
                raise pool.unserved() from None
            except PoolClosed:
                # Without a cause it was closed by the application, and this call comes after that.
                error = pool.cause()
                if error is not None:
                    raise error from None

    def give_back(self, connection: Connection) -> None:
        connection.owner.putconn(connection)

    def discard(self, connection: Connection) -> None:
        connection.pgconn.finish()
        connection.owner.putconn(connection)

    def close_idle(self) -> None:
        """Closes the connections that are not in use now, and the others once they are not."""
        pool = self._pool
        if pool is not None and not pool.is_foreign():
            pool.close()


class AsyncPool:
    """Connections for coroutines, of any number of event loops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pools: dict[asyncio.AbstractEventLoop, _LoopPool] = {}

    async def _current(self) -> _LoopPool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.closed or pool.is_foreign():
            self.close_idle()
            pool = _LoopPool(self._settings)
            await pool.open()
            self._pools[loop] = pool
        return pool

    async def take(self) -> AsyncConnection:
        while True:
            pool = await self._current()
            try:
                return await pool.getconn()
            except PoolTimeout:
                raise pool.unserved() from None
            except PoolClosed:
                error = pool.cause()
                if error is not None:
                    raise error from None

    async def give_back(self, connection: AsyncConnection) -> None:
        await connection.owner.putconn(connection)

    async def discard(self, connection: AsyncConnection) -> None:
        connection.pgconn.finish()
        await connection.owner.putconn(connection)

    async def close(self) -> None:
        """Closes the connections of this event loop, and of those that have ended."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None and not pool.is_foreign():
            await pool.close()
        self.close_idle()

    def close_idle(self) -> None:
        """Closes the connections of event loops that have ended."""
        for loop, pool in list(self._pools.items()):
            if loop.is_closed():
                self._pools.pop(loop, None)
                if not pool.is_foreign():
                    pool.abandon()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Ends the threads of the pools while there still is an interpreter for them to run in."""
    for pool in list(_pools):
        with contextlib.suppress(psycopg.Error):
            pool.close_idle()


def _is_not_said_otherwise(record: logging.LogRecord) -> bool:
    """Keeps back psycopg_pool's warnings of connections that are lost or cannot be made: the client has its own."""
    if record.levelno != logging.WARNING:
        return True
    message = record.getMessage()
    # The name of a pool, or the kind of a connection.
    return "'pg_stash-" not in message and f"<{Connection.__module__}." not in message


logging.getLogger("psycopg.pool").addFilter(_is_not_said_otherwise)

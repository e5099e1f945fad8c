"""One connection, for threads and for coroutines: opening it, and waiting for what an exchange asks for."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Generator
from typing import Any, Callable, TypeVar

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from . import errors
from .exchange import Session, backend_pid
from .settings import Settings

T = TypeVar("T")


class Connection(Session):
    """An open connection, and when it was last given back."""

    __slots__ = ("_handle", "_poll", "fd", "idle_since")

    def __init__(self, handle: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], prepares: bool) -> None:
        super().__init__(handle.pgconn, prepares)
        self._handle = handle
        self.fd = handle.pgconn.socket
        self.idle_since = 0.0
        self._poll = _poller(self.fd)

    @classmethod
    def open(cls, settings: Settings) -> Connection:
        handle: psycopg.Connection[Any] = psycopg.Connection.connect(
            settings.conninfo, autocommit=True, connect_timeout=_whole_seconds(settings)
        )
        connection = cls(handle, prepares=bool(settings.prepare))
        if settings.prepare is None:
            try:
                connection._set_prepares(connection.wait(backend_pid(connection), settings.timeout))
            except BaseException:
                connection.close()
                raise
        return connection

    @classmethod
    async def open_async(cls, settings: Settings) -> Connection:
        handle: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(
            settings.conninfo, autocommit=True, connect_timeout=_whole_seconds(settings)
        )
        connection = cls(handle, prepares=bool(settings.prepare))
        if settings.prepare is None:
            try:
                pid = await connection.wait_async(backend_pid(connection), settings.timeout)
            except BaseException:
                connection.close()
                raise
            connection._set_prepares(pid)
        return connection

    def _set_prepares(self, pid: int) -> None:
        # A pooler makes up the process ID that it tells its clients. Behind one, the next transaction may meet another
        # server process, which knows nothing of a statement prepared here.
        self.prepares = pid == self.pgconn.backend_pid

    def wait(self, steps: Generator[bool, None, T], timeout: float) -> T:
        """Carries out an exchange in this thread."""
        poll = self._poll
        try:
            write = next(steps)
            while poll(write, timeout):
                write = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise _timed_out(timeout)

    async def wait_async(self, steps: Generator[bool, None, T], timeout: float) -> T:
        """Carries out an exchange in the running event loop."""
        try:
            write = next(steps)
            while await _ready(self.fd, write, timeout):
                write = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise _timed_out(timeout)

    def is_usable_after(self, error: psycopg.Error) -> bool:
        """Whether an error was only the statement's."""
        pgconn = self.pgconn
        return (
            error.sqlstate is not None
            and not errors.was_not_run(error)
            and pgconn.status == ConnStatus.OK
            and pgconn.transaction_status == TransactionStatus.IDLE
        )

    def close(self) -> None:
        self.pgconn.finish()

    def abandon(self) -> None:
        """Lets go of a connection that belongs to the parent process: the server must not hear of it."""
        os.close(self.fd)

    def touch(self) -> None:
        self.idle_since = time.monotonic()


def _whole_seconds(settings: Settings) -> int:
    return max(1, round(settings.connect_timeout))


def _timed_out(timeout: float) -> psycopg.OperationalError:
    return errors.TimedOut(f"no answer from the server within {timeout:g} s")


def _poller(fd: int) -> Callable[[bool, float], Any]:
    """Waits for a socket to be readable, or writable too where that is asked for; false after the timeout."""
    if not hasattr(select, "poll"):
        return lambda write, timeout: any(select.select([fd], [fd] if write else [], [], timeout))
    reading, writing = select.poll(), select.poll()
    reading.register(fd, select.POLLIN)
    writing.register(fd, select.POLLIN | select.POLLOUT)
    poll_reading, poll_writing = reading.poll, writing.poll

    def poll(write: bool, timeout: float) -> Any:
        return (poll_writing if write else poll_reading)(timeout * 1000)

    return poll


async def _ready(fd: int, write: bool, timeout: float) -> bool:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()

    def settle(is_ready: bool) -> None:
        if not ready.done():
            ready.set_result(is_ready)

    loop.add_reader(fd, settle, True)
    if write:
        loop.add_writer(fd, settle, True)
    timer = loop.call_later(timeout, settle, False)
    try:
        return await ready
    finally:
        timer.cancel()
        loop.remove_reader(fd)
        if write:
            loop.remove_writer(fd)

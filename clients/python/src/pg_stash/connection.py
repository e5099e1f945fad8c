"""A connection, for threads and for coroutines: what it remembers, and waiting for what an exchange asks for."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from . import errors
from .exchange import Session, backend_pid

if TYPE_CHECKING:
    from .settings import Settings

T = TypeVar("T")


class Owner(Protocol):
    """What has a connection made."""

    settings: Settings

    def connected(self, connection: Any) -> None: ...
    def failed(self, error: psycopg.Error) -> None: ...


class _Common(Session):
    """What both kinds of connection have in common."""

    owner: Any
    fd: int
    made_at: float

    def _begin(self, owner: Owner) -> None:
        self.owner = owner
        self.fd = self.pgconn.socket
        self.prepared = set()
        self.prepares = bool(owner.settings.prepare)
        self.made_at = time.monotonic()

    def _set_prepares(self, pid: int) -> None:
        # A pooler makes up the process ID that it tells its clients. Behind one, the next transaction may meet another
        # server process, which knows nothing of a statement prepared here.
        self.prepares = pid == self.pgconn.backend_pid

    def is_usable_after(self, error: psycopg.Error) -> bool:
        """Whether an error was only the statement's."""
        pgconn = self.pgconn
        return (
            error.sqlstate is not None
            and not errors.was_not_run(error)
            and pgconn.status == ConnStatus.OK
            and pgconn.transaction_status == TransactionStatus.IDLE
        )


class Connection(psycopg.Connection[Any], _Common):
    """A connection for threads."""

    _poll: Callable[[bool, float], Any]

    @classmethod
    def connect(cls, conninfo: str = "", *, owner: Owner, **kwargs: Any) -> Connection:  # type: ignore[override]
        try:
            connection = super().connect(conninfo, **kwargs)
            try:
                connection._begin(owner)
                connection._poll = _poller(connection.fd)
                if owner.settings.prepare is None:
                    connection._set_prepares(connection.carry_out(backend_pid(connection), owner.settings.timeout))
            except BaseException:
                connection.pgconn.finish()
                raise
        except psycopg.Error as error:
            owner.failed(error)
            raise
        owner.connected(connection)
        return connection

    def carry_out(self, steps: Generator[bool, None, T], timeout: float) -> T:
        """Carries out an exchange in this thread."""
        poll = self._poll
        try:
            write = next(steps)
            while poll(write, timeout):
                write = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise _timed_out(timeout)


class AsyncConnection(psycopg.AsyncConnection[Any], _Common):
    """A connection for coroutines of one event loop."""

    @classmethod
    async def connect(cls, conninfo: str = "", *, owner: Owner, **kwargs: Any) -> AsyncConnection:  # type: ignore[override]
        try:
            connection = await super().connect(conninfo, **kwargs)
            try:
                connection._begin(owner)
                if owner.settings.prepare is None:
                    steps = backend_pid(connection)
                    connection._set_prepares(await connection.carry_out(steps, owner.settings.timeout))
            except BaseException:
                connection.pgconn.finish()
                raise
        except psycopg.Error as error:
            owner.failed(error)
            raise
        owner.connected(connection)
        return connection

    async def carry_out(self, steps: Generator[bool, None, T], timeout: float) -> T:
        """Carries out an exchange in the running event loop."""
        try:
            write = next(steps)
            while await _ready(self.fd, write, timeout):
                write = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise _timed_out(timeout)


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

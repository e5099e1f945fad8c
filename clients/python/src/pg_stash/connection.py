"""A connection, for threads and for coroutines: what it remembers, and how it carries out an exchange."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from . import errors
from .exchange import Session, backend_pid
from .waiting import poller, ready

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
                connection._poll = poller(connection.fd)
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
            while await ready(self.fd, write, timeout):
                write = next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise _timed_out(timeout)


def _timed_out(timeout: float) -> psycopg.OperationalError:
    return errors.TimedOut(f"no answer from the server within {timeout:g} s")

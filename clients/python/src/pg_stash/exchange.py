"""The conversation with the server about one call or several, without the waiting.

Generators that yield what to wait for, so that threads and coroutines share them. They use psycopg's `pq` module, the
thin layer over libpq: a call costs a third less there than through a cursor, and its wait can have a time limit.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus

from . import errors
from .calls import Call

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

READ, READ_OR_WRITE = False, True
Steps = Generator[bool, None, Any]
"""Yields whether the socket is to be waited for to be writable, too."""

_BINARY = 1
_FAILED = ExecStatus.FATAL_ERROR
_SYNC = ExecStatus.PIPELINE_SYNC


class Session:
    """A connection as far as an exchange needs it."""

    pgconn: PGconn
    prepares: bool
    """Whether its statements are to be prepared."""
    prepared: set[bytes]
    """The names of those that are."""


def run(session: Session, call: Call[Any]) -> Generator[bool, None, PGresult]:
    """One call, in one round trip once its statement is prepared. Raises what the server reports."""
    pgconn, statement = session.pgconn, call.statement
    if not session.prepares:
        pgconn.send_query_params(statement.sql, call.parameters, statement.oids, statement.formats, _BINARY)
        return checked((yield from _result(pgconn)))
    for attempt in (1, 2):
        if statement.name not in session.prepared:
            try:
                pgconn.send_prepare(statement.name, statement.sql, statement.oids)
                checked((yield from _result(pgconn)))
            except psycopg.OperationalError as error:
                if error.sqlstate is None:
                    raise errors.NotSent(str(error)) from error
                raise
            session.prepared.add(statement.name)
        pgconn.send_query_prepared(statement.name, call.parameters, statement.formats, _BINARY)
        result = yield from _result(pgconn)
        if result.status != _FAILED or attempt == 2 or not errors.is_stale_statement(errors.from_result(result)):
            break
        yield from _forget(session)
    return checked(result)


def run_pipeline(session: Session, calls: Sequence[Call[Any]]) -> Generator[bool, None, list[PGresult]]:
    """All calls in one round trip. Each is a transaction of its own; a failed one does not keep the others from
    running. The results are not checked."""
    pgconn = session.pgconn
    pgconn.enter_pipeline_mode()
    for call in calls:
        statement = call.statement
        # Not prepared: a statement that turned out to be stale could not be sent again in the middle of a pipeline.
        pgconn.send_query_params(statement.sql, call.parameters, statement.oids, statement.formats, _BINARY)
        pgconn.pipeline_sync()
    results = []
    for _ in calls:
        results.append((yield from _result(pgconn)))
        sync = yield from _result(pgconn)
        assert sync.status == _SYNC
    pgconn.exit_pipeline_mode()
    return results


def backend_pid(session: Session) -> Generator[bool, None, int]:
    """The ID of the server process that serves this transaction."""
    session.pgconn.send_query_params(b"SELECT pg_catalog.pg_backend_pid()", None)
    result = checked((yield from _result(session.pgconn)))
    return int(result.get_value(0, 0) or b"0")


def _result(pgconn: PGconn) -> Generator[bool, None, PGresult]:
    """The next result of a connection. Raises OperationalError if the connection is lost."""
    while pgconn.flush():
        yield READ_OR_WRITE
        pgconn.consume_input()
    last: PGresult | None = None
    while True:
        while pgconn.is_busy():
            yield READ
            try:
                pgconn.consume_input()
            except psycopg.OperationalError:
                # What the server said before it hung up tells more.
                if last is not None and last.status == _FAILED:
                    return last
                raise
        result = pgconn.get_result()
        if result is None:
            if last is None:
                raise errors.lost(pgconn)
            return last
        last = result
        if result.status == _SYNC:
            return result


def checked(result: PGresult) -> PGresult:
    """The result, unless it is an error."""
    if result.status == _FAILED:
        raise errors.from_result(result)
    return result


def _forget(session: Session) -> Steps:
    """Has all statements prepared anew."""
    session.prepared.clear()
    session.pgconn.send_query(b"DEALLOCATE ALL")
    yield from _result(session.pgconn)

"""Which errors mean that the cache is away, and which mean that the program is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as sqlstates
from psycopg.pq import DiagnosticField

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult


class NotInstalled(psycopg.ProgrammingError):
    """The database has no pg_stash, or one that is too old for this client."""

    sqlstate = "3F000"


class TooLarge(psycopg.OperationalError):
    """A value that exceeds the cache's whole budget. The entry that was there is gone."""

    sqlstate = "54000"


class TimedOut(psycopg.OperationalError):
    """No answer within the time limit. The server may still carry out what it was sent."""


class Exhausted(psycopg.OperationalError):
    """All connections of the pool have been in use for too long. The server is there."""


class NotSent(psycopg.OperationalError):
    """The connection was lost before the call had been sent."""


# The server is shutting down, starting up, full, a standby, or has cancelled the statement.
_AWAY = {"57P01", "57P02", "57P03", "57P04", "57P05", "57014", "25006", "55P03"}
_AWAY_CLASSES = {"08", "53", "58"}
_TERMINATED = {"57P01", "57P02", "57P03", "57P05"}
_STALE_STATEMENT = {"26000", "0A000"}
_NO_SUCH_FUNCTION = {"3F000", "42883"}


def from_result(result: PGresult) -> psycopg.Error:
    """The error that a failed result reports."""
    sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    error = sqlstates.error_from_result(result, encoding="utf-8")
    if sqlstate in _NO_SUCH_FUNCTION and "cache" in str(error):
        return NotInstalled(
            f"pg_stash is not in this database, or is too old: {error.diag.message_primary}\n"
            "HINT:  As a superuser, run CREATE EXTENSION pg_stash, or load the portable edition."
        )
    if sqlstate == "54000":
        return TooLarge(str(error))
    return error


def is_outage(error: psycopg.Error) -> bool:
    """Whether the server is to blame, and for now: a cache that fails open carries on without it."""
    sqlstate = error.sqlstate
    if sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return sqlstate in _AWAY or sqlstate[:2] in _AWAY_CLASSES


def was_not_run(error: psycopg.Error) -> bool:
    """Whether it was not sent, or the server ended the session and so did not run what it was sent."""
    return isinstance(error, NotSent) or error.sqlstate in _TERMINATED


def is_stale_statement(error: psycopg.Error) -> bool:
    """Whether a prepared statement is gone or outdated, by DISCARD ALL or an upgrade of the extension."""
    return error.sqlstate in _STALE_STATEMENT


def lost(pgconn: PGconn) -> psycopg.OperationalError:
    """The error for a connection that ended without a word."""
    reason = pgconn.error_message.decode("utf-8", "replace").strip()
    return psycopg.OperationalError(reason or "the connection is lost")

"""What both clients have in common: their settings, and what becomes of a call that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import psycopg

from . import errors, exchange, settings
from .calls import REQUIRED, Call, Calls
from .outage import Outage
from .pool import AsyncPool, Pool
from .serializers import Serializer
from .settings import Settings
from .values import Codec, Undecodable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")


class Runner:
    """The settings of a client, and its judgement on errors."""

    _pool_type: ClassVar[type[Pool] | type[AsyncPool]]
    _pool: Any

    def __init__(
        self,
        url: str | None = None,
        cache: str = "default",
        *,
        fail_open: bool = True,
        serializer: Serializer | None = None,
        json: bool = True,
        max_connections: int = 10,
        timeout: float = 5.0,
        connect_timeout: float = 3.0,
        prepare: bool | None = None,
        max_idle: float = 300.0,
        warn_interval: float = 60.0,
        retry_interval: float = 1.0,
        **connection: Any,
    ) -> None:
        """
        url: a connection URL or DSN; by default the environment's DATABASE_URL, else libpq's variables.
        cache: the cache's name.
        fail_open: while the server is away reads miss and writes are dropped, and one warning per `warn_interval`
            seconds is logged. Otherwise they raise psycopg.OperationalError.
        serializer: for values that are no str, int, bytes or JSON; pickle by default.
        json: whether None, bool, float, list and dict are stored as jsonb, where a dict's keys lose their order.
        max_connections: of this process, or of an event loop. They are opened when they are needed; when some are
            unused, one of them is closed every `max_idle` seconds.
        timeout, connect_timeout: seconds that a call, and an attempt to connect, may take.
        prepare: whether to prepare statements; None: where there is no pooler between client and server.
        retry_interval: seconds after a lost connection in which calls fail at once.
        connection: further parameters of the connection, such as `password` or `sslmode`.
        """
        self._pool = self._pool_type(
            Settings(settings.conninfo(url, connection), max_connections, timeout, connect_timeout, prepare, max_idle)
        )
        self._codec = Codec(serializer, json=json)
        self._fail_open = fail_open
        self._outage = Outage(warn_interval=warn_interval, retry_interval=retry_interval)
        self._timeout = timeout
        #: Builds calls for `pipeline`.
        self.calls = Calls(cache, self._codec)

    def close_idle(self) -> None:
        """Closes the connections that are not in use; of coroutines' those whose event loop has ended."""
        self._pool.close_idle()

    def use_serializer(self, serializer: Serializer) -> None:
        """Changes the serializer. Values of another one are misses from now on."""
        self._codec.use(serializer)

    def _skips(self, call: Call[Any]) -> bool:
        """Whether to do without the server, because it was not there a moment ago."""
        return self._fail_open and call.otherwise is not REQUIRED and self._outage.blocks()

    def _may_repeat(self, error: psycopg.Error, calls: Sequence[Call[Any]]) -> bool:
        """Whether calls are sent again over another connection, after one that was there before turned out to be lost:
        the server was restarted, or something on the way has cut it off."""
        return errors.was_not_run(error) or (
            not isinstance(error, errors.TimedOut) and all(call.statement.repeatable for call in calls)
        )

    def _without(self, call: Call[T], error: psycopg.Error) -> T:
        """The result of a call that failed, or the error."""
        if not self._fail_open or call.otherwise is REQUIRED:
            raise error
        if isinstance(error, errors.TooLarge):
            self._outage.dropped(error)
        elif errors.is_outage(error):
            self._outage.missed(error)
        else:
            raise error
        return call.otherwise

    def _result(self, call: Call[T], result: PGresult) -> T:
        """The result of one call of several."""
        try:
            exchange.checked(result)
        except psycopg.Error as error:
            return self._without(call, error)
        return self._read(call, result)

    def _read(self, call: Call[T], result: PGresult) -> T:
        try:
            return call.read(result, call.otherwise)
        except Undecodable as error:
            if not self._fail_open:
                raise
            self._outage.dropped(error)
            return call.otherwise

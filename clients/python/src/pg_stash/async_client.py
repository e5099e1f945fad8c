"""The client for coroutines."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Callable, TypeVar

import psycopg

from . import errors, exchange
from .cached import AsyncCachedFunction, Key, Policy, Tags
from .calls import Call
from .claim import AsyncClaim
from .exchange import Session
from .pool import AsyncPool
from .runner import Runner
from .wire import Duration

T = TypeVar("T")
A = TypeVar("A")


class AsyncClient(Runner):
    """A cache in PostgreSQL, for asyncio. Safe to use from any number of event loops, and to inherit by fork.

    Connections are the client's own and in autocommit mode: what it does is independent of the application's
    transactions.
    """

    _pool_type = AsyncPool
    _pool: AsyncPool

    async def _exchange(
        self, steps: Callable[[Session, A], Generator[bool, None, T]], argument: A, calls: Sequence[Call[Any]]
    ) -> T:
        """Sends calls over a connection of the pool, and leaves that in order whatever happens."""
        timeout, started = self._timeout, time.monotonic()
        for call in calls:
            timeout += call.wait
        while True:
            try:
                connection = await self._pool.take()
            except psycopg.Error as error:
                if not isinstance(error, errors.Exhausted):
                    self._outage.lost(error)
                raise
            try:
                result = await connection.carry_out(steps(connection, argument), timeout)
            except psycopg.Error as error:
                if connection.is_usable_after(error):
                    await self._pool.give_back(connection)
                    raise
                await self._pool.discard(connection)
                if connection.made_at < started and self._may_repeat(error, calls):
                    continue
                self._outage.lost(error)
                raise
            except BaseException:
                # Cancelled in the middle: what the server sends next would be taken for another call's answer.
                await self._pool.discard(connection)
                raise
            await self._pool.give_back(connection)
            self._outage.over()
            return result

    async def _run(self, call: Call[T]) -> T:
        if self._skips(call):
            return call.otherwise
        try:
            result = await self._exchange(exchange.run, call, (call,))
        except psycopg.Error as error:
            return self._without(call, error)
        return self._read(call, result)

    async def pipeline(self, *calls: Call[Any]) -> list[Any]:
        """Runs several calls, made by `client.calls`, in one round trip, and returns their results in order.

        Each is a transaction of its own. The first error is raised once all have run.
        """
        if not calls or all(self._skips(call) for call in calls):
            return [call.otherwise for call in calls]
        try:
            results = await self._exchange(exchange.run_pipeline, calls, calls)
        except psycopg.Error as error:
            return [self._without(call, error) for call in calls]
        return [self._result(call, result) for call, result in zip(calls, results)]

    async def close(self) -> None:
        """Closes the connections of this event loop, and of those that have ended. The client can be used again."""
        await self._pool.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Entries

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where there is no live entry."""
        return await self._run(self.calls.get(key, default))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The entries that there are, by key."""
        return await self._run(self.calls.get_many(keys))

    async def take(self, key: str, default: Any = None) -> Any:
        """Reads a value and deletes its entry, in one step."""
        return await self._run(self.calls.take(key, default))

    async def set(
        self,
        key: str,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> bool:
        """Stores a value; false only while the server is away.

        ttl: seconds or a timedelta until it expires; NEVER: not at all; None: the cache's default.
        fresh: the time after which a claim has it recomputed, while others still read it.
        tags: what it depends on; invalidating one of them drops it.
        as_of: a `clock()` from before the data was read, which makes the invalidation by tags exact.
        """
        return await self._run(self.calls.set(key, value, ttl, fresh, tags, as_of))

    async def set_many(
        self,
        values: Mapping[str, Any],
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> int:
        """Stores many values in one transaction; how many."""
        return await self._run(self.calls.set_many(values, ttl, fresh, tags, as_of))

    async def add(
        self,
        key: str,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> bool:
        """Stores a value where there is no entry; whether it did."""
        return await self._run(self.calls.add(key, value, ttl, fresh, tags, as_of))

    async def replace(
        self,
        key: str,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> bool:
        """Stores a value where there is an entry; whether it did."""
        return await self._run(self.calls.replace(key, value, ttl, fresh, tags, as_of))

    async def compare_and_set(self, key: str, expected: Any, value: Any, ttl: Duration | None = None) -> bool:
        """Stores a value where the entry's is `expected`; whether it did."""
        return await self._run(self.calls.compare_and_set(key, expected, value, ttl))

    async def exists(self, key: str) -> bool:
        """Whether there is a live entry."""
        return await self._run(self.calls.exists(key))

    async def expires_at(self, key: str) -> datetime | None:
        """When an entry expires; datetime.max: never; None: there is none."""
        return await self._run(self.calls.expires_at(key))

    async def ttl(self, key: str) -> timedelta | None:
        """How long until an entry expires; None: there is none, or it never does."""
        return await self._run(self.calls.ttl(key))

    async def touch(self, key: str, ttl: Duration | None = None) -> bool:
        """Gives an entry a new ttl; whether there was one."""
        return await self._run(self.calls.touch(key, ttl))

    async def persist(self, key: str) -> bool:
        """Has an entry never expire; whether there was one."""
        return await self._run(self.calls.persist(key))

    async def delete(self, key: str) -> bool:
        """Deletes an entry; whether there was one."""
        return await self._run(self.calls.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Deletes entries; how many there were."""
        return await self._run(self.calls.delete_many(keys))

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes all entries whose key starts so; how many there were."""
        return await self._run(self.calls.delete_prefix(prefix))

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that start so, in the order of their bytes."""
        return await self._run(self.calls.keys(prefix))

    async def incr(self, key: str, by: int = 1, ttl: Duration | None = None, initial: int = 0) -> int | None:
        """Adds to a counter atomically and returns what it is then; None only while the server is away.

        One that is not there starts at `initial`; the ttl is for that case.
        """
        return await self._run(self.calls.incr(key, by, ttl, initial))

    async def decr(self, key: str, by: int = 1, ttl: Duration | None = None, initial: int = 0) -> int | None:
        """As incr, downwards."""
        return await self._run(self.calls.incr(key, -by, ttl, initial))

    async def clear(self) -> bool:
        """Deletes all entries of the cache."""
        return await self._run(self.calls.clear())

    # One recompute

    def claim(self, key: str, lease: Duration = 10, wait: Duration = 0) -> AsyncClaim:
        """A value, and where it is missing or stale the right to compute it, to use in `async with`.

        lease: how long nobody else gets that right, an hour at most. wait: how long to wait for somebody else's value.
        """
        return AsyncClaim(self, key, lease, wait)

    async def remember(
        self,
        sql: str,
        args: Sequence[Any] = (),
        key: str | None = None,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        timeout: Duration = 60,
    ) -> list[dict[str, Any]]:
        """The rows of a query, run by the server only where they are not cached.

        `args` are its parameters $1 and so on. Where all its tables are watched, the result is dropped by the commit
        that changes one of them; otherwise it needs a ttl or tags. A query that depends on the time needs a ttl, and
        one that calls a function of your own that is not IMMUTABLE a key. `timeout` is for the query.
        """
        return await self._run(self.calls.remember(sql, args, key, ttl, fresh, tags, timeout))

    def cached(
        self,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Tags = None,
        *,
        key: Key = None,
        lease: Duration = 30,
        wait: Duration = 30,
    ) -> Callable[[Callable[..., Awaitable[T]]], AsyncCachedFunction[T]]:
        """A decorator: caches what a coroutine function returns for given arguments, and computes it once for all.

        tags, key: given ones, or functions of the same arguments. lease: how long the computation may take before
        another caller starts one, too. wait: how long others wait for it.
        """
        policy = Policy(ttl, fresh, tags, key, lease, wait)
        return lambda function: AsyncCachedFunction(self, function, policy)

    # Exact invalidation

    async def watch(self, relation: str, tag: str | None = None) -> None:
        """Has each change of a table invalidate a tag: 'schema.table', or one with '{column}' in it."""
        await self._run(self.calls.watch(relation, tag))

    async def unwatch(self, relation: str) -> None:
        """Ends that."""
        await self._run(self.calls.unwatch(relation))

    async def invalidate(self, *tags: str) -> None:
        """Drops all entries that depend on one of the tags."""
        await self._run(self.calls.invalidate(*tags))

    async def clock(self) -> datetime:
        """The time to read before the data, and to pass as `as_of`."""
        return await self._run(self.calls.clock())

    # Caches and upkeep

    async def create_cache(
        self,
        name: str,
        default_ttl: Duration | None = None,
        max_size: str | None = None,
        max_entries: int | None = None,
        durable: bool = False,
    ) -> None:
        """Makes a cache. max_size is such as '100 MB'."""
        await self._run(self.calls.create_cache(name, default_ttl, max_size, max_entries, durable))

    async def alter_cache(
        self,
        name: str,
        default_ttl: Duration | None = None,
        max_size: str | None = None,
        max_entries: int | None = None,
        durable: bool | None = None,
    ) -> None:
        """Changes what is given."""
        await self._run(self.calls.alter_cache(name, default_ttl, max_size, max_entries, durable))

    async def drop_cache(self, name: str) -> None:
        """Drops a cache with its entries."""
        await self._run(self.calls.drop_cache(name))

    async def sweep(self) -> dict[str, Any]:
        """Removes expired entries now, and what is over the budget."""
        return await self._run(self.calls.sweep())

    async def stats(self) -> dict[str, Any]:
        """The cache's row of cache.stats."""
        return await self._run(self.calls.stats())

    async def stats_reset(self) -> None:
        """Sets the cache's counters to zero."""
        await self._run(self.calls.stats_reset())

    async def sweeper(self) -> list[dict[str, Any]]:
        """The rows of cache.sweeper."""
        return await self._run(self.calls.sweeper())

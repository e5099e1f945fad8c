"""The backend for dogpile.cache.

region = make_region().configure(
    "pg_stash",
    expiration_time=300,
    arguments={"url": "postgresql://localhost/shop", "distributed_lock": True},
)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex, NoValue

from .backend import fit, known, shared
from .calls import AWAY
from .client import Client
from .wire import Duration

_Found = Union[bytes, NoValue]
# How long one call waits for a lock before the next one does: a waiting call occupies a connection.
_WAIT = 2.0


class PostgresBackend(BytesBackend):
    """A dogpile.cache backend in PostgreSQL. Arguments:

    url: a connection URL; by default the environment's DATABASE_URL.
    cache: the cache's name in the database.
    entry_expiration_time: seconds after which the server drops an entry. It should be longer than the region's
        `expiration_time`, so that an outdated value is there while a new one is made. By default the cache's own.
    distributed_lock: whether one process at a time makes a value; otherwise, one thread of each process.
    lock_timeout: seconds after which a lock passes to the next one who wants it, 3,600 at most.
    Others are options of pg_stash.Client, such as `fail_open`. What nobody knows is ignored, as regions of several
    backends may share their arguments.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        options = known(arguments)
        url, cache = options.pop("url", None), options.pop("cache", "default")
        self._ttl: Duration | None = arguments.get("entry_expiration_time")
        self._distributed_lock: bool = arguments.get("distributed_lock", True)
        self._lock_timeout: Duration = arguments.get("lock_timeout", 60)
        self._client = shared(Client, url, cache, options)

    def get_mutex(self, key: str) -> CacheMutex | None:
        return Mutex(self._client, fit(f"lock:{key}"), self._lock_timeout) if self._distributed_lock else None

    def has_lock_timeout(self) -> bool:
        return self._distributed_lock

    def get_serialized(self, key: str) -> _Found:
        value: _Found = self._client.get(fit(key), NO_VALUE)
        return value

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[_Found]:
        names = [fit(key) for key in keys]
        found = self._client.get_many(names) if names else {}
        return [found.get(name, NO_VALUE) for name in names]

    def set_serialized(self, key: str, value: bytes) -> None:
        self._client.set(fit(key), value, self._ttl)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        if mapping:
            self._client.set_many({fit(key): value for key, value in mapping.items()}, self._ttl)

    def delete(self, key: str) -> None:
        self._client.delete(fit(key))

    def delete_multi(self, keys: Iterable[str]) -> None:
        names = [fit(key) for key in keys]
        if names:
            self._client.delete_many(names)


class Mutex(CacheMutex):
    """A lock across processes: the lease of a key that never has a value. It may be released by another thread than
    the one that took it, as dogpile does where values are made in the background."""

    def __init__(self, client: Client, key: str, timeout: Duration) -> None:
        self._client = client
        self._key = key
        self._timeout = timeout
        self._lease: bytes | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Whether the lock was taken. While the server is away it is, by everybody: better twice than never."""
        calls = self._client.calls
        while True:
            claimed = self._client._run(calls.claim(self._key, self._timeout, _WAIT if wait else 0))
            if claimed.lease is not None:
                self._lease = claimed.lease
                return True
            if claimed.state == AWAY or not wait:
                return claimed.state == AWAY

    def release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._client._run(self._client.calls.release(lease))

    def locked(self) -> bool:
        probe = Mutex(self._client, self._key, self._timeout)
        if probe.acquire(wait=False):
            probe.release()
            return False
        return True

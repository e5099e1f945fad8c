"""A cache for cachelib, which Flask-Caching, Flask-Session and others use.

from pg_stash.cachelib import PostgresCache

cache = PostgresCache("postgresql://localhost/shop", default_timeout=300)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Callable

from cachelib.base import BaseCache
from psycopg.errors import DatatypeMismatch, NumericValueOutOfRange

from .backend import fit
from .client import Client
from .serializers import Serializer
from .wire import NEVER, Duration, seconds

_NOT_A_COUNTER = (DatatypeMismatch, NumericValueOutOfRange)


class PostgresCache(BaseCache):
    """A cachelib cache in PostgreSQL. A timeout of 0 is none; a negative one, or None, is the default."""

    def __init__(
        self,
        url: str | None = None,
        name: str = "default",
        default_timeout: int | timedelta = 300,
        key_prefix: str | Callable[[], str] | None = None,
        ignore_delete_many_errors: bool = True,
        serializer: Any = None,
        **options: Any,
    ) -> None:
        """
        url: a connection URL; by default the environment's DATABASE_URL.
        name: of the cache in the database.
        serializer: cachelib's, or pg_stash's, for values that are no str, int, bytes or JSON.
        options: those of pg_stash.Client, such as `fail_open`.
        """
        super().__init__(default_timeout)
        self.default_timeout = default_timeout  # type: ignore[assignment]
        self.ignore_delete_many_errors = ignore_delete_many_errors
        self.key_prefix = key_prefix
        self.client = Client(url, name, **options)
        self._serializer = serializer
        if serializer is not None:
            self.serializer = serializer

    @property
    def serializer(self) -> Any:
        return self._serializer

    @serializer.setter
    def serializer(self, serializer: Any) -> None:
        self._serializer = serializer
        self.client.use_serializer(serializer if hasattr(serializer, "name") else _Adapter(serializer))

    def get(self, key: str) -> Any:
        return self.client.get(self._key(key))

    def get_many(self, *keys: str) -> list[Any]:
        names = [self._key(key) for key in keys]
        found = self.client.get_many(names)
        return [found.get(name) for name in names]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        return self.client.set(self._key(key), value, self._ttl(timeout))

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        return self.client.add(self._key(key), value, self._ttl(timeout))

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[Any]:
        values = {self._key(key): value for key, value in mapping.items()}
        written = self.client.set_many(values, self._ttl(timeout)) if values else 0
        return list(mapping) if written else []

    def delete(self, key: str) -> bool:
        return self.client.delete(self._key(key))

    def delete_many(self, *keys: str) -> list[Any]:
        if keys:
            self.client.delete_many([self._key(key) for key in keys])
        return list(keys)

    def has(self, key: str) -> bool:
        return self.client.exists(self._key(key))

    def clear(self) -> bool:
        """Deletes the entries with this cache's key prefix; without one, all entries of the cache in the database."""
        prefix = self._prefix()
        if not prefix:
            return self.client.clear()
        self.client.delete_prefix(prefix)
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Atomic where the value is an integer of 64 bits, or missing."""
        try:
            return self.client.incr(self._key(key), delta, self._ttl(None))
        except _NOT_A_COUNTER:
            return super().inc(key, delta)

    def dec(self, key: str, delta: int = 1) -> int | None:
        return self.inc(key, -delta)

    def _prefix(self) -> str:
        prefix = self.key_prefix
        return (prefix() if callable(prefix) else prefix) or ""

    def _key(self, key: str) -> str:
        return fit(self._prefix() + key)

    def _ttl(self, timeout: Duration | None) -> Duration:
        if timeout is None or seconds(timeout) < 0:
            timeout = self.default_timeout
        return timeout if seconds(timeout) > 0 else NEVER


class _Adapter(Serializer):
    """A serializer of cachelib's, whose `dumps` and `loads` answer None for what they cannot do."""

    def __init__(self, serializer: Any) -> None:
        self.name = type(serializer).__name__
        self._serializer = serializer

    def dumps(self, value: Any) -> bytes:
        data = self._serializer.dumps(value)
        if data is None:
            raise ValueError(f"{self.name} cannot serialize a {type(value).__qualname__}")
        return bytes(data)

    def loads(self, data: bytes) -> Any:
        return self._serializer.loads(data)

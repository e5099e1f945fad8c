"""The cache backend for Django.

CACHES = {
    "default": {
        "BACKEND": "pg_stash.django.PostgresCache",
        "LOCATION": "",            # a connection URL; empty: the database "default" of DATABASES
        "TIMEOUT": 300,
        "OPTIONS": {"cache": "default", "fail_open": True},
    }
}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, MEMCACHE_MAX_KEY_LENGTH, BaseCache
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import make_conninfo
from psycopg.errors import DatatypeMismatch, NumericValueOutOfRange
from psycopg.pq import Conninfo

from .async_client import AsyncClient
from .backend import close_shared, fit, shared
from .client import Client
from .wire import NEVER

_NOT_A_COUNTER = (DatatypeMismatch, NumericValueOutOfRange)
# Django's own options of a cache, which make no sense here: the cache's budget is the server's affair.
_CULLING = ("MAX_ENTRIES", "CULL_FREQUENCY")


class PostgresCache(BaseCache):  # type: ignore[misc]
    """A Django cache in PostgreSQL. All instances of a process with the same settings share their connections."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = {name: value for name, value in params.get("OPTIONS", {}).items() if name not in _CULLING}
        self._location = location
        self._database = options.pop("database", "default")
        self._cache_name = options.pop("cache", "default")
        self._options = options

    @cached_property
    def _client(self) -> Client:
        return shared(Client, self._url(), self._cache_name, self._options)

    @cached_property
    def _async_client(self) -> AsyncClient:
        return shared(AsyncClient, self._url(), self._cache_name, self._options)

    def _url(self) -> str:
        # Asked for at the first use, not at import: a test runner changes the database's name.
        return self._location or _database_url(self._database)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._client.get(self._key(key, version), default)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return await self._async_client.get(self._key(key, version), default)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        name, ttl = self._key(key, version), self._ttl(timeout)
        call = self._client.calls.delete(name) if ttl is None else self._client.calls.set(name, value, ttl)
        self._client._run(call)

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        name, ttl = self._key(key, version), self._ttl(timeout)
        call = self._client.calls.delete(name) if ttl is None else self._client.calls.set(name, value, ttl)
        await self._async_client._run(call)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self._key(key, version), self._ttl(timeout)
        if ttl is None:
            return not self._client.exists(name)
        return self._client.add(name, value, ttl)

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self._key(key, version), self._ttl(timeout)
        if ttl is None:
            return not await self._async_client.exists(name)
        return await self._async_client.add(name, value, ttl)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self._key(key, version), self._ttl(timeout)
        return self._client.delete(name) if ttl is None else self._client.touch(name, ttl)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self._key(key, version), self._ttl(timeout)
        client = self._async_client
        return await client.delete(name) if ttl is None else await client.touch(name, ttl)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._client.delete(self._key(key, version))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return await self._async_client.delete(self._key(key, version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._client.exists(self._key(key, version))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return await self._async_client.exists(self._key(key, version))

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = {key: self._key(key, version) for key in keys}
        found = self._client.get_many(names.values()) if names else {}
        return {key: found[name] for key, name in names.items() if name in found}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = {key: self._key(key, version) for key in keys}
        found = await self._async_client.get_many(names.values()) if names else {}
        return {key: found[name] for key, name in names.items() if name in found}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        values, ttl = {self._key(key, version): value for key, value in data.items()}, self._ttl(timeout)
        if ttl is None:
            self.delete_many(data, version)
            return []
        return list(data) if values and not self._client.set_many(values, ttl) else []

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        values, ttl = {self._key(key, version): value for key, value in data.items()}, self._ttl(timeout)
        if ttl is None:
            await self.adelete_many(data, version)
            return []
        return list(data) if values and not await self._async_client.set_many(values, ttl) else []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        names = [self._key(key, version) for key in keys]
        if names:
            self._client.delete_many(names)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        names = [self._key(key, version) for key in keys]
        if names:
            await self._async_client.delete_many(names)

    def incr(self, key: Any, delta: Any = 1, version: int | None = None) -> Any:
        """Atomic where value and delta are integers of 64 bits. ValueError: there is no such key."""
        if not isinstance(delta, int):
            return super().incr(key, delta, version)
        try:
            value = self._client._run(self._client.calls.incr_existing(*self._increment(key, delta, version)))
        except _NOT_A_COUNTER:
            return super().incr(key, delta, version)
        return _found(value, key)

    async def aincr(self, key: Any, delta: Any = 1, version: int | None = None) -> Any:
        if not isinstance(delta, int):
            return await super().aincr(key, delta, version)
        try:
            call = self._client.calls.incr_existing(*self._increment(key, delta, version))
            value = await self._async_client._run(call)
        except _NOT_A_COUNTER:
            return await super().aincr(key, delta, version)
        return _found(value, key)

    def clear(self) -> None:
        """Deletes all entries of the cache, whatever their prefix and version."""
        self._client.clear()

    async def aclear(self) -> None:
        await self._async_client.clear()

    def validate_key(self, key: str) -> None:
        # Django's search for what memcached would not take costs more than all else that is done with a key here.
        if len(key) > MEMCACHE_MAX_KEY_LENGTH or " " in key or not key.isprintable():
            super().validate_key(key)

    def _key(self, key: Any, version: int | None) -> str:
        return fit(self.make_and_validate_key(key, version=version))

    def _ttl(self, timeout: Any) -> float | None:
        """Seconds, NEVER for None, and None for what has expired at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return NEVER
        return float(timeout) if timeout > 0 else None

    def _increment(self, key: Any, delta: int, version: int | None) -> tuple[str, int, float]:
        return self._key(key, version), delta, self._ttl(DEFAULT_TIMEOUT) or 1.0


def _found(value: int | None, key: Any) -> int:
    if value is None:
        raise ValueError(f"Key '{key}' not found")
    return value


def _database_url(alias: str) -> str:
    """The connection string of one of Django's databases."""
    from django.db import connections  # noqa: PLC0415

    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(
            f"the database {alias!r} is not PostgreSQL: give the cache a LOCATION, such as postgresql://localhost/shop"
        )
    _close_before_test_database_is_dropped(connection)
    database = connection.settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    parameters = {keyword: database[name] for name, keyword in names.items() if database.get(name)}
    keywords = {option.keyword.decode() for option in Conninfo.get_defaults()}
    parameters.update({name: value for name, value in database.get("OPTIONS", {}).items() if name in keywords})
    return make_conninfo("", **parameters)


def _close_before_test_database_is_dropped(connection: Any) -> None:
    """A database that has sessions cannot be dropped, and Django's test runner closes only those that it knows."""
    drop = connection.creation.destroy_test_db

    def close_and_drop(*args: Any, **kwargs: Any) -> Any:
        close_shared()
        return drop(*args, **kwargs)

    connection.creation.destroy_test_db = close_and_drop

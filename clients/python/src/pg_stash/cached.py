"""The decorator that caches what a function returns, with one recompute across all processes."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Awaitable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar, Union
from uuid import UUID

from .wire import Duration

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client

T = TypeVar("T")
Key = Union[str, Callable[..., str], None]
Tags = Union[Iterable[str], Callable[..., Iterable[str]], None]

_SCALARS = (str, int, float, bool, bytes, type(None), date, datetime, time, timedelta, Decimal, UUID)


class Policy:
    """How long a function's results last, what they depend on, and how long callers wait for each other."""

    def __init__(
        self,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Tags = None,
        key: Key = None,
        lease: Duration = 30,
        wait: Duration = 30,
    ) -> None:
        self.ttl, self.fresh, self.lease, self.wait = ttl, fresh, lease, wait
        self._tags, self._key = tags, key

    def key_of(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if callable(self._key):
            return self._key(*args, **kwargs)
        name = self._key or f"{function.__module__}.{function.__qualname__}"
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        if not bound.arguments:
            return name
        arguments = _canonical(bound.arguments, function)
        return f"{name}:{hashlib.sha256(arguments.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def tags_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[str] | None:
        return self._tags(*args, **kwargs) if callable(self._tags) else self._tags


def _canonical(value: Any, function: Callable[..., Any]) -> str:
    """Text that is equal for equal arguments in every process, which hash() and pickle do not promise."""
    if type(value) in _SCALARS:
        return f"{type(value).__name__}={value!r}"
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, dict):
        items = [(_canonical(key, function), _canonical(item, function)) for key, item in value.items()]
        return f"{{{','.join(f'{key}:{item}' for key, item in sorted(items))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}[{','.join(_canonical(item, function) for item in value)}]"
    if isinstance(value, (set, frozenset)):
        return f"set[{','.join(sorted(_canonical(item, function) for item in value))}]"
    raise TypeError(
        f"no cache key can be made of the argument {type(value).__qualname__} of {function.__qualname__}: "
        "give the decorator a key=, a function of the same arguments that returns a string"
    )


class CachedFunction(Generic[T]):
    """A function whose results are cached. `uncached` calls it directly."""

    def __init__(self, client: Client, function: Callable[..., T], policy: Policy) -> None:
        functools.update_wrapper(self, function)
        self._client, self._policy = client, policy
        self.uncached = function

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        policy = self._policy
        with self._client.claim(self.key(*args, **kwargs), policy.lease, policy.wait) as claim:
            if claim.must_compute:
                value = self.uncached(*args, **kwargs)
                claim.fill(value, policy.ttl, policy.fresh, policy.tags_of(args, kwargs))
                return value
            result: T = claim.value
            return result

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def key(self, *args: Any, **kwargs: Any) -> str:
        """The key of the result for these arguments."""
        return self._policy.key_of(self.uncached, args, kwargs)

    def forget(self, *args: Any, **kwargs: Any) -> bool:
        """Deletes the result for these arguments; whether there was one."""
        return self._client.delete(self.key(*args, **kwargs))


class AsyncCachedFunction(Generic[T]):
    """A coroutine function whose results are cached."""

    def __init__(self, client: AsyncClient, function: Callable[..., Awaitable[T]], policy: Policy) -> None:
        functools.update_wrapper(self, function)
        self._client, self._policy = client, policy
        self.uncached = function

    async def __call__(self, *args: Any, **kwargs: Any) -> T:
        policy = self._policy
        async with self._client.claim(self.key(*args, **kwargs), policy.lease, policy.wait) as claim:
            if claim.must_compute:
                value = await self.uncached(*args, **kwargs)
                await claim.fill(value, policy.ttl, policy.fresh, policy.tags_of(args, kwargs))
                return value
            result: T = claim.value
            return result

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def key(self, *args: Any, **kwargs: Any) -> str:
        """The key of the result for these arguments."""
        return self._policy.key_of(self.uncached, args, kwargs)

    async def forget(self, *args: Any, **kwargs: Any) -> bool:
        """Deletes the result for these arguments; whether there was one."""
        return await self._client.delete(self.key(*args, **kwargs))

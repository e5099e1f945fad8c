"""A claim: the right to compute a value that is missing or stale, which one caller at a time has.

with client.claim("report", wait=5) as claim:
    if claim.must_compute:
        claim.fill(build_report(), ttl=600)
    return claim.value
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .calls import MISSING, UNDECODABLE, Claimed
from .wire import Duration

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client


class _Outcome:
    """What both kinds of claim tell."""

    def __init__(self, key: str, lease: Duration, wait: Duration) -> None:
        self._key = key
        self._arguments = (key, lease, wait)
        self._claimed = Claimed("miss", MISSING, None)

    @property
    def state(self) -> str:
        """hit, stale (past its `fresh` time), miss, or away while the server is."""
        return self._claimed.state

    @property
    def must_compute(self) -> bool:
        """Whether it is for this caller to compute the value and fill it in.

        True where there is neither a value nor a lease, too: somebody else has been computing for longer than `wait`,
        or the server is away. What is filled in then is not stored.
        """
        return self._claimed.lease is not None or self._claimed.value is MISSING

    @property
    def value(self) -> Any:
        """The value that was found or filled in; None where there is none yet."""
        return None if self._claimed.value is MISSING else self._claimed.value

    def _filled(self, value: Any) -> bytes | None:
        lease = self._claimed.lease
        self._claimed = Claimed(self.state, value, None)
        return lease

    def _given_up(self) -> bytes | None:
        lease = self._claimed.lease
        self._claimed = Claimed(self.state, self._claimed.value, None)
        return lease


class Claim(_Outcome):
    """A claim of a `Client`. Without a fill its lease is released at the end of the block."""

    def __init__(self, client: Client, key: str, lease: Duration, wait: Duration) -> None:
        super().__init__(key, lease, wait)
        self._client = client

    def __enter__(self) -> Claim:
        client = self._client
        self._claimed = client._run(client.calls.claim(*self._arguments))
        if self._claimed.state == UNDECODABLE:
            client.delete(self._key)
            self._claimed = client._run(client.calls.claim(*self._arguments))
        return self

    def fill(
        self,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Stores the value. False: it was not stored, because the lease has run out, or a tag was invalidated."""
        lease = self._filled(value)
        client = self._client
        return lease is not None and client._run(client.calls.fill(lease, value, ttl, fresh, tags))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._given_up()
        if lease is not None:
            self._client._run(self._client.calls.release(lease))


class AsyncClaim(_Outcome):
    """A claim of an `AsyncClient`."""

    def __init__(self, client: AsyncClient, key: str, lease: Duration, wait: Duration) -> None:
        super().__init__(key, lease, wait)
        self._client = client

    async def __aenter__(self) -> AsyncClaim:
        client = self._client
        self._claimed = await client._run(client.calls.claim(*self._arguments))
        if self._claimed.state == UNDECODABLE:
            await client.delete(self._key)
            self._claimed = await client._run(client.calls.claim(*self._arguments))
        return self

    async def fill(
        self,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Stores the value. False: it was not stored, because the lease has run out, or a tag was invalidated."""
        lease = self._filled(value)
        client = self._client
        return lease is not None and await client._run(client.calls.fill(lease, value, ttl, fresh, tags))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._given_up()
        if lease is not None:
            await self._client._run(self._client.calls.release(lease))

"""Calls: one for each function of the cache, as a statement with parameters and a way to read its result.

A call does nothing by itself. `Client` and `AsyncClient` run it, alone or several in a pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Generic, NamedTuple, TypeVar

from . import arrays, plain_json, statements, wire
from .statements import Statement
from .values import BYTES, INT, JSON, TEXT, Codec, Undecodable
from .wire import Duration

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")


class Call(Generic[T]):
    """A call of a function.

    `otherwise` stands for its result where there is no entry, and while the server cannot be reached. It is REQUIRED
    where nothing can: such a call fails then. `wait` is the time in seconds that the function may sleep.
    """

    __slots__ = ("otherwise", "parameters", "read", "statement", "wait")

    def __init__(
        self,
        statement: Statement,
        parameters: Sequence[bytes | None],
        read: Callable[[PGresult, Any], T],
        otherwise: T,
        wait: float = 0,
    ) -> None:
        self.statement = statement
        self.parameters = parameters
        self.read = read
        self.otherwise = otherwise
        self.wait = wait


class _Marker:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MISSING: Any = _Marker("MISSING")
REQUIRED: Any = _Marker("REQUIRED")


AWAY, UNDECODABLE = "away", "undecodable"


class Claimed(NamedTuple):
    """What a claim found. `state` is hit, stale, miss, AWAY, or UNDECODABLE: an entry that this client cannot read. A
    `lease` obliges its holder to fill or release it."""

    state: str
    value: Any
    lease: bytes | None


def _nothing(_: PGresult, _otherwise: Any = None) -> None:
    return None


def _boolean(result: PGresult, _otherwise: Any = None) -> bool:
    return result.get_value(0, 0) == b"\x01"


def _number(result: PGresult, _otherwise: Any = None) -> int:
    return wire.read_int8(result.get_value(0, 0) or b"")


def _number_or_none(result: PGresult, _otherwise: Any = None) -> int | None:
    data = result.get_value(0, 0)
    return None if data is None else wire.read_int8(data)


def _moment(result: PGresult, _otherwise: Any = None) -> datetime | None:
    data = result.get_value(0, 0)
    return None if data is None else wire.read_timestamptz(data)


def _time(result: PGresult, _otherwise: Any = None) -> datetime:
    return wire.read_timestamptz(result.get_value(0, 0) or b"")


def _span(result: PGresult, _otherwise: Any = None) -> timedelta | None:
    data = result.get_value(0, 0)
    return None if data is None else wire.read_interval(data)


def _strings(result: PGresult, _otherwise: Any = None) -> list[str]:
    return [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]


def _documents(result: PGresult, _otherwise: Any = None) -> list[Any]:
    return [plain_json.decode((result.get_value(row, 0) or b"")[1:].decode()) for row in range(result.ntuples)]


class Calls:
    """Builds the calls for one cache."""

    def __init__(self, cache: str, codec: Codec) -> None:
        self._cache = cache.encode()
        self._codec = codec

    # Entries

    def get(self, key: str, default: Any = None) -> Call[Any]:
        return Call(statements.GET, [key.encode(), self._cache], self._value, default)

    def take(self, key: str, default: Any = None) -> Call[Any]:
        return Call(statements.TAKE, [key.encode(), self._cache], self._value, default)

    def get_many(self, keys: Iterable[str]) -> Call[dict[str, Any]]:
        keys = wire.strings(keys)
        return Call(statements.GET_MANY, [wire.texts(keys), self._cache], partial(self._values, keys), {})

    def set(
        self,
        key: str,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> Call[bool]:
        kind, data = self._codec.encode(value)
        parameters = [key.encode(), data, *self._options(ttl, fresh, tags, as_of)]
        return Call(statements.SET[kind], parameters, _done, False)

    def add(
        self,
        key: str,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> Call[bool]:
        kind, data = self._codec.encode(value)
        parameters = [key.encode(), data, *self._options(ttl, fresh, tags, as_of)]
        return Call(statements.ADD[kind], parameters, _boolean, False)

    def replace(
        self,
        key: str,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> Call[bool]:
        kind, data = self._codec.encode(value)
        parameters = [key.encode(), data, *self._options(ttl, fresh, tags, as_of)]
        return Call(statements.REPLACE[kind], parameters, _boolean, False)

    def set_many(
        self,
        values: Mapping[str, Any],
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> Call[int]:
        encoded = [self._codec.encode(value) for value in values.values()]
        kinds = {kind for kind, _ in encoded} or {TEXT}
        options = self._options(ttl, fresh, tags, as_of)
        keys = wire.texts(values)
        if len(kinds) == 1 and INT not in kinds:
            statement = statements.SET_MANY[kinds.pop()]
            items = wire.array(statement.oids[1], [data for _, data in encoded])
            return Call(statement, [keys, items, *options], _number, 0)
        columns = [
            wire.array(oid, [data if kind == column else None for kind, data in encoded])
            for column, oid in zip((TEXT, JSON, BYTES, INT), statements.SET_MANY_MIXED.oids[1:5])
        ]
        return Call(statements.SET_MANY_MIXED, [keys, *columns, *options], _number, 0)

    def compare_and_set(self, key: str, expected: Any, value: Any, ttl: Duration | None = None) -> Call[bool]:
        expected_kind, expected_data = self._codec.encode(expected)
        kind, data = self._codec.encode(value)
        if kind != expected_kind:
            raise TypeError(
                f"compare_and_set needs two values of one type of the cache, not {expected_kind} and {kind}"
            )
        parameters = [key.encode(), expected_data, data, wire.interval(ttl), self._cache]
        return Call(statements.COMPARE_AND_SET[kind], parameters, _boolean, False)

    def exists(self, key: str) -> Call[bool]:
        return Call(statements.EXISTS, [key.encode(), self._cache], _boolean, False)

    def expires_at(self, key: str) -> Call[datetime | None]:
        return Call(statements.EXPIRES_AT, [key.encode(), self._cache], _moment, None)

    def ttl(self, key: str) -> Call[timedelta | None]:
        return Call(statements.TTL, [key.encode(), self._cache], _span, None)

    def touch(self, key: str, ttl: Duration | None = None) -> Call[bool]:
        return Call(statements.TOUCH, [key.encode(), wire.interval(ttl), self._cache], _boolean, False)

    def persist(self, key: str) -> Call[bool]:
        return Call(statements.PERSIST, [key.encode(), self._cache], _boolean, False)

    def delete(self, key: str) -> Call[bool]:
        return Call(statements.DELETE, [key.encode(), self._cache], _boolean, False)

    def delete_many(self, keys: Iterable[str]) -> Call[int]:
        return Call(statements.DELETE_MANY, [wire.texts(keys), self._cache], _number, 0)

    def delete_prefix(self, prefix: str) -> Call[int]:
        return Call(statements.DELETE_PREFIX, [prefix.encode(), self._cache], _number, 0)

    def keys(self, prefix: str = "") -> Call[list[str]]:
        return Call(statements.KEYS, [prefix.encode(), self._cache], _strings, [])

    def incr(self, key: str, by: int = 1, ttl: Duration | None = None, initial: int = 0) -> Call[int | None]:
        parameters = [key.encode(), wire.int8(by), wire.interval(ttl), wire.int8(initial), self._cache]
        return Call(statements.INCR, parameters, _number_or_none, None)

    def incr_existing(self, key: str, by: int, ttl: Duration | None) -> Call[int | None]:
        """As incr, but None where there is no counter. `ttl` is for one that has gone in the same moment."""
        parameters = [key.encode(), wire.int8(by), wire.interval(ttl), self._cache]
        return Call(statements.INCR_EXISTING, parameters, _number_or_none, None)

    def clear(self) -> Call[bool]:
        return Call(statements.CLEAR, [self._cache], _done, False)

    # One recompute

    def claim(self, key: str, lease: Duration = 10, wait: Duration = 0) -> Call[Claimed]:
        parameters = [key.encode(), wire.interval(lease), wire.interval(wait), self._cache]
        return Call(statements.CLAIM, parameters, self._claimed, Claimed(AWAY, MISSING, None), wire.seconds(wait))

    def fill(
        self,
        lease: bytes,
        value: Any,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
    ) -> Call[bool]:
        kind, data = self._codec.encode(value)
        parameters = [lease, data, wire.interval(ttl), wire.interval(fresh), wire.texts(tags)]
        return Call(statements.FILL[kind], parameters, _boolean, False)

    def release(self, lease: bytes) -> Call[None]:
        return Call(statements.RELEASE, [lease], _nothing, None)

    def remember(
        self,
        sql: str,
        args: Sequence[Any] = (),
        key: str | None = None,
        ttl: Duration | None = None,
        fresh: Duration | None = None,
        tags: Iterable[str] | None = None,
        timeout: Duration = 60,
    ) -> Call[list[dict[str, Any]]]:
        packed = b"\x01" + json.dumps(list(args), default=str).encode() if args else None
        parameters = [
            sql.encode(),
            packed,
            wire.text(key),
            wire.interval(ttl),
            wire.interval(fresh),
            wire.texts(tags),
            self._cache,
        ]
        return Call(statements.REMEMBER, parameters, _remembered, REQUIRED, wire.seconds(timeout))

    # Exact invalidation

    def watch(self, relation: str, tag: str | None = None) -> Call[None]:
        return Call(statements.WATCH, [relation.encode(), wire.text(tag)], _nothing, REQUIRED)

    def unwatch(self, relation: str) -> Call[None]:
        return Call(statements.UNWATCH, [relation.encode()], _nothing, REQUIRED)

    def invalidate(self, *tags: str) -> Call[None]:
        return Call(statements.INVALIDATE, [wire.texts(tags)], _nothing, REQUIRED)

    def clock(self) -> Call[datetime]:
        return Call(statements.CLOCK, [], _time, REQUIRED)

    # Caches and upkeep

    def create_cache(
        self,
        name: str,
        default_ttl: Duration | None = None,
        max_size: str | None = None,
        max_entries: int | None = None,
        durable: bool = False,
    ) -> Call[None]:
        return Call(
            statements.CREATE_CACHE, _policy(name, default_ttl, max_size, max_entries, durable), _nothing, REQUIRED
        )

    def alter_cache(
        self,
        name: str,
        default_ttl: Duration | None = None,
        max_size: str | None = None,
        max_entries: int | None = None,
        durable: bool | None = None,
    ) -> Call[None]:
        return Call(
            statements.ALTER_CACHE, _policy(name, default_ttl, max_size, max_entries, durable), _nothing, REQUIRED
        )

    def drop_cache(self, name: str) -> Call[None]:
        return Call(statements.DROP_CACHE, [name.encode()], _nothing, REQUIRED)

    def sweep(self) -> Call[dict[str, Any]]:
        return Call(statements.SWEEP, [self._cache], _one_document, REQUIRED)

    def stats(self) -> Call[dict[str, Any]]:
        return Call(statements.STATS, [self._cache], _one_document, REQUIRED)

    def stats_reset(self) -> Call[None]:
        return Call(statements.STATS_RESET, [self._cache], _nothing, REQUIRED)

    def sweeper(self) -> Call[list[dict[str, Any]]]:
        return Call(statements.SWEEPER, [], _documents, REQUIRED)

    # How results are read

    def _options(
        self,
        ttl: Duration | None,
        fresh: Duration | None,
        tags: Iterable[str] | None,
        as_of: datetime | None,
    ) -> tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes]:
        return (
            wire.interval(ttl),
            wire.interval(fresh),
            wire.texts(tags),
            wire.timestamptz(as_of),
            self._cache,
        )

    def _value(self, result: PGresult, otherwise: Any) -> Any:
        if result.ntuples == 0:
            return otherwise
        get = result.get_value
        return self._codec.decode(get(0, 0), get(0, 1), get(0, 2), get(0, 3))

    def _values(self, keys: list[str], result: PGresult, _otherwise: Any) -> dict[str, Any]:
        texts, jsons, datas, integers = arrays.load(result)
        if jsons is datas is integers is None:
            return {key: text for key, text in zip(keys, texts or ()) if text is not None}
        values, decode, nothing = {}, self._codec.decode_other, [None] * len(keys)
        for key, text, json_, data, integer in zip(
            keys, texts or nothing, jsons or nothing, datas or nothing, integers or nothing
        ):
            if text is not None:
                values[key] = text
            elif integer is not None:
                values[key] = integer
            elif json_ is not None or data is not None:
                with suppress(Undecodable):
                    values[key] = decode(json_, data)
        return values

    def _claimed(self, result: PGresult, _otherwise: Any) -> Claimed:
        get = result.get_value
        state, lease = (get(0, 0) or b"").decode(), get(0, 5)
        if state == "miss":
            return Claimed(state, MISSING, lease)
        try:
            return Claimed(state, self._codec.decode(get(0, 1), get(0, 2), get(0, 3), get(0, 4)), lease)
        except Undecodable:
            return Claimed(UNDECODABLE, MISSING, lease)


def _done(_: PGresult, _otherwise: Any = None) -> bool:
    return True


def _remembered(result: PGresult, _otherwise: Any = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _documents(result)[0]
    return rows


def _one_document(result: PGresult, _otherwise: Any = None) -> dict[str, Any]:
    documents = _documents(result)
    return documents[0] if documents else {}


def _policy(
    name: str, default_ttl: Duration | None, max_size: str | None, max_entries: int | None, durable: bool | None
) -> list[bytes | None]:
    return [
        name.encode(),
        wire.interval(default_ttl),
        wire.text(max_size),
        None if max_entries is None else wire.int8(max_entries),
        None if durable is None else bytes([durable]),
    ]

"""The statements that reach the cache's functions, with the types of their parameters.

All that varies is a parameter, so that a connection prepares each of them once.
"""

from __future__ import annotations

from .values import BYTES, INT, JSON, TEXT
from .wire import (
    BYTEA,
    BYTEA_ARRAY,
    INT8,
    INT8_ARRAY,
    INTERVAL,
    JSONB,
    JSONB_ARRAY,
    TEXT_ARRAY,
    TIMESTAMPTZ,
)
from .wire import TEXT as TEXT_OID


class Statement:
    """One statement. `repeatable`: to run it a second time after a lost connection does no harm."""

    __slots__ = ("formats", "name", "oids", "repeatable", "sql")

    def __init__(self, name: str, sql: str, oids: list[int], *, repeatable: bool = True) -> None:
        self.name = f"pg_stash_{name}".encode()
        self.sql = " ".join(sql.split()).encode()
        self.oids = oids
        self.formats = [1] * len(oids)
        self.repeatable = repeatable


_VALUE = "value_text, value_json, value_bytes, value_int"
_OIDS = {TEXT: TEXT_OID, JSON: JSONB, BYTES: BYTEA, INT: INT8}


def _read(function: str, *, repeatable: bool = True) -> Statement:
    sql = f"SELECT {_VALUE} FROM cache.{function}($1, cache => $2)"
    return Statement(function, sql, [TEXT_OID, TEXT_OID], repeatable=repeatable)


def _plain(function: str, *oids: int, repeatable: bool = True) -> Statement:
    """A function of positional parameters and the cache."""
    places = "".join(f"${place}, " for place in range(1, len(oids) + 1))
    sql = f"SELECT cache.{function}({places}cache => ${len(oids) + 1})"
    return Statement(function, sql, [*oids, TEXT_OID], repeatable=repeatable)


def _write(function: str, *, repeatable: bool = True) -> dict[str, Statement]:
    return {
        kind: Statement(
            f"{function}_{kind}",
            f"SELECT cache.{function}($1, $2, ttl => $3, fresh => $4, tags => $5, as_of => $6, cache => $7)",
            [TEXT_OID, oid, INTERVAL, INTERVAL, TEXT_ARRAY, TIMESTAMPTZ, TEXT_OID],
            repeatable=repeatable,
        )
        for kind, oid in _OIDS.items()
    }


GET = _read("get_any")
TAKE = _read("take_any", repeatable=False)
GET_MANY = Statement(
    "get_many_any", f"SELECT {_VALUE} FROM cache.get_many_any($1, cache => $2)", [TEXT_ARRAY, TEXT_OID]
)

SET = _write("set")
ADD = _write("add", repeatable=False)
REPLACE = _write("replace")
COMPARE_AND_SET = {
    kind: Statement(
        f"compare_and_set_{kind}",
        "SELECT cache.compare_and_set($1, $2, $3, ttl => $4, cache => $5)",
        [TEXT_OID, oid, oid, INTERVAL, TEXT_OID],
        repeatable=False,
    )
    for kind, oid in _OIDS.items()
}

SET_MANY = {
    kind: Statement(
        f"set_many_{kind}",
        "SELECT cache.set_many($1, $2, ttl => $3, fresh => $4, tags => $5, as_of => $6, cache => $7)",
        [TEXT_ARRAY, oid, INTERVAL, INTERVAL, TEXT_ARRAY, TIMESTAMPTZ, TEXT_OID],
    )
    for kind, oid in {TEXT: TEXT_ARRAY, JSON: JSONB_ARRAY, BYTES: BYTEA_ARRAY}.items()
}
# One statement in the order of the keys, as set_many takes them: batches by type could deadlock with each other.
SET_MANY_MIXED = Statement(
    "set_many_mixed",
    """
    SELECT count(CASE
        WHEN t IS NOT NULL THEN cache.set(k, t, ttl => $6, fresh => $7, tags => $8, as_of => $9, cache => $10)
        WHEN j IS NOT NULL THEN cache.set(k, j, ttl => $6, fresh => $7, tags => $8, as_of => $9, cache => $10)
        WHEN b IS NOT NULL THEN cache.set(k, b, ttl => $6, fresh => $7, tags => $8, as_of => $9, cache => $10)
        ELSE cache.set(k, i, ttl => $6, fresh => $7, tags => $8, as_of => $9, cache => $10)
    END)
    FROM (SELECT * FROM unnest($1, $2, $3, $4, $5) AS e (k, t, j, b, i) ORDER BY k COLLATE "C") AS e
    """,
    [
        TEXT_ARRAY,
        TEXT_ARRAY,
        JSONB_ARRAY,
        BYTEA_ARRAY,
        INT8_ARRAY,
        INTERVAL,
        INTERVAL,
        TEXT_ARRAY,
        TIMESTAMPTZ,
        TEXT_OID,
    ],
)

EXISTS = _plain("exists", TEXT_OID)
EXPIRES_AT = _plain("expires_at", TEXT_OID)
TTL = _plain("ttl", TEXT_OID)
TOUCH = _plain("touch", TEXT_OID, INTERVAL)
PERSIST = _plain("persist", TEXT_OID)
DELETE = _plain("delete", TEXT_OID)
DELETE_MANY = _plain("delete_many", TEXT_ARRAY)
DELETE_PREFIX = _plain("delete_prefix", TEXT_OID)
KEYS = _plain("keys", TEXT_OID)
CLEAR = _plain("clear")
STATS_RESET = _plain("stats_reset")

INCR = Statement(
    "incr",
    "SELECT cache.incr($1, by => $2, ttl => $3, initial => $4, cache => $5)",
    [TEXT_OID, INT8, INTERVAL, INT8, TEXT_OID],
    repeatable=False,
)
# NULL where there is no entry. Should it go between the two calls, the counter begins anew, with a TTL.
INCR_EXISTING = Statement(
    "incr_existing",
    """
    SELECT CASE WHEN cache.exists($1, cache => $4)
        THEN cache.incr($1, by => $2, ttl => $3, initial => 0, cache => $4) END
    """,
    [TEXT_OID, INT8, INTERVAL, TEXT_OID],
    repeatable=False,
)

CLAIM = Statement(
    "claim_any",
    f"SELECT state, {_VALUE}, lease FROM cache.claim_any($1, lease => $2, wait => $3, cache => $4)",
    [TEXT_OID, INTERVAL, INTERVAL, TEXT_OID],
    repeatable=False,
)
FILL = {
    kind: Statement(
        f"fill_{kind}",
        "SELECT cache.fill($1, $2, ttl => $3, fresh => $4, tags => $5)",
        [BYTEA, oid, INTERVAL, INTERVAL, TEXT_ARRAY],
        repeatable=False,
    )
    for kind, oid in _OIDS.items()
}
RELEASE = Statement("release", "SELECT cache.release($1)", [BYTEA])
REMEMBER = Statement(
    "remember",
    "SELECT cache.remember($1, args => $2, key => $3, ttl => $4, fresh => $5, tags => $6, cache => $7)",
    [TEXT_OID, JSONB, TEXT_OID, INTERVAL, INTERVAL, TEXT_ARRAY, TEXT_OID],
)

WATCH = Statement("watch", "SELECT cache.watch($1::regclass, tag => $2)", [TEXT_OID, TEXT_OID])
UNWATCH = Statement("unwatch", "SELECT cache.unwatch($1::regclass)", [TEXT_OID])
INVALIDATE = Statement("invalidate", "SELECT cache.invalidate(VARIADIC $1)", [TEXT_ARRAY])
CLOCK = Statement("clock", "SELECT cache.clock()", [])

CREATE_CACHE = Statement(
    "create_cache",
    "SELECT cache.create_cache($1, default_ttl => $2, max_size => $3, max_entries => $4, durable => $5)",
    [TEXT_OID, INTERVAL, TEXT_OID, INT8, 16],
    repeatable=False,
)
ALTER_CACHE = Statement(
    "alter_cache",
    "SELECT cache.alter_cache($1, default_ttl => $2, max_size => $3, max_entries => $4, durable => $5)",
    [TEXT_OID, INTERVAL, TEXT_OID, INT8, 16],
)
DROP_CACHE = Statement("drop_cache", "SELECT cache.drop_cache($1)", [TEXT_OID], repeatable=False)
SWEEP = Statement("sweep", "SELECT to_jsonb(s) FROM cache.sweep($1) AS s", [TEXT_OID])
STATS = Statement("stats", "SELECT to_jsonb(s) FROM cache.stats AS s WHERE s.cache = $1", [TEXT_OID])
SWEEPER = Statement("sweeper", "SELECT to_jsonb(s) FROM cache.sweeper AS s", [])

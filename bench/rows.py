"""What is measured: rows, each a contestant at an operation, with the SQL that others have published written anew."""

from dataclasses import dataclass, field, replace

from load import Memcached, Pgbench, Redis

# One table for each way of caching in PostgreSQL that people use today; %s is the number of keys, then the size.
SETUP = """
CREATE EXTENSION IF NOT EXISTS pg_stash;
SELECT cache.drop_cache(name) FROM cache.caches WHERE name = 'bench';
SELECT cache.create_cache('bench', max_entries => 100000);
SELECT cache.alter_cache('default', max_size => '8 GB');
SELECT cache.clear();
DROP TABLE IF EXISTS plain, django, dotnet, solid, keyv;
CREATE UNLOGGED TABLE plain (key text PRIMARY KEY, value text NOT NULL, expires_at timestamptz NOT NULL);
CREATE TABLE django (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX ON django (expires);
CREATE TABLE dotnet (id text PRIMARY KEY, value bytea NOT NULL, expiresattime timestamptz NOT NULL,
    slidingexpirationinseconds bigint, absoluteexpiration timestamptz);
CREATE INDEX ON dotnet (expiresattime);
CREATE TABLE solid (id bigserial PRIMARY KEY, key bytea NOT NULL, value bytea NOT NULL, created_at timestamp NOT NULL,
    key_hash bigint NOT NULL, byte_size int NOT NULL);
CREATE INDEX ON solid (byte_size);
CREATE INDEX ON solid (key_hash, byte_size);
CREATE UNIQUE INDEX ON solid (key_hash);
CREATE TABLE keyv (key varchar(255) PRIMARY KEY, value text);
CREATE OR REPLACE FUNCTION plain_get(k text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT value FROM plain WHERE key = k AND expires_at > clock_timestamp()); END $$;
CREATE OR REPLACE FUNCTION plain_set(k text, v text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plain VALUES (k, v, clock_timestamp() + interval '1 hour')
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at;
END $$;
CREATE OR REPLACE FUNCTION plain_incr(k text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plain VALUES (k, '1', clock_timestamp() + interval '1 hour')
    ON CONFLICT (key) DO UPDATE SET value = plain.value::bigint + 1;
    RETURN NULL;
END $$;
"""

FILL = """
SELECT sum(cache.set_many(array_agg, values, ttl => '1 hour')) FROM (
    SELECT array_agg(k::text), array_agg((k || repeat('x', {size}))) AS values
    FROM generate_series(1, {keys}) AS k GROUP BY k / 10000) AS batches;
SELECT cache.set('n' || k, 1::bigint) FROM generate_series(1, least({keys}, 100000)) AS k;
INSERT INTO plain SELECT k, (k || repeat('x', {size})), now() + interval '1 hour' FROM generate_series(1, {keys}) AS k;
VACUUM ANALYZE plain;
VACUUM cache.entries;
"""

# Entries with tags and without, for the group that compares them.
FILL_TAGGED = """
SELECT sum(cache.set_many(array_agg, values, ttl => '1 hour', tags => ARRAY['orders', 'customers', 'products'])) FROM (
    SELECT array_agg('t' || k), array_agg((k || repeat('x', {size}))) AS values
    FROM generate_series(1, {keys}) AS k GROUP BY k / 10000) AS batches;
SELECT sum(cache.set_many(array_agg, values, ttl => '1 hour')) FROM (
    SELECT array_agg('u' || k), array_agg((k || repeat('x', {size}))) AS values
    FROM generate_series(1, {keys}) AS k GROUP BY k / 10000) AS batches;
VACUUM cache.entries;
"""

# The database of the portable edition, with the hand-written SQL beside it, in a table of as many rows.
PORTABLE = "portable"
PORTABLE_SETUP = SETUP[SETUP.index("CREATE UNLOGGED TABLE plain"):].split(";\n")[0] + ";" + SETUP[
    SETUP.index("CREATE OR REPLACE FUNCTION plain_get"):SETUP.index("CREATE OR REPLACE FUNCTION plain_incr")]
FILL_PORTABLE = """
SELECT cache.alter_cache('default', max_size => '8 GB', default_ttl => '1 hour');
SELECT cache.set_many(array_agg(k::text), array_agg(k || repeat('x', {size}))) FROM generate_series(1, {keys}) AS k;
SELECT cache.set('n' || k, 1::bigint) FROM generate_series(1, {keys}) AS k;
INSERT INTO plain SELECT k, k || repeat('x', {size}), now() + interval '1 hour' FROM generate_series(1, {keys}) AS k;
INSERT INTO plain SELECT 'n' || k, '1', now() + interval '1 hour' FROM generate_series(1, {keys}) AS k;
VACUUM ANALYZE;
"""

# The peers of frameworks are filled for the base configuration only.
FILL_PEERS = """
INSERT INTO django SELECT ':1:' || k, (k || repeat('x', {size})), now() + interval '1 hour' FROM generate_series(1, {keys}) AS k;
INSERT INTO dotnet SELECT k, (k || repeat('x', {size}))::bytea, now() + interval '1 hour', 3600, NULL FROM generate_series(1, {keys}) AS k;
INSERT INTO solid (key, value, created_at, key_hash, byte_size)
SELECT k::text::bytea, (k || repeat('x', {size}))::bytea, now(), hashtextextended(k::text, 0), {size} + 140 FROM generate_series(1, {keys}) AS k;
INSERT INTO keyv SELECT 'keyv:' || k, (k || repeat('x', {size})) FROM generate_series(1, {keys}) AS k;
VACUUM ANALYZE;
"""

# The key, so that a wrong answer is noticed, and as many bytes as the group asks for, sent with each call.
VALUE = "(:k::text || :filler::text)"
FLOOR = Pgbench("SELECT :k::text;")
GET = Pgbench("SELECT cache.get(:k::text);", f"SELECT 1 / (cache.get(:k::text) = {VALUE})::int;")
SET = Pgbench(f"SELECT cache.set(:k::text, {VALUE}, ttl => '1 hour');",
              f"SELECT 1 / (cache.get(:k::text) = {VALUE})::int;")
KEYS = "array(SELECT ((:k + i * 7919) % {keys} + 1)::text FROM generate_series(1, 100) AS i)"

DJANGO_GET = "SELECT cache_key, value, expires FROM django WHERE cache_key IN (':1:' || :k);"
DJANGO_SET = f"""SELECT count(*) FROM (SELECT 1 FROM django LIMIT 1) AS culling;
BEGIN;
SELECT cache_key, expires FROM django WHERE cache_key = ':1:' || :k;
UPDATE django SET value = {VALUE}, expires = now() + interval '1 hour' WHERE cache_key = ':1:' || :k;
COMMIT;"""
DOTNET_GET = """UPDATE dotnet SET expiresattime = CASE
    WHEN extract(epoch FROM (absoluteexpiration - now())) <= slidingexpirationinseconds THEN absoluteexpiration
    ELSE now() + slidingexpirationinseconds * interval '1 second' END
WHERE id = :k::text AND now() <= expiresattime AND slidingexpirationinseconds IS NOT NULL
    AND (absoluteexpiration IS NULL OR absoluteexpiration <> expiresattime);
SELECT value FROM dotnet WHERE id = :k::text AND now() <= expiresattime;"""
DOTNET_SET = f"""INSERT INTO dotnet VALUES (:k::text, {VALUE}::bytea, now() + interval '1 hour', 3600, NULL)
ON CONFLICT (id) DO UPDATE SET value = excluded.value, expiresattime = excluded.expiresattime,
    slidingexpirationinseconds = excluded.slidingexpirationinseconds, absoluteexpiration = excluded.absoluteexpiration;"""
SOLID_GET = "SELECT key, value FROM solid WHERE key_hash IN (hashtextextended(:k::text, 0));"
SOLID_SET = f"""INSERT INTO solid (key, value, created_at, key_hash, byte_size)
VALUES (:k::text::bytea, {VALUE}::bytea, now(), hashtextextended(:k::text, 0), :size + 140)
ON CONFLICT (key_hash) DO UPDATE SET key = excluded.key, value = excluded.value, byte_size = excluded.byte_size;"""
KEYV_GET = "SELECT * FROM keyv WHERE key = 'keyv:' || :k;"
KEYV_SET = f"""INSERT INTO keyv VALUES ('keyv:' || :k, {VALUE})
ON CONFLICT (key) DO UPDATE SET value = excluded.value;"""


@dataclass
class Row:
    """A contestant at an operation."""

    name: str
    load: object
    needs: str | None = None
    # Name of the row that this one is to be held against.
    pair: str | None = None


@dataclass
class Group:
    """Rows that are measured in turn, round by round, in one configuration."""

    title: str
    rows: list
    clients: int = 8
    size: int = 200
    keys: int = 100_000
    zipfian: bool = False
    peers: bool = field(default=False)
    tagged: bool = field(default=False)
    portable: bool = field(default=False)


def redis(name, *command, tcp=False, items=1):
    return Row(name, Redis(list(command), tcp, items), needs="redis-benchmark")


REDIS_GET = redis("Redis GET (unix socket)", "GET", "key:__rand_int__")
REDIS_SET = redis("Redis SET (unix socket)", "SET", "key:__rand_int__", "{value}")
CORE = [Row("floor: SELECT $1", FLOOR), Row("cache.get", GET), Row("cache.set", SET), REDIS_SET, REDIS_GET]

SELECT, INSERT = "SQL get: prepared SELECT", "SQL set: INSERT ON CONFLICT"
BASE = Group("8 clients, 200 bytes, 100,000 keys", [
    Row("floor: SELECT $1", FLOOR),
    Row(SELECT, Pgbench("SELECT value FROM plain WHERE key = :k::text AND expires_at > now();")),
    Row("cache.get", GET, pair=SELECT),
    REDIS_SET,
    REDIS_GET,
    redis("Redis GET (TCP)", "GET", "key:__rand_int__", tcp=True),
    Row("SQL get: PL/pgSQL function", Pgbench("SELECT plain_get(:k::text);")),
    Row(INSERT, Pgbench(
        f"INSERT INTO plain VALUES (:k::text, {VALUE}, now() + interval '1 hour') "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at;")),
    Row("cache.set", SET, pair=INSERT),
    redis("Redis SET (TCP)", "SET", "key:__rand_int__", "{value}", tcp=True),
    Row("SQL set: PL/pgSQL function", Pgbench(f"SELECT plain_set(:k::text, {VALUE});")),
    Row("cache.incr", Pgbench("SELECT cache.incr('n' || :k);")),
    redis("Redis INCR (unix socket)", "INCR", "counter:__rand_int__"),
    Row("cache.get 90 %, cache.set 10 %", Pgbench(
        f"\\set w random(1, 10)\n\\if :w = 1\nSELECT cache.set(:k::text, {VALUE}, ttl => '1 hour');\n\\else\n"
        "SELECT cache.get(:k::text);\n\\endif", f"SELECT 1 / (cache.get(:k::text) = {VALUE})::int;")),
    Row("cache.get, track_stats off", replace(GET, options="-c pg_stash.track_stats=off")),
    Row("cache.set of new keys, full cache", Pgbench(
        f"\\set n random(1, 1000000000)\nSELECT cache.set(:n::text, {VALUE}, cache => 'bench');")),
    Row("cache.get_many of 100 (keys/s)", Pgbench(
        f"SELECT count(*) FROM cache.get_many({KEYS});",
        f"SELECT 1 / (count(*) = 100 AND bool_and(value = key || :filler::text))::int FROM cache.get_many({KEYS});",
        items=100)),
    Row("cache.set_many of 100 (keys/s)", Pgbench(
        f"SELECT cache.set_many(a, array(SELECT k || :filler::text FROM unnest(a) AS k), ttl => '1 hour') FROM (SELECT {KEYS} AS a) AS batch;",
        items=100)),
], peers=True)

FRAMEWORKS = Group("frameworks on PostgreSQL, 8 clients, 200 bytes, 100,000 keys", [
    Row("floor: SELECT $1", FLOOR),
    Row("cache.get", GET),
    Row("Django DatabaseCache get", Pgbench(DJANGO_GET)),
    Row("Microsoft.Extensions.Caching.Postgres get", Pgbench(DOTNET_GET)),
    Row("Solid Cache read", Pgbench(SOLID_GET)),
    Row("Keyv get", Pgbench(KEYV_GET)),
    Row("cache.set", SET),
    Row("Django DatabaseCache set", Pgbench(DJANGO_SET)),
    Row("Microsoft.Extensions.Caching.Postgres set", Pgbench(DOTNET_SET)),
    Row("Solid Cache write", Pgbench(SOLID_SET)),
    Row("Keyv set", Pgbench(KEYV_SET)),
    Row("memcached get (TCP, 400 bytes)", Memcached("get"), needs="memcslap"),
    Row("memcached set (TCP, 400 bytes)", Memcached("set"), needs="memcslap"),
], peers=True)

# What exactness costs those who read.
NO_TAGS = "cache.get of an entry without tags"
EXACT = Group("exactness", [
    Row("floor: SELECT $1", FLOOR),
    Row(NO_TAGS, Pgbench("SELECT cache.get('u' || :k);")),
    Row("cache.get of an entry with three tags", Pgbench("SELECT cache.get('t' || :k);"), pair=NO_TAGS),
    Row("cache.claim of a fresh entry", Pgbench("SELECT state, value FROM cache.claim('u' || :k);"), pair=NO_TAGS),
    Row("cache.remember of a query that is remembered",
        Pgbench("SELECT cache.remember('SELECT 1 AS one', key => 'remembered');"), pair=NO_TAGS),
], tagged=True)

# The portable edition against what one would write by hand, in a database without the extension. The TTL of what is written by
# hand is in its function, as that of a cache is in its policy.
BY_HAND_GET, BY_HAND_SET = "SQL get: PL/pgSQL function", "SQL set: PL/pgSQL function"
PORTABLE_EDITION = Group("portable edition, 8 clients, 200 bytes, 100,000 keys", [
    Row("floor: SELECT $1", replace(FLOOR, database=PORTABLE)),
    Row(BY_HAND_GET, Pgbench("SELECT plain_get(:k::text);", database=PORTABLE)),
    Row("portable cache.get", replace(GET, database=PORTABLE), pair=BY_HAND_GET),
    Row(BY_HAND_SET, Pgbench(f"SELECT plain_set(:k::text, {VALUE});", database=PORTABLE)),
    Row("portable cache.set", Pgbench(f"SELECT cache.set(:k::text, {VALUE});", SET.check, database=PORTABLE), pair=BY_HAND_SET),
    Row("portable cache.set with a TTL", replace(SET, database=PORTABLE), pair=BY_HAND_SET),
    Row("portable cache.incr", Pgbench("SELECT cache.incr('n' || :k);", database=PORTABLE)),
    Row("portable cache.get_many of 100 (keys/s)", Pgbench(
        f"SELECT count(*) FROM cache.get_many({KEYS});", items=100, database=PORTABLE)),
    Row("portable cache.set_many of 100 (keys/s)", Pgbench(
        f"SELECT cache.set_many(a, array(SELECT k || :filler::text FROM unnest(a) AS k), ttl => '1 hour') FROM (SELECT {KEYS} AS a) AS batch;",
        items=100, database=PORTABLE)),
], portable=True)

FULL = [
    BASE,
    EXACT,
    PORTABLE_EDITION,
    FRAMEWORKS,
    Group("1 client", CORE, clients=1),
    Group("32 clients", CORE, clients=32),
    Group("20 bytes", CORE, size=20),
    Group("4 KB", CORE, size=4096),
    Group("64 KB", CORE, size=65536, keys=10_000),
    Group("1,000,000 keys", CORE, keys=1_000_000),
    Group("zipfian keys (Redis: uniform)", CORE, zipfian=True),
]
QUICK = [Group(BASE.title, BASE.rows)]

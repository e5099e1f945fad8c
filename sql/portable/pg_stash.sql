-- pg_stash 0.1.0, portable edition: the cache for PostgreSQL 14 and later where no library can be installed.
-- Run it as a role that may create a schema in the database:  psql -v ON_ERROR_STOP=1 -f pg_stash.sql
-- Run it again to upgrade in place: caches, their entries and privileges stay. uninstall.sql removes everything.
-- This file is assembled; its parts are in sql/portable/ of the project.
BEGIN;
-- Everything lives in the schema cache, and belongs to the role that runs this. Names that begin with an underscore are
-- internal: they may change with any version.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_depend AS d ON d.refobjid = e.oid
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE e.extname = 'pg_stash' AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND l.lanname = 'c'
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_schema',
            MESSAGE = 'the native edition of pg_stash is installed in this database',
            HINT = 'It does all that the portable edition does. To go back to that one, run sql/portable/to_portable.sql.';
    END IF;
    IF pg_catalog.to_regnamespace('cache') IS NULL THEN
        CREATE SCHEMA cache;
    END IF;
    PERFORM pg_catalog.set_config('search_path', 'cache, pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('client_min_messages', 'warning', true);
END $$;

COMMENT ON SCHEMA cache IS 'pg_stash, portable edition: a cache in this database';
CREATE TABLE IF NOT EXISTS cache.caches (
    name        text COLLATE "C" PRIMARY KEY,
    default_ttl interval,
    max_size    bigint CHECK (max_size > 0),
    max_entries bigint CHECK (max_entries > 0),
    durable     boolean NOT NULL DEFAULT false
);

-- Every error of the portable edition: one place that gives each its SQLSTATE, message, detail and hint. They are those of
-- the native edition.
CREATE OR REPLACE FUNCTION cache._error(kind text, VARIADIC args text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    state text := '22023';
    said text;
    detail text;
    hint text;
BEGIN
    CASE kind
    WHEN 'null key' THEN state := '22004'; said := 'cache key must not be null';
    WHEN 'null value' THEN state := '22004'; said := 'cache value must not be null';
    WHEN 'null tag' THEN state := '22004'; said := 'tag must not be null';
    WHEN 'null argument' THEN state := '22004'; said := args[1] || ' must not be null';
    WHEN 'empty key' THEN
        said := 'cache key must not be empty';
        hint := 'Use a key of 1 to 1024 bytes.';
    WHEN 'long key' THEN
        said := 'cache key is longer than 1024 bytes';
        detail := format('The key is %s bytes long.', args[1]);
        hint := 'Use a key of 1 to 1024 bytes, for example a hash of the long key.';
    WHEN 'no such cache' THEN
        state := '42704';
        said := format('cache "%s" does not exist', args[1]);
        detail := 'The caches are: ' || (SELECT string_agg(name, ', ' ORDER BY name) FROM cache.caches) || '.';
        hint := 'Make it with cache.create_cache(), or pass another name as cache.';
    WHEN 'cache exists' THEN state := '42710'; said := format('cache "%s" already exists', args[1]);
    WHEN 'invalid cache name' THEN
        state := '42602';
        said := format('invalid cache name "%s"', args[1]);
        hint := 'Use up to 48 lower-case letters, digits and underscores, not starting with a digit.';
    WHEN 'invalid policy' THEN said := args[1];
    WHEN 'one snapshot' THEN
        state := '0A000';
        said := 'cannot change caches in a transaction that keeps one snapshot';
        hint := 'Use the isolation level READ COMMITTED.';
    WHEN 'negative' THEN said := args[1] || ' must not be negative';
    WHEN 'not positive' THEN said := args[1] || ' must be positive';
    WHEN 'wrong form' THEN
        state := '42804';
        said := format('cache entry "%s" is of type %s and cannot be read as %s', args[1], args[2], args[3]);
        hint := format('Read it with cache.%s().',
            CASE args[2] WHEN 'jsonb' THEN 'get_json' WHEN 'bytea' THEN 'get_bytes' ELSE 'get' END);
    WHEN 'no counter' THEN
        state := '42804';
        said := format('cache entry "%s" is of type %s, not a counter', args[1], args[2]);
        hint := 'A counter is an entry that was set to a bigint, or made by cache.incr().';
    WHEN 'counter range' THEN
        state := '22003'; said := format('counter "%s" would leave the range of bigint', args[1]);
    WHEN 'ttl not positive' THEN
        said := 'ttl must be positive';
        hint := 'Use cache.never() for an entry that does not expire, or cache.delete() to remove one.';
    WHEN 'ttl range' THEN state := '22008'; said := 'ttl leads to an expiry out of range';
    WHEN 'fresh not positive' THEN
        said := 'fresh must be positive';
        hint := 'Leave fresh out for a value that is fresh until it expires.';
    WHEN 'fresh beyond ttl' THEN
        said := 'fresh must not be longer than ttl';
        hint := 'fresh is how long the value needs no other; ttl is how long it may be used at all.';
    WHEN 'empty tag' THEN said := 'tag must not be empty';
    WHEN 'long tags' THEN
        state := '54000';
        said := 'tags of cache entry are too long';
        detail := format('They take %s bytes of the %s that are left beside the key.', args[1], args[2]);
        hint := 'Use fewer or shorter tags, for example one for all of a group.';
    WHEN 'as_of in future' THEN
        said := 'as_of must not be later than now';
        hint := 'Read cache.clock() before the data, and pass what it returned.';
    WHEN 'larger than budget' THEN
        state := '54000';
        said := format('entry of %s bytes is larger than the budget of cache "%s" (%s bytes)', args[1], args[2], args[3]);
        detail := 'An entry that there was under this key is still there.';
        hint := 'Raise max_size with cache.alter_cache(), or store the value in smaller parts.';
    WHEN 'too large' THEN
        state := '54000'; said := format('entry of %s bytes is larger than a row can be', args[1]);
    WHEN 'array lengths' THEN
        said := 'keys and vals must have the same length';
        detail := format('There are %s keys and %s values.', args[1], args[2]);
    WHEN 'array dimensions' THEN said := args[1] || ' must be a one-dimensional array';
    WHEN 'permission denied' THEN
        state := '42501';
        said := format('permission denied for table %s', args[1]);
        hint := format('Access to a cache is granted on its table: GRANT %s ON %s TO the role.', args[2], args[1]);
    WHEN 'write in recovery' THEN
        state := '25006';
        said := 'cannot write to a cache during recovery';
        hint := 'Connect to the primary to write to a cache.';
    WHEN 'read in recovery' THEN
        state := '25006';
        said := format('cannot read cache "%s" during recovery: it is not durable', args[1]);
        hint := 'Read on the primary, or set pg_stash.on_standby to miss.';
    WHEN 'invalid lease' THEN
        said := 'invalid lease';
        hint := 'Pass what cache.claim() returned as lease, in the same database.';
    WHEN 'long lease' THEN said := 'lease must not be longer than one hour';
    WHEN 'lease used' THEN
        said := 'lease has been used';
        hint := 'Claim the key anew to make another value.';
    WHEN 'not watched' THEN
        state := '55000';
        said := format('table %s is not watched', args[1]);
        hint := format('Run SELECT cache.watch(%L), or say with ttl or tags how long the result is good.', args[1]);
    WHEN 'args no array' THEN
        said := 'args must be a jsonb array';
        hint := 'Pass the parameters $1, $2, … as a jsonb array, such as ''[42, "Ada"]''.';
    WHEN 'args count' THEN said := format('the query has %s parameters, and args has %s elements', args[1], args[2]);
    WHEN 'no query' THEN said := 'sql must be one query that returns rows';
    WHEN 'volatile function' THEN
        said := 'cannot remember a query that calls volatile function ' || args[1];
        hint := 'What the query returns must depend on nothing but tables and parameters. Pass what varies as args.';
    WHEN 'session function' THEN
        said := format('cannot remember a query that calls function %s, whose result may depend on the session', args[1]);
        hint := 'Pass what the session knows as args, or a key that tells apart whatever the function''s result depends on.';
    WHEN 'time function' THEN
        said := format('cannot remember a query that calls function %s, whose result depends on the time', args[1]);
        hint := 'Say with ttl how long the result is good, or pass the time as args.';
    WHEN 'temporary table' THEN said := format('cannot remember a query that reads temporary table %s', args[1]);
    WHEN 'key with row security' THEN
        said := format('key must be null: row-level security is enabled on table %s', args[1]);
        hint := 'Leave key out: the key is then made for each user.';
    WHEN 'locks rows' THEN state := '0A000'; said := 'cannot remember a query that locks rows';
    WHEN 'no such relation' THEN state := '42P01'; said := format('relation with OID %s does not exist', args[1]);
    WHEN 'not watchable' THEN
        state := '42809';
        said := format('cannot watch "%s": it is not a table', args[1]);
        hint := 'Watch the tables that it is made from.';
    WHEN 'watch in one snapshot' THEN
        state := '25001';
        said := 'cannot watch a table in a transaction that keeps one snapshot';
        hint := 'Use the isolation level READ COMMITTED.';
    WHEN 'not in a tag' THEN
        said := format('column "%s" of type %s cannot be part of a tag', args[1], args[2]);
        hint := 'The text of its values depends on settings of the session.';
    WHEN 'no such column' THEN
        state := '42703';
        said := format('column "%s" of relation "%s" does not exist', args[1], args[2]);
        hint := 'In a tag, braces stand for the value of a column of the table.';
    WHEN 'no column of row' THEN
        state := '42703';
        said := format('column "%s" of watched table does not exist', args[1]);
        hint := 'In a tag, braces stand for the value of a column of the table.';
    END CASE;
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, DETAIL = detail;
    END IF;
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, DETAIL = detail, HINT = hint;
END $body$;
COMMENT ON FUNCTION cache._error(text, text[]) IS 'raises an error of pg_stash';

-- From arguments that may be anything to ones that can be worked with.

CREATE OR REPLACE FUNCTION cache._check_key(key text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF key IS NULL THEN
        PERFORM cache._error('null key');
    ELSIF octet_length(key) = 0 THEN
        PERFORM cache._error('empty key');
    ELSIF octet_length(key) > 1024 THEN
        PERFORM cache._error('long key', octet_length(key)::text);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_key(text) IS 'raises an error unless a key has 1 to 1024 bytes';

CREATE OR REPLACE FUNCTION cache._check_keys(keys text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    key text;
BEGIN
    IF keys IS NULL THEN
        PERFORM cache._error('null argument', 'keys');
    ELSIF array_ndims(keys) > 1 THEN
        PERFORM cache._error('array dimensions', 'keys');
    END IF;
    FOREACH key IN ARRAY keys LOOP
        IF key IS NULL OR octet_length(key) NOT BETWEEN 1 AND 1024 THEN
            PERFORM cache._check_key(key);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._check_keys(text[]) IS 'raises an error unless the keys of a batch can be keys';

CREATE OR REPLACE FUNCTION cache._check_tags(tags text[], key text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF array_ndims(tags) > 1 THEN
        PERFORM cache._error('array dimensions', 'tags');
    ELSIF array_position(tags, NULL) IS NOT NULL THEN
        PERFORM cache._error('null tag');
    ELSIF array_position(tags, '') IS NOT NULL THEN
        PERFORM cache._error('empty tag');
    ELSIF pg_column_size(tags) - 4 > 1900 - octet_length(key) THEN
        PERFORM cache._error('long tags', (pg_column_size(tags) - 4)::text, (1900 - octet_length(key))::text);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_tags(text[], text) IS 'raises an error unless the tags of an entry can be tags';

-- The bits of a ttl that means "never" are those of the interval 'infinity', which PostgreSQL has from version 17 on.
CREATE OR REPLACE FUNCTION cache.never() RETURNS interval
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        RETURN 'infinity'::interval;
    END IF;
    RETURN '178956970 years 7 months 2147483647 days 2562047788:00:54.775807'::interval;
END $body$;

-- When an entry written now expires. Months and days are those of the calendar.
CREATE OR REPLACE FUNCTION cache._expiry(ttl interval, what text DEFAULT 'ttl') RETURNS timestamptz
LANGUAGE plpgsql AS $body$
DECLARE
    now timestamptz := pg_catalog.clock_timestamp();
    expires_at timestamptz;
BEGIN
    IF $1 OPERATOR(pg_catalog.>) '10000 days'::pg_catalog.interval THEN
        IF $1 OPERATOR(pg_catalog.=) cache.never() THEN
            RETURN 'infinity';
        END IF;
        BEGIN
            expires_at := now OPERATOR(pg_catalog.+) $1;
        EXCEPTION WHEN datetime_field_overflow THEN
            PERFORM cache._error('ttl range');
        END;
    ELSIF $1 OPERATOR(pg_catalog.>) '-10000 days'::pg_catalog.interval THEN
        expires_at := now OPERATOR(pg_catalog.+) $1;
    END IF;
    -- The calendar does not reach as far back as an interval.
    IF expires_at IS NULL OR expires_at OPERATOR(pg_catalog.<=) now THEN
        PERFORM cache._error(CASE WHEN $2 OPERATOR(pg_catalog.=) 'ttl' THEN 'ttl not positive' ELSE 'fresh not positive' END);
    END IF;
    RETURN expires_at;
END $body$;
COMMENT ON FUNCTION cache._expiry(interval, text) IS 'when an entry written now expires';

-- Until when a value needs no other; NULL: until it expires.
CREATE OR REPLACE FUNCTION cache._fresh_until(fresh interval, expires_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    fresh_until timestamptz := cache._expiry(fresh, 'fresh');
BEGIN
    IF fresh_until = 'infinity' THEN
        RETURN NULL;
    ELSIF fresh_until > expires_at THEN
        PERFORM cache._error('fresh beyond ttl');
    END IF;
    RETURN fresh_until;
END $body$;
COMMENT ON FUNCTION cache._fresh_until(interval, timestamptz) IS 'until when a value written now needs no other';

-- Every key that starts with a prefix is between the prefix and this.
CREATE OR REPLACE FUNCTION cache._prefix_end(prefix text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        RETURN prefix || repeat(chr(1114111), 256);
    END IF;
    RETURN prefix || repeat(chr(255), 1024);
END $body$;
COMMENT ON FUNCTION cache._prefix_end(text) IS 'a text not before any key that starts with a prefix';

-- Whether a call may go on. PostgreSQL itself checks privileges too; these are here for the same message and hint as the
-- native edition's. The functions of entries run with the rights of whoever calls them.

CREATE OR REPLACE FUNCTION cache._table(cache text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN $1 OPERATOR(pg_catalog.=) 'default' THEN 'entries' ELSE pg_catalog.concat('entries_', $1) END
$body$;
COMMENT ON FUNCTION cache._table(text) IS 'the name of a cache''s table';

CREATE OR REPLACE FUNCTION cache._is_enabled() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN coalesce(nullif(current_setting('pg_stash.enabled', true), ''), 'on')::boolean;
END $body$;
COMMENT ON FUNCTION cache._is_enabled() IS 'the setting pg_stash.enabled';

CREATE OR REPLACE FUNCTION cache._check_privileges(cache text, VARIADIC needed text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text := 'cache.' || cache._table($1);
    privilege text;
BEGIN
    FOREACH privilege IN ARRAY needed LOOP
        IF NOT has_table_privilege(name, privilege) THEN
            PERFORM cache._error('permission denied', name, privilege);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._check_privileges(text, text[]) IS 'raises an error where the current user lacks a privilege';

-- False: every read is a miss.
CREATE OR REPLACE FUNCTION cache._may_read(cache text, durable boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._check_privileges(cache, 'SELECT');
    IF NOT cache._is_enabled() THEN
        RETURN false;
    ELSIF pg_is_in_recovery() AND NOT durable THEN
        IF current_setting('pg_stash.on_standby', true) = 'error' THEN
            PERFORM cache._error('read in recovery', cache);
        END IF;
        RETURN false;
    END IF;
    RETURN true;
END $body$;
COMMENT ON FUNCTION cache._may_read(text, boolean) IS 'whether a read may find anything';

-- False: every write is dropped.
CREATE OR REPLACE FUNCTION cache._may_write(cache text, VARIADIC needed text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    PERFORM cache._check_privileges(cache, VARIADIC needed);
    RETURN cache._is_enabled();
END $body$;
COMMENT ON FUNCTION cache._may_write(text, text[]) IS 'whether a write is to happen';

-- A cache that a call names, for the functions that work on a whole table.
CREATE OR REPLACE FUNCTION cache._known(cache text) RETURNS cache.caches
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    policy cache.caches;
BEGIN
    IF cache IS NULL THEN
        PERFORM cache._error('null argument', 'cache');
    END IF;
    SELECT * INTO policy FROM cache.caches AS c WHERE c.name = cache;
    IF NOT FOUND THEN
        PERFORM cache._error('no such cache', cache);
    END IF;
    RETURN policy;
END $body$;
COMMENT ON FUNCTION cache._known(text) IS 'the policy of a cache; an error where there is none';

CREATE OR REPLACE FUNCTION cache._no_such_cache(cache text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF cache IS NULL THEN
        PERFORM cache._error('null argument', 'cache');
    END IF;
    PERFORM cache._error('no such cache', cache);
END $body$;
COMMENT ON FUNCTION cache._no_such_cache(text) IS 'raises an error about a name that is no cache''s';

CREATE OR REPLACE FUNCTION cache._wrong_form(key text, cache text, wanted text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._error('wrong form', key, cache._kind(key, cache), wanted);
END $body$;
COMMENT ON FUNCTION cache._wrong_form(text, text, text) IS 'raises an error about an entry that is of another type';

CREATE OR REPLACE FUNCTION cache._kind(key text, cache text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    kind text;
BEGIN
    EXECUTE format($$
        SELECT CASE WHEN value_text IS NOT NULL THEN 'text' WHEN value_json IS NOT NULL THEN 'jsonb'
            WHEN value_bytes IS NOT NULL THEN 'bytea' ELSE 'bigint' END
        FROM cache.%I WHERE key = $1$$, cache._table(cache)) INTO kind USING key;
    RETURN kind;
END $body$;
COMMENT ON FUNCTION cache._kind(text, text) IS 'the type of an entry''s value';

-- The order between values and invalidations, without shared memory.
--
-- An invalidation is a row with its transaction's ID, which others see from the moment at which they see what that
-- transaction has changed. An entry with tags keeps a snapshot that is not newer than the data that it was made from
-- (its basis). It is live only while every invalidation of its tags that a reader sees is in its basis.
--
-- The surface speaks of times, so times have to be turned into snapshots. A moment is a snapshot and a time that was
-- read after it was taken: what the snapshot sees had been committed by then. What was read after the moment's time
-- has seen all of that. So the newest moment whose time is not after as_of is a basis for a value of as_of. An older
-- one is as right, and only makes the entry miss sooner. Moments are noted where it matters: by cache.clock(), by
-- cache.claim(), and by those who meet an entry that an invalidation has hit.
--
-- The horizon is where this history begins. Rows whose transaction IDs are of another cluster (a restore), or which are
-- there without the ones that belong to them (after a crash, which empties these tables), must not be believed: the
-- horizon's row tells, because it knows the ID of the transaction that wrote it.

CREATE UNLOGGED TABLE IF NOT EXISTS cache._invalidations (
    tag      text COLLATE "C" NOT NULL,
    xid      xid8 NOT NULL,
    is_bound boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE UNIQUE INDEX IF NOT EXISTS _invalidations_tag ON cache._invalidations (tag, xid, is_bound);
CREATE INDEX IF NOT EXISTS _invalidations_xid ON cache._invalidations (xid);
COMMENT ON TABLE cache._invalidations IS 'what has been invalidated, by transactions';
COMMENT ON COLUMN cache._invalidations.tag IS 'the tag; empty: all tags';
COMMENT ON COLUMN cache._invalidations.xid IS 'the transaction that has invalidated it';
COMMENT ON COLUMN cache._invalidations.is_bound IS 'whether it stands for others of the tag that came before, too';
COMMENT ON INDEX cache._invalidations_tag IS 'for reads of entries; of a tag each transaction notes one';
COMMENT ON INDEX cache._invalidations_xid IS 'for what a moment does not see';

CREATE UNLOGGED TABLE IF NOT EXISTS cache._moments (
    at       timestamptz NOT NULL,
    snapshot pg_snapshot NOT NULL
);
CREATE INDEX IF NOT EXISTS _moments_at ON cache._moments (at);
COMMENT ON TABLE cache._moments IS 'snapshots, and times by which all that each sees had been committed';
COMMENT ON COLUMN cache._moments.at IS 'a time after the snapshot was taken';
COMMENT ON COLUMN cache._moments.snapshot IS 'what had been committed by then';
COMMENT ON INDEX cache._moments_at IS 'for the newest moment before a time';

CREATE UNLOGGED TABLE IF NOT EXISTS cache._horizon (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    at     timestamptz NOT NULL,
    xid    xid8 NOT NULL,
    made   xid
);
COMMENT ON TABLE cache._horizon IS 'where the history of invalidations begins; one row';
COMMENT ON COLUMN cache._horizon.is_one IS 'always true';
COMMENT ON COLUMN cache._horizon.at IS 'values of before that time are not current';
COMMENT ON COLUMN cache._horizon.xid IS 'invalidations of before that transaction are not kept: a basis has to see all of them';
COMMENT ON COLUMN cache._horizon.made IS 'the transaction that has written the row: another one has restored it from elsewhere';

-- Whether a basis sees an invalidation. One that stands for others is seen where all of them certainly are.
CREATE OR REPLACE FUNCTION cache._sees(basis pg_snapshot, xid xid8, is_bound boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN $3 THEN $2 OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmin($1)
        ELSE pg_catalog.pg_visible_in_snapshot($2, $1) END
$body$;
COMMENT ON FUNCTION cache._sees(pg_snapshot, xid8, boolean) IS 'whether a snapshot sees an invalidation';

-- STABLE: it looks with the snapshot of the statement that reads the entry, so that both are of one time. Every read of an entry
-- with tags comes here: it is planned once, and by the index, which leads to those that a snapshot may not see.
CREATE OR REPLACE FUNCTION cache._is_current(tags text[], basis pg_snapshot, as_of timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET random_page_cost = 0 AS $body$
BEGIN
    -- On a standby there is nothing to look at. Tags that were spoilt by hand are as good as invalidated.
    IF pg_is_in_recovery() OR basis IS NULL OR array_ndims(tags) IS DISTINCT FROM 1
        OR array_position(tags, NULL) IS NOT NULL
    THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM cache._horizon AS h
        WHERE h.made = h.xmin AND h.at <= as_of AND h.xid <= pg_snapshot_xmin(basis)
    ) AND NOT EXISTS (
        SELECT FROM cache._invalidations AS i
        WHERE i.tag = ANY (tags || ''::text) AND i.xid >= pg_snapshot_xmin(basis) AND NOT cache._sees(basis, i.xid, i.is_bound)
    );
END $body$;
COMMENT ON FUNCTION cache._is_current(text[], pg_snapshot, timestamptz) IS 'whether nothing that an entry depends on has been invalidated since';

-- What is committed now. The transaction's own changes are not: its own invalidations hit what it stores, too.
CREATE OR REPLACE FUNCTION cache._snapshot() RETURNS pg_snapshot
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    taken pg_snapshot := pg_current_snapshot();
    own xid8 := pg_current_xact_id_if_assigned();
BEGIN
    IF own IS NULL OR own >= pg_snapshot_xmax(taken) THEN
        RETURN taken;
    END IF;
    RETURN concat_ws(':', pg_snapshot_xmin(taken), pg_snapshot_xmax(taken), (
        SELECT string_agg(xid::text, ',' ORDER BY xid)
        FROM (SELECT pg_snapshot_xip(taken) UNION SELECT own) AS running (xid)
    ))::pg_snapshot;
END $body$;
COMMENT ON FUNCTION cache._snapshot() IS 'a snapshot in which the current transaction has not committed';

CREATE OR REPLACE FUNCTION cache._has_one_snapshot() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
END $body$;
COMMENT ON FUNCTION cache._has_one_snapshot() IS 'whether the isolation level keeps one snapshot';

CREATE OR REPLACE FUNCTION cache._may_note() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean
        AND NOT cache._has_one_snapshot();
END $body$;
COMMENT ON FUNCTION cache._may_note() IS 'whether the transaction may write to the internal tables';

-- Begins the history anew: what there was of it is not of this cluster, or not whole.
CREATE OR REPLACE FUNCTION cache._begin_history() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    taken pg_snapshot;
    seen_at timestamptz;
    begins_with xid8;
BEGIN
    IF EXISTS (SELECT FROM cache._horizon AS h WHERE h.made = h.xmin) OR NOT cache._may_note() THEN
        RETURN;
    END IF;
    DELETE FROM cache._horizon;
    DELETE FROM cache._moments;
    DELETE FROM cache._invalidations;
    taken := cache._snapshot();
    seen_at := clock_timestamp();
    -- A basis has to see those that were deleted here, whose transaction IDs are all below the snapshot's end.
    begins_with := CASE WHEN FOUND THEN pg_snapshot_xmax(taken) ELSE pg_snapshot_xmin(taken) END;
    INSERT INTO cache._horizon (at, xid) VALUES (seen_at, begins_with) ON CONFLICT DO NOTHING;
    UPDATE cache._horizon SET made = xmin WHERE made IS NULL;
    INSERT INTO cache._moments (at, snapshot) VALUES (seen_at, taken);
END $body$;
COMMENT ON FUNCTION cache._begin_history() IS 'begins the history of invalidations, unless there is one';
DO $$ BEGIN PERFORM cache._begin_history(); END $$;

-- Notes a moment, if there are invalidations that the newest one does not see, or has to see. The snapshot comes first, the time second.
CREATE OR REPLACE FUNCTION cache._note_moment() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    own xid8 := pg_current_xact_id_if_assigned();
    newest pg_snapshot;
    taken pg_snapshot;
BEGIN
    IF NOT cache._may_note() THEN
        RETURN;
    END IF;
    PERFORM cache._begin_history();
    SELECT m.snapshot INTO newest FROM cache._moments AS m ORDER BY m.at DESC LIMIT 1;
    IF FOUND AND NOT EXISTS (SELECT FROM cache._horizon AS h WHERE h.xid > pg_snapshot_xmin(newest)) AND NOT EXISTS (
        SELECT FROM cache._invalidations AS i
        WHERE i.xid >= pg_snapshot_xmin(newest) AND i.xid IS DISTINCT FROM own
            AND NOT cache._sees(newest, i.xid, i.is_bound)
    ) THEN
        RETURN;
    END IF;
    taken := cache._snapshot();
    INSERT INTO cache._moments (at, snapshot) VALUES (clock_timestamp(), taken);
END $body$;
COMMENT ON FUNCTION cache._note_moment() IS 'notes what is committed now, where the newest moment does not tell';

-- What a value of a time can be based on: nothing, if it is of before the history began.
CREATE OR REPLACE FUNCTION cache._basis(as_of timestamptz, OUT basis pg_snapshot, OUT at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    SELECT m.snapshot, m.at INTO basis, at
    FROM cache._moments AS m, cache._horizon AS h
    WHERE m.at <= as_of AND m.at >= h.at AND h.made = h.xmin
    ORDER BY m.at DESC LIMIT 1;
END $body$;
COMMENT ON FUNCTION cache._basis(timestamptz) IS 'the newest moment not after a time';

CREATE OR REPLACE FUNCTION cache.clock() RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF cache._has_one_snapshot() THEN
        RETURN transaction_timestamp();
    END IF;
    PERFORM cache._note_moment();
    RETURN clock_timestamp();
END $body$;

-- Invalidations are appended, never updated: those who invalidate the same tag do not wait for each other.

CREATE OR REPLACE FUNCTION cache._invalidate(tags text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    own xid8 := pg_current_xact_id();
BEGIN
    -- Once for each tag and transaction. What a savepoint has taken back is not there any more, and is noted again.
    INSERT INTO cache._invalidations (tag, xid)
    SELECT t.tag, own FROM unnest(tags) AS t (tag) ON CONFLICT DO NOTHING;
    IF random() < 0.002 THEN
        PERFORM cache._compact();
    END IF;
END $body$;
COMMENT ON FUNCTION cache._invalidate(text[]) IS 'notes tags that are invalid once the transaction has committed';

CREATE OR REPLACE FUNCTION cache.invalidate(VARIADIC tags text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    ELSIF tags IS NULL OR array_position(tags, NULL) IS NOT NULL THEN
        PERFORM cache._error('null tag');
    ELSIF array_position(tags, '') IS NOT NULL THEN
        PERFORM cache._error('empty tag');
    ELSIF cardinality(tags) > 0 THEN
        PERFORM cache._invalidate(tags);
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache.invalidate_all() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    -- The empty tag stands for all.
    PERFORM cache._invalidate(ARRAY['']);
END $body$;

-- Of each tag one old invalidation is kept, which then stands for all before it. Old ones are those of transactions that
-- ended before every transaction that ran some seconds ago: entries of since then have a basis that sees all of them. Where so many tags are left that
-- the table would grow for ever, the horizon moves up, and older entries are misses.
CREATE OR REPLACE FUNCTION cache._compact() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    kept CONSTANT integer := 100000;
    horizon xid8;
    ended xid8;
BEGIN
    -- Once in a transaction: one that invalidates very much has nothing new to forget.
    IF NOT cache._may_note() OR EXISTS (
        SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.pid = pg_backend_pid()
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND (l.classid, l.objid, l.objsubid) = (hashtext('pg_stash')::oid, 0::oid, 2)
    ) THEN
        RETURN;
    END IF;
    PERFORM cache._note_moment();
    IF NOT pg_try_advisory_xact_lock(hashtext('pg_stash'), 0) THEN
        RETURN;
    END IF;
    SELECT pg_snapshot_xmin(m.snapshot) INTO ended FROM cache._moments AS m
    WHERE m.at < clock_timestamp() - interval '5 seconds' ORDER BY m.at DESC LIMIT 1;
    WITH newest AS (
        SELECT DISTINCT ON (i.tag) i.tag, i.xid
        FROM (SELECT tag, xid, count(*) OVER (PARTITION BY tag) AS count FROM cache._invalidations WHERE xid < ended) AS i
        WHERE i.count > 1
        ORDER BY i.tag, i.xid DESC
    ), gone AS (
        DELETE FROM cache._invalidations AS i USING newest AS n WHERE i.tag = n.tag AND i.xid <= n.xid
    )
    INSERT INTO cache._invalidations (tag, xid, is_bound) SELECT tag, xid, true FROM newest;

    SELECT i.xid INTO horizon FROM cache._invalidations AS i WHERE i.xid < ended ORDER BY i.xid DESC OFFSET kept LIMIT 1;
    IF FOUND THEN
        -- Those with the same transaction ID go together. One row more than what is kept makes half of it go.
        SELECT i.xid INTO horizon FROM cache._invalidations AS i WHERE i.xid < ended
        ORDER BY i.xid DESC OFFSET kept / 2 LIMIT 1;
        UPDATE cache._horizon SET xid = horizon WHERE xid < horizon;
        UPDATE cache._horizon AS h SET made = h.xmin WHERE h.xid = horizon;
        DELETE FROM cache._invalidations WHERE xid < horizon;
    END IF;
    DELETE FROM cache._moments WHERE at < (
        SELECT max(at) FROM cache._moments WHERE at < clock_timestamp() - interval '10 minutes');
END $body$;
COMMENT ON FUNCTION cache._compact() IS 'forgets invalidations that nobody needs to know of one by one';

-- Whether a value is too large for the budget of its cache.
CREATE OR REPLACE FUNCTION cache._check_size(key text, tags text[], bytes bigint, max_size bigint, cache text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    size bigint := octet_length(key) + bytes + coalesce(pg_column_size(tags) - 4, 0);
BEGIN
    IF size > max_size THEN
        PERFORM cache._error('larger than budget', size::text, cache, max_size::text);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_size(text, text[], bigint, bigint, text) IS 'raises an error where an entry is larger than the budget';

-- Sweeping, without a process of its own: about one write in fifty looks at a few blocks, wherever chance takes it. cache.sweep()
-- looks at all of them. Neither waits for anybody.

-- What a row takes up, with what is stored out of line.
CREATE OR REPLACE FUNCTION cache._row_bytes() RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT '(44 + pg_column_size(e.key) + coalesce(pg_column_size(e.value_text), pg_column_size(e.value_json), '
        'pg_column_size(e.value_bytes), 8) + CASE WHEN e.tags IS NULL THEN 0 ELSE 8 + pg_column_size(e.tags) + pg_column_size(e.basis) END)::bigint'::pg_catalog.text
$body$;
COMMENT ON FUNCTION cache._row_bytes() IS 'an expression for the bytes of an entry';

CREATE OR REPLACE FUNCTION cache._blocks(cache text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN pg_relation_size(to_regclass('cache.' || cache._table($1))) / current_setting('block_size')::bigint;
END $body$;
COMMENT ON FUNCTION cache._blocks(text) IS 'the size of a cache''s table in blocks';

-- About how many entries there are: PostgreSQL's own count, which other sessions bring up to date each second, and what this
-- one has not told yet. 0: not known.
CREATE OR REPLACE FUNCTION cache._entries_about(cache text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    relation oid := to_regclass('cache.' || cache._table($1));
BEGIN
    RETURN pg_stat_get_live_tuples(relation) + pg_stat_get_xact_tuples_inserted(relation) - pg_stat_get_xact_tuples_deleted(relation);
END $body$;
COMMENT ON FUNCTION cache._entries_about(text) IS 'about how many entries there are in a cache';

-- A range of blocks of a cache, as a part of a write that may not delete: only what has expired or been invalidated.
CREATE OR REPLACE FUNCTION cache._sweep_piece(cache text, first bigint, next bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._sweep_blocks($1, $2, $3, NULL, NULL, NULL, NULL);
END $body$;
COMMENT ON FUNCTION cache._sweep_piece(text, bigint, bigint) IS 'sweeps a range of blocks, as a part of a write';

-- A whole cache.
CREATE OR REPLACE FUNCTION cache._sweep_cache(cache text, OUT scanned bigint, OUT expired bigint, OUT evicted bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    policy cache.caches;
BEGIN
    SELECT * INTO policy FROM cache.caches AS c WHERE c.name = $1;
    SELECT s.* INTO scanned, expired, evicted
    FROM cache._sweep_blocks($1, 0, cache._blocks($1), NULL, policy.max_entries, policy.max_size, NULL) AS s;
END $body$;
COMMENT ON FUNCTION cache._sweep_cache(text) IS 'sweeps a cache';

-- A piece of the work in a cache that may be over its budget, after so many writes. A small table is looked at as a whole. Of
-- a large one it is a few blocks, and more of them until more has gone than came.
CREATE OR REPLACE FUNCTION cache._evict_piece(cache text, writes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    policy cache.caches;
    total bigint := cache._blocks($1);
    count bigint := least(total, greatest(8, $2 / 10));
    entries bigint;
    first bigint;
    gone bigint := 0;
    swept record;
BEGIN
    IF total = 0 THEN
        RETURN;
    END IF;
    SELECT * INTO policy FROM cache.caches AS c WHERE c.name = $1;
    IF total <= 128 THEN
        count := total;
    END IF;
    FOR round IN 1 .. 32 LOOP
        entries := CASE WHEN count < total THEN nullif(cache._entries_about($1), 0) END;
        first := floor(random() * (total - count + 1))::bigint;
        -- Without a count the blocks are held to their share of the budget.
        swept := cache._sweep_blocks($1, first, first + count, entries,
            CASE WHEN entries IS NULL THEN policy.max_entries * count / total ELSE policy.max_entries END,
            CASE WHEN entries IS NULL THEN (policy.max_size::numeric * count / total)::bigint ELSE policy.max_size END,
            CASE WHEN count < total THEN 3 * $2 - gone END);
        gone := gone + swept.evicted;
        EXIT WHEN count = total OR gone >= 2 * $2 OR swept.scanned > 0 AND swept.evicted = 0;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._evict_piece(text, bigint) IS 'sweeps a few blocks of a cache that may be over its budget';

CREATE UNLOGGED TABLE IF NOT EXISTS cache._passes (
    is_one   boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    started  timestamptz NOT NULL,
    duration interval NOT NULL,
    scanned  bigint NOT NULL,
    expired  bigint NOT NULL,
    evicted  bigint NOT NULL
);
COMMENT ON TABLE cache._passes IS 'the last call of cache.sweep(); one row';
COMMENT ON COLUMN cache._passes.is_one IS 'always true';
COMMENT ON COLUMN cache._passes.started IS 'when it began';
COMMENT ON COLUMN cache._passes.duration IS 'how long it took';
COMMENT ON COLUMN cache._passes.scanned IS 'row versions that it looked at';
COMMENT ON COLUMN cache._passes.expired IS 'expired entries that it removed';
COMMENT ON COLUMN cache._passes.evicted IS 'entries that it removed to keep caches within their budgets';

CREATE OR REPLACE FUNCTION cache._note_pass(started timestamptz, scanned bigint, expired bigint, evicted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF pg_try_advisory_xact_lock(hashtext('pg_stash'), 2) AND NOT cache._has_one_snapshot() THEN
        INSERT INTO cache._passes (started, duration, scanned, expired, evicted)
        VALUES ($1, clock_timestamp() - $1, $2, $3, $4)
        ON CONFLICT (is_one) DO UPDATE SET started = excluded.started, duration = excluded.duration,
            scanned = excluded.scanned, expired = excluded.expired, evicted = excluded.evicted;
    END IF;
END $body$;
COMMENT ON FUNCTION cache._note_pass(timestamptz, bigint, bigint, bigint) IS 'notes what a call of cache.sweep() did';

CREATE OR REPLACE FUNCTION cache._sweep(which text)
RETURNS TABLE (cache text, scanned bigint, expired bigint, evicted bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    started timestamptz := clock_timestamp();
    swept record;
    policy record;
    totals bigint[] := '{0,0,0}';
BEGIN
    FOR policy IN SELECT p.* FROM cache._policies($1) AS p ORDER BY p.name LOOP
        CONTINUE WHEN NOT cache._may_write(policy.name, 'DELETE');
        swept := cache._sweep_cache(policy.name);
        totals := ARRAY[totals[1] + swept.scanned, totals[2] + swept.expired, totals[3] + swept.evicted];
        cache := policy.name;
        scanned := swept.scanned;
        expired := swept.expired;
        evicted := swept.evicted;
        RETURN NEXT;
    END LOOP;
    PERFORM cache._compact(), cache._note_pass(started, totals[1], totals[2], totals[3]);
END $body$;
COMMENT ON FUNCTION cache._sweep(text) IS 'sweeps one cache or all';

-- In SQL, because PL/pgSQL has no parameter and result of one name.
CREATE OR REPLACE FUNCTION cache.sweep(cache text DEFAULT NULL)
RETURNS TABLE (cache text, scanned bigint, expired bigint, evicted bigint)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT * FROM cache._sweep($1)
$body$;

CREATE OR REPLACE FUNCTION cache._policies(cache text) RETURNS SETOF cache.caches
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN QUERY SELECT c.* FROM cache.caches AS c WHERE $1 IS NULL OR c.name = $1;
    IF NOT FOUND AND $1 IS NOT NULL THEN
        PERFORM cache._no_such_cache($1);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._policies(text) IS 'the policy of one cache, or those of all';

-- The functions that work on the tables of caches. Their statements are static, so that sessions keep the plans, and the
-- policies are constants in them: a call looks up neither. So they are made anew whenever a cache comes, changes or goes.
-- A part between the lines "each cache" and "end" is repeated for each cache.

CREATE OR REPLACE FUNCTION cache._store() RETURNS SETOF text
LANGUAGE sql IMMUTABLE AS $store$
    SELECT $definitions$
-- Overwrites the value of a live entry if it is the expected one, of the same type. The tags stay.
CREATE OR REPLACE FUNCTION cache._swap(
    key text, expected_text text, expected_json jsonb, expected_bytes bytea, expected_int bigint,
    value_text text, value_json jsonb, value_bytes bytea, value_int bigint, ttl interval, cache text)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    new_expires_at timestamptz := 'infinity';
BEGIN
    PERFORM cache._check_key($1);
    IF num_nulls($2, $3, $4, $5) = 4 OR num_nulls($6, $7, $8, $9) = 4 THEN
        PERFORM cache._error('null value');
    END IF;
    -- each cache
    IF $11 = {name} THEN
        IF NOT cache._may_write($11, 'SELECT', 'UPDATE') THEN
            RETURN false;
        END IF;
        IF $10 IS NOT NULL OR {default_ttl} IS NOT NULL THEN
            new_expires_at := cache._expiry(coalesce($10, {default_ttl}));
        END IF;
        PERFORM cache._check_size($1, NULL, coalesce(octet_length($6), pg_column_size($7) - 4, octet_length($8), 8),
            {max_size}, $11);
        UPDATE cache.{table} AS e SET expires_at = new_expires_at, value_text = $6, value_json = $7, value_bytes = $8,
            value_int = $9, fresh_until = NULL, fill_micros = NULL
        WHERE e.key = $1 AND e.expires_at > clock_timestamp()
            AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))
            AND (e.value_text = $2 OR e.value_json = $3 OR e.value_bytes = $4 OR e.value_int = $5);
        RETURN FOUND;
    END IF;
    -- end
    PERFORM cache._no_such_cache($11);
END $body$;
COMMENT ON FUNCTION cache._swap(text, text, jsonb, bytea, bigint, text, jsonb, bytea, bigint, interval, text)
    IS 'overwrites a value that is the expected one, for all forms of compare_and_set';

-- Gives a live entry another expiry. NULL: the cache's default, else never.
CREATE OR REPLACE FUNCTION cache._reschedule(key text, ttl interval, cache text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    new_expires_at timestamptz := 'infinity';
BEGIN
    PERFORM cache._check_key($1);
    -- each cache
    IF $3 = {name} THEN
        IF NOT cache._may_write($3, 'SELECT', 'UPDATE') THEN
            RETURN false;
        END IF;
        IF $2 IS NOT NULL OR {default_ttl} IS NOT NULL THEN
            new_expires_at := cache._expiry(coalesce($2, {default_ttl}));
        END IF;
        UPDATE cache.{table} AS e SET expires_at = new_expires_at
        WHERE e.key = $1 AND e.expires_at > clock_timestamp()
            AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of));
        RETURN FOUND;
    END IF;
    -- end
    PERFORM cache._no_such_cache($3);
END $body$;
COMMENT ON FUNCTION cache._reschedule(text, interval, text) IS 'gives an entry another expiry';

-- Changes a counter that is there and has no tags, in as few steps as there can be. All else is for _count_or_begin(). The step
-- is numeric, because the negative of a bigint may be none.
CREATE OR REPLACE FUNCTION cache._count(key text, step numeric, ttl interval, initial bigint, cache text) RETURNS bigint
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    result bigint;
BEGIN
    -- each cache
    IF $5 OPERATOR(pg_catalog.=) {name} THEN
        IF $4 IS NOT NULL
            AND pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'SELECT')
            AND pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'INSERT')
            AND pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'UPDATE')
            AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
            AND ($3 IS NULL OR $3 OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval
                AND CURRENT_TIMESTAMP OPERATOR(pg_catalog.+) GREATEST($3, '0'::pg_catalog.interval)
                    OPERATOR(pg_catalog.>) CURRENT_TIMESTAMP)
        THEN
            UPDATE cache.{table} AS e
            SET value_int = e.value_int OPERATOR(pg_catalog.+) $2, fresh_until = NULL, fill_micros = NULL
            WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.tags IS NULL AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
                AND e.value_int OPERATOR(pg_catalog.+) $2 OPERATOR(pg_catalog.>=) -9223372036854775808
                AND e.value_int OPERATOR(pg_catalog.+) $2 OPERATOR(pg_catalog.<=) 9223372036854775807
            RETURNING e.value_int INTO result;
            IF FOUND THEN
                IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
                    PERFORM cache._upkeep($5);
                END IF;
                RETURN result;
            END IF;
        END IF;
    END IF;
    -- end
    RETURN cache._count_or_begin($1, $2, $3, $4, $5);
END $body$;
COMMENT ON FUNCTION cache._count(text, numeric, interval, bigint, text) IS 'changes a counter, for incr and decr';

-- Changes a counter, or makes one. Whether the counter has expired is judged once, at the call.
CREATE OR REPLACE FUNCTION cache._count_or_begin(key text, step numeric, ttl interval, initial bigint, cache text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    lowest CONSTANT bigint := -9223372036854775808;
    highest CONSTANT bigint := 9223372036854775807;
    now CONSTANT timestamptz := clock_timestamp();
    first CONSTANT bigint := CASE WHEN $4 + $2 BETWEEN lowest AND highest THEN $4 + $2 END;
    new_expires_at timestamptz := 'infinity';
    result bigint;
    kind text;
BEGIN
    PERFORM cache._check_key($1);
    IF $2 IS NULL THEN
        PERFORM cache._error('null argument', 'by');
    ELSIF $4 IS NULL THEN
        PERFORM cache._error('null argument', 'initial');
    END IF;
    -- each cache
    IF $5 = {name} THEN
        IF NOT cache._may_write($5, 'SELECT', 'INSERT', 'UPDATE') THEN
            IF first IS NULL THEN
                PERFORM cache._error('counter range', $1);
            END IF;
            RETURN first;
        END IF;
        IF $3 IS NOT NULL OR {default_ttl} IS NOT NULL THEN
            new_expires_at := cache._expiry(coalesce($3, {default_ttl}));
        END IF;
        -- Only where somebody else changes the entry between the statements does it take more than one round.
        LOOP
            IF first IS NOT NULL THEN
                INSERT INTO cache.{table} AS e (expires_at, key, value_int) VALUES (new_expires_at, $1, first)
                ON CONFLICT (key) DO UPDATE SET (expires_at, value_int, as_of, tags, basis) = (
                        SELECT coalesce(l.expires_at, excluded.expires_at), coalesce(e.value_int + l.step, excluded.value_int),
                            l.as_of, l.tags, l.basis
                        FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT $2 AS step, e.expires_at, e.as_of, e.tags, e.basis) AS l
                            ON e.expires_at > now AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))),
                    value_text = NULL, value_json = NULL, value_bytes = NULL, fresh_until = NULL, fill_micros = NULL
                WHERE e.value_int + $2 BETWEEN lowest AND highest
                    OR e.expires_at <= now OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of)
                RETURNING e.value_int INTO result;
            ELSE
                UPDATE cache.{table} AS e SET value_int = e.value_int + $2, fresh_until = NULL, fill_micros = NULL
                WHERE e.key = $1 AND e.expires_at > now AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))
                    AND e.value_int + $2 BETWEEN lowest AND highest
                RETURNING e.value_int INTO result;
            END IF;
            IF FOUND THEN
                IF random() < {chance} THEN
                    PERFORM cache._upkeep($5);
                END IF;
                RETURN result;
            END IF;
            kind := (
                SELECT cache._kind($1, $5) FROM cache.{table} AS e WHERE e.key = $1 AND e.expires_at > now
                    AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of)));
            IF kind <> 'bigint' THEN
                PERFORM cache._error('no counter', $1, kind);
            ELSIF kind IS NOT NULL OR first IS NULL THEN
                PERFORM cache._error('counter range', $1);
            END IF;
        END LOOP;
    END IF;
    -- end
    PERFORM cache._no_such_cache($5);
END $body$;
COMMENT ON FUNCTION cache._count_or_begin(text, numeric, interval, bigint, text) IS 'changes a counter, or makes one';

-- Deletes an entry. `is_live` is NULL where there was none, and false where it was not live.
CREATE OR REPLACE FUNCTION cache._remove(
    key text, cache text, VARIADIC needed text[], OUT is_live boolean, OUT value_text text, OUT value_json jsonb,
    OUT value_bytes bytea, OUT value_int bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    PERFORM cache._check_key($1);
    -- each cache
    IF $2 = {name} THEN
        IF NOT cache._may_write($2, VARIADIC $3) THEN
            RETURN;
        END IF;
        DELETE FROM cache.{table} AS e WHERE e.key = $1
        RETURNING e.expires_at > clock_timestamp() AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of)),
            e.value_text, e.value_json, e.value_bytes, e.value_int
        INTO is_live, value_text, value_json, value_bytes, value_int;
        PERFORM cache._end_leases($2, ARRAY[$1]);
        RETURN;
    END IF;
    -- end
    PERFORM cache._no_such_cache($2);
END $body$;
COMMENT ON FUNCTION cache._remove(text, text, text[]) IS 'deletes an entry, for delete and take';
$definitions$
    UNION ALL
    SELECT $definitions$
-- Not for parallel queries: one that meets an invalidated entry may note a moment. Privileges are for PostgreSQL to check.
CREATE OR REPLACE FUNCTION cache.get(key text, cache text DEFAULT 'default') RETURNS text
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    found_value text;
    is_current boolean;
BEGIN
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF NOT (pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery())
            AND NOT cache._may_read($2, {durable})
        THEN
            RETURN NULL;
        END IF;
        SELECT coalesce(e.value_text, e.value_json::pg_catalog.text, e.value_int::pg_catalog.text), e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of) INTO found_value, is_current
        FROM cache.{table} AS e
        WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
        IF is_current THEN
            IF found_value IS NULL THEN
                PERFORM cache._wrong_form($1, $2, 'text');
            END IF;
            RETURN found_value;
        ELSIF NOT is_current THEN
            PERFORM cache._note_moment();
        END IF;
        PERFORM cache._check_key($1);
        RETURN NULL;
    END IF;
    -- end
    PERFORM cache._check_key($1), cache._no_such_cache($2);
END $body$;
-- Not for parallel queries: one that meets an invalidated entry may note a moment. Privileges are for PostgreSQL to check.
CREATE OR REPLACE FUNCTION cache.get_json(key text, cache text DEFAULT 'default') RETURNS jsonb
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    found_value jsonb;
    is_current boolean;
BEGIN
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF NOT (pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery())
            AND NOT cache._may_read($2, {durable})
        THEN
            RETURN NULL;
        END IF;
        SELECT e.value_json, e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of) INTO found_value, is_current
        FROM cache.{table} AS e
        WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
        IF is_current THEN
            IF found_value IS NULL THEN
                PERFORM cache._wrong_form($1, $2, 'json');
            END IF;
            RETURN found_value;
        ELSIF NOT is_current THEN
            PERFORM cache._note_moment();
        END IF;
        PERFORM cache._check_key($1);
        RETURN NULL;
    END IF;
    -- end
    PERFORM cache._check_key($1), cache._no_such_cache($2);
END $body$;
-- Not for parallel queries: one that meets an invalidated entry may note a moment. Privileges are for PostgreSQL to check.
CREATE OR REPLACE FUNCTION cache.get_bytes(key text, cache text DEFAULT 'default') RETURNS bytea
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    found_value bytea;
    is_current boolean;
BEGIN
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF NOT (pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery())
            AND NOT cache._may_read($2, {durable})
        THEN
            RETURN NULL;
        END IF;
        SELECT e.value_bytes, e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of) INTO found_value, is_current
        FROM cache.{table} AS e
        WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
        IF is_current THEN
            IF found_value IS NULL THEN
                PERFORM cache._wrong_form($1, $2, 'bytes');
            END IF;
            RETURN found_value;
        ELSIF NOT is_current THEN
            PERFORM cache._note_moment();
        END IF;
        PERFORM cache._check_key($1);
        RETURN NULL;
    END IF;
    -- end
    PERFORM cache._check_key($1), cache._no_such_cache($2);
END $body$;
$definitions$
    UNION ALL
    SELECT $definitions$
-- Live entries, in the order of their keys.
CREATE OR REPLACE FUNCTION cache._peek_many(keys text[], cache text) RETURNS TABLE (
    key text, value_text text, value_json jsonb, value_bytes bytea, value_int bigint)
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    found_rows bigint := 0;
BEGIN
    IF $1 IS NULL OR pg_catalog.array_ndims($1) OPERATOR(pg_catalog.>) 1 THEN
        PERFORM cache._check_keys($1);
    END IF;
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'SELECT')
                AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
            OR cache._may_read($2, {durable})
        THEN
            RETURN QUERY
            SELECT e.key, e.value_text, e.value_json, e.value_bytes, e.value_int FROM cache.{table} AS e
            WHERE e.key OPERATOR(pg_catalog.=) ANY ($1)
                AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
                AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))
            ORDER BY e.key;
            GET DIAGNOSTICS found_rows = ROW_COUNT;
        END IF;
        -- What has been found is a key.
        IF found_rows OPERATOR(pg_catalog.<) pg_catalog.cardinality($1) THEN
            PERFORM cache._check_keys($1);
        END IF;
        RETURN;
    END IF;
    -- end
    PERFORM cache._check_keys($1), cache._no_such_cache($2);
END $body$;
COMMENT ON FUNCTION cache._peek_many(text[], text) IS 'the live entries under some keys';
$definitions$
    UNION ALL
    SELECT $definitions$
-- The live entry under a key, for functions that need more of it than its value. `is_live` is NULL where there is no entry,
-- and false where an invalidation has hit it.
CREATE OR REPLACE FUNCTION cache._peek(
    key text, cache text, OUT is_live boolean, OUT value_text text, OUT value_json jsonb, OUT value_bytes bytea,
    OUT value_int bigint, OUT expires_at timestamptz, OUT fresh_until timestamptz, OUT tags text[], OUT fill_micros bigint,
    OUT version text)
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
BEGIN
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF NOT (pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'SELECT')
                AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery())
            AND NOT cache._may_read($2, {durable})
        THEN
            PERFORM cache._check_key($1);
            RETURN;
        END IF;
        SELECT e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of), e.value_text, e.value_json, e.value_bytes,
            e.value_int, e.expires_at, e.fresh_until, e.tags, e.fill_micros, e.xmin::pg_catalog.text
        INTO is_live, value_text, value_json, value_bytes, value_int, expires_at, fresh_until, tags, fill_micros, version
        FROM cache.{table} AS e
        WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
        IF NOT FOUND THEN
            PERFORM cache._check_key($1);
        END IF;
        RETURN;
    END IF;
    -- end
    PERFORM cache._check_key($1), cache._no_such_cache($2);
END $body$;
COMMENT ON FUNCTION cache._peek(text, text) IS 'the live entry under a key';
$definitions$
    UNION ALL
    SELECT $definitions$
-- Stores a value: always, or on a condition: only where there is no live entry ('absent'), where there is one ('present'), or where there
-- is none but the version that a lease was taken for ('same'). Returns whether it did. Of the four values one is given.
CREATE OR REPLACE FUNCTION cache._put(
    key text, value_text text, value_json jsonb, value_bytes bytea, value_int bigint, ttl interval, fresh interval,
    tags text[], as_of timestamptz, cache text, condition text DEFAULT NULL, version text DEFAULT NULL,
    fill_micros bigint DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    chance double precision;
    policy_ttl interval;
    policy_size bigint;
    size bigint;
    new_expires_at timestamptz := 'infinity';
    new_fresh_until timestamptz;
    new_basis pg_catalog.pg_snapshot;
    based_at timestamptz;
    own_tags text[];
BEGIN
    IF $1 IS NULL OR pg_catalog.octet_length($1) OPERATOR(pg_catalog.>) 1024 OR $1 OPERATOR(pg_catalog.=) '' THEN
        PERFORM cache._check_key($1);
    ELSIF pg_catalog.num_nulls($2, $3, $4, $5) OPERATOR(pg_catalog.=) 4 THEN
        PERFORM cache._error('null value');
    END IF;
    -- each cache
    IF $10 OPERATOR(pg_catalog.=) {name} THEN
        IF NOT (pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'SELECT')
                AND pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege('cache.{table}'::pg_catalog.regclass, 'UPDATE')
                AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery())
            AND NOT cache._may_write($10, 'SELECT', 'INSERT', 'UPDATE')
        THEN
            RETURN $11 IS NULL OR $11 OPERATOR(pg_catalog.=) 'absent';
        END IF;
        chance := {chance};
        policy_ttl := {default_ttl};
        policy_size := {max_size};
    END IF;
    -- end
    IF chance IS NULL THEN
        PERFORM cache._no_such_cache($10);
    END IF;

    IF $6 IS NOT NULL OR policy_ttl IS NOT NULL THEN
        new_expires_at := cache._expiry(COALESCE($6, policy_ttl));
    END IF;
    IF $7 IS NOT NULL THEN
        new_fresh_until := cache._fresh_until($7, new_expires_at);
    END IF;
    IF $9 IS NOT NULL AND $9 OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN
        PERFORM cache._error('as_of in future');
    END IF;
    IF $8 IS NOT NULL AND pg_catalog.cardinality($8) OPERATOR(pg_catalog.>) 0 THEN
        PERFORM cache._check_tags($8, $1);
        own_tags := $8;
        -- Without as_of, a value is of the transaction's start.
        SELECT b.basis, b.at INTO new_basis, based_at FROM cache._basis(COALESCE($9, pg_catalog.transaction_timestamp())) AS b;
        IF NOT cache._is_current(own_tags, new_basis, based_at) THEN
            IF $11 OPERATOR(pg_catalog.=) 'same' THEN
                RETURN false;
            END IF;
            -- Nobody will read this value. The next one will do better.
            PERFORM cache._note_moment();
        END IF;
    END IF;
    size := COALESCE(pg_catalog.octet_length($2), pg_catalog.pg_column_size($3) OPERATOR(pg_catalog.-) 4,
        pg_catalog.octet_length($4), 8);
    IF size OPERATOR(pg_catalog.>) 1073739775 THEN
        PERFORM cache._error('too large', size::pg_catalog.text);
    END IF;
    IF policy_size IS NOT NULL AND size OPERATOR(pg_catalog.+) 3000 OPERATOR(pg_catalog.>) policy_size THEN
        PERFORM cache._check_size($1, own_tags, size, policy_size, $10);
    END IF;

    -- each cache
    IF $10 OPERATOR(pg_catalog.=) {name} THEN
        -- The common case has a statement without conditions, because it is faster.
        IF $11 IS NULL THEN
            INSERT INTO cache.{table} (expires_at, key, value_text, value_json, value_bytes, value_int, fresh_until, as_of, tags,
                fill_micros, basis)
            VALUES (new_expires_at, $1, $2, $3, $4, $5, new_fresh_until, based_at, own_tags, $13, new_basis)
            ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                fresh_until = excluded.fresh_until, as_of = excluded.as_of, tags = excluded.tags,
                fill_micros = excluded.fill_micros, basis = excluded.basis;
        ELSIF $11 OPERATOR(pg_catalog.=) 'present' THEN
            UPDATE cache.{table} AS e SET expires_at = new_expires_at, value_text = $2, value_json = $3, value_bytes = $4,
                value_int = $5, fresh_until = new_fresh_until, as_of = based_at, tags = own_tags, fill_micros = $13,
                basis = new_basis
            WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
                AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of));
        ELSIF $12 IS NOT NULL THEN
            -- Where the version is not there any more, somebody has deleted it.
            UPDATE cache.{table} AS e SET expires_at = new_expires_at, value_text = $2, value_json = $3, value_bytes = $4,
                value_int = $5, fresh_until = new_fresh_until, as_of = based_at, tags = own_tags, fill_micros = $13,
                basis = new_basis
            WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.xmin::pg_catalog.text OPERATOR(pg_catalog.=) $12;
        ELSE
            INSERT INTO cache.{table} AS e (expires_at, key, value_text, value_json, value_bytes, value_int, fresh_until,
                as_of, tags, fill_micros, basis)
            VALUES (new_expires_at, $1, $2, $3, $4, $5, new_fresh_until, based_at, own_tags, $13, new_basis)
            ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                fresh_until = excluded.fresh_until, as_of = excluded.as_of, tags = excluded.tags,
                fill_micros = excluded.fill_micros, basis = excluded.basis
            WHERE e.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
                OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of);
        END IF;
    END IF;
    -- end
    IF FOUND THEN
        -- The size of the table is looked at once for each hundredth of the budget that comes.
        IF pg_catalog.random() OPERATOR(pg_catalog.<) GREATEST(chance, 100.0 OPERATOR(pg_catalog.*) size OPERATOR(pg_catalog./) policy_size) THEN
            PERFORM cache._upkeep($10, 1);
        END IF;
        RETURN true;
    END IF;
    RETURN false;
END $body$;
COMMENT ON FUNCTION cache._put(text, text, jsonb, bytea, bigint, interval, interval, text[], timestamptz, text, text, text, bigint)
    IS 'stores a value, for all functions that store a single one';
$definitions$
    UNION ALL
    SELECT $definitions$
-- Stores each value under the key in the same place, in the order of the keys; of a repeated key the last. Returns the number
-- of entries written. Of the three arrays of values one is given.
CREATE OR REPLACE FUNCTION cache._put_many(
    keys text[], texts text[], jsons jsonb[], bytes bytea[], ttl interval, fresh interval, tags text[], as_of timestamptz,
    cache text)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    chance double precision;
    policy_ttl interval;
    policy_size bigint;
    new_expires_at timestamptz := 'infinity';
    new_fresh_until timestamptz;
    new_basis pg_snapshot;
    based_at timestamptz;
    own_tags text[];
    large_keys text[];
    large_sizes bigint[];
    size bigint;
    distinct_keys bigint := (SELECT count(DISTINCT k) FROM unnest($1) AS k);
BEGIN
    PERFORM cache._check_keys($1);
    IF num_nulls($2, $3, $4) = 3 THEN
        PERFORM cache._error('null argument', 'vals');
    ELSIF coalesce(array_ndims($2), array_ndims($3), array_ndims($4)) > 1 THEN
        PERFORM cache._error('array dimensions', 'vals');
    ELSIF cardinality($1) <> coalesce(cardinality($2), cardinality($3), cardinality($4)) THEN
        PERFORM cache._error('array lengths', cardinality($1)::text,
            coalesce(cardinality($2), cardinality($3), cardinality($4))::text);
    ELSIF array_position($2, NULL) IS NOT NULL OR array_position($4, NULL) IS NOT NULL
        OR EXISTS (SELECT FROM unnest($3) AS v WHERE v IS NULL)
    THEN
        PERFORM cache._error('null value');
    END IF;
    -- each cache
    IF $9 = {name} THEN
        IF NOT cache._may_write($9, 'SELECT', 'INSERT', 'UPDATE') THEN
            RETURN distinct_keys;
        END IF;
        chance := {chance};
        policy_ttl := {default_ttl};
        policy_size := {max_size};
    END IF;
    -- end
    IF chance IS NULL THEN
        PERFORM cache._no_such_cache($9);
    END IF;

    IF $5 IS NOT NULL OR policy_ttl IS NOT NULL THEN
        new_expires_at := cache._expiry(coalesce($5, policy_ttl));
    END IF;
    IF $6 IS NOT NULL THEN
        new_fresh_until := cache._fresh_until($6, new_expires_at);
    END IF;
    IF $8 > clock_timestamp() THEN
        PERFORM cache._error('as_of in future');
    END IF;
    IF cardinality($7) > 0 THEN
        PERFORM cache._check_tags($7, k) FROM unnest($1) AS k;
        own_tags := $7;
        SELECT b.basis, b.at INTO new_basis, based_at FROM cache._basis(coalesce($8, transaction_timestamp())) AS b;
        IF NOT cache._is_current(own_tags, new_basis, based_at) THEN
            PERFORM cache._note_moment();
        END IF;
    END IF;
    IF policy_size IS NOT NULL THEN
        SELECT array_agg(s.k) FILTER (WHERE s.size + 3000 > policy_size), array_agg(s.size) FILTER (WHERE s.size + 3000 > policy_size), sum(s.size)
        INTO large_keys, large_sizes, size
        FROM (
            SELECT v.k, coalesce(octet_length(v.t), pg_column_size(v.j) - 4, octet_length(v.b))::bigint AS size
            FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4)) AS v (k, t, j, b)
        ) AS s;
        PERFORM cache._check_size(l.k, own_tags, l.size, policy_size, $9) FROM unnest(large_keys, large_sizes) AS l (k, size);
    END IF;

    -- each cache
    IF $9 = {name} THEN
        INSERT INTO cache.{table} AS e (expires_at, key, value_text, value_json, value_bytes, fresh_until, as_of, tags, basis)
        SELECT new_expires_at, v.k, v.t, v.j, v.b, new_fresh_until, based_at, own_tags, new_basis
        FROM (
            SELECT DISTINCT ON (u.k COLLATE "C") u.* FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4))
                WITH ORDINALITY AS u (k, t, j, b, place)
            ORDER BY u.k COLLATE "C", u.place DESC
        ) AS v
        ORDER BY v.k COLLATE "C"
        ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
            value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = NULL,
            fresh_until = excluded.fresh_until, as_of = excluded.as_of, tags = excluded.tags, fill_micros = NULL,
            basis = excluded.basis;
    END IF;
    -- end
    -- The size of the table is looked at once for each hundredth of the budget that comes.
    IF random() < greatest(chance * distinct_keys, 100.0 * size / policy_size) THEN
        PERFORM cache._upkeep($9, distinct_keys);
    END IF;
    RETURN distinct_keys;
END $body$;
COMMENT ON FUNCTION cache._put_many(text[], text[], jsonb[], bytea[], interval, interval, text[], timestamptz, text)
    IS 'stores many values, for all forms of set_many';
$definitions$
    UNION ALL
    SELECT $definitions$
-- The common case in as few steps as there can be: each function in a condition is looked up anew in each transaction, which
-- is why what one cache needs, and what a TTL needs, stand apart. Whatever is out of the ordinary is for _put(), as are values
-- of which a few would fill the budget. Privileges are for PostgreSQL to check, with its own message: to look at them
-- beforehand would take a fifth of the time.
CREATE OR REPLACE FUNCTION cache.set(
    key text, value text, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    is_stored boolean;
BEGIN
    -- each cache
    IF $7 OPERATOR(pg_catalog.=) {name} THEN
        IF $2 IS NOT NULL AND $4 IS NULL AND $5 IS NULL AND $6 IS NULL
            AND $1 OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) 1024
            AND pg_catalog.octet_length($2) OPERATOR(pg_catalog.<) LEAST(100000, {max_size} OPERATOR(pg_catalog./) 10000)
            AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
        THEN
            IF $3 IS NULL AND {is_plain_default} THEN
                INSERT INTO cache.{table} (expires_at, key, value_text)
                VALUES (COALESCE(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) {default_ttl}, 'infinity'), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSIF COALESCE($3, {default_ttl}) OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval
                AND CURRENT_TIMESTAMP OPERATOR(pg_catalog.+) GREATEST(COALESCE($3, {default_ttl}), '0'::pg_catalog.interval)
                    OPERATOR(pg_catalog.>) CURRENT_TIMESTAMP
            THEN
                INSERT INTO cache.{table} (expires_at, key, value_text)
                VALUES (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) COALESCE($3, {default_ttl}), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSE
                is_stored := cache._put($1, value, NULL, NULL, NULL, $3, $4, $5, $6, $7);
                RETURN;
            END IF;
            IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
                PERFORM cache._upkeep($7);
            END IF;
            RETURN;
        END IF;
    END IF;
    -- end
    is_stored := cache._put($1, value, NULL, NULL, NULL, $3, $4, $5, $6, $7);
END $body$;
-- The common case in as few steps as there can be: each function in a condition is looked up anew in each transaction, which
-- is why what one cache needs, and what a TTL needs, stand apart. Whatever is out of the ordinary is for _put(), as are values
-- of which a few would fill the budget. Privileges are for PostgreSQL to check, with its own message: to look at them
-- beforehand would take a fifth of the time.
CREATE OR REPLACE FUNCTION cache.set(
    key text, value jsonb, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    is_stored boolean;
BEGIN
    -- each cache
    IF $7 OPERATOR(pg_catalog.=) {name} THEN
        IF $2 IS NOT NULL AND $4 IS NULL AND $5 IS NULL AND $6 IS NULL
            AND $1 OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) 1024
            AND pg_catalog.pg_column_size($2) OPERATOR(pg_catalog.<) LEAST(100000, {max_size} OPERATOR(pg_catalog./) 10000)
            AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
        THEN
            IF $3 IS NULL AND {is_plain_default} THEN
                INSERT INTO cache.{table} (expires_at, key, value_json)
                VALUES (COALESCE(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) {default_ttl}, 'infinity'), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSIF COALESCE($3, {default_ttl}) OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval
                AND CURRENT_TIMESTAMP OPERATOR(pg_catalog.+) GREATEST(COALESCE($3, {default_ttl}), '0'::pg_catalog.interval)
                    OPERATOR(pg_catalog.>) CURRENT_TIMESTAMP
            THEN
                INSERT INTO cache.{table} (expires_at, key, value_json)
                VALUES (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) COALESCE($3, {default_ttl}), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSE
                is_stored := cache._put($1, NULL, value, NULL, NULL, $3, $4, $5, $6, $7);
                RETURN;
            END IF;
            IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
                PERFORM cache._upkeep($7);
            END IF;
            RETURN;
        END IF;
    END IF;
    -- end
    is_stored := cache._put($1, NULL, value, NULL, NULL, $3, $4, $5, $6, $7);
END $body$;
-- The common case in as few steps as there can be: each function in a condition is looked up anew in each transaction, which
-- is why what one cache needs, and what a TTL needs, stand apart. Whatever is out of the ordinary is for _put(), as are values
-- of which a few would fill the budget. Privileges are for PostgreSQL to check, with its own message: to look at them
-- beforehand would take a fifth of the time.
CREATE OR REPLACE FUNCTION cache.set(
    key text, value bytea, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    is_stored boolean;
BEGIN
    -- each cache
    IF $7 OPERATOR(pg_catalog.=) {name} THEN
        IF $2 IS NOT NULL AND $4 IS NULL AND $5 IS NULL AND $6 IS NULL
            AND $1 OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) 1024
            AND pg_catalog.octet_length($2) OPERATOR(pg_catalog.<) LEAST(100000, {max_size} OPERATOR(pg_catalog./) 10000)
            AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
        THEN
            IF $3 IS NULL AND {is_plain_default} THEN
                INSERT INTO cache.{table} (expires_at, key, value_bytes)
                VALUES (COALESCE(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) {default_ttl}, 'infinity'), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSIF COALESCE($3, {default_ttl}) OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval
                AND CURRENT_TIMESTAMP OPERATOR(pg_catalog.+) GREATEST(COALESCE($3, {default_ttl}), '0'::pg_catalog.interval)
                    OPERATOR(pg_catalog.>) CURRENT_TIMESTAMP
            THEN
                INSERT INTO cache.{table} (expires_at, key, value_bytes)
                VALUES (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) COALESCE($3, {default_ttl}), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSE
                is_stored := cache._put($1, NULL, NULL, value, NULL, $3, $4, $5, $6, $7);
                RETURN;
            END IF;
            IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
                PERFORM cache._upkeep($7);
            END IF;
            RETURN;
        END IF;
    END IF;
    -- end
    is_stored := cache._put($1, NULL, NULL, value, NULL, $3, $4, $5, $6, $7);
END $body$;
-- The common case in as few steps as there can be: each function in a condition is looked up anew in each transaction, which
-- is why what one cache needs, and what a TTL needs, stand apart. Whatever is out of the ordinary is for _put(), as are values
-- of which a few would fill the budget. Privileges are for PostgreSQL to check, with its own message: to look at them
-- beforehand would take a fifth of the time.
CREATE OR REPLACE FUNCTION cache.set(
    key text, value bigint, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    is_stored boolean;
BEGIN
    -- each cache
    IF $7 OPERATOR(pg_catalog.=) {name} THEN
        IF $2 IS NOT NULL AND $4 IS NULL AND $5 IS NULL AND $6 IS NULL
            AND $1 OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) 1024
            AND 8 OPERATOR(pg_catalog.<) LEAST(100000, {max_size} OPERATOR(pg_catalog./) 10000)
            AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
        THEN
            IF $3 IS NULL AND {is_plain_default} THEN
                INSERT INTO cache.{table} (expires_at, key, value_int)
                VALUES (COALESCE(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) {default_ttl}, 'infinity'), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSIF COALESCE($3, {default_ttl}) OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval
                AND CURRENT_TIMESTAMP OPERATOR(pg_catalog.+) GREATEST(COALESCE($3, {default_ttl}), '0'::pg_catalog.interval)
                    OPERATOR(pg_catalog.>) CURRENT_TIMESTAMP
            THEN
                INSERT INTO cache.{table} (expires_at, key, value_int)
                VALUES (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) COALESCE($3, {default_ttl}), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSE
                is_stored := cache._put($1, NULL, NULL, NULL, value, $3, $4, $5, $6, $7);
                RETURN;
            END IF;
            IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
                PERFORM cache._upkeep($7);
            END IF;
            RETURN;
        END IF;
    END IF;
    -- end
    is_stored := cache._put($1, NULL, NULL, NULL, value, $3, $4, $5, $6, $7);
END $body$;
$definitions$
    UNION ALL
    SELECT $definitions$
-- Looks at a range of blocks: removes what has expired or been invalidated, and then, where the cache is over its budget, as
-- much as is needed, but not more than `most` entries. How many entries there are in all the blocks is what the range itself
-- says if `entries` is NULL. Who goes is a matter of chance, and the longer ago an entry was written the worse is its chance.
-- Rows that somebody has locked are left alone. It has the rights of its caller: what may be done without a right to delete is
-- for the functions that call it to say.
CREATE OR REPLACE FUNCTION cache._sweep_blocks(
    cache text, first bigint, next bigint, entries bigint, max_entries bigint, max_size bigint, most bigint,
    OUT scanned bigint, OUT expired bigint, OUT evicted bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    low CONSTANT tid := format('(%s,0)', $2);
    high CONSTANT tid := format('(%s,0)', $3);
    now CONSTANT timestamptz := clock_timestamp();
    dead tid[];
    live bigint;
    live_bytes bigint;
    kept bigint;
    kept_bytes bigint := CASE WHEN $4 IS NULL THEN $6 END;
BEGIN
    expired := 0;
    evicted := 0;
    -- each cache
    IF $1 = {name} THEN
        SELECT count(*), count(*) FILTER (WHERE NOT r.is_dead), sum(r.bytes) FILTER (WHERE NOT r.is_dead),
            array_agg(r.ctid) FILTER (WHERE r.is_dead)
        INTO scanned, live, live_bytes, dead
        FROM (
            SELECT e.ctid, CASE WHEN $6 IS NOT NULL THEN (44 + pg_column_size(e.key) + coalesce(pg_column_size(e.value_text), pg_column_size(e.value_json), pg_column_size(e.value_bytes), 8) + CASE WHEN e.tags IS NULL THEN 0 ELSE 8 + pg_column_size(e.tags) + pg_column_size(e.basis) END)::bigint END AS bytes,
                e.expires_at <= now OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of) AS is_dead
            FROM cache.{table} AS e WHERE e.ctid >= low AND e.ctid < high OFFSET 0
        ) AS r;
        IF dead IS NOT NULL THEN
            DELETE FROM cache.{table} AS e WHERE e.ctid = ANY (ARRAY(
                SELECT d.ctid FROM cache.{table} AS d WHERE d.ctid = ANY (dead)
                    AND (d.expires_at <= clock_timestamp() OR d.tags IS NOT NULL AND NOT cache._is_current(d.tags, d.basis, d.as_of))
                FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS expired = ROW_COUNT;
        END IF;
        -- All entries are taken to be as large as these.
        kept := live - least($7, greatest(coalesce($4, live) - $5, coalesce($4, live) - $6 * live / nullif(live_bytes, 0), 0));
        IF kept < live OR live_bytes > kept_bytes THEN
            DELETE FROM cache.{table} AS e WHERE e.ctid = ANY (ARRAY(
                SELECT d.ctid FROM cache.{table} AS d WHERE d.ctid = ANY (ARRAY(
                    SELECT r.ctid FROM (
                        SELECT e.ctid, row_number() OVER by_chance AS entries, sum((44 + pg_column_size(e.key) + coalesce(pg_column_size(e.value_text), pg_column_size(e.value_json), pg_column_size(e.value_bytes), 8) + CASE WHEN e.tags IS NULL THEN 0 ELSE 8 + pg_column_size(e.tags) + pg_column_size(e.basis) END)::bigint) OVER by_chance AS bytes
                        FROM cache.{table} AS e WHERE e.ctid >= low AND e.ctid < high AND e.expires_at > now
                        WINDOW by_chance AS (ORDER BY random() * age(e.xmin), e.ctid DESC ROWS UNBOUNDED PRECEDING)
                    ) AS r WHERE r.entries > kept OR r.bytes > kept_bytes))
                FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS evicted = ROW_COUNT;
        END IF;
        RETURN;
    END IF;
    -- end
END $body$;
COMMENT ON FUNCTION cache._sweep_blocks(text, bigint, bigint, bigint, bigint, bigint, bigint) IS 'sweeps a range of blocks';
$definitions$
    UNION ALL
    SELECT $definitions$
-- The part of the upkeep that falls to a write: to one in about fifty, and to a batch of so many `writes`. Most of the time
-- there is nothing to do, and so it takes no more than it needs to see that: a table within its budget, and no entry in a few
-- blocks that has to go. Where there is one there are others, and it sweeps a range four times as long. How large a table is
-- takes the longest to find out, and is looked at in one call of four where `writes` is not given.
CREATE OR REPLACE FUNCTION cache._upkeep(cache text, writes bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    count CONSTANT bigint := GREATEST(4, $2 OPERATOR(pg_catalog./) 12);
    total bigint;
    first bigint;
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) ANY ('{repeatable read,serializable}')
        OR pg_catalog.current_setting('pg_stash.autostart', true) OPERATOR(pg_catalog.=) 'off'
    THEN
        RETURN;
    END IF;
    -- each cache
    IF $1 OPERATOR(pg_catalog.=) {name} THEN
        IF {max_entries} IS NOT NULL THEN
            PERFORM cache._evict_piece($1, GREATEST(50, $2));
            RETURN;
        ELSIF ($2 IS NOT NULL OR pg_catalog.random() OPERATOR(pg_catalog.<) 0.25)
            AND pg_catalog.pg_table_size('cache.{table}'::pg_catalog.regclass) OPERATOR(pg_catalog.>) {max_size}
        THEN
            PERFORM cache._evict_piece($1, GREATEST(200, $2));
            RETURN;
        END IF;
        -- Each block with the same chance, and so from a range that begins before the first one.
        total := pg_catalog.pg_relation_size('cache.{table}'::pg_catalog.regclass)
            OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8;
        first := GREATEST(0, pg_catalog.floor(pg_catalog.random() OPERATOR(pg_catalog.*) (total OPERATOR(pg_catalog.+) count))
            OPERATOR(pg_catalog.-) count);
        IF EXISTS (
            SELECT FROM cache.{table} AS e
            WHERE e.ctid OPERATOR(pg_catalog.>=) pg_catalog.format('(%s,0)', first)::pg_catalog.tid
                AND e.ctid OPERATOR(pg_catalog.<) pg_catalog.format('(%s,0)', first OPERATOR(pg_catalog.+) count)::pg_catalog.tid
                AND (e.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
                    OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of)))
        THEN
            PERFORM cache._sweep_piece($1, first, first OPERATOR(pg_catalog.+) 4 OPERATOR(pg_catalog.*) count);
        END IF;
    END IF;
    -- end
END $body$;
COMMENT ON FUNCTION cache._upkeep(text, bigint) IS 'sweeps or evicts, as a part of a write';
$definitions$
$store$;
COMMENT ON FUNCTION cache._store() IS 'the definitions of the functions that are made for the caches that there are';

CREATE OR REPLACE FUNCTION cache._entries() RETURNS text
LANGUAGE sql IMMUTABLE AS $store$
    SELECT $entries$
-- The table of one cache. {persistence} is UNLOGGED, or nothing for a durable cache; {table} is its name.
--
-- The expiry comes first, where a sweep reads it without looking at the rest of the row. The key is the only index: one
-- on the expiry would make every overwrite change it, and none of them HOT. Keys are neither compressed nor stored out
-- of line, so that an overwrite is seen to leave them as they are; nor are tags, which are looked at with each read. A
-- fifth of each page is left for overwrites. VACUUM comes early, and rests often: at full speed it would be felt by those
-- who use the cache. ANALYZE does not come by itself: no plan here needs it, and while it runs, its snapshot keeps every
-- version that is overwritten.
CREATE {persistence} TABLE cache.{table} (
    expires_at  timestamptz NOT NULL,
    key         text COLLATE "C" NOT NULL,
    value_text  text,
    value_json  jsonb,
    value_bytes bytea,
    value_int   bigint,
    fresh_until timestamptz,
    as_of       timestamptz,
    tags        text[],
    fill_micros bigint,
    CONSTRAINT {table}_pkey PRIMARY KEY (key) WITH (fillfactor = 90),
    CONSTRAINT {table}_key_check CHECK (octet_length(key) BETWEEN 1 AND 1024),
    CONSTRAINT {table}_value_check CHECK (num_nonnulls(value_text, value_json, value_bytes, value_int) = 1)
) USING heap WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 2,
    autovacuum_vacuum_cost_limit = 100,
    autovacuum_analyze_threshold = 2147483647,
    vacuum_truncate = off,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 2,
    toast.autovacuum_vacuum_cost_limit = 100,
    toast.vacuum_truncate = off
);

ALTER TABLE cache.{table} ALTER COLUMN key SET STORAGE EXTERNAL, ALTER COLUMN tags SET STORAGE PLAIN;

COMMENT ON TABLE cache.{table} IS 'entries of a cache; written by the functions of schema cache';
COMMENT ON COLUMN cache.{table}.expires_at IS 'when the entry expires; infinity: never';
COMMENT ON COLUMN cache.{table}.key IS '1 to 1024 bytes';
COMMENT ON COLUMN cache.{table}.value_text IS 'the value, if it is text';
COMMENT ON COLUMN cache.{table}.value_json IS 'the value, if it is jsonb';
COMMENT ON COLUMN cache.{table}.value_bytes IS 'the value, if it is bytea';
COMMENT ON COLUMN cache.{table}.value_int IS 'the value, if it is bigint, as counters are';
COMMENT ON COLUMN cache.{table}.fresh_until IS 'until when the value needs no other; NULL: until the entry expires';
COMMENT ON COLUMN cache.{table}.as_of IS 'a time at which the value was certainly current; NULL without tags';
COMMENT ON COLUMN cache.{table}.tags IS 'the entry is gone once one of these has been invalidated after as_of';
COMMENT ON COLUMN cache.{table}.fill_micros IS 'microseconds from the claim of the entry to its fill, if it was filled';
-- What the constraints check, the functions check too. PostgreSQL would read their text anew for each statement that writes,
-- which is a seventh of its time.
ALTER TABLE cache.{table} DROP CONSTRAINT {table}_key_check, DROP CONSTRAINT {table}_value_check,
    ADD COLUMN basis pg_catalog.pg_snapshot;
COMMENT ON COLUMN cache.{table}.basis IS 'a snapshot not newer than what the value was made from; NULL without tags';
$entries$
$store$;
COMMENT ON FUNCTION cache._entries() IS 'the definition of a cache''s table';

-- With what chance a small write has a part in the upkeep: more often where fewer writes make a quarter of the budget.
CREATE OR REPLACE FUNCTION cache._chance(max_entries bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT least(1, greatest(0.02, 60.0 / $1))::double precision
$body$;
COMMENT ON FUNCTION cache._chance(bigint) IS 'with what chance a small write has a part in the upkeep';

-- Whether what is written with this TTL, now or later, expires after it is written, and within the calendar.
CREATE OR REPLACE FUNCTION cache._is_plain(ttl interval) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT $1 > '0' AND $1 < '10000 days' AND least(extract(year FROM $1), extract(month FROM $1), extract(day FROM $1),
        extract(hour FROM $1), extract(minute FROM $1), extract(second FROM $1)) >= 0
$body$;
COMMENT ON FUNCTION cache._is_plain(interval) IS 'whether a TTL is positive and within the calendar at all times';

-- Puts the names and policies of the caches into the definitions, and runs them.
CREATE OR REPLACE FUNCTION cache._make_store() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning SET intervalstyle = postgres AS $body$
DECLARE
    definition text;
    part text;
    made text;
BEGIN
    -- One at a time: two sessions cannot replace a function at once.
    PERFORM pg_advisory_xact_lock(hashtext('pg_stash'), 1);
    FOR definition IN SELECT cache._store() LOOP
        made := '';
        FOR part IN SELECT regexp_split_to_table(definition, '\n *-- (?=each cache)|(?<=\n) *-- end\n') LOOP
            IF part NOT LIKE 'each cache%' THEN
                made := made || part || E'\n';
            ELSE
                made := made || (
                    SELECT string_agg(replace(replace(replace(replace(replace(replace(replace(replace(substr(part, 12),
                        '{name}', quote_literal(name)), '{table}', cache._table(name)), '{durable}', durable::text),
                        '{default_ttl}', format('%L::interval', default_ttl)),
                        '{is_plain_default}', (default_ttl IS NULL OR cache._is_plain(default_ttl))::text),
                        '{max_size}', format('%L::bigint', max_size)), '{max_entries}', format('%L::bigint', max_entries)), '{chance}', cache._chance(max_entries)::text), '' ORDER BY name <> 'default', name)
                    FROM cache.caches);
            END IF;
        END LOOP;
        EXECUTE made;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._make_store() IS 'makes the functions that work on the tables of caches';

-- The policies, and what happens when a row of them comes, changes or goes. Privileges on the table decide who may.

-- The table belongs to whoever has installed the cache, and so do the caches' tables. This tells the trigger that makes them
-- who asked for it.
CREATE OR REPLACE FUNCTION cache._note_caller() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM set_config('pg_stash.caller', current_user, true);
    RETURN coalesce(new, old);
END $body$;
COMMENT ON FUNCTION cache._note_caller() IS 'tells apply_policy() who changes a policy, for the trigger on cache.caches';

CREATE OR REPLACE FUNCTION cache._is_member(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = $1 AND d.deptype = 'e')
$body$;
COMMENT ON FUNCTION cache._is_member(regclass) IS 'whether a table belongs to an extension, as with pg_tle';

CREATE OR REPLACE FUNCTION cache.apply_policy() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    relation text := format('%I', cache._table(coalesce(new.name, old.name)));
    is_extension boolean := EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stash');
    caller text := current_setting('pg_stash.caller', true);
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF new.name !~ '^[a-z_][a-z0-9_]{0,47}$' THEN
            PERFORM cache._error('invalid cache name', new.name);
        ELSIF to_regclass('cache.' || relation) IS NOT NULL THEN
            -- A restore brings a row for a cache that has been made already: it changes that one.
            UPDATE cache.caches SET default_ttl = new.default_ttl, max_size = new.max_size, max_entries = new.max_entries,
                durable = new.durable WHERE name = new.name;
            RETURN CASE WHEN FOUND THEN NULL ELSE new END;
        END IF;
        EXECUTE replace(replace(cache._entries(), '{persistence}', CASE WHEN new.durable THEN '' ELSE 'UNLOGGED' END),
            '{table}', relation);
        -- In the script of an extension what is made is a member already.
        IF is_extension AND NOT cache._is_member('cache.' || relation) THEN
            EXECUTE format('ALTER EXTENSION pg_stash ADD TABLE cache.%s', relation);
        END IF;
        IF caller <> current_user AND EXISTS (SELECT FROM pg_roles WHERE rolname = caller) THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cache.%s TO %I', relation, caller);
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF new.name <> old.name THEN
            PERFORM cache._error('invalid policy', 'a cache cannot be renamed');
        ELSIF new.durable <> old.durable THEN
            EXECUTE format('ALTER TABLE cache.%s SET %s', relation, CASE WHEN new.durable THEN 'LOGGED' ELSE 'UNLOGGED' END);
        END IF;
    ELSIF to_regclass('cache.' || relation) IS NOT NULL THEN
        IF cache._is_member('cache.' || relation) THEN
            EXECUTE format('ALTER EXTENSION pg_stash DROP TABLE cache.%s', relation);
        END IF;
        EXECUTE format('DROP TABLE cache.%s', relation);
    END IF;
    RETURN coalesce(new, old);
END $body$;

CREATE OR REPLACE FUNCTION cache._policies_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- With an old snapshot, caches that others have made since would be left out.
    IF cache._has_one_snapshot() THEN
        PERFORM cache._error('one snapshot');
    END IF;
    PERFORM cache._make_store();
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._policies_changed() IS 'makes the functions anew, for the trigger on cache.caches';

CREATE OR REPLACE TRIGGER _note_caller BEFORE INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH ROW EXECUTE FUNCTION cache._note_caller();
CREATE OR REPLACE TRIGGER apply_policy BEFORE INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH ROW EXECUTE FUNCTION cache.apply_policy();
CREATE OR REPLACE TRIGGER policies_changed AFTER INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH STATEMENT EXECUTE FUNCTION cache._policies_changed();
ALTER TABLE cache.caches ENABLE ALWAYS TRIGGER _note_caller, ENABLE ALWAYS TRIGGER apply_policy,
    ENABLE ALWAYS TRIGGER policies_changed;
COMMENT ON TRIGGER _note_caller ON cache.caches IS 'tells apply_policy() who changes a policy';
COMMENT ON TRIGGER policies_changed ON cache.caches IS 'makes the functions of the caches anew';

INSERT INTO cache.caches (name, max_size) SELECT 'default', 256 * 1024 * 1024
WHERE NOT EXISTS (SELECT FROM cache.caches WHERE name = 'default')
    -- It may have been dropped on purpose.
    AND to_regprocedure('cache.get(text,text)') IS NULL;
DO $$ BEGIN PERFORM cache._make_store(); END $$;

-- create_cache, alter_cache, drop_cache: rows of cache.caches, written with the caller's rights.

CREATE OR REPLACE FUNCTION cache._check_policy(INOUT default_ttl interval, INOUT max_size text, INOUT max_entries bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    IF default_ttl IS NOT NULL THEN
        PERFORM cache._expiry(default_ttl);
    END IF;
    max_size := pg_size_bytes(max_size);
    IF max_size::bigint < 0 THEN
        PERFORM cache._error('negative', 'max_size');
    ELSIF max_entries < 0 THEN
        PERFORM cache._error('negative', 'max_entries');
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_policy(interval, text, bigint) IS 'checks the arguments of a policy, and turns a size into bytes';

CREATE OR REPLACE FUNCTION cache.create_cache(
    name text, default_ttl interval DEFAULT NULL, max_size text DEFAULT NULL, max_entries bigint DEFAULT NULL,
    durable boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    size text;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'name');
    ELSIF $1 !~ '^[a-z_][a-z0-9_]{0,47}$' THEN
        PERFORM cache._error('invalid cache name', $1);
    ELSIF cache._exists($1) THEN
        PERFORM cache._error('cache exists', $1);
    END IF;
    SELECT p.max_size INTO size FROM cache._check_policy($2, $3, $4) AS p;
    INSERT INTO cache.caches (name, default_ttl, max_size, max_entries, durable)
    VALUES ($1, $2, nullif(size::bigint, 0), nullif($4, 0), coalesce($5, false));
END $body$;

CREATE OR REPLACE FUNCTION cache._exists(cache text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN EXISTS (SELECT FROM cache.caches AS c WHERE c.name = $1);
END $body$;
COMMENT ON FUNCTION cache._exists(text) IS 'whether there is a cache';

CREATE OR REPLACE FUNCTION cache.alter_cache(
    name text, default_ttl interval DEFAULT NULL, max_size text DEFAULT NULL, max_entries bigint DEFAULT NULL,
    durable boolean DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    size text;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'name');
    END IF;
    SELECT p.max_size INTO size FROM cache._check_policy($2, $3, $4) AS p;
    UPDATE cache.caches AS c SET default_ttl = coalesce($2, c.default_ttl),
        max_size = nullif(coalesce(size::bigint, c.max_size), 0), max_entries = nullif(coalesce($4, c.max_entries), 0),
        durable = coalesce($5, c.durable)
    WHERE c.name = $1;
    IF NOT FOUND THEN
        PERFORM cache._no_such_cache($1);
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache.drop_cache(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'name');
    ELSIF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    DELETE FROM cache.caches AS c WHERE c.name = $1;
    IF NOT FOUND THEN
        PERFORM cache._no_such_cache($1);
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache.add(
    key text, value text, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, value, NULL, NULL, NULL, ttl, fresh, tags, as_of, cache, 'absent');
END $body$;

CREATE OR REPLACE FUNCTION cache.replace(
    key text, value text, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, value, NULL, NULL, NULL, ttl, fresh, tags, as_of, cache, 'present');
END $body$;

CREATE OR REPLACE FUNCTION cache.compare_and_set(
    key text, expected text, value text, ttl interval DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._swap(key, expected, NULL, NULL, NULL, value, NULL, NULL, NULL, ttl, cache);
END $body$;

CREATE OR REPLACE FUNCTION cache.fill(
    lease bytea, value text, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._fill(lease, value, NULL, NULL, NULL, ttl, fresh, tags);
END $body$;
CREATE OR REPLACE FUNCTION cache.add(
    key text, value jsonb, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, NULL, value, NULL, NULL, ttl, fresh, tags, as_of, cache, 'absent');
END $body$;

CREATE OR REPLACE FUNCTION cache.replace(
    key text, value jsonb, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, NULL, value, NULL, NULL, ttl, fresh, tags, as_of, cache, 'present');
END $body$;

CREATE OR REPLACE FUNCTION cache.compare_and_set(
    key text, expected jsonb, value jsonb, ttl interval DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._swap(key, NULL, expected, NULL, NULL, NULL, value, NULL, NULL, ttl, cache);
END $body$;

CREATE OR REPLACE FUNCTION cache.fill(
    lease bytea, value jsonb, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._fill(lease, NULL, value, NULL, NULL, ttl, fresh, tags);
END $body$;
CREATE OR REPLACE FUNCTION cache.add(
    key text, value bytea, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, NULL, NULL, value, NULL, ttl, fresh, tags, as_of, cache, 'absent');
END $body$;

CREATE OR REPLACE FUNCTION cache.replace(
    key text, value bytea, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, NULL, NULL, value, NULL, ttl, fresh, tags, as_of, cache, 'present');
END $body$;

CREATE OR REPLACE FUNCTION cache.compare_and_set(
    key text, expected bytea, value bytea, ttl interval DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._swap(key, NULL, NULL, expected, NULL, NULL, NULL, value, NULL, ttl, cache);
END $body$;

CREATE OR REPLACE FUNCTION cache.fill(
    lease bytea, value bytea, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._fill(lease, NULL, NULL, value, NULL, ttl, fresh, tags);
END $body$;
CREATE OR REPLACE FUNCTION cache.add(
    key text, value bigint, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, NULL, NULL, NULL, value, ttl, fresh, tags, as_of, cache, 'absent');
END $body$;

CREATE OR REPLACE FUNCTION cache.replace(
    key text, value bigint, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, NULL, NULL, NULL, value, ttl, fresh, tags, as_of, cache, 'present');
END $body$;

CREATE OR REPLACE FUNCTION cache.compare_and_set(
    key text, expected bigint, value bigint, ttl interval DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._swap(key, NULL, NULL, NULL, expected, NULL, NULL, NULL, value, ttl, cache);
END $body$;

CREATE OR REPLACE FUNCTION cache.fill(
    lease bytea, value bigint, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._fill(lease, NULL, NULL, NULL, value, ttl, fresh, tags);
END $body$;

CREATE OR REPLACE FUNCTION cache.set_many(
    keys text[], vals text[], ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put_many(keys, vals, NULL, NULL, ttl, fresh, tags, as_of, cache);
END $body$;
CREATE OR REPLACE FUNCTION cache.set_many(
    keys text[], vals jsonb[], ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put_many(keys, NULL, vals, NULL, ttl, fresh, tags, as_of, cache);
END $body$;
CREATE OR REPLACE FUNCTION cache.set_many(
    keys text[], vals bytea[], ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put_many(keys, NULL, NULL, vals, ttl, fresh, tags, as_of, cache);
END $body$;

-- Leases: of those who miss a key, one computes. A lease is a row that lasts until its deadline; nobody holds a lock or a
-- transaction open for it. Whoever takes one also holds an advisory lock until the transaction ends, because nobody sees its
-- row earlier. Nothing here waits for another session, except for as long as the caller says. Who deletes an entry ends the
-- lease of its key: what its holder makes is of before the delete.

CREATE UNLOGGED TABLE IF NOT EXISTS cache._leases (
    cache    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    nonce    uuid NOT NULL UNIQUE,
    deadline timestamptz NOT NULL,
    as_of    timestamptz NOT NULL,
    version  text,
    holder   integer NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
    is_used  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (cache, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE cache._leases IS 'who computes what';
COMMENT ON COLUMN cache._leases.cache IS 'the cache';
COMMENT ON COLUMN cache._leases.key IS 'the key';
COMMENT ON COLUMN cache._leases.nonce IS 'a random number that the holder knows';
COMMENT ON COLUMN cache._leases.deadline IS 'until when the others wait';
COMMENT ON COLUMN cache._leases.as_of IS 'a time before the holder has read anything';
COMMENT ON COLUMN cache._leases.version IS 'the version of the entry that is to be overwritten; NULL: there is none';
COMMENT ON COLUMN cache._leases.holder IS 'the session that has taken it';
COMMENT ON COLUMN cache._leases.is_used IS 'whether a value has been stored under it';

-- What sessions there are PostgreSQL shows as of the first look of a transaction, unless it is told to look again.
CREATE OR REPLACE FUNCTION cache._has_ended(session integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN NOT EXISTS (SELECT FROM pg_stat_get_activity(session));
END $body$;
COMMENT ON FUNCTION cache._has_ended(integer) IS 'whether a session is no more';

-- Takes the lease of a key; NULL where somebody else has it.
CREATE OR REPLACE FUNCTION cache._take_lease(cache text, key text, duration interval, version text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    new_nonce uuid := gen_random_uuid();
BEGIN
    IF NOT cache._may_note()
        OR NOT pg_try_advisory_xact_lock(hashtext('pg_stash'), hashtextextended($1 || ' ' || $2, 0)::bit(32)::integer)
    THEN
        RETURN NULL;
    END IF;
    -- A lease that somebody holds is not even locked: its holder, giving it back, must not find it locked and think it lost.
    IF EXISTS (SELECT FROM cache._leases AS l WHERE l.cache = $1 AND l.key = $2) THEN
        PERFORM FROM cache._leases AS l
        WHERE l.cache = $1 AND l.key = $2 AND (l.is_used OR l.deadline <= clock_timestamp() OR cache._has_ended(l.holder))
        FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO cache._leases AS l (cache, key, nonce, deadline, as_of, version)
    VALUES ($1, $2, new_nonce, clock_timestamp() + $3, cache.clock(), $4)
    ON CONFLICT ON CONSTRAINT _leases_pkey DO UPDATE SET nonce = excluded.nonce, deadline = excluded.deadline,
        as_of = excluded.as_of, version = excluded.version, holder = excluded.holder, is_used = false;
    IF random() < 0.02 THEN
        DELETE FROM cache._leases WHERE ctid = ANY (ARRAY(
            SELECT l.ctid FROM cache._leases AS l WHERE l.deadline < clock_timestamp() FOR UPDATE SKIP LOCKED));
    END IF;
    RETURN new_nonce;
END $body$;
COMMENT ON FUNCTION cache._take_lease(text, text, interval, text) IS 'takes a lease, unless somebody has it';

-- A lease. Returns no row where it is lost: past its deadline, taken over, ended or given back.
CREATE OR REPLACE FUNCTION cache._held_lease(nonce uuid) RETURNS SETOF cache._leases
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF EXISTS (SELECT FROM cache._leases AS l WHERE l.nonce = $1 AND l.is_used) THEN
        PERFORM cache._error('lease used');
    END IF;
    RETURN QUERY SELECT l.* FROM cache._leases AS l WHERE l.nonce = $1 AND l.deadline > clock_timestamp();
END $body$;
COMMENT ON FUNCTION cache._held_lease(uuid) IS 'a lease that is not lost';

-- Notes that a lease has been used, and returns it. Returns no row where it is lost.
CREATE OR REPLACE FUNCTION cache._use_lease(nonce uuid) RETURNS SETOF cache._leases
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN QUERY UPDATE cache._leases AS l SET is_used = true WHERE l.ctid = ANY (ARRAY(
        SELECT h.ctid FROM cache._leases AS h WHERE h.nonce = $1 AND h.deadline > clock_timestamp() FOR UPDATE SKIP LOCKED))
    RETURNING l.*;
END $body$;
COMMENT ON FUNCTION cache._use_lease(uuid) IS 'notes that a lease has been used, and returns it';

-- Gives a lease back.
CREATE OR REPLACE FUNCTION cache._end_lease(nonce uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    DELETE FROM cache._leases AS l WHERE l.ctid = ANY (ARRAY(
        SELECT h.ctid FROM cache._leases AS h WHERE h.nonce = $1 FOR UPDATE SKIP LOCKED));
END $body$;
COMMENT ON FUNCTION cache._end_lease(uuid) IS 'gives a lease back';

-- Ends the leases of keys, or of all that start with a prefix, whose entries have just been deleted. Those that have ended are
-- left alone: a row that this transaction has locked could not be taken by others. One that is locked is being filled, with
-- a value that no look for the entry has found: the delete waits for it, as it does for those that it has found.
CREATE OR REPLACE FUNCTION cache._end_leases(cache text, keys text[], prefix text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    held text[];
    filled text[];
BEGIN
    IF keys IS NOT NULL THEN
        held := ARRAY(SELECT l.key FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (keys)
            AND NOT l.is_used AND l.deadline > clock_timestamp());
    ELSE
        held := ARRAY(SELECT l.key FROM cache._leases AS l WHERE l.cache = $1 AND starts_with(l.key, prefix)
            AND NOT l.is_used AND l.deadline > clock_timestamp());
    END IF;
    IF cardinality(held) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (held) ORDER BY l.key FOR UPDATE;
    filled := ARRAY(SELECT l.key FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (held) AND l.is_used ORDER BY l.key);
    DELETE FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (held) AND NOT l.is_used;
    IF cardinality(filled) > 0 THEN
        EXECUTE format('DELETE FROM cache.%I WHERE key = ANY ($1)', cache._table($1)) USING filled;
    END IF;
END $body$;
COMMENT ON FUNCTION cache._end_leases(text, text[], text) IS 'ends the leases of what is deleted';

-- A lease as the client holds it: a version, the number, and a check on both and the database.
CREATE OR REPLACE FUNCTION cache._token(nonce uuid) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    plain bytea := '\x01' || uuid_send(nonce);
BEGIN
    RETURN plain || substr(sha256(plain || convert_to(current_database(), 'UTF8') || 'pg_stash lease'), 1, 8);
END $body$;
COMMENT ON FUNCTION cache._token(uuid) IS 'a lease as a client holds it';

CREATE OR REPLACE FUNCTION cache._nonce(token bytea) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    nonce uuid;
BEGIN
    IF token IS NULL THEN
        PERFORM cache._error('null argument', 'lease');
    ELSIF octet_length(token) = 25 THEN
        nonce := encode(substr(token, 2, 16), 'hex')::uuid;
    END IF;
    IF nonce IS NULL OR cache._token(nonce) <> token THEN
        PERFORM cache._error('invalid lease');
    END IF;
    RETURN nonce;
END $body$;
COMMENT ON FUNCTION cache._nonce(bytea) IS 'the number in a lease; an error where it is none';

-- Whether a value that is still fresh is to be made anew, as pg_stash.early_recompute asks for: the sooner, the longer it
-- took to make. The method is XFetch (Vattani et al., 2015).
CREATE OR REPLACE FUNCTION cache._is_due_early(until timestamptz, fill_micros bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    beta double precision := nullif(current_setting('pg_stash.early_recompute', true), '')::double precision;
BEGIN
    IF beta > 0 AND fill_micros > 0 AND until < 'infinity' THEN
        RETURN extract(epoch FROM until - clock_timestamp()) * 1000000 <= -ln(1 - random()) * beta * fill_micros;
    END IF;
    RETURN false;
END $body$;
COMMENT ON FUNCTION cache._is_due_early(timestamptz, bigint) IS 'whether a fresh value is to be made anew already';

CREATE OR REPLACE FUNCTION cache._claim(
    key text, duration interval, wait interval, cache text, form text DEFAULT NULL, OUT state text, OUT value_text text,
    OUT value_json jsonb, OUT value_bytes bytea, OUT value_int bigint, OUT token bytea, OUT tags text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    waits_until timestamptz;
    pause double precision := 0.002;
    nonce uuid;
    e record;
    is_due boolean;
BEGIN
    IF $2 IS NULL OR $3 IS NULL THEN
        PERFORM cache._error('null argument', CASE WHEN $2 IS NULL THEN 'lease' ELSE 'wait' END);
    ELSIF $2 <= '0' THEN
        PERFORM cache._error('not positive', 'lease');
    ELSIF $2 > '1 hour' THEN
        PERFORM cache._error('long lease');
    ELSIF $3 < '0' THEN
        PERFORM cache._error('negative', 'wait');
    END IF;
    waits_until := clock_timestamp() + $3;
    LOOP
        e := cache._peek($1, $4);
        IF is_due IS NULL THEN
            PERFORM cache._check_privileges($4, 'SELECT', 'INSERT', 'UPDATE');
            is_due := cache._is_due_early(coalesce(e.fresh_until, e.expires_at), e.fill_micros);
        END IF;
        state := CASE WHEN e.is_live IS NOT TRUE THEN 'miss' WHEN e.fresh_until <= clock_timestamp() THEN 'stale' ELSE 'hit' END;
        IF state <> 'miss' THEN
            IF NOT (CASE $5 WHEN 'text' THEN e.value_bytes IS NULL WHEN 'json' THEN e.value_json IS NOT NULL
                WHEN 'bytes' THEN e.value_bytes IS NOT NULL ELSE true END)
            THEN
                PERFORM cache._wrong_form($1, $4, $5);
            END IF;
            value_text := e.value_text;
            value_json := e.value_json;
            value_bytes := e.value_bytes;
            value_int := e.value_int;
            tags := e.tags;
        END IF;
        IF nonce IS NOT NULL THEN
            -- Nobody else has had the lease since. If it is a hit now, the one before has filled the entry meanwhile.
            IF state = 'hit' AND NOT is_due THEN
                PERFORM cache._end_lease(nonce);
            ELSE
                token := cache._token(nonce);
            END IF;
            RETURN;
        ELSIF state = 'hit' AND NOT is_due OR NOT cache._is_enabled() OR NOT cache._may_note() THEN
            -- Who cannot take a lease does not wait for one.
            RETURN;
        END IF;
        nonce := cache._take_lease($4, $1, $2, CASE WHEN e.is_live THEN e.version END);
        IF nonce IS NULL THEN
            IF state <> 'miss' OR clock_timestamp() >= waits_until THEN
                RETURN;
            END IF;
            PERFORM pg_sleep(least(pause, extract(epoch FROM waits_until - clock_timestamp())::double precision));
            pause := least(pause * 1.5, 0.05);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._claim(text, interval, interval, text, text) IS 'reads an entry and takes a lease where that is needed, for all forms of claim';

CREATE OR REPLACE FUNCTION cache._fill(
    token bytea, value_text text, value_json jsonb, value_bytes bytea, value_int bigint, ttl interval, fresh interval,
    tags text[])
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    lease record;
    filled_at timestamptz := clock_timestamp();
    is_stored boolean;
BEGIN
    IF num_nulls($2, $3, $4, $5) = 4 THEN
        PERFORM cache._nonce($1), cache._error('null value');
    END IF;
    SELECT * INTO lease FROM cache._held_lease(cache._nonce($1));
    IF NOT FOUND OR NOT cache._exists(lease.cache) THEN
        RETURN false;
    END IF;
    is_stored := cache._put(lease.key, $2, $3, $4, $5, $6, $7, $8, lease.as_of, lease.cache, 'same', lease.version,
        (extract(epoch FROM filled_at - lease.as_of) * 1000000)::bigint);
    IF NOT is_stored THEN
        PERFORM cache._end_lease(lease.nonce);
        RETURN false;
    END IF;
    -- Asked once the entry is there: a delete from now on waits for it, and one before has ended the lease.
    PERFORM FROM cache._use_lease(lease.nonce);
    IF NOT FOUND THEN
        -- To delete it takes a privilege that a fill does not need.
        EXECUTE format($$UPDATE cache.%I SET expires_at = '-infinity' WHERE key = $1$$, cache._table(lease.cache)) USING lease.key;
        RETURN false;
    END IF;
    RETURN true;
END $body$;
COMMENT ON FUNCTION cache._fill(bytea, text, jsonb, bytea, bigint, interval, interval, text[]) IS 'stores what was computed, for all forms of fill';

CREATE OR REPLACE FUNCTION cache.release(lease bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._end_lease(cache._nonce($1));
END $body$;

CREATE OR REPLACE FUNCTION cache.get_many(keys text[], cache text DEFAULT 'default')
RETURNS TABLE (key text, value text) LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    FOR key, value IN SELECT e.key, coalesce(e.value_text, e.value_json::pg_catalog.text, e.value_int::pg_catalog.text) FROM cache._peek_many($1, $2) AS e LOOP
        IF value IS NULL THEN
            PERFORM cache._wrong_form(key, $2, 'text');
        END IF;
        RETURN NEXT;
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION cache.take(key text, cache text DEFAULT 'default') RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove(key, cache, 'SELECT', 'DELETE');
    value text := coalesce(e.value_text, e.value_json::pg_catalog.text, e.value_int::pg_catalog.text);
BEGIN
    IF NOT coalesce(e.is_live, false) THEN
        RETURN NULL;
    ELSIF value IS NULL THEN
        PERFORM cache._error('wrong form', key, CASE WHEN e.value_text IS NOT NULL THEN 'text'
            WHEN e.value_json IS NOT NULL THEN 'jsonb' WHEN e.value_bytes IS NOT NULL THEN 'bytea' ELSE 'bigint' END, 'text');
    END IF;
    RETURN value;
END $body$;

-- In SQL, because PL/pgSQL has no parameter and result of one name.
CREATE OR REPLACE FUNCTION cache.claim(
    key text, lease interval DEFAULT '10 seconds', wait interval DEFAULT '0', cache text DEFAULT 'default',
    OUT state text, OUT value text, OUT lease bytea)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT e.state, coalesce(e.value_text, e.value_json::pg_catalog.text, e.value_int::pg_catalog.text), e.token FROM cache._claim($1, $2, $3, $4, 'text') AS e
$body$;
CREATE OR REPLACE FUNCTION cache.get_many_json(keys text[], cache text DEFAULT 'default')
RETURNS TABLE (key text, value jsonb) LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    FOR key, value IN SELECT e.key, e.value_json FROM cache._peek_many($1, $2) AS e LOOP
        IF value IS NULL THEN
            PERFORM cache._wrong_form(key, $2, 'json');
        END IF;
        RETURN NEXT;
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION cache.take_json(key text, cache text DEFAULT 'default') RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove(key, cache, 'SELECT', 'DELETE');
    value jsonb := e.value_json;
BEGIN
    IF NOT coalesce(e.is_live, false) THEN
        RETURN NULL;
    ELSIF value IS NULL THEN
        PERFORM cache._error('wrong form', key, CASE WHEN e.value_text IS NOT NULL THEN 'text'
            WHEN e.value_json IS NOT NULL THEN 'jsonb' WHEN e.value_bytes IS NOT NULL THEN 'bytea' ELSE 'bigint' END, 'json');
    END IF;
    RETURN value;
END $body$;

-- In SQL, because PL/pgSQL has no parameter and result of one name.
CREATE OR REPLACE FUNCTION cache.claim_json(
    key text, lease interval DEFAULT '10 seconds', wait interval DEFAULT '0', cache text DEFAULT 'default',
    OUT state text, OUT value jsonb, OUT lease bytea)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT e.state, e.value_json, e.token FROM cache._claim($1, $2, $3, $4, 'json') AS e
$body$;
CREATE OR REPLACE FUNCTION cache.get_many_bytes(keys text[], cache text DEFAULT 'default')
RETURNS TABLE (key text, value bytea) LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    FOR key, value IN SELECT e.key, e.value_bytes FROM cache._peek_many($1, $2) AS e LOOP
        IF value IS NULL THEN
            PERFORM cache._wrong_form(key, $2, 'bytes');
        END IF;
        RETURN NEXT;
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION cache.take_bytes(key text, cache text DEFAULT 'default') RETURNS bytea
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove(key, cache, 'SELECT', 'DELETE');
    value bytea := e.value_bytes;
BEGIN
    IF NOT coalesce(e.is_live, false) THEN
        RETURN NULL;
    ELSIF value IS NULL THEN
        PERFORM cache._error('wrong form', key, CASE WHEN e.value_text IS NOT NULL THEN 'text'
            WHEN e.value_json IS NOT NULL THEN 'jsonb' WHEN e.value_bytes IS NOT NULL THEN 'bytea' ELSE 'bigint' END, 'bytes');
    END IF;
    RETURN value;
END $body$;

-- In SQL, because PL/pgSQL has no parameter and result of one name.
CREATE OR REPLACE FUNCTION cache.claim_bytes(
    key text, lease interval DEFAULT '10 seconds', wait interval DEFAULT '0', cache text DEFAULT 'default',
    OUT state text, OUT value bytea, OUT lease bytea)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT e.state, e.value_bytes, e.token FROM cache._claim($1, $2, $3, $4, 'bytes') AS e
$body$;

-- The fourth form of each reader: the value in the column of its type, in one row, or none on a miss.

CREATE OR REPLACE FUNCTION cache.get_any(key text, cache text DEFAULT 'default')
RETURNS TABLE (value_text text, value_json jsonb, value_bytes bytea, value_int bigint)
LANGUAGE plpgsql AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    IF e.is_live THEN
        RETURN QUERY SELECT e.value_text, e.value_json, e.value_bytes, e.value_int;
    ELSIF NOT e.is_live THEN
        PERFORM cache._note_moment();
    END IF;
END $body$;
COMMENT ON FUNCTION cache.get_any(text, text) IS 'the value of an entry in the column of its type; no row where there is none';

CREATE OR REPLACE FUNCTION cache.get_many_any(keys text[], cache text DEFAULT 'default')
RETURNS TABLE (value_text text[], value_json jsonb[], value_bytes bytea[], value_int bigint[])
LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF cardinality($1) > 0 THEN
        RETURN QUERY
        SELECT CASE WHEN count(e.value_text) > 0 THEN array_agg(e.value_text ORDER BY k.place) END,
            CASE WHEN count(e.value_json) > 0 THEN array_agg(e.value_json ORDER BY k.place) END,
            CASE WHEN count(e.value_bytes) > 0 THEN array_agg(e.value_bytes ORDER BY k.place) END,
            CASE WHEN count(e.value_int) > 0 THEN array_agg(e.value_int ORDER BY k.place) END
        FROM unnest($1) WITH ORDINALITY AS k (key, place)
        LEFT JOIN cache._peek_many($1, $2) AS e ON e.key = k.key COLLATE "C";
    ELSE
        PERFORM FROM cache._peek_many($1, $2);
        RETURN QUERY SELECT NULL::text[], NULL::jsonb[], NULL::bytea[], NULL::bigint[];
    END IF;
END $body$;
COMMENT ON FUNCTION cache.get_many_any(text[], text) IS 'the values under these keys, in their order, as an array for each type that there are values of; all else in it is NULL';

CREATE OR REPLACE FUNCTION cache.take_any(key text, cache text DEFAULT 'default')
RETURNS TABLE (value_text text, value_json jsonb, value_bytes bytea, value_int bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove($1, $2, 'SELECT', 'DELETE');
BEGIN
    IF e.is_live THEN
        RETURN QUERY SELECT e.value_text, e.value_json, e.value_bytes, e.value_int;
    END IF;
END $body$;
COMMENT ON FUNCTION cache.take_any(text, text) IS 'the value of an entry, which is deleted, in the column of its type';

CREATE OR REPLACE FUNCTION cache.claim_any(
    key text, lease interval DEFAULT '10 seconds', wait interval DEFAULT '0', cache text DEFAULT 'default',
    OUT state text, OUT value_text text, OUT value_json jsonb, OUT value_bytes bytea, OUT value_int bigint, OUT lease bytea)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT e.state, e.value_text, e.value_json, e.value_bytes, e.value_int, e.token FROM cache._claim($1, $2, $3, $4) AS e
$body$;
COMMENT ON FUNCTION cache.claim_any(text, interval, interval, text) IS 'reads an entry, in the column of its type; where it is missing or stale, one caller gets a lease to fill it';

-- exists, expires_at, ttl, touch, persist.

CREATE OR REPLACE FUNCTION cache.exists(key text, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql PARALLEL RESTRICTED AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    RETURN coalesce(e.is_live, false);
END $body$;

CREATE OR REPLACE FUNCTION cache.expires_at(key text, cache text DEFAULT 'default') RETURNS timestamptz
LANGUAGE plpgsql PARALLEL RESTRICTED AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    RETURN CASE WHEN e.is_live THEN e.expires_at END;
END $body$;

CREATE OR REPLACE FUNCTION cache.ttl(key text, cache text DEFAULT 'default') RETURNS interval
LANGUAGE plpgsql PARALLEL RESTRICTED AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    IF e.is_live AND e.expires_at OPERATOR(pg_catalog.<>) 'infinity' THEN
        RETURN pg_catalog.make_interval(secs => GREATEST(0, pg_catalog.date_part('epoch',
            e.expires_at OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp())));
    END IF;
    RETURN NULL;
END $body$;

CREATE OR REPLACE FUNCTION cache.touch(key text, ttl interval DEFAULT NULL, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._reschedule($1, $2, $3);
END $body$;

CREATE OR REPLACE FUNCTION cache.persist(key text, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._reschedule($1, cache.never(), $2);
END $body$;

-- incr and decr.

CREATE OR REPLACE FUNCTION cache.incr(
    key text, by bigint DEFAULT 1, ttl interval DEFAULT NULL, initial bigint DEFAULT 0, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    RETURN cache._count($1, $2, $3, $4, $5);
END $body$;

CREATE OR REPLACE FUNCTION cache.decr(
    key text, by bigint DEFAULT 1, ttl interval DEFAULT NULL, initial bigint DEFAULT 0, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    RETURN cache._count($1, OPERATOR(pg_catalog.-) $2::pg_catalog.numeric, $3, $4, $5);
END $body$;

-- delete, delete_many, delete_prefix, clear. Those that delete many lock the entries in the order of their keys, as all
-- batches do, so that they cannot deadlock with each other.

CREATE OR REPLACE FUNCTION cache.delete(key text, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove($1, $2, 'SELECT', 'DELETE');
BEGIN
    RETURN coalesce(e.is_live, false);
END $body$;

-- Deletes what is within bounds, or among keys where they are given. Returns how many live ones there were.
CREATE OR REPLACE FUNCTION cache._remove_many(keys text[], low text, high text, prefix text, cache text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    relation text := cache._table((cache._known($5)).name);
    which text := CASE WHEN $1 IS NOT NULL THEN 'e.key = ANY ($1)'
        ELSE 'e.key >= $2 AND e.key <= $3 AND starts_with(e.key, $4)' END;
    removed bigint;
BEGIN
    IF NOT cache._may_write($5, 'SELECT', 'UPDATE', 'DELETE') THEN
        RETURN 0;
    END IF;
    EXECUTE format($$
        WITH locked AS MATERIALIZED (SELECT e.key FROM cache.%1$I AS e WHERE %2$s ORDER BY e.key FOR UPDATE),
        removed AS (
            DELETE FROM cache.%1$I AS e USING locked WHERE e.key = locked.key
            RETURNING e.expires_at > clock_timestamp()
                AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of)) AS was_live)
        SELECT count(*) FROM removed WHERE was_live$$, relation, which) INTO removed USING $1, $2, $3, $4;
    PERFORM cache._end_leases($5, $1, $4);
    RETURN removed;
END $body$;
COMMENT ON FUNCTION cache._remove_many(text[], text, text, text, text) IS 'deletes entries in the order of their keys';

CREATE OR REPLACE FUNCTION cache.delete_many(keys text[], cache text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._check_keys($1);
    RETURN cache._remove_many($1, NULL, NULL, NULL, $2);
END $body$;

CREATE OR REPLACE FUNCTION cache.delete_prefix(prefix text, cache text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF prefix IS NULL THEN
        PERFORM cache._error('null argument', 'prefix');
    END IF;
    RETURN cache._remove_many(NULL, $1, cache._prefix_end($1), $1, $2);
END $body$;

CREATE OR REPLACE FUNCTION cache.clear(cache text DEFAULT 'default') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._remove_many(NULL, '', cache._prefix_end(''), '', $1);
END $body$;

-- keys and top.

CREATE OR REPLACE FUNCTION cache.keys(prefix text DEFAULT '', cache text DEFAULT 'default') RETURNS SETOF text
LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    policy record;
BEGIN
    IF prefix IS NULL THEN
        PERFORM cache._error('null argument', 'prefix');
    END IF;
    policy := cache._known($2);
    IF cache._may_read($2, policy.durable) THEN
        RETURN QUERY EXECUTE format($$
            SELECT e.key::text FROM cache.%I AS e
            WHERE e.key >= $1 AND e.key <= $2 AND starts_with(e.key, $1) AND e.expires_at > clock_timestamp()
                AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))
            ORDER BY e.key$$, cache._table($2)) USING $1, cache._prefix_end($1);
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache.top(n integer DEFAULT 10, cache text DEFAULT 'default')
RETURNS TABLE (key text, bytes bigint, expires_at timestamptz)
LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    policy record;
BEGIN
    IF n IS NULL THEN
        PERFORM cache._error('null argument', 'n');
    ELSIF n < 0 THEN
        PERFORM cache._error('negative', 'n');
    END IF;
    policy := cache._known($2);
    IF cache._may_read($2, policy.durable) THEN
        RETURN QUERY EXECUTE format($$
            SELECT e.key::text, %s, e.expires_at FROM cache.%I AS e
            WHERE e.expires_at > clock_timestamp() AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))
            ORDER BY 2 DESC, e.key LIMIT $1$$, cache._row_bytes(), cache._table($2)) USING $1;
    END IF;
END $body$;

-- Tables whose changes invalidate tags. The triggers themselves say what is watched, so that a dump has it. They run with the
-- rights of the cache's owner: whoever may write to a table needs none on the cache.

CREATE OR REPLACE FUNCTION cache._note_table() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- A truncated table has no rows left to tell the tags by: all tags are invalid. Without a tag it is somebody's own trigger.
    IF TG_NARGS = 1 THEN
        PERFORM cache._invalidate(ARRAY[CASE WHEN TG_OP = 'TRUNCATE' AND TG_ARGV[0] LIKE '%{%' THEN '' ELSE TG_ARGV[0] END]);
    END IF;
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._note_table() IS 'invalidates the tag of a table, for triggers on watched tables';

-- A value has the text of a cast. Where somebody might have made that cast himself, it would run with the rights of the
-- cache's owner, so it has the text that the type's own output function makes.
CREATE OR REPLACE FUNCTION cache._note_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    -- The tag for format(), with a value in each place of a column.
    pattern CONSTANT text := regexp_replace(replace(TG_ARGV[0], '%', '%%'), '\{[^{}]+\}', '%s', 'g');
    missing text;
    query text;
    row_values text[];
    tags text[] := '{}';
BEGIN
    IF TG_NARGS <> 1 THEN
        RETURN NULL;
    END IF;
    SELECT format('SELECT ARRAY[%s]::text[]', string_agg(
            format(CASE WHEN a.atttypid < 16384 THEN '($1).%I::text' ELSE 'CASE WHEN ($1).%1$I IS NOT NULL THEN concat(($1).%1$I) END' END, m.names[1]),
            ', ' ORDER BY m.place)),
        min(m.names[1]) FILTER (WHERE a.attname IS NULL)
    INTO query, missing
    FROM regexp_matches(TG_ARGV[0], '\{([^{}]+)\}', 'g') WITH ORDINALITY AS m (names, place)
    LEFT JOIN pg_attribute AS a ON a.attrelid = TG_RELID AND a.attname = m.names[1] AND a.attnum > 0 AND NOT a.attisdropped;
    IF missing IS NOT NULL THEN
        PERFORM cache._error('no column of row', missing);
    END IF;
    -- Where one of the values is NULL, nothing has the tag.
    IF TG_OP <> 'INSERT' THEN
        EXECUTE query INTO row_values USING old;
        IF array_position(row_values, NULL) IS NULL THEN
            tags := tags || format(pattern, VARIADIC row_values);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE query INTO row_values USING new;
        IF array_position(row_values, NULL) IS NULL THEN
            tags := tags || format(pattern, VARIADIC row_values);
        END IF;
    END IF;
    PERFORM cache._invalidate(tags);
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._note_row() IS 'invalidates the tags of a row, for triggers on watched tables';

-- A condition on the tag may be looked at for triggers of others, too, such as those of foreign keys, which have no arguments.
CREATE OR REPLACE VIEW cache.watched AS
SELECT DISTINCT t.tgrelid::pg_catalog.regclass AS relation,
    CASE WHEN t.tgnargs = 1 THEN
        pg_catalog.convert_from(pg_catalog.substr(t.tgargs, 1, pg_catalog.octet_length(t.tgargs) - 1),
            pg_catalog.getdatabaseencoding())
    END AS tag,
    CASE WHEN t.tgargs LIKE '%{%}%'::bytea THEN 'row' ELSE 'statement' END AS level
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE p.pronamespace = 'cache'::pg_catalog.regnamespace AND p.proname IN ('_note_table', '_note_row')
    AND t.tgnargs = 1 AND t.tgparentid = 0 AND t.tgtype & 4 = 4
    -- What an heir has from its parent was not asked for.
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_trigger AS parent ON parent.tgrelid = i.inhparent
        WHERE i.inhrelid = t.tgrelid AND parent.tgname = t.tgname);
GRANT SELECT ON cache.watched TO PUBLIC;

-- Makes a trigger that is not there, to fire always or only where replication applies changes; one that is there may have to
-- fire always from now on, unless somebody has switched it off. Returns whether it was made.
CREATE OR REPLACE FUNCTION cache._add_trigger(relation regclass, name text, action text, firing text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    firing_now "char" := (SELECT t.tgenabled FROM pg_trigger AS t WHERE t.tgrelid = relation AND t.tgname = name);
BEGIN
    IF firing_now IS NULL THEN
        EXECUTE format('CREATE TRIGGER %I AFTER %s', name, action);
    END IF;
    IF firing_now IS NULL OR firing = 'ALWAYS' AND firing_now = 'R' THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', relation, firing, name);
    END IF;
    RETURN firing_now IS NULL;
END $body$;
COMMENT ON FUNCTION cache._add_trigger(regclass, text, text, text) IS 'makes a trigger on a watched table';

CREATE OR REPLACE FUNCTION cache.watch(relation regclass, tag text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $body$
#variable_conflict use_variable
DECLARE
    kind "char";
    pattern text := tag;
    is_by_row boolean;
    trigger_name text;
    members regclass[];
    member regclass;
    wrong record;
    has_parent boolean;
    is_foreign boolean;
    is_partition boolean;
    is_new boolean := false;
BEGIN
    IF relation IS NULL THEN
        PERFORM cache._error('null argument', 'relation');
    ELSIF tag = '' THEN
        PERFORM cache._error('empty tag');
    END IF;
    SELECT c.relkind, coalesce(pattern, n.nspname || '.' || c.relname) INTO kind, pattern
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF kind IS NULL THEN
        PERFORM cache._error('no such relation', relation::oid::text);
    ELSIF kind NOT IN ('r', 'p') THEN
        PERFORM cache._error('not watchable', relation::text);
    ELSIF cache._has_one_snapshot() THEN
        PERFORM cache._error('watch in one snapshot');
    END IF;
    FOR wrong IN
        SELECT m.names[1] AS name, a.attname IS NULL AS is_missing, format_type(a.atttypid, NULL) AS type
        FROM regexp_matches(pattern, '\{([^{}]*)\}', 'g') AS m (names)
        LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = m.names[1] AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_proc AS p ON p.oid = t.typoutput
        WHERE a.attname IS NULL OR p.provolatile <> 'i' AND t.typtype <> 'e'
            OR a.atttypid IN ('float4'::regtype, 'float8'::regtype, 'bytea'::regtype)
        ORDER BY a.attname IS NOT NULL
    LOOP
        IF wrong.is_missing THEN
            PERFORM cache._error('no such column', wrong.name, relation::text);
        ELSE
            PERFORM cache._error('not in a tag', wrong.name, wrong.type);
        END IF;
    END LOOP;
    members := ARRAY(SELECT relation UNION SELECT cache._inheritors(relation));
    -- A statement on a table above fires none of the triggers for each statement that the tables below have.
    has_parent := EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = ANY (members) AND i.inhparent <> ALL (members));
    -- Triggers for each row are passed on to partitions, present and future ones. Those for each statement are not.
    is_by_row := kind = 'p' OR pattern LIKE '%{%';
    trigger_name := 'pg_stash_watch_' || left(md5(pattern), 16);
    FOREACH member IN ARRAY members LOOP
        SELECT c.relkind = 'f', c.relispartition AND member <> relation INTO is_foreign, is_partition
        FROM pg_class AS c WHERE c.oid = member;
        IF NOT is_by_row THEN
            -- Replication fires no triggers for each statement either.
            is_new := cache._add_trigger(member, trigger_name || '_rows', format(
                'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION cache._note_table(%L)', member, pattern),
                CASE WHEN has_parent THEN 'ALWAYS' ELSE 'REPLICA' END) OR is_new;
            is_new := cache._add_trigger(member, trigger_name, format(
                'INSERT OR UPDATE OR DELETE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache._note_table(%L)',
                CASE WHEN is_foreign THEN '' ELSE 'OR TRUNCATE' END, member, pattern), 'ALWAYS') OR is_new;
            CONTINUE;
        END IF;
        IF NOT is_partition THEN
            is_new := cache._add_trigger(member, trigger_name, format(
                'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION cache.%I(%L)', member,
                CASE WHEN pattern LIKE '%{%' THEN '_note_row' ELSE '_note_table' END, pattern), 'ALWAYS') OR is_new;
        END IF;
        IF NOT is_foreign THEN
            is_new := cache._add_trigger(member, trigger_name || '_truncate', format(
                'TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache._note_table(%L)', member, pattern), 'ALWAYS') OR is_new;
        END IF;
    END LOOP;
    -- What was cached from the table before, nobody has watched over.
    IF is_new THEN
        PERFORM cache.invalidate_all();
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache._inheritors(relation regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    WITH RECURSIVE tree (member) AS (
        SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = $1
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.member
    )
    SELECT member::regclass FROM tree
$body$;
COMMENT ON FUNCTION cache._inheritors(regclass) IS 'the tables that inherit from a table';

CREATE OR REPLACE FUNCTION cache.unwatch(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    t record;
    is_watched boolean := false;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'relation');
    END IF;
    FOR t IN
        SELECT g.tgname, g.tgrelid::regclass AS on_table
        FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
        WHERE p.pronamespace = 'cache'::regnamespace AND p.proname IN ('_note_table', '_note_row') AND g.tgparentid = 0
            AND (g.tgrelid = $1 OR g.tgrelid IN (SELECT cache._inheritors($1)))
            AND g.tgname IN (SELECT own.tgname FROM pg_trigger AS own WHERE own.tgrelid = $1)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.on_table);
        is_watched := true;
    END LOOP;
    -- From now on nobody watches over what is cached from it.
    IF is_watched THEN
        PERFORM cache.invalidate_all();
    END IF;
END $body$;

-- remember: the result of a query, computed once for all who ask.

-- Tables that a query reads, from its plan, and functions that are named in it. A plan names every table whose rows can
-- have a part in the result; views and functions in SQL have been replaced by what is in them.
CREATE OR REPLACE FUNCTION cache._plan_nodes(plan jsonb) RETURNS SETOF jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    WITH RECURSIVE nodes (node) AS (
        SELECT $1
        UNION ALL
        SELECT child FROM nodes, jsonb_array_elements(node -> 'Plans') AS child
    )
    SELECT node - 'Plans' FROM nodes
$body$;
COMMENT ON FUNCTION cache._plan_nodes(jsonb) IS 'the nodes of a plan';

CREATE OR REPLACE FUNCTION cache._tables_of(plan jsonb) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT DISTINCT coalesce(pg_partition_root(t.relation), t.relation)
    FROM cache._plan_nodes($1) AS node, to_regclass(format('%I.%I', node ->> 'Schema', node ->> 'Relation Name')) AS t (relation)
    WHERE node ? 'Relation Name'
$body$;
COMMENT ON FUNCTION cache._tables_of(jsonb) IS 'the tables that a plan reads; of partitions, the partitioned table';

-- Functions that a plan calls, by their own names. Literals are taken out first. Names mean what they mean to the caller.
CREATE OR REPLACE FUNCTION cache._functions_of(plan jsonb) RETURNS SETOF oid
LANGUAGE sql STABLE AS $body$
    -- What SQL has a notation of its own for stands for now().
    SELECT DISTINCT p.oid
    FROM cache._plan_nodes($1) AS node,
        pg_catalog.regexp_replace(pg_catalog.replace(node::pg_catalog.text, '\"', ''), $$'(?:[^']|'')*'$$, '', 'g') AS literally,
        pg_catalog.regexp_replace(literally, '\m(CURRENT_DATE|(CURRENT_TIME|LOCALTIME)(STAMP)?(\(\d\))?)(?!\w)', 'pg_catalog.now()', 'g') AS bare,
        pg_catalog.regexp_matches(bare, '(?:([[:alpha:]_][[:alnum:]_$]*)\.)?([[:alpha:]_][[:alnum:]_$]*)\(', 'g') AS called (name)
    JOIN pg_catalog.pg_proc AS p ON p.proname OPERATOR(pg_catalog.=) called.name[2] AND p.prokind OPERATOR(pg_catalog.=) 'f'
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE CASE WHEN called.name[1] IS NULL THEN pg_catalog.pg_function_is_visible(p.oid)
        ELSE n.nspname OPERATOR(pg_catalog.=) called.name[1] END
$body$;
COMMENT ON FUNCTION cache._functions_of(jsonb) IS 'the functions that a plan calls';

-- Raises an error where no table decides what a query returns.
CREATE OR REPLACE FUNCTION cache._check_functions(functions oid[], has_key boolean, has_ttl boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    called record;
BEGIN
    FOR called IN
        SELECT p.proname, p.provolatile, p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('current_setting',
            'pg_backend_pid', 'inet_client_addr', 'inet_client_port', 'pg_my_temp_schema') AS reads_session,
            p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp')
                AS reads_time, p.oid >= 16384 AND p.provolatile <> 'i' AS may_read_session
        FROM pg_proc AS p
        WHERE p.oid = ANY (functions) AND NOT (p.pronamespace = 'cache'::regnamespace AND p.proname = 'remember')
        ORDER BY p.proname
    LOOP
        IF called.provolatile = 'v' THEN
            PERFORM cache._error('volatile function', called.proname);
        ELSIF (called.reads_session OR called.may_read_session) AND NOT has_key THEN
            PERFORM cache._error('session function', called.proname);
        ELSIF called.reads_time AND NOT has_ttl THEN
            PERFORM cache._error('time function', called.proname);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._check_functions(oid[], boolean, boolean) IS 'raises an error where no table decides what a query returns';

-- The tag of each table that a query reads. Raises an error where there is none, or where the rows depend on who asks, which a
-- key that was given does not tell.
CREATE OR REPLACE FUNCTION cache._tags_of(tables regclass[], has_key boolean, has_terms boolean) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    read record;
    tag text;
    tags text[] := '{}';
BEGIN
    FOR read IN
        SELECT c.oid::regclass::text AS relation, c.oid, c.relrowsecurity, c.relpersistence
        FROM pg_class AS c WHERE c.oid = ANY ($1)
    LOOP
        IF read.relpersistence = 't' THEN
            PERFORM cache._error('temporary table', read.relation);
        ELSIF read.relrowsecurity AND has_key THEN
            PERFORM cache._error('key with row security', read.relation);
        END IF;
        tag := (
            SELECT min(convert_from(substr(t.tgargs, 1, octet_length(t.tgargs) - 1), getdatabaseencoding()))
            FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
            WHERE t.tgrelid = read.oid AND p.pronamespace = 'cache'::regnamespace AND p.proname IN ('_note_table', '_note_row')
                AND t.tgnargs = 1 AND t.tgtype & 4 = 4 AND t.tgenabled <> 'D' AND t.tgargs NOT LIKE '%{%'::bytea
                AND t.tgname NOT LIKE '%\_rows');
        IF tag IS NOT NULL THEN
            tags := tags || tag;
        ELSIF NOT has_terms THEN
            PERFORM cache._error('not watched', read.relation);
        END IF;
    END LOOP;
    RETURN tags;
END $body$;
COMMENT ON FUNCTION cache._tags_of(regclass[], boolean, boolean) IS 'the tags of tables that a query reads';

-- An argument in the text form that its parameter's type reads.
CREATE OR REPLACE FUNCTION cache._argument(arg jsonb, is_array boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF NOT is_array OR jsonb_typeof(arg) <> 'array' THEN
        RETURN arg #>> '{}';
    END IF;
    RETURN '{' || coalesce((
        SELECT string_agg(CASE jsonb_typeof(element)
            WHEN 'null' THEN 'NULL'
            WHEN 'array' THEN cache._argument(element, true)
            ELSE '"' || replace(replace(element #>> '{}', '\', '\\'), '"', '\"') || '"' END, ',' ORDER BY place)
        FROM jsonb_array_elements(arg) WITH ORDINALITY AS e (element, place)), '') || '}';
END $body$;
COMMENT ON FUNCTION cache._argument(jsonb, boolean) IS 'an argument of a query in text form';

-- A statement without its comments, and without what is in quotes.
CREATE OR REPLACE FUNCTION cache._without_literals(query text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT regexp_replace(query,
        $re$\m[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([[:alpha:]_][[:alnum:]_]*)?\$.*?\$\1\$|--[^\n]*|/\*.*?\*/$re$,
        ' ', 'g')
$body$;
COMMENT ON FUNCTION cache._without_literals(text) IS 'a statement without comments and what is in quotes';

-- Computations that go on: a query may call remember() itself, and then depends on what that depends on. The setting holds
-- the depth and the tags so far, in the transaction and not in the session; a rollback takes them back.
CREATE OR REPLACE FUNCTION cache._note_dependencies(tags text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    frame jsonb := nullif(current_setting('pg_stash.computing', true), '');
BEGIN
    IF frame IS NOT NULL AND cardinality(tags) > 0 THEN
        PERFORM set_config('pg_stash.computing', jsonb_set(frame, '{tags}', frame -> 'tags' || to_jsonb(tags))::text, true);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._note_dependencies(text[]) IS 'what goes on being computed depends on these tags';

-- Runs the query. The arguments become literals of a prepared statement, which gives each the type that the query has for
-- it. As a part of another query it can only read. It runs with the caller's rights and search_path.
CREATE OR REPLACE FUNCTION cache._compute(
    query text, args jsonb, has_key boolean, has_terms boolean, has_ttl boolean, INOUT tags text[], OUT result jsonb)
LANGUAGE plpgsql AS $body$
DECLARE
    around text := COALESCE(pg_catalog.current_setting('pg_stash.computing', true), '');
    depth integer := COALESCE((NULLIF(around, '')::pg_catalog.jsonb OPERATOR(pg_catalog.->>) 'depth')::pg_catalog.int4, 0)
        OPERATOR(pg_catalog.+) 1;
    prepared text := pg_catalog.concat('_pg_stash_remember_', depth);
    types pg_catalog.regtype[];
    call text;
    plan json;
    nodes jsonb;
    functions oid[];
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) prepared) THEN
        EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
    END IF;
    -- By itself first: what is one statement has no other meaning as a part of a query.
    IF pg_catalog.btrim(cache._without_literals($1), E' \n\r\t\f;') OPERATOR(pg_catalog.~) '^$|;' THEN
        PERFORM cache._error('no query');
    END IF;
    EXECUTE pg_catalog.concat('PREPARE ', prepared, ' AS ', $1);
    EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
    BEGIN
        EXECUTE pg_catalog.concat('PREPARE ', prepared, ' AS SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(_pg_stash_row)), ''[]'') FROM (',
            E'\n', pg_catalog.regexp_replace($1, ';\s*$', ''), E'\n', ') AS _pg_stash_row');
    EXCEPTION WHEN syntax_error THEN
        PERFORM cache._error('no query');
    END;
    SELECT p.parameter_types INTO types FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) prepared;
    IF pg_catalog.cardinality(types) OPERATOR(pg_catalog.<>) COALESCE(pg_catalog.jsonb_array_length($2), 0) THEN
        EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
        PERFORM cache._error('args count', pg_catalog.cardinality(types)::pg_catalog.text,
            COALESCE(pg_catalog.jsonb_array_length($2), 0)::pg_catalog.text);
    END IF;
    call := pg_catalog.concat('EXECUTE ', prepared, (
        SELECT pg_catalog.concat('(', pg_catalog.string_agg(pg_catalog.quote_nullable(
            -- A string is a JSON value, too.
            CASE WHEN t.oid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.json, pg_catalog.jsonb}'::pg_catalog.regtype[])
                    AND pg_catalog.jsonb_typeof(a.arg) OPERATOR(pg_catalog.<>) 'null'
                THEN a.arg::pg_catalog.text ELSE cache._argument(a.arg, t.typcategory OPERATOR(pg_catalog.=) 'A') END),
            ', ' ORDER BY a.place), ')')
        FROM pg_catalog.jsonb_array_elements($2) WITH ORDINALITY AS a (arg, place)
        JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) types[a.place]
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0));
    EXECUTE pg_catalog.concat('EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ', call) INTO plan;
    nodes := plan OPERATOR(pg_catalog.->) 0 OPERATOR(pg_catalog.->) 'Plan';
    functions := ARRAY(SELECT cache._functions_of(nodes));
    IF EXISTS (SELECT FROM cache._plan_nodes(nodes) AS node WHERE node OPERATOR(pg_catalog.->>) 'Node Type' OPERATOR(pg_catalog.=) 'LockRows') THEN
        PERFORM cache._error('locks rows');
    END IF;
    PERFORM cache._check_functions(functions, $3, $5);
    tags := COALESCE(tags, '{}') OPERATOR(pg_catalog.||) cache._tags_of(ARRAY(SELECT cache._tables_of(nodes)), $3, $4);
    PERFORM pg_catalog.set_config('pg_stash.computing',
        pg_catalog.jsonb_build_object('depth', depth, 'tags', pg_catalog.to_jsonb(tags))::pg_catalog.text, true);
    EXECUTE call INTO result;
    EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
    tags := ARRAY(SELECT DISTINCT pg_catalog.jsonb_array_elements_text(
        pg_catalog.current_setting('pg_stash.computing')::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'tags'));
    PERFORM pg_catalog.set_config('pg_stash.computing', around, true);
    PERFORM cache._note_dependencies(tags);
END $body$;
COMMENT ON FUNCTION cache._compute(text, jsonb, boolean, boolean, boolean, text[]) IS 'runs the query of remember()';

CREATE OR REPLACE FUNCTION cache.remember(
    sql text, args jsonb DEFAULT NULL, key text DEFAULT NULL, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL,
    tags text[] DEFAULT NULL, cache text DEFAULT 'default')
RETURNS jsonb LANGUAGE plpgsql AS $body$
DECLARE
    entry_key text := $3;
    claimed record;
    computed record;
    is_filled boolean;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'sql');
    ELSIF pg_catalog.jsonb_typeof($2) OPERATOR(pg_catalog.<>) 'array' THEN
        PERFORM cache._error('args no array');
    END IF;
    -- All that has a say in what the query means, or in how its values are written. A temporary table may stand in front of
    -- another one.
    IF entry_key IS NULL THEN
        entry_key := pg_catalog.concat('remember:', pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.jsonb_build_array($1, $2, current_user, session_user, pg_catalog.pg_my_temp_schema()::pg_catalog.text, (
                SELECT pg_catalog.jsonb_agg(pg_catalog.current_setting(name)) FROM pg_catalog.unnest(ARRAY['search_path',
                    'TimeZone', 'DateStyle', 'IntervalStyle', 'bytea_output', 'extra_float_digits', 'lc_monetary', 'lc_numeric',
                    'lc_time', 'default_text_search_config', 'timezone_abbreviations', 'transform_null_equals',
                    'standard_conforming_strings', 'array_nulls', 'xmlbinary', 'xmloption']) AS name
            ))::pg_catalog.text, 'UTF8')), 'hex'));
    END IF;
    -- Who has written may hold a lock that the one who computes waits for.
    claimed := cache._claim(entry_key, '10 seconds', CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL
        THEN '10 seconds'::pg_catalog.interval ELSE '0'::pg_catalog.interval END, $7, 'json');
    IF claimed.state OPERATOR(pg_catalog.<>) 'miss' AND claimed.token IS NULL THEN
        PERFORM cache._note_dependencies(claimed.tags);
        RETURN claimed.value_json;
    END IF;
    computed := cache._compute($1, $2, $3 IS NOT NULL, $4 IS NOT NULL OR $6 IS NOT NULL, $4 IS NOT NULL, $6);
    IF claimed.token IS NOT NULL THEN
        BEGIN
            is_filled := cache._fill(claimed.token, NULL, computed.result, NULL, NULL, $4, $5, computed.tags);
        EXCEPTION WHEN program_limit_exceeded THEN
            -- What is too large to be stored is no less the result.
            PERFORM cache.release(claimed.token);
        END;
    END IF;
    RETURN computed.result;
END $body$;

-- What is behind the views cache.stats and cache.sweeper. Reads write nothing, so hits and misses are not known. What was
-- written is PostgreSQL's own count of row changes, less what it was at the last cache.stats_reset().

CREATE UNLOGGED TABLE IF NOT EXISTS cache._baselines (
    cache   text COLLATE "C" PRIMARY KEY,
    sets    bigint NOT NULL,
    deletes bigint NOT NULL,
    at      timestamptz NOT NULL
);
COMMENT ON TABLE cache._baselines IS 'counts at the last cache.stats_reset()';
COMMENT ON COLUMN cache._baselines.cache IS 'the cache';
COMMENT ON COLUMN cache._baselines.sets IS 'rows inserted and updated by then';
COMMENT ON COLUMN cache._baselines.deletes IS 'rows deleted by then';
COMMENT ON COLUMN cache._baselines.at IS 'when that was';

CREATE OR REPLACE FUNCTION cache.stats_data() RETURNS TABLE (
    cache text, relation oid, entries bigint, live_bytes bigint, hits bigint, misses bigint, sets bigint, deletes bigint,
    expired bigint, evicted bigint, invalidated bigint, stale_served bigint, recomputes_saved bigint, stats_reset timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    policy cache.caches;
    base record;
BEGIN
    FOR policy IN SELECT c.* FROM cache.caches AS c ORDER BY c.name LOOP
        cache := policy.name;
        relation := to_regclass('cache.' || cache._table(policy.name));
        entries := 0;
        live_bytes := 0;
        stats_reset := NULL;
        sets := pg_stat_get_tuples_inserted(relation) + pg_stat_get_tuples_updated(relation);
        deletes := pg_stat_get_tuples_deleted(relation);
        IF NOT pg_is_in_recovery() THEN
            SELECT b.* INTO base FROM cache._baselines AS b WHERE b.cache = policy.name;
            IF FOUND THEN
                -- PostgreSQL's own counts may have been reset in the meantime.
                sets := greatest(sets - base.sets, 0);
                deletes := greatest(deletes - base.deletes, 0);
                stats_reset := base.at;
            END IF;
        END IF;
        IF policy.durable OR NOT pg_is_in_recovery() THEN
            EXECUTE format('SELECT count(*), coalesce(sum(%s), 0)::bigint FROM cache.%I AS e', cache._row_bytes(), cache._table(policy.name))
            INTO entries, live_bytes;
        END IF;
        RETURN NEXT;
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION cache.stats_reset(cache text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    policy record;
    relation oid;
BEGIN
    FOR policy IN SELECT p.* FROM cache._policies($1) AS p ORDER BY p.name LOOP
        relation := to_regclass('cache.' || cache._table(policy.name));
        INSERT INTO cache._baselines (cache, sets, deletes, at)
        VALUES (policy.name, pg_stat_get_tuples_inserted(relation) + pg_stat_get_tuples_updated(relation),
            pg_stat_get_tuples_deleted(relation), clock_timestamp())
        ON CONFLICT ON CONSTRAINT _baselines_pkey DO UPDATE SET sets = excluded.sets, deletes = excluded.deletes, at = excluded.at;
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION cache.sweeper_data() RETURNS TABLE (
    database oid, pid integer, state text, last_pass timestamptz, duration interval, scanned bigint, expired bigint,
    evicted bigint, pace interval, lateness interval)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    SELECT d.oid INTO database FROM pg_database AS d WHERE d.datname = current_database();
    state := 'absent';
    IF NOT pg_is_in_recovery() THEN
        SELECT p.started, p.duration, p.scanned, p.expired, p.evicted INTO last_pass, duration, scanned, expired, evicted
        FROM cache._passes AS p;
    END IF;
    RETURN NEXT;
END $body$;

CREATE OR REPLACE VIEW cache.stats AS
SELECT
    data.cache,
    data.entries,
    data.live_bytes,
    pg_catalog.pg_total_relation_size(data.relation::pg_catalog.regclass) AS file_bytes,
    caches.max_size,
    caches.max_entries,
    pg_catalog.round(100 * greatest(
        data.live_bytes::numeric / caches.max_size, data.entries::numeric / caches.max_entries), 1) AS used_percent,
    data.hits,
    data.misses,
    pg_catalog.round(data.hits::numeric / nullif(data.hits + data.misses, 0), 4) AS hit_ratio,
    data.sets,
    data.deletes,
    data.expired,
    data.evicted,
    data.invalidated,
    data.stale_served,
    data.recomputes_saved,
    data.stats_reset
FROM stats_data() AS data
JOIN cache.caches ON caches.name = data.cache;

CREATE OR REPLACE VIEW cache.sweeper AS
SELECT
    coalesce(pg_database.datname, data.database::text::name) AS database,
    data.pid,
    data.state,
    data.last_pass,
    data.duration,
    data.scanned,
    data.expired,
    data.evicted,
    data.pace,
    data.lateness,
    holder.pid AS held_back_by,
    holder.age AS held_back_for
FROM sweeper_data() AS data
LEFT JOIN pg_catalog.pg_database ON pg_database.oid = data.database
-- Rows that were deleted since this transaction began are kept for it, by every sweep and every VACUUM.
LEFT JOIN LATERAL (
    SELECT activity.pid, pg_catalog.clock_timestamp() - activity.xact_start AS age
    FROM pg_catalog.pg_stat_activity AS activity
    WHERE activity.datid = data.database
        AND activity.pid NOT IN (pg_catalog.pg_backend_pid(), coalesce(data.pid, 0))
        AND coalesce(activity.backend_xmin, activity.backend_xid) IS NOT NULL
    ORDER BY greatest(pg_catalog.age(activity.backend_xmin), pg_catalog.age(activity.backend_xid)) DESC
    LIMIT 1
) AS holder ON true;

REVOKE EXECUTE ON FUNCTION stats_reset(text) FROM PUBLIC;

-- Those who watch the server may see how its caches do.
GRANT USAGE ON SCHEMA cache TO pg_monitor;
GRANT SELECT ON cache.stats, cache.sweeper, cache.caches TO pg_monitor;
-- What psql shows of each object that both editions have. Those that one alone has say it where they are made.

COMMENT ON FUNCTION cache.set(text, text, interval, interval, text[], timestamptz, text) IS 'stores a value under a key, for a time';
COMMENT ON FUNCTION cache.set(text, jsonb, interval, interval, text[], timestamptz, text) IS 'stores a value under a key, for a time';
COMMENT ON FUNCTION cache.set(text, bytea, interval, interval, text[], timestamptz, text) IS 'stores a value under a key, for a time';
COMMENT ON FUNCTION cache.set(text, bigint, interval, interval, text[], timestamptz, text) IS 'stores a value under a key, for a time';
COMMENT ON FUNCTION cache.add(text, text, interval, interval, text[], timestamptz, text) IS 'stores a value if there is no entry; returns whether it did';
COMMENT ON FUNCTION cache.add(text, jsonb, interval, interval, text[], timestamptz, text) IS 'stores a value if there is no entry; returns whether it did';
COMMENT ON FUNCTION cache.add(text, bytea, interval, interval, text[], timestamptz, text) IS 'stores a value if there is no entry; returns whether it did';
COMMENT ON FUNCTION cache.add(text, bigint, interval, interval, text[], timestamptz, text) IS 'stores a value if there is no entry; returns whether it did';
COMMENT ON FUNCTION cache.replace(text, text, interval, interval, text[], timestamptz, text) IS 'stores a value if there is an entry; returns whether it did';
COMMENT ON FUNCTION cache.replace(text, jsonb, interval, interval, text[], timestamptz, text) IS 'stores a value if there is an entry; returns whether it did';
COMMENT ON FUNCTION cache.replace(text, bytea, interval, interval, text[], timestamptz, text) IS 'stores a value if there is an entry; returns whether it did';
COMMENT ON FUNCTION cache.replace(text, bigint, interval, interval, text[], timestamptz, text) IS 'stores a value if there is an entry; returns whether it did';
COMMENT ON FUNCTION cache.compare_and_set(text, text, text, interval, text) IS 'overwrites an entry if its value is the expected one; returns whether it did';
COMMENT ON FUNCTION cache.compare_and_set(text, jsonb, jsonb, interval, text) IS 'overwrites an entry if its value is the expected one; returns whether it did';
COMMENT ON FUNCTION cache.compare_and_set(text, bytea, bytea, interval, text) IS 'overwrites an entry if its value is the expected one; returns whether it did';
COMMENT ON FUNCTION cache.compare_and_set(text, bigint, bigint, interval, text) IS 'overwrites an entry if its value is the expected one; returns whether it did';
COMMENT ON FUNCTION cache.get(text, text) IS 'the value of an entry as text; NULL where there is none';
COMMENT ON FUNCTION cache.get_json(text, text) IS 'the value of an entry as jsonb; NULL where there is none';
COMMENT ON FUNCTION cache.get_bytes(text, text) IS 'the value of an entry as bytea; NULL where there is none';
COMMENT ON FUNCTION cache.get_many(text[], text) IS 'the entries that there are under these keys, with their values as text';
COMMENT ON FUNCTION cache.get_many_json(text[], text) IS 'the entries that there are under these keys, with their values as jsonb';
COMMENT ON FUNCTION cache.get_many_bytes(text[], text) IS 'the entries that there are under these keys, with their values as bytea';
COMMENT ON FUNCTION cache.set_many(text[], text[], interval, interval, text[], timestamptz, text) IS 'stores each value under the key in the same place; returns the number of entries written';
COMMENT ON FUNCTION cache.set_many(text[], jsonb[], interval, interval, text[], timestamptz, text) IS 'stores each value under the key in the same place; returns the number of entries written';
COMMENT ON FUNCTION cache.set_many(text[], bytea[], interval, interval, text[], timestamptz, text) IS 'stores each value under the key in the same place; returns the number of entries written';
COMMENT ON FUNCTION cache.take(text, text) IS 'the value of an entry as text, which is deleted';
COMMENT ON FUNCTION cache.take_json(text, text) IS 'the value of an entry as jsonb, which is deleted';
COMMENT ON FUNCTION cache.take_bytes(text, text) IS 'the value of an entry as bytea, which is deleted';
COMMENT ON FUNCTION cache.exists(text, text) IS 'whether there is an entry';
COMMENT ON FUNCTION cache.expires_at(text, text) IS 'when an entry expires; infinity: never; NULL where there is none';
COMMENT ON FUNCTION cache.ttl(text, text) IS 'how long an entry has left; NULL where there is none or it never expires';
COMMENT ON FUNCTION cache.touch(text, interval, text) IS 'gives an entry a new TTL; returns whether there was one';
COMMENT ON FUNCTION cache.persist(text, text) IS 'has an entry never expire; returns whether there was one';
COMMENT ON FUNCTION cache.delete(text, text) IS 'deletes an entry; returns whether there was one';
COMMENT ON FUNCTION cache.delete_many(text[], text) IS 'deletes entries; returns how many there were';
COMMENT ON FUNCTION cache.delete_prefix(text, text) IS 'deletes the entries whose keys start with a prefix; returns how many there were';
COMMENT ON FUNCTION cache.keys(text, text) IS 'the keys that start with a prefix, in the order of their bytes';
COMMENT ON FUNCTION cache.incr(text, bigint, interval, bigint, text) IS 'adds to a counter, which is made if there is none; returns what it is then';
COMMENT ON FUNCTION cache.decr(text, bigint, interval, bigint, text) IS 'subtracts from a counter, which is made if there is none; returns what it is then';
COMMENT ON FUNCTION cache.clear(text) IS 'deletes all entries of a cache';
COMMENT ON FUNCTION cache.create_cache(text, interval, text, bigint, boolean) IS 'makes a cache';
COMMENT ON FUNCTION cache.alter_cache(text, interval, text, bigint, boolean) IS 'changes the policy of a cache; NULL leaves a part as it is';
COMMENT ON FUNCTION cache.drop_cache(text) IS 'drops a cache with all its entries';
COMMENT ON FUNCTION cache.sweep(text) IS 'removes expired entries now, and what is over the budget, of one cache or of all';
COMMENT ON FUNCTION cache.stats_reset(text) IS 'sets the counters of one cache or of all to zero';
COMMENT ON FUNCTION cache.top(integer, text) IS 'the largest entries of a cache';
COMMENT ON FUNCTION cache.never() IS 'the TTL of an entry that does not expire';
COMMENT ON FUNCTION cache.stats_data() IS 'figures of each cache, for the view cache.stats';
COMMENT ON FUNCTION cache.sweeper_data() IS 'figures of each sweeper, for the view cache.sweeper';
COMMENT ON FUNCTION cache.apply_policy() IS 'makes, alters or drops the table of a cache, for the trigger on cache.caches';

COMMENT ON TABLE cache.caches IS 'policies of the caches; a row that comes or goes makes or drops a cache';
COMMENT ON VIEW cache.stats IS 'figures of each cache';
COMMENT ON VIEW cache.sweeper IS 'the sweeper of each database that has needed one, and its last pass';
COMMENT ON TRIGGER apply_policy ON cache.caches IS 'makes, alters or drops the table of a cache';

COMMENT ON COLUMN cache.caches.name IS 'up to 48 lower-case letters, digits and underscores';
COMMENT ON COLUMN cache.caches.default_ttl IS 'TTL of entries stored without one; NULL: they never expire';
COMMENT ON COLUMN cache.caches.max_size IS 'budget in bytes of rows, with what is stored out of line; NULL: none';
COMMENT ON COLUMN cache.caches.max_entries IS 'budget in entries; NULL: none';
COMMENT ON COLUMN cache.caches.durable IS 'whether entries survive a crash and reach standbys, at the price of WAL';
COMMENT ON COLUMN cache.stats.cache IS 'name of the cache';
COMMENT ON COLUMN cache.stats.entries IS 'entries in the table, among them those that have expired since the last pass';
COMMENT ON COLUMN cache.stats.live_bytes IS 'bytes of their rows, with what is stored out of line';
COMMENT ON COLUMN cache.stats.file_bytes IS 'bytes of the table, its index and its out-of-line storage on disk';
COMMENT ON COLUMN cache.stats.max_size IS 'budget in bytes; NULL: none';
COMMENT ON COLUMN cache.stats.max_entries IS 'budget in entries; NULL: none';
COMMENT ON COLUMN cache.stats.used_percent IS 'share of the budget that is used; of two budgets, of the one nearer to its end';
COMMENT ON COLUMN cache.stats.hits IS 'reads that found an entry';
COMMENT ON COLUMN cache.stats.misses IS 'reads that did not';
COMMENT ON COLUMN cache.stats.hit_ratio IS 'hits as a share of all reads';
COMMENT ON COLUMN cache.stats.sets IS 'entries written, by committed transactions';
COMMENT ON COLUMN cache.stats.deletes IS 'entries deleted, by committed transactions';
COMMENT ON COLUMN cache.stats.expired IS 'expired entries that have been removed';
COMMENT ON COLUMN cache.stats.evicted IS 'entries that have been removed to keep the cache within its budget';
COMMENT ON COLUMN cache.stats.invalidated IS 'entries that have been removed because what they were made from has changed';
COMMENT ON COLUMN cache.stats.stale_served IS 'reads that were given an entry past its freshness while another session recomputed it';
COMMENT ON COLUMN cache.stats.recomputes_saved IS 'reads that waited for another session instead of recomputing';
COMMENT ON COLUMN cache.stats.stats_reset IS 'when the counters were last zero';
COMMENT ON COLUMN cache.sweeper.database IS 'name of the database';
COMMENT ON COLUMN cache.sweeper.pid IS 'process of its sweeper; NULL where none runs';
COMMENT ON COLUMN cache.sweeper.state IS 'absent, starting, idle, sweeping or unavailable';
COMMENT ON COLUMN cache.sweeper.last_pass IS 'when the last pass began';
COMMENT ON COLUMN cache.sweeper.duration IS 'how long it took';
COMMENT ON COLUMN cache.sweeper.scanned IS 'row versions that it looked at';
COMMENT ON COLUMN cache.sweeper.expired IS 'expired entries that it removed';
COMMENT ON COLUMN cache.sweeper.evicted IS 'entries that it removed to keep caches within their budgets';
COMMENT ON COLUMN cache.sweeper.pace IS 'time between two passes over a cache, as it is now';
COMMENT ON COLUMN cache.sweeper.lateness IS 'for how long the oldest expired entry may have waited to be removed; NULL: none waits';
COMMENT ON COLUMN cache.sweeper.held_back_by IS 'process with the oldest transaction, which keeps the room of removed entries from being used again';
COMMENT ON COLUMN cache.sweeper.held_back_for IS 'how long that transaction has been open';
COMMENT ON FUNCTION cache.invalidate(text[]) IS 'makes all entries with one of these tags invalid: for others at the commit';
COMMENT ON FUNCTION cache.clock() IS 'the time to pass as as_of with what is read after this call';

COMMENT ON FUNCTION cache.get_any(text, text) IS 'the value of an entry in the column of its type; no row where there is none';
COMMENT ON FUNCTION cache.take_any(text, text) IS 'the value of an entry in the column of its type, which is deleted';
COMMENT ON FUNCTION cache.get_many_any(text[], text) IS 'the values under these keys, in their order, as an array for each type that there are values of; all else in it is NULL';
COMMENT ON FUNCTION cache.claim(text, interval, interval, text) IS 'the value of an entry as text, and the lease to make it where it is missing or stale';
COMMENT ON FUNCTION cache.claim_json(text, interval, interval, text) IS 'the value of an entry as jsonb, and the lease to make it where it is missing or stale';
COMMENT ON FUNCTION cache.claim_bytes(text, interval, interval, text) IS 'the value of an entry as bytea, and the lease to make it where it is missing or stale';
COMMENT ON FUNCTION cache.claim_any(text, interval, interval, text) IS 'the value of an entry in the column of its type, and the lease to make it where it is missing or stale';
COMMENT ON FUNCTION cache.fill(bytea, text, interval, interval, text[]) IS 'stores what was made under a lease; returns whether it was still wanted';
COMMENT ON FUNCTION cache.fill(bytea, jsonb, interval, interval, text[]) IS 'stores what was made under a lease; returns whether it was still wanted';
COMMENT ON FUNCTION cache.fill(bytea, bytea, interval, interval, text[]) IS 'stores what was made under a lease; returns whether it was still wanted';
COMMENT ON FUNCTION cache.fill(bytea, bigint, interval, interval, text[]) IS 'stores what was made under a lease; returns whether it was still wanted';
COMMENT ON FUNCTION cache.release(bytea) IS 'gives a lease up without a value';
COMMENT ON FUNCTION cache.remember(text, jsonb, text, interval, interval, text[], text) IS 'the rows of a query, computed once for all who ask and again when the tables that it reads have changed';

COMMENT ON FUNCTION cache.watch(regclass, text) IS 'has every change of a table invalidate a tag at its commit';
COMMENT ON FUNCTION cache.unwatch(regclass) IS 'undoes cache.watch()';
COMMENT ON FUNCTION cache.invalidate_all() IS 'makes all entries invalid that have a tag: for others at the commit';
COMMENT ON VIEW cache.watched IS 'the tables that are watched, and for which tags';
COMMENT ON COLUMN cache.watched.relation IS 'the table';
COMMENT ON COLUMN cache.watched.tag IS 'the tag that its changes invalidate; {column} stands for a value of the row';
COMMENT ON COLUMN cache.watched.level IS 'statement: any change invalidates the tag; row: each row its own';
-- Where pg_cron is there and may be used, it calls cache.sweep() every minute. Nothing depends on it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron') THEN
        EXECUTE 'SELECT cron.schedule(''pg_stash sweep'', ''* * * * *'', ''SELECT cache.sweep()'')';
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING USING MESSAGE = 'pg_cron does not sweep the caches: ' || SQLERRM,
        HINT = 'Writers do. Somebody who may use pg_cron can run: SELECT cron.schedule(''pg_stash sweep'', ''* * * * *'', ''SELECT cache.sweep()'')';
END $$;
-- Takes in what has been set aside by a move from the other edition, if there is any.
DO $$
DECLARE
    policy record;
    entries_table text;
    privilege record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF to_regnamespace('cache_aside') IS NULL THEN
        RETURN;
    END IF;
    FOR policy IN SELECT * FROM cache_aside.policies LOOP
        entries_table := CASE policy.name WHEN 'default' THEN 'entries' ELSE 'entries_' || policy.name END;
        IF EXISTS (SELECT FROM cache.caches WHERE name = policy.name) THEN
            UPDATE cache.caches SET default_ttl = policy.default_ttl, max_size = policy.max_size,
                max_entries = policy.max_entries, durable = policy.durable WHERE name = policy.name;
        ELSE
            INSERT INTO cache.caches (name, default_ttl, max_size, max_entries, durable)
            VALUES (policy.name, policy.default_ttl, policy.max_size, policy.max_entries, policy.durable);
        END IF;
        EXECUTE format('INSERT INTO cache.%1$I (expires_at, key, value_text, value_json, value_bytes, value_int, fresh_until, fill_micros)
            SELECT expires_at, key, value_text, value_json, value_bytes, value_int, fresh_until, fill_micros
            FROM cache_aside.%1$I ORDER BY key ON CONFLICT DO NOTHING', entries_table);
    END LOOP;
    DELETE FROM cache.caches WHERE name NOT IN (SELECT name FROM cache_aside.policies);
    FOR privilege IN
        SELECT g.object, g.privilege_type, g.is_grantable, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END AS grantee
        FROM cache_aside.grants AS g
        WHERE g.grantee = 0 OR g.grantee IN (SELECT oid FROM pg_roles WHERE rolname <> current_user)
    LOOP
        IF privilege.object = 'SCHEMA cache' OR to_regclass(split_part(privilege.object, ' ', 2)) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s TO %s%s', privilege.privilege_type, privilege.object, privilege.grantee,
                CASE WHEN privilege.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        END IF;
    END LOOP;
    IF to_regprocedure('cache.watch(regclass,text)') IS NOT NULL THEN
        PERFORM cache.watch(w.relation, w.tag) FROM cache_aside.watches AS w;
    END IF;
    PERFORM set_config('client_min_messages', 'warning', true);
    DROP SCHEMA cache_aside CASCADE;
END $$;
COMMIT;

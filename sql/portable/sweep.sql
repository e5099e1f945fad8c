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

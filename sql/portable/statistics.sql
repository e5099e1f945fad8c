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

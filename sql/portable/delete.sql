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

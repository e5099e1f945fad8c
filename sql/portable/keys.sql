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

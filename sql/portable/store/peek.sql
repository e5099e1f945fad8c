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

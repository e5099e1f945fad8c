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

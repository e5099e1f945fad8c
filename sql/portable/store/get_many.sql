-- Live entries, in the order of their keys.
CREATE OR REPLACE FUNCTION cache._peek_many(keys text[], cache text) RETURNS TABLE (
    key text, value_text text, value_json jsonb, value_bytes bytea, value_int bigint)
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
BEGIN
    PERFORM cache._check_keys($1);
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF cache._may_read($2, {durable}) THEN
            RETURN QUERY
            SELECT e.key, e.value_text, e.value_json, e.value_bytes, e.value_int FROM cache.{table} AS e
            WHERE e.key OPERATOR(pg_catalog.=) ANY ($1)
                AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
                AND (e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of))
            ORDER BY e.key;
        END IF;
        RETURN;
    END IF;
    -- end
    PERFORM cache._no_such_cache($2);
END $body$;
COMMENT ON FUNCTION cache._peek_many(text[], text) IS 'the live entries under some keys';

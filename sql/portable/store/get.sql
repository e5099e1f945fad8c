-- readers
-- Not for parallel queries: one that meets an invalidated entry may note a moment. Privileges are for PostgreSQL to check.
CREATE OR REPLACE FUNCTION cache.get{suffix}(key text, cache text DEFAULT 'default') RETURNS {type}
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    found_value {type};
    is_current boolean;
BEGIN
    -- each cache
    IF $2 OPERATOR(pg_catalog.=) {name} THEN
        IF NOT (pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery())
            AND NOT cache._may_read($2, {durable})
        THEN
            RETURN NULL;
        END IF;
        SELECT {read}, e.tags IS NULL OR cache._is_current(e.tags, e.basis, e.as_of) INTO found_value, is_current
        FROM cache.{table} AS e
        WHERE e.key OPERATOR(pg_catalog.=) $1 AND e.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp();
        IF is_current THEN
            IF found_value IS NULL THEN
                PERFORM cache._wrong_form($1, $2, '{form}');
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

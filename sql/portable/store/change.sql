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

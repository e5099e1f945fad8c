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

-- writers
-- The common case in as few steps as there can be: each function in a condition is looked up anew in each transaction, which
-- is why what one cache needs, and what a TTL needs, stand apart. Whatever is out of the ordinary is for _put(), as are values
-- of which a few would fill the budget. Privileges are for PostgreSQL to check, with its own message: to look at them
-- beforehand would take a fifth of the time.
CREATE OR REPLACE FUNCTION cache.set(
    key text, value {type}, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    is_stored boolean;
BEGIN
    -- each cache
    IF $7 OPERATOR(pg_catalog.=) {name} THEN
        IF $2 IS NOT NULL AND $4 IS NULL AND $5 IS NULL AND $6 IS NULL
            AND $1 OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) 1024
            AND {size} OPERATOR(pg_catalog.<) LEAST(100000, {max_size} OPERATOR(pg_catalog./) 10000)
            AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
        THEN
            IF $3 IS NULL AND {is_plain_default} THEN
                INSERT INTO cache.{table} (expires_at, key, {column})
                VALUES (COALESCE(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) {default_ttl}, 'infinity'), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSIF COALESCE($3, {default_ttl}) OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval
                AND CURRENT_TIMESTAMP OPERATOR(pg_catalog.+) GREATEST(COALESCE($3, {default_ttl}), '0'::pg_catalog.interval)
                    OPERATOR(pg_catalog.>) CURRENT_TIMESTAMP
            THEN
                INSERT INTO cache.{table} (expires_at, key, {column})
                VALUES (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) COALESCE($3, {default_ttl}), $1, $2)
                ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
                    value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
                    fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
            ELSE
                is_stored := cache._put($1, {value}, $3, $4, $5, $6, $7);
                RETURN;
            END IF;
            IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
                PERFORM cache._upkeep($7);
            END IF;
            RETURN;
        END IF;
    END IF;
    -- end
    is_stored := cache._put($1, {value}, $3, $4, $5, $6, $7);
END $body$;

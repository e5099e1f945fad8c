-- writers
-- The common case in as few steps as there can be. Whatever is out of the ordinary is for _put(). Privileges are for PostgreSQL to
-- check, with its own message: to look at them beforehand would take a fifth of the time.
CREATE OR REPLACE FUNCTION cache.set(
    key text, value {type}, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    new_expires_at timestamptz := 'infinity';
    is_stored boolean;
BEGIN
    -- each cache
    IF $7 OPERATOR(pg_catalog.=) {name} AND pg_catalog.num_nonnulls($2, $4, $5, $6) OPERATOR(pg_catalog.=) 1 AND $2 IS NOT NULL
        AND $1 OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) 1024
        AND pg_catalog.pg_column_size($2) OPERATOR(pg_catalog.<=) LEAST(100000, {max_size} OPERATOR(pg_catalog./) 2)
        AND pg_catalog.current_setting('pg_stash.enabled', true) IS NULL AND NOT pg_catalog.pg_is_in_recovery()
    THEN
        IF $3 IS NOT NULL OR {default_ttl} IS NOT NULL THEN
            IF COALESCE($3, {default_ttl}) OPERATOR(pg_catalog.<) '10000 days'::pg_catalog.interval THEN
                new_expires_at := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) COALESCE($3, {default_ttl});
            END IF;
            IF new_expires_at OPERATOR(pg_catalog.=) 'infinity' OR new_expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() THEN
                new_expires_at := cache._expiry(COALESCE($3, {default_ttl}));
            END IF;
        END IF;
        INSERT INTO cache.{table} (expires_at, key, {column}) VALUES (new_expires_at, $1, $2)
        ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
            value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = excluded.value_int,
            fresh_until = NULL, as_of = NULL, tags = NULL, fill_micros = NULL, basis = NULL;
        IF pg_catalog.random() OPERATOR(pg_catalog.<) {chance} THEN
            PERFORM cache._sweep_piece($7);
        END IF;
        RETURN;
    END IF;
    -- end
    is_stored := cache._put($1, {value}, $3, $4, $5, $6, $7);
END $body$;

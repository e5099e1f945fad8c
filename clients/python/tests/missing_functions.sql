-- Stand-ins for functions that the server under test does not have yet: the readers of any type, and leases. They do in
-- SQL what the client relies on, so that its tests can run; a function that is there is left alone.
CREATE SCHEMA IF NOT EXISTS stand_in;

CREATE FUNCTION stand_in.table_of(cache text) RETURNS regclass LANGUAGE sql STABLE AS $$
    SELECT ('cache.entries' || CASE cache WHEN 'default' THEN '' ELSE '_' || cache END)::regclass
$$;

CREATE UNLOGGED TABLE stand_in.leases (
    id bigint GENERATED ALWAYS AS IDENTITY, cache text, key text, deadline timestamptz, PRIMARY KEY (cache, key)
);

CREATE FUNCTION stand_in.claim(wanted text, duration interval, patience interval, which text)
RETURNS TABLE (state text, value_text text, value_json jsonb, value_bytes bytea, value_int bigint, lease bytea)
LANGUAGE plpgsql AS $$
DECLARE
    until timestamptz := clock_timestamp() + patience;
    is_stale boolean;
    got bigint;
BEGIN
    LOOP
        EXECUTE format('SELECT coalesce(fresh_until < clock_timestamp(), false) FROM %s WHERE key = $1
            AND cache.exists(key, $2)', stand_in.table_of(which)) INTO is_stale USING wanted, which;
        IF is_stale IS FALSE THEN
            DELETE FROM stand_in.leases WHERE id = got;
            RETURN QUERY SELECT 'hit', v.*, NULL::bytea FROM cache.get_any(wanted, which) AS v;
            RETURN;
        END IF;
        got := NULL;
        DELETE FROM stand_in.leases AS l WHERE l.cache = which AND l.key = wanted AND l.deadline <= clock_timestamp();
        -- Not DO UPDATE: that would lock a lease that somebody else holds, for as long as this waits.
        INSERT INTO stand_in.leases AS l (cache, key, deadline) VALUES (which, wanted, clock_timestamp() + duration)
        ON CONFLICT DO NOTHING RETURNING l.id INTO got;
        IF is_stale THEN
            RETURN QUERY SELECT 'stale', v.*, int8send(got) FROM cache.get_any(wanted, which) AS v;
            RETURN;
        END IF;
        -- Filled in since it was looked for.
        CONTINUE WHEN got IS NOT NULL AND cache.exists(wanted, which);
        IF got IS NOT NULL OR clock_timestamp() >= until THEN
            RETURN QUERY SELECT 'miss', NULL::text, NULL::jsonb, NULL::bytea, NULL::bigint, int8send(got);
            RETURN;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;

DO $do$
DECLARE
    kind text;
BEGIN
    IF to_regprocedure('cache.get_any(text, text)') IS NULL THEN
        CREATE FUNCTION cache.get_any(key text, cache text DEFAULT 'default')
        RETURNS TABLE (value_text text, value_json jsonb, value_bytes bytea, value_int bigint) LANGUAGE plpgsql AS $$
        BEGIN
            -- For its errors: a key that none may have, a cache that is not there.
            IF NOT cache.exists(key, cache) THEN
                RETURN;
            END IF;
            RETURN QUERY EXECUTE format(
                'SELECT value_text, value_json, value_bytes, value_int FROM %s WHERE key = $1 AND cache.exists(key, $2)',
                stand_in.table_of(cache)) USING key, cache;
        END $$;
        CREATE FUNCTION cache.get_many_any(keys text[], cache text DEFAULT 'default')
        RETURNS TABLE (key text, value_text text, value_json jsonb, value_bytes bytea, value_int bigint) LANGUAGE plpgsql AS $$
        BEGIN
            RETURN QUERY EXECUTE format(
                'SELECT key, value_text, value_json, value_bytes, value_int FROM %s WHERE key = ANY ($1) AND cache.exists(key, $2)',
                stand_in.table_of(cache)) USING keys, cache;
        END $$;
        CREATE FUNCTION cache.take_any(key text, cache text DEFAULT 'default')
        RETURNS TABLE (value_text text, value_json jsonb, value_bytes bytea, value_int bigint) LANGUAGE plpgsql AS $$
        BEGIN
            RETURN QUERY EXECUTE format(
                'DELETE FROM %s WHERE key = $1 AND cache.exists(key, $2)
                 RETURNING value_text, value_json, value_bytes, value_int', stand_in.table_of(cache)) USING key, cache;
        END $$;
    END IF;

    IF to_regprocedure('cache.claim_any(text, interval, interval, text)') IS NULL THEN
        CREATE FUNCTION cache.claim_any(key text, lease interval DEFAULT '10 s', wait interval DEFAULT '0', cache text DEFAULT 'default')
        RETURNS TABLE (state text, value_text text, value_json jsonb, value_bytes bytea, value_int bigint, lease bytea)
        LANGUAGE sql AS 'SELECT * FROM stand_in.claim($1, $2, $3, $4)';

        CREATE FUNCTION cache.release(lease bytea) RETURNS void LANGUAGE sql AS $$
            DELETE FROM stand_in.leases WHERE int8send(id) = $1
        $$;
    END IF;

    IF to_regprocedure('cache.fill(bytea, text, interval, interval, text[])') IS NULL THEN
        FOREACH kind IN ARRAY ARRAY['text', 'jsonb', 'bytea', 'bigint'] LOOP
            EXECUTE format($f$
                CREATE FUNCTION cache.fill(lease bytea, value %s, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL,
                    tags text[] DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
                DECLARE
                    held stand_in.leases;
                BEGIN
                    DELETE FROM stand_in.leases WHERE int8send(id) = lease AND deadline > clock_timestamp() RETURNING * INTO held;
                    IF NOT FOUND THEN
                        RETURN false;
                    END IF;
                    PERFORM cache.set(held.key, value, ttl => ttl, fresh => fresh, tags => tags, cache => held.cache);
                    RETURN true;
                END $$
            $f$, kind);
        END LOOP;
    END IF;
END $do$;

-- exists, expires_at, ttl, touch, persist.

CREATE OR REPLACE FUNCTION cache.exists(key text, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql PARALLEL RESTRICTED AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    RETURN coalesce(e.is_live, false);
END $body$;

CREATE OR REPLACE FUNCTION cache.expires_at(key text, cache text DEFAULT 'default') RETURNS timestamptz
LANGUAGE plpgsql PARALLEL RESTRICTED AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    RETURN CASE WHEN e.is_live THEN e.expires_at END;
END $body$;

CREATE OR REPLACE FUNCTION cache.ttl(key text, cache text DEFAULT 'default') RETURNS interval
LANGUAGE plpgsql PARALLEL RESTRICTED AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    IF e.is_live AND e.expires_at OPERATOR(pg_catalog.<>) 'infinity' THEN
        RETURN pg_catalog.make_interval(secs => GREATEST(0, pg_catalog.date_part('epoch',
            e.expires_at OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp())));
    END IF;
    RETURN NULL;
END $body$;

CREATE OR REPLACE FUNCTION cache.touch(key text, ttl interval DEFAULT NULL, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._reschedule($1, $2, $3);
END $body$;

CREATE OR REPLACE FUNCTION cache.persist(key text, cache text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._reschedule($1, cache.never(), $2);
END $body$;

-- create_cache, alter_cache, drop_cache: rows of cache.caches, written with the caller's rights.

CREATE OR REPLACE FUNCTION cache._check_policy(INOUT default_ttl interval, INOUT max_size text, INOUT max_entries bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    IF default_ttl IS NOT NULL THEN
        PERFORM cache._expiry(default_ttl);
    END IF;
    max_size := pg_size_bytes(max_size);
    IF max_size::bigint < 0 THEN
        PERFORM cache._error('negative', 'max_size');
    ELSIF max_entries < 0 THEN
        PERFORM cache._error('negative', 'max_entries');
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_policy(interval, text, bigint) IS 'checks the arguments of a policy, and turns a size into bytes';

CREATE OR REPLACE FUNCTION cache.create_cache(
    name text, default_ttl interval DEFAULT NULL, max_size text DEFAULT NULL, max_entries bigint DEFAULT NULL,
    durable boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    size text;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'name');
    ELSIF $1 !~ '^[a-z_][a-z0-9_]{0,47}$' THEN
        PERFORM cache._error('invalid cache name', $1);
    ELSIF cache._exists($1) THEN
        PERFORM cache._error('cache exists', $1);
    END IF;
    SELECT p.max_size INTO size FROM cache._check_policy($2, $3, $4) AS p;
    INSERT INTO cache.caches (name, default_ttl, max_size, max_entries, durable)
    VALUES ($1, $2, nullif(size::bigint, 0), nullif($4, 0), coalesce($5, false));
END $body$;

CREATE OR REPLACE FUNCTION cache._exists(cache text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN EXISTS (SELECT FROM cache.caches AS c WHERE c.name = $1);
END $body$;
COMMENT ON FUNCTION cache._exists(text) IS 'whether there is a cache';

CREATE OR REPLACE FUNCTION cache.alter_cache(
    name text, default_ttl interval DEFAULT NULL, max_size text DEFAULT NULL, max_entries bigint DEFAULT NULL,
    durable boolean DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    size text;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'name');
    END IF;
    SELECT p.max_size INTO size FROM cache._check_policy($2, $3, $4) AS p;
    UPDATE cache.caches AS c SET default_ttl = coalesce($2, c.default_ttl),
        max_size = nullif(coalesce(size::bigint, c.max_size), 0), max_entries = nullif(coalesce($4, c.max_entries), 0),
        durable = coalesce($5, c.durable)
    WHERE c.name = $1;
    IF NOT FOUND THEN
        PERFORM cache._no_such_cache($1);
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache.drop_cache(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'name');
    ELSIF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    DELETE FROM cache.caches AS c WHERE c.name = $1;
    IF NOT FOUND THEN
        PERFORM cache._no_such_cache($1);
    END IF;
END $body$;

-- writers
CREATE OR REPLACE FUNCTION cache.add(
    key text, value {type}, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, {value}, ttl, fresh, tags, as_of, cache, 'absent');
END $body$;

CREATE OR REPLACE FUNCTION cache.replace(
    key text, value {type}, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put(key, {value}, ttl, fresh, tags, as_of, cache, 'present');
END $body$;

CREATE OR REPLACE FUNCTION cache.compare_and_set(
    key text, expected {type}, value {type}, ttl interval DEFAULT NULL, cache text DEFAULT 'default')
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._swap(key, {expected}, {value}, ttl, cache);
END $body$;

CREATE OR REPLACE FUNCTION cache.fill(
    lease bytea, value {type}, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._fill(lease, {value}, ttl, fresh, tags);
END $body$;

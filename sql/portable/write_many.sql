-- readers
CREATE OR REPLACE FUNCTION cache.set_many(
    keys text[], vals {type}[], ttl interval DEFAULT NULL, fresh interval DEFAULT NULL, tags text[] DEFAULT NULL,
    as_of timestamptz DEFAULT NULL, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN cache._put_many(keys, {vals}, ttl, fresh, tags, as_of, cache);
END $body$;

-- incr and decr.

CREATE OR REPLACE FUNCTION cache.incr(
    key text, by bigint DEFAULT 1, ttl interval DEFAULT NULL, initial bigint DEFAULT 0, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    RETURN cache._count($1, $2, $3, $4, $5);
END $body$;

CREATE OR REPLACE FUNCTION cache.decr(
    key text, by bigint DEFAULT 1, ttl interval DEFAULT NULL, initial bigint DEFAULT 0, cache text DEFAULT 'default')
RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    RETURN cache._count($1, OPERATOR(pg_catalog.-) $2::pg_catalog.numeric, $3, $4, $5);
END $body$;

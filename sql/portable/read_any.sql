-- The fourth form of each reader: the value in the column of its type, in one row, or none on a miss.

CREATE OR REPLACE FUNCTION cache.get_any(key text, cache text DEFAULT 'default')
RETURNS TABLE (value_text text, value_json jsonb, value_bytes bytea, value_int bigint)
LANGUAGE plpgsql AS $body$
DECLARE
    e record := cache._peek($1, $2);
BEGIN
    IF e.is_live THEN
        RETURN QUERY SELECT e.value_text, e.value_json, e.value_bytes, e.value_int;
    ELSIF NOT e.is_live THEN
        PERFORM cache._note_moment();
    END IF;
END $body$;
COMMENT ON FUNCTION cache.get_any(text, text) IS 'the value of an entry in the column of its type; no row where there is none';

CREATE OR REPLACE FUNCTION cache.get_many_any(keys text[], cache text DEFAULT 'default')
RETURNS TABLE (value_text text[], value_json jsonb[], value_bytes bytea[], value_int bigint[])
LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF cardinality($1) > 0 THEN
        RETURN QUERY
        SELECT CASE WHEN count(e.value_text) > 0 THEN array_agg(e.value_text ORDER BY k.place) END,
            CASE WHEN count(e.value_json) > 0 THEN array_agg(e.value_json ORDER BY k.place) END,
            CASE WHEN count(e.value_bytes) > 0 THEN array_agg(e.value_bytes ORDER BY k.place) END,
            CASE WHEN count(e.value_int) > 0 THEN array_agg(e.value_int ORDER BY k.place) END
        FROM unnest($1) WITH ORDINALITY AS k (key, place)
        LEFT JOIN cache._peek_many($1, $2) AS e ON e.key = k.key COLLATE "C";
    ELSE
        PERFORM FROM cache._peek_many($1, $2);
        RETURN QUERY SELECT NULL::text[], NULL::jsonb[], NULL::bytea[], NULL::bigint[];
    END IF;
END $body$;
COMMENT ON FUNCTION cache.get_many_any(text[], text) IS 'the values under these keys, in their order, as an array for each type that there are values of; all else in it is NULL';

CREATE OR REPLACE FUNCTION cache.take_any(key text, cache text DEFAULT 'default')
RETURNS TABLE (value_text text, value_json jsonb, value_bytes bytea, value_int bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove($1, $2, 'SELECT', 'DELETE');
BEGIN
    IF e.is_live THEN
        RETURN QUERY SELECT e.value_text, e.value_json, e.value_bytes, e.value_int;
    END IF;
END $body$;
COMMENT ON FUNCTION cache.take_any(text, text) IS 'the value of an entry, which is deleted, in the column of its type';

CREATE OR REPLACE FUNCTION cache.claim_any(
    key text, lease interval DEFAULT '10 seconds', wait interval DEFAULT '0', cache text DEFAULT 'default',
    OUT state text, OUT value_text text, OUT value_json jsonb, OUT value_bytes bytea, OUT value_int bigint, OUT lease bytea)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT e.state, e.value_text, e.value_json, e.value_bytes, e.value_int, e.token FROM cache._claim($1, $2, $3, $4) AS e
$body$;
COMMENT ON FUNCTION cache.claim_any(text, interval, interval, text) IS 'reads an entry, in the column of its type; where it is missing or stale, one caller gets a lease to fill it';

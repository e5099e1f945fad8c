-- Whether a value is too large for the budget of its cache.
CREATE OR REPLACE FUNCTION cache._check_size(key text, tags text[], bytes bigint, max_size bigint, cache text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    size bigint := octet_length(key) + bytes + coalesce(pg_column_size(tags) - 4, 0);
BEGIN
    IF size > max_size THEN
        PERFORM cache._error('larger than budget', size::text, cache, max_size::text);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_size(text, text[], bigint, bigint, text) IS 'raises an error where an entry is larger than the budget';

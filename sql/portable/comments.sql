-- What psql shows of the objects that the native edition's comments do not name.
COMMENT ON FUNCTION cache.release(bytea) IS 'gives a lease back without filling the entry';
COMMENT ON FUNCTION cache.watch(regclass, text) IS 'has changes of a table invalidate a tag';
COMMENT ON FUNCTION cache.unwatch(regclass) IS 'has changes of a table invalidate nothing';
DO $$
DECLARE
    type text;
BEGIN
    FOREACH type IN ARRAY ARRAY['text', 'jsonb', 'bytea', 'bigint'] LOOP
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION cache.fill(bytea, %s, interval, interval, text[]) IS %L', type,
            'stores what was computed under a lease; returns whether it did');
    END LOOP;
    FOREACH type IN ARRAY ARRAY['', '_json', '_bytes'] LOOP
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION cache.claim%s(text, interval, interval, text) IS %L', type,
            'reads an entry; where it is missing or stale, one caller gets a lease to fill it');
    END LOOP;
END $$;

-- Removes the portable edition of pg_stash from a database. Run it as the role that has installed it.
BEGIN;
-- Removes everything that the portable edition has made, and nothing else. If something that it has not made depends on it, or is
-- in the schema, that is an error, and nothing is removed.
DO $$
DECLARE
    command text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF to_regprocedure('cache._make_store()') IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = 'the portable edition of pg_stash is not installed in this database';
    END IF;
    BEGIN
        IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
            EXECUTE 'SELECT cron.unschedule(''pg_stash sweep'')';
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING USING MESSAGE = 'the job of pg_cron stays: ' || SQLERRM;
    END;
    FOREACH command IN ARRAY ARRAY(
        SELECT * FROM (
            SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
            FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
            WHERE p.pronamespace = 'cache'::regnamespace AND t.tgparentid = 0
        ) AS triggers
        UNION ALL SELECT format('DROP VIEW cache.%I', name) FROM unnest(ARRAY['stats', 'sweeper', 'watched']) AS name
        UNION ALL SELECT * FROM (
            SELECT format('DROP FUNCTION %s', p.oid::regprocedure) FROM pg_proc AS p WHERE p.pronamespace = 'cache'::regnamespace
        ) AS functions
        UNION ALL SELECT format('DROP TABLE cache.%I', CASE c.name WHEN 'default' THEN 'entries' ELSE 'entries_' || c.name END) FROM cache.caches AS c
        UNION ALL SELECT format('DROP TABLE cache.%I', name) FROM unnest(ARRAY[
            'caches', '_invalidations', '_moments', '_horizon', '_leases', '_passes', '_baselines']) AS name
        UNION ALL SELECT 'DROP SCHEMA cache'
    ) LOOP
        EXECUTE command;
    END LOOP;
END $$;
COMMIT;

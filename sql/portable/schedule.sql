-- Where pg_cron is there and may be used, it calls cache.sweep() every minute. Nothing depends on it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron') THEN
        EXECUTE 'SELECT cron.schedule(''pg_stash sweep'', ''* * * * *'', ''SELECT cache.sweep()'')';
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING USING MESSAGE = 'pg_cron does not sweep the caches: ' || SQLERRM,
        HINT = 'Writers do. Somebody who may use pg_cron can run: SELECT cron.schedule(''pg_stash sweep'', ''* * * * *'', ''SELECT cache.sweep()'')';
END $$;

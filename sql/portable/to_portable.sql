-- Moves a database from the native edition back to the portable one. Run it as a superuser, and then, as the same role,
-- pg_stash.sql, which takes in what this one sets aside in the schema cache_aside.
BEGIN;
-- Sets aside what is to be kept: policies, privileges, watched tables, and entries without tags. Those with tags are made
-- anew: what they depend on is not known to the other edition.
DO $$
DECLARE
    cache_name text;
    entries_table text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    CREATE SCHEMA cache_aside;
    CREATE TABLE cache_aside.policies AS SELECT name, default_ttl, max_size, max_entries, durable FROM cache.caches;
    CREATE TABLE cache_aside.grants AS
        SELECT 'SCHEMA cache' AS object, a.privilege_type, a.grantee, a.is_grantable
        FROM pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a WHERE n.nspname = 'cache'
        UNION ALL
        SELECT 'TABLE cache.' || c.relname, a.privilege_type, a.grantee, a.is_grantable
        FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
        WHERE c.relnamespace = 'cache'::regnamespace
            AND (c.relname IN ('caches', 'stats', 'sweeper', 'watched', 'entries')
                OR c.relname IN (SELECT 'entries_' || name FROM cache.caches));
    CREATE TABLE cache_aside.watches (relation regclass, tag text);
    IF to_regclass('cache.watched') IS NOT NULL THEN
        INSERT INTO cache_aside.watches SELECT w.relation, w.tag FROM cache.watched AS w;
        PERFORM cache.unwatch(w.relation) FROM (SELECT DISTINCT relation FROM cache_aside.watches) AS w;
    END IF;
    FOR cache_name IN SELECT name FROM cache.caches LOOP
        entries_table := CASE cache_name WHEN 'default' THEN 'entries' ELSE 'entries_' || cache_name END;
        EXECUTE format('CREATE UNLOGGED TABLE cache_aside.%1$I AS SELECT expires_at, key, value_text, value_json, value_bytes,
            value_int, fresh_until, fill_micros FROM cache.%1$I WHERE tags IS NULL AND expires_at > clock_timestamp()
            AND octet_length(key) BETWEEN 1 AND 1024 AND num_nonnulls(value_text, value_json, value_bytes, value_int) = 1', entries_table);
    END LOOP;
END $$;
DROP EXTENSION pg_stash;
DROP SCHEMA IF EXISTS cache;
COMMIT;

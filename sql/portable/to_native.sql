-- Moves a database from the portable edition to the native one, once its library is installed on the server. Run it as a
-- superuser; the role that had installed the portable edition keeps all privileges. Policies, privileges, watched tables and
-- entries without tags stay. It is one transaction: where it fails, everything is as before.
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
CREATE EXTENSION pg_stash;
-- Takes in what has been set aside by a move from the other edition, if there is any.
DO $$
DECLARE
    policy record;
    entries_table text;
    privilege record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF to_regnamespace('cache_aside') IS NULL THEN
        RETURN;
    END IF;
    FOR policy IN SELECT * FROM cache_aside.policies LOOP
        entries_table := CASE policy.name WHEN 'default' THEN 'entries' ELSE 'entries_' || policy.name END;
        IF EXISTS (SELECT FROM cache.caches WHERE name = policy.name) THEN
            UPDATE cache.caches SET default_ttl = policy.default_ttl, max_size = policy.max_size,
                max_entries = policy.max_entries, durable = policy.durable WHERE name = policy.name;
        ELSE
            INSERT INTO cache.caches (name, default_ttl, max_size, max_entries, durable)
            VALUES (policy.name, policy.default_ttl, policy.max_size, policy.max_entries, policy.durable);
        END IF;
        EXECUTE format('INSERT INTO cache.%1$I (expires_at, key, value_text, value_json, value_bytes, value_int, fresh_until, fill_micros)
            SELECT expires_at, key, value_text, value_json, value_bytes, value_int, fresh_until, fill_micros
            FROM cache_aside.%1$I ORDER BY key ON CONFLICT DO NOTHING', entries_table);
    END LOOP;
    DELETE FROM cache.caches WHERE name NOT IN (SELECT name FROM cache_aside.policies);
    FOR privilege IN
        SELECT g.object, g.privilege_type, g.is_grantable, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END AS grantee
        FROM cache_aside.grants AS g
        WHERE g.grantee = 0 OR g.grantee IN (SELECT oid FROM pg_roles WHERE rolname <> current_user)
    LOOP
        IF privilege.object = 'SCHEMA cache' OR to_regclass(split_part(privilege.object, ' ', 2)) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s TO %s%s', privilege.privilege_type, privilege.object, privilege.grantee,
                CASE WHEN privilege.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        END IF;
    END LOOP;
    IF to_regprocedure('cache.watch(regclass,text)') IS NOT NULL THEN
        PERFORM cache.watch(w.relation, w.tag) FROM cache_aside.watches AS w;
    END IF;
    PERFORM set_config('client_min_messages', 'warning', true);
    DROP SCHEMA cache_aside CASCADE;
END $$;
COMMIT;

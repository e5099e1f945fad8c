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

-- Whether a call may go on. PostgreSQL itself checks privileges too; these are here for the same message and hint as the
-- native edition's. The functions of entries run with the rights of whoever calls them.

CREATE OR REPLACE FUNCTION cache._table(cache text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN $1 OPERATOR(pg_catalog.=) 'default' THEN 'entries' ELSE pg_catalog.concat('entries_', $1) END
$body$;
COMMENT ON FUNCTION cache._table(text) IS 'the name of a cache''s table';

CREATE OR REPLACE FUNCTION cache._is_enabled() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN coalesce(nullif(current_setting('pg_stash.enabled', true), ''), 'on')::boolean;
END $body$;
COMMENT ON FUNCTION cache._is_enabled() IS 'the setting pg_stash.enabled';

CREATE OR REPLACE FUNCTION cache._check_privileges(cache text, VARIADIC needed text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text := 'cache.' || cache._table($1);
    privilege text;
BEGIN
    FOREACH privilege IN ARRAY needed LOOP
        IF NOT has_table_privilege(name, privilege) THEN
            PERFORM cache._error('permission denied', name, privilege);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._check_privileges(text, text[]) IS 'raises an error where the current user lacks a privilege';

-- False: every read is a miss.
CREATE OR REPLACE FUNCTION cache._may_read(cache text, durable boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._check_privileges(cache, 'SELECT');
    IF NOT cache._is_enabled() THEN
        RETURN false;
    ELSIF pg_is_in_recovery() AND NOT durable THEN
        IF current_setting('pg_stash.on_standby', true) = 'error' THEN
            PERFORM cache._error('read in recovery', cache);
        END IF;
        RETURN false;
    END IF;
    RETURN true;
END $body$;
COMMENT ON FUNCTION cache._may_read(text, boolean) IS 'whether a read may find anything';

-- False: every write is dropped.
CREATE OR REPLACE FUNCTION cache._may_write(cache text, VARIADIC needed text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    PERFORM cache._check_privileges(cache, VARIADIC needed);
    RETURN cache._is_enabled();
END $body$;
COMMENT ON FUNCTION cache._may_write(text, text[]) IS 'whether a write is to happen';

-- A cache that a call names, for the functions that work on a whole table.
CREATE OR REPLACE FUNCTION cache._known(cache text) RETURNS cache.caches
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    policy cache.caches;
BEGIN
    IF cache IS NULL THEN
        PERFORM cache._error('null argument', 'cache');
    END IF;
    SELECT * INTO policy FROM cache.caches AS c WHERE c.name = cache;
    IF NOT FOUND THEN
        PERFORM cache._error('no such cache', cache);
    END IF;
    RETURN policy;
END $body$;
COMMENT ON FUNCTION cache._known(text) IS 'the policy of a cache; an error where there is none';

CREATE OR REPLACE FUNCTION cache._no_such_cache(cache text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF cache IS NULL THEN
        PERFORM cache._error('null argument', 'cache');
    END IF;
    PERFORM cache._error('no such cache', cache);
END $body$;
COMMENT ON FUNCTION cache._no_such_cache(text) IS 'raises an error about a name that is no cache''s';

CREATE OR REPLACE FUNCTION cache._wrong_form(key text, cache text, wanted text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._error('wrong form', key, cache._kind(key, cache), wanted);
END $body$;
COMMENT ON FUNCTION cache._wrong_form(text, text, text) IS 'raises an error about an entry that is of another type';

CREATE OR REPLACE FUNCTION cache._kind(key text, cache text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    kind text;
BEGIN
    EXECUTE format($$
        SELECT CASE WHEN value_text IS NOT NULL THEN 'text' WHEN value_json IS NOT NULL THEN 'jsonb'
            WHEN value_bytes IS NOT NULL THEN 'bytea' ELSE 'bigint' END
        FROM cache.%I WHERE key = $1$$, cache._table(cache)) INTO kind USING key;
    RETURN kind;
END $body$;
COMMENT ON FUNCTION cache._kind(text, text) IS 'the type of an entry''s value';

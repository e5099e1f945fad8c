-- The policies, and what happens when a row of them comes, changes or goes. Privileges on the table decide who may.

-- The table belongs to whoever has installed the cache, and so do the caches' tables. This tells the trigger that makes them
-- who asked for it.
CREATE OR REPLACE FUNCTION cache._note_caller() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM set_config('pg_stash.caller', current_user, true);
    RETURN coalesce(new, old);
END $body$;
COMMENT ON FUNCTION cache._note_caller() IS 'tells apply_policy() who changes a policy, for the trigger on cache.caches';

CREATE OR REPLACE FUNCTION cache._is_member(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = $1 AND d.deptype = 'e')
$body$;
COMMENT ON FUNCTION cache._is_member(regclass) IS 'whether a table belongs to an extension, as with pg_tle';

CREATE OR REPLACE FUNCTION cache.apply_policy() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    relation text := format('%I', cache._table(coalesce(new.name, old.name)));
    is_extension boolean := EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stash');
    caller text := current_setting('pg_stash.caller', true);
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF new.name !~ '^[a-z_][a-z0-9_]{0,47}$' THEN
            PERFORM cache._error('invalid cache name', new.name);
        ELSIF to_regclass('cache.' || relation) IS NOT NULL THEN
            -- A restore brings a row for a cache that has been made already: it changes that one.
            UPDATE cache.caches SET default_ttl = new.default_ttl, max_size = new.max_size, max_entries = new.max_entries,
                durable = new.durable WHERE name = new.name;
            RETURN CASE WHEN FOUND THEN NULL ELSE new END;
        END IF;
        EXECUTE replace(replace(cache._entries(), '{persistence}', CASE WHEN new.durable THEN '' ELSE 'UNLOGGED' END),
            '{table}', relation);
        -- In the script of an extension what is made is a member already.
        IF is_extension AND NOT cache._is_member('cache.' || relation) THEN
            EXECUTE format('ALTER EXTENSION pg_stash ADD TABLE cache.%s', relation);
        END IF;
        IF caller <> current_user AND EXISTS (SELECT FROM pg_roles WHERE rolname = caller) THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cache.%s TO %I', relation, caller);
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF new.name <> old.name THEN
            PERFORM cache._error('invalid policy', 'a cache cannot be renamed');
        ELSIF new.durable <> old.durable THEN
            EXECUTE format('ALTER TABLE cache.%s SET %s', relation, CASE WHEN new.durable THEN 'LOGGED' ELSE 'UNLOGGED' END);
        END IF;
    ELSIF to_regclass('cache.' || relation) IS NOT NULL THEN
        IF cache._is_member('cache.' || relation) THEN
            EXECUTE format('ALTER EXTENSION pg_stash DROP TABLE cache.%s', relation);
        END IF;
        EXECUTE format('DROP TABLE cache.%s', relation);
    END IF;
    RETURN coalesce(new, old);
END $body$;

CREATE OR REPLACE FUNCTION cache._policies_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- With an old snapshot, caches that others have made since would be left out.
    IF cache._has_one_snapshot() THEN
        PERFORM cache._error('one snapshot');
    END IF;
    PERFORM cache._make_store();
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._policies_changed() IS 'makes the functions anew, for the trigger on cache.caches';

CREATE OR REPLACE TRIGGER _note_caller BEFORE INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH ROW EXECUTE FUNCTION cache._note_caller();
CREATE OR REPLACE TRIGGER apply_policy BEFORE INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH ROW EXECUTE FUNCTION cache.apply_policy();
CREATE OR REPLACE TRIGGER policies_changed AFTER INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH STATEMENT EXECUTE FUNCTION cache._policies_changed();
ALTER TABLE cache.caches ENABLE ALWAYS TRIGGER _note_caller, ENABLE ALWAYS TRIGGER apply_policy,
    ENABLE ALWAYS TRIGGER policies_changed;
COMMENT ON TRIGGER _note_caller ON cache.caches IS 'tells apply_policy() who changes a policy';
COMMENT ON TRIGGER policies_changed ON cache.caches IS 'makes the functions of the caches anew';

INSERT INTO cache.caches (name, max_size) SELECT 'default', 256 * 1024 * 1024
WHERE NOT EXISTS (SELECT FROM cache.caches WHERE name = 'default')
    -- It may have been dropped on purpose.
    AND to_regprocedure('cache.get(text,text)') IS NULL;
DO $$ BEGIN PERFORM cache._make_store(); END $$;

-- Watching tables: triggers on them note the tags that a change concerns. A watched table's partitions, and the tables
-- that inherit from it, have the same triggers, because a change made to them directly fires no trigger of the parent's.

-- The names of triggers tell them from other people's; the tag makes them different from each other.
CREATE FUNCTION cache.watch_trigger_name(tag text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'pg_stash_watch_' || pg_catalog.left(pg_catalog.md5(tag), 16);

-- All triggers of watched tables: one for each tag and table, partitions and heirs among them.
CREATE VIEW cache.watch_triggers AS
SELECT t.tgrelid AS relation, t.tgname AS name, p.proname = 'note_row_change' AS is_row_level,
    CASE WHEN t.tgnargs = 1 THEN
        pg_catalog.convert_from(pg_catalog.substr(t.tgargs, 1, pg_catalog.octet_length(t.tgargs) - 1),
            pg_catalog.getdatabaseencoding())
    END AS tag
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE p.pronamespace = 'cache'::pg_catalog.regnamespace AND t.tgnargs = 1 AND t.tgname NOT LIKE '%\_rows'
    AND p.proname IN ('note_change', 'note_row_change');

-- What has been asked for: without what a partition or an heir has from its parent.
CREATE VIEW cache.watched AS
SELECT w.relation::pg_catalog.regclass AS relation, w.tag,
    CASE WHEN w.is_row_level THEN 'row' ELSE 'statement' END AS level
FROM cache.watch_triggers AS w
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_inherits AS i JOIN cache.watch_triggers AS parent ON parent.relation = i.inhparent
    WHERE i.inhrelid = w.relation AND parent.name = w.name);

-- A table with all that are part of it: partitions and heirs at every depth.
CREATE FUNCTION cache.watch_family(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE family AS (
        SELECT relation AS member
        UNION
        SELECT i.inhrelid FROM family JOIN pg_catalog.pg_inherits AS i ON i.inhparent = family.member
    )
    SELECT member FROM family;
END;

-- The tags that a partition or an heir has from the tables above it.
CREATE FUNCTION cache.inherited_tags(relation oid) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE ancestors AS (
        SELECT i.inhparent AS ancestor FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = relation
        UNION
        SELECT i.inhparent FROM ancestors JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = ancestor
    )
    SELECT DISTINCT w.tag FROM ancestors JOIN cache.watch_triggers AS w ON w.relation = ancestor;
END;

-- Makes a trigger that is not there, to fire always or only where replication applies changes; one that is there may have to
-- fire always from now on, unless somebody has switched it off. It goes with the extension, which otherwise could not be
-- dropped. Returns whether it was made.
CREATE FUNCTION cache.add_watch_trigger(relation regclass, name text, action text, firing text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_new boolean := NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND tgname = name);
BEGIN
    IF is_new THEN
        EXECUTE format('CREATE TRIGGER %I AFTER %s', name, action);
        EXECUTE format('ALTER TRIGGER %I ON %s DEPENDS ON EXTENSION pg_stash', name, relation);
    END IF;
    IF is_new OR firing = 'ALWAYS' AND EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = relation AND tgname = name AND tgenabled = 'R')
    THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', relation, firing, name);
    END IF;
    RETURN is_new;
END $$;

-- Makes the triggers for one tag on one table, as far as they are not there, and returns whether any was made. A parent's
-- triggers for each row are on its partitions already.
--
-- Replication fires no triggers for each statement, and a statement on a parent none of its partitions' and heirs'. So where
-- changes can come in that way, triggers for each row note the tag.
CREATE FUNCTION cache.add_watch_triggers(relation regclass, tag text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := cache.watch_trigger_name(tag);
    truncate text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = relation) <> 'f' THEN 'TRUNCATE' END;
    -- Whether some table above it is not watched for the tag.
    is_below boolean := EXISTS (
        WITH RECURSIVE line AS (
            SELECT relation::oid AS member
            UNION
            SELECT i.inhparent FROM line JOIN pg_inherits AS i ON i.inhrelid = line.member
        )
        SELECT FROM line JOIN pg_inherits AS i ON i.inhrelid = line.member
        WHERE NOT EXISTS (
            SELECT FROM cache.watch_triggers AS w
            WHERE w.relation = i.inhparent AND w.tag = add_watch_triggers.tag));
    is_new boolean;
BEGIN
    IF tag ~ '\{.*\}' THEN
        is_new := cache.add_watch_trigger(relation, name, format(
            'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION cache.note_row_change(%L)', relation, tag), 'ALWAYS');
        IF truncate IS NOT NULL THEN
            is_new := cache.add_watch_trigger(relation, name || '_truncate', format(
                'TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache.note_truncate()', relation), 'ALWAYS') OR is_new;
        END IF;
    ELSE
        -- These first: partitions get theirs from them, before the others have follow_ddl() see to the partitions.
        is_new := cache.add_watch_trigger(relation, name || '_rows', format(
            'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION cache.note_change(%L)', relation, tag),
            CASE WHEN is_below THEN 'ALWAYS' ELSE 'REPLICA' END);
        is_new := cache.add_watch_trigger(relation, name, format(
            'INSERT OR UPDATE OR DELETE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache.note_change(%L)',
            'OR ' || truncate, relation, tag), 'ALWAYS') OR is_new;
    END IF;
    RETURN is_new;
END $$;

CREATE FUNCTION cache.watch(relation regclass, tag text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
    wanted text;
    missing text;
    member regclass;
    is_new boolean := false;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT c.relkind, coalesce(watch.tag, format('%s.%s', n.nspname, c.relname)) INTO kind, wanted
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF kind IS NULL THEN
        RAISE EXCEPTION 'relation with OID % does not exist', relation::oid USING ERRCODE = 'undefined_table';
    END IF;
    IF kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'cannot watch "%": it is not a table', relation
            USING ERRCODE = 'wrong_object_type', HINT = 'Watch the tables that it is made from.';
    END IF;
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'cannot watch a table in a transaction that keeps one snapshot'
            USING ERRCODE = 'active_sql_transaction', HINT = 'Use the isolation level READ COMMITTED.';
    END IF;
    IF wanted = '' THEN
        RAISE EXCEPTION 'tag must not be empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT m[1] INTO missing FROM regexp_matches(wanted, '\{([^}]*)\}', 'g') AS m
    WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = m[1] AND attnum > 0 AND NOT attisdropped);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'column "%" of relation "%" does not exist', missing, relation
            USING ERRCODE = 'undefined_column', HINT = 'In a tag, braces stand for the value of a column of the table.';
    END IF;
    SELECT format('column "%s" of type %s cannot be part of a tag', a.attname, format_type(a.atttypid, NULL)) INTO missing
    FROM regexp_matches(wanted, '\{([^}]*)\}', 'g') AS m
    JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = m[1]
    JOIN pg_type AS t ON t.oid = a.atttypid JOIN pg_proc AS p ON p.oid = t.typoutput
    WHERE p.provolatile <> 'i' AND t.typtype <> 'e' OR a.atttypid IN ('float4'::regtype, 'float8'::regtype, 'bytea'::regtype);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION '%', missing USING ERRCODE = 'invalid_parameter_value',
            HINT = 'The text of its values depends on settings of the session.';
    END IF;
    FOR member IN SELECT cache.watch_family(relation) LOOP
        is_new := cache.add_watch_triggers(member, wanted) OR is_new;
    END LOOP;
    -- What was cached from the table before, nobody has watched over.
    IF is_new THEN
        PERFORM cache.invalidate_all();
    END IF;
END $$;

CREATE FUNCTION cache.unwatch(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    -- All on the table itself, and those of the same names on what is part of it. One that a partition has from its parent
    -- goes with the parent's.
    FOR found IN
        SELECT t.tgrelid::regclass AS member, t.tgname AS name
        FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE p.pronamespace = 'cache'::regnamespace AND p.proname IN ('note_change', 'note_row_change', 'note_truncate')
            AND t.tgrelid IN (SELECT cache.watch_family(relation)) AND t.tgparentid = 0
            AND t.tgname IN (SELECT own.tgname FROM pg_trigger AS own WHERE own.tgrelid = relation)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.name, found.member);
    END LOOP;
END $$;

-- Keeps the triggers of watched tables together with what DDL makes of the tables, and takes every other change of what
-- queries mean for a change of all that they returned. Whoever runs DDL need not be allowed to use caches, so this runs as the
-- extension's owner.
CREATE FUNCTION cache.follow_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    altered oid;
    watched record;
BEGIN
    IF NOT EXISTS (SELECT FROM cache.watch_triggers)
        OR NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE schema_name IS DISTINCT FROM 'pg_temp')
        -- A dump that is being restored brings all triggers itself.
        OR current_query() ~ '^ALTER TABLE \S+ ENABLE (ALWAYS|REPLICA) TRIGGER pg_stash_watch_\w+;?\s*$'
    THEN
        RETURN;
    END IF;
    FOR altered IN SELECT DISTINCT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass LOOP
        IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable')
            AND EXISTS (SELECT FROM pg_inherits WHERE altered IN (inhrelid, inhparent))
        THEN
            RAISE EXCEPTION 'cannot change partitions or heirs in a transaction that keeps one snapshot while tables are watched'
                USING ERRCODE = 'active_sql_transaction', HINT = 'Use the isolation level READ COMMITTED.';
        END IF;
        -- A partition or an heir, perhaps a new one, gets what the tables above it have; and one that is watched itself may
        -- now have a parent.
        FOR watched IN
            SELECT member::regclass AS member, tag
            FROM cache.watch_family(altered) AS member, LATERAL (
                SELECT cache.inherited_tags(member)
                UNION SELECT w.tag FROM cache.watch_triggers AS w WHERE w.relation = member AND NOT w.is_row_level
            ) AS tags (tag)
            WHERE EXISTS (SELECT FROM pg_inherits WHERE inhrelid = member)
        LOOP
            PERFORM cache.add_watch_triggers(watched.member, watched.tag);
        END LOOP;
    END LOOP;
    PERFORM cache.invalidate_all();
END $$;

-- What goes with a table or a partition, or whatever else a query uses, is a change like any other.
CREATE FUNCTION cache.follow_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_event_trigger_dropped_objects()
        WHERE object_type = 'trigger' AND address_names[array_upper(address_names, 1)] LIKE 'pg\_stash\_watch\_%'
            OR NOT is_temporary AND EXISTS (SELECT FROM cache.watch_triggers) AND object_type IN (
                'table', 'foreign table', 'view', 'materialized view', 'table column', 'function', 'aggregate', 'operator',
                'policy', 'rule', 'type', 'domain', 'schema')
    ) THEN
        PERFORM cache.invalidate_all();
    END IF;
END $$;

CREATE EVENT TRIGGER pg_stash_follow_ddl ON ddl_command_end
    WHEN TAG IN (
        'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE',
        'CREATE VIEW', 'ALTER VIEW', 'CREATE MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW', 'CREATE FUNCTION', 'ALTER FUNCTION',
        'ALTER ROUTINE', 'CREATE AGGREGATE', 'ALTER AGGREGATE', 'CREATE OPERATOR', 'CREATE POLICY', 'ALTER POLICY', 'CREATE RULE',
        'ALTER RULE', 'ALTER TYPE', 'ALTER DOMAIN', 'CREATE SCHEMA', 'ALTER SCHEMA')
    EXECUTE FUNCTION cache.follow_ddl();
CREATE EVENT TRIGGER pg_stash_follow_drop ON sql_drop EXECUTE FUNCTION cache.follow_drop();
ALTER EVENT TRIGGER pg_stash_follow_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER pg_stash_follow_drop ENABLE ALWAYS;

GRANT SELECT ON cache.watched, cache.watch_triggers TO PUBLIC;

COMMENT ON FUNCTION cache.note_change() IS 'trigger of a watched table: its argument is the tag to invalidate';
COMMENT ON FUNCTION cache.note_row_change() IS 'trigger of a table that is watched row by row: its argument stands for the tags to invalidate';
COMMENT ON FUNCTION cache.note_truncate() IS 'trigger of a table that is watched row by row: invalidates every tag';
COMMENT ON FUNCTION cache.watch_trigger_name(text) IS 'name of the triggers for a tag';
COMMENT ON FUNCTION cache.watch_family(oid) IS 'a table with its partitions and the tables that inherit from it';
COMMENT ON FUNCTION cache.inherited_tags(oid) IS 'the tags for which the tables above a partition or an heir are watched';
COMMENT ON FUNCTION cache.add_watch_triggers(regclass, text) IS 'makes the triggers for a tag on one table, for cache.watch()';
COMMENT ON FUNCTION cache.add_watch_trigger(regclass, text, text, text) IS 'makes one trigger, for cache.add_watch_triggers()';
COMMENT ON FUNCTION cache.follow_ddl() IS 'event trigger: watches new partitions and heirs of watched tables';
COMMENT ON FUNCTION cache.follow_drop() IS 'event trigger: a dropped table or partition is a change';
COMMENT ON EVENT TRIGGER pg_stash_follow_ddl IS 'watches new partitions and heirs of watched tables';
COMMENT ON EVENT TRIGGER pg_stash_follow_drop IS 'a dropped table or partition is a change';
COMMENT ON VIEW cache.watch_triggers IS 'the triggers of watched tables, their partitions and heirs';
COMMENT ON COLUMN cache.watch_triggers.relation IS 'the table';
COMMENT ON COLUMN cache.watch_triggers.name IS 'name of the trigger';
COMMENT ON COLUMN cache.watch_triggers.is_row_level IS 'whether the tag depends on the row';
COMMENT ON COLUMN cache.watch_triggers.tag IS 'the tag';

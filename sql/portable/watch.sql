-- Tables whose changes invalidate tags. The triggers themselves say what is watched, so that a dump has it. They run with the
-- rights of the cache's owner: whoever may write to a table needs none on the cache.

CREATE OR REPLACE FUNCTION cache._note_table() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- A truncated table has no rows left to tell the tags by: all tags are invalid. Without a tag it is somebody's own trigger.
    IF TG_NARGS = 1 THEN
        PERFORM cache._invalidate(ARRAY[CASE WHEN TG_OP = 'TRUNCATE' AND TG_ARGV[0] LIKE '%{%' THEN '' ELSE TG_ARGV[0] END]);
    END IF;
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._note_table() IS 'invalidates the tag of a table, for triggers on watched tables';

-- A value has the text of a cast. Where somebody might have made that cast himself, it would run with the rights of the
-- cache's owner, so it has the text that the type's own output function makes.
CREATE OR REPLACE FUNCTION cache._note_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    -- The tag for format(), with a value in each place of a column.
    pattern CONSTANT text := regexp_replace(replace(TG_ARGV[0], '%', '%%'), '\{[^{}]+\}', '%s', 'g');
    missing text;
    query text;
    row_values text[];
    tags text[] := '{}';
BEGIN
    IF TG_NARGS <> 1 THEN
        RETURN NULL;
    END IF;
    SELECT format('SELECT ARRAY[%s]::text[]', string_agg(
            format(CASE WHEN a.atttypid < 16384 THEN '($1).%I::text' ELSE 'CASE WHEN ($1).%1$I IS NOT NULL THEN concat(($1).%1$I) END' END, m.names[1]),
            ', ' ORDER BY m.place)),
        min(m.names[1]) FILTER (WHERE a.attname IS NULL)
    INTO query, missing
    FROM regexp_matches(TG_ARGV[0], '\{([^{}]+)\}', 'g') WITH ORDINALITY AS m (names, place)
    LEFT JOIN pg_attribute AS a ON a.attrelid = TG_RELID AND a.attname = m.names[1] AND a.attnum > 0 AND NOT a.attisdropped;
    IF missing IS NOT NULL THEN
        PERFORM cache._error('no column of row', missing);
    END IF;
    -- Where one of the values is NULL, nothing has the tag.
    IF TG_OP <> 'INSERT' THEN
        EXECUTE query INTO row_values USING old;
        IF array_position(row_values, NULL) IS NULL THEN
            tags := tags || format(pattern, VARIADIC row_values);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE query INTO row_values USING new;
        IF array_position(row_values, NULL) IS NULL THEN
            tags := tags || format(pattern, VARIADIC row_values);
        END IF;
    END IF;
    PERFORM cache._invalidate(tags);
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._note_row() IS 'invalidates the tags of a row, for triggers on watched tables';

-- A condition on the tag may be looked at for triggers of others, too, such as those of foreign keys, which have no arguments.
CREATE OR REPLACE VIEW cache.watched AS
SELECT DISTINCT t.tgrelid::pg_catalog.regclass AS relation,
    CASE WHEN t.tgnargs = 1 THEN
        pg_catalog.convert_from(pg_catalog.substr(t.tgargs, 1, pg_catalog.octet_length(t.tgargs) - 1),
            pg_catalog.getdatabaseencoding())
    END AS tag,
    CASE WHEN t.tgargs LIKE '%{%}%'::bytea THEN 'row' ELSE 'statement' END AS level
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE p.pronamespace = 'cache'::pg_catalog.regnamespace AND p.proname IN ('_note_table', '_note_row')
    AND t.tgnargs = 1 AND t.tgparentid = 0 AND t.tgtype & 4 = 4
    -- What an heir has from its parent was not asked for.
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_trigger AS parent ON parent.tgrelid = i.inhparent
        WHERE i.inhrelid = t.tgrelid AND parent.tgname = t.tgname);
GRANT SELECT ON cache.watched TO PUBLIC;

-- Makes a trigger that is not there, to fire always or only where replication applies changes; one that is there may have to
-- fire always from now on, unless somebody has switched it off. Returns whether it was made.
CREATE OR REPLACE FUNCTION cache._add_trigger(relation regclass, name text, action text, firing text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    firing_now "char" := (SELECT t.tgenabled FROM pg_trigger AS t WHERE t.tgrelid = relation AND t.tgname = name);
BEGIN
    IF firing_now IS NULL THEN
        EXECUTE format('CREATE TRIGGER %I AFTER %s', name, action);
    END IF;
    IF firing_now IS NULL OR firing = 'ALWAYS' AND firing_now = 'R' THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', relation, firing, name);
    END IF;
    RETURN firing_now IS NULL;
END $body$;
COMMENT ON FUNCTION cache._add_trigger(regclass, text, text, text) IS 'makes a trigger on a watched table';

CREATE OR REPLACE FUNCTION cache.watch(relation regclass, tag text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $body$
#variable_conflict use_variable
DECLARE
    kind "char";
    pattern text := tag;
    is_by_row boolean;
    trigger_name text;
    members regclass[];
    member regclass;
    wrong record;
    has_parent boolean;
    is_foreign boolean;
    is_partition boolean;
    is_new boolean := false;
BEGIN
    IF relation IS NULL THEN
        PERFORM cache._error('null argument', 'relation');
    ELSIF tag = '' THEN
        PERFORM cache._error('empty tag');
    END IF;
    SELECT c.relkind, coalesce(pattern, n.nspname || '.' || c.relname) INTO kind, pattern
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF kind IS NULL THEN
        PERFORM cache._error('no such relation', relation::oid::text);
    ELSIF kind NOT IN ('r', 'p') THEN
        PERFORM cache._error('not watchable', relation::text);
    ELSIF cache._has_one_snapshot() THEN
        PERFORM cache._error('watch in one snapshot');
    END IF;
    FOR wrong IN
        SELECT m.names[1] AS name, a.attname IS NULL AS is_missing, format_type(a.atttypid, NULL) AS type
        FROM regexp_matches(pattern, '\{([^{}]*)\}', 'g') AS m (names)
        LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = m.names[1] AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_proc AS p ON p.oid = t.typoutput
        WHERE a.attname IS NULL OR p.provolatile <> 'i' AND t.typtype <> 'e'
            OR a.atttypid IN ('float4'::regtype, 'float8'::regtype, 'bytea'::regtype)
        ORDER BY a.attname IS NOT NULL
    LOOP
        IF wrong.is_missing THEN
            PERFORM cache._error('no such column', wrong.name, relation::text);
        ELSE
            PERFORM cache._error('not in a tag', wrong.name, wrong.type);
        END IF;
    END LOOP;
    members := ARRAY(SELECT relation UNION SELECT cache._inheritors(relation));
    -- A statement on a table above fires none of the triggers for each statement that the tables below have.
    has_parent := EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = ANY (members) AND i.inhparent <> ALL (members));
    -- Triggers for each row are passed on to partitions, present and future ones. Those for each statement are not.
    is_by_row := kind = 'p' OR pattern LIKE '%{%';
    trigger_name := 'pg_stash_watch_' || left(md5(pattern), 16);
    FOREACH member IN ARRAY members LOOP
        SELECT c.relkind = 'f', c.relispartition AND member <> relation INTO is_foreign, is_partition
        FROM pg_class AS c WHERE c.oid = member;
        IF NOT is_by_row THEN
            -- Replication fires no triggers for each statement either.
            is_new := cache._add_trigger(member, trigger_name || '_rows', format(
                'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION cache._note_table(%L)', member, pattern),
                CASE WHEN has_parent THEN 'ALWAYS' ELSE 'REPLICA' END) OR is_new;
            is_new := cache._add_trigger(member, trigger_name, format(
                'INSERT OR UPDATE OR DELETE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache._note_table(%L)',
                CASE WHEN is_foreign THEN '' ELSE 'OR TRUNCATE' END, member, pattern), 'ALWAYS') OR is_new;
            CONTINUE;
        END IF;
        IF NOT is_partition THEN
            is_new := cache._add_trigger(member, trigger_name, format(
                'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION cache.%I(%L)', member,
                CASE WHEN pattern LIKE '%{%' THEN '_note_row' ELSE '_note_table' END, pattern), 'ALWAYS') OR is_new;
        END IF;
        IF NOT is_foreign THEN
            is_new := cache._add_trigger(member, trigger_name || '_truncate', format(
                'TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache._note_table(%L)', member, pattern), 'ALWAYS') OR is_new;
        END IF;
    END LOOP;
    -- What was cached from the table before, nobody has watched over.
    IF is_new THEN
        PERFORM cache.invalidate_all();
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache._inheritors(relation regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    WITH RECURSIVE tree (member) AS (
        SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = $1
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.member
    )
    SELECT member::regclass FROM tree
$body$;
COMMENT ON FUNCTION cache._inheritors(regclass) IS 'the tables that inherit from a table';

CREATE OR REPLACE FUNCTION cache.unwatch(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    t record;
    is_watched boolean := false;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'relation');
    END IF;
    FOR t IN
        SELECT g.tgname, g.tgrelid::regclass AS on_table
        FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
        WHERE p.pronamespace = 'cache'::regnamespace AND p.proname IN ('_note_table', '_note_row') AND g.tgparentid = 0
            AND (g.tgrelid = $1 OR g.tgrelid IN (SELECT cache._inheritors($1)))
            AND g.tgname IN (SELECT own.tgname FROM pg_trigger AS own WHERE own.tgrelid = $1)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.on_table);
        is_watched := true;
    END LOOP;
    -- From now on nobody watches over what is cached from it.
    IF is_watched THEN
        PERFORM cache.invalidate_all();
    END IF;
END $body$;

-- Tables whose changes invalidate tags. The triggers themselves say what is watched, so that a dump has it. They run with the
-- rights of the cache's owner: whoever may write to a table needs none on the cache.

CREATE OR REPLACE FUNCTION cache._note_table() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- A truncated table has no rows left to tell the tags by: all tags are invalid.
    PERFORM cache._invalidate(ARRAY[CASE WHEN TG_OP = 'TRUNCATE' AND TG_ARGV[0] LIKE '%{%' THEN '' ELSE TG_ARGV[0] END]);
    RETURN NULL;
END $body$;
COMMENT ON FUNCTION cache._note_table() IS 'invalidates the tag of a table, for triggers on watched tables';

CREATE OR REPLACE FUNCTION cache._tag_of_row(pattern text, row_values jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    column_name text;
    tag text := pattern;
BEGIN
    FOR column_name IN SELECT DISTINCT m[1] FROM regexp_matches(pattern, '\{([^{}]+)\}', 'g') AS m LOOP
        IF NOT row_values ? column_name THEN
            PERFORM cache._error('no column of row', column_name);
        END IF;
        tag := replace(tag, '{' || column_name || '}', row_values ->> column_name);
    END LOOP;
    RETURN tag;
END $body$;
COMMENT ON FUNCTION cache._tag_of_row(text, jsonb)
    IS 'a tag with the values of a row in the place of their columns'' names; NULL where one is';

CREATE OR REPLACE FUNCTION cache._note_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    tags text[] := '{}';
BEGIN
    IF TG_OP <> 'INSERT' THEN
        tags := tags || cache._tag_of_row(TG_ARGV[0], to_jsonb(old));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        tags := tags || cache._tag_of_row(TG_ARGV[0], to_jsonb(new));
    END IF;
    PERFORM cache._invalidate(array_remove(tags, NULL));
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
    AND t.tgparentid = 0 AND t.tgtype & 4 = 4
    -- What an heir has from its parent was not asked for.
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_trigger AS parent ON parent.tgrelid = i.inhparent
        WHERE i.inhrelid = t.tgrelid AND parent.tgname = t.tgname);
GRANT SELECT ON cache.watched TO PUBLIC;

CREATE OR REPLACE FUNCTION cache.watch(relation regclass, tag text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $body$
#variable_conflict use_variable
DECLARE
    kind "char";
    pattern text := tag;
    is_by_row boolean;
    trigger_name text;
    member regclass;
    column_name text;
    is_new boolean := false;
    is_foreign boolean;
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
    END IF;
    FOR column_name IN SELECT m[1] FROM regexp_matches(pattern, '\{([^{}]*)\}', 'g') AS m LOOP
        IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = column_name
            AND a.attnum > 0 AND NOT a.attisdropped)
        THEN
            PERFORM cache._error('no such column', column_name, relation::text);
        END IF;
    END LOOP;
    -- Triggers for each row are passed on to partitions, present and future ones. Those for each statement are not.
    is_by_row := kind = 'p' OR pattern LIKE '%{%';
    trigger_name := 'pg_stash_watch_' || left(md5(pattern), 16);
    FOR member IN
        SELECT relation UNION
        SELECT t.relid FROM pg_partition_tree(relation) AS t UNION
        SELECT * FROM cache._inheritors(relation)
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_trigger AS t WHERE t.tgrelid = member
                AND t.tgname = trigger_name || CASE WHEN is_by_row THEN '_truncate' ELSE '' END);
        is_new := true;
        is_foreign := (SELECT c.relkind = 'f' FROM pg_class AS c WHERE c.oid = member);
        IF NOT (SELECT c.relispartition AND member <> relation FROM pg_class AS c WHERE c.oid = member) THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE %s ON %s FOR EACH %s EXECUTE FUNCTION cache.%I(%L)',
                trigger_name, CASE WHEN is_by_row OR is_foreign THEN '' ELSE 'OR TRUNCATE' END, member,
                CASE WHEN is_by_row THEN 'ROW' ELSE 'STATEMENT' END,
                CASE WHEN is_by_row THEN '_note_row' ELSE '_note_table' END, pattern);
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', member, trigger_name);
        END IF;
        IF is_by_row AND NOT is_foreign THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION cache._note_table(%L)',
                trigger_name || '_truncate', member, pattern);
            EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', member, trigger_name || '_truncate');
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
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.on_table);
        is_watched := true;
    END LOOP;
    -- From now on nobody watches over what is cached from it.
    IF is_watched THEN
        PERFORM cache.invalidate_all();
    END IF;
END $body$;

-- remember: the result of a query, computed once for all who ask.

-- Tables that a query reads, from its plan, and functions that are named in it. A plan names every table whose rows can
-- have a part in the result; views and functions in SQL have been replaced by what is in them.
CREATE OR REPLACE FUNCTION cache._plan_nodes(plan jsonb) RETURNS SETOF jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    WITH RECURSIVE nodes (node) AS (
        SELECT $1
        UNION ALL
        SELECT child FROM nodes, jsonb_array_elements(node -> 'Plans') AS child
    )
    SELECT node - 'Plans' FROM nodes
$body$;
COMMENT ON FUNCTION cache._plan_nodes(jsonb) IS 'the nodes of a plan';

CREATE OR REPLACE FUNCTION cache._tables_of(plan jsonb) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT DISTINCT coalesce(pg_partition_root(t.relation), t.relation)
    FROM cache._plan_nodes($1) AS node, to_regclass(format('%I.%I', node ->> 'Schema', node ->> 'Relation Name')) AS t (relation)
    WHERE node ? 'Relation Name'
$body$;
COMMENT ON FUNCTION cache._tables_of(jsonb) IS 'the tables that a plan reads; of partitions, the partitioned table';

-- Functions that a plan calls, by their own names. Literals are taken out first. Names mean what they mean to the caller.
CREATE OR REPLACE FUNCTION cache._functions_of(plan jsonb) RETURNS SETOF oid
LANGUAGE sql STABLE AS $body$
    -- What SQL has a notation of its own for stands for now().
    SELECT DISTINCT p.oid
    FROM cache._plan_nodes($1) AS node,
        pg_catalog.regexp_replace(pg_catalog.replace(node::pg_catalog.text, '\"', ''), $$'(?:[^']|'')*'$$, '', 'g') AS literally,
        pg_catalog.regexp_replace(literally, '\m(CURRENT_DATE|(CURRENT_TIME|LOCALTIME)(STAMP)?(\(\d\))?)(?!\w)', 'pg_catalog.now()', 'g') AS bare,
        pg_catalog.regexp_matches(bare, '(?:([[:alpha:]_][[:alnum:]_$]*)\.)?([[:alpha:]_][[:alnum:]_$]*)\(', 'g') AS called (name)
    JOIN pg_catalog.pg_proc AS p ON p.proname OPERATOR(pg_catalog.=) called.name[2] AND p.prokind OPERATOR(pg_catalog.=) 'f'
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE CASE WHEN called.name[1] IS NULL THEN pg_catalog.pg_function_is_visible(p.oid)
        ELSE n.nspname OPERATOR(pg_catalog.=) called.name[1] END
$body$;
COMMENT ON FUNCTION cache._functions_of(jsonb) IS 'the functions that a plan calls';

-- Raises an error where no table decides what a query returns.
CREATE OR REPLACE FUNCTION cache._check_functions(functions oid[], has_key boolean, has_ttl boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    called record;
BEGIN
    FOR called IN
        SELECT p.proname, p.provolatile, p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('current_setting',
            'pg_backend_pid', 'inet_client_addr', 'inet_client_port', 'pg_my_temp_schema') AS reads_session,
            p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp')
                AS reads_time, p.oid >= 16384 AND p.provolatile <> 'i' AS may_read_session
        FROM pg_proc AS p
        WHERE p.oid = ANY (functions) AND NOT (p.pronamespace = 'cache'::regnamespace AND p.proname = 'remember')
        ORDER BY p.proname
    LOOP
        IF called.provolatile = 'v' THEN
            PERFORM cache._error('volatile function', called.proname);
        ELSIF (called.reads_session OR called.may_read_session) AND NOT has_key THEN
            PERFORM cache._error('session function', called.proname);
        ELSIF called.reads_time AND NOT has_ttl THEN
            PERFORM cache._error('time function', called.proname);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._check_functions(oid[], boolean, boolean) IS 'raises an error where no table decides what a query returns';

-- The tag of each table that a query reads. Raises an error where there is none, or where the rows depend on who asks, which a
-- key that was given does not tell.
CREATE OR REPLACE FUNCTION cache._tags_of(tables regclass[], has_key boolean, has_terms boolean) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    read record;
    tag text;
    tags text[] := '{}';
BEGIN
    FOR read IN
        SELECT c.oid::regclass::text AS relation, c.oid, c.relrowsecurity, c.relpersistence
        FROM pg_class AS c WHERE c.oid = ANY ($1)
    LOOP
        IF read.relpersistence = 't' THEN
            PERFORM cache._error('temporary table', read.relation);
        ELSIF read.relrowsecurity AND has_key THEN
            PERFORM cache._error('key with row security', read.relation);
        END IF;
        tag := (
            SELECT min(convert_from(substr(t.tgargs, 1, octet_length(t.tgargs) - 1), getdatabaseencoding()))
            FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
            WHERE t.tgrelid = read.oid AND p.pronamespace = 'cache'::regnamespace AND p.proname IN ('_note_table', '_note_row')
                AND t.tgnargs = 1 AND t.tgtype & 4 = 4 AND t.tgenabled <> 'D' AND t.tgargs NOT LIKE '%{%'::bytea
                AND t.tgname NOT LIKE '%\_rows');
        IF tag IS NOT NULL THEN
            tags := tags || tag;
        ELSIF NOT has_terms THEN
            PERFORM cache._error('not watched', read.relation);
        END IF;
    END LOOP;
    RETURN tags;
END $body$;
COMMENT ON FUNCTION cache._tags_of(regclass[], boolean, boolean) IS 'the tags of tables that a query reads';

-- An argument in the text form that its parameter's type reads.
CREATE OR REPLACE FUNCTION cache._argument(arg jsonb, is_array boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF NOT is_array OR jsonb_typeof(arg) <> 'array' THEN
        RETURN arg #>> '{}';
    END IF;
    RETURN '{' || coalesce((
        SELECT string_agg(CASE jsonb_typeof(element)
            WHEN 'null' THEN 'NULL'
            WHEN 'array' THEN cache._argument(element, true)
            ELSE '"' || replace(replace(element #>> '{}', '\', '\\'), '"', '\"') || '"' END, ',' ORDER BY place)
        FROM jsonb_array_elements(arg) WITH ORDINALITY AS e (element, place)), '') || '}';
END $body$;
COMMENT ON FUNCTION cache._argument(jsonb, boolean) IS 'an argument of a query in text form';

-- A statement without its comments, and without what is in quotes.
CREATE OR REPLACE FUNCTION cache._without_literals(query text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT regexp_replace(query,
        $re$\m[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([[:alpha:]_][[:alnum:]_]*)?\$.*?\$\1\$|--[^\n]*|/\*.*?\*/$re$,
        ' ', 'g')
$body$;
COMMENT ON FUNCTION cache._without_literals(text) IS 'a statement without comments and what is in quotes';

-- Computations that go on: a query may call remember() itself, and then depends on what that depends on. The setting holds
-- the depth and the tags so far, in the transaction and not in the session; a rollback takes them back.
CREATE OR REPLACE FUNCTION cache._note_dependencies(tags text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    frame jsonb := nullif(current_setting('pg_stash.computing', true), '');
BEGIN
    IF frame IS NOT NULL AND cardinality(tags) > 0 THEN
        PERFORM set_config('pg_stash.computing', jsonb_set(frame, '{tags}', frame -> 'tags' || to_jsonb(tags))::text, true);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._note_dependencies(text[]) IS 'what goes on being computed depends on these tags';

-- Runs the query. The arguments become literals of a prepared statement, which gives each the type that the query has for
-- it. As a part of another query it can only read. It runs with the caller's rights and search_path.
CREATE OR REPLACE FUNCTION cache._compute(
    query text, args jsonb, has_key boolean, has_terms boolean, has_ttl boolean, INOUT tags text[], OUT result jsonb)
LANGUAGE plpgsql AS $body$
DECLARE
    around text := COALESCE(pg_catalog.current_setting('pg_stash.computing', true), '');
    depth integer := COALESCE((NULLIF(around, '')::pg_catalog.jsonb OPERATOR(pg_catalog.->>) 'depth')::pg_catalog.int4, 0)
        OPERATOR(pg_catalog.+) 1;
    prepared text := pg_catalog.concat('_pg_stash_remember_', depth);
    types pg_catalog.regtype[];
    call text;
    plan json;
    nodes jsonb;
    functions oid[];
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) prepared) THEN
        EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
    END IF;
    -- By itself first: what is one statement has no other meaning as a part of a query.
    IF pg_catalog.btrim(cache._without_literals($1), E' \n\r\t\f;') OPERATOR(pg_catalog.~) '^$|;' THEN
        PERFORM cache._error('no query');
    END IF;
    EXECUTE pg_catalog.concat('PREPARE ', prepared, ' AS ', $1);
    EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
    BEGIN
        EXECUTE pg_catalog.concat('PREPARE ', prepared, ' AS SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(_pg_stash_row)), ''[]'') FROM (',
            E'\n', pg_catalog.regexp_replace($1, ';\s*$', ''), E'\n', ') AS _pg_stash_row');
    EXCEPTION WHEN syntax_error THEN
        PERFORM cache._error('no query');
    END;
    SELECT p.parameter_types INTO types FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) prepared;
    IF pg_catalog.cardinality(types) OPERATOR(pg_catalog.<>) COALESCE(pg_catalog.jsonb_array_length($2), 0) THEN
        EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
        PERFORM cache._error('args count', pg_catalog.cardinality(types)::pg_catalog.text,
            COALESCE(pg_catalog.jsonb_array_length($2), 0)::pg_catalog.text);
    END IF;
    call := pg_catalog.concat('EXECUTE ', prepared, (
        SELECT pg_catalog.concat('(', pg_catalog.string_agg(pg_catalog.quote_nullable(
            -- A string is a JSON value, too.
            CASE WHEN t.oid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.json, pg_catalog.jsonb}'::pg_catalog.regtype[])
                    AND pg_catalog.jsonb_typeof(a.arg) OPERATOR(pg_catalog.<>) 'null'
                THEN a.arg::pg_catalog.text ELSE cache._argument(a.arg, t.typcategory OPERATOR(pg_catalog.=) 'A') END),
            ', ' ORDER BY a.place), ')')
        FROM pg_catalog.jsonb_array_elements($2) WITH ORDINALITY AS a (arg, place)
        JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) types[a.place]
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0));
    EXECUTE pg_catalog.concat('EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ', call) INTO plan;
    nodes := plan OPERATOR(pg_catalog.->) 0 OPERATOR(pg_catalog.->) 'Plan';
    functions := ARRAY(SELECT cache._functions_of(nodes));
    IF EXISTS (SELECT FROM cache._plan_nodes(nodes) AS node WHERE node OPERATOR(pg_catalog.->>) 'Node Type' OPERATOR(pg_catalog.=) 'LockRows') THEN
        PERFORM cache._error('locks rows');
    END IF;
    PERFORM cache._check_functions(functions, $3, $5);
    tags := COALESCE(tags, '{}') OPERATOR(pg_catalog.||) cache._tags_of(ARRAY(SELECT cache._tables_of(nodes)), $3, $4);
    PERFORM pg_catalog.set_config('pg_stash.computing',
        pg_catalog.jsonb_build_object('depth', depth, 'tags', pg_catalog.to_jsonb(tags))::pg_catalog.text, true);
    EXECUTE call INTO result;
    EXECUTE pg_catalog.concat('DEALLOCATE ', prepared);
    tags := ARRAY(SELECT DISTINCT pg_catalog.jsonb_array_elements_text(
        pg_catalog.current_setting('pg_stash.computing')::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'tags'));
    PERFORM pg_catalog.set_config('pg_stash.computing', around, true);
    PERFORM cache._note_dependencies(tags);
END $body$;
COMMENT ON FUNCTION cache._compute(text, jsonb, boolean, boolean, boolean, text[]) IS 'runs the query of remember()';

CREATE OR REPLACE FUNCTION cache.remember(
    sql text, args jsonb DEFAULT NULL, key text DEFAULT NULL, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL,
    tags text[] DEFAULT NULL, cache text DEFAULT 'default')
RETURNS jsonb LANGUAGE plpgsql AS $body$
DECLARE
    entry_key text := $3;
    claimed record;
    computed record;
    is_filled boolean;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'sql');
    ELSIF pg_catalog.jsonb_typeof($2) OPERATOR(pg_catalog.<>) 'array' THEN
        PERFORM cache._error('args no array');
    END IF;
    -- All that has a say in what the query means, or in how its values are written. A temporary table may stand in front of
    -- another one.
    IF entry_key IS NULL THEN
        entry_key := pg_catalog.concat('remember:', pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.jsonb_build_array($1, $2, current_user, session_user, pg_catalog.pg_my_temp_schema()::pg_catalog.text, (
                SELECT pg_catalog.jsonb_agg(pg_catalog.current_setting(name)) FROM pg_catalog.unnest(ARRAY['search_path',
                    'TimeZone', 'DateStyle', 'IntervalStyle', 'bytea_output', 'extra_float_digits', 'lc_monetary', 'lc_numeric',
                    'lc_time', 'default_text_search_config', 'timezone_abbreviations', 'transform_null_equals',
                    'standard_conforming_strings', 'array_nulls', 'xmlbinary', 'xmloption']) AS name
            ))::pg_catalog.text, 'UTF8')), 'hex'));
    END IF;
    -- Who has written may hold a lock that the one who computes waits for.
    claimed := cache._claim(entry_key, '10 seconds', CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL
        THEN '10 seconds'::pg_catalog.interval ELSE '0'::pg_catalog.interval END, $7, 'json');
    IF claimed.state OPERATOR(pg_catalog.<>) 'miss' AND claimed.token IS NULL THEN
        PERFORM cache._note_dependencies(claimed.tags);
        RETURN claimed.value_json;
    END IF;
    computed := cache._compute($1, $2, $3 IS NOT NULL, $4 IS NOT NULL OR $6 IS NOT NULL, $4 IS NOT NULL, $6);
    IF claimed.token IS NOT NULL THEN
        BEGIN
            is_filled := cache._fill(claimed.token, NULL, computed.result, NULL, NULL, $4, $5, computed.tags);
        EXCEPTION WHEN program_limit_exceeded THEN
            -- What is too large to be stored is no less the result.
            PERFORM cache.release(claimed.token);
        END;
    END IF;
    RETURN computed.result;
END $body$;

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

-- Literals are taken out first. Names mean what they mean to the caller.
CREATE OR REPLACE FUNCTION cache._volatile_function_in(plan jsonb) RETURNS text
LANGUAGE sql STABLE AS $body$
    SELECT p.proname::pg_catalog.text
    FROM cache._plan_nodes($1) AS node,
        pg_catalog.regexp_replace(pg_catalog.replace(node::pg_catalog.text, '\"', ''), $$'(?:[^']|'')*'$$, '', 'g') AS bare,
        pg_catalog.regexp_matches(bare, '(?:([[:alpha:]_][[:alnum:]_$]*)\.)?([[:alpha:]_][[:alnum:]_$]*)\(', 'g') AS called (name)
    JOIN pg_catalog.pg_proc AS p ON p.proname OPERATOR(pg_catalog.=) called.name[2]
        AND p.provolatile OPERATOR(pg_catalog.=) 'v' AND p.prokind OPERATOR(pg_catalog.=) 'f'
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE CASE WHEN called.name[1] IS NULL THEN pg_catalog.pg_function_is_visible(p.oid)
        ELSE n.nspname OPERATOR(pg_catalog.=) called.name[1] END
    LIMIT 1
$body$;
COMMENT ON FUNCTION cache._volatile_function_in(jsonb) IS 'a volatile function that a plan calls; NULL if there is none';

-- What must be true of the tables that a query reads; returns the tags of those that are watched.
CREATE OR REPLACE FUNCTION cache._tags_of(plan jsonb, has_key boolean, has_terms boolean) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    table_read regclass;
    tag text;
    tags text[] := '{}';
BEGIN
    FOR table_read IN SELECT cache._tables_of($1) LOOP
        IF has_key AND (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = table_read) THEN
            PERFORM cache._error('not remembered', format('a query on table %s under one key: it has row-level security', table_read),
                'Leave key out, so that each role has a result of its own.');
        END IF;
        tag := (SELECT min(w.tag) FROM cache.watched AS w WHERE w.relation = table_read AND w.tag NOT LIKE '%{%');
        IF tag IS NOT NULL THEN
            tags := tags || tag;
        ELSIF NOT has_terms THEN
            PERFORM cache._error('not watched', table_read::text);
        END IF;
    END LOOP;
    RETURN tags;
END $body$;
COMMENT ON FUNCTION cache._tags_of(jsonb, boolean, boolean) IS 'the tags of the tables that a plan reads';

-- Runs the query. The arguments become literals of a prepared statement, which gives each the type that the query has for
-- it. As a part of another query it can only read. It runs with the caller's rights and search_path.
CREATE OR REPLACE FUNCTION cache._compute(
    query text, args jsonb, has_key boolean, has_terms boolean, INOUT tags text[], OUT result jsonb)
LANGUAGE plpgsql AS $body$
DECLARE
    call text := 'EXECUTE _pg_stash_remember' OPERATOR(pg_catalog.||) COALESCE((
        SELECT pg_catalog.concat('(', pg_catalog.string_agg(
            pg_catalog.quote_nullable(a.arg OPERATOR(pg_catalog.#>>) '{}'), ', ' ORDER BY a.place), ')')
        FROM pg_catalog.jsonb_array_elements($2) WITH ORDINALITY AS a (arg, place)
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0), '');
    plan json;
    nodes jsonb;
    volatile_function text;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_prepared_statements AS p WHERE p.name OPERATOR(pg_catalog.=) '_pg_stash_remember') THEN
        DEALLOCATE _pg_stash_remember;
    END IF;
    EXECUTE pg_catalog.concat('PREPARE _pg_stash_remember AS SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(_pg_stash_row)), ''[]'') FROM (',
        E'\n', pg_catalog.regexp_replace($1, ';\s*$', ''), E'\n', ') AS _pg_stash_row');
    EXECUTE pg_catalog.concat('EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ', call) INTO plan;
    nodes := plan OPERATOR(pg_catalog.->) 0 OPERATOR(pg_catalog.->) 'Plan';
    volatile_function := cache._volatile_function_in(nodes);
    IF volatile_function IS NOT NULL THEN
        PERFORM cache._error('not remembered', pg_catalog.concat('a query that calls the volatile function ', volatile_function, '()'),
            'Compute what changes with each call outside, and pass it in args.');
    END IF;
    tags := COALESCE(tags, '{}') OPERATOR(pg_catalog.||) cache._tags_of(nodes, $3, $4);
    EXECUTE call INTO result;
    DEALLOCATE _pg_stash_remember;
END $body$;
COMMENT ON FUNCTION cache._compute(text, jsonb, boolean, boolean, text[]) IS 'runs the query of remember()';

CREATE OR REPLACE FUNCTION cache.remember(
    sql text, args jsonb DEFAULT NULL, key text DEFAULT NULL, ttl interval DEFAULT NULL, fresh interval DEFAULT NULL,
    tags text[] DEFAULT NULL, cache text DEFAULT 'default')
RETURNS jsonb LANGUAGE plpgsql AS $body$
DECLARE
    -- For as long as the others wait for this one, or this one for another.
    patience CONSTANT interval := '10 seconds';
    entry_key text := $3;
    claimed record;
    computed record;
    is_filled boolean;
BEGIN
    IF $1 IS NULL THEN
        PERFORM cache._error('null argument', 'sql');
    ELSIF pg_catalog.jsonb_typeof($2) OPERATOR(pg_catalog.<>) 'array' THEN
        PERFORM cache._error('invalid policy', 'args must be a jsonb array');
    END IF;
    IF entry_key IS NULL THEN
        entry_key := pg_catalog.concat('remember:', pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.jsonb_build_array($1, $2, current_user, pg_catalog.current_setting('search_path'))::pg_catalog.text, 'UTF8')), 'hex'));
    END IF;
    claimed := cache._claim(entry_key, patience, patience, $7, 'json');
    IF claimed.state OPERATOR(pg_catalog.<>) 'miss' AND claimed.token IS NULL THEN
        RETURN claimed.value_json;
    END IF;
    computed := cache._compute($1, $2, $3 IS NOT NULL, $4 IS NOT NULL OR $6 IS NOT NULL, $6);
    IF claimed.token IS NOT NULL THEN
        is_filled := cache._fill(claimed.token, NULL, computed.result, NULL, NULL, $4, $5, computed.tags);
    END IF;
    RETURN computed.result;
END $body$;
COMMENT ON FUNCTION cache.remember(text, jsonb, text, interval, interval, text[], text) IS 'the result of a query, computed once for all who ask';

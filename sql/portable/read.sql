-- readers
CREATE OR REPLACE FUNCTION cache.get_many{suffix}(keys text[], cache text DEFAULT 'default')
RETURNS TABLE (key text, value {type}) LANGUAGE plpgsql PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    FOR key, value IN SELECT e.key, {read} FROM cache._peek_many($1, $2) AS e LOOP
        IF value IS NULL THEN
            PERFORM cache._wrong_form(key, $2, '{form}');
        END IF;
        RETURN NEXT;
    END LOOP;
END $body$;

CREATE OR REPLACE FUNCTION cache.take{suffix}(key text, cache text DEFAULT 'default') RETURNS {type}
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    e record := cache._remove(key, cache, 'SELECT', 'DELETE');
    value {type} := {read};
BEGIN
    IF NOT coalesce(e.is_live, false) THEN
        RETURN NULL;
    ELSIF value IS NULL THEN
        PERFORM cache._error('wrong form', key, CASE WHEN e.value_text IS NOT NULL THEN 'text'
            WHEN e.value_json IS NOT NULL THEN 'jsonb' WHEN e.value_bytes IS NOT NULL THEN 'bytea' ELSE 'bigint' END, '{form}');
    END IF;
    RETURN value;
END $body$;

-- In SQL, because PL/pgSQL has no parameter and result of one name.
CREATE OR REPLACE FUNCTION cache.claim{suffix}(
    key text, lease interval DEFAULT '10 seconds', wait interval DEFAULT '0', cache text DEFAULT 'default',
    OUT state text, OUT value {type}, OUT lease bytea)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $body$
    SELECT e.state, {read}, e.token FROM cache._claim($1, $2, $3, $4, '{form}') AS e
$body$;

-- The functions that work on the tables of caches. Their statements are static, so that sessions keep the plans, and the
-- policies are constants in them: a call looks up neither. So they are made anew whenever a cache comes, changes or goes.
-- A part between the lines "each cache" and "end" is repeated for each cache.

CREATE OR REPLACE FUNCTION cache._store() RETURNS SETOF text
LANGUAGE sql IMMUTABLE AS $store$
@store
$store$;
COMMENT ON FUNCTION cache._store() IS 'the definitions of the functions that are made for the caches that there are';

CREATE OR REPLACE FUNCTION cache._entries() RETURNS text
LANGUAGE sql IMMUTABLE AS $store$
    SELECT $entries$
@entries
-- What the constraints check, the functions check too. PostgreSQL would read their text anew for each statement that writes,
-- which is a seventh of its time.
ALTER TABLE cache.{table} DROP CONSTRAINT {table}_key_check, DROP CONSTRAINT {table}_value_check,
    ADD COLUMN basis pg_catalog.pg_snapshot;
COMMENT ON COLUMN cache.{table}.basis IS 'a snapshot not newer than what the value was made from; NULL without tags';
$entries$
$store$;
COMMENT ON FUNCTION cache._entries() IS 'the definition of a cache''s table';

-- With what chance a small write has a part in the upkeep: more often where fewer writes make a quarter of the budget.
CREATE OR REPLACE FUNCTION cache._chance(max_entries bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT least(1, greatest(0.02, 60.0 / $1))::double precision
$body$;
COMMENT ON FUNCTION cache._chance(bigint) IS 'with what chance a small write has a part in the upkeep';

-- Whether what is written with this TTL, now or later, expires after it is written, and within the calendar.
CREATE OR REPLACE FUNCTION cache._is_plain(ttl interval) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT $1 > '0' AND $1 < '10000 days' AND least(extract(year FROM $1), extract(month FROM $1), extract(day FROM $1),
        extract(hour FROM $1), extract(minute FROM $1), extract(second FROM $1)) >= 0
$body$;
COMMENT ON FUNCTION cache._is_plain(interval) IS 'whether a TTL is positive and within the calendar at all times';

-- Puts the names and policies of the caches into the definitions, and runs them.
CREATE OR REPLACE FUNCTION cache._make_store() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning SET intervalstyle = postgres AS $body$
DECLARE
    definition text;
    part text;
    made text;
BEGIN
    -- One at a time: two sessions cannot replace a function at once.
    PERFORM pg_advisory_xact_lock(hashtext('pg_stash'), 1);
    FOR definition IN SELECT cache._store() LOOP
        made := '';
        FOR part IN SELECT regexp_split_to_table(definition, '\n *-- (?=each cache)|(?<=\n) *-- end\n') LOOP
            IF part NOT LIKE 'each cache%' THEN
                made := made || part || E'\n';
            ELSE
                made := made || (
                    SELECT string_agg(replace(replace(replace(replace(replace(replace(replace(replace(substr(part, 12),
                        '{name}', quote_literal(name)), '{table}', cache._table(name)), '{durable}', durable::text),
                        '{default_ttl}', format('%L::interval', default_ttl)),
                        '{is_plain_default}', (default_ttl IS NULL OR cache._is_plain(default_ttl))::text),
                        '{max_size}', format('%L::bigint', max_size)), '{max_entries}', format('%L::bigint', max_entries)), '{chance}', cache._chance(max_entries)::text), '' ORDER BY name <> 'default', name)
                    FROM cache.caches);
            END IF;
        END LOOP;
        EXECUTE made;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._make_store() IS 'makes the functions that work on the tables of caches';

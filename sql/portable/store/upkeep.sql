-- The part of the upkeep that falls to a write: to one in about fifty, and to a batch of so many `writes`. Most of the time
-- there is nothing to do, and so it takes no more than it needs to see that: a table within its budget, and no entry in a few
-- blocks that has to go. Where there is one there are others, and it sweeps a range four times as long. How large a table is
-- takes the longest to find out, and is looked at in one call of four where `writes` is not given.
CREATE OR REPLACE FUNCTION cache._upkeep(cache text, writes bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    count CONSTANT bigint := GREATEST(4, $2 OPERATOR(pg_catalog./) 12);
    total bigint;
    first bigint;
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) ANY ('{repeatable read,serializable}')
        OR pg_catalog.current_setting('pg_stash.autostart', true) OPERATOR(pg_catalog.=) 'off'
    THEN
        RETURN;
    END IF;
    -- each cache
    IF $1 OPERATOR(pg_catalog.=) {name} THEN
        IF {max_entries} IS NOT NULL THEN
            PERFORM cache._evict_piece($1, GREATEST(50, $2));
            RETURN;
        ELSIF ($2 IS NOT NULL OR pg_catalog.random() OPERATOR(pg_catalog.<) 0.25)
            AND pg_catalog.pg_table_size('cache.{table}'::pg_catalog.regclass) OPERATOR(pg_catalog.>) {max_size}
        THEN
            PERFORM cache._evict_piece($1, GREATEST(200, $2));
            RETURN;
        END IF;
        -- Each block with the same chance, and so from a range that begins before the first one.
        total := pg_catalog.pg_relation_size('cache.{table}'::pg_catalog.regclass)
            OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8;
        first := GREATEST(0, pg_catalog.floor(pg_catalog.random() OPERATOR(pg_catalog.*) (total OPERATOR(pg_catalog.+) count))
            OPERATOR(pg_catalog.-) count);
        IF EXISTS (
            SELECT FROM cache.{table} AS e
            WHERE e.ctid OPERATOR(pg_catalog.>=) pg_catalog.format('(%s,0)', first)::pg_catalog.tid
                AND e.ctid OPERATOR(pg_catalog.<) pg_catalog.format('(%s,0)', first OPERATOR(pg_catalog.+) count)::pg_catalog.tid
                AND (e.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
                    OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of)))
        THEN
            PERFORM cache._sweep_piece($1, first, first OPERATOR(pg_catalog.+) 4 OPERATOR(pg_catalog.*) count);
        END IF;
    END IF;
    -- end
END $body$;
COMMENT ON FUNCTION cache._upkeep(text, bigint) IS 'sweeps or evicts, as a part of a write';

-- A piece of the work, as a part of a write, after so many of them. Most pieces find nothing to do, and so they begin with no
-- more than it takes to see that: a file that is within the budget, and no entry in a few blocks that has to go.
CREATE OR REPLACE FUNCTION cache._sweep_piece(cache text, writes bigint DEFAULT 50) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    total bigint;
    first bigint;
    next bigint;
    has_dead boolean;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') OR pg_is_in_recovery()
        OR current_setting('transaction_read_only') = 'on' OR current_setting('pg_stash.autostart', true) = 'off'
    THEN
        RETURN;
    END IF;
    -- each cache
    IF $1 = {name} THEN
        IF {max_entries} IS NOT NULL OR pg_table_size('cache.{table}'::regclass) > {max_size} THEN
            PERFORM cache._evict_piece($1, $2);
            RETURN;
        END IF;
        total := pg_relation_size('cache.{table}'::regclass) / current_setting('block_size')::bigint;
        first := floor(random() * greatest(total - greatest(8, $2 / 10) + 1, 1));
        next := first + greatest(8, $2 / 10);
        has_dead := EXISTS (
            SELECT FROM cache.{table} AS e WHERE e.ctid >= format('(%s,0)', first)::tid AND e.ctid < format('(%s,0)', next)::tid
                AND (e.expires_at <= clock_timestamp() OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of)));
    END IF;
    -- end
    IF has_dead THEN
        PERFORM cache._sweep_blocks($1, first, next, NULL, NULL, NULL, NULL);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._sweep_piece(text, bigint) IS 'sweeps a few blocks, as a part of a write';

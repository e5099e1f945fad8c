-- Looks at a range of blocks: removes what has expired or been invalidated, and then, where the cache is over its budget, as
-- much as is needed, but not more than `most` entries. How many entries there are in all the blocks is what the range itself
-- says if `entries` is NULL. Who goes is a matter of chance, and the longer ago an entry was written the worse is its chance.
-- Rows that somebody has locked are left alone. It has the rights of its caller: what may be done without a right to delete is
-- for the functions that call it to say.
CREATE OR REPLACE FUNCTION cache._sweep_blocks(
    cache text, first bigint, next bigint, entries bigint, max_entries bigint, max_size bigint, most bigint,
    OUT scanned bigint, OUT expired bigint, OUT evicted bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    low CONSTANT tid := format('(%s,0)', $2);
    high CONSTANT tid := format('(%s,0)', $3);
    now CONSTANT timestamptz := clock_timestamp();
    dead tid[];
    live bigint;
    live_bytes bigint;
    kept bigint;
    kept_bytes bigint := CASE WHEN $4 IS NULL THEN $6 END;
BEGIN
    expired := 0;
    evicted := 0;
    -- each cache
    IF $1 = {name} THEN
        SELECT count(*), count(*) FILTER (WHERE NOT r.is_dead), sum(r.bytes) FILTER (WHERE NOT r.is_dead),
            array_agg(r.ctid) FILTER (WHERE r.is_dead)
        INTO scanned, live, live_bytes, dead
        FROM (
            SELECT e.ctid, CASE WHEN $6 IS NOT NULL THEN {bytes} END AS bytes,
                e.expires_at <= now OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of) AS is_dead
            FROM cache.{table} AS e WHERE e.ctid >= low AND e.ctid < high OFFSET 0
        ) AS r;
        IF dead IS NOT NULL THEN
            DELETE FROM cache.{table} AS e WHERE e.ctid = ANY (ARRAY(
                SELECT d.ctid FROM cache.{table} AS d WHERE d.ctid = ANY (dead)
                    AND (d.expires_at <= clock_timestamp() OR d.tags IS NOT NULL AND NOT cache._is_current(d.tags, d.basis, d.as_of))
                FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS expired = ROW_COUNT;
        END IF;
        -- All entries are taken to be as large as these.
        kept := live - least($7, greatest(coalesce($4, live) - $5, coalesce($4, live) - $6 * live / nullif(live_bytes, 0), 0));
        IF kept < live OR live_bytes > kept_bytes THEN
            DELETE FROM cache.{table} AS e WHERE e.ctid = ANY (ARRAY(
                SELECT d.ctid FROM cache.{table} AS d WHERE d.ctid = ANY (ARRAY(
                    SELECT r.ctid FROM (
                        SELECT e.ctid, row_number() OVER by_chance AS entries, sum({bytes}) OVER by_chance AS bytes
                        FROM cache.{table} AS e WHERE e.ctid >= low AND e.ctid < high AND e.expires_at > now
                        WINDOW by_chance AS (ORDER BY random() * age(e.xmin), e.ctid DESC ROWS UNBOUNDED PRECEDING)
                    ) AS r WHERE r.entries > kept OR r.bytes > kept_bytes))
                FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS evicted = ROW_COUNT;
        END IF;
        RETURN;
    END IF;
    -- end
END $body$;
COMMENT ON FUNCTION cache._sweep_blocks(text, bigint, bigint, bigint, bigint, bigint, bigint) IS 'sweeps a range of blocks';

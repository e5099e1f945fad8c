-- Looks at a range of blocks: removes what has expired or been invalidated, and evicts what is over these blocks' share of the
-- budget. Who goes is a matter of chance, and the longer ago an entry was written the worse is its chance. Rows that somebody
-- has locked are left alone.
CREATE OR REPLACE FUNCTION cache._sweep_blocks(
    cache text, first bigint, next bigint, share_entries bigint, share_bytes bigint,
    OUT scanned bigint, OUT expired bigint, OUT evicted bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    low CONSTANT tid := format('(%s,0)', $2);
    high CONSTANT tid := format('(%s,0)', $3);
    dead tid[];
    live bigint;
    live_bytes bigint;
BEGIN
    expired := 0;
    evicted := 0;
    -- each cache
    IF $1 = {name} THEN
        SELECT count(*), count(*) FILTER (WHERE NOT r.is_dead), coalesce(sum(r.bytes) FILTER (WHERE NOT r.is_dead), 0),
            array_agg(r.ctid) FILTER (WHERE r.is_dead)
        INTO scanned, live, live_bytes, dead
        FROM (
            SELECT e.ctid, {bytes} AS bytes, e.expires_at <= clock_timestamp()
                OR e.tags IS NOT NULL AND NOT cache._is_current(e.tags, e.basis, e.as_of) AS is_dead
            FROM cache.{table} AS e WHERE e.ctid >= low AND e.ctid < high OFFSET 0
        ) AS r;
        IF dead IS NOT NULL THEN
            DELETE FROM cache.{table} AS e WHERE e.ctid = ANY (ARRAY(
                SELECT d.ctid FROM cache.{table} AS d WHERE d.ctid = ANY (dead)
                    AND (d.expires_at <= clock_timestamp() OR d.tags IS NOT NULL AND NOT cache._is_current(d.tags, d.basis, d.as_of))
                FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS expired = ROW_COUNT;
        END IF;
        IF live > $4 OR live_bytes > $5 THEN
            DELETE FROM cache.{table} AS e WHERE e.ctid = ANY (ARRAY(
                SELECT d.ctid FROM cache.{table} AS d WHERE d.ctid = ANY (ARRAY(
                    SELECT r.ctid FROM (
                        SELECT e.ctid, row_number() OVER kept AS entries, sum({bytes}) OVER kept AS bytes
                        FROM cache.{table} AS e WHERE e.ctid >= low AND e.ctid < high AND e.expires_at > clock_timestamp()
                        WINDOW kept AS (ORDER BY random() * age(e.xmin), e.ctid DESC ROWS UNBOUNDED PRECEDING)
                    ) AS r WHERE r.entries > $4 OR r.bytes > $5))
                FOR UPDATE SKIP LOCKED));
            GET DIAGNOSTICS evicted = ROW_COUNT;
        END IF;
        RETURN;
    END IF;
    -- end
END $body$;
COMMENT ON FUNCTION cache._sweep_blocks(text, bigint, bigint, bigint, bigint) IS 'sweeps a range of blocks';

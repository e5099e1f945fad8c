-- Invalidations are appended, never updated: those who invalidate the same tag do not wait for each other.

CREATE OR REPLACE FUNCTION cache._invalidate(tags text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    own xid8 := pg_current_xact_id();
BEGIN
    -- Once for each tag and transaction. What a savepoint has taken back is not there any more, and is noted again.
    INSERT INTO cache._invalidations (tag, xid)
    SELECT t.tag, own FROM unnest(tags) AS t (tag) ON CONFLICT DO NOTHING;
    IF random() < 0.002 THEN
        PERFORM cache._compact();
    END IF;
END $body$;
COMMENT ON FUNCTION cache._invalidate(text[]) IS 'notes tags that are invalid once the transaction has committed';

CREATE OR REPLACE FUNCTION cache.invalidate(VARIADIC tags text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    ELSIF tags IS NULL OR array_position(tags, NULL) IS NOT NULL THEN
        PERFORM cache._error('null tag');
    ELSIF array_position(tags, '') IS NOT NULL THEN
        PERFORM cache._error('empty tag');
    ELSIF cardinality(tags) > 0 THEN
        PERFORM cache._invalidate(tags);
    END IF;
END $body$;

CREATE OR REPLACE FUNCTION cache.invalidate_all() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM cache._error('write in recovery');
    END IF;
    -- The empty tag stands for all.
    PERFORM cache._invalidate(ARRAY['']);
END $body$;

-- Of each tag one old invalidation is kept, which then stands for all before it. Old ones are those of transactions that
-- ended before every transaction that ran some seconds ago: entries of since then have a basis that sees all of them. Where so many tags are left that
-- the table would grow for ever, the horizon moves up, and older entries are misses.
CREATE OR REPLACE FUNCTION cache._compact() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    kept CONSTANT integer := 100000;
    horizon xid8;
    ended xid8;
BEGIN
    -- Once in a transaction: one that invalidates very much has nothing new to forget.
    IF NOT cache._may_note() OR EXISTS (
        SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.pid = pg_backend_pid()
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND (l.classid, l.objid, l.objsubid) = (hashtext('pg_stash')::oid, 0::oid, 2)
    ) THEN
        RETURN;
    END IF;
    PERFORM cache._note_moment();
    IF NOT pg_try_advisory_xact_lock(hashtext('pg_stash'), 0) THEN
        RETURN;
    END IF;
    SELECT pg_snapshot_xmin(m.snapshot) INTO ended FROM cache._moments AS m
    WHERE m.at < clock_timestamp() - interval '5 seconds' ORDER BY m.at DESC LIMIT 1;
    WITH newest AS (
        SELECT DISTINCT ON (i.tag) i.tag, i.xid
        FROM (SELECT tag, xid, count(*) OVER (PARTITION BY tag) AS count FROM cache._invalidations WHERE xid < ended) AS i
        WHERE i.count > 1
        ORDER BY i.tag, i.xid DESC
    ), gone AS (
        DELETE FROM cache._invalidations AS i USING newest AS n WHERE i.tag = n.tag AND i.xid <= n.xid
    )
    INSERT INTO cache._invalidations (tag, xid, is_bound) SELECT tag, xid, true FROM newest;

    SELECT i.xid INTO horizon FROM cache._invalidations AS i WHERE i.xid < ended ORDER BY i.xid DESC OFFSET kept LIMIT 1;
    IF FOUND THEN
        -- Those with the same transaction ID go together. One row more than what is kept makes half of it go.
        SELECT i.xid INTO horizon FROM cache._invalidations AS i WHERE i.xid < ended
        ORDER BY i.xid DESC OFFSET kept / 2 LIMIT 1;
        UPDATE cache._horizon SET xid = horizon WHERE xid < horizon;
        UPDATE cache._horizon AS h SET made = h.xmin WHERE h.xid = horizon;
        DELETE FROM cache._invalidations WHERE xid < horizon;
    END IF;
    DELETE FROM cache._moments WHERE at < (
        SELECT max(at) FROM cache._moments WHERE at < clock_timestamp() - interval '10 minutes');
END $body$;
COMMENT ON FUNCTION cache._compact() IS 'forgets invalidations that nobody needs to know of one by one';

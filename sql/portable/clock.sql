-- The order between values and invalidations, without shared memory.
--
-- An invalidation is a row with its transaction's ID, which others see from the moment at which they see what that
-- transaction has changed. An entry with tags keeps a snapshot that is not newer than the data that it was made from
-- (its basis). It is live only while every invalidation of its tags that a reader sees is in its basis.
--
-- The surface speaks of times, so times have to be turned into snapshots. A moment is a snapshot and a time that was
-- read after it was taken: what the snapshot sees had been committed by then. What was read after the moment's time
-- has seen all of that. So the newest moment whose time is not after as_of is a basis for a value of as_of. An older
-- one is as right, and only makes the entry miss sooner. Moments are noted where it matters: by cache.clock(), by
-- cache.claim(), and by those who meet an entry that an invalidation has hit.
--
-- The horizon is where this history begins. Rows whose transaction IDs are of another cluster (a restore), or which are
-- there without the ones that belong to them (after a crash, which empties these tables), must not be believed: the
-- horizon's row tells, because it knows the ID of the transaction that wrote it.

CREATE UNLOGGED TABLE IF NOT EXISTS cache._invalidations (
    tag      text COLLATE "C" NOT NULL,
    xid      xid8 NOT NULL,
    is_bound boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE UNIQUE INDEX IF NOT EXISTS _invalidations_tag ON cache._invalidations (tag, xid, is_bound);
CREATE INDEX IF NOT EXISTS _invalidations_xid ON cache._invalidations (xid);
COMMENT ON TABLE cache._invalidations IS 'what has been invalidated, by transactions';
COMMENT ON COLUMN cache._invalidations.tag IS 'the tag; empty: all tags';
COMMENT ON COLUMN cache._invalidations.xid IS 'the transaction that has invalidated it';
COMMENT ON COLUMN cache._invalidations.is_bound IS 'whether it stands for others of the tag that came before, too';
COMMENT ON INDEX cache._invalidations_tag IS 'for reads of entries; of a tag each transaction notes one';
COMMENT ON INDEX cache._invalidations_xid IS 'for what a moment does not see';

CREATE UNLOGGED TABLE IF NOT EXISTS cache._moments (
    at       timestamptz NOT NULL,
    snapshot pg_snapshot NOT NULL
);
CREATE INDEX IF NOT EXISTS _moments_at ON cache._moments (at);
COMMENT ON TABLE cache._moments IS 'snapshots, and times by which all that each sees had been committed';
COMMENT ON COLUMN cache._moments.at IS 'a time after the snapshot was taken';
COMMENT ON COLUMN cache._moments.snapshot IS 'what had been committed by then';
COMMENT ON INDEX cache._moments_at IS 'for the newest moment before a time';

CREATE UNLOGGED TABLE IF NOT EXISTS cache._horizon (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    at     timestamptz NOT NULL,
    xid    xid8 NOT NULL,
    made   xid
);
COMMENT ON TABLE cache._horizon IS 'where the history of invalidations begins; one row';
COMMENT ON COLUMN cache._horizon.is_one IS 'always true';
COMMENT ON COLUMN cache._horizon.at IS 'values of before that time are not current';
COMMENT ON COLUMN cache._horizon.xid IS 'invalidations of before that transaction are not kept: a basis has to see all of them';
COMMENT ON COLUMN cache._horizon.made IS 'the transaction that has written the row: another one has restored it from elsewhere';

-- Whether a basis sees an invalidation. One that stands for others is seen where all of them certainly are.
CREATE OR REPLACE FUNCTION cache._sees(basis pg_snapshot, xid xid8, is_bound boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN $3 THEN $2 OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmin($1)
        ELSE pg_catalog.pg_visible_in_snapshot($2, $1) END
$body$;
COMMENT ON FUNCTION cache._sees(pg_snapshot, xid8, boolean) IS 'whether a snapshot sees an invalidation';

-- STABLE: it looks with the snapshot of the statement that reads the entry, so that both are of one time. Every read of an entry
-- with tags comes here: it is planned once, and by the index, which leads to those that a snapshot may not see.
CREATE OR REPLACE FUNCTION cache._is_current(tags text[], basis pg_snapshot, as_of timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET random_page_cost = 0 AS $body$
BEGIN
    -- On a standby there is nothing to look at. Tags that were spoilt by hand are as good as invalidated.
    IF pg_is_in_recovery() OR basis IS NULL OR array_ndims(tags) IS DISTINCT FROM 1
        OR array_position(tags, NULL) IS NOT NULL
    THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM cache._horizon AS h
        WHERE h.made = h.xmin AND h.at <= as_of AND h.xid <= pg_snapshot_xmin(basis)
    ) AND NOT EXISTS (
        SELECT FROM cache._invalidations AS i
        WHERE i.tag = ANY (tags || ''::text) AND i.xid >= pg_snapshot_xmin(basis) AND NOT cache._sees(basis, i.xid, i.is_bound)
    );
END $body$;
COMMENT ON FUNCTION cache._is_current(text[], pg_snapshot, timestamptz) IS 'whether nothing that an entry depends on has been invalidated since';

-- What is committed now. The transaction's own changes are not: its own invalidations hit what it stores, too.
CREATE OR REPLACE FUNCTION cache._snapshot() RETURNS pg_snapshot
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    taken pg_snapshot := pg_current_snapshot();
    own xid8 := pg_current_xact_id_if_assigned();
BEGIN
    IF own IS NULL OR own >= pg_snapshot_xmax(taken) THEN
        RETURN taken;
    END IF;
    RETURN concat_ws(':', pg_snapshot_xmin(taken), pg_snapshot_xmax(taken), (
        SELECT string_agg(xid::text, ',' ORDER BY xid)
        FROM (SELECT pg_snapshot_xip(taken) UNION SELECT own) AS running (xid)
    ))::pg_snapshot;
END $body$;
COMMENT ON FUNCTION cache._snapshot() IS 'a snapshot in which the current transaction has not committed';

CREATE OR REPLACE FUNCTION cache._has_one_snapshot() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
END $body$;
COMMENT ON FUNCTION cache._has_one_snapshot() IS 'whether the isolation level keeps one snapshot';

CREATE OR REPLACE FUNCTION cache._may_note() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean
        AND NOT cache._has_one_snapshot();
END $body$;
COMMENT ON FUNCTION cache._may_note() IS 'whether the transaction may write to the internal tables';

-- Begins the history anew: what there was of it is not of this cluster, or not whole.
CREATE OR REPLACE FUNCTION cache._begin_history() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    taken pg_snapshot;
    seen_at timestamptz;
    begins_with xid8;
BEGIN
    IF EXISTS (SELECT FROM cache._horizon AS h WHERE h.made = h.xmin) OR NOT cache._may_note() THEN
        RETURN;
    END IF;
    DELETE FROM cache._horizon;
    DELETE FROM cache._moments;
    DELETE FROM cache._invalidations;
    taken := cache._snapshot();
    seen_at := clock_timestamp();
    -- A basis has to see those that were deleted here, whose transaction IDs are all below the snapshot's end.
    begins_with := CASE WHEN FOUND THEN pg_snapshot_xmax(taken) ELSE pg_snapshot_xmin(taken) END;
    INSERT INTO cache._horizon (at, xid) VALUES (seen_at, begins_with) ON CONFLICT DO NOTHING;
    UPDATE cache._horizon SET made = xmin WHERE made IS NULL;
    INSERT INTO cache._moments (at, snapshot) VALUES (seen_at, taken);
END $body$;
COMMENT ON FUNCTION cache._begin_history() IS 'begins the history of invalidations, unless there is one';
DO $$ BEGIN PERFORM cache._begin_history(); END $$;

-- Notes a moment, if there are invalidations that the newest one does not see, or has to see. The snapshot comes first, the time second.
CREATE OR REPLACE FUNCTION cache._note_moment() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    own xid8 := pg_current_xact_id_if_assigned();
    newest pg_snapshot;
    taken pg_snapshot;
BEGIN
    IF NOT cache._may_note() THEN
        RETURN;
    END IF;
    PERFORM cache._begin_history();
    SELECT m.snapshot INTO newest FROM cache._moments AS m ORDER BY m.at DESC LIMIT 1;
    IF FOUND AND NOT EXISTS (SELECT FROM cache._horizon AS h WHERE h.xid > pg_snapshot_xmin(newest)) AND NOT EXISTS (
        SELECT FROM cache._invalidations AS i
        WHERE i.xid >= pg_snapshot_xmin(newest) AND i.xid IS DISTINCT FROM own
            AND NOT cache._sees(newest, i.xid, i.is_bound)
    ) THEN
        RETURN;
    END IF;
    taken := cache._snapshot();
    INSERT INTO cache._moments (at, snapshot) VALUES (clock_timestamp(), taken);
END $body$;
COMMENT ON FUNCTION cache._note_moment() IS 'notes what is committed now, where the newest moment does not tell';

-- What a value of a time can be based on: nothing, if it is of before the history began.
CREATE OR REPLACE FUNCTION cache._basis(as_of timestamptz, OUT basis pg_snapshot, OUT at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    SELECT m.snapshot, m.at INTO basis, at
    FROM cache._moments AS m, cache._horizon AS h
    WHERE m.at <= as_of AND m.at >= h.at AND h.made = h.xmin
    ORDER BY m.at DESC LIMIT 1;
END $body$;
COMMENT ON FUNCTION cache._basis(timestamptz) IS 'the newest moment not after a time';

CREATE OR REPLACE FUNCTION cache.clock() RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF cache._has_one_snapshot() THEN
        RETURN transaction_timestamp();
    END IF;
    PERFORM cache._note_moment();
    RETURN clock_timestamp();
END $body$;

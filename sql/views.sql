CREATE VIEW cache.stats AS
SELECT
    data.cache,
    data.entries,
    data.live_bytes,
    pg_catalog.pg_total_relation_size(data.relation::pg_catalog.regclass) AS file_bytes,
    caches.max_size,
    caches.max_entries,
    pg_catalog.round(100 * greatest(
        data.live_bytes::numeric / caches.max_size, data.entries::numeric / caches.max_entries), 1) AS used_percent,
    data.hits,
    data.misses,
    pg_catalog.round(data.hits::numeric / nullif(data.hits + data.misses, 0), 4) AS hit_ratio,
    data.sets,
    data.deletes,
    data.expired,
    data.evicted,
    data.invalidated,
    data.stale_served,
    data.recomputes_saved,
    data.stats_reset
FROM stats_data() AS data
JOIN cache.caches ON caches.name = data.cache;

CREATE VIEW cache.sweeper AS
SELECT
    coalesce(pg_database.datname, data.database::text::name) AS database,
    data.pid,
    data.state,
    data.last_pass,
    data.duration,
    data.scanned,
    data.expired,
    data.evicted,
    data.pace,
    data.lateness,
    holder.pid AS held_back_by,
    holder.age AS held_back_for
FROM sweeper_data() AS data
LEFT JOIN pg_catalog.pg_database ON pg_database.oid = data.database
-- Rows that were deleted since this transaction began are kept for it, by every sweep and every VACUUM.
LEFT JOIN LATERAL (
    SELECT activity.pid, pg_catalog.clock_timestamp() - activity.xact_start AS age
    FROM pg_catalog.pg_stat_activity AS activity
    WHERE activity.datid = data.database
        AND activity.pid NOT IN (pg_catalog.pg_backend_pid(), coalesce(data.pid, 0))
        AND coalesce(activity.backend_xmin, activity.backend_xid) IS NOT NULL
    ORDER BY greatest(pg_catalog.age(activity.backend_xmin), pg_catalog.age(activity.backend_xid)) DESC
    LIMIT 1
) AS holder ON true;

REVOKE EXECUTE ON FUNCTION stats_reset(text) FROM PUBLIC;

-- Those who watch the server may see how its caches do.
GRANT USAGE ON SCHEMA cache TO pg_monitor;
GRANT SELECT ON cache.stats, cache.sweeper, cache.caches TO pg_monitor;

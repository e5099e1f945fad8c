-- What pg_stash does, step by step, on the shop database.
\set ON_ERROR_STOP on
\pset footer off
\set QUIET on

\echo
\echo '1. The extension. It needs no restart and no shared_preload_libraries.'
\echo '   CREATE EXTENSION pg_stash;'
\timing on
CREATE EXTENSION pg_stash;
\timing off

\echo
\echo '2. A dashboard: revenue per category and month, over all orders. This is what it costs each time:'
CREATE OR REPLACE VIEW dashboard AS
SELECT category, date_trunc('month', ordered_at)::date AS month, count(*) AS orders,
    count(DISTINCT customer_id) AS customers, sum(quantity * price) AS revenue
FROM orders JOIN products ON products.id = product_id
GROUP BY category, month;
\timing on
SELECT category, sum(orders) AS orders, sum(revenue) AS revenue FROM dashboard GROUP BY category ORDER BY category;
\timing off

\echo
\echo '3. Its result goes into the cache as jsonb, for five minutes:'
\echo '   SELECT cache.set(''dashboard'', (SELECT jsonb_agg(d) FROM dashboard AS d), ttl => ''5 minutes'');'
\timing on
SELECT cache.set('dashboard', (SELECT jsonb_agg(to_jsonb(d)) FROM dashboard AS d), ttl => '5 minutes');
\timing off
\echo '   From now on the dashboard is one look-up:'
\echo '   SELECT jsonb_array_length(cache.get_json(''dashboard''));'
SELECT cache.get_json('dashboard') IS NOT NULL AS hit;
\timing on
SELECT jsonb_array_length(cache.get_json('dashboard')) AS rows_in_the_dashboard;
\timing off
SELECT cache.ttl('dashboard') AS time_left, cache.expires_at('dashboard');

\echo
\echo '4. Better: remember the query. It runs again exactly when what it reads has changed, so it needs no TTL.'
\echo '   SELECT cache.watch(''orders''), cache.watch(''products'');'
SELECT cache.watch('orders'), cache.watch('products') \g /dev/null
\set remember 'SELECT round(sum((row ->> \'revenue\')::numeric)) AS revenue FROM jsonb_array_elements(cache.remember(\'SELECT * FROM dashboard\')) AS row;'
\echo '   SELECT cache.remember(''SELECT * FROM dashboard'');      the first time it is computed:'
\timing on
:remember
\timing off
\echo '   and from then on it is one look-up:'
\timing on
:remember
\timing off
\echo '   An order changes, and the change is rolled back. Nothing is computed:'
BEGIN;
UPDATE orders SET quantity = quantity + 10000 WHERE id = 1;
ROLLBACK;
\timing on
:remember
\timing off
\echo '   The same, committed: the next one who asks computes it, and sees the new revenue.'
UPDATE orders SET quantity = quantity + 10000 WHERE id = 1;
\timing on
:remember
:remember
\timing off

\echo
\echo '5. Counters are atomic; the TTL counts from the first hit. A rate limit is one line:'
\echo '   SELECT cache.incr(''logins:203.0.113.9'', ttl => ''1 minute'') <= 3 AS allowed;'
SELECT cache.incr('logins:203.0.113.9', ttl => '1 minute') <= 3 AS allowed FROM generate_series(1, 5);

\echo
\echo '6. Batches: 10,000 product pages in one call, and 100 of them read in one call:'
\timing on
SELECT cache.set_many(array_agg('page:' || n), array_agg('<html>' || repeat('product ' || n || ' ', 20)), ttl => '3 seconds')
    AS pages_stored
FROM generate_series(1, 10000) AS n;
SELECT count(*) AS pages_read, sum(length(value)) AS characters
FROM cache.get_many(ARRAY(SELECT 'page:' || n * 10 FROM generate_series(1, 100) AS n));
\timing off

\echo
\echo '7. What the cache holds, as figures and as an ordinary table:'
SELECT cache, entries, pg_size_pretty(live_bytes) AS live, pg_size_pretty(file_bytes) AS file, hits, misses, hit_ratio
FROM cache.stats;
SELECT key, left(coalesce(value_text, value_json::text, value_int::text), 40) AS value, expires_at
FROM cache.entries WHERE NOT starts_with(key, 'page:') ORDER BY key;

\echo
\echo '8. The pages expire after three seconds. An expired entry is never returned, swept or not:'
SELECT pg_sleep(3.1);
SELECT cache.get('page:10') AS page_10, count(*) AS rows_still_in_the_table FROM cache.entries;
\echo '   and the sweeper, which the first write has started, removes them within pg_stash.sweep_max_stale (10 s):'
DO $$
BEGIN
    FOR attempt IN 1 .. 150 LOOP
        EXIT WHEN (SELECT count(*) FROM cache.entries) < 100;
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
SELECT count(*) AS rows_left FROM cache.entries;
SELECT database, pid, state, duration AS last_pass_took, scanned, expired FROM cache.sweeper;

//! `cache.stats`, `cache.sweeper`, `cache.top`: what they say is so.

use super::support::{Session, database, edition, skips, wait_until};

/// Counters of the default cache: entries, hits, misses, sets, deletes.
fn counters(s: &mut Session) -> Vec<i64> {
    let row = s.rows("SELECT entries, hits, misses, sets, deletes FROM cache.stats WHERE cache = 'default'").remove(0);
    row.into_iter().map(|column| column.unwrap().parse().unwrap()).collect()
}

#[test]
fn each_call_is_counted_once() {
    if skips("each_call_is_counted_once") {
        return;
    }
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('a', 'x'), cache.set('b', 'x'), cache.set('a', 'y')");
    s.run("SELECT cache.get('a'), cache.get('nothing'), cache.take('b'), cache.delete('nothing')");
    assert_eq!(counters(&mut s), [1, 1, 1, 3, 1]);
    s.run("SELECT cache.set_many(ARRAY['c', 'd', 'c'], ARRAY['1', '2', '3'])");
    s.run("SELECT count(*) FROM cache.get_many(ARRAY['c', 'd', 'e'])");
    assert_eq!(counters(&mut s), [3, 3, 2, 5, 1]);
    s.run("SELECT cache.incr('n'), cache.incr('n'), cache.touch('a', '1 h'), cache.add('a', 'z'), cache.delete_prefix('')");
    assert_eq!(counters(&mut s), [0, 3, 2, 7, 5]);
    s.run("SELECT cache.stats_reset()");
    assert_eq!(counters(&mut s), [0, 0, 0, 0, 0]);
}

#[test]
fn a_set_that_is_rolled_back_is_not_a_set() {
    if skips("a_set_that_is_rolled_back_is_not_a_set") {
        return;
    }
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('kept', 'x')");
    let before = counters(&mut s);
    s.run("BEGIN; SELECT cache.set('a', 'x'), cache.delete('kept'), cache.set('b', 'x'); ROLLBACK");
    assert_eq!(counters(&mut s), before);
    s.run("BEGIN; SELECT cache.set('a', 'x'); SAVEPOINT s; SELECT cache.set('b', 'x'), cache.delete('kept'); ROLLBACK TO s; SELECT cache.set('c', 'x'); RELEASE s; COMMIT");
    assert_eq!(counters(&mut s), [3, 0, 0, 3, 0]);
    // Subtransactions of PL/pgSQL, one that ends well and one that does not, many times.
    s.run(
        "DO $$ BEGIN FOR i IN 1 .. 300 LOOP
        BEGIN PERFORM cache.set('p' || i, 'x'); EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN PERFORM cache.set('q' || i, 'x'); PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP; END $$",
    );
    assert_eq!(counters(&mut s), [303, 0, 0, 303, 0]);
    s.run("BEGIN; SELECT cache.set('z', 'x')");
    assert_eq!(counters(&mut s)[0], 304, "one's own are shown");
    assert_eq!(counters(&mut db.session())[0], 303, "others' are not, before they commit");
    s.run("ROLLBACK");
}

#[test]
fn sizes_add_up_over_overwrites_and_deletes() {
    if skips("sizes_add_up_over_overwrites_and_deletes") {
        return;
    }
    let db = database();
    let mut s = db.session();
    let real = "SELECT coalesce(sum(tuple_len), 0) FROM pgstattuple('cache.entries')";
    let has_pgstattuple = s.number("SELECT count(*) FROM pg_available_extensions WHERE name = 'pgstattuple'") == 1;
    s.run("SELECT cache.set('k' || i, repeat('x', i % 900)) FROM generate_series(1, 2000) AS i");
    s.run("SELECT cache.set('k' || i, repeat('y', i % 500)) FROM generate_series(1, 2000, 3) AS i");
    s.run("SELECT cache.set('k' || i, i::bigint) FROM generate_series(1, 2000, 7) AS i");
    s.run("SELECT cache.delete('k' || i) FROM generate_series(1, 2000, 5) AS i");
    let counted = s.number("SELECT live_bytes FROM cache.stats WHERE cache = 'default'");
    s.run("SELECT cache.sweep()");
    assert_eq!(
        s.number("SELECT live_bytes FROM cache.stats WHERE cache = 'default'"),
        counted,
        "a pass counts the same"
    );
    if has_pgstattuple {
        s.run("CREATE EXTENSION pgstattuple");
        assert_eq!(s.number(real), counted);
    }
}

#[test]
fn rows_deleted_or_truncated_by_hand_are_found_out() {
    if skips("rows_deleted_or_truncated_by_hand_are_found_out") {
        return;
    }
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k' || i, 'x') FROM generate_series(1, 1000) AS i");
    s.run("DELETE FROM cache.entries WHERE key LIKE 'k1%'");
    s.run("SELECT cache.sweep()");
    assert_eq!(counters(&mut s)[0], s.number("SELECT count(*) FROM cache.entries"));
    s.run("TRUNCATE cache.entries");
    assert_eq!(counters(&mut s)[0], 0);
    s.run("BEGIN; TRUNCATE cache.entries; SELECT cache.set('a', 'x'); ROLLBACK; SELECT cache.set('b', 'x'), cache.sweep()");
    assert_eq!(counters(&mut s)[0], 1);
}

#[test]
fn counting_can_be_switched_off() {
    if skips("counting_can_be_switched_off") {
        return;
    }
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('a', 'x'); SET pg_stash.track_stats = off; SELECT cache.get('a'), cache.get('b')");
    assert_eq!(counters(&mut s), [1, 0, 0, 1, 0]);
}

#[test]
fn caches_of_two_databases_are_apart() {
    if skips("caches_of_two_databases_are_apart") {
        return;
    }
    let (one, two) = (database(), database());
    let (mut s, mut t) = (one.session(), two.session());
    s.run("SELECT cache.create_cache('pages', max_entries => 10)");
    t.run("SELECT cache.create_cache('pages', max_entries => 1000)");
    s.run("SELECT cache.set('k' || i, 'one', cache => 'pages') FROM generate_series(1, 100) AS i");
    t.run("SELECT cache.set('k' || i, 'two', cache => 'pages') FROM generate_series(1, 100) AS i");
    assert!(s.number("SELECT entries FROM cache.stats WHERE cache = 'pages'") <= 10);
    assert_eq!(t.number("SELECT entries FROM cache.stats WHERE cache = 'pages'"), 100);
    assert_eq!(
        t.value(
            "SELECT string_agg(DISTINCT value, ' ') FROM cache.get_many(ARRAY['k1', 'k50', 'k100'], cache => 'pages')"
        ),
        "two"
    );
    assert_eq!(t.number("SELECT hits FROM cache.stats WHERE cache = 'pages'"), 3);
    assert_eq!(s.number("SELECT hits FROM cache.stats WHERE cache = 'pages'"), 0);
}

#[test]
fn a_hundred_caches_are_counted_and_bounded_each_by_itself() {
    if skips("a_hundred_caches_are_counted_and_bounded_each_by_itself") {
        return;
    }
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('c' || i, max_entries => 20) FROM generate_series(1, 100) AS i");
    s.run("SELECT cache.set('k' || k, 'x', cache => 'c' || i) FROM generate_series(1, 100) AS i, generate_series(1, 30) AS k");
    assert_eq!(
        s.number(
            "SELECT count(*) FROM cache.stats WHERE cache <> 'default' AND sets = 30 AND entries BETWEEN 15 AND 20"
        ),
        100
    );
}

#[test]
fn used_percent_is_of_the_nearer_budget() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('small', max_size => '1 MB', max_entries => 10)");
    s.run("SELECT cache.set('k' || i, 'x', cache => 'small') FROM generate_series(1, 5) AS i");
    assert_eq!(s.value("SELECT used_percent FROM cache.stats WHERE cache = 'small'"), "50.0");
}

#[test]
fn top_lists_the_largest_live_entries() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k' || i, repeat('x', i * 10)) FROM generate_series(1, 100) AS i");
    s.run("SELECT cache.set('gone', repeat('x', 1900), ttl => '1 ms'), pg_sleep(0.01)");
    assert_eq!(s.column("SELECT key FROM cache.top(3)"), ["k100", "k99", "k98"]);
    assert_eq!(s.number("SELECT count(*) FROM cache.top()"), 10);
    assert_eq!(s.number("SELECT count(*) FROM cache.top(0)"), 0);
    s.fails("SELECT cache.top(-1)", "22023");
    s.fails("SELECT cache.top(NULL)", "22004");
    s.fails("SELECT cache.top(cache => 'nothing')", "42704");
    s.run("CREATE ROLE looker; GRANT USAGE ON SCHEMA cache TO looker; SET ROLE looker");
    s.fails("SELECT cache.top()", "42501");
    s.run("RESET ROLE; DROP OWNED BY looker; DROP ROLE looker");
}

#[test]
fn the_sweeper_tells_its_last_pass_and_what_holds_it_back() {
    if skips("the_sweeper_tells_its_last_pass_and_what_holds_it_back") {
        return;
    }
    let db = database();
    let mut s = db.session();
    let mut holder = db.session();
    holder.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    let pid = holder.value("SELECT pg_backend_pid()");
    s.run("SELECT cache.set('k' || i, 'x', ttl => '100 ms') FROM generate_series(1, 500) AS i");
    let own = "FROM cache.sweeper WHERE database = current_database()";
    wait_until("a pass is reported", || s.number(&format!("SELECT expired {own}")) == 500);
    assert_eq!(s.value(&format!("SELECT held_back_by {own} AND held_back_for > '0'")), pid);
    assert_eq!(
        s.value(&format!("SELECT duration < '1 min' AND pace <= '2 s' AND last_pass > now() - interval '1 min' {own}")),
        "t"
    );
    holder.run("COMMIT");
    s.run("SET pg_stash.autostart = off");
    s.run(&format!("SELECT pg_terminate_backend(pid) {own}"));
    wait_until("it has ended", || s.value(&format!("SELECT state {own}")) == "absent");
    s.run("SELECT cache.set('late', 'x', ttl => '1 ms'), pg_sleep(0.2)");
    assert_eq!(s.value(&format!("SELECT lateness BETWEEN '100 ms' AND '1 min' {own}")), "t");
}

#[test]
fn the_portable_edition_counts_writes_and_entries_and_no_reads() {
    if !edition().is_portable() {
        return;
    }
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('a', 'x'), cache.set('b', 'x'), cache.set('a', 'y'), cache.delete('b'), cache.get('a')");
    s.run("SELECT pg_stat_force_next_flush()");
    let counted = "SELECT concat_ws(' ', sets, deletes, entries) FROM cache.stats";
    wait_until("the writes are counted", || s.value(counted) == "3 1 1");
    assert_eq!(s.value("SELECT num_nonnulls(hits, misses, hit_ratio, expired, evicted, invalidated, stale_served, recomputes_saved) FROM cache.stats"), "0");
    s.run("SELECT cache.stats_reset()");
    assert_eq!(s.value(counted), "0 0 1");
    s.run("DELETE FROM cache.entries");
    assert_eq!(s.number("SELECT entries + live_bytes FROM cache.stats"), 0);
    assert_eq!(s.value("SELECT concat_ws(' ', state, pid) FROM cache.sweeper"), "absent");
}

//! What operations leave behind, in figures that do not depend on the machine: XIDs, WAL, file sizes, HOT updates.
//!
//! Each test has a server of its own. Nobody else takes XIDs or writes WAL there, and no transaction elsewhere keeps
//! dead rows from being reclaimed: PostgreSQL's horizon of running XIDs is that of the whole server.

use super::support::{Server, Session, wait_until};

fn server(name: &str, settings: &[&str]) -> (Server, Session) {
    let server = Server::start(name, settings);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash");
    (server, s)
}

#[test]
fn reads_burn_no_xid_and_write_no_wal() {
    let (_server, mut s) = server("reads", &["autovacuum = off"]);
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text)) FROM generate_series(1, 1000) AS i");
    s.run("CHECKPOINT");
    let state = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text || ' ' || pg_current_wal_insert_lsn()";
    // The first reads set hint bits, which concerns no WAL, and fill caches.
    s.run("SELECT count(cache.get('k' || i)) FROM generate_series(1, 1000) AS i");
    let before = s.value(state);
    s.run("SELECT count(cache.get('k' || i % 2000)) FROM generate_series(1, 100000) AS i");
    for _ in 0..500 {
        s.run("SELECT cache.get('k7'), cache.exists('k8'), cache.ttl('k9'), cache.get('none')");
        s.run("SELECT count(*) FROM cache.get_many(ARRAY['k1', 'k2', 'none']); SELECT count(*) FROM cache.keys('k1')");
    }
    assert_eq!(s.value(state), before);
}

#[test]
fn a_batch_takes_one_xid() {
    let (_server, mut s) = server("batch", &["autovacuum = off"]);
    let xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
    let before = s.number(xid);
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text)) FROM generate_series(1, 1000) AS i");
    assert_eq!(s.number(xid) - before, 1);
}

#[test]
fn overwrites_are_hot_and_the_file_stays_flat() {
    let (_server, mut s) = server("overwrites", &["autovacuum_naptime = 1s"]);
    let batch = "SELECT cache.set_many(array_agg('k' || i), array_agg(repeat(chr(97 + i % 26), 200))) FROM generate_series(1, 20000) AS i";
    s.run(batch);
    let sizes = "SELECT pg_relation_size('cache.entries') || ' ' || pg_relation_size('cache.entries_pkey')";
    let first: Vec<f64> = s.value(sizes).split(' ').map(|size| size.parse().expect("a number")).collect();
    for _ in 0..500 {
        s.run("SELECT cache.set_many(array_agg(k), array_agg(repeat('y', 200))) FROM (SELECT 'k' || (1 + floor(random() * 20000))::int AS k FROM generate_series(1, 1000)) AS keys");
    }
    let last: Vec<f64> = s.value(sizes).split(' ').map(|size| size.parse().expect("a number")).collect();
    for (first, last) in first.iter().zip(&last) {
        assert!(last / first <= 1.3, "{first} bytes grew to {last}");
    }
    s.run("SELECT pg_stat_force_next_flush()");
    let hot =
        "SELECT n_tup_hot_upd::float8 / n_tup_upd FROM pg_stat_user_tables WHERE relid = 'cache.entries'::regclass";
    wait_until("the statistics have arrived", || s.ask(hot).is_some());
    let share: f64 = s.value(hot).parse().expect("a number");
    assert!(share > 0.9, "{share}");
    // While ANALYZE ran, its snapshot would keep what is overwritten. VACUUM's does not, and it comes.
    let upkeep = "SELECT autovacuum_count || ' ' || autoanalyze_count FROM pg_stat_user_tables WHERE relid = 'cache.entries'::regclass";
    wait_until("autovacuum has come twice", || {
        s.run(batch);
        let counts = s.value(upkeep);
        assert!(counts.ends_with(" 0"), "{counts}");
        !counts.starts_with("0 ") && !counts.starts_with("1 ")
    });
}

#[test]
fn swept_rows_leave_room_for_new_ones_before_any_vacuum() {
    let (_server, mut s) = server("steady", &["pg_stash.sweep_max_stale = '1s'", "autovacuum = off"]);
    // Each round fills the table anew with other keys, after the sweeper has removed those of the round before.
    let mut sizes = Vec::new();
    for round in 0..8 {
        let keys = format!("(SELECT 'r{round}:' || i AS k FROM generate_series(1, 10000) AS i)");
        s.run(&format!(
            "SELECT cache.set_many(array_agg(k), array_agg(repeat('x', 200)), ttl => '300 ms') FROM {keys} AS keys"
        ));
        sizes.push(s.number("SELECT pg_relation_size('cache.entries')"));
        wait_until("all is swept", || s.number("SELECT count(*) FROM cache.entries") == 0);
        // A pass over what is left prunes it; an entry that expires gives it a reason.
        s.run("SELECT cache.set('last', 'x', ttl => '100 ms')");
        wait_until("the last is swept", || s.number("SELECT count(*) FROM cache.entries") == 0);
    }
    let (first, last) = (sizes[0] as f64, sizes[7] as f64);
    assert!(last <= first * 2.0, "{sizes:?}");
}

#[test]
fn the_sweeper_of_a_durable_cache_waits_for_no_disk() {
    let (_server, mut s) = server("flushes", &["fsync = on", "autovacuum = off", "pg_stash.sweep_max_stale = '1s'"]);
    s.run("SELECT cache.create_cache('kept', durable => true)");
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 200)), ttl => '300 ms', cache => 'kept') FROM generate_series(1, 20000) AS i");
    // Every commit that waits for the disk has its WAL flushed. The WAL writer does so a few times a second.
    let flushes = match s.number("SELECT current_setting('server_version_num')") {
        180_000.. => "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'",
        _ => "SELECT wal_sync FROM pg_stat_wal",
    };
    let (flushed, xid) = (s.number(flushes), "SELECT pg_snapshot_xmax(pg_current_snapshot())::text");
    let first = s.number(xid);
    wait_until("all is swept", || s.number("SELECT count(*) FROM cache.entries_kept") == 0);
    let commits = s.number(xid) - first;
    assert!(commits > 100, "{commits}");
    wait_until("the sweeper's part is counted", || s.value("SELECT state FROM cache.sweeper") == "idle");
    let flushed = s.number(flushes) - flushed;
    assert!(flushed < commits / 4, "{flushed} flushes for {commits} commits");
}

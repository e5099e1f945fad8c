//! A cache stays within its budget, and keeps what is used.

use std::thread;

use super::support::{Database, Session, database, wait_until};

/// A database with a cache `small` of so many entries.
fn with_small(max_entries: u32) -> (Database, Session) {
    let db = database();
    let mut s = db.session();
    s.run(&format!("SELECT cache.create_cache('small', max_entries => {max_entries})"));
    (db, s)
}

fn entries(s: &mut Session) -> i64 {
    s.number("SELECT count(*) FROM cache.entries_small")
}

fn stat(s: &mut Session, column: &str) -> i64 {
    s.number(&format!("SELECT {column} FROM cache.stats WHERE cache = 'small'"))
}

#[test]
fn a_full_cache_evicts_one_entry_for_each_new_one() {
    let (_db, mut s) = with_small(100);
    for i in 0..300 {
        s.run(&format!("SELECT cache.set('k{i}', 'x', cache => 'small')"));
        let count = entries(&mut s);
        assert!(count <= 100 && count >= (i + 1).min(90), "{count} entries after {i}");
    }
    assert_eq!(stat(&mut s, "entries"), entries(&mut s));
    assert_eq!(stat(&mut s, "sets"), 300);
    assert_eq!(stat(&mut s, "evicted"), 300 - entries(&mut s));
    // The newest is there.
    assert_eq!(s.value("SELECT cache.get('k299', cache => 'small')"), "x");
}

#[test]
fn what_is_used_stays() {
    let (_db, mut s) = with_small(1000);
    s.run("SELECT cache.set('hot' || i, 'x', cache => 'small') FROM generate_series(1, 200) AS i");
    for round in 0..100 {
        s.run("SELECT cache.get('hot' || i, cache => 'small') FROM generate_series(1, 200) AS i");
        s.run(&format!(
            "SELECT cache.set('cold{round}-' || i, 'x', cache => 'small') FROM generate_series(1, 100) AS i"
        ));
    }
    assert!(entries(&mut s) <= 1000);
    let hot = s.number("SELECT count(*) FROM cache.keys('hot', cache => 'small')");
    assert!(hot >= 198, "{hot} of 200 entries that are used all the time are left");
}

#[test]
fn a_budget_of_one_entry_keeps_the_newest() {
    let (_db, mut s) = with_small(1);
    for i in 0..20 {
        s.run(&format!("SELECT cache.set('k{i}', 'x', cache => 'small')"));
        assert_eq!(s.column("SELECT cache.keys(cache => 'small')"), [format!("k{i}")]);
    }
}

#[test]
fn a_cache_of_one_byte_takes_nothing_in() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('small', max_size => '1')");
    s.fails("SELECT cache.set('k', 'x', cache => 'small')", "54000");
    s.fails("SELECT cache.set('k', 1::bigint, cache => 'small')", "54000");
    s.run("SELECT cache.set('k', '', cache => 'small')");
    wait_until("what is larger than the budget is gone", || entries(&mut s) == 0);
    s.run("SELECT cache.set('k', 'x')");
}

#[test]
fn a_transaction_that_writes_more_than_the_budget_ends_within_it() {
    let (_db, mut s) = with_small(1000);
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), cache => 'small') FROM generate_series(1, 20000) AS i");
    let count = entries(&mut s);
    assert!((800..=1000).contains(&count), "{count}");
    s.run("BEGIN; SELECT cache.set('more' || i, 'x', cache => 'small') FROM generate_series(1, 3000) AS i");
    assert!(entries(&mut s) >= 3000, "nothing is evicted before the commit");
    s.run("ROLLBACK");
    assert_eq!(entries(&mut s), count);
    assert_eq!(stat(&mut s, "entries"), count);
}

#[test]
fn eight_writers_at_full_speed_stay_within_a_quarter_over_the_budget() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('small', max_size => '1 MB')");
    let measure = "SELECT coalesce(sum(pg_column_size(e.*)), 0) FROM cache.entries_small AS e";
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let mut s = db.session();
                scope.spawn(move || {
                    for i in 0..100 {
                        s.run(&format!("SELECT cache.set_many(array_agg('{writer}-{i}-' || n), array_agg(repeat('x', 200)), cache => 'small') FROM generate_series(1, 50) AS n"));
                    }
                })
            })
            .collect();
        let mut largest = 0;
        while !writers.iter().all(|writer| writer.is_finished()) {
            largest = largest.max(s.number(measure));
        }
        assert!(largest <= (1 << 20) * 5 / 4, "{largest} bytes");
        assert!(largest >= (1 << 20) * 3 / 4, "{largest} bytes: the budget is not used");
    });
}

#[test]
fn the_file_of_a_full_cache_stops_growing() {
    let (_db, mut s) = with_small(2000);
    let mut sizes = Vec::new();
    for round in 0..12 {
        for batch in 0..20 {
            s.run(&format!("SELECT cache.set_many(array_agg('{round}-{batch}-' || n), array_agg(repeat('x', 200)), cache => 'small') FROM generate_series(1, 200) AS n"));
        }
        // What autovacuum does, at a time that does not depend on the machine.
        s.run("VACUUM cache.entries_small");
        sizes.push(
            s.number("SELECT pg_relation_size('cache.entries_small') + pg_relation_size('cache.entries_small_pkey')"),
        );
    }
    // 2,000 entries of 260 bytes and the index on them are two thirds of a megabyte; each round brings another megabyte.
    assert!(sizes[11] < 2 << 20, "{sizes:?}");
    assert!(sizes[11] < sizes[3] * 4 / 3, "{sizes:?}");
}

#[test]
fn a_smaller_budget_is_enforced_without_anybody_writing() {
    let (_db, mut s) = with_small(50_000);
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), cache => 'small') FROM generate_series(1, 20000) AS i");
    s.run("SELECT cache.get('k' || i, cache => 'small') FROM generate_series(1, 20000) AS i, generate_series(1, 3)");
    assert_eq!(entries(&mut s), 20_000);
    s.run("SELECT cache.alter_cache('small', max_entries => 2000)");
    wait_until("the sweeper has evicted", || entries(&mut s) <= 2000);
    assert!(entries(&mut s) > 1500);
    assert!(stat(&mut s, "evicted") >= 18_000);
    assert_eq!(stat(&mut s, "entries"), entries(&mut s));
}

#[test]
fn sweep_in_the_foreground_evicts_too() {
    let (_db, mut s) = with_small(10_000);
    s.run("SET pg_stash.autostart = off");
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), cache => 'small') FROM generate_series(1, 5000) AS i");
    s.run("SELECT cache.alter_cache('small', max_entries => 100)");
    let swept = s.rows("SELECT evicted FROM cache.sweep('small')");
    let evicted: i64 = swept[0][0].as_ref().unwrap().parse().unwrap();
    assert_eq!(entries(&mut s), 5000 - evicted);
    assert!(entries(&mut s) <= 100);
}

#[test]
fn a_durable_cache_is_counted_after_a_crash_and_kept_within_its_budget() {
    let server = super::support::Server::start("counted", &["pg_stash.sweep_max_stale = '1s'"]);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash; SELECT cache.create_cache('small', max_entries => 1000, durable => true)");
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), cache => 'small') FROM generate_series(1, 1000) AS i");
    drop(s);
    server.stop("immediate");
    server.resume();
    let mut s = server.session("postgres");
    // The first write has a sweeper count what is there; nothing waits for that.
    for i in 0..40 {
        s.run(&format!("SELECT cache.set('{i}-' || n, 'x', cache => 'small') FROM generate_series(1, 100) AS n"));
        let entries = entries(&mut s);
        assert!(entries <= 1250, "{entries} entries after {} more writes", 100 * (i + 1));
    }
    wait_until("the cache has been counted, and is within its budget", || {
        s.run("SELECT cache.set('new', 'x', cache => 'small')");
        let (counted, there) = (stat(&mut s, "entries"), entries(&mut s));
        // A count may be off by one in fifty.
        there <= 1020 && stat(&mut s, "evicted") > 0 && (counted - there).abs() <= 20
    });
}

/// A server whose sweeper is slow: a pass over so many entries takes it seconds.
const SLOW: [&str; 3] = ["pg_stash.sweep_max_stale = '1s'", "pg_stash.sweep_max_duty = 3", "autovacuum = off"];
const MANY: i64 = 50_000;

/// Asked of PostgreSQL: a session that looks at the caches tells their slots which files the tables have.
fn is_sweeping(s: &mut Session) -> bool {
    s.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_stash sweeper' AND state = 'active'") > 0
}

#[test]
fn a_sweep_in_the_foreground_does_not_disturb_the_sweepers_count() {
    let server = super::support::Server::start("overlapping", &SLOW);
    let mut s = server.session("postgres");
    s.run(&format!("CREATE EXTENSION pg_stash; SELECT cache.create_cache('small', max_entries => {MANY})"));
    s.run(&format!("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), cache => 'small') FROM generate_series(1, {MANY}) AS i"));
    drop(s);
    server.stop("fast");
    server.resume();
    let mut s = server.session("postgres");
    s.run("SELECT cache.set('k1', 'y', cache => 'small')");
    wait_until("the sweeper counts", || is_sweeping(&mut s));
    s.run("SELECT cache.sweep('small')");
    assert!(is_sweeping(&mut s), "the sweeper was faster: this shows nothing");
    wait_until("the sweeper has counted", || !is_sweeping(&mut s));
    assert_eq!((stat(&mut s, "entries"), entries(&mut s)), (MANY, MANY));
}

#[test]
fn a_cache_without_a_budget_is_counted_again_where_writers_have_disturbed_the_count() {
    let server = super::support::Server::start("disturbed", &SLOW);
    let mut s = server.session("postgres");
    let fill = |s: &mut Session, prefix: &str, count: i64| {
        s.run(&format!("SELECT cache.set_many(array_agg('{prefix}' || i), array_agg('x'::text), ttl => '1 hour', cache => 'small') FROM generate_series(1, {count}) AS i"));
    };
    s.run("CREATE EXTENSION pg_stash; SELECT cache.create_cache('small')");
    fill(&mut s, "k", MANY);
    drop(s);
    server.stop("fast");
    server.resume();
    let mut s = server.session("postgres");
    fill(&mut s, "first", 1);
    wait_until("the sweeper makes its first pass", || is_sweeping(&mut s));
    fill(&mut s, "new", MANY / 5);
    assert!(is_sweeping(&mut s), "the sweeper was faster: this shows nothing");
    // Until then the view counts for itself.
    wait_until("the first pass is over", || !is_sweeping(&mut s));
    wait_until("all are counted", || stat(&mut s, "entries") == MANY + MANY / 5 + 1);
}

#[test]
fn a_cache_that_is_emptied_when_it_was_to_be_shrunk_does_not_hold_the_sweeper_up() {
    let server = super::support::Server::start("emptied", &SLOW);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash; SELECT cache.create_cache('small')");
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), ttl => '1 hour', cache => 'small') FROM generate_series(1, 1000) AS i");
    wait_until("the sweeper has made a pass", || s.number("SELECT count(last_pass) FROM cache.sweeper") == 1);
    wait_until("the sweeper rests", || !is_sweeping(&mut s));
    // The next one sees when it begins that the one cache is over its budget, and is busy with the other first.
    s.run("SET pg_stash.autostart = off; SELECT pg_terminate_backend(pid, 5000) FROM cache.sweeper");
    s.run(&format!("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), ttl => '1 ms') FROM generate_series(1, {MANY}) AS i"));
    s.run("SELECT cache.alter_cache('small', max_entries => 10)");
    s.run("SET pg_stash.autostart = on; SELECT cache.set('k', 'x', ttl => '1 ms')");
    wait_until("the sweeper is busy", || is_sweeping(&mut s));
    s.run("TRUNCATE cache.entries_small");
    assert!(is_sweeping(&mut s), "the sweeper was faster: this shows nothing");
    wait_until("the sweeper rests", || !is_sweeping(&mut s));
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 0);
}

#[test]
fn a_cache_that_is_far_from_full_keeps_its_entries_over_a_restart_also_of_the_first_writers() {
    let server = super::support::Server::start("kept", &["pg_stash.sweep_max_stale = '1s'"]);
    server.session("postgres").run(
        "CREATE EXTENSION pg_stash;
         SELECT cache.create_cache('small', max_entries => 1000, max_size => '1 MB');
         SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), cache => 'small') FROM generate_series(1, 200) AS i",
    );
    server.stop("fast");
    server.resume();
    let mut s = server.session("postgres");
    s.run("SELECT cache.set('new' || i, 'x', cache => 'small') FROM generate_series(1, 100) AS i");
    assert_eq!(entries(&mut s), 300);
    assert_eq!(stat(&mut s, "evicted"), 0);
}

#[test]
fn entries_of_a_busy_transaction_are_not_waited_for() {
    let (db, mut s) = with_small(100);
    s.run("SELECT cache.set('k' || i, 'x', cache => 'small') FROM generate_series(1, 100) AS i");
    let mut other = db.session();
    other.run("BEGIN; SELECT cache.set('k' || i, 'y', cache => 'small') FROM generate_series(1, 100) AS i");
    s.run("SET statement_timeout = '5s'");
    s.run("SELECT cache.set('new' || i, 'x', cache => 'small') FROM generate_series(1, 50) AS i");
    other.run("COMMIT");
    s.run("SELECT cache.set('last', 'x', cache => 'small')");
    let count = entries(&mut s);
    assert!(count <= 100, "{count}");
}

#[test]
fn out_of_line_values_are_counted_with_their_stored_size() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('small', max_size => '10 MB')");
    // Random bytes do not compress.
    let bytes = "(SELECT decode(string_agg(md5(random()::text), ''), 'hex') FROM generate_series(1, 6250))";
    s.run(&format!(
        "SELECT cache.set('k' || i, {bytes} || i::text::bytea, cache => 'small') FROM generate_series(1, 30) AS i"
    ));
    let live = stat(&mut s, "live_bytes");
    assert!((30 * 100_000..31 * 100_000).contains(&live), "{live}");
    assert_eq!(s.value("SELECT key FROM cache.top(1, cache => 'small') WHERE bytes > 100000").len(), 3);
    s.run(&format!(
        "SELECT cache.set('big' || i, {bytes} || i::text::bytea, cache => 'small') FROM generate_series(1, 150) AS i"
    ));
    assert!(stat(&mut s, "live_bytes") <= 10 << 20);
    assert!((95..=104).contains(&entries(&mut s)));
    s.run("SELECT cache.clear('small')");
    assert_eq!(stat(&mut s, "live_bytes"), 0);
}

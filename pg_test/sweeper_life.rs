//! The sweeper's process comes when it is needed and is in nobody's way.

use std::thread;
use std::time::{Duration, Instant};

use super::support::{Server, Session, database, wait_until};

const PID: &str = "SELECT coalesce((SELECT pid FROM cache.sweeper WHERE database = current_database() AND state IN ('idle', 'sweeping')), 0)";

fn wait_for_sweeper(s: &mut Session) -> i64 {
    let mut pid = 0;
    wait_until("the sweeper runs", || {
        pid = s.number(PID);
        pid != 0
    });
    pid
}

fn sweepers(s: &mut Session) -> i64 {
    s.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'pg_stash sweeper'")
}

#[test]
fn the_first_write_that_needs_one_starts_it() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'x'), cache.get('k')");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(sweepers(&mut s), 0);
    let started: Vec<_> = (0..8).map(|_| db.session()).collect();
    thread::scope(|scope| {
        for (number, mut s) in started.into_iter().enumerate() {
            scope.spawn(move || s.run(&format!("SELECT cache.set('k{number}', 'x', ttl => '1 hour')")));
        }
    });
    wait_for_sweeper(&mut s);
    assert_eq!(sweepers(&mut s), 1);
    assert_eq!(s.value("SHOW shared_preload_libraries"), "");
}

#[test]
fn a_terminated_one_is_replaced_at_the_next_write() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'x', ttl => '1 hour')");
    let first = wait_for_sweeper(&mut s);
    let asked = Instant::now();
    assert_eq!(s.value(&format!("SELECT pg_terminate_backend({first})")), "t");
    wait_until("it is gone", || sweepers(&mut s) == 0);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    s.run("SELECT cache.set('k', 'x', ttl => '1 hour')");
    assert_ne!(wait_for_sweeper(&mut s), first);
}

#[test]
fn it_survives_an_error_of_its_own() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('other'), cache.set('k', 'x', ttl => '1 hour')");
    let pid = wait_for_sweeper(&mut s);
    // A page that cannot be read: the sweeper runs into it at the end of each pass over this cache.
    let file = s.value("SELECT pg_relation_filepath('cache.entries')");
    s.run("SELECT cache.set('k', 'x', ttl => '1 s')");
    db.server().damage(&file);
    s.run("SELECT cache.set('k', 'x', ttl => '100 ms', cache => 'other')");
    wait_until("the error is in the log", || db.server().log().contains("WARNING:  pg_stash sweeper: "));
    wait_until("the other cache is swept", || s.number("SELECT count(*) FROM cache.entries_other") == 0);
    assert_eq!(wait_for_sweeper(&mut s), pid);
    s.run("SELECT cache.drop_cache('default'), cache.create_cache('default'); SELECT cache.set('k', 'x', ttl => '100 ms')");
    wait_until("the cache made anew is swept", || s.number("SELECT count(*) FROM cache.entries") == 0);
    assert_eq!(wait_for_sweeper(&mut s), pid);
}

#[test]
fn a_dropped_cache_or_extension_does_not_disturb_it() {
    let db = database();
    let mut s = db.session();
    s.run("SET lock_timeout = '3s'");
    for _ in 0..5 {
        s.run("SELECT cache.create_cache('pages')");
        s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), ttl => '1 ms', cache => 'pages') FROM generate_series(1, 20000) AS i");
        s.run("SELECT cache.drop_cache('pages')");
    }
    let pid = wait_for_sweeper(&mut s);
    s.run("ALTER EXTENSION pg_stash DROP TABLE cache.entries; DROP TABLE cache.entries");
    s.fails("SELECT cache.get('k')", "55000");
    s.run("SELECT cache.drop_cache('default'); SELECT cache.create_cache('default'); SELECT cache.set('k', 'x', ttl => '100 ms')");
    wait_until("the new table is swept", || s.number("SELECT count(*) FROM cache.entries") == 0);
    assert_eq!(wait_for_sweeper(&mut s), pid);
    s.run("DROP EXTENSION pg_stash");
    wait_until("it has left", || sweepers(&mut s) == 0);
    s.run("CREATE EXTENSION pg_stash; SELECT cache.set('k', 'x', ttl => '100 ms')");
    wait_until("a new one sweeps", || s.number("SELECT count(*) FROM cache.entries") == 0);
}

#[test]
fn one_that_a_creating_transaction_asks_for_waits_for_its_commit() {
    let db = database();
    let mut s = db.session();
    s.run("DROP EXTENSION pg_stash");
    s.run("BEGIN; CREATE EXTENSION pg_stash; SELECT cache.set('k', 'x', ttl => '100 ms')");
    let pid = wait_for_sweeper(&mut s);
    thread::sleep(Duration::from_secs(2));
    s.run("COMMIT");
    wait_until("it sweeps", || s.number("SELECT count(*) FROM cache.entries") == 0);
    assert_eq!(wait_for_sweeper(&mut s), pid);
}

#[test]
fn its_database_can_be_dropped_renamed_and_copied() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'x', ttl => '1 hour')");
    wait_for_sweeper(&mut s);
    drop(s);
    let mut admin = db.server().session("postgres");
    admin.run(&format!("CREATE DATABASE {0}_copy TEMPLATE {0}", db.name));
    db.session().run("SELECT cache.set('k', 'x', ttl => '1 hour')");
    wait_for_sweeper(&mut db.session());
    admin.run(&format!("DROP DATABASE {0}", db.name));
    admin.run(&format!("DROP DATABASE {0}_copy", db.name));
}

#[test]
fn a_fast_shutdown_at_any_moment_takes_no_more_than_two_seconds() {
    let server = Server::start("shutdown", &["pg_stash.sweep_max_stale = '100ms'"]);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash");
    for round in 0..6 {
        s.run("SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 100)), ttl => '50 ms') FROM generate_series(1, 30000) AS i");
        wait_for_sweeper(&mut s);
        thread::sleep(Duration::from_millis(37 * round));
        drop(s);
        let asked = Instant::now();
        server.stop("fast");
        assert!(asked.elapsed() < Duration::from_secs(2), "round {round}: {:?}", asked.elapsed());
        server.resume();
        s = server.session("postgres");
        // After the restart there is no sweeper until something is written.
        assert_eq!(sweepers(&mut s), 0);
    }
    s.run("SELECT cache.set('k', 'x', ttl => '50 ms')");
    wait_until("all is swept", || s.number("SELECT count(*) FROM cache.entries") == 0);
}

#[test]
fn where_there_is_no_room_for_it_writers_sweep() {
    let server = Server::start("no-workers", &["max_worker_processes = 0"]);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash");
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 100)), ttl => '50 ms') FROM generate_series(1, 2000) AS i");
    s.run("SELECT pg_sleep(0.1)");
    let mut writes = 0;
    wait_until("the writers have swept", || {
        writes += 1;
        s.run(&format!("SELECT cache.set('w{}', 'x', ttl => '1 hour')", writes % 10));
        s.number("SELECT count(*) FROM cache.entries WHERE key LIKE 'k%'") == 0
    });
    assert!(writes > 1 && writes < 500, "{writes}");
    s.run("SELECT cache.set('w', 'x', ttl => '1 hour')");
    let warning = "no background worker is free for the pg_stash sweeper";
    assert_eq!(server.log().matches(warning).count(), 1);
    assert_eq!(s.value("SELECT state FROM cache.sweeper"), "unavailable");
}

#[test]
fn autostart_off_means_none() {
    let db = database();
    let mut s = db.session();
    s.run("SET pg_stash.autostart = off; SELECT cache.set('k', 'x', ttl => '1 ms')");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(sweepers(&mut s), 0);
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
}

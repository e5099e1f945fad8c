//! Shared memory: made at first use, or reserved by a preload, or not to be had; gone after a crash.

use std::thread;

use super::support::{Server, Session, database, wait_until};

fn server_with_extension(name: &str, settings: &[&str]) -> (Server, Session) {
    let server = Server::start(name, settings);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash");
    (server, s)
}

#[test]
fn many_sessions_that_come_first_share_one() {
    let (server, s) = server_with_extension("first", &[]);
    drop(s);
    server.stop("fast");
    server.resume();
    thread::scope(|scope| {
        for client in 0..50 {
            let server = &server;
            scope.spawn(move || {
                let mut s = server.session("postgres");
                s.run(&format!("SELECT cache.set('k{client}', 'x'), cache.get('k{client}'), cache.get('nothing')"));
            });
        }
    });
    let counted = "SELECT concat_ws(' ', entries, hits, misses, sets) FROM cache.stats";
    assert_eq!(server.session("postgres").value(counted), "50 50 50 50");
    assert!(!server.log().contains("WARNING"), "{}", server.log());
}

#[test]
fn without_it_caches_work_and_stay_within_their_budgets() {
    let settings = ["dynamic_shared_memory_type = mmap", "pg_stash.sweep_max_stale = '400ms'"];
    let (server, mut s) = server_with_extension("no-memory", &settings);
    drop(s);
    server.stop("fast");
    server.resume();
    // From here on no dynamic shared memory can be made.
    server.forbid_writing("pg_dynshmem");
    s = server.session("postgres");
    s.run("SET max_parallel_workers_per_gather = 0; SELECT cache.create_cache('small', max_entries => 100)");
    s.run("SELECT cache.set('k' || i, 'x', cache => 'small', ttl => '1 hour') FROM generate_series(1, 1000) AS i");
    assert!(server.log().contains("WARNING:  pg_stash has no shared memory for statistics and use marks"));
    assert_eq!(s.value("SELECT cache.get('k1000', cache => 'small')"), "x");
    s.run("SELECT cache.set('short', 'x', ttl => '10 ms')");
    wait_until("the sweeper has evicted", || s.number("SELECT count(*) FROM cache.entries_small") <= 100);
    wait_until("the sweeper has removed what expired", || s.number("SELECT count(*) FROM cache.entries") == 0);
    assert_eq!(
        s.number("SELECT entries FROM cache.stats WHERE cache = 'small'"),
        s.number("SELECT count(*) FROM cache.entries_small")
    );
    assert_eq!(s.ask("SELECT stats_reset FROM cache.stats WHERE cache = 'small'"), None);
    // One warning, not one for each session.
    (0..5).for_each(|_| server.session("postgres").run("SELECT cache.get('k')"));
    assert_eq!(server.log().matches("no shared memory for statistics").count(), 1);
    server.allow_writing("pg_dynshmem");
}

#[test]
fn with_a_preload_it_works_the_same_and_sweepers_start_with_the_server() {
    let settings = ["shared_preload_libraries = 'pg_stash'", "pg_stash.sweep_max_stale = '1s'"];
    let (server, mut s) = server_with_extension("preloaded", &settings);
    s.run("CREATE DATABASE other");
    server.session("other").run("CREATE EXTENSION pg_stash; SELECT cache.set('k', 'x', ttl => '2 s')");
    s.run("SELECT cache.set('k', 'x', ttl => '2 s'), cache.get('k')");
    assert_eq!(s.number("SELECT hits FROM cache.stats"), 1);
    drop(s);
    server.stop("fast");
    server.resume();
    // Nobody calls a function of the extension.
    for database in ["postgres", "other"] {
        let mut s = server.session(database);
        wait_until("what expired is removed", || s.number("SELECT count(*) FROM cache.entries") == 0);
    }
    let mut s = server.session("postgres");
    assert_eq!(
        s.number(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_stash sweeper' AND datname = 'template1'"
        ),
        0
    );
}

#[test]
fn nothing_of_it_is_left_or_needed_after_a_crash() {
    let (server, mut s) = server_with_extension("crashed", &[]);
    s.run("SELECT cache.create_cache('kept', durable => true, max_entries => 50)");
    s.run("SELECT cache.set('k' || i, 'x', cache => 'kept') FROM generate_series(1, 40) AS i; SELECT cache.set('k', 'x'), cache.get('k')");
    let mut victim = server.session("postgres");
    let pid = victim.number("SELECT pg_backend_pid()");
    victim.run("BEGIN; SELECT cache.set('v' || i, 'x', cache => 'kept') FROM generate_series(1, 500) AS i");
    server.kill(pid);
    let mut s = server.session_after_crash();
    assert_eq!(s.rows("SELECT cache, entries, hits, sets FROM cache.stats ORDER BY cache").len(), 2);
    assert_eq!(s.value("SELECT concat_ws(' ', entries, hits, sets) FROM cache.stats WHERE cache = 'default'"), "0 0 0");
    assert_eq!(s.number("SELECT entries FROM cache.stats WHERE cache = 'kept'"), 40);
    s.run("SELECT cache.set('n' || i, 'x', cache => 'kept') FROM generate_series(1, 100) AS i");
    wait_until("the budget holds", || {
        s.run("SELECT cache.set('last', 'x', cache => 'kept')");
        s.number("SELECT count(*) FROM cache.entries_kept") <= 50
    });
}

#[test]
fn the_extension_can_be_dropped_and_made_again_under_load() {
    let db = database();
    let mut s = db.session();
    let stop = &std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let mut s = db.session();
                scope.spawn(move || {
                    let mut served = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        match s.attempt(&format!(
                            "SELECT cache.set('k{client}', 'x', ttl => '1 s'), cache.get('k{client}')"
                        )) {
                            Ok(()) => served += 1,
                            // No schema, function, type or table: it is being dropped. 40P01: DROP EXTENSION locks in an order of its own.
                            Err(error) => assert!(
                                ["3F000", "42883", "42P01", "42704", "55000", "40P01", "XX000"]
                                    .contains(&error.code().code()),
                                "{error}"
                            ),
                        }
                    }
                    served
                })
            })
            .collect();
        for _ in 0..20 {
            s.attempt("DROP EXTENSION pg_stash").ok();
            s.attempt("CREATE EXTENSION pg_stash").ok();
            thread::sleep(std::time::Duration::from_millis(20));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let served: Vec<u32> = clients.into_iter().map(|client| client.join().expect("no client panics")).collect();
        assert!(served.iter().all(|served| *served > 0), "{served:?}");
    });
    s.attempt("CREATE EXTENSION pg_stash").ok();
    s.run("SELECT cache.set('after', 'x')");
    assert_eq!(s.number("SELECT entries FROM cache.stats"), s.number("SELECT count(*) FROM cache.entries"));
}

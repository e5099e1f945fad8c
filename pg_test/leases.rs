//! One caller computes what is missing or stale; the others wait for it, or take what there is.

use std::thread;
use std::time::{Duration, Instant};

use super::support::{Database, Session, database, edition, wait_until};

/// State, value, and lease in hexadecimal.
fn claim(s: &mut Session, arguments: &str) -> (String, Option<String>, Option<String>) {
    let rows = s.rows(&format!("SELECT * FROM cache.claim({arguments})"));
    let [state, value, lease] = &rows[0][..] else { panic!("three columns") };
    (state.clone().expect("a state"), value.clone(), lease.clone())
}

fn lease_of(s: &mut Session, arguments: &str) -> String {
    claim(s, arguments).2.expect("a lease")
}

fn fill(s: &mut Session, lease: &str, rest: &str) -> bool {
    s.value(&format!("SELECT cache.fill('{lease}'::bytea, {rest})")) == "t"
}

fn waiters(db: &Database, s: &mut Session) -> i64 {
    s.number(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event IN ('Extension', 'PgSleep') AND query LIKE '%cache.%'
         AND backend_type = 'client backend'",
        db.name
    ))
}

#[test]
fn a_claim_tells_hit_stale_and_miss_and_gives_one_lease() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    let (state, value, lease) = claim(&mut s, "'k'");
    assert_eq!((state.as_str(), value), ("miss", None));
    assert_eq!(claim(&mut other, "'k'"), ("miss".into(), None, None));
    assert!(fill(&mut s, &lease.expect("the first gets it"), "'one'::text, fresh => '50 ms', ttl => '1 hour'"));
    assert_eq!(claim(&mut other, "'k'"), ("hit".into(), Some("one".into()), None));
    thread::sleep(Duration::from_millis(60));
    assert_eq!(s.value("SELECT cache.get('k')"), "one", "a get does not ask for freshness");
    let (state, value, lease) = claim(&mut s, "'k'");
    assert_eq!((state.as_str(), value.as_deref()), ("stale", Some("one")));
    assert_eq!(claim(&mut other, "'k', wait => '1 min'"), ("stale".into(), Some("one".into()), None));
    assert!(fill(&mut s, &lease.expect("one"), "'two'::text"));
    assert_eq!(claim(&mut other, "'k'"), ("hit".into(), Some("two".into()), None));
    if !edition().is_portable() {
        assert_eq!(s.value("SELECT concat_ws(' ', stale_served, recomputes_saved) FROM cache.stats"), "1 0");
    }
    // Every type, each by its function.
    for (value, function, shown) in [
        ("'{\"a\": 1}'::jsonb", "claim_json", "{\"a\": 1}"),
        ("'\\x00ff'::bytea", "claim_bytes", "\\x00ff"),
        ("7::bigint", "claim", "7"),
    ] {
        let lease = s.value("SELECT lease FROM cache.claim('typed')");
        assert!(fill(&mut s, &lease, value));
        assert_eq!(s.value(&format!("SELECT value FROM cache.{function}('typed')")), shown);
        s.run("SELECT cache.delete('typed')");
    }
    s.run("SELECT cache.set('json', '1'::jsonb)");
    s.fails("SELECT * FROM cache.claim_bytes('json')", "42804");
    assert_eq!(
        s.rows("SELECT state, value_text, value_json, value_int, lease FROM cache.claim_any('json')"),
        [vec![Some("hit".to_owned()), None, Some("1".to_owned()), None, None]]
    );
    assert_eq!(s.rows("SELECT value_json, value_text FROM cache.get_any('json')"), [vec![Some("1".to_owned()), None]]);
    assert_eq!(s.rows("SELECT * FROM cache.take_any('json')").len(), 1);
    assert_eq!(s.rows("SELECT * FROM cache.get_any('json')").len(), 0);
}

#[test]
fn of_a_hundred_that_claim_at_once_one_computes_and_all_get_its_value() {
    let db = database();
    let begun = Instant::now();
    let barrier = std::sync::Barrier::new(100);
    let outcomes: Vec<(bool, String)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    let mut s = db.session();
                    barrier.wait();
                    match claim(&mut s, "'k', wait => '1 min'") {
                        (_, _, Some(lease)) => {
                            thread::sleep(Duration::from_millis(500));
                            assert!(fill(&mut s, &lease, "'made'::text"));
                            (true, "made".to_owned())
                        }
                        (state, value, None) => {
                            assert_eq!(state, "hit");
                            (false, value.expect("a value"))
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    assert_eq!(outcomes.iter().filter(|(has_computed, _)| *has_computed).count(), 1);
    assert!(outcomes.iter().all(|(_, value)| value == "made"));
    assert!(begun.elapsed() < Duration::from_secs(30));
    if edition().is_portable() {
        return;
    }
    let saved = db.session().number("SELECT recomputes_saved FROM cache.stats");
    assert!((1..=99).contains(&saved), "those who came before the fill: {saved}");
}

#[test]
fn a_lease_ends_with_its_session_and_at_its_deadline() {
    let db = database();
    let (mut s, mut holder) = (db.session(), db.session());
    lease_of(&mut holder, "'k', lease => '1 hour'");
    assert_eq!(claim(&mut s, "'k'").2, None);
    drop(holder);
    lease_of(&mut s, "'k', lease => '1 hour', wait => '20 s'");
    let mut holder = db.session();
    lease_of(&mut holder, "'killed', lease => '1 hour'");
    let pid = holder.value("SELECT pg_backend_pid()");
    let waiter = thread::scope(|scope| {
        let waiter = scope.spawn(|| claim(&mut db.session(), "'killed', lease => '1 hour', wait => '1 min'"));
        wait_until("somebody waits", || waiters(&db, &mut s) == 1);
        s.run(&format!("SELECT pg_terminate_backend({pid})"));
        waiter.join().expect("it returns")
    });
    assert!(waiter.2.is_some(), "{waiter:?}");
    // At the deadline, though nobody gives it up.
    let mut holder = db.session();
    let late = lease_of(&mut holder, "'slow', lease => '300 ms'");
    let begun = Instant::now();
    let lease = lease_of(&mut s, "'slow', lease => '1 hour', wait => '1 min'");
    assert!(begun.elapsed() > Duration::from_millis(100) && begun.elapsed() < Duration::from_secs(10));
    assert!(!fill(&mut holder, &late, "'late'::text"));
    assert!(fill(&mut s, &lease, "'in time'::text"));
    assert_eq!(s.value("SELECT cache.get('slow')"), "in time");
}

#[test]
fn a_release_and_a_rollback_let_the_next_one_try() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    let lease = lease_of(&mut s, "'k'");
    s.run(&format!("BEGIN; SELECT cache.release('{lease}'); ROLLBACK"));
    if edition().is_portable() {
        // There a rollback undoes the release, and the fill: the lease is held on.
        assert_eq!(claim(&mut other, "'k'").2, None);
        s.run(&format!("BEGIN; SELECT cache.fill('{lease}', 'x'::text); ROLLBACK"));
        assert_eq!(claim(&mut other, "'k'").2, None);
        s.run(&format!("SELECT cache.release('{lease}')"));
        assert!(claim(&mut other, "'k'").2.is_some());
        return;
    }
    let lease = lease_of(&mut other, "'k'");
    // What is filled is seen, and others are woken, at the commit.
    other.run(&format!("BEGIN; SELECT cache.fill('{lease}', 'x'::text)"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| claim(&mut db.session(), "'k', wait => '1 min'"));
        wait_until("somebody waits", || waiters(&db, &mut s) == 1);
        other.run("ROLLBACK");
        assert!(waiter.join().expect("it returns").2.is_some());
    });
    assert!(!fill(&mut other, &lease, "'x'::text"));
    s.run("SELECT cache.clear()");
    let lease = lease_of(&mut s, "'k'");
    s.run(&format!("BEGIN; SAVEPOINT a; SELECT cache.fill('{lease}', 'x'::text); ROLLBACK TO a"));
    s.run(&format!("SELECT cache.fill('{lease}', 'y'::text)"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| claim(&mut db.session(), "'k', wait => '1 min'"));
        wait_until("somebody waits", || waiters(&db, &mut other) == 1);
        s.run("COMMIT");
        assert_eq!(waiter.join().expect("it returns").1.as_deref(), Some("y"));
    });
}

#[test]
fn what_has_changed_since_the_claim_is_not_filled_over() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    for (change, left) in [
        ("SELECT cache.invalidate('a')", None),
        ("SELECT cache.set('k', 'newer')", Some("newer")),
        ("SELECT cache.delete('k')", None),
        ("SELECT cache.delete_many(ARRAY['k'])", None),
        ("SELECT cache.delete_prefix('k')", None),
        ("SELECT cache.clear()", None),
        ("BEGIN; SELECT cache.delete('k'); COMMIT", None),
    ] {
        s.run("SELECT cache.delete('k')");
        let lease = lease_of(&mut s, "'k'");
        other.run(change);
        assert!(!fill(&mut s, &lease, "'old'::text, tags => ARRAY['a', 'b']"), "{change}");
        assert_eq!(s.ask("SELECT cache.get('k')").as_deref(), left, "{change}");
        assert!(claim(&mut other, "'k'").2.is_some() || left.is_some(), "the next one may try: {change}");
        s.run("SELECT cache.clear()");
    }
    // The same over a stale value that is there.
    let stale = "SELECT cache.set('k', 'stale', fresh => '1 ms'), pg_sleep(0.01)";
    for (change, is_filled) in [
        ("SELECT cache.get('k')", true),
        ("SELECT cache.set('k', 'newer')", false),
        ("SELECT cache.delete('k')", false),
        ("SELECT cache.sweep()", true),
        // The portable edition tells versions by their transactions, which a rewrite keeps.
        ("VACUUM FULL cache.entries", edition().is_portable()),
    ] {
        s.run(stale);
        let lease = lease_of(&mut s, "'k'");
        other.run(change);
        assert_eq!(fill(&mut s, &lease, "'filled'::text"), is_filled, "{change}");
    }
    // A delete that had not committed when the lease was granted.
    s.run(stale);
    other.run("BEGIN; SELECT cache.delete('k')");
    let lease = lease_of(&mut s, "'k'");
    other.run("COMMIT");
    assert!(!fill(&mut s, &lease, "'old'::text"));
    // A delete that waits for another writer, as the fill does, whichever comes first.
    for round in 0..10 {
        s.run("SELECT cache.delete('k')");
        let lease = lease_of(&mut s, "'k'");
        other.run("BEGIN; SELECT cache.set('k', 'rolled back')");
        let delete = || db.session().run("SELECT cache.delete('k')");
        let fill_in = || {
            fill(&mut db.session(), &lease, "'old'::text");
        };
        let (first, second): (&(dyn Fn() + Sync), &(dyn Fn() + Sync)) =
            if round % 2 == 0 { (&delete, &fill_in) } else { (&fill_in, &delete) };
        thread::scope(|scope| {
            scope.spawn(first);
            thread::sleep(Duration::from_millis(50));
            scope.spawn(second);
            thread::sleep(Duration::from_millis(50));
            other.run("ROLLBACK");
        });
        assert_eq!(s.ask("SELECT cache.get('k')"), None, "round {round}");
    }
    // A delete that comes when the fill has stored the value, and not committed.
    for delete in ["cache.delete('k')", "cache.delete_many(ARRAY['k'])", "cache.delete_prefix('k')", "cache.clear()"] {
        let lease = lease_of(&mut s, "'k'");
        s.run("BEGIN");
        assert!(fill(&mut s, &lease, "'old'::text"));
        thread::scope(|scope| {
            let deleter = scope.spawn(|| db.session().run(&format!("SELECT {delete}")));
            thread::sleep(Duration::from_millis(50));
            s.run("COMMIT");
            deleter.join().expect("it deletes");
        });
        assert_eq!(s.ask("SELECT cache.get('k')"), None, "{delete}");
    }
    // The same where there was no entry.
    s.run("SELECT cache.clear()");
    other.run("BEGIN; SELECT cache.delete('k')");
    let lease = lease_of(&mut s, "'k'");
    other.run("COMMIT");
    assert_eq!(fill(&mut s, &lease, "'old'::text"), edition().is_portable());
    s.run("SELECT cache.clear()");
    // One's own transaction: what is filled after its delete is wanted.
    s.run("BEGIN; SELECT cache.set('k', 'x'), cache.delete('k')");
    let lease = lease_of(&mut s, "'k'");
    assert!(fill(&mut s, &lease, "'y'::text"));
    s.run("COMMIT");
    assert_eq!(other.value("SELECT cache.get('k')"), "y");
}

#[test]
fn a_lease_that_is_none_is_an_error() {
    let db = database();
    let elsewhere = database();
    let (mut s, mut other) = (db.session(), elsewhere.session());
    let lease = lease_of(&mut s, "'k'");
    let cut = &lease[..lease.len() - 2];
    let forged = format!("{}{}", &lease[..lease.len() - 2], if lease.ends_with("00") { "01" } else { "00" });
    for bad in [cut, &forged, "\\x", "\\x00", &format!("{lease}00")] {
        s.fails(&format!("SELECT cache.fill('{bad}'::bytea, 'x'::text)"), "22023");
        s.fails(&format!("SELECT cache.release('{bad}'::bytea)"), "22023");
    }
    s.fails("SELECT cache.fill(NULL, 'x'::text)", "22004");
    s.fails("SELECT cache.release(NULL)", "22004");
    s.fails(&format!("SELECT cache.fill('{lease}', NULL::text)"), "22004");
    s.fails(&format!("SELECT cache.fill('{lease}', 'x'::text, ttl => '0')"), "22023");
    s.fails(&format!("SELECT cache.fill('{lease}', 'x'::text, ttl => '1 s', fresh => '1 min')"), "22023");
    other.fails(&format!("SELECT cache.fill('{lease}', 'x'::text)"), "22023");
    assert!(fill(&mut s, &lease, "'x'::text"), "what was wrong has not cost the lease");
    let error = s.fails(&format!("SELECT cache.fill('{lease}', 'again'::text)"), "22023");
    assert_eq!(error.message(), "lease has been used");
    s.run(&format!("SELECT cache.release('{lease}')"));
    for (arguments, code) in [
        ("NULL", "22004"),
        ("'k', lease => NULL", "22004"),
        ("'k', lease => '0'", "22023"),
        ("'k', lease => '-1 s'", "22023"),
        ("'k', lease => '61 minutes'", "22023"),
        ("'k', wait => NULL", "22004"),
        ("'k', wait => '-1 s'", "22023"),
        ("'k', cache => 'none'", "42704"),
        ("''", "22023"),
    ] {
        s.fails(&format!("SELECT * FROM cache.claim({arguments})"), code);
    }
    s.run("SELECT cache.create_cache('gone')");
    let lease = lease_of(&mut s, "'k', cache => 'gone'");
    s.run("SELECT cache.drop_cache('gone')");
    assert!(!fill(&mut s, &lease, "'x'::text"));
    s.run(&format!("SELECT cache.release('{lease}')"));
    s.run("SET pg_stash.enabled = off");
    assert_eq!(claim(&mut s, "'k'"), ("miss".into(), None, None));
}

#[test]
fn a_wait_holds_no_snapshot_and_no_lock_and_can_be_ended() {
    let db = database();
    let (mut s, mut holder) = (db.session(), db.session());
    lease_of(&mut holder, "'k', lease => '1 hour'");
    let mut waiter = db.session();
    let pid = waiter.number("SELECT pg_backend_pid()");
    waiter.run("SET statement_timeout = '300 ms'");
    waiter.fails("SELECT * FROM cache.claim('k', wait => '1 hour')", "57014");
    waiter.run("RESET statement_timeout");
    thread::scope(|scope| {
        let wait = scope.spawn(|| waiter.fails("SELECT * FROM cache.claim('k', wait => '1 hour')", "57014"));
        wait_until("it waits", || waiters(&db, &mut s) == 1);
        let held = format!("SELECT concat_ws(' ', backend_xmin, backend_xid) FROM pg_stat_activity WHERE pid = {pid}");
        let held = s.value(&held);
        let locks = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND locktype <> 'virtualxid'");
        let locks = s.number(&locks);
        s.run(&format!("SELECT pg_cancel_backend({pid})"));
        wait.join().expect("it ends");
        // The portable edition polls, with the snapshot of its statement.
        assert!((held.as_str(), locks) == ("", 0) || edition().is_portable(), "{held} {locks}");
    });
    assert_eq!(waiter.value("SELECT state FROM cache.claim('k', wait => '50 ms')"), "miss");
    // In a statement that reads a table the snapshot is kept, and in a function, too.
    waiter.run("CREATE TABLE t AS SELECT 1 AS i");
    assert_eq!(waiter.value("SELECT state FROM t, cache.claim('k', wait => '50 ms')"), "miss");
    waiter.run("DO $$BEGIN PERFORM cache.claim('k', wait => '50 ms'); END$$");
    waiter.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM cache.claim('k', wait => '50 ms'); SELECT * FROM t; COMMIT");
    waiter.run("BEGIN; DECLARE c CURSOR FOR SELECT * FROM cache.claim('k', wait => '50 ms'); FETCH ALL FROM c; COMMIT");
    let mut terminated = db.session();
    let pid = terminated.number("SELECT pg_backend_pid()");
    thread::scope(|scope| {
        let wait = scope.spawn(|| terminated.attempt_anything("SELECT * FROM cache.claim('k', wait => '1 hour')"));
        wait_until("it waits", || waiters(&db, &mut s) == 1);
        s.run(&format!("SELECT pg_terminate_backend({pid})"));
        assert!(wait.join().expect("it ends").is_err());
    });
    assert!(!db.server().log().contains("snapshot reference leak"));
}

#[test]
fn a_claim_needs_the_rights_to_read_and_to_fill() {
    let db = database();
    let mut s = db.session();
    let role = format!("{}_reader", db.name);
    s.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA cache TO {role}; GRANT SELECT ON cache.entries TO {role}"
    ));
    let mut reader = db.session_as(&role);
    reader.fails("SELECT * FROM cache.claim('k')", "42501");
    let lease = lease_of(&mut s, "'k'");
    reader.fails(&format!("SELECT cache.fill('{lease}', 'x'::text)"), "42501");
    s.run(&format!("GRANT INSERT, UPDATE ON cache.entries TO {role}"));
    assert!(fill(&mut reader, &lease, "'x'::text"), "whoever has the token may fill");
    s.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_value_that_was_dear_is_made_anew_before_it_is_stale() {
    let db = database();
    let mut s = db.session();
    let lease = lease_of(&mut s, "'k'");
    thread::sleep(Duration::from_millis(50));
    assert!(fill(&mut s, &lease, "'x'::text, fresh => '1 min'"));
    assert!(s.number("SELECT fill_micros FROM cache.entries") >= 50_000);
    let early = "SELECT count(lease) FROM generate_series(1, 200) AS i, LATERAL (
        SELECT lease, CASE WHEN lease IS NOT NULL THEN cache.release(lease) END FROM cache.claim(left('k' || i, 1))) AS c";
    assert_eq!(s.number(early), 0);
    // The cost times a thousand is most of a minute.
    s.run("SET pg_stash.early_recompute = 1000");
    assert!(s.number(early) > 20);
    assert_eq!(s.value("SELECT state FROM cache.claim('k')"), "hit");
    s.run("SELECT cache.set('set', 'x', fresh => '1 min')");
    assert_eq!(
        s.value("SELECT count(lease) FROM generate_series(1, 50) AS i, cache.claim(left('set' || i, 3))"),
        "0",
        "nobody knows its cost"
    );
}

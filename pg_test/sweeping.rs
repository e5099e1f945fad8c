//! Expired entries go, without anybody asking, and soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{StopOnDrop, database, edition, wait_until};

#[test]
fn expired_entries_are_gone_within_the_time_set() {
    let db = database();
    let mut s = db.session();
    // In the portable edition that is the work of the writers, of whom there is one here.
    let count = if edition().is_portable() { 20_000 } else { 100_000 };
    s.run(&format!("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), ttl => '1 second') FROM generate_series(1, {count}) AS i"));
    s.run("SELECT cache.set_many(array_agg('stays' || i), array_agg('x'::text)) FROM generate_series(1, 1000) AS i");
    let stop = AtomicBool::new(false);
    let late = thread::scope(|scope| {
        scope.spawn(|| {
            let mut s = db.session();
            while !stop.load(Ordering::Relaxed) {
                s.run("SELECT cache.set('busy' || (random() * 100)::int, 'x'), cache.get('stays5'), cache.get('k5')");
            }
        });
        let _stop = StopOnDrop(&stop);
        thread::sleep(Duration::from_secs(1));
        let expired = Instant::now();
        wait_until("the expired entries are gone", || {
            s.number("SELECT count(*) FROM cache.entries WHERE expires_at < now()") == 0
        });
        expired.elapsed()
    });
    // The shared server's sweepers let nothing wait for more than two seconds. The rest is for the pass itself, which
    // works a tenth of the time, on a machine that has other tests to run.
    assert!(late < Duration::from_secs(20), "{late:?}");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries WHERE key LIKE 'stays%'"), 1000);
    if edition().is_portable() {
        return;
    }
    wait_until("all are counted", || s.number("SELECT expired FROM cache.stats") == count);
    let counted = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relid = 'cache.entries'::regclass";
    wait_until("the statistics system has been told of the deletes", || s.number(counted) >= count);
}

#[test]
fn sweep_in_the_foreground_reports_what_it_did() {
    let db = database();
    let mut s = db.session();
    s.run("SET pg_stash.autostart = off; SELECT cache.create_cache('pages')");
    s.run("SELECT cache.set('a', 'x', ttl => '1 ms'), cache.set('b', 'x'), cache.set('c', 'x', ttl => '1 ms', cache => 'pages')");
    s.run("SELECT pg_sleep(0.01)");
    assert_eq!(s.rows("SELECT * FROM cache.sweep()"), [row("default", "2", "1"), row("pages", "1", "1")]);
    assert_eq!(s.rows("SELECT * FROM cache.sweep('pages')"), [row("pages", "0", "0")]);
    assert_eq!(s.column("SELECT key FROM cache.entries"), ["b"]);
    s.fails("SELECT * FROM cache.sweep('none')", "42704");
}

fn row(cache: &str, scanned: &str, expired: &str) -> Vec<Option<String>> {
    [cache, scanned, expired, "0"].map(|column| Some(column.to_owned())).to_vec()
}

#[test]
fn a_sweep_waits_for_nobody() {
    let db = database();
    let mut s = db.session();
    s.run("SET pg_stash.autostart = off");
    s.run("SELECT cache.set('held', 'x', ttl => '1 ms'), cache.set('free', 'x', ttl => '1 ms'), pg_sleep(0.01)");
    let mut writer = db.session();
    writer.run("SET pg_stash.autostart = off; BEGIN; SELECT cache.set('held', 'new')");
    s.run("SET statement_timeout = '5s'");
    // It has looked at the entry that is being overwritten, natively at both versions of it, and has not touched it.
    let scanned = if edition().is_portable() { "2" } else { "3" };
    assert_eq!(s.rows("SELECT * FROM cache.sweep()")[0], row("default", scanned, "1"));
    writer.run("COMMIT");
    assert_eq!(s.value("SELECT cache.get('held')"), "new");
}

#[test]
fn what_is_not_expired_survives_any_number_of_sweeps() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('long', 'x', ttl => '1 hour'), cache.set('never', 'x')");
    // Overwritten in the meantime: the expired version is not what counts.
    s.run("SELECT cache.set('renewed', 'x', ttl => '1 ms'); SELECT cache.set('renewed', 'y', ttl => '1 hour')");
    for _ in 0..5 {
        s.run("SELECT * FROM cache.sweep()");
    }
    assert_eq!(s.column("SELECT key FROM cache.entries ORDER BY key"), ["long", "never", "renewed"]);
}

#[test]
fn a_rolled_back_sweep_removes_nothing_and_the_next_one_does() {
    let db = database();
    let mut s = db.session();
    s.run("SET pg_stash.autostart = off; SELECT cache.set('a', 'x', ttl => '1 ms'), pg_sleep(0.01)");
    s.run("BEGIN; SELECT * FROM cache.sweep(); ROLLBACK");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 1);
    s.run("SELECT * FROM cache.sweep()");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 0);
}

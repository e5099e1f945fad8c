//! What other sessions do, at every isolation level, and what concurrent writers do to each other.

use std::thread;

use super::support::{Database, database, edition, skips};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// Those at which the cache is not bound to the transaction's snapshot.
fn levels() -> &'static [&'static str] {
    if edition().is_portable() { &LEVELS[..1] } else { &LEVELS }
}

/// Runs `work` in as many sessions as there are numbers, at the same time.
fn in_sessions<R: Send>(db: &Database, count: usize, work: impl Fn(usize, &Database) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number, db))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the session's work does not panic")).collect()
    })
}

#[test]
fn a_get_sees_what_others_committed_after_the_snapshot() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    for level in levels() {
        other.run("SELECT cache.set('k', 'old'), cache.delete('new')");
        s.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        s.run("SELECT count(*) FROM pg_class");
        assert_eq!(s.value("SELECT cache.get('k')"), "old", "{level}");
        other.run("SELECT cache.set('k', 'newer'), cache.set('new', '1')");
        assert_eq!(s.value("SELECT cache.get('k')"), "newer", "{level}");
        assert_eq!(s.value("SELECT cache.get('new')"), "1", "{level}");
        assert_eq!(s.column("SELECT key FROM cache.get_many(ARRAY['k', 'new'])"), ["k", "new"], "{level}");
        other.run("SELECT cache.delete('k')");
        assert_eq!(s.ask("SELECT cache.get('k')"), None, "{level}");
        s.run("COMMIT");
    }
}

#[test]
fn the_portable_edition_has_the_rules_of_tables_where_a_transaction_keeps_its_snapshot() {
    if !edition().is_portable() {
        return;
    }
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    for level in &LEVELS[1..] {
        other.run("SELECT cache.set('k', 'old'), cache.set('n', 1::bigint)");
        for (write, sqlstate) in [
            ("cache.set('k', 'mine')", "40001"),
            ("cache.incr('n')", "40001"),
            ("cache.delete('k')", "40001"),
            ("cache.create_cache('pages')", "0A000"),
            ("cache.alter_cache('default', max_entries => 7)", "0A000"),
        ] {
            s.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class"));
            other.run("SELECT cache.set('k', 'newer'), cache.incr('n')");
            s.fails(&format!("SELECT {write}"), sqlstate);
            s.run("ROLLBACK");
        }
        other.run("SELECT cache.set('k', 'old')");
        s.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class"));
        other.run("SELECT cache.set('k', 'newer')");
        assert_eq!(s.value("SELECT cache.get('k')"), "old", "{level}");
        s.run("COMMIT");
        assert_eq!(s.value("SELECT cache.get('k')"), "newer", "{level}");
        s.run(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY"));
        assert_eq!(s.value("SELECT cache.get('k')"), "newer", "{level}");
        s.run("COMMIT");
    }
    s.run("BEGIN READ ONLY");
    assert_eq!(s.rows("SELECT state, lease FROM cache.claim('none')"), [vec![Some("miss".to_owned()), None]]);
    s.fails("SELECT cache.set('k', 'x')", "25006");
    s.run("ROLLBACK");
}

#[test]
fn a_set_over_a_newer_row_succeeds() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    for level in levels() {
        other.run("SELECT cache.set('k', 'old'), cache.set('n', 1::bigint), cache.set('gone', 'x')");
        s.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        s.run("SELECT count(*) FROM pg_class");
        s.run("SELECT cache.get('k')");
        other.run("SELECT cache.set('k', 'newer'), cache.incr('n'), cache.delete('gone'), cache.set('fresh', 'y')");
        s.run("SELECT cache.set('k', 'mine'), cache.incr('n'), cache.set('gone', 'back'), cache.set('fresh', 'z')");
        s.run("COMMIT");
        let row = &other.rows("SELECT cache.get('k'), cache.get('n'), cache.get('gone'), cache.take('fresh')")[0];
        let row: Vec<_> = row.iter().map(|column| column.as_deref().unwrap_or("NULL")).collect();
        assert_eq!(row, ["mine", "3", "back", "z"], "{level}");
    }
}

#[test]
fn serializable_transactions_do_not_fail_because_of_the_cache() {
    if skips("serializable_transactions_do_not_fail_because_of_the_cache") {
        return;
    }
    let db = database();
    db.session().run("SELECT cache.set('a', '1'), cache.set('b', '1')");
    let (mut one, mut two) = (db.session(), db.session());
    // Each reads what the other writes: on an ordinary table one of them would have to fail.
    one.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT cache.get('a')");
    two.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT cache.get('b')");
    one.run("SELECT cache.set('b', '2')");
    two.run("SELECT cache.set('a', '2')");
    let locks =
        one.number("SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'cache.entries'::regclass");
    assert_eq!(locks, 0);
    one.run("COMMIT");
    two.run("COMMIT");
}

#[test]
fn read_only_transactions_get_and_set() {
    if skips("read_only_transactions_get_and_set") {
        return;
    }
    let db = database();
    let mut s = db.session();
    for level in LEVELS {
        s.run(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY"));
        s.run("SELECT cache.set('k', 'x'), cache.incr('n'), cache.add('a', '1'), cache.delete('a')");
        assert_eq!(s.value("SELECT cache.get('k')"), "x");
        s.run("COMMIT");
        assert_eq!(s.value("SELECT cache.take('k')"), "x", "{level}");
    }
    assert_eq!(s.value("SELECT cache.get('n')"), "3");
}

#[test]
fn counters_count_exactly() {
    let db = database();
    in_sessions(&db, 8, |_, db| {
        let mut s = db.session();
        let increment = s.client().prepare("SELECT cache.incr('hits')").expect("prepares");
        for _ in 0..2000 {
            s.client().query_one(&increment, &[]).expect("counts");
        }
    });
    assert_eq!(db.session().value("SELECT cache.get('hits')"), "16000");
}

#[test]
fn batches_over_the_same_keys_do_not_deadlock() {
    let db = database();
    in_sessions(&db, 8, |number, db| {
        let mut s = db.session();
        for round in 0..30 {
            let batch = match (number + round) % 4 {
                0 | 1 => {
                    "SELECT cache.set_many(array_agg(k), array_agg(k)) FROM (SELECT 'k' || i AS k FROM generate_series(1, 200) AS i ORDER BY random()) AS keys"
                }
                2 => {
                    "SELECT cache.delete_many(array_agg(k)) FROM (SELECT 'k' || i AS k FROM generate_series(1, 200) AS i ORDER BY random()) AS keys"
                }
                _ if round % 2 == 0 => "SELECT cache.delete_prefix('k1')",
                _ => "SELECT cache.clear()",
            };
            s.run(batch);
        }
    });
    let mut s = db.session();
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text)) FROM generate_series(1, 200) AS i");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 200);
}

#[test]
fn of_two_adds_at_once_exactly_one_succeeds() {
    let db = database();
    for round in 0..30 {
        let added =
            in_sessions(&db, 4, |_, db| db.session().value(&format!("SELECT cache.add('round{round}', 'x')")) == "t");
        assert_eq!(added.iter().filter(|added| **added).count(), 1, "round {round}");
    }
}

#[test]
fn an_add_waits_for_one_that_has_not_committed() {
    let db = database();
    let mut first = db.session();
    for (end, expected) in [("COMMIT", "f"), ("ROLLBACK", "t")] {
        first.run("BEGIN; SELECT cache.add('k', 'first')");
        let answer = thread::scope(|scope| {
            let second = scope.spawn(|| db.session().value("SELECT cache.add('k', 'second')"));
            db.wait_for_lock_waiter();
            first.run(end);
            second.join().expect("adds")
        });
        assert_eq!(answer, expected, "{end}");
        first.run("SELECT cache.delete('k')");
    }
}

#[test]
fn a_set_waits_for_a_writer_of_the_same_key_and_a_get_does_not() {
    let db = database();
    let (mut writer, mut reader) = (db.session(), db.session());
    writer.run("SELECT cache.set('k', 'old')");
    writer.run("BEGIN; SELECT cache.set('k', 'first')");
    assert_eq!(reader.value("SELECT cache.get('k')"), "old");
    thread::scope(|scope| {
        let second = scope.spawn(|| db.session().run("SELECT cache.set('k', 'second')"));
        db.wait_for_lock_waiter();
        assert_eq!(reader.value("SELECT cache.get('k')"), "old");
        writer.run("COMMIT");
        second.join().expect("sets");
    });
    assert_eq!(reader.value("SELECT cache.get('k')"), "second");
}

#[test]
fn a_value_is_never_missed_while_it_is_being_overwritten() {
    let db = database();
    // Values of this size leave room for few versions in a page, so that many overwrites are not HOT.
    db.session().run("SELECT cache.set('k', repeat('x', 1500))");
    let misses = in_sessions(&db, 4, |number, db| {
        let mut s = db.session();
        if number % 2 == 0 {
            for _ in 0..1500 {
                s.run("SELECT cache.set('k', repeat('y', 1500))");
            }
            return 0;
        }
        (0..1500).filter(|_| s.ask("SELECT cache.get('k')").is_none()).count()
    });
    assert_eq!(misses.iter().sum::<usize>(), 0);
}

//! Tags: who sees an invalidation, and when.

use super::support::{Server, database, edition, note_time, wait_until};

#[test]
fn an_invalidation_is_seen_at_once_by_oneself_and_at_the_commit_by_others() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a', 'b']), cache.set('l', 'y', tags => ARRAY['c']), cache.set('m', 'z')");
    let all = "SELECT concat_ws(' ', cache.get('k'), cache.get('l'), cache.get('m'))";
    s.run("BEGIN; SELECT cache.invalidate('b')");
    assert_eq!(s.value(all), "y z");
    assert_eq!(other.value(all), "x y z");
    s.run("COMMIT");
    assert_eq!(s.value(all), "y z");
    assert_eq!(other.value(all), "y z");
    other.run("SELECT cache.set('k', 'again', tags => ARRAY['b'])");
    assert_eq!(s.value(all), "again y z");
}

#[test]
fn a_rollback_takes_the_invalidation_back() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])");
    s.run("BEGIN; SELECT cache.invalidate('a'); ROLLBACK");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
    s.run("BEGIN; SAVEPOINT one; SELECT cache.invalidate('a')");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    s.run("ROLLBACK TO one");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    s.run("COMMIT");
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
    s.run(
        "BEGIN; SAVEPOINT one; SAVEPOINT two; SELECT cache.invalidate('a'); RELEASE two; RELEASE one; SAVEPOINT three",
    );
    s.run("ROLLBACK TO three; COMMIT");
    assert_eq!(other.ask("SELECT cache.get('k')"), None);
}

#[test]
fn every_way_of_reading_and_writing_heeds_it() {
    let db = database();
    let mut s = db.session();
    let live = "SELECT cache.set('k', '1'::text, ttl => '1 hour', tags => ARRAY['a'])";
    for (miss, hit) in [
        ("SELECT cache.get('k')", Some("1")),
        ("SELECT (SELECT value FROM cache.get_many(ARRAY['k']))", Some("1")),
        ("SELECT NULLIF(cache.exists('k'), false)", Some("t")),
        ("SELECT NULLIF(cache.expires_at('k') IS NOT NULL, false)", Some("t")),
        ("SELECT NULLIF(cache.ttl('k') IS NOT NULL, false)", Some("t")),
        ("SELECT NULLIF(cache.touch('k'), false)", Some("t")),
        ("SELECT NULLIF(cache.persist('k'), false)", Some("t")),
        ("SELECT (SELECT cache.keys('k'))", Some("k")),
        ("SELECT NULLIF(cache.replace('k', '2'::text), false)", Some("t")),
        ("SELECT NULLIF(cache.compare_and_set('k', '1'::text, '2'::text), false)", Some("t")),
        ("SELECT NULLIF(NOT cache.add('k', '2'::text), false)", Some("t")),
        ("SELECT cache.take('k')", Some("1")),
        ("SELECT NULLIF(cache.delete('k'), false)", Some("t")),
        ("SELECT NULLIF(cache.delete_many(ARRAY['k']), 0)", Some("1")),
        ("SELECT NULLIF(cache.delete_prefix('k'), 0)", Some("1")),
        ("SELECT (SELECT key FROM cache.top(1))", Some("k")),
    ] {
        note_time(&mut s);
        s.run(live);
        assert_eq!(s.ask(miss).as_deref(), hit, "{miss} of a live entry");
        note_time(&mut s);
        s.run(live);
        s.run("SELECT cache.invalidate('a')");
        assert_eq!(s.ask(miss), None, "{miss} of an invalidated one");
    }
    s.run("SELECT cache.set('n', 5::bigint, tags => ARRAY['a']), cache.invalidate('a')");
    assert_eq!(s.number("SELECT cache.incr('n')"), 1);
}

#[test]
fn what_changes_an_entry_keeps_its_tags() {
    let db = database();
    let mut s = db.session();
    for change in [
        "SELECT cache.touch('k', ttl => '1 hour')",
        "SELECT cache.persist('k')",
        "SELECT cache.incr('k')",
        "SELECT cache.compare_and_set('k', 1::bigint, 2::bigint)",
    ] {
        s.run("SELECT cache.set('k', 1::bigint, tags => ARRAY['a'])");
        s.run(change);
        assert_eq!(s.value("SELECT tags FROM cache.entries"), "{a}", "{change}");
        assert!(s.ask("SELECT cache.get('k')").is_some(), "{change}");
        s.run("SELECT cache.invalidate('a')");
        assert_eq!(s.ask("SELECT cache.get('k')"), None, "{change}");
    }
    s.run("SELECT cache.set('k', 1::bigint, tags => ARRAY['a']), cache.set('k', 2::bigint), cache.invalidate('a')");
    assert_eq!(s.number("SELECT cache.get('k')::bigint"), 2, "a set without tags leaves none");
}

#[test]
fn a_value_is_of_the_transactions_start_or_of_the_time_that_is_given() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("BEGIN; SELECT 'a read of what is about to change'");
    other.run("SELECT cache.invalidate('a')");
    s.run("SELECT cache.set('k', 'old', tags => ARRAY['a'])");
    s.run("SELECT cache.set_many(ARRAY['l'], ARRAY['old'], tags => ARRAY['a']); COMMIT");
    assert_eq!(s.ask("SELECT concat(cache.get('k'), cache.get('l'))").as_deref(), Some(""));
    s.run("SELECT cache.set('k', 'new', tags => ARRAY['a'])");
    assert_eq!(s.value("SELECT cache.get('k')"), "new");

    // Across transactions, with a time from before the read.
    let before = s.value("SELECT cache.clock()");
    other.run("SELECT cache.invalidate('a')");
    s.run(&format!("SELECT cache.set('k', 'old', tags => ARRAY['a'], as_of => '{before}')"));
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    let after = s.value("SELECT cache.clock()");
    s.run(&format!("SELECT cache.set('k', 'new', tags => ARRAY['a'], as_of => '{after}')"));
    assert_eq!(s.value("SELECT cache.get('k')"), "new");
    // What the transaction itself has invalidated stays so until it commits, and what it stored meanwhile goes with it.
    s.run("BEGIN; SELECT cache.invalidate('a'), cache.set('k', 'own', tags => ARRAY['a'])");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    s.run("COMMIT");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
}

#[test]
fn a_transaction_with_one_snapshot_reads_the_clock_of_its_start() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    for (level, is_live) in [("READ COMMITTED", true), ("REPEATABLE READ", false), ("SERIALIZABLE", false)] {
        s.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class"));
        other.run("SELECT cache.invalidate('a')");
        let as_of = s.value("SELECT cache.clock()");
        s.run(&format!("SELECT cache.set('k', 'x', tags => ARRAY['a'], as_of => '{as_of}'); COMMIT"));
        assert_eq!(s.ask("SELECT cache.get('k')").is_some(), is_live, "{level}");
    }
    // A function that is not volatile sees the snapshot of the statement that calls it.
    s.run("CREATE FUNCTION clock_of_statement() RETURNS timestamptz STABLE LANGUAGE plpgsql AS 'BEGIN RETURN cache.clock(); END'");
    let as_of = s.value("SELECT clock_of_statement() FROM (SELECT pg_sleep(0.01)) AS s");
    s.run(&format!("SELECT cache.set('k', 'x', tags => ARRAY['b'], as_of => '{as_of}')"));
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
}

#[test]
fn what_is_read_in_an_older_snapshot_is_of_the_transactions_start() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("CREATE TABLE t AS SELECT 1 AS n");
    s.run("BEGIN; DECLARE c CURSOR FOR SELECT lease, (SELECT n FROM t) AS n FROM cache.claim('k')");
    other.run("UPDATE t SET n = 2; SELECT cache.invalidate('a')");
    let rows = s.rows("FETCH c");
    let [lease, n] = &rows[0][..] else { panic!("two columns") };
    let (lease, n) = (lease.as_deref().expect("a lease"), n.as_deref().expect("a value"));
    assert_eq!(n, "1", "the snapshot of the DECLARE");
    // The portable edition does not know of the cursor's snapshot.
    let is_stored = if edition().is_portable() { "t" } else { "f" };
    let fill = format!("SELECT cache.fill('{lease}'::bytea, '{n}'::text, tags => ARRAY['a'])");
    assert_eq!(s.value(&fill), is_stored);
    s.run("COMMIT");
}

#[test]
fn a_prepared_transaction_cannot_carry_it() {
    let server = Server::start("prepare-tags", &["max_prepared_transactions = 5"]);
    server.make_cache("stash");
    let mut s = server.session("stash");
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])");
    s.run("BEGIN; SELECT cache.invalidate('a')");
    if edition().is_portable() {
        s.run("PREPARE TRANSACTION 'p'");
        assert_eq!(s.value("SELECT cache.get('k')"), "x");
        s.run("COMMIT PREPARED 'p'");
        assert_eq!(s.ask("SELECT cache.get('k')"), None);
        return;
    }
    s.fails("PREPARE TRANSACTION 'p'", "0A000");
    s.attempt("ROLLBACK").ok();
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    s.run("BEGIN; SAVEPOINT one; SELECT cache.invalidate('a'); ROLLBACK TO one; PREPARE TRANSACTION 'p'");
    s.run("COMMIT PREPARED 'p'");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
}

#[test]
fn the_sweeper_reclaims_what_has_been_invalidated() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), tags => ARRAY['a']) FROM generate_series(1, 1000) AS i");
    s.run("SELECT cache.set('other', 'x', tags => ARRAY['b'])");
    let touched = s.value("SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables");
    s.run("SELECT cache.invalidate('a')");
    assert_eq!(s.value("SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables"), touched);
    if edition().is_portable() {
        s.run("SELECT cache.sweep()");
    }
    wait_until("they are gone", || s.number("SELECT count(*) FROM cache.entries") == 1);
    if !edition().is_portable() {
        wait_until("they are counted", || s.number("SELECT invalidated FROM cache.stats") == 1000);
    }
    assert_eq!(s.number("SELECT entries FROM cache.stats"), 1);
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a']), cache.invalidate('a'); SELECT cache.sweep()");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 1, "a sweep by hand does the same");
}

#[test]
fn after_a_clean_restart_entries_with_tags_are_made_anew() {
    let server = Server::start("tags-restarted", &[]);
    server.make_cache("stash");
    let mut s = server.session("stash");
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a']), cache.set('l', 'y')");
    // Of a time that is still to come, as where the wall clock is set back meanwhile.
    s.run("SELECT cache.set('m', 'z', tags => ARRAY['a']); UPDATE cache.entries SET as_of = as_of + interval '1 hour' WHERE key = 'm'");
    drop(s);
    server.stop("fast");
    server.resume();
    let mut s = server.session("stash");
    // The portable edition's invalidations are in a table, which a clean restart keeps.
    let left = if edition().is_portable() { "x y z" } else { "y" };
    assert_eq!(s.value("SELECT concat_ws(' ', cache.get('k'), cache.get('l'), cache.get('m'))"), left);
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
}

#[test]
fn other_databases_are_not_concerned() {
    let (one, two) = (database(), database());
    let (mut s, mut other) = (one.session(), two.session());
    other.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])");
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a']), cache.invalidate('a')");
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
}

#[test]
fn bad_tags_are_refused_and_leave_what_was_there() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'x')");
    for (call, code) in [
        ("SELECT cache.set('k', 'y', tags => ARRAY['a', NULL])", "22004"),
        ("SELECT cache.set('k', 'y', tags => ARRAY['a', ''])", "22023"),
        ("SELECT cache.set('k', 'y', tags => ARRAY[['a'], ['b']])", "22023"),
        ("SELECT cache.set('k', 'y', tags => ARRAY[repeat('x', 2000)])", "54000"),
        ("SELECT cache.set('k', 'y', tags => (SELECT array_agg(i::text) FROM generate_series(1, 1000) AS i))", "54000"),
        ("SELECT cache.set('k', 'y', tags => ARRAY['a'], as_of => now() + '1 hour')", "22023"),
        ("SELECT cache.set('k', 'y', tags => ARRAY['a'], as_of => 'infinity')", "22023"),
        ("SELECT cache.set('k', 'y', ttl => '1 min', fresh => '2 min')", "22023"),
        ("SELECT cache.set('k', 'y', fresh => '0')", "22023"),
        ("SELECT cache.set('k', 'y', fresh => '-1 s')", "22023"),
        ("SELECT cache.set_many(ARRAY['k'], ARRAY['y'], tags => ARRAY[NULL])", "22004"),
        ("SELECT cache.invalidate(NULL)", "22004"),
        ("SELECT cache.invalidate('a', NULL)", "22004"),
        ("SELECT cache.invalidate('a', '')", "22023"),
        ("SELECT cache.invalidate(VARIADIC NULL)", "22004"),
    ] {
        s.fails(call, code);
        assert_eq!(s.value("SELECT cache.get('k')"), "x", "{call}");
    }
    s.run("SELECT cache.set('k', 'y', tags => ARRAY[]::text[]), cache.invalidate(VARIADIC ARRAY[]::text[])");
    assert_eq!(s.ask("SELECT tags FROM cache.entries"), None);
    s.run("SELECT cache.set('k', repeat('x', 5000), tags => ARRAY[repeat('t', 1500), 'ä', 'a''b']), cache.get('k')");
    assert_eq!(s.number("SELECT length(cache.get('k'))"), 5000);
    s.run("SELECT cache.invalidate('ä')");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    // Tags that have been spoilt by hand are as good as invalidated, and crash nothing.
    for tags in ["ARRAY[NULL]::text[]", "ARRAY[['a']]", "ARRAY[]::text[]"] {
        s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])");
        s.run(&format!("UPDATE cache.entries SET tags = {tags}"));
        assert_eq!(s.ask("SELECT cache.get('k')"), None, "{tags}");
    }
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['a']); UPDATE cache.entries SET as_of = NULL");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    s.run("SELECT cache.sweep()");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 0);
}

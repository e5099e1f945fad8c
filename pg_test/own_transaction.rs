//! What a transaction sees of its own writes, and what is left of them.

use super::support::database;

#[test]
fn a_set_is_seen_later_in_the_same_statement() {
    let db = database();
    let mut s = db.session();
    let row = &s.rows("SELECT cache.set('k', 'one'), cache.get('k'), cache.set('k', 'two'), cache.get('k'), cache.delete('k'), cache.get('k'), cache.add('k', 'three'), cache.get('k')")[0];
    let row: Vec<_> = row.iter().map(|column| column.as_deref().unwrap_or("NULL")).collect();
    assert_eq!(row, ["", "one", "", "two", "t", "NULL", "t", "three"]);
    assert_eq!(s.number("SELECT max(cache.incr('n')) FROM generate_series(1, 1000)"), 1000);
    assert_eq!(s.number("SELECT count(*) FROM cache.entries WHERE key = 'n'"), 1);
}

#[test]
fn a_loop_sees_each_of_its_steps() {
    let db = database();
    let mut s = db.session();
    s.run(
        "
        DO $$
        BEGIN
            FOR i IN 1 .. 1000 LOOP
                PERFORM cache.set('one', i::text);
                ASSERT cache.get('one') = i::text;
                PERFORM cache.set('many' || i, i::text, ttl => '1 hour');
                ASSERT cache.get('many' || i) = i::text;
                ASSERT cache.incr('count') = i;
                IF i % 3 = 0 THEN
                    ASSERT cache.take('many' || i) = i::text;
                    ASSERT NOT cache.exists('many' || i);
                END IF;
            END LOOP;
        END $$",
    );
    assert_eq!(s.value("SELECT cache.get('one') || ' ' || cache.get('count')"), "1000 1000");
    assert_eq!(s.number("SELECT count(*) FROM cache.keys('many')"), 667);
}

#[test]
fn a_rollback_undoes_every_kind_of_write() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    let writes = "
        SELECT cache.set('kept', 'changed'), cache.set('new', 'x'), cache.incr('n'), cache.delete('deleted'),
            cache.take('taken'), cache.touch('touched', '1 hour'), cache.add('added', 'x'), cache.replace('replaced', 'y'),
            cache.set_many(ARRAY['m1', 'kept'], ARRAY['x', 'y']), cache.compare_and_set('swapped', 'x', 'y')";
    let setup = "
        SELECT cache.clear();
        SELECT cache.set_many(ARRAY['kept', 'deleted', 'taken', 'touched', 'replaced', 'swapped'], array_fill('x'::text, ARRAY[6]));
        SELECT cache.set('n', 5::bigint)";
    let state = "SELECT string_agg(key || '=' || coalesce(value_text, value_int::text) || expires_at, ' ' ORDER BY key) FROM cache.entries";
    s.run(setup);
    let before = s.value(state);
    s.run(&format!("BEGIN; {writes}"));
    assert_ne!(s.value(state), before);
    assert_eq!(other.value(state), before);
    s.run("ROLLBACK");
    assert_eq!(s.value(state), before);
    // The same for a part of a transaction, which then goes on.
    s.run(&format!("BEGIN; SELECT cache.set('outer', 'x'); SAVEPOINT a; {writes}; ROLLBACK TO SAVEPOINT a"));
    assert_eq!(s.value("SELECT cache.get('kept') || cache.get('outer') || cache.get('n')"), "xx5");
    assert_eq!(s.ask("SELECT cache.get('new')"), None);
    s.run("SELECT cache.set('kept', 'again'), cache.incr('n'), cache.add('new', 'y'), cache.delete('outer'); COMMIT");
    assert_eq!(
        other.value("SELECT cache.get('kept') || cache.get('n') || cache.get('new') || cache.exists('outer')"),
        "again6yfalse"
    );
    // And where the error is caught.
    s.run(setup);
    s.run("DO $$ BEGIN PERFORM cache.set('kept', 'changed'); PERFORM cache.set('new', 'x'); PERFORM cache.get_bytes('kept'); EXCEPTION WHEN datatype_mismatch THEN PERFORM cache.set('caught', cache.get('kept')); END $$");
    assert_eq!(s.value("SELECT cache.get('caught')"), "x");
    assert_eq!(s.ask("SELECT cache.get('new')"), None);
}

#[test]
fn an_open_cursor_goes_on_over_what_it_saw() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text)) FROM generate_series(1, 100) AS i");
    s.run("BEGIN; DECLARE c CURSOR FOR SELECT key, value_text FROM cache.entries");
    assert_eq!(s.rows("FETCH 10 FROM c").len(), 10);
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('y'::text)) FROM generate_series(1, 200) AS i");
    let rest = s.rows("FETCH ALL FROM c");
    assert_eq!(rest.len(), 90);
    assert!(rest.iter().all(|row| row[1].as_deref() == Some("x")));
    s.run("COMMIT");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries WHERE value_text = 'y'"), 200);
}

#[test]
fn entries_expire_by_the_wall_clock_in_a_long_transaction() {
    let db = database();
    let mut s = db.session();
    s.run("SET pg_stash.autostart = off; BEGIN; SELECT cache.set('k', 'x', ttl => '300 ms'), cache.set('n', 5::bigint, ttl => '300 ms')");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    let before = s.value("SELECT now()");
    s.run("SELECT pg_sleep(0.4)");
    assert_eq!(s.value("SELECT now()"), before);
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    assert_eq!(s.value("SELECT concat(cache.exists('k'), cache.touch('k'), cache.persist('k'), cache.replace('k', 'y'), cache.delete('k'))"), "fffff");
    assert_eq!(s.ask("SELECT cache.take('k')"), None);
    assert_eq!(s.ask("SELECT cache.ttl('k')"), None);
    assert_eq!(s.number("SELECT count(*) FROM cache.keys()"), 0);
    assert_eq!(s.number("SELECT count(*) FROM cache.get_many(ARRAY['k', 'n'])"), 0);
    assert_eq!(s.value("SELECT cache.compare_and_set('n', 5::bigint, 6::bigint)"), "f");
    // What has expired is as good as absent.
    assert_eq!(s.value("SELECT cache.add('k', 'new')"), "t");
    assert_eq!(s.number("SELECT cache.incr('n', ttl => '1 hour')"), 1);
    s.run("COMMIT");
    assert_eq!(s.value("SELECT cache.get('k') || (cache.ttl('n') > '59 minutes')"), "newtrue");
}

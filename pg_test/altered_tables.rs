//! Tables that somebody has altered: what can be worked with is, what cannot is refused before anything is written.

use super::support::database;

#[test]
fn what_direct_access_cannot_serve_is_refused_and_can_be_undone() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("SELECT cache.set('k', 'x')");
    for (change, undo) in [
        ("CREATE INDEX by_expiry ON cache.entries (expires_at)", "DROP INDEX cache.by_expiry"),
        ("CREATE INDEX partial ON cache.entries (key) WHERE key > 'm'", "DROP INDEX cache.partial"),
        ("ALTER TABLE cache.entries ENABLE ROW LEVEL SECURITY", "ALTER TABLE cache.entries DISABLE ROW LEVEL SECURITY"),
        (
            "ALTER TABLE cache.entries RENAME COLUMN expires_at TO expiry",
            "ALTER TABLE cache.entries RENAME COLUMN expiry TO expires_at",
        ),
        ("ALTER TABLE cache.entries DROP CONSTRAINT entries_pkey", "ALTER TABLE cache.entries ADD PRIMARY KEY (key)"),
    ] {
        other.run(change);
        for call in ["SELECT cache.get('k')", "SELECT cache.set('k', 'y')", "SELECT cache.sweep('default')"] {
            let error = s.fails(call, "55000");
            assert!(error.message().starts_with("cannot use table cache.entries as a cache: "), "{error}");
            assert!(error.hint().is_some());
        }
        other.run(undo);
        assert_eq!(s.value("SELECT cache.get('k')"), "x", "{change}");
    }
}

#[test]
fn a_second_index_on_the_key_is_kept_up() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('before', 'x'); CREATE UNIQUE INDEX again ON cache.entries (key)");
    s.run(
        "SELECT cache.set('after', repeat('x', 1500)), cache.set('after', repeat('y', 3000)), cache.delete('before')",
    );
    for _ in 0..20 {
        s.run("SELECT cache.set('after', md5(random()::text) || repeat('z', 1500))");
    }
    s.run("REINDEX TABLE CONCURRENTLY cache.entries");
    s.run("SET enable_seqscan = off; ALTER TABLE cache.entries DROP CONSTRAINT entries_pkey");
    assert_eq!(s.column("SELECT key FROM cache.entries WHERE key >= 'a' ORDER BY key"), ["after"]);
    assert_eq!(s.number("SELECT count(*) FROM cache.entries WHERE key = 'after'"), 1);
}

#[test]
fn added_columns_are_left_null() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'x'); ALTER TABLE cache.entries ADD COLUMN note text, ADD COLUMN more int");
    s.run("SELECT cache.set('k', 'y'), cache.set('new', 'z'), cache.touch('k', '1 hour')");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries WHERE note IS NULL AND more IS NULL"), 2);
    assert_eq!(s.value("SELECT cache.get('k')"), "y");
}

#[test]
fn entries_written_by_hand_are_entries() {
    let db = database();
    let mut s = db.session();
    s.run("INSERT INTO cache.entries (expires_at, key, value_text) VALUES ('infinity', 'by hand', 'x')");
    assert_eq!(s.value("SELECT cache.get('by hand')"), "x");
    s.fails("INSERT INTO cache.entries (expires_at, key) VALUES ('infinity', 'none')", "23514");
    s.fails(
        "INSERT INTO cache.entries (expires_at, key, value_text, value_int) VALUES ('infinity', 'two', 'x', 1)",
        "23514",
    );
    s.fails("INSERT INTO cache.entries (expires_at, key, value_text) VALUES ('infinity', '', 'x')", "23514");
    s.fails("UPDATE cache.entries SET expires_at = NULL", "23502");
}

#[test]
fn vacuum_full_cluster_and_truncate_do_no_harm() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 500))) FROM generate_series(1, 2000) AS i");
    for command in [
        "VACUUM FULL cache.entries",
        "CLUSTER cache.entries USING entries_pkey",
        "VACUUM cache.entries",
        "ANALYZE cache.entries",
        "REINDEX TABLE cache.entries",
    ] {
        other.run(command);
        assert_eq!(s.value("SELECT length(cache.get('k1999'))"), "500", "{command}");
        s.run("SELECT cache.set('k5', 'new'), cache.delete('k6'), cache.set('k6', 'again')");
    }
    other.run("TRUNCATE cache.entries");
    assert_eq!(s.ask("SELECT cache.get('k5')"), None);
    s.run("SELECT cache.set('k5', 'x')");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 1);
}

#[test]
fn the_extension_stays_in_its_schema() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE SCHEMA other");
    s.fails("ALTER EXTENSION pg_stash SET SCHEMA other", "0A000");
    s.run("ALTER EXTENSION pg_stash UPDATE; SELECT cache.set('k', 'x')");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
}

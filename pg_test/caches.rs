//! Caches come, change and go; their policies are dumped with the database.

use super::support::{database, edition};

#[test]
fn caches_do_not_share_entries() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('pages'), cache.create_cache('sessions', default_ttl => '1 hour')");
    s.run("SELECT cache.set('k', 'default'), cache.set('k', 'page', cache => 'pages')");
    assert_eq!(s.value("SELECT cache.get('k')"), "default");
    assert_eq!(s.value("SELECT cache.get('k', cache => 'pages')"), "page");
    assert_eq!(s.ask("SELECT cache.get('k', cache => 'sessions')"), None);
    s.run("SELECT cache.clear(cache => 'pages')");
    assert_eq!(s.value("SELECT cache.get('k')"), "default");
}

#[test]
fn a_default_ttl_is_for_entries_without_one() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('short', default_ttl => '1 hour')");
    s.run("SELECT cache.set('a', 'x', cache => 'short'), cache.set('b', 'x', ttl => '2 hours', cache => 'short'), cache.set('c', 'x', ttl => cache.never(), cache => 'short')");
    let minutes = |key| format!("SELECT round(extract(epoch FROM cache.ttl('{key}', cache => 'short')) / 60)");
    assert_eq!(s.number(&minutes("a")), 60);
    assert_eq!(s.number(&minutes("b")), 120);
    assert_eq!(s.value("SELECT cache.expires_at('c', cache => 'short')"), "infinity");
    s.run("SELECT cache.alter_cache('short', default_ttl => '1 month 2 days -1 hour')");
    s.run("SELECT cache.set('d', 'x', cache => 'short')");
    assert_eq!(
        s.value("SELECT age(cache.expires_at('d', cache => 'short'), now() + '1 month 2 days -1 hour') BETWEEN '-1 minute' AND '1 minute'"),
        "t"
    );
    s.run("SELECT cache.alter_cache('short', default_ttl => cache.never()), cache.touch('a', cache => 'short')");
    assert_eq!(s.value("SELECT cache.expires_at('a', cache => 'short')"), "infinity");
    s.run("SELECT cache.set('d', 'x', cache => 'short')");
    assert_eq!(s.value("SELECT cache.expires_at('d', cache => 'short')"), "infinity");
}

#[test]
fn alter_cache_changes_what_is_given_and_leaves_the_rest() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('pages', '1 hour', '10 MB', 500)");
    s.run("SELECT cache.alter_cache('pages', max_entries => 700)");
    let policy =
        "SELECT concat_ws(' ', default_ttl, max_size, max_entries, durable) FROM cache.caches WHERE name = 'pages'";
    assert_eq!(s.value(policy), "01:00:00 10485760 700 f");
    s.run("SELECT cache.alter_cache('pages', max_size => '0', max_entries => 0, durable => true)");
    assert_eq!(s.value(policy), "01:00:00 t");
    let persistence = "SELECT relpersistence FROM pg_class WHERE oid = 'cache.entries_pages'::regclass";
    assert_eq!(s.value(persistence), "p");
    s.run("SELECT cache.set('k', 'x', cache => 'pages'); SELECT cache.alter_cache('pages', durable => false)");
    assert_eq!(s.value(persistence), "u");
    assert_eq!(s.value("SELECT cache.get('k', cache => 'pages')"), "x");
}

#[test]
fn a_change_in_another_session_takes_effect_at_the_next_call() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    other.run("SELECT cache.create_cache('pages')");
    s.run("SELECT cache.set('k', 'x', cache => 'pages')");
    other.run("SELECT cache.alter_cache('pages', default_ttl => '1 minute')");
    s.run("SELECT cache.set('k', 'x', cache => 'pages')");
    assert_eq!(s.value("SELECT cache.expires_at('k', cache => 'pages') < 'infinity'"), "t");
    other.run("SELECT cache.drop_cache('pages')");
    s.fails("SELECT cache.get('k', cache => 'pages')", "42704");
    other.run("SELECT cache.create_cache('pages')");
    assert_eq!(s.ask("SELECT cache.get('k', cache => 'pages')"), None);
    other.run("UPDATE cache.caches SET default_ttl = '1 hour' WHERE name = 'pages'");
    s.run("SELECT cache.set('k', 'x', cache => 'pages')");
    assert_eq!(s.value("SELECT cache.expires_at('k', cache => 'pages') < 'infinity'"), "t");
}

#[test]
fn a_rolled_back_cache_is_none() {
    let db = database();
    let mut s = db.session();
    s.run("BEGIN; SELECT cache.create_cache('pages'); SELECT cache.set('k', 'x', cache => 'pages'); ROLLBACK");
    s.fails("SELECT cache.get('k', cache => 'pages')", "42704");
    s.run("SELECT cache.create_cache('pages')");
    s.run("BEGIN; SELECT cache.drop_cache('pages')");
    s.fails("SELECT cache.get('k', cache => 'pages')", "42704");
    s.run("ROLLBACK");
    assert_eq!(s.ask("SELECT cache.get('k', cache => 'pages')"), None);
}

#[test]
fn what_cannot_be_is_refused() {
    let db = database();
    let mut s = db.session();
    s.fails("SELECT cache.create_cache('default')", "42710");
    for name in ["Pages", "1a", "a-b", "", "x\"; DROP TABLE cache.caches"] {
        s.fails(&format!("SELECT cache.create_cache('{name}')"), "42602");
        s.fails(&format!("INSERT INTO cache.caches (name) VALUES ('{name}')"), "42602");
    }
    s.fails("SELECT cache.create_cache(repeat('a', 49))", "42602");
    s.run("SELECT cache.create_cache(repeat('a', 48)), cache.set('k', 'x', cache => repeat('a', 48))");
    s.fails("SELECT cache.create_cache(NULL)", "22004");
    s.fails("SELECT cache.create_cache('a', max_size => 'much')", "22023");
    s.fails("SELECT cache.create_cache('a', max_size => '-1')", "22023");
    s.fails("SELECT cache.create_cache('a', max_entries => -1)", "22023");
    s.fails("SELECT cache.create_cache('a', default_ttl => '-1 s')", "22023");
    s.fails("SELECT cache.create_cache('a', default_ttl => '300000 years')", "22008");
    s.fails("SELECT cache.alter_cache('none')", "42704");
    s.fails("SELECT cache.drop_cache('none')", "42704");
    s.fails("UPDATE cache.caches SET name = 'other'", "22023");
    if edition().is_portable() {
        s.run("BEGIN; DROP TABLE cache.entries; ROLLBACK");
    } else {
        s.fails("DROP TABLE cache.entries", "2BP01");
    }
    assert_eq!(s.number("SELECT count(*) FROM cache.caches"), 2);
}

#[test]
fn a_cache_that_is_being_dropped_is_waited_for() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('pages'), cache.set('k', 'x')");
    // The portable edition's functions have the tables in their statements, and wait for one of them.
    let dropped = if edition().is_portable() { "42P01" } else { "42704" };
    for (end, is_there) in [("ROLLBACK", true), ("COMMIT", false)] {
        s.run("BEGIN; SELECT cache.drop_cache('pages')");
        let outcome = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reader = db.session();
                let outcome = reader.attempt("SELECT cache.get('k', cache => 'pages')");
                assert_eq!(reader.value("SELECT cache.get('k')"), "x");
                outcome.map_err(|error| error.code().code().to_owned())
            });
            db.wait_for_lock_waiter();
            s.run(end);
            reader.join().expect("answers")
        });
        assert_eq!(outcome, if is_there { Ok(()) } else { Err(dropped.to_owned()) }, "{end}");
    }
}

#[test]
fn a_dump_brings_back_the_policies_and_not_the_entries() {
    let db = database();
    let mut s = db.session();
    let role = format!("app_{}", db.name);
    s.run(&format!(
        "
        SELECT cache.create_cache('pages', '1 hour', '10 MB', 500), cache.create_cache('kept', durable => true);
        SELECT cache.alter_cache('default', max_size => '64 MB');
        SELECT cache.set('k', 'x'), cache.set('k', 'x', cache => 'pages'), cache.set('k', 'x', cache => 'kept');
        CREATE TABLE ordinary AS SELECT 1 AS one;
        CREATE ROLE {role};
        GRANT SELECT ON cache.entries_pages TO {role};
    "
    ));
    let policies = "SELECT string_agg(concat_ws(' ', name, default_ttl, max_size, max_entries, durable), ', ' ORDER BY name) FROM cache.caches";
    let before = s.value(policies);
    assert_eq!(before, "default 67108864 f, kept t, pages 01:00:00 10485760 500 f");
    let file = format!("{}/dump.sql", db.server().data());
    db.server().client_tool("pg_dump", &["-f", &file, &db.name]);
    let copy = format!("{}_copy", db.name);
    s.run(&format!("CREATE DATABASE {copy}{}", db.owner_clause()));
    db.server().client_tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &copy, "-f", &file]);
    let mut restored = db.server().session(&copy);
    assert_eq!(restored.value(policies), before);
    assert_eq!(restored.number("SELECT one FROM ordinary"), 1);
    for cache in ["default", "pages", "kept"] {
        // To the portable edition's dump its tables are tables like any other.
        let dumped = edition().is_portable().then(|| "x".to_owned());
        assert_eq!(restored.ask(&format!("SELECT cache.get('k', cache => '{cache}')")), dumped, "{cache}");
        restored.run(&format!("SELECT cache.set('k', 'y', cache => '{cache}')"));
    }
    assert_eq!(restored.value(&format!("SELECT has_table_privilege('{role}', 'cache.entries_pages', 'SELECT')")), "t");
    drop(restored);
    db.server().remove_cache(&copy);
    let mut restored = db.server().session(&copy);
    assert_eq!(
        restored.number(
            "SELECT count(*) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = 'cache'"
        ),
        0
    );
    drop(restored);
    db.server().add_cache(&copy);
    db.server().session(&copy).run("SELECT cache.set('k', 'z')");
    s.run(&format!("DROP DATABASE {copy}"));
    s.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

//! Input that cannot be: an error with its SQLSTATE, nothing stored, and the session goes on.

use super::support::{Session, database, edition};

/// Checks that a statement fails, and that a set and a get work after it.
#[track_caller]
fn refused(s: &mut Session, sql: &str, sqlstate: &str) -> String {
    let error = s.fails(sql, sqlstate);
    s.run("SELECT cache.set('still', 'works')");
    assert_eq!(s.value("SELECT cache.get('still')"), "works");
    format!("{}\n{}\n{}", error.message(), error.detail().unwrap_or(""), error.hint().unwrap_or(""))
}

/// Every function that takes a key, with that key left out.
const BY_KEY: [&str; 17] = [
    "cache.get({})",
    "cache.get_json({})",
    "cache.get_bytes({})",
    "cache.set({}, 'x'::text)",
    "cache.set({}, 1::bigint)",
    "cache.add({}, 'x'::text)",
    "cache.replace({}, 'x'::text)",
    "cache.take({})",
    "cache.exists({})",
    "cache.expires_at({})",
    "cache.ttl({})",
    "cache.touch({})",
    "cache.persist({})",
    "cache.delete({})",
    "cache.incr({})",
    "cache.compare_and_set({}, 'x'::text, 'y'::text)",
    "cache.set_many(ARRAY[{}], ARRAY['x'::text])",
];

#[test]
fn keys_have_1_to_1024_bytes_and_are_not_null() {
    let db = database();
    let mut s = db.session();
    for call in BY_KEY {
        let with = |key: &str| format!("SELECT {}", call.replace("{}", key));
        assert!(refused(&mut s, &with("NULL"), "22004").contains("cache key must not be null"), "{call}");
        assert!(refused(&mut s, &with("''"), "22023").contains("cache key must not be empty"), "{call}");
        assert!(refused(&mut s, &with("repeat('k', 1025)"), "22023").contains("longer than 1024 bytes"), "{call}");
        assert!(refused(&mut s, &with("repeat('ä', 513)"), "22023").contains("1026 bytes long"), "{call}");
        s.run(&with("repeat('k', 1024)"));
        s.run("SELECT cache.delete(repeat('k', 1024))");
    }
    for key in [
        "repeat('ä', 512)",
        "repeat('k', 1024)",
        "'schlüssel €'",
        "E'tab\\tnew\\nline'",
        "'\"; DROP TABLE x'",
        "'%_\\'",
    ] {
        s.run(&format!("SELECT cache.set({key}, 'v' || {key})"));
        assert_eq!(s.value(&format!("SELECT cache.get({key}) = 'v' || {key}")), "t", "{key}");
        assert_eq!(s.number(&format!("SELECT count(*) FROM cache.keys({key})")), 1, "{key}");
    }
    // Keys of full length next to each other, so that the index has to split its pages.
    s.run("SELECT cache.set_many(array_agg(lpad(i::text, 1024, 'k')), array_agg(i::text)) FROM generate_series(1, 300) AS i");
    assert_eq!(
        s.number(
            "SELECT count(*) FROM generate_series(1, 300) AS i WHERE cache.get(lpad(i::text, 1024, 'k')) = i::text"
        ),
        300
    );
}

#[test]
fn null_arguments_are_refused_by_name() {
    let db = database();
    let mut s = db.session();
    for (call, what) in [
        ("cache.set('k', NULL::text)", "cache value"),
        ("cache.set('k', NULL::jsonb)", "cache value"),
        ("cache.add('k', NULL::bytea)", "cache value"),
        ("cache.replace('k', NULL::bigint)", "cache value"),
        ("cache.compare_and_set('k', NULL::text, 'x'::text)", "cache value"),
        ("cache.set('k', 'x', cache => NULL)", "cache must"),
        ("cache.get('k', cache => NULL)", "cache must"),
        ("cache.incr('k', NULL)", "by must"),
        ("cache.incr('k', initial => NULL)", "initial must"),
        ("cache.delete_prefix(NULL)", "prefix must"),
        ("cache.keys(NULL)", "prefix must"),
        ("cache.get_many(NULL)", "keys must"),
        ("cache.set_many(ARRAY['k'], NULL::text[])", "vals must"),
        ("cache.set_many(ARRAY['k', NULL], ARRAY['x', 'y'])", "cache key"),
        ("cache.set_many(ARRAY['k', 'l'], ARRAY['x', NULL])", "cache value"),
        ("cache.delete_many(ARRAY[NULL::text])", "cache key"),
        ("cache.drop_cache(NULL)", "name must"),
    ] {
        assert!(refused(&mut s, &format!("SELECT {call}"), "22004").starts_with(what), "{call}");
    }
    assert_eq!(s.column("SELECT * FROM cache.keys()"), ["still"]);
}

#[test]
fn arrays_fit_together_or_store_nothing() {
    let db = database();
    let mut s = db.session();
    for (call, sqlstate) in [
        ("cache.set_many(ARRAY['a', 'b'], ARRAY['x'])", "22023"),
        ("cache.set_many(ARRAY['a'], ARRAY['x', 'y'])", "22023"),
        ("cache.set_many(ARRAY[['a', 'b'], ['c', 'd']], ARRAY['x', 'y', 'x', 'y'])", "22023"),
        ("cache.set_many(ARRAY['a', 'b'], ARRAY[['x', 'y']])", "22023"),
        ("cache.get_many(ARRAY[['a', 'b'], ['c', 'd']])", "22023"),
        ("cache.delete_many(ARRAY[['a']])", "22023"),
        ("cache.set_many(ARRAY['a', 'b', ''], ARRAY['x', 'y', 'z'])", "22023"),
        ("cache.set_many(ARRAY['a', 'b'], ARRAY['x', repeat('y', 300 * 1024 * 1024)])", "54000"),
        ("cache.set_many(ARRAY['a', 'b'], ARRAY['x', 'y'], ttl => '0')", "22023"),
    ] {
        refused(&mut s, &format!("SELECT {call}"), sqlstate);
        assert_eq!(s.column("SELECT * FROM cache.keys()"), ["still"], "{call}");
    }
    assert_eq!(s.number("SELECT cache.set_many('{}', '{}'::text[])"), 0);
    assert_eq!(s.number("SELECT count(*) FROM cache.get_many('{}')"), 0);
    assert_eq!(s.number("SELECT cache.delete_many('{}')"), 0);
    assert_eq!(s.number("SELECT cache.set_many(ARRAY['r', 's', 'r', 'r'], ARRAY['1', '2', '3', '4'])"), 2);
    assert_eq!(s.value("SELECT cache.get('r') || cache.get('s')"), "42");
}

#[test]
fn a_ttl_is_positive_and_ends_before_the_end_of_time() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'old')");
    for ttl in ["0", "-1 second", "1 day -24 hours", "-1 month", "-170000 years"] {
        for call in [
            format!("cache.set('k', 'new', ttl => '{ttl}')"),
            format!("cache.touch('k', '{ttl}')"),
            format!("cache.incr('n', ttl => '{ttl}')"),
            format!("cache.add('n', 'x', ttl => '{ttl}')"),
        ] {
            let error = refused(&mut s, &format!("SELECT {call}"), "22023");
            assert!(error.starts_with("ttl must be positive") && error.contains("cache.never()"), "{error}");
        }
    }
    for ttl in ["300000 years", "2562047788 hours 9 years", "178000000 years"] {
        refused(&mut s, &format!("SELECT cache.set('k', 'new', ttl => '{ttl}')"), "22008");
        refused(&mut s, &format!("SELECT cache.touch('k', '{ttl}')"), "22008");
    }
    assert_eq!(s.value("SELECT cache.get('k') || cache.expires_at('k')"), "oldinfinity");
    s.run("SELECT cache.set('k', 'x', ttl => '200000 years'), cache.set('k', 'x', ttl => '1 microsecond')");
}

#[test]
fn a_cache_that_there_is_not_is_an_error_that_lists_those_that_there_are() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('pages')");
    for name in ["none", "", "Pages", "x\"; DROP TABLE cache.caches; --", "entries", "ä"] {
        for call in [
            "cache.get('k', cache => $$N$$)",
            "cache.set('k', 'x', cache => $$N$$)",
            "cache.incr('k', cache => $$N$$)",
            "cache.clear(cache => $$N$$)",
            "cache.keys(cache => $$N$$)",
            "cache.sweep($$N$$)",
            "cache.stats_reset($$N$$)",
        ] {
            let error = refused(&mut s, &format!("SELECT {}", call.replace('N', name)), "42704");
            assert!(error.contains("The caches are: default, pages."), "{call}: {error}");
        }
    }
}

#[test]
fn a_value_larger_than_the_budget_is_refused_and_the_old_entry_is_gone() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('small', max_size => '2 kB')");
    let large = "SELECT cache.set('k', repeat('x', 2048), cache => 'small')";
    for (before, after) in [("", ""), ("BEGIN", "ROLLBACK")] {
        s.run("SELECT cache.set('k', repeat('x', 1500), cache => 'small')");
        s.run(before);
        s.fails(large, "54000");
        s.run(after);
        // In the portable edition the error undoes all that the statement has done.
        let is_there = Some(if edition().is_portable() { "t" } else { "f" }.to_owned());
        assert_eq!(s.ask("SELECT cache.exists('k', cache => 'small')"), is_there, "{before}");
        assert_eq!(db.session().ask("SELECT cache.exists('k', cache => 'small')"), is_there, "{before}");
        s.run("SELECT cache.delete('k', cache => 'small')");
        assert_eq!(s.value("SELECT cache.add('k', 'x', cache => 'small')"), "t");
    }
    refused(&mut s, "SELECT cache.set_many(ARRAY['a', 'k'], ARRAY['x', repeat('x', 2048)], cache => 'small')", "54000");
    refused(&mut s, "SELECT cache.compare_and_set('k', 'x', repeat('x', 2048), cache => 'small')", "54000");
    refused(&mut s, "SELECT cache.set('j', to_jsonb(repeat('x', 2048)), cache => 'small')", "54000");
    let left = if edition().is_portable() { "k" } else { "" };
    assert_eq!(s.column("SELECT * FROM cache.keys(cache => 'small')").concat(), left);
}

#[test]
fn values_up_to_a_row_are_stored_and_larger_ones_refused() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.create_cache('unlimited')");
    s.run("SELECT cache.set('100 MB', repeat('0123456789', 10 * 1024 * 1024), cache => 'unlimited')");
    assert_eq!(
        s.value("SELECT cache.get('100 MB', cache => 'unlimited') = repeat('0123456789', 10 * 1024 * 1024)"),
        "t"
    );
    s.run("SELECT cache.set('100 MB', 'small again', cache => 'unlimited')");
    let error = refused(&mut s, "SELECT cache.set('k', repeat('x', 1073741000), cache => 'unlimited')", "54000");
    assert!(error.contains("1073741000 bytes"), "{error}");
    // PostgreSQL itself has no values over 1 GB.
    refused(&mut s, "SELECT cache.set('k', repeat('x', 1073741820) || 'xxxxx', cache => 'unlimited')", "54000");
    assert_eq!(s.ask("SELECT cache.get('k', cache => 'unlimited')"), None);
}

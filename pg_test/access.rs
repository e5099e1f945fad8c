//! Who may do what: PostgreSQL's privileges on the cache's table, on every path.

use super::support::{PORTABLE_OWNER, database, edition};

/// Each family of functions with the privileges that it needs, and those that the portable edition needs.
const CALLS: [(&str, &str, &str); 17] = [
    ("SELECT cache.get('k')", "SELECT", "SELECT"),
    ("SELECT count(*) FROM cache.get_many(ARRAY['k'])", "SELECT", "SELECT"),
    ("SELECT cache.exists('k')", "SELECT", "SELECT"),
    ("SELECT cache.expires_at('k')", "SELECT", "SELECT"),
    ("SELECT cache.ttl('k')", "SELECT", "SELECT"),
    ("SELECT count(*) FROM cache.keys()", "SELECT", "SELECT"),
    ("SELECT cache.set('k', 'x')", "INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    ("SELECT cache.set_many(ARRAY['k'], ARRAY['x'])", "INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    ("SELECT cache.add('k', 'x')", "INSERT", "SELECT, INSERT, UPDATE"),
    ("SELECT cache.replace('k', 'x')", "UPDATE", "SELECT, INSERT, UPDATE"),
    ("SELECT cache.touch('k')", "UPDATE", "SELECT, UPDATE"),
    ("SELECT cache.incr('n')", "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    ("SELECT cache.compare_and_set('k', 'x', 'y')", "SELECT, UPDATE", "SELECT, UPDATE"),
    ("SELECT cache.take('k')", "SELECT, DELETE", "SELECT, DELETE"),
    ("SELECT cache.delete('k')", "DELETE", "SELECT, DELETE"),
    ("SELECT cache.delete_prefix('k')", "DELETE", "SELECT, UPDATE, DELETE"),
    ("SELECT cache.clear()", "DELETE", "SELECT, UPDATE, DELETE"),
];

#[test]
fn each_function_needs_its_privileges_and_no_more() {
    let db = database();
    let mut owner = db.session();
    let role = format!("role_{}", db.name);
    owner.run(&format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA cache TO {role}"));
    let mut s = db.session_as(&role);
    for (call, native, portable) in CALLS {
        let privileges = if edition().is_portable() { portable } else { native };
        owner.run("SELECT cache.set('k', 'x'), cache.set('n', 1::bigint)");
        // The portable edition's get and set leave the check, and the message, to PostgreSQL.
        let is_plain = edition().is_portable() && ["cache.get(", "cache.set("].iter().any(|name| call.contains(name));
        let table = if is_plain { "entries" } else { "cache.entries" };
        let error = s.fails(call, "42501");
        assert_eq!(error.message(), format!("permission denied for table {table}"), "{call}");
        // Without any one of them it is refused, with all of them it works.
        for missing in privileges.split(", ") {
            owner.run(&format!("GRANT {privileges} ON cache.entries TO {role}"));
            owner.run(&format!("REVOKE {missing} ON cache.entries FROM {role}"));
            let error = s.fails(call, "42501");
            assert!(is_plain || error.hint().is_some_and(|hint| hint.contains(missing)), "{call}: {error:?}");
        }
        owner.run(&format!("GRANT {privileges} ON cache.entries TO {role}"));
        s.run(call);
        owner.run(&format!("REVOKE ALL ON cache.entries FROM {role}"));
    }
    owner.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn select_alone_allows_get_and_not_set() {
    let db = database();
    let role = format!("reader_{}", db.name);
    let mut owner = db.session();
    owner.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA cache TO {role}; GRANT SELECT ON cache.entries TO {role}"
    ));
    owner.run("SELECT cache.set('k', 'x')");
    let mut s = db.session_as(&role);
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    s.fails("SELECT cache.set('k', 'y')", "42501");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    owner.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn administration_needs_privileges_on_the_policies() {
    let db = database();
    let role = format!("admin_{}", db.name);
    let mut owner = db.session();
    owner.run(&format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA cache TO {role}"));
    let mut s = db.session_as(&role);
    s.fails("SELECT cache.create_cache('pages')", "42501");
    s.fails("SELECT cache.alter_cache('default', max_size => '1 GB')", "42501");
    s.fails("SELECT cache.drop_cache('default')", "42501");
    s.fails("SELECT cache.sweep()", "42501");
    s.fails("SELECT cache.stats_reset()", "42501");
    owner.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON cache.caches TO {role}"));
    s.run("SELECT cache.create_cache('pages')");
    // Whoever makes a cache may use it; the table belongs to the extension's owner.
    s.run(
        "SELECT cache.set('k', 'x', cache => 'pages'), cache.get('k', cache => 'pages'), cache.clear(cache => 'pages')",
    );
    let owner_of_tables = if edition().is_portable() { PORTABLE_OWNER } else { "postgres" };
    assert_eq!(owner.value("SELECT tableowner FROM pg_tables WHERE tablename = 'entries_pages'"), owner_of_tables);
    s.fails("SELECT cache.get('k')", "42501");
    s.run("SELECT cache.alter_cache('pages', default_ttl => '1 hour')");
    s.run("SELECT cache.drop_cache('pages')");
    owner.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_hostile_search_path_leads_nowhere() {
    let db = database();
    let mut s = db.session();
    s.run("
        CREATE SCHEMA evil;
        CREATE TABLE evil.caches (name text, default_ttl interval, max_size bigint, max_entries bigint, durable boolean);
        CREATE TABLE evil.entries (expires_at timestamptz, key text PRIMARY KEY, value_text text);
        CREATE FUNCTION evil.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
        CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.trap);
        CREATE FUNCTION evil.coalesce_trap(interval, interval) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
        CREATE OPERATOR evil.= (LEFTARG = interval, RIGHTARG = interval, FUNCTION = evil.coalesce_trap);
        CREATE FUNCTION evil.num_nonnulls(VARIADIC \"any\") RETURNS int LANGUAGE internal AS 'pg_num_nonnulls';
        CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
        CREATE FUNCTION evil.pg_size_bytes(text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
        SET search_path = evil, pg_catalog;
    ");
    s.run("SELECT cache.create_cache('pages', max_size => '1 MB', default_ttl => '1 hour')");
    s.run("SELECT cache.alter_cache('pages', max_size => '2 MB')");
    s.run("INSERT INTO cache.caches (name) VALUES ('by_hand')");
    s.run("SELECT cache.set('k', 'x'), cache.set('k', 'x', cache => 'pages'), cache.incr('n')");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    assert_eq!(s.value("SELECT cache.compare_and_set('k', 'x', 'y')"), "t");
    assert_eq!(s.value("SELECT cache.compare_and_set('j', 'x', 'y')"), "f");
    s.run("SELECT * FROM cache.sweep(); SELECT * FROM cache.stats; SELECT * FROM cache.sweeper; SELECT * FROM cache.keys('k')");
    s.run("SELECT cache.drop_cache('pages'); DELETE FROM cache.caches WHERE name::bytea OPERATOR(pg_catalog.=) 'by_hand'::bytea");
    assert_eq!(s.number("SELECT count(*) FROM evil.entries"), 0);
    // The CHECK constraints of a table made under that path are PostgreSQL's own, too.
    s.run("INSERT INTO cache.entries (key, value_text, expires_at) VALUES ('by hand', 'x', 'infinity')");
}

//! Watched tables: whatever changes them makes what depends on them a miss, at the commit and not before.

use super::support::{Server, Session, database, edition, note_time, wait_until};

/// Stores an entry with each tag, runs `change`, and returns the tags whose entries are still there.
fn left_after(s: &mut Session, tags: &[&str], change: &str) -> Vec<String> {
    note_time(s);
    for tag in tags {
        s.run(&format!("SELECT cache.set('{tag}', 'x', tags => ARRAY['{tag}'])"));
    }
    s.run(change);
    tags.iter()
        .filter(|tag| s.ask(&format!("SELECT cache.get('{tag}')")).is_some())
        .map(|tag| tag.to_string())
        .collect()
}

#[test]
fn every_statement_that_changes_a_table_invalidates_its_tag() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE orders (id int PRIMARY KEY, customer int); CREATE TABLE other (id int)");
    s.run("CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE)");
    s.run("SELECT cache.watch('orders'), cache.watch('lines', 'the lines')");
    for change in [
        "INSERT INTO orders VALUES (1, 1), (2, 1)",
        "UPDATE orders SET customer = 2 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
        "COPY orders FROM PROGRAM 'echo 7,7' (FORMAT csv)",
        "INSERT INTO orders VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET customer = 5",
        "MERGE INTO orders USING (VALUES (8)) AS v (id) ON orders.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, 0)",
        "SET session_replication_role = replica; INSERT INTO orders VALUES (9, 9); RESET session_replication_role",
        "WITH w AS (INSERT INTO orders VALUES (10, 1)) SELECT 1",
        "DO $$BEGIN EXECUTE 'UPDATE orders SET customer = 3'; END$$",
        "TRUNCATE orders CASCADE",
    ] {
        let left = left_after(&mut s, &["public.orders", "public.other"], change);
        assert_eq!(left, ["public.other"], "{change}");
    }
    // The portable edition has no event triggers: it notices no DDL.
    let left_by_ddl = if edition().is_portable() { &["public.orders"][..] } else { &[] };
    let rewrite = "ALTER TABLE orders ALTER COLUMN customer TYPE bigint";
    assert_eq!(left_after(&mut s, &["public.orders"], rewrite), left_by_ddl);
    s.run("INSERT INTO orders VALUES (1, 1); INSERT INTO lines VALUES (1)");
    assert_eq!(left_after(&mut s, &["the lines"], "DELETE FROM orders"), [""; 0], "a cascade");
    assert_eq!(left_after(&mut s, &["public.orders"], "SELECT * FROM orders; ANALYZE orders"), ["public.orders"]);
    assert_eq!(left_after(&mut s, &["public.orders"], "DROP TABLE lines, orders"), left_by_ddl);
}

#[test]
fn others_miss_at_the_commit_and_the_transaction_itself_at_once() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run("CREATE TABLE t (i int); SELECT cache.watch('t')");
    note_time(&mut s);
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['public.t'])");
    s.run("BEGIN; INSERT INTO t VALUES (1)");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
    s.run("ROLLBACK");
    assert_eq!(s.value("SELECT cache.get('k')"), "x");
    s.run("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (1); ROLLBACK TO a; COMMIT");
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
    s.run("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (1); RELEASE a");
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
    s.run("COMMIT");
    assert_eq!(other.ask("SELECT cache.get('k')"), None);
    s.fails("DO $$BEGIN INSERT INTO t VALUES (1); RAISE 'no'; END$$", "P0001");
    note_time(&mut s);
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['public.t'])");
    s.attempt("DO $$BEGIN INSERT INTO t VALUES (1); RAISE 'no'; END$$").ok();
    assert_eq!(other.value("SELECT cache.get('k')"), "x");
}

#[test]
fn a_tag_with_a_column_is_of_the_rows_that_change() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE orders (id int, \"the customer\" text, note text); SELECT cache.watch('orders', 'o:{id}/{the customer}')");
    s.run("INSERT INTO orders VALUES (1, 'Ada', ''), (2, 'Bob', ''), (3, NULL, '')");
    let tags = ["o:1/Ada", "o:2/Bob", "o:1/Eve", "o:3/", "public.orders"];
    for (change, gone) in [
        ("UPDATE orders SET note = 'x' WHERE id = 1", &["o:1/Ada"][..]),
        ("UPDATE orders SET \"the customer\" = 'Eve' WHERE id = 1", &["o:1/Ada", "o:1/Eve"]),
        ("DELETE FROM orders WHERE id = 2", &["o:2/Bob"]),
        ("INSERT INTO orders VALUES (2, 'Bob', '')", &["o:2/Bob"]),
        ("UPDATE orders SET note = 'x' WHERE id = 3", &[]),
        ("UPDATE orders SET note = 'x' WHERE id = 99", &[]),
        ("TRUNCATE orders", &tags),
    ] {
        let left = left_after(&mut s, &tags, change);
        let expected: Vec<&str> = tags.into_iter().filter(|tag| !gone.contains(tag)).collect();
        assert_eq!(left, expected, "{change}");
    }
    s.run("INSERT INTO orders VALUES (1, 'Ada', ''); ALTER TABLE orders ALTER COLUMN id TYPE text USING 'n' || id");
    assert_eq!(left_after(&mut s, &["o:n1/Ada", "o:1/Ada"], "UPDATE orders SET note = 'y'"), ["o:1/Ada"]);
    s.run("ALTER TABLE orders RENAME COLUMN id TO number");
    s.fails("UPDATE orders SET note = 'z'", "42703");
    s.run("SELECT cache.unwatch('orders'); UPDATE orders SET note = 'z'");
    let many = "INSERT INTO orders SELECT i, 'c', '' FROM generate_series(1, 1000) AS i";
    s.run("SELECT cache.watch('orders', 'n:{number}')");
    assert_eq!(left_after(&mut s, &["n:1", "n:500", "n:1000", "n:1001"], many), ["n:1001"]);
}

#[test]
fn partitions_and_heirs_are_watched_with_their_parent_now_and_later() {
    let db = database();
    let mut s = db.session();
    s.run(
        "CREATE TABLE p (id int, part int) PARTITION BY LIST (part); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
    );
    s.run("CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2, 3) PARTITION BY LIST (part)");
    s.run("CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN (2); SELECT cache.watch('p'), cache.watch('p', 'row:{id}')");
    s.run("CREATE TABLE p2b PARTITION OF p2 FOR VALUES IN (3); CREATE TABLE p4 (id int, part int)");
    s.run("ALTER TABLE p ATTACH PARTITION p4 FOR VALUES IN (4)");
    s.run("CREATE TABLE p5 (id int, part int) PARTITION BY LIST (part); CREATE TABLE p5a PARTITION OF p5 FOR VALUES IN (5)");
    s.run("ALTER TABLE p ATTACH PARTITION p5 FOR VALUES IN (5); CREATE SCHEMA s CREATE TABLE p6 PARTITION OF public.p FOR VALUES IN (6)");
    let tags = ["public.p", "row:7", "row:8"];
    // What the portable edition does not notice: DDL, and the TRUNCATE of a partition that came after watch().
    let unnoticed = if edition().is_portable() { &tags[..] } else { &[] };
    for (change, left) in [
        ("INSERT INTO p VALUES (7, 2)", &["row:8"][..]),
        ("INSERT INTO p1 VALUES (7, 1)", &["row:8"]),
        ("INSERT INTO p2b VALUES (7, 3)", &["row:8"]),
        ("UPDATE p SET part = 4 WHERE part = 3", &["row:8"]),
        ("INSERT INTO p4 VALUES (8, 4)", &["row:7"]),
        ("INSERT INTO p5a VALUES (8, 5)", &["row:7"]),
        ("INSERT INTO s.p6 VALUES (8, 6)", &["row:7"]),
        ("TRUNCATE p2a", &[]),
        ("TRUNCATE p4", unnoticed),
        ("TRUNCATE p", &[]),
        ("ALTER TABLE p DETACH PARTITION p4", unnoticed),
        ("DROP TABLE p1", unnoticed),
        ("DROP TABLE p5 CASCADE", unnoticed),
    ] {
        assert_eq!(left_after(&mut s, &tags, change), left, "{change}");
    }
    s.run("CREATE TABLE mother (id int); CREATE TABLE child () INHERITS (mother); SELECT cache.watch('mother'), cache.watch('mother', 'm:{id}')");
    // Tables that come to inherit after watch() need another one in the portable edition.
    let watch_again =
        if edition().is_portable() { "; SELECT cache.watch('mother'), cache.watch('mother', 'm:{id}')" } else { "" };
    s.run(&format!("CREATE TABLE grandchild () INHERITS (child); CREATE TABLE adopted (id int); ALTER TABLE adopted INHERIT mother{watch_again}"));
    if edition().is_portable() {
        s.run("CREATE TABLE late () INHERITS (mother)");
        let all = ["public.mother", "m:1"];
        assert_eq!(left_after(&mut s, &all, "INSERT INTO late VALUES (1)"), all);
        s.run("DROP TABLE late");
    }
    for table in ["mother", "child", "grandchild", "adopted"] {
        let left = left_after(&mut s, &["public.mother", "m:1", "m:2"], &format!("INSERT INTO {table} VALUES (1)"));
        assert_eq!(left, ["m:2"], "{table}");
    }
    assert_eq!(
        s.column(
            "SELECT concat_ws(' ', relation, tag, level) FROM cache.watched WHERE relation <> 'p4'::regclass ORDER BY 1"
        ),
        ["mother m:{id} row", "mother public.mother statement", "p public.p statement", "p row:{id} row"]
    );
    s.run("SELECT cache.unwatch('p'), cache.unwatch('mother'), cache.unwatch('p4')");
    assert_eq!(s.number("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pg_stash%'"), 0);
}

#[test]
fn a_partition_or_an_heir_that_is_watched_notices_what_comes_through_its_parent() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)");
    s.run("CREATE TABLE p2 (id int); CREATE TABLE mother (id int); CREATE TABLE child () INHERITS (mother)");
    s.run("SELECT cache.watch('p1'), cache.watch('p2'), cache.watch('child')");
    // Below a table that is not watched, also what is below that.
    s.run("CREATE TABLE top (n int); CREATE TABLE middle () INHERITS (top); CREATE TABLE low () INHERITS (middle)");
    s.run("INSERT INTO low VALUES (1); SELECT cache.watch('middle')");
    assert_eq!(left_after(&mut s, &["public.middle"], "UPDATE top SET n = 2"), [""; 0]);
    s.run("ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)");
    // The portable edition notices no DDL.
    if edition().is_portable() {
        s.run("SELECT cache.watch('p2')");
    }
    let tags = ["public.p1", "public.p2", "public.child"];
    for (change, left) in [
        ("INSERT INTO p VALUES (1)", &["public.p2", "public.child"][..]),
        ("INSERT INTO p VALUES (2)", &["public.p1", "public.child"]),
        ("INSERT INTO child VALUES (1)", &["public.p1", "public.p2"]),
        ("UPDATE mother SET id = 2", &["public.p1", "public.p2"]),
        ("TRUNCATE mother", &["public.p1", "public.p2"]),
        ("DELETE FROM p WHERE id = 2", &["public.p1", "public.child"]),
    ] {
        assert_eq!(left_after(&mut s, &tags, change), left, "{change}");
    }
    assert_eq!(s.number("SELECT count(*) FROM cache.watched"), 4);
}

#[test]
fn replication_fires_the_triggers_too() {
    let settings = ["wal_level = logical", "max_worker_processes = 32"];
    let (publisher, subscriber) = (Server::start("publisher", &settings), Server::start("subscriber", &settings));
    subscriber.make_cache("stash");
    let (mut p, mut s) = (publisher.session("postgres"), subscriber.session("stash"));
    p.run("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1); CREATE PUBLICATION p FOR TABLE t");
    s.run("CREATE TABLE t (id int PRIMARY KEY, n int); SELECT cache.watch('t')");
    s.run(&format!("CREATE SUBSCRIPTION s CONNECTION '{}' PUBLICATION p", publisher.conninfo("postgres")));
    let remembered = "SELECT cache.remember('SELECT sum(n) AS n FROM t') -> 0 ->> 'n'";
    wait_until("the first rows are there", || s.ask(remembered).as_deref() == Some("1"));
    for (change, sum) in
        [("UPDATE t SET n = 5", "5"), ("INSERT INTO t VALUES (2, 2)", "7"), ("DELETE FROM t WHERE id = 1", "2")]
    {
        p.run(change);
        wait_until("the change has come", || s.value("SELECT sum(n) FROM t") == sum);
        assert_eq!(s.value(remembered), sum, "{change}");
    }
    p.run("TRUNCATE t; INSERT INTO t VALUES (3, 3)");
    wait_until("the change has come", || s.ask("SELECT sum(n) FROM t").as_deref() == Some("3"));
    assert_eq!(s.value(remembered), "3");
    s.run("DROP SUBSCRIPTION s");
}

#[test]
fn ddl_that_changes_what_a_query_returns_is_a_change() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (id int, n int); INSERT INTO t VALUES (1, 10); SELECT cache.watch('t')");
    s.run("CREATE VIEW v AS SELECT n FROM t; CREATE FUNCTION f() RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT n FROM t'");
    s.run("CREATE SCHEMA first; CREATE TYPE mood AS ENUM ('sad')");
    // The portable edition notices no DDL.
    let left = if edition().is_portable() { &["public.t"][..] } else { &[] };
    for ddl in [
        "ALTER TABLE t RENAME COLUMN id TO number",
        "CREATE OR REPLACE VIEW v AS SELECT n + 1 AS n FROM t",
        "CREATE OR REPLACE FUNCTION f() RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT n + 1 FROM t'",
        "CREATE TABLE first.t (id int)",
        "CREATE POLICY none ON t USING (false)",
        "ALTER POLICY none ON t USING (true)",
        "DROP POLICY none ON t",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'glad'",
        "DROP VIEW v",
        "DROP FUNCTION f",
    ] {
        assert_eq!(left_after(&mut s, &["public.t"], ddl), left, "{ddl}");
    }
    for ddl in ["CREATE TEMP TABLE x (i int); DROP TABLE x", "CREATE INDEX ON t (n)", "COMMENT ON TABLE t IS 'x'"] {
        assert_eq!(left_after(&mut s, &["public.t"], ddl), ["public.t"], "{ddl}");
    }
}

#[test]
fn a_transaction_that_keeps_one_snapshot_cannot_watch() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (id int)");
    s.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    s.fails("SELECT cache.watch('t')", "25001");
    s.run("ROLLBACK");
    s.run("SELECT cache.watch('t')");
    s.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1");
    if !edition().is_portable() {
        s.fails("CREATE TABLE heir () INHERITS (t)", "25001");
    }
    s.run("ROLLBACK");
    s.run("BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TABLE other (id int); COMMIT");
}

#[test]
fn a_tag_has_the_text_of_a_cast_and_no_setting_has_a_say_in_it() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (paid bool, code char(4), net inet, name name, price numeric(6, 2), at timestamptz, f float8, d date)");
    s.run("SELECT cache.watch('t', '{paid}/{code}/{net}/{name}/{price}')");
    let row = "true, 'ab', inet '10.0.0.1', 'x'::name, 1.5::numeric(6, 2)";
    let tag = s.value(&format!("SELECT concat_ws('/', a::text, b::char(4)::text, c::text, d::text, e::text) FROM (VALUES ({row})) AS v (a, b, c, d, e)"));
    assert_eq!(tag, "true/ab/10.0.0.1/32/x/1.50");
    let change = format!("INSERT INTO t VALUES ({row})");
    assert_eq!(left_after(&mut s, &[&tag], &change), [""; 0]);
    for column in ["at", "f", "d"] {
        s.fails(&format!("SELECT cache.watch('t', 'x:{{{column}}}')"), "22023");
    }
    // Triggers of other people's disturb nothing.
    s.run("CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE v (id int REFERENCES u)");
    let function = if edition().is_portable() { "_note_table" } else { "note_change" };
    s.run(&format!("CREATE TRIGGER mine AFTER INSERT ON u EXECUTE FUNCTION cache.{function}()"));
    s.run("INSERT INTO u VALUES (1); SELECT * FROM cache.watched WHERE tag = 'none'; SELECT cache.watch('u')");
}

#[test]
fn watching_again_changes_nothing_and_unwatching_undoes_it() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE SCHEMA \"my shop\"; CREATE TABLE \"my shop\".\"the orders\" (id int)");
    let table = "'\"my shop\".\"the orders\"'";
    s.run(&format!("SELECT cache.watch({table}), cache.watch({table}), cache.watch({table}, 'it''s {{id}}')"));
    assert_eq!(s.column("SELECT tag FROM cache.watched ORDER BY tag"), ["it's {id}", "my shop.the orders"]);
    assert_eq!(s.number("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'A' AND tgname LIKE 'pg_stash%'"), 3);
    let again = format!("SELECT cache.watch({table})");
    assert_eq!(left_after(&mut s, &["any"], &again), ["any"]);
    assert_eq!(left_after(&mut s, &["any"], &format!("SELECT cache.unwatch({table})")), [""; 0]);
    assert_eq!(s.column("SELECT tag FROM cache.watched"), [""; 0]);
    assert_eq!(
        left_after(&mut s, &["my shop.the orders"], "INSERT INTO \"my shop\".\"the orders\" VALUES (1)").len(),
        1
    );
    s.run(&format!("SELECT cache.unwatch({table})"));
    s.run(&format!("SELECT cache.watch({table}); BEGIN; DROP TABLE \"my shop\".\"the orders\"; ROLLBACK"));
    s.run("DROP TABLE \"my shop\".\"the orders\"");
    assert_eq!(s.column("SELECT tag FROM cache.watched"), [""; 0]);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (id int); CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE SEQUENCE q");
    for relation in ["v", "m", "q"] {
        s.fails(&format!("SELECT cache.watch('{relation}')"), "42809");
    }
    s.fails("SELECT cache.watch('nothing')", "42P01");
    s.fails("SELECT cache.watch(4000000000)", "42P01");
    s.fails("SELECT cache.watch(NULL)", "22004");
    s.fails("SELECT cache.watch('t', '')", "22023");
    let error = s.fails("SELECT cache.watch('t', 'x:{none}')", "42703");
    assert_eq!(error.message(), "column \"none\" of relation \"public.t\" does not exist");
    s.fails("SELECT cache.unwatch(NULL)", "22004");
    s.fails("SELECT cache.watch('pg_class')", "42501");
    assert_eq!(s.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 't'::regclass"), 0);
}

#[test]
fn it_needs_the_rights_of_a_trigger_and_ddl_needs_none_of_the_cache() {
    let db = database();
    let mut s = db.session();
    let (owner, other) = (format!("{}_owner", db.name), format!("{}_other", db.name));
    s.run(&format!(
        "CREATE ROLE {owner} LOGIN; CREATE ROLE {other} LOGIN; GRANT CREATE ON SCHEMA public TO {owner}, {other}"
    ));
    s.run(&format!("GRANT USAGE ON SCHEMA cache TO {owner}, {other}"));
    let (mut o, mut n) = (db.session_as(&owner), db.session_as(&other));
    o.run("CREATE TABLE t (id int, part int) PARTITION BY LIST (part)");
    n.fails("SELECT cache.watch('t')", "42501");
    o.run("SELECT cache.watch('t')");
    n.fails("SELECT cache.unwatch('t')", "42501");
    // Whoever makes tables, or writes to watched ones, has nothing to do with the cache.
    s.run(&format!("REVOKE USAGE ON SCHEMA cache FROM {owner}, {other}; GRANT INSERT ON t TO {other}"));
    n.run("CREATE TABLE mine (id int); ALTER TABLE mine ADD COLUMN j int; DROP TABLE mine");
    o.run("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)");
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['public.t'])");
    n.run("INSERT INTO t VALUES (1, 1)");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    s.run("SELECT cache.set('k', 'x', tags => ARRAY['public.t'])");
    o.run("INSERT INTO t1 VALUES (1, 1)");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    s.run(&format!("DROP OWNED BY {owner}, {other}; DROP ROLE {owner}, {other}"));
}

#[test]
fn the_cache_can_be_removed_from_under_watched_tables() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (id int); SELECT cache.watch('t'), cache.watch('t', 'x:{id}')");
    s.run("CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)");
    s.run("SELECT cache.watch('p'), cache.watch('p', 'p:{id}')");
    db.server().remove_cache(&db.name);
    s.run("INSERT INTO t VALUES (1); INSERT INTO p VALUES (1); CREATE TABLE u (id int)");
    assert_eq!(s.number("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pg_stash%'"), 0);
    db.server().add_cache(&db.name);
    s.run("SELECT cache.watch('t')");
}

#[test]
fn a_dump_brings_back_what_is_watched() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (id int); SELECT cache.watch('t'), cache.watch('t', 'x:{id}')");
    let server = db.server();
    let path = std::env::temp_dir().join(format!("{}.sql", db.name));
    let path = path.to_str().expect("UTF-8");
    server.client_tool("pg_dump", &["-d", &db.name, "-f", path]);
    s.run(&format!("CREATE DATABASE {}_restored TEMPLATE template0", db.name));
    server.client_tool("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-d", &format!("{}_restored", db.name), "-f", path]);
    let mut restored = server.session(&format!("{}_restored", db.name));
    assert_eq!(restored.column("SELECT tag FROM cache.watched ORDER BY tag"), ["public.t", "x:{id}"]);
    // There the portable edition begins its history anew, when the transactions of that moment have ended.
    wait_until("entries with tags live", || {
        note_time(&mut restored);
        restored.run("SELECT cache.set('first', 'x', tags => ARRAY['first'])");
        restored.ask("SELECT cache.get('first')").is_some()
    });
    assert_eq!(left_after(&mut restored, &["public.t", "x:1", "x:2"], "INSERT INTO t VALUES (1)"), ["x:2"]);
    drop(restored);
    server.remove_cache(&format!("{}_restored", db.name));
    s.run(&format!("DROP DATABASE {}_restored WITH (FORCE)", db.name));
}

#[test]
fn many_subtransactions_invalidate_what_each_has_changed() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE t (id int); SELECT cache.watch('t', 'x:{id}')");
    let change = "DO $$BEGIN FOR i IN 1..3000 LOOP BEGIN
        INSERT INTO t VALUES (i);
        IF i % 3 = 0 THEN RAISE 'no'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END$$";
    assert_eq!(left_after(&mut s, &["x:1", "x:3", "x:2999", "x:3000"], change), ["x:3", "x:3000"]);
}

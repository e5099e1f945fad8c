//! Remembered queries: computed once for all, and again exactly when what they read has changed.

use std::thread;
use std::time::Duration;

use super::support::{Session, database, edition, wait_until};

/// How often the query of [`counting`] has run.
fn runs(s: &mut Session) -> i64 {
    s.number("SELECT last_value FROM runs") - 1
}

/// Tables, and a function that tells when it is run although it claims to be stable.
const SHOP: &str =
    "CREATE TABLE orders (id int PRIMARY KEY, amount numeric); CREATE TABLE items (order_id int, name text);
    INSERT INTO orders VALUES (1, 10), (2, 20.50); INSERT INTO items VALUES (1, 'tea');
    CREATE SEQUENCE runs; SELECT nextval('runs');
    CREATE FUNCTION count_run() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''runs''); RETURN 1; END';
    SELECT cache.watch('orders'), cache.watch('items')";

const TOTAL: &str = "cache.remember($$SELECT sum(amount) AS total, count_run() AS one FROM orders$$, key => 'total')";

#[test]
fn a_query_runs_again_exactly_when_what_it_reads_has_changed() {
    let db = database();
    let (mut s, mut other) = (db.session(), db.session());
    s.run(SHOP);
    let total = format!("SELECT {TOTAL} -> 0 ->> 'total'");
    assert_eq!(s.value(&total), "30.50");
    assert_eq!((other.value(&total), runs(&mut s)), ("30.50".into(), 1));
    s.run("BEGIN; UPDATE orders SET amount = 11 WHERE id = 1");
    assert_eq!((other.value(&total), runs(&mut s)), ("30.50".into(), 1));
    assert_eq!((s.value(&total), runs(&mut s)), ("31.50".into(), 2), "its own change it sees at once");
    s.run("ROLLBACK");
    assert_eq!((other.value(&total), s.value(&total), runs(&mut s)), ("30.50".into(), "30.50".into(), 2));
    s.run("BEGIN; UPDATE orders SET amount = 11 WHERE id = 1");
    assert_eq!(s.value(&total), "31.50");
    s.run("COMMIT");
    assert_eq!((other.value(&total), runs(&mut s)), ("31.50".into(), 4));
    s.run("INSERT INTO items VALUES (2, 'cup')");
    assert_eq!((other.value(&total), runs(&mut s)), ("31.50".into(), 4), "another table");
    assert_eq!(s.value("SELECT tags FROM cache.entries"), "{public.orders}");
}

#[test]
fn what_it_depends_on_follows_from_the_plan() {
    let db = database();
    let mut s = db.session();
    s.run(SHOP);
    s.run("CREATE VIEW big AS SELECT * FROM orders WHERE amount > 15");
    s.run("CREATE VIEW bigger AS SELECT * FROM big");
    s.run("CREATE FUNCTION inlined(lowest numeric) RETURNS SETOF orders LANGUAGE sql STABLE AS 'SELECT * FROM orders WHERE amount > lowest'");
    s.run("CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); SELECT cache.watch('p')");
    s.run("CREATE TABLE mother (id int); CREATE TABLE child () INHERITS (mother); SELECT cache.watch('mother')");
    for (query, change, other) in [
        ("SELECT count(*) AS n FROM bigger", "UPDATE orders SET amount = 30 WHERE id = 1", "DELETE FROM items"),
        (
            "WITH w AS (SELECT * FROM items) SELECT count(*) AS n FROM w",
            "INSERT INTO items VALUES (9, 'x')",
            "UPDATE orders SET id = id",
        ),
        ("SELECT (SELECT count(*) FROM items) AS n", "INSERT INTO items VALUES (9, 'x')", "UPDATE orders SET id = id"),
        (
            "SELECT 1 AS n WHERE EXISTS (SELECT FROM items JOIN orders ON order_id = id)",
            "DELETE FROM orders",
            "DELETE FROM p",
        ),
        (
            "SELECT count(*) AS n FROM inlined(5)",
            "INSERT INTO orders VALUES (7, 70)",
            "INSERT INTO items VALUES (9, 'x')",
        ),
        ("SELECT count(*) AS n FROM p WHERE id = 1", "INSERT INTO p1 VALUES (1)", "INSERT INTO items VALUES (9, 'x')"),
        ("SELECT count(*) AS n FROM mother", "INSERT INTO child VALUES (1)", "INSERT INTO items VALUES (9, 'x')"),
        ("SELECT count(*) AS n FROM items UNION ALL SELECT count(*) FROM orders", "DELETE FROM items", "DELETE FROM p"),
    ] {
        // A function that is inlined, and one's own, needs a key.
        let key = if query.contains("inlined") { "'inlined'" } else { "NULL" };
        let call = format!("SELECT cache.remember($${query}$$, key => {key})");
        let fresh = format!("SELECT jsonb_agg(to_jsonb(q)) FROM ({query}) AS q");
        assert_eq!(s.ask(&call), s.ask(&format!("SELECT coalesce(({fresh}), '[]')")), "{query}");
        // What was stored last. Of the others the sweeper removes what is invalid.
        let stored = "SELECT concat_ws(' ', key, ctid, xmin) FROM cache.entries ORDER BY age(xmin) LIMIT 1";
        let before = s.value(stored);
        s.run(other);
        s.ask(&call);
        assert_eq!(s.value(stored), before, "{other} does not concern: {query}");
        s.run(change);
        assert_eq!(s.ask(&call), s.ask(&format!("SELECT coalesce(({fresh}), '[]')")), "{change}: {query}");
        assert_ne!(s.value(stored), before, "{change}: {query}");
    }
}

#[test]
fn arguments_take_the_types_of_their_parameters() {
    let db = database();
    let mut s = db.session();
    s.run(SHOP);
    let mut ask = |sql: &str, args: &str| s.value(&format!("SELECT cache.remember($${sql}$$, {args})"));
    assert_eq!(ask("SELECT id FROM orders WHERE id = $1", "'[2]'"), "[{\"id\": 2}]");
    assert_eq!(ask("SELECT id FROM orders WHERE id = $1", "'[1]'"), "[{\"id\": 1}]");
    assert_eq!(ask("SELECT id FROM orders WHERE id = $1", "'[null]'"), "[]");
    assert_eq!(
        ask("SELECT id FROM orders WHERE id = ANY ($1) ORDER BY id", "'[[2, 1]]'"),
        "[{\"id\": 1}, {\"id\": 2}]"
    );
    assert_eq!(
        ask("SELECT name FROM items WHERE name = ANY ($1)", "'[[\"tea\", \"a,\\\"b\", null]]'"),
        "[{\"name\": \"tea\"}]"
    );
    assert_eq!(
        ask("SELECT $1::text AS t, $2::jsonb AS j", "'[\"it''s\", {\"a\": [1]}]'"),
        "[{\"j\": {\"a\": [1]}, \"t\": \"it's\"}]"
    );
    assert_eq!(
        ask("SELECT $1::numeric AS n", "'[12345678901234567890.123456789]'"),
        "[{\"n\": 12345678901234567890.123456789}]"
    );
    assert_eq!(
        ask("SELECT $1 AND true AS b, $2::date + 1 AS d", "'[true, \"2024-02-28\"]'"),
        "[{\"b\": true, \"d\": \"2024-02-29\"}]"
    );
    assert_eq!(ask("SELECT id FROM orders WHERE id < 0", "NULL"), "[]");
    assert_eq!(ask("SELECT $1::jsonb AS j", "'[\"abc\"]'"), "[{\"j\": \"abc\"}]");
    for (call, code) in [
        ("$$SELECT $1::int AS i$$", "22023"),
        ("$$SELECT $1::int AS i$$, '[]'", "22023"),
        ("$$SELECT $1::int AS i$$, '[1, 2]'", "22023"),
        ("$$SELECT $1::int AS i$$, '{\"a\": 1}'", "22023"),
        ("$$SELECT $1::int AS i$$, '[\"x\"]'", "22P02"),
        ("$$SELECT $1 AS i FROM nothing$$, '[1]'", "42P01"),
        ("$$SELECT$$ || ' 1; SELECT 2'", "22023"),
        ("''", "22023"),
        ("NULL", "22004"),
        ("'SELEKT'", "42601"),
        ("'INSERT INTO orders VALUES (5, 5)'", "22023"),
        ("'WITH w AS (INSERT INTO orders VALUES (5, 5) RETURNING id) SELECT * FROM w'", "0A000"),
        ("'SELECT * FROM orders FOR UPDATE'", "0A000"),
        // The portable edition knows what PostgreSQL can prepare, and no other command.
        ("'TRUNCATE orders'", if edition().is_portable() { "42601" } else { "22023" }),
        ("'SELECT 1/0 FROM orders'", "22012"),
        ("'SELECT id FROM orders', ttl => '0'", "22023"),
        ("'SELECT id FROM orders', key => ''", "22023"),
        ("'SELECT id FROM orders', cache => 'none'", "42704"),
        ("'SELECT id FROM orders', tags => ARRAY[NULL]", "22004"),
    ] {
        s.fails(&format!("SELECT cache.remember({call})"), code);
        assert_eq!(s.value("SELECT cache.remember('SELECT 1 AS i')"), "[{\"i\": 1}]");
    }
    assert_eq!(s.number("SELECT count(*) FROM orders"), 2);
}

#[test]
fn what_nobody_watches_needs_a_ttl_or_tags() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE \"My Table\" (id int); CREATE MATERIALIZED VIEW m AS SELECT 1 AS i");
    let error = s.fails("SELECT cache.remember('SELECT * FROM \"My Table\"')", "55000");
    assert_eq!(error.message(), "table public.\"My Table\" is not watched");
    assert_eq!(
        error.hint(),
        Some("Run SELECT cache.watch('public.\"My Table\"'), or say with ttl or tags how long the result is good.")
    );
    s.run("SELECT cache.watch('public.\"My Table\"', 'x:{id}')");
    s.fails("SELECT cache.remember('SELECT * FROM \"My Table\"')", "55000");
    s.fails("SELECT cache.remember('SELECT * FROM m')", "55000");
    s.fails("SELECT cache.remember('SELECT relname FROM pg_class')", "55000");
    assert_eq!(s.value("SELECT cache.remember('SELECT * FROM m', ttl => '1 min')"), "[{\"i\": 1}]");
    assert_eq!(s.value("SELECT cache.remember('SELECT * FROM \"My Table\"', tags => ARRAY['mine'])"), "[]");
    s.run("INSERT INTO \"My Table\" VALUES (1)");
    assert_eq!(s.value("SELECT cache.remember('SELECT * FROM \"My Table\"', tags => ARRAY['mine'])"), "[]");
    s.run("SELECT cache.invalidate('mine')");
    assert_eq!(s.value("SELECT cache.remember('SELECT * FROM \"My Table\"', tags => ARRAY['mine'])"), "[{\"id\": 1}]");
    // A trigger that somebody has switched off watches nothing.
    s.run("SELECT cache.watch('\"My Table\"'); SELECT cache.remember('SELECT count(*) FROM \"My Table\"')");
    s.run("ALTER TABLE \"My Table\" DISABLE TRIGGER ALL");
    s.fails("SELECT cache.remember('SELECT count(*) FROM \"My Table\"')", "55000");
}

#[test]
fn functions_whose_result_no_table_decides_are_refused_by_name() {
    let db = database();
    let mut s = db.session();
    s.run(SHOP);
    s.run("CREATE VIEW dice AS SELECT id, random() AS r FROM orders; CREATE SEQUENCE q");
    s.run("CREATE FUNCTION tenant() RETURNS text STABLE LANGUAGE plpgsql AS $$BEGIN RETURN current_setting('app.tenant', true); END$$");
    for (query, name) in [
        ("SELECT random() AS r", "random"),
        ("SELECT id FROM orders ORDER BY clock_timestamp()", "clock_timestamp"),
        ("SELECT * FROM dice", "random"),
        ("SELECT nextval('q')", "nextval"),
        ("SELECT (SELECT max(x) FROM generate_series(1, (random() * 3)::int) AS x)", "random"),
        ("SELECT cache.get('k')", "get"),
    ] {
        let error = s.fails(&format!("SELECT cache.remember($${query}$$)"), "22023");
        assert_eq!(error.message(), format!("cannot remember a query that calls volatile function {name}"));
    }
    // The portable edition knows a query by its plan, and of an inlined function what is in it.
    s.run("CREATE FUNCTION seven() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 7'");
    s.run("CREATE FUNCTION chance() RETURNS float VOLATILE LANGUAGE sql AS 'SELECT random()'");
    s.fails("SELECT cache.remember('SELECT chance() AS c')", "22023");
    if edition().is_portable() {
        assert_eq!(s.value("SELECT cache.remember('SELECT seven() AS n')"), "[{\"n\": 7}]");
    } else {
        s.fails("SELECT cache.remember('SELECT seven() AS n')", "22023");
    }
    let error = s.fails("SELECT cache.remember($$SELECT current_setting('app.tenant', true) AS t$$)", "22023");
    assert!(error.message().contains("current_setting, whose result may depend on the session"));
    s.run("SELECT cache.remember($$SELECT current_setting('app.tenant', true) AS t$$, key => 'of this tenant')");
    s.fails("SELECT cache.remember($$SELECT id FROM orders WHERE id::text = tenant()$$)", "22023");
    s.run("SELECT cache.remember($$SELECT id FROM orders WHERE id::text = tenant()$$, key => 'tenant')");
    s.run("CREATE TEMP TABLE mine AS SELECT 1 AS i");
    s.fails("SELECT cache.remember('SELECT i FROM mine', ttl => '1 min')", "22023");
    for clock in ["now()", "CURRENT_DATE", "LOCALTIMESTAMP(2)", "age(timestamp '2024-01-01')"] {
        let error = s.fails(&format!("SELECT cache.remember($$SELECT {clock} AS t$$)"), "22023");
        assert!(error.message().ends_with("whose result depends on the time"), "{clock}");
        s.run(&format!("SELECT cache.remember($$SELECT {clock} AS t$$, ttl => '1 min')"));
    }
    s.run("SELECT cache.remember('SELECT current_user AS u, session_user AS s, current_schema AS c')");
}

#[test]
fn each_user_and_each_meaning_has_its_own() {
    let db = database();
    let mut s = db.session();
    let role = format!("{}_tenant", db.name);
    s.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA cache TO {role}; GRANT ALL ON cache.entries TO {role}"
    ));
    s.run("CREATE TABLE notes (owner name, text text); INSERT INTO notes VALUES ('postgres', 'mine')");
    s.run(&format!("INSERT INTO notes VALUES ('{role}', 'theirs'); SELECT cache.watch('notes')"));
    s.run("ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON notes USING (owner = current_user)");
    s.run(&format!("GRANT SELECT ON notes TO {role}"));
    let mut tenant = db.session_as(&role);
    let notes = "SELECT cache.remember('SELECT text FROM notes ORDER BY text')";
    for _ in 0..2 {
        assert_eq!(s.value(notes), "[{\"text\": \"mine\"}, {\"text\": \"theirs\"}]");
        assert_eq!(tenant.value(notes), "[{\"text\": \"theirs\"}]");
    }
    let error = tenant.fails("SELECT cache.remember('SELECT text FROM notes', key => 'notes')", "22023");
    assert!(error.message().starts_with("key must be null"));
    assert_eq!(s.number("SELECT count(*) FROM cache.entries WHERE key = 'notes'"), 0);
    // A policy that asks the session, in its own words or through a function, is nothing that a key can tell.
    for condition in ["current_setting('app.tenant', true) = owner", "tenant() = owner"] {
        s.run("CREATE OR REPLACE FUNCTION tenant() RETURNS text STABLE LANGUAGE sql AS $$SELECT current_setting('app.tenant', true)$$");
        s.run(&format!("ALTER POLICY own ON notes USING ({condition})"));
        tenant.fails("SELECT cache.remember('SELECT text FROM notes ORDER BY 1')", "22023");
    }
    // Without the right to the table the query fails, and what others have remembered is not handed out.
    s.run(&format!("CREATE TABLE secret AS SELECT 1 AS i; SELECT cache.watch('secret'); GRANT EXECUTE ON FUNCTION cache.clock() TO {role}"));
    s.run("SELECT cache.remember('SELECT * FROM secret')");
    tenant.fails("SELECT cache.remember('SELECT * FROM secret')", "42501");
    // Names and settings that mean something else.
    s.run(
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t AS SELECT 'a' AS of; CREATE TABLE b.t AS SELECT 'b' AS of",
    );
    s.run("SELECT cache.watch('a.t'), cache.watch('b.t')");
    for schema in ["a", "b", "a"] {
        s.run(&format!("SET search_path = {schema}"));
        assert_eq!(s.value("SELECT cache.remember('SELECT * FROM t') -> 0 ->> 'of'"), schema);
    }
    s.run("RESET search_path; CREATE TABLE times AS SELECT timestamptz '2024-01-01 00:00Z' AS at; SELECT cache.watch('times')");
    s.run("CREATE TABLE words AS SELECT 'the cats' AS w; SELECT cache.watch('words')");
    for (language, shown) in [("simple", "'cats':2 'the':1"), ("english", "'cat':2")] {
        s.run(&format!("SET default_text_search_config = {language}"));
        assert_eq!(s.value("SELECT cache.remember('SELECT to_tsvector(w) AS v FROM words') -> 0 ->> 'v'"), shown);
    }
    for (zone, shown) in [("UTC", "2024-01-01T00:00:00+00:00"), ("Asia/Tokyo", "2024-01-01T09:00:00+09:00")] {
        s.run(&format!("SET TimeZone = '{zone}'"));
        assert_eq!(s.value("SELECT cache.remember('SELECT at FROM times') -> 0 ->> 'at'"), shown);
    }
    s.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn all_who_ask_at_once_wait_for_one_that_computes() {
    let db = database();
    let mut s = db.session();
    s.run(SHOP);
    s.run("CREATE FUNCTION slowly() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.7); RETURN count_run(); END'");
    let call = "SELECT cache.remember('SELECT count(*) AS n, slowly() AS s FROM orders', key => 'slow') -> 0 ->> 'n'";
    let answers: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..30).map(|_| scope.spawn(|| db.session().value(call))).collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    assert_eq!((answers, runs(&mut s)), (vec!["2".to_owned(); 30], 1));
    // One that fails lets the next one try.
    s.run(
        "CREATE FUNCTION fails_once() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3);
        IF count_run() = 1 AND (SELECT last_value FROM runs) = 3 THEN RAISE ''no''; END IF; RETURN 1; END'",
    );
    let failing = "SELECT cache.remember('SELECT fails_once() AS n FROM orders', key => 'failing')";
    let outcomes: Vec<bool> = thread::scope(|scope| {
        let clients: Vec<_> = (0..10).map(|_| scope.spawn(|| db.session().attempt(failing).is_ok())).collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    assert_eq!(
        (outcomes.iter().filter(|is_ok| !**is_ok).count(), runs(&mut s)),
        (1, 4),
        "the second one asks for both rows"
    );
    // An error that is caught, too.
    s.run(
        "DO $$BEGIN PERFORM cache.remember('SELECT 1/0 FROM orders'); EXCEPTION WHEN division_by_zero THEN NULL; END$$",
    );
    db.session().fails("SELECT cache.remember('SELECT 1/0 FROM orders')", "22012");
}

#[test]
fn a_session_that_might_wait_for_this_one_is_not_waited_for() {
    let db = database();
    let (mut first, mut second, mut s) = (db.session(), db.session(), db.session());
    first.run(SHOP);
    let call = "SELECT cache.remember('SELECT count(*) AS n FROM orders') -> 0 ->> 'n'";
    // The first has the lease until it commits, and then waits for a row that the second has locked.
    second.run("BEGIN; UPDATE items SET name = 'coffee'");
    first.run("BEGIN");
    assert_eq!(first.value(call), "2");
    thread::scope(|scope| {
        scope.spawn(|| first.run("UPDATE items SET name = 'milk'; COMMIT"));
        wait_until("it waits for the lock", || {
            s.number(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            ) == 1
        });
        assert_eq!(second.value(call), "2");
        second.run("COMMIT");
    });
    // One that computed and does not commit is not waited for for long.
    second.run("SELECT cache.invalidate('public.orders'); BEGIN");
    assert_eq!(second.value(call), "2");
    assert_eq!(s.value(call), "2");
    second.run("COMMIT");
    // The same transaction asks again, and for more.
    s.run("SELECT cache.invalidate('public.orders'); BEGIN; UPDATE items SET name = 'x'");
    assert_eq!((s.value(call), s.value(call)), ("2".into(), "2".into()));
    s.run("COMMIT");
    thread::sleep(Duration::from_millis(1));
}

#[test]
fn a_remembered_query_may_use_another() {
    let db = database();
    let mut s = db.session();
    s.run(SHOP);
    let inner = "cache.remember($i$SELECT count(*) AS n FROM items$i$)";
    let outer =
        format!("SELECT cache.remember($o$SELECT id, ({inner} -> 0 ->> 'n')::int AS n FROM orders ORDER BY id$o$)");
    let rows = |n: i64| format!("[{{\"n\": {n}, \"id\": 1}}, {{\"n\": {n}, \"id\": 2}}]");
    assert_eq!(s.value(&outer), rows(1));
    s.run("INSERT INTO items VALUES (2, 'cup')");
    assert_eq!(s.value(&outer), rows(2), "what the inner one depends on, the outer one does");
    // Also where the inner one had been remembered before.
    s.run("UPDATE orders SET amount = 5");
    assert_eq!(s.value(&outer), rows(2));
    s.run("INSERT INTO items VALUES (2, 'pot')");
    assert_eq!(s.value(&outer), rows(3));
    s.run("CREATE FUNCTION report() RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RETURN cache.remember('SELECT count(*) AS n FROM items'); END$$");
    assert_eq!(s.value("SELECT report() -> 0 ->> 'n'"), "3");
}

#[test]
fn results_that_cannot_be_stored_are_no_less_results() {
    let db = database();
    let mut s = db.session();
    s.run(SHOP);
    s.run("SELECT cache.create_cache('small', max_size => '1 kB')");
    let large = "SELECT length((cache.remember($$SELECT repeat('x', 5000) AS x FROM orders LIMIT 1$$, cache => 'small') -> 0 ->> 'x'))";
    assert_eq!(s.number(large), 5000);
    assert_eq!(s.number(large), 5000);
    s.run("SET pg_stash.enabled = off");
    assert_eq!(s.value("SELECT cache.remember('SELECT count(*) AS n FROM orders')"), "[{\"n\": 2}]");
    s.run("RESET pg_stash.enabled; SELECT cache.remember('SELECT count(*) AS n FROM orders', ttl => '1 ms'), pg_sleep(0.01)");
    s.run("BEGIN READ ONLY");
    assert_eq!(s.value("SELECT cache.remember('SELECT count(*) AS n FROM orders')"), "[{\"n\": 2}]");
    s.run("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    db.session().run("INSERT INTO orders VALUES (3, 3)");
    assert_eq!(
        s.value("SELECT cache.remember('SELECT count(*) AS n FROM orders')"),
        "[{\"n\": 2}]",
        "it sees its snapshot"
    );
    s.run("COMMIT");
    assert_eq!(
        s.value("SELECT cache.remember('SELECT count(*) AS n FROM orders')"),
        "[{\"n\": 3}]",
        "and leaves nothing older behind"
    );
    s.run("SELECT cache.remember('SELECT count(*) AS n FROM orders', key => 'n', ttl => '1 hour', fresh => '1 ms'), pg_sleep(0.01)");
    s.run("SELECT cache.set('wrong', 'text')");
    s.fails("SELECT cache.remember('SELECT 1 AS i', key => 'wrong')", "42804");
}

//! Each function of the entries, with each type of value and at its limits.

use super::support::{Session, database};

/// A literal of each type, with the text form of the value and the function that reads it as it was stored.
const VALUES: [(&str, &str, &str); 8] = [
    ("'text'::text", "text", "get"),
    ("''::text", "", "get"),
    ("'Größe €'::text", "Größe €", "get"),
    ("'{\"a\": [1, null]}'::jsonb", "{\"a\": [1, null]}", "get_json"),
    ("'null'::jsonb", "null", "get_json"),
    ("'\\x00ff'::bytea", "\\x00ff", "get_bytes"),
    ("''::bytea", "\\x", "get_bytes"),
    ("(-9223372036854775808)::bigint", "-9223372036854775808", "get"),
];

/// Replaces `get` by another reader of the same form.
fn reader(get: &str, family: &str) -> String {
    get.replacen("get", family, 1)
}

#[test]
fn what_is_set_is_got_in_every_type() {
    let db = database();
    let mut s = db.session();
    for (literal, text, get) in VALUES {
        s.run(&format!("SELECT cache.set('k', {literal})"));
        assert_eq!(s.value(&format!("SELECT cache.{get}('k')")), text, "{literal}");
        let many = format!("SELECT value FROM cache.{}(ARRAY['k', 'none'])", reader(get, "get_many"));
        assert_eq!(s.column(&many), [text], "{literal}");
        assert_eq!(s.value(&format!("SELECT cache.{}('k')", reader(get, "take"))), text, "{literal}");
        assert_eq!(s.ask(&format!("SELECT cache.{get}('k')")), None, "{literal}");
        assert_eq!(s.ask(&format!("SELECT cache.{}('k')", reader(get, "take"))), None, "{literal}");
    }
}

#[test]
fn add_needs_absence_and_replace_presence_in_every_type() {
    let db = database();
    let mut s = db.session();
    for (literal, text, get) in VALUES {
        assert_eq!(s.value(&format!("SELECT cache.replace('k', {literal})")), "f");
        assert_eq!(s.value(&format!("SELECT cache.add('k', {literal})")), "t");
        assert_eq!(s.value(&format!("SELECT cache.add('k', {literal})")), "f");
        s.run("SELECT cache.set('k', 'another type'), cache.set('k', 1::bigint)");
        assert_eq!(s.value(&format!("SELECT cache.replace('k', {literal})")), "t");
        assert_eq!(s.value(&format!("SELECT cache.{get}('k')")), text);
        assert_eq!(s.value("SELECT cache.delete('k')"), "t");
    }
}

#[test]
fn compare_and_set_compares_value_and_type() {
    let db = database();
    let mut s = db.session();
    for (literal, _, _) in VALUES {
        let swap = format!("SELECT cache.compare_and_set('k', {literal}, {literal})");
        assert_eq!(s.value(&swap), "f", "{literal}");
        s.run(&format!("SELECT cache.set('k', {literal})"));
        assert_eq!(s.value(&swap), "t", "{literal}");
        s.run("SELECT cache.set('k', 'something else')");
        assert_eq!(s.value(&swap), "f", "{literal}");
        s.run("SELECT cache.delete('k')");
    }
    s.run("SELECT cache.set('j', '{\"a\": 1, \"b\": 2}'::jsonb), cache.set('t', '5'), cache.set('n', 5::bigint)");
    assert_eq!(s.value("SELECT cache.compare_and_set('j', '{\"b\":2,\"a\":1.0}'::jsonb, '1'::jsonb)"), "t");
    assert_eq!(s.value("SELECT cache.compare_and_set('t', 5::bigint, 6::bigint)"), "f");
    assert_eq!(s.value("SELECT cache.compare_and_set('n', '5', '6')"), "f");
    assert_eq!(s.value("SELECT cache.compare_and_set('n', 5::bigint, 6::bigint, ttl => '1 hour')"), "t");
    assert_eq!(s.value("SELECT cache.get('n') || ' ' || (cache.ttl('n') > '59 minutes')"), "6 true");
}

#[test]
fn a_value_of_the_wrong_form_is_an_error_that_says_what_to_call() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('t', 'x'), cache.set('j', '1'::jsonb), cache.set('b', '\\x01'::bytea), cache.set('i', 1::bigint)");
    for (key, stored, hint, wrong) in [
        ("t", "text", "cache.get()", ["get_json", "get_bytes"].as_slice()),
        ("j", "jsonb", "cache.get_json()", &["get_bytes"]),
        ("b", "bytea", "cache.get_bytes()", &["get", "get_json"]),
        ("i", "bigint", "cache.get()", &["get_json", "get_bytes"]),
    ] {
        for get in wrong {
            let take = reader(get, "take");
            let many = reader(get, "get_many");
            for call in [
                format!("SELECT cache.{get}('{key}')"),
                format!("SELECT cache.{take}('{key}')"),
                format!("SELECT * FROM cache.{many}(ARRAY['{key}'])"),
            ] {
                let error = s.fails(&call, "42804");
                assert!(error.message().contains(&format!("\"{key}\" is of type {stored}")), "{call}: {error}");
                assert!(error.hint().is_some_and(|text| text.contains(hint)), "{call}: {error:?}");
            }
        }
    }
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 4);
    assert_eq!(s.value("SELECT cache.get('j') || cache.get('i')"), "11");
}

#[test]
fn large_values_come_back_as_they_were() {
    let db = database();
    let mut s = db.session();
    // One that compresses well, one that does not, in line and out of line.
    for make in [
        "repeat('x', 300000)",
        "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) AS i)",
        "repeat('y', 3000)",
    ] {
        s.run(&format!("CREATE TEMP TABLE value AS SELECT {make} AS v"));
        s.run("SELECT cache.set('t', v), cache.set('j', to_jsonb(v)), cache.set('b', v::bytea) FROM value");
        assert_eq!(s.value("SELECT cache.get('t') = v AND cache.get_json('j') = to_jsonb(v) AND cache.get_bytes('b') = v::bytea FROM value"), "t");
        // The value stays when only its expiry changes.
        assert_eq!(s.value("SELECT cache.touch('t', '1 hour')"), "t");
        assert_eq!(s.value("SELECT cache.get('t') = v FROM value"), "t");
        assert_eq!(s.value("SELECT cache.compare_and_set('t', v, v || 'z') FROM value"), "t");
        assert_eq!(s.value("SELECT cache.take('t') = v || 'z' FROM value"), "t");
        s.run("DROP TABLE value; VACUUM cache.entries".split_once(';').expect("two").0);
    }
}

fn state(s: &mut Session, key: &str) -> String {
    let call = format!(
        "SELECT concat_ws(' ', cache.exists('{key}'), cache.expires_at('{key}'), cache.ttl('{key}') > '0', cache.get('{key}'))"
    );
    s.value(&call)
}

#[test]
fn expiry_can_be_asked_for_and_changed() {
    let db = database();
    let mut s = db.session();
    s.run("SET timezone = 'UTC'; SELECT cache.set('k', 'x')");
    assert_eq!(state(&mut s, "k"), "t infinity x");
    assert_eq!(state(&mut s, "none"), "f");
    assert_eq!(s.value("SELECT cache.touch('k', '1 day')"), "t");
    assert_eq!(s.value("SELECT cache.expires_at('k') - now() BETWEEN '23:59' AND '24:01'"), "t");
    assert_eq!(s.value("SELECT cache.ttl('k') BETWEEN '23:59' AND '1 day'"), "t");
    assert_eq!(s.value("SELECT cache.persist('k')"), "t");
    assert_eq!(state(&mut s, "k"), "t infinity x");
    s.run("SELECT cache.touch('k', '1 hour'); SELECT cache.touch('k')");
    assert_eq!(state(&mut s, "k"), "t infinity x");
    assert_eq!(s.value("SELECT concat(cache.touch('none'), cache.persist('none'), cache.exists('none'))"), "fff");
    s.run("SELECT cache.set('k', 'x', ttl => '1 hour'), cache.set('k', 'y')");
    assert_eq!(state(&mut s, "k"), "t infinity y");
    s.run("SELECT cache.set('k', 'x', ttl => cache.never())");
    assert_eq!(state(&mut s, "k"), "t infinity x");
    // A month is a month of the calendar.
    s.run("SELECT cache.set('k', 'x', ttl => '1 month 2 days 3 hours')");
    assert_eq!(s.value("SELECT cache.expires_at('k') BETWEEN clock_timestamp() - interval '1 minute' + '1 month 2 days 3 hours' AND clock_timestamp() + '1 month 2 days 3 hours'"), "t");
}

#[test]
fn deletes_say_what_there_was() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set_many(ARRAY['a', 'b', 'c', 'p%1', 'p%2', 'pq3', 'p_4'], array_fill('x'::text, ARRAY[7]))");
    assert_eq!(s.value("SELECT cache.delete('a')"), "t");
    assert_eq!(s.value("SELECT cache.delete('a')"), "f");
    assert_eq!(s.number("SELECT cache.delete_many(ARRAY['b', 'b', 'none', 'c'])"), 2);
    assert_eq!(s.number("SELECT cache.delete_prefix('p%')"), 2);
    assert_eq!(s.number("SELECT cache.delete_prefix('p_')"), 1);
    assert_eq!(s.column("SELECT * FROM cache.keys()"), ["pq3"]);
    s.run("SELECT cache.set('gone', 'x', ttl => '1 ms'), pg_sleep(0.01)");
    assert_eq!(s.value("SELECT cache.delete('gone')"), "f");
    assert_eq!(s.number("SELECT cache.delete_prefix('')"), 1);
    s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text)) FROM generate_series(1, 5000) AS i");
    s.run("SELECT cache.clear()");
    assert_eq!(s.number("SELECT count(*) FROM cache.entries"), 0);
}

#[test]
fn keys_come_in_the_order_of_their_bytes_and_page_by_page() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set_many(ARRAY['b', 'B', 'ä', 'a', 'a b', 'a%'], array_fill('x'::text, ARRAY[6]))");
    assert_eq!(s.column("SELECT * FROM cache.keys()"), ["B", "a", "a b", "a%", "b", "ä"]);
    assert_eq!(s.column("SELECT * FROM cache.keys('a')"), ["a", "a b", "a%"]);
    assert_eq!(s.column("SELECT * FROM cache.keys('a%')"), ["a%"]);
    assert_eq!(s.column("SELECT * FROM cache.keys('ä')"), ["ä"]);
    assert_eq!(s.number("SELECT count(*) FROM cache.keys('zzz')"), 0);
    s.run("SELECT cache.set_many(array_agg(to_char(i, 'FM00000')), array_agg('x'::text)) FROM generate_series(1, 4321) AS i");
    assert_eq!(s.number("SELECT count(DISTINCT key) FROM cache.keys('0') AS key"), 4321);
    assert_eq!(s.column("SELECT * FROM cache.keys('0') LIMIT 2"), ["00001", "00002"]);
    assert_eq!(s.value("SELECT max(key) FROM (SELECT key FROM cache.keys('0') AS key LIMIT 2500) AS first"), "02500");
    s.run("SELECT cache.set('expired', 'x', ttl => '1 ms'), pg_sleep(0.01)");
    assert_eq!(s.number("SELECT count(*) FROM cache.keys('expired')"), 0);
}

#[test]
fn counters_start_count_and_stay_within_bigint() {
    let db = database();
    let mut s = db.session();
    assert_eq!(s.column("SELECT cache.incr('n') FROM generate_series(1, 3)"), ["1", "2", "3"]);
    assert_eq!(s.number("SELECT cache.decr('n', 5)"), -2);
    assert_eq!(s.number("SELECT cache.incr('i', by => 2, initial => 40)"), 42);
    assert_eq!(s.number("SELECT cache.incr('i', by => 2, initial => 40)"), 44);
    assert_eq!(s.number("SELECT cache.decr('d', initial => 10)"), 9);
    // The TTL is for the counter that is made.
    s.run("SELECT cache.incr('t', ttl => '1 hour'); SELECT cache.incr('t', ttl => '1 day')");
    assert_eq!(s.value("SELECT cache.ttl('t') < '2 hours'"), "t");
    s.run("SELECT cache.set('max', 9223372036854775807), cache.set('min', (-9223372036854775808)::bigint)");
    for call in ["cache.incr('max')", "cache.decr('max', -1)", "cache.decr('min')", "cache.incr('min', -1)"] {
        assert!(s.fails(&format!("SELECT {call}"), "22003").message().contains("counter"), "{call}");
    }
    assert_eq!(s.value("SELECT cache.get('max') || cache.get('min')"), "9223372036854775807-9223372036854775808");
    assert_eq!(s.number("SELECT cache.decr('min', (-9223372036854775808)::bigint)"), 0);
    s.fails("SELECT cache.incr('fresh', 1, NULL, 9223372036854775807)", "22003");
    assert_eq!(s.value("SELECT cache.exists('fresh')"), "f");
    s.run("SELECT cache.set('text', '5'), cache.set('json', '5'::jsonb), cache.set('bytes', '5'::bytea)");
    for key in ["text", "json", "bytes"] {
        s.fails(&format!("SELECT cache.incr('{key}')"), "42804");
    }
    assert_eq!(s.value("SELECT cache.get('text')"), "5");
}

#[test]
fn a_disabled_cache_takes_everything_and_gives_nothing() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'kept'); SET pg_stash.enabled = off; SELECT cache.set('k', 'dropped'), cache.clear()");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    let answers = "SELECT concat_ws(' ', cache.add('k', 'x'), cache.replace('k', 'x'), cache.set_many(ARRAY['a', 'b'], ARRAY['x', 'y']), cache.incr('n', 5), cache.exists('k'), cache.touch('k'), cache.delete('k'), cache.take('k'))";
    assert_eq!(s.value(answers), "t f 2 5 f f f");
    assert_eq!(s.number("SELECT count(*) FROM cache.keys()"), 0);
    s.fails("SELECT cache.set('', 'x')", "22023");
    s.run("RESET pg_stash.enabled");
    assert_eq!(s.value("SELECT cache.get('k')"), "kept");
}

/// The columns of the one row that get_many_any returns for these keys.
fn columns(s: &mut Session, keys: &str) -> Vec<Option<String>> {
    let rows =
        s.rows(&format!("SELECT value_text, value_json, value_bytes, value_int FROM cache.get_many_any({keys})"));
    assert_eq!(rows.len(), 1, "{keys}");
    rows.into_iter().next().expect("one")
}

#[test]
fn get_many_any_returns_arrays_in_the_order_of_the_keys() {
    let db = database();
    let mut s = db.session();
    s.run(
        r#"
        SELECT cache.set('t', 'x'), cache.set('empty', ''), cache.set('n', 7), cache.set('m', -1), cache.set('j', '{"a": 1}'::jsonb);
        SELECT cache.set('null', 'null'::jsonb), cache.set('b', '\x00ff'::bytea), cache.set('gone', 'x', ttl => '1 ms');
        SELECT pg_sleep(0.01);
        "#,
    );
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        columns(&mut s, "ARRAY['t', 'none', 'n', 'j', 'b', 't', 'null', 'gone', 'm', 'empty']"),
        [
            some(r#"{x,NULL,NULL,NULL,NULL,x,NULL,NULL,NULL,""}"#),
            some(r#"{NULL,NULL,NULL,"{\"a\": 1}",NULL,NULL,"null",NULL,NULL,NULL}"#),
            some(r#"{NULL,NULL,NULL,NULL,"\\x00ff",NULL,NULL,NULL,NULL,NULL}"#),
            some("{NULL,NULL,7,NULL,NULL,NULL,NULL,NULL,-1,NULL}"),
        ]
    );
    assert_eq!(columns(&mut s, "ARRAY['t', 'empty']"), [some(r#"{x,""}"#), None, None, None]);
    assert_eq!(columns(&mut s, "ARRAY['n', 'm']"), [None, None, None, some("{7,-1}")]);
    for nothing in ["ARRAY['none', 'gone']", "ARRAY[]::text[]"] {
        assert_eq!(columns(&mut s, nothing), [None, None, None, None], "{nothing}");
    }
    s.fails("SELECT * FROM cache.get_many_any(ARRAY[['t'], ['n']])", "22023");
    s.fails("SELECT * FROM cache.get_many_any(ARRAY['t', NULL])", "22004");
    s.fails("SELECT * FROM cache.get_many_any(NULL)", "22004");
    s.fails("SELECT * FROM cache.get_many_any(ARRAY['t'], cache => 'none')", "42704");
    s.fails("SELECT * FROM cache.get_many_any(ARRAY[]::text[], cache => 'none')", "42704");
    // The arrays are PostgreSQL's own in every respect: its functions read them, change them and send them.
    let built = "
        SELECT value_text = ARRAY['x', NULL, ''] AND value_text || 'y'::text = ARRAY['x', NULL, '', 'y']
            AND array_length(value_text, 1) = 3 AND value_text[3] = '' AND array_send(value_text) = array_send(ARRAY['x', NULL, ''])
            AND pg_typeof(value_text) = 'text[]'::regtype
        FROM cache.get_many_any(ARRAY['t', 'none', 'empty'])";
    assert_eq!(s.value(built), "t");
    assert_eq!(s.value("SELECT array_send(value_int) = array_send(ARRAY[7, NULL, -1]::bigint[]) FROM cache.get_many_any(ARRAY['n', 't', 'm'])"), "t");
}

#[test]
fn get_many_any_returns_many_large_values_whole() {
    let db = database();
    let mut s = db.session();
    // Short, in the page, compressed, out of line, and both; more than are looked ahead for.
    s.run("
        CREATE TABLE given AS SELECT i, 'k' || i AS key, CASE i % 5 WHEN 0 THEN 'v' || i WHEN 1 THEN repeat(md5(i::text), 40)
            WHEN 2 THEN repeat('x', 30000) || i WHEN 3 THEN (SELECT string_agg(md5(i || '.' || j), '') FROM generate_series(1, 500) AS j)
            ELSE (SELECT string_agg(md5(i || '.' || j) || repeat('y', 99), '') FROM generate_series(1, 2000) AS j) END AS val
        FROM generate_series(1, 600) AS i;
        SELECT cache.set_many(array_agg(key), array_agg(val)) FROM given;
    ");
    let same = "SELECT (SELECT value_text FROM cache.get_many_any(array_agg(key ORDER BY i DESC))) = array_agg(val ORDER BY i DESC) FROM given";
    assert_eq!(s.value(same), "t");
    s.run("SELECT cache.set('mega', repeat('x', 50000000))");
    let beyond = "SELECT * FROM cache.get_many_any(ARRAY(SELECT 'mega' FROM generate_series(1, 30)))";
    s.fails(beyond, "54000");
    assert_eq!(s.value("SELECT length(value_text[1]) FROM cache.get_many_any(ARRAY['mega'])"), "50000000");
}

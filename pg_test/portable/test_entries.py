"""Each function of the entries, with each type of value, at its limits, and with input that cannot be."""

from harness import Case

VALUES = [
    ("'text'::text", "text", ""),
    ("''::text", "", ""),
    ("'Größe €'::text", "Größe €", ""),
    ("'{\"a\": [1, null]}'::jsonb", '{"a": [1, null]}', "_json"),
    ("'null'::jsonb", "null", "_json"),
    ("'\\x00ff'::bytea", "\\x00ff", "_bytes"),
    ("''::bytea", "\\x", "_bytes"),
    ("(-9223372036854775808)::bigint", "-9223372036854775808", ""),
]


class Entries(Case):
    def test_what_is_set_is_got_in_every_type(self):
        s = self.session()
        for literal, text, form in VALUES:
            s.run(f"SELECT cache.set('k', {literal})")
            self.assertEqual(s.value(f"SELECT cache.get{form}('k')::text"), text)
            self.assertEqual(s.column(f"SELECT value::text FROM cache.get_many{form}(ARRAY['k', 'none'])"), [text])
            for reader in ("get_any('k')", "get_many_any(ARRAY['k', 'none'])", "claim_any('k')"):
                any_form = f"SELECT coalesce(value_text, value_json::text, value_bytes::text, value_int::text) FROM cache.{reader}"
                self.assertEqual(s.column(any_form), [text], reader)
            self.assertEqual(s.rows(f"SELECT state, value::text, lease FROM cache.claim{form}('k')"), [("hit", text, None)])
            self.assertEqual(s.value(f"SELECT cache.take{form}('k')::text"), text)
            self.assertIsNone(s.value(f"SELECT cache.get{form}('k')"))
            self.assertIsNone(s.value(f"SELECT cache.take{form}('k')"))
            s.run(f"SELECT cache.set('k', {literal})")
            self.assertEqual(len(s.rows("SELECT * FROM cache.take_any('k')")), 1)
            self.assertEqual(s.rows("SELECT * FROM cache.take_any('k')"), [])
            self.assertEqual(s.rows("SELECT * FROM cache.get_any('k')"), [])

    def test_add_needs_absence_and_replace_presence(self):
        s = self.session()
        for literal, text, form in VALUES:
            self.assertFalse(s.value(f"SELECT cache.replace('k', {literal})"))
            self.assertTrue(s.value(f"SELECT cache.add('k', {literal})"))
            self.assertFalse(s.value(f"SELECT cache.add('k', {literal})"))
            s.run("SELECT cache.set('k', 'another type'), cache.set('k', 1::bigint)")
            self.assertTrue(s.value(f"SELECT cache.replace('k', {literal})"))
            self.assertEqual(s.value(f"SELECT cache.get{form}('k')::text"), text)
            self.assertTrue(s.value("SELECT cache.delete('k')"))

    def test_compare_and_set_compares_value_and_type(self):
        s = self.session()
        for literal, _, _ in VALUES:
            swap = f"SELECT cache.compare_and_set('k', {literal}, {literal})"
            self.assertFalse(s.value(swap))
            s.run(f"SELECT cache.set('k', {literal})")
            self.assertTrue(s.value(swap))
            s.run("SELECT cache.set('k', 'something else')")
            self.assertFalse(s.value(swap))
            s.run("SELECT cache.delete('k')")
        s.run("SELECT cache.set('j', '{\"a\": 1, \"b\": 2}'::jsonb), cache.set('t', '5'), cache.set('n', 5::bigint)")
        self.assertTrue(s.value("SELECT cache.compare_and_set('j', '{\"b\":2,\"a\":1.0}'::jsonb, '1'::jsonb)"))
        self.assertFalse(s.value("SELECT cache.compare_and_set('t', 5::bigint, 6::bigint)"))
        self.assertFalse(s.value("SELECT cache.compare_and_set('n', '5', '6')"))
        self.assertTrue(s.value("SELECT cache.compare_and_set('n', 5::bigint, 6::bigint, ttl => '1 hour')"))
        self.assertTrue(s.value("SELECT cache.ttl('n') > '59 minutes'"))

    def test_a_value_of_the_wrong_form_is_an_error_that_says_what_to_call(self):
        s = self.session()
        s.run("SELECT cache.set('t', 'x'), cache.set('j', '1'::jsonb), cache.set('b', '\\x01'::bytea), cache.set('i', 1::bigint)")
        for key, stored, hint, wrong in [
            ("t", "text", "cache.get()", ["_json", "_bytes"]),
            ("j", "jsonb", "cache.get_json()", ["_bytes"]),
            ("b", "bytea", "cache.get_bytes()", ["", "_json"]),
            ("i", "bigint", "cache.get()", ["_json", "_bytes"]),
        ]:
            for form in wrong:
                for call in (f"get{form}('{key}')", f"take{form}('{key}')", f"get_many{form}(ARRAY['{key}'])", f"claim{form}('{key}')"):
                    told = s.fails(f"SELECT * FROM cache.{call}", "42804")
                    wanted = form[1:] or "text"
                    self.assertIn(f'cache entry "{key}" is of type {stored} and cannot be read as {wanted}', told)
                    self.assertIn(f"Read it with {hint}.", told)
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 4)

    def test_expiry_can_be_asked_for_and_changed(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'x')")
        state = "SELECT cache.exists('k'), cache.expires_at('k')::text, cache.ttl('k') > '0', cache.get('k')"
        self.assertEqual(s.rows(state), [(True, "infinity", None, "x")])
        self.assertTrue(s.value("SELECT cache.touch('k', '1 day')"))
        self.assertTrue(s.value("SELECT cache.ttl('k') BETWEEN '23:59' AND '1 day'"))
        self.assertTrue(s.value("SELECT cache.persist('k')"))
        self.assertEqual(s.rows(state), [(True, "infinity", None, "x")])
        s.run("SELECT cache.touch('k', '1 hour'); SELECT cache.touch('k')")
        self.assertEqual(s.rows(state), [(True, "infinity", None, "x")])
        self.assertEqual(s.rows("SELECT cache.touch('none'), cache.persist('none'), cache.exists('none')"), [(False,) * 3])
        s.run("SELECT cache.set('k', 'x', ttl => cache.never())")
        self.assertEqual(s.rows(state), [(True, "infinity", None, "x")])
        s.run("SELECT cache.set('k', 'x', ttl => '1 month 2 days 3 hours')")
        self.assertTrue(s.value("SELECT cache.expires_at('k') BETWEEN clock_timestamp() - interval '1 minute' + '1 month 2 days 3 hours' AND clock_timestamp() + '1 month 2 days 3 hours'"))

    def test_entries_expire_by_the_wall_clock_in_a_long_transaction(self):
        s = self.session()
        s.run("BEGIN; SELECT cache.set('k', 'x', ttl => '200 ms'), cache.set('n', 5::bigint, ttl => '200 ms')")
        self.assertEqual(s.value("SELECT cache.get('k')"), "x")
        s.run("SELECT pg_sleep(0.3)")
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        self.assertEqual(s.rows("SELECT cache.exists('k'), cache.touch('k'), cache.persist('k'), cache.replace('k', 'y'), cache.delete('k')"), [(False,) * 5])
        self.assertEqual(s.rows("SELECT cache.take('k'), cache.ttl('k')"), [(None, None)])
        self.assertEqual(s.column("SELECT cache.keys()"), [])
        self.assertEqual(s.rows("SELECT * FROM cache.get_many(ARRAY['k', 'n'])"), [])
        self.assertFalse(s.value("SELECT cache.compare_and_set('n', 5::bigint, 6::bigint)"))
        self.assertTrue(s.value("SELECT cache.add('k', 'new')"))
        self.assertEqual(s.value("SELECT cache.incr('n', ttl => '1 hour')"), 1)
        self.assertTrue(s.value("SELECT cache.ttl('n') > '59 minutes'"))
        s.run("COMMIT")

    def test_deletes_say_what_there_was(self):
        s = self.session()
        s.run("SELECT cache.set_many(ARRAY['a', 'b', 'c', 'p%1', 'p%2', 'pq3', 'p_4'], array_fill('x'::text, ARRAY[7]))")
        self.assertEqual(s.rows("SELECT cache.delete('a'), cache.delete('a')"), [(True, False)])
        self.assertEqual(s.value("SELECT cache.delete_many(ARRAY['b', 'b', 'none', 'c'])"), 2)
        self.assertEqual(s.value("SELECT cache.delete_prefix('p%')"), 2)
        self.assertEqual(s.value("SELECT cache.delete_prefix('p_')"), 1)
        self.assertEqual(s.column("SELECT cache.keys()"), ["pq3"])
        s.run("SELECT cache.set('gone', 'x', ttl => '1 ms'), pg_sleep(0.01)")
        self.assertFalse(s.value("SELECT cache.delete('gone')"))
        self.assertEqual(s.value("SELECT cache.delete_prefix('')"), 1)
        s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text)) FROM generate_series(1, 5000) AS i")
        s.run("SELECT cache.clear()")
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 0)

    def test_keys_come_in_the_order_of_their_bytes(self):
        s = self.session()
        s.run("SELECT cache.set_many(ARRAY['b', 'B', 'ä', 'a', 'a b', 'a%'], array_fill('x'::text, ARRAY[6]))")
        self.assertEqual(s.column("SELECT cache.keys()"), ["B", "a", "a b", "a%", "b", "ä"])
        self.assertEqual(s.column("SELECT cache.keys('a')"), ["a", "a b", "a%"])
        self.assertEqual(s.column("SELECT cache.keys('a%')"), ["a%"])
        self.assertEqual(s.column("SELECT key FROM cache.get_many(ARRAY['ä', 'b', 'B'])"), ["B", "b", "ä"])

    def test_counters_start_count_and_stay_within_bigint(self):
        s = self.session()
        self.assertEqual(s.column("SELECT cache.incr('n') FROM generate_series(1, 3)"), [1, 2, 3])
        self.assertEqual(s.value("SELECT cache.decr('n', 5)"), -2)
        self.assertEqual(s.column("SELECT cache.incr('i', by => 2, initial => 40) FROM generate_series(1, 2)"), [42, 44])
        self.assertEqual(s.value("SELECT cache.decr('d', initial => 10)"), 9)
        s.run("SELECT cache.incr('t', ttl => '1 hour'); SELECT cache.incr('t', ttl => '1 day')")
        self.assertTrue(s.value("SELECT cache.ttl('t') < '2 hours'"))
        s.run("SELECT cache.set('max', 9223372036854775807), cache.set('min', (-9223372036854775808)::bigint)")
        for call in ("incr('max')", "decr('max', -1)", "decr('min')", "incr('min', -1)"):
            self.assertIn("would leave the range of bigint", s.fails(f"SELECT cache.{call}", "22003"))
        self.assertEqual(s.value("SELECT cache.decr('min', (-9223372036854775808)::bigint)"), 0)
        s.fails("SELECT cache.incr('fresh', 1, NULL, 9223372036854775807)", "22003")
        self.assertFalse(s.value("SELECT cache.exists('fresh')"))
        s.run("SELECT cache.set('text', '5'), cache.set('json', '5'::jsonb), cache.set('bytes', '5'::bytea)")
        for key in ("text", "json", "bytes"):
            self.assertIn("not a counter", s.fails(f"SELECT cache.incr('{key}')", "42804"))

    def test_a_set_is_seen_later_in_the_same_statement(self):
        s = self.session()
        row = s.rows("SELECT cache.set('k', 'one'), cache.get('k'), cache.set('k', 'two'), cache.get('k'), cache.delete('k'), cache.get('k'), cache.add('k', 'three'), cache.get('k')")[0]
        self.assertEqual(row, ("", "one", "", "two", True, None, True, "three"))
        self.assertEqual(s.value("SELECT max(cache.incr('n')) FROM generate_series(1, 1000)"), 1000)

    def test_a_rollback_undoes_every_kind_of_write(self):
        s, other = self.session(), self.session()
        state = "SELECT string_agg(key || '=' || coalesce(value_text, value_int::text) || expires_at, ' ' ORDER BY key) FROM cache.entries"
        s.run("SELECT cache.set_many(ARRAY['kept', 'deleted', 'taken', 'touched', 'replaced', 'swapped'], array_fill('x'::text, ARRAY[6]))")
        s.run("SELECT cache.set('n', 5::bigint)")
        before = s.value(state)
        writes = """SELECT cache.set('kept', 'changed'), cache.set('new', 'x'), cache.incr('n'), cache.delete('deleted'),
            cache.take('taken'), cache.touch('touched', '1 hour'), cache.add('added', 'x'), cache.replace('replaced', 'y'),
            cache.set_many(ARRAY['m1', 'kept'], ARRAY['x', 'y']), cache.compare_and_set('swapped', 'x', 'y')"""
        s.run(f"BEGIN; {writes}")
        self.assertNotEqual(s.value(state), before)
        self.assertEqual(other.value(state), before)
        s.run("ROLLBACK")
        self.assertEqual(s.value(state), before)
        s.run(f"BEGIN; SELECT cache.set('outer', 'x'); SAVEPOINT a; {writes}; ROLLBACK TO SAVEPOINT a; COMMIT")
        self.assertEqual(other.value("SELECT cache.get('kept') || cache.get('outer') || cache.get('n')"), "xx5")

    def test_a_disabled_cache_takes_everything_and_gives_nothing(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'kept'); SET pg_stash.enabled = off; SELECT cache.set('k', 'dropped'), cache.clear()")
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        self.assertEqual(
            s.rows("SELECT cache.add('k', 'x'), cache.replace('k', 'x'), cache.set_many(ARRAY['a', 'b'], ARRAY['x', 'y']), cache.incr('n', 5), cache.exists('k'), cache.touch('k'), cache.delete('k'), cache.take('k')"),
            [(True, False, 2, 5, False, False, False, None)])
        self.assertEqual(s.column("SELECT cache.keys()"), [])
        self.assertEqual(s.rows("SELECT * FROM cache.claim('k')"), [("miss", None, None)])
        s.fails("SELECT cache.set('', 'x')", "22023")
        s.run("RESET pg_stash.enabled")
        self.assertEqual(s.value("SELECT cache.get('k')"), "kept")

    BY_KEY = ["get({})", "get_json({})", "get_bytes({})", "get_any({})", "set({}, 'x'::text)", "set({}, 1::bigint)", "add({}, 'x'::text)",
        "replace({}, 'x'::text)", "take({})", "take_any({})", "exists({})", "expires_at({})", "ttl({})", "touch({})", "persist({})", "delete({})",
        "incr({})", "compare_and_set({}, 'x'::text, 'y'::text)", "set_many(ARRAY[{}], ARRAY['x'::text])", "claim({})",
        "get_many(ARRAY[{}])", "delete_many(ARRAY[{}])"]

    def test_keys_have_1_to_1024_bytes_and_are_not_null(self):
        s = self.session()
        for call in self.BY_KEY:
            with self.subTest(call):
                call_with = lambda key: "SELECT cache." + call.format(key)
                self.assertIn("cache key must not be null", s.fails(call_with("NULL"), "22004"))
                self.assertIn("cache key must not be empty", s.fails(call_with("''"), "22023"))
                self.assertIn("cache key is longer than 1024 bytes", s.fails(call_with("repeat('k', 1025)"), "22023"))
                self.assertIn("1026 bytes long", s.fails(call_with("repeat('ä', 513)"), "22023"))
                s.run(call_with("repeat('k', 1024)"))
                s.run("SELECT cache.delete(repeat('k', 1024))")
        for key in ("repeat('ä', 512)", "'schlüssel €'", "E'tab\\tnew\\nline'", "'\"; DROP TABLE x'", "'%_\\'"):
            s.run(f"SELECT cache.set({key}, 'v' || {key})")
            self.assertTrue(s.value(f"SELECT cache.get({key}) = 'v' || {key}"))
            self.assertEqual(s.value(f"SELECT count(*) FROM cache.keys({key})"), 1)

    def test_null_arguments_are_refused_by_name(self):
        s = self.session()
        for call, what in [
            ("set('k', NULL::text)", "cache value"), ("set('k', NULL::jsonb)", "cache value"), ("add('k', NULL::bytea)", "cache value"),
            ("replace('k', NULL::bigint)", "cache value"), ("compare_and_set('k', NULL::text, 'x'::text)", "cache value"),
            ("set('k', 'x', cache => NULL)", "cache must"), ("get('k', cache => NULL)", "cache must"), ("incr('k', NULL)", "by must"),
            ("incr('k', initial => NULL)", "initial must"), ("delete_prefix(NULL)", "prefix must"), ("keys(NULL)", "prefix must"),
            ("get_many(NULL)", "keys must"), ("set_many(ARRAY['k'], NULL::text[])", "vals must"),
            ("set_many(ARRAY['k', NULL], ARRAY['x', 'y'])", "cache key"), ("set_many(ARRAY['k', 'l'], ARRAY['x', NULL])", "cache value"),
            ("delete_many(ARRAY[NULL::text])", "cache key"), ("drop_cache(NULL)", "name must"), ("fill(NULL, 'x'::text)", "lease must"),
            ("release(NULL)", "lease must"), ("remember(NULL)", "sql must"), ("watch(NULL)", "relation must"), ("unwatch(NULL)", "relation must"),
            ("claim('k', lease => NULL)", "lease must"), ("claim('k', wait => NULL)", "wait must"), ("top(NULL)", "n must"),
        ]:
            with self.subTest(call):
                self.assertTrue(s.fails(f"SELECT cache.{call}", "22004").startswith(what))
        self.assertEqual(s.column("SELECT cache.keys()"), [])

    def test_what_cannot_be_is_refused_and_stores_nothing(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'old')")
        for call, code in [
            ("set_many(ARRAY['a', 'b'], ARRAY['x'])", "22023"), ("set_many(ARRAY['a'], ARRAY['x', 'y'])", "22023"),
            ("set_many(ARRAY[['a', 'b'], ['c', 'd']], ARRAY['x', 'y', 'x', 'y'])", "22023"), ("set_many(ARRAY['a', 'b'], ARRAY[['x', 'y']])", "22023"),
            ("get_many(ARRAY[['a', 'b'], ['c', 'd']])", "22023"), ("delete_many(ARRAY[['a']])", "22023"),
            ("set_many(ARRAY['a', 'b', ''], ARRAY['x', 'y', 'z'])", "22023"), ("set_many(ARRAY['a', 'b'], ARRAY['x', 'y'], ttl => '0')", "22023"),
            ("set_many(ARRAY['a', 'b'], ARRAY['x', repeat('y', 300 * 1024 * 1024)])", "54000"),
            ("set('k', 'y', tags => ARRAY['a', NULL])", "22004"), ("set('k', 'y', tags => ARRAY['a', ''])", "22023"),
            ("set('k', 'y', tags => ARRAY[['a'], ['b']])", "22023"), ("set('k', 'y', tags => ARRAY[repeat('x', 2000)])", "54000"),
            ("set('k', 'y', tags => ARRAY['a'], as_of => now() + '1 hour')", "22023"), ("set('k', 'y', tags => ARRAY['a'], as_of => 'infinity')", "22023"),
            ("set('k', 'y', ttl => '1 min', fresh => '2 min')", "22023"), ("set('k', 'y', fresh => '0')", "22023"), ("set('k', 'y', fresh => '-1 s')", "22023"),
            ("set_many(ARRAY['k'], ARRAY['y'], tags => ARRAY[NULL])", "22004"), ("invalidate(NULL)", "22004"), ("invalidate('a', NULL)", "22004"),
            ("invalidate('a', '')", "22023"), ("invalidate(VARIADIC NULL)", "22004"), ("claim('k', lease => '0')", "22023"),
            ("claim('k', wait => '-1 s')", "22023"), ("top(-1)", "22023"), ("remember('SELECT 1', '{}')", "22023"), ("watch('pg_stats')", "42809"),
        ]:
            with self.subTest(call):
                s.fails(f"SELECT cache.{call}", code)
                self.assertEqual(s.rows("SELECT key, value_text FROM cache.entries"), [("k", "old")])
        self.assertEqual(s.value("SELECT cache.set_many('{}', '{}'::text[])"), 0)
        self.assertEqual(s.value("SELECT cache.delete_many('{}')"), 0)
        self.assertEqual(s.value("SELECT cache.set_many(ARRAY['r', 's', 'r', 'r'], ARRAY['1', '2', '3', '4'])"), 2)
        self.assertEqual(s.value("SELECT cache.get('r') || cache.get('s')"), "42")

    def test_a_ttl_is_positive_and_ends_before_the_end_of_time(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'old')")
        for ttl in ("0", "-1 second", "1 day -24 hours", "-1 month"):
            for call in (f"set('k', 'new', ttl => '{ttl}')", f"touch('k', '{ttl}')", f"incr('n', ttl => '{ttl}')", f"add('n', 'x', ttl => '{ttl}')"):
                told = s.fails(f"SELECT cache.{call}", "22023")
                self.assertTrue(told.startswith("ttl must be positive") and "cache.never()" in told)
        for ttl in ("300000 years", "2562047788 hours 9 years", "178000000 years"):
            s.fails(f"SELECT cache.set('k', 'new', ttl => '{ttl}')", "22008")
            s.fails(f"SELECT cache.touch('k', '{ttl}')", "22008")
        self.assertEqual(s.value("SELECT cache.get('k') || cache.expires_at('k')"), "oldinfinity")
        s.run("SELECT cache.set('k', 'x', ttl => '200000 years'), cache.set('k', 'x', ttl => '1 microsecond')")

    def test_large_values_come_back_as_they_were(self):
        s = self.session()
        for make in ("repeat('x', 300000)", "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) AS i)"):
            s.run(f"CREATE TEMP TABLE value AS SELECT {make} AS v")
            s.run("SELECT cache.set('t', v), cache.set('j', to_jsonb(v)), cache.set('b', v::bytea) FROM value")
            self.assertTrue(s.value("SELECT cache.get('t') = v AND cache.get_json('j') = to_jsonb(v) AND cache.get_bytes('b') = v::bytea FROM value"))
            self.assertTrue(s.value("SELECT cache.touch('t', '1 hour')"))
            self.assertTrue(s.value("SELECT cache.take('t') = v FROM value"))
            s.run("DROP TABLE value")


class Caches(Case):
    def test_policies(self):
        s = self.session()
        s.run("SELECT cache.create_cache('pages', '1 hour', '10 MB', 500)")
        s.run("SELECT cache.alter_cache('pages', max_entries => 700)")
        policy = "SELECT concat_ws(' ', default_ttl, max_size, max_entries, durable) FROM cache.caches WHERE name = 'pages'"
        self.assertEqual(s.value(policy), "01:00:00 10485760 700 f")
        s.run("SELECT cache.alter_cache('pages', max_size => '0', max_entries => 0, durable => true)")
        self.assertEqual(s.value(policy), "01:00:00 t")
        persistence = "SELECT relpersistence::text FROM pg_class WHERE oid = 'cache.entries_pages'::regclass"
        self.assertEqual(s.value(persistence), "p")
        s.run("SELECT cache.set('k', 'x', cache => 'pages'); SELECT cache.alter_cache('pages', durable => false)")
        self.assertEqual(s.value(persistence), "u")
        self.assertEqual(s.value("SELECT cache.get('k', cache => 'pages')"), "x")
        self.assertTrue(s.value("SELECT cache.ttl('k', cache => 'pages') BETWEEN '59 min' AND '1 hour'"))
        self.assertIsNone(s.value("SELECT cache.get('k')"))

    def test_a_change_in_another_session_takes_effect_at_the_next_call(self):
        s, other = self.session(), self.session()
        other.run("SELECT cache.create_cache('pages')")
        s.run("SELECT cache.set('k', 'x', cache => 'pages')")
        other.run("SELECT cache.alter_cache('pages', default_ttl => '1 minute')")
        s.run("SELECT cache.set('k', 'x', cache => 'pages')")
        self.assertTrue(s.value("SELECT cache.expires_at('k', cache => 'pages') < 'infinity'"))
        other.run("SELECT cache.drop_cache('pages')")
        s.fails("SELECT cache.get('k', cache => 'pages')", "42704")
        other.run("INSERT INTO cache.caches (name) VALUES ('pages')")
        self.assertIsNone(s.value("SELECT cache.get('k', cache => 'pages')"))
        other.run("UPDATE cache.caches SET default_ttl = '1 hour' WHERE name = 'pages'")
        s.run("SELECT cache.set('k', 'x', cache => 'pages')")
        self.assertTrue(s.value("SELECT cache.expires_at('k', cache => 'pages') < 'infinity'"))

    def test_a_rolled_back_cache_is_none(self):
        s = self.session()
        s.run("BEGIN; SELECT cache.create_cache('pages'); SELECT cache.set('k', 'x', cache => 'pages'); ROLLBACK")
        s.fails("SELECT cache.get('k', cache => 'pages')", "42704")
        s.run("SELECT cache.create_cache('pages')")
        s.run("BEGIN; SELECT cache.drop_cache('pages')")
        s.fails("SELECT cache.get('k', cache => 'pages')", "42704")
        s.run("ROLLBACK")
        self.assertIsNone(s.value("SELECT cache.get('k', cache => 'pages')"))

    def test_what_cannot_be_is_refused(self):
        s = self.session()
        s.fails("SELECT cache.create_cache('default')", "42710")
        for name in ("Pages", "1a", "a-b", "", 'x"; DROP TABLE cache.caches'):
            s.fails(f"SELECT cache.create_cache('{name}')", "42602")
            s.fails(f"INSERT INTO cache.caches (name) VALUES ('{name}')", "42602")
        s.fails("SELECT cache.create_cache(repeat('a', 49))", "42602")
        s.run("SELECT cache.create_cache(repeat('a', 48)), cache.set('k', 'x', cache => repeat('a', 48))")
        s.fails("SELECT cache.create_cache(NULL)", "22004")
        for wrong, code in [("max_size => 'much'", "22023"), ("max_size => '-1'", "22023"), ("max_entries => -1", "22023"), ("default_ttl => '-1 s'", "22023"), ("default_ttl => '300000 years'", "22008")]:
            s.fails(f"SELECT cache.create_cache('a', {wrong})", code)
        s.fails("SELECT cache.alter_cache('none')", "42704")
        s.fails("SELECT cache.drop_cache('none')", "42704")
        s.fails("UPDATE cache.caches SET name = 'other'", "22023")
        for name in ("none", "", "Pages", 'x"; DROP TABLE cache.caches; --', "entries", "ä"):
            for call in ("get('k', cache => $$N$$)", "set('k', 'x', cache => $$N$$)", "incr('k', cache => $$N$$)", "clear(cache => $$N$$)", "keys(cache => $$N$$)", "sweep($$N$$)", "stats_reset($$N$$)", "claim('k', cache => $$N$$)"):
                told = s.fails(f"SELECT cache.{call.replace('N', name)}", "42704")
                self.assertIn("The caches are: " + "a" * 48 + ", default.", told)

    def test_a_value_larger_than_the_budget_is_refused(self):
        s = self.session()
        s.run("SELECT cache.create_cache('small', max_size => '2 kB')")
        s.run("SELECT cache.set('k', repeat('x', 1500), cache => 'small')")
        for call in ("set('k', repeat('x', 2048), cache => 'small')", "set_many(ARRAY['a', 'k'], ARRAY['x', repeat('x', 2048)], cache => 'small')", "set('k', to_jsonb(repeat('x', 2048)), cache => 'small')"):
            self.assertIn('is larger than the budget of cache "small" (2048 bytes)', s.fails(f"SELECT cache.{call}", "54000"))
        self.assertEqual(s.value("SELECT count(*) FROM cache.keys(cache => 'small')"), 1)


class Statistics(Case):
    def test_what_is_known_is_told(self):
        s = self.session()
        s.run("SELECT cache.set('k' || i, repeat('x', i * 10)) FROM generate_series(1, 100) AS i; SELECT cache.delete('k1')")
        self.assertEqual(s.rows("SELECT cache, entries, max_size, hits, misses, hit_ratio, expired, evicted FROM cache.stats"), [("default", 99, 268435456, None, None, None, None, None)])
        self.assertTrue(s.value("SELECT live_bytes BETWEEN 99 * 500 AND 99 * 600 AND file_bytes > live_bytes FROM cache.stats"))
        self.assertEqual(s.column("SELECT key FROM cache.top(3)"), ["k100", "k99", "k98"])
        self.assertEqual(s.value("SELECT count(*) FROM cache.top()"), 10)
        s.close()
        # PostgreSQL's own counts arrive when a session ends, at the latest.
        t = self.session()
        for _ in range(50):
            if t.rows("SELECT sets, deletes FROM cache.stats") == [(100, 1)]:
                break
            t.run("SELECT pg_sleep(0.1)")
        self.assertEqual(t.rows("SELECT sets, deletes FROM cache.stats"), [(100, 1)])
        t.run("SELECT cache.stats_reset()")
        self.assertEqual(t.rows("SELECT sets, deletes, stats_reset > now() - interval '1 min' FROM cache.stats"), [(0, 0, True)])

    def test_the_sweeper_view_tells_the_last_pass(self):
        s = self.session()
        s.run("SELECT cache.set('a', 'x', ttl => '1 ms'), pg_sleep(0.01)")
        self.assertEqual(s.rows("SELECT cache, scanned, expired, evicted FROM cache.sweep()"), [("default", 1, 1, 0)])
        self.assertEqual(s.rows("SELECT database::text, pid, state, scanned, expired, evicted FROM cache.sweeper"), [(self.database, None, "absent", 1, 1, 0)])

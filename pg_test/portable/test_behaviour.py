"""What sessions do to each other, who may do what, and what sweeps and standbys do."""

import os
import signal
import time

import psycopg

from harness import SCRIPT, Case, Server, Session, in_threads


class Access(Case):
    CALLS = [
        ("get('k')", "SELECT"), ("get_any('k')", "SELECT"), ("get_many(ARRAY['k'])", "SELECT"), ("exists('k')", "SELECT"),
        ("expires_at('k')", "SELECT"), ("ttl('k')", "SELECT"), ("keys()", "SELECT"), ("top()", "SELECT"), ("claim('k')", "SELECT"),
        ("set('k', 'x')", "SELECT, INSERT, UPDATE"), ("set_many(ARRAY['k'], ARRAY['x'])", "SELECT, INSERT, UPDATE"),
        ("add('k', 'x')", "SELECT, INSERT, UPDATE"), ("replace('k', 'x')", "SELECT, INSERT, UPDATE"), ("incr('n')", "SELECT, INSERT, UPDATE"),
        ("touch('k')", "SELECT, UPDATE"), ("compare_and_set('k', 'x', 'y')", "SELECT, UPDATE"), ("take('k')", "SELECT, DELETE"),
        ("take_any('k')", "SELECT, DELETE"), ("delete('k')", "SELECT, DELETE"), ("delete_many(ARRAY['k'])", "SELECT, UPDATE, DELETE"),
        ("delete_prefix('k')", "SELECT, UPDATE, DELETE"), ("clear()", "SELECT, UPDATE, DELETE"), ("sweep()", "DELETE"),
    ]

    def role(self, owner):
        role = f"role_{self.database}"
        self.admin.run(f"CREATE ROLE {role} LOGIN")
        owner.run(f"GRANT USAGE ON SCHEMA cache TO {role}")
        return role, self.session(role)

    def test_each_function_needs_its_privileges_and_no_more(self):
        owner = self.session()
        role, s = self.role(owner)
        for call, privileges in self.CALLS:
            with self.subTest(call):
                owner.run("SELECT cache.set('k', 'x'), cache.set('n', 1::bigint)")
                self.assertTrue(s.fails(f"SELECT cache.{call}", "42501").startswith("permission denied for table cache.entries"))
                for missing in privileges.split(", "):
                    owner.run(f"GRANT {privileges} ON cache.entries TO {role}; REVOKE {missing} ON cache.entries FROM {role}")
                    told = s.fails(f"SELECT cache.{call}", "42501")
                    self.assertIn(f"GRANT {missing} ON cache.entries TO the role.", told)
                owner.run(f"GRANT {privileges} ON cache.entries TO {role}")
                s.run(f"SELECT cache.{call}")
                owner.run(f"REVOKE ALL ON cache.entries FROM {role}")

    def test_administration_needs_privileges_on_the_policies(self):
        owner = self.session()
        role, s = self.role(owner)
        for call in ("create_cache('pages')", "alter_cache('default', max_size => '1 GB')", "drop_cache('default')", "sweep()", "stats_reset()"):
            s.fails(f"SELECT cache.{call}", "42501")
        owner.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON cache.caches TO {role}")
        s.run("SELECT cache.create_cache('pages')")
        s.run("SELECT cache.set('k', 'x', cache => 'pages'), cache.get('k', cache => 'pages'), cache.clear(cache => 'pages')")
        self.assertEqual(owner.value("SELECT tableowner::text FROM pg_tables WHERE tablename = 'entries_pages'"), "app")
        s.fails("SELECT cache.get('k')", "42501")
        s.run("SELECT cache.alter_cache('pages', default_ttl => '1 hour')")
        s.run("SELECT cache.drop_cache('pages')")

    def test_who_writes_to_a_watched_table_needs_no_rights_on_the_cache(self):
        owner = self.session()
        owner.run("CREATE TABLE items (id integer PRIMARY KEY); SELECT cache.watch('items')")
        owner.run("SELECT cache.clock(); SELECT cache.set('k', 'x', tags => ARRAY['public.items'], as_of => cache.clock())")
        role = f"role_{self.database}"
        self.admin.run(f"CREATE ROLE {role} LOGIN")
        owner.run(f"GRANT INSERT, TRUNCATE ON items TO {role}")
        self.assertEqual(owner.value("SELECT cache.get('k')"), "x")
        self.session(role).run("INSERT INTO items VALUES (1)")
        self.assertIsNone(owner.value("SELECT cache.get('k')"))
        self.session(role).run("TRUNCATE items")

    def test_a_hostile_search_path_leads_nowhere(self):
        s = self.session()
        s.run("""
            CREATE SCHEMA evil;
            CREATE TABLE evil.caches (name text, default_ttl interval, max_size bigint, max_entries bigint, durable boolean);
            CREATE TABLE evil.entries (expires_at timestamptz, key text PRIMARY KEY, value_text text);
            CREATE FUNCTION evil.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.trap);
            CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.trap);
            CREATE FUNCTION evil.interval_trap(interval, interval) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE OPERATOR evil.= (LEFTARG = interval, RIGHTARG = interval, FUNCTION = evil.interval_trap);
            CREATE FUNCTION evil.bigint_trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE OPERATOR evil.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.bigint_trap);
            CREATE FUNCTION evil.integer_trap(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE OPERATOR evil.> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.integer_trap);
            CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.integer_trap);
            CREATE FUNCTION evil.time_trap(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE OPERATOR evil.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.time_trap);
            CREATE OPERATOR evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.time_trap);
            CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE FUNCTION evil.random() RETURNS float LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
            CREATE TABLE evil.items (id integer);
            SET search_path = evil, pg_catalog""")
        s.run("SELECT cache.create_cache('pages', max_size => '1 MB', default_ttl => '1 hour'); SELECT cache.alter_cache('pages', max_size => '2 MB')")
        s.run("INSERT INTO cache.caches (name) VALUES ('by_hand')")
        for _ in range(150):
            s.run("SELECT cache.set('k', 'x', ttl => '1 h', fresh => '1 min', tags => ARRAY['a']), cache.set('k', 'x', cache => 'pages'), cache.incr('n'), cache.decr('n')")
        s.run("SELECT cache.get('k'), cache.get_any('k'), cache.take('k'), cache.add('k', 'x'), cache.replace('k', 'x'), cache.touch('k'), cache.delete('nothing')")
        s.run("SELECT cache.compare_and_set('k', 'x', 'y'), cache.invalidate('a'), cache.clock(), cache.claim('z', wait => '1 ms'), cache.top()")
        s.run("SELECT cache.set_many(ARRAY['a'], ARRAY['x']), cache.get_many(ARRAY['a']), cache.delete_many(ARRAY['a']), cache.delete_prefix('a')")
        s.run("SELECT cache.watch('items'), cache.watch('items', 'item:{id}'); INSERT INTO evil.items VALUES (1)")
        self.assertEqual(s.value("SELECT cache.remember('SELECT * FROM items')"), [{"id": 1}])
        s.run("SELECT * FROM cache.sweep(); SELECT * FROM cache.stats; SELECT * FROM cache.sweeper; SELECT * FROM cache.watched; SELECT * FROM cache.keys('k')")
        s.run("SELECT cache.unwatch('items'), cache.drop_cache('pages')")
        self.assertEqual(s.value("SELECT count(*) FROM evil.entries"), 0)


class Concurrency(Case):
    def test_counters_count_exactly(self):
        def count(_):
            s = self.session()
            for _ in range(500):
                s.run("SELECT cache.incr('hits')")

        in_threads(8, count)
        self.assertEqual(self.session().value("SELECT cache.get('hits')"), "4000")

    def test_caches_can_be_made_and_dropped_at_once(self):
        def work(number):
            s = self.session()
            for round in range(5):
                s.run(f"SELECT cache.create_cache('c{number}')")
                s.run(f"SELECT cache.set('k', 'x', cache => 'c{number}')")
                if round < 4:
                    s.run(f"SELECT cache.drop_cache('c{number}')")

        in_threads(4, work)
        s = self.session()
        self.assertEqual(s.column("SELECT cache.get('k', cache => name) FROM cache.caches WHERE name <> 'default'"), ["x"] * 4)

    def test_of_adds_at_once_exactly_one_succeeds(self):
        sessions = [self.session() for _ in range(8)]
        for round in range(50):
            added = in_threads(8, lambda n: sessions[n].value(f"SELECT cache.add('round{round}', 'x')"))
            self.assertEqual(sum(added), 1)

    def test_batches_over_the_same_keys_do_not_deadlock(self):
        keys = "FROM (SELECT 'k' || i AS k FROM generate_series(1, 200) AS i ORDER BY random()) AS keys"

        def work(number):
            s = self.session()
            for round in range(30):
                kind = (number + round) % 4
                if kind < 2:
                    s.run(f"SELECT cache.set_many(array_agg(k), array_agg(k)) {keys}")
                elif kind == 2:
                    s.run(f"SELECT cache.delete_many(array_agg(k)) {keys}")
                else:
                    s.run("SELECT cache.delete_prefix('k1')" if round % 2 else "SELECT cache.clear()")

        in_threads(8, work)
        s = self.session()
        s.run(f"SELECT cache.set_many(array_agg(k), array_agg(k)) {keys}")
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 200)

    def test_an_add_waits_for_one_that_has_not_committed(self):
        first, second = self.session(), self.session()
        for end, expected in (("COMMIT", False), ("ROLLBACK", True)):
            first.run("BEGIN; SELECT cache.add('k', 'first')")

            def finish(number):
                if number == 0:
                    return second.value("SELECT cache.add('k', 'second')")
                self.wait_for_waiter(second)
                first.run(end)

            self.assertEqual(in_threads(2, finish)[0], expected)
            first.run("SELECT cache.delete('k')")

    def wait_for_waiter(self, session):
        while self.admin.value("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", session.pid) != "Lock":
            time.sleep(0.01)

    def test_a_get_does_not_wait_for_a_writer(self):
        writer, reader = self.session(), self.session()
        writer.run("SELECT cache.set('k', 'old')")
        writer.run("BEGIN; SELECT cache.set('k', 'new')")
        self.assertEqual(reader.value("SELECT cache.get('k')"), "old")
        writer.run("COMMIT")
        self.assertEqual(reader.value("SELECT cache.get('k')"), "new")

    def test_a_value_is_never_missed_while_it_is_being_overwritten(self):
        self.session().run("SELECT cache.set('k', repeat('x', 1500))")

        def work(number):
            s = self.session()
            if number % 2 == 0:
                for _ in range(500):
                    s.run("SELECT cache.set('k', repeat('y', 1500))")
                return 0
            return sum(s.value("SELECT cache.get('k')") is None for _ in range(500))

        self.assertEqual(sum(in_threads(4, work)), 0)

    def test_a_get_sees_what_others_have_committed_meanwhile(self):
        s, other = self.session(), self.session()
        other.run("SELECT cache.set('k', 'old')")
        s.run("BEGIN; SELECT count(*) FROM pg_class")
        self.assertEqual(s.value("SELECT cache.get('k')"), "old")
        other.run("SELECT cache.set('k', 'newer'), cache.set('new', '1')")
        self.assertEqual(s.rows("SELECT cache.get('k'), cache.get('new')"), [("newer", "1")])
        s.run("SELECT cache.set('k', 'mine'); COMMIT")
        self.assertEqual(other.value("SELECT cache.get('k')"), "mine")


class Leases(Case):
    def test_of_many_claims_at_once_one_gets_the_lease_and_all_get_the_value(self):
        sessions = [self.session() for _ in range(25)]

        def work(number):
            s = sessions[number]
            state, value, lease = s.rows("SELECT * FROM cache.claim('k', wait => '10 s')")[0]
            if lease is None:
                return state, value
            time.sleep(0.3)
            self.assertTrue(s.value("SELECT cache.fill(%s, 'computed'::text)", lease))
            return "computed", state

        outcomes = in_threads(25, work)
        self.assertEqual(sorted(outcomes), [("computed", "miss")] + [("hit", "computed")] * 24)

    def test_stale_values_go_out_while_one_recomputes(self):
        s, other = self.session(), self.session()
        s.run("SELECT cache.set('k', 'old', ttl => '1 hour', fresh => '1 ms'), pg_sleep(0.01)")
        state, value, lease = s.rows("SELECT * FROM cache.claim('k')")[0]
        self.assertEqual((state, value), ("stale", "old"))
        self.assertEqual(other.rows("SELECT * FROM cache.claim('k', wait => '5 s')"), [("stale", "old", None)])
        self.assertEqual(other.value("SELECT cache.get('k')"), "old")
        self.assertTrue(s.value("SELECT cache.fill(%s, 'new'::text, ttl => '1 hour', fresh => '1 min')", lease))
        self.assertEqual(other.rows("SELECT * FROM cache.claim('k')"), [("hit", "new", None)])

    def test_a_holder_that_is_killed_is_replaced_at_the_deadline(self):
        s, other = self.session(), self.session()
        lease = s.value("SELECT lease FROM cache.claim('k', lease => '1 second')")
        os.kill(s.pid, signal.SIGTERM)
        started = time.monotonic()
        state, _, new = other.rows("SELECT * FROM cache.claim('k', wait => '10 s')")[0]
        self.assertEqual(state, "miss")
        self.assertIsNotNone(new)
        self.assertLess(time.monotonic() - started, 5)
        # Whoever comes back late stores nothing.
        self.assertFalse(self.session().value("SELECT cache.fill(%s, 'late'::text)", lease))
        self.assertTrue(other.value("SELECT cache.fill(%s, 'in time'::text)", new))
        self.assertEqual(other.value("SELECT cache.get('k')"), "in time")

    def test_a_claim_that_is_rolled_back_is_none_and_nobody_waits_for_an_open_transaction(self):
        s, other = self.session(), self.session()
        s.run("BEGIN; SELECT cache.claim('k')")
        other.run("SET statement_timeout = '2 s'")
        self.assertEqual(other.rows("SELECT * FROM cache.claim('k')"), [("miss", None, None)])
        s.run("ROLLBACK")
        self.assertIsNotNone(other.value("SELECT lease FROM cache.claim('k')"))

    def test_release_and_what_overtakes_a_lease(self):
        s, other = self.session(), self.session()
        lease = s.value("SELECT lease FROM cache.claim('k')")
        self.assertIsNone(other.value("SELECT lease FROM cache.claim('k')"))
        s.run("SELECT cache.release(%s)", lease)
        self.assertFalse(s.value("SELECT cache.fill(%s, 'x'::text)", lease))
        lease = other.value("SELECT lease FROM cache.claim('k')")
        s.run("SELECT cache.set('k', 'newer')")
        self.assertFalse(other.value("SELECT cache.fill(%s, 'older'::text)", lease))
        self.assertEqual(s.value("SELECT cache.get('k')"), "newer")
        s.run("SELECT cache.delete('k')")
        lease = other.value("SELECT lease FROM cache.claim('k')")
        s.run("SELECT cache.invalidate('a')")
        self.assertFalse(other.value("SELECT cache.fill(%s, 'older'::text, tags => ARRAY['a'])", lease))
        self.assertIsNone(s.value("SELECT cache.get('k')"))

    def test_a_forged_or_truncated_lease_is_an_error(self):
        s = self.session()
        lease = s.value("SELECT lease FROM cache.claim('k')")
        for wrong in (b"", b"\x01", lease[:-1], lease + b"\x00", bytes([lease[0] ^ 1]) + lease[1:], lease[:5] + bytes([lease[5] ^ 1]) + lease[6:], os.urandom(25), os.urandom(5000)):
            for call in ("fill(%s, 'x'::text)", "release(%s)"):
                with self.assertRaises(psycopg.errors.InvalidParameterValue):
                    s.run(f"SELECT cache.{call}", wrong)
        self.assertTrue(s.value("SELECT cache.fill(%s, 'x'::text)", lease))


class Watching(Case):
    def live(self, s, *tags):
        """Stores an entry for each tag, live now."""
        s.run("SELECT cache.clock()")
        for tag in tags:
            s.run("SELECT cache.set(%s, 'x', tags => ARRAY[%s], as_of => cache.clock())", tag, tag)
            assert s.value("SELECT cache.get(%s)", tag) == "x", tag

    def gone(self, s, *tags):
        return [tag for tag in tags if s.value("SELECT cache.get(%s)", tag) is None]

    def test_rows_by_their_columns(self):
        s = self.session()
        s.run("CREATE TABLE items (id integer PRIMARY KEY, owner text); INSERT INTO items VALUES (1, 'ann'), (2, 'bob')")
        s.run("SELECT cache.watch('items', 'item:{id}'), cache.watch('items', 'of:{owner}')")
        tags = ("item:1", "item:2", "item:3", "of:ann", "of:bob", "of:eve", "other")
        for change, expected in [
            ("UPDATE items SET owner = 'eve' WHERE id = 1", ["item:1", "of:ann", "of:eve"]),
            ("INSERT INTO items VALUES (3, 'ann')", ["item:3", "of:ann"]),
            ("DELETE FROM items WHERE id = 2", ["item:2", "of:bob"]),
            ("TRUNCATE items", list(tags)),
        ]:
            self.live(s, *tags)
            s.run(change)
            self.assertEqual(self.gone(s, *tags), expected, change)
        s.run("SELECT cache.unwatch('items')")
        self.live(s, *tags)
        s.run("INSERT INTO items VALUES (9, 'ann')")
        self.assertEqual(self.gone(s, *tags), [])
        self.assertEqual(s.rows("SELECT * FROM cache.watched"), [])
        s.fails("SELECT cache.watch('items', 'x:{nothing}')", "42703")

    def test_partitions_present_and_later(self):
        s = self.session()
        s.run("CREATE TABLE parts (id integer) PARTITION BY RANGE (id); CREATE TABLE one PARTITION OF parts FOR VALUES FROM (0) TO (10)")
        s.run("SELECT cache.watch('parts'), cache.watch('parts', 'part:{id}')")
        s.run("CREATE TABLE two PARTITION OF parts FOR VALUES FROM (10) TO (20)")
        for change, expected in [
            ("INSERT INTO parts VALUES (1)", ["public.parts", "part:1"]),
            ("INSERT INTO one VALUES (1)", ["public.parts", "part:1"]),
            ("INSERT INTO two VALUES (11)", ["public.parts", "part:11"]),
            ("DELETE FROM parts WHERE id = 11", ["public.parts", "part:11"]),
            ("TRUNCATE one", ["public.parts", "part:1", "part:11"]),
        ]:
            self.live(s, "public.parts", "part:1", "part:11")
            s.run(change)
            self.assertEqual(self.gone(s, "public.parts", "part:1", "part:11"), expected, change)
        s.run("INSERT INTO parts VALUES (2)")
        self.assertEqual(s.value("SELECT cache.remember('SELECT id FROM parts')"), [{"id": 2}])
        s.run("UPDATE one SET id = 3")
        self.assertEqual(s.value("SELECT cache.remember('SELECT id FROM parts')"), [{"id": 3}])

    def test_children_by_inheritance_and_replication_roles(self):
        s = self.session()
        s.run("CREATE TABLE parent (id integer); CREATE TABLE child () INHERITS (parent); SELECT cache.watch('parent')")
        self.live(s, "public.parent")
        s.run("INSERT INTO child VALUES (1)")
        self.assertEqual(self.gone(s, "public.parent"), ["public.parent"])
        # Changes that come by replication fire these triggers, too.
        self.live(s, "public.parent")
        replica = Session(self.server, self.database, "postgres")
        self.addCleanup(replica.close)
        replica.run("SET session_replication_role = replica; INSERT INTO parent VALUES (1)")
        self.assertEqual(self.gone(s, "public.parent"), ["public.parent"])

    def test_remember(self):
        s, other = self.session(), self.session()
        s.run("CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'it''s'), (2, 'b')")
        query = "SELECT cache.remember('SELECT name FROM items WHERE id = $1 OR name = $2 ORDER BY id', '[1, \"b\"]')"
        self.assertIn("table public.items is not watched", s.fails(query, "55000").replace("table items", "table public.items"))
        s.run("SELECT cache.watch('items')")
        expected = [{"name": "it's"}, {"name": "b"}]
        self.assertEqual([s.value(query), other.value(query)], [expected] * 2)
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries WHERE key LIKE 'remember:%'"), 1)
        s.run("BEGIN; UPDATE items SET name = 'c' WHERE id = 1")
        self.assertEqual((s.value(query), other.value(query)), ([{"name": "c"}, {"name": "b"}], expected))
        s.run("COMMIT")
        self.assertEqual([s.value(query), other.value(query)], [[{"name": "c"}, {"name": "b"}]] * 2)
        self.assertEqual(s.value("SELECT cache.remember('SELECT * FROM items WHERE id = 99')"), [])
        self.assertEqual(s.value("SELECT cache.remember('SELECT id, NULL AS n FROM items WHERE name IS NOT DISTINCT FROM $1', '[null]')"), [])
        for call, code in [("remember('SELECT random()')", "0A000"), ("remember('SELECT nextval(''s'')')", "42P01"), ("remember('DELETE FROM items')", "42601"),
            ("remember('WITH d AS (DELETE FROM items RETURNING id) SELECT * FROM d')", "0A000"), ("remember('SELECT 1/0')", "22012"), ("remember('nonsense')", "42601")]:
            s.fails(f"SELECT cache.{call}", code)
        # What has failed leaves no lease behind.
        self.assertEqual(s.value("SELECT cache.remember('SELECT replace(name, ''random('', '''') AS r FROM items WHERE id = 2')"), [{"r": "b"}])
        self.assertEqual(s.value("SELECT count(*) FROM cache._leases"), 0)
        s.run("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
        s.fails("SELECT cache.remember('SELECT 1 FROM items', key => 'k')", "0A000")
        s.run("SELECT cache.remember('SELECT 1 FROM items')")

    def test_invalidations_are_seen_at_once_by_oneself_and_at_the_commit_by_others(self):
        s, other = self.session(), self.session()
        self.live(s, "a", "b")
        s.run("BEGIN; SELECT cache.invalidate('b')")
        self.assertEqual((self.gone(s, "a", "b"), self.gone(other, "a", "b")), (["b"], []))
        # What the transaction itself stores meanwhile goes, too.
        s.run("SELECT cache.set('b', 'own', tags => ARRAY['b'])")
        self.assertEqual(self.gone(s, "b"), ["b"])
        s.run("COMMIT")
        self.assertEqual((self.gone(s, "a", "b"), self.gone(other, "a", "b")), (["b"], ["b"]))
        other.run("SELECT cache.set('b', 'again', tags => ARRAY['b'])")
        self.assertEqual(s.value("SELECT cache.get('b')"), "again")
        s.run("BEGIN; SAVEPOINT one; SELECT cache.invalidate('a')")
        self.assertEqual(self.gone(s, "a"), ["a"])
        s.run("ROLLBACK TO one; COMMIT")
        self.assertEqual(self.gone(s, "a"), [])
        for change in ("touch('n', ttl => '1 hour')", "persist('n')", "incr('n')", "compare_and_set('n', 1::bigint, 2::bigint)"):
            s.run("SELECT cache.clock()")
            s.run("SELECT cache.set('n', 1::bigint, tags => ARRAY['a'], as_of => cache.clock())")
            s.run(f"SELECT cache.{change}")
            self.assertEqual(self.gone(s, "n"), [], change)
            s.run("SELECT cache.invalidate('a')")
            self.assertEqual(self.gone(s, "n"), ["n"], change)

    def test_the_value_is_of_the_transactions_start(self):
        s, other = self.session(), self.session()
        s.run("SELECT cache.clock(); BEGIN; SELECT 1")
        other.run("SELECT cache.invalidate('a')")
        other.run("SELECT cache.clock()")
        s.run("SELECT cache.set('k', 'old', tags => ARRAY['a']); COMMIT")
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        for level, is_live in (("READ COMMITTED", True), ("REPEATABLE READ", False), ("SERIALIZABLE", False)):
            s.run(f"BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class")
            other.run("SELECT cache.invalidate('a')")
            other.run("SELECT cache.clock()")
            as_of = s.value("SELECT cache.clock()")
            s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'], as_of => %s)", as_of)
            s.run("COMMIT")
            self.assertEqual(s.value("SELECT cache.get('k')") is not None, is_live, level)

    def test_spoilt_tags_are_as_good_as_invalidated(self):
        s = self.session()
        for change in ("tags = ARRAY[NULL]::text[]", "tags = ARRAY[['a']]", "tags = ARRAY[]::text[]", "as_of = NULL", "basis = NULL"):
            s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])")
            self.assertEqual(s.value("SELECT cache.get('k')"), "x")
            s.run(f"UPDATE cache.entries SET {change}")
            self.assertIsNone(s.value("SELECT cache.get('k')"), change)
        s.run("SELECT cache.sweep()")
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 0)


class Sweeping(Case):
    def test_writers_remove_what_has_expired(self):
        s = self.session()
        s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), ttl => '1 ms') FROM generate_series(1, 2000) AS i")
        for _ in range(3000):
            s.run("SELECT cache.set('busy', 'x')")
        self.assertLess(s.value("SELECT count(*) FROM cache.entries"), 100)

    def test_a_sweep_waits_for_nobody(self):
        s, writer = self.session(), self.session()
        s.run("SELECT cache.set('held', 'x', ttl => '1 ms'), cache.set('free', 'x', ttl => '1 ms'), pg_sleep(0.01)")
        writer.run("BEGIN; SELECT cache.set('held', 'new')")
        s.run("SET statement_timeout = '5s'")
        self.assertEqual(s.rows("SELECT cache, expired FROM cache.sweep()"), [("default", 1)])
        writer.run("COMMIT")
        self.assertEqual(s.value("SELECT cache.get('held')"), "new")

    def test_a_sweep_removes_what_is_invalidated_and_nothing_that_is_live(self):
        s = self.session()
        s.run("SELECT cache.set('a', 'x', tags => ARRAY['a']), cache.set('b', 'x', tags => ARRAY['b']), cache.set('long', 'x', ttl => '1 hour'), cache.set('never', 'x')")
        s.run("SELECT cache.invalidate('a')")
        s.run("SELECT cache.sweep()")
        self.assertEqual(s.column("SELECT key FROM cache.entries ORDER BY key"), ["b", "long", "never"])

    def test_budgets_hold(self):
        s = self.session()
        s.run("SELECT cache.create_cache('few', max_entries => 1000), cache.create_cache('small', max_size => '1 MB')")
        most = 0
        for round in range(100):
            s.run(f"SELECT cache.set('{round}-' || i, repeat('x', 200), cache => 'few') FROM generate_series(1, 100) AS i")
            most = max(most, s.value("SELECT count(*) FROM cache.entries_few"))
        self.assertLessEqual(most, 1250)
        self.assertGreaterEqual(s.value("SELECT count(*) FROM cache.entries_few"), 700)
        largest = 0
        for round in range(60):
            s.run(f"SELECT cache.set_many(array_agg('{round}-' || i), array_agg(repeat(md5(i::text), 50)), cache => 'small') FROM generate_series(1, 50) AS i")
            largest = max(largest, s.value("SELECT live_bytes FROM cache.stats WHERE cache = 'small'"))
        self.assertLessEqual(largest, (1 << 20) * 5 // 4)
        s.run("SELECT cache.set_many(array_agg('many' || i), array_agg('x'::text), cache => 'few') FROM generate_series(1, 20000) AS i")
        self.assertLessEqual(s.value("SELECT count(*) FROM cache.entries_few"), 1250)
        s.run("SELECT cache.alter_cache('few', max_entries => 100); SELECT cache.sweep('few')")
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries_few"), 100)


class Growth(Case):
    settings = ("autovacuum_naptime = 1s",)

    def test_the_file_stays_as_it_is_under_overwrites(self):
        s = self.session()
        fill = "SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 200))) FROM generate_series(1, 10000) AS i"
        s.run(fill)
        size = "SELECT pg_relation_size('cache.entries') + pg_relation_size('cache.entries_pkey')"
        first = s.value(size)

        def overwrite(number):
            t = self.session()
            for round in range(15):
                t.run(f"DO $$ BEGIN FOR i IN 1 .. 5000 LOOP PERFORM cache.set('k' || (random() * 9999 + 1)::int, repeat('y', 200)); COMMIT; END LOOP; END $$")

        in_threads(4, overwrite)
        self.assertLessEqual(s.value(size) / first, 1.3)
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 10000)


class Standby(Case):
    settings = ("wal_level = replica", "max_wal_senders = 4")

    def test_reads_miss_and_writes_are_refused(self):
        p = self.session()
        p.run("SELECT cache.create_cache('kept', durable => true)")
        p.run("SELECT cache.set('k', 'x'), cache.set('k', 'durable', cache => 'kept'), cache.set('t', 'x', tags => ARRAY['a'], cache => 'kept')")
        standby = self.server.standby()
        self.addCleanup(standby.stop, "immediate")
        s = Session(standby, self.database, "app")
        self.addCleanup(s.close)
        lsn = self.admin.value("SELECT pg_current_wal_lsn()::text")
        while not s.value(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"):
            time.sleep(0.05)
        self.assertEqual(s.rows("SELECT cache.get('k'), cache.exists('k'), cache.expires_at('k')"), [(None, False, None)])
        self.assertEqual(s.rows("SELECT * FROM cache.get_many(ARRAY['k'])"), [])
        self.assertEqual(s.column("SELECT cache.keys()"), [])
        self.assertEqual(s.rows("SELECT * FROM cache.claim('k')"), [("miss", None, None)])
        self.assertEqual(s.value("SELECT cache.get('k', cache => 'kept')"), "durable")
        self.assertIsNone(s.value("SELECT cache.get('t', cache => 'kept')"))
        for write in ("set('k', 'y')", "set_many(ARRAY['k'], ARRAY['y'])", "add('k', 'y')", "incr('n')", "take('k')", "touch('k')", "delete('k')", "clear()",
            "set('k', 'y', cache => 'kept')", "sweep()", "create_cache('other')", "alter_cache('kept', max_size => '1 MB')", "drop_cache('kept')", "invalidate('a')"):
            with self.subTest(write):
                self.assertTrue(s.fails(f"SELECT cache.{write}", "25006").startswith("cannot write to a cache during recovery"))
        s.fails("SELECT cache.get('k', cache => 'none')", "42704")
        s.run("SELECT cache.clock(); SELECT * FROM cache.stats; SELECT * FROM cache.sweeper; SET pg_stash.on_standby = error")
        self.assertIn("on_standby", s.fails("SELECT cache.get('k')", "25006"))
        self.assertEqual(s.value("SELECT cache.get('k', cache => 'kept')"), "durable")
        s.run("RESET pg_stash.on_standby")
        standby.run("pg_ctl", "-D", standby.data, "-w", "promote")
        while s.value("SELECT pg_is_in_recovery()"):
            time.sleep(0.05)
        self.assertEqual(s.rows("SELECT cache.get('k'), cache.get('t', cache => 'kept')"), [(None, None)])
        s.run("SELECT cache.set('k', 'new'), cache.clock()")
        s.run("SELECT cache.set('t', 'new', tags => ARRAY['a'])")
        self.assertEqual(s.rows("SELECT cache.get('k'), cache.get('t')"), [("new", "new")])

    def test_a_crash_loses_the_cache_and_a_clean_restart_keeps_it(self):
        s = self.session()
        s.run("SELECT cache.create_cache('kept', durable => true)")
        for mode, expected in (("fast", ("x", "x", "x", "x")), ("immediate", (None, None, "x", None))):
            s.run("SELECT cache.clock()")
            s.run("SELECT cache.set('k', 'x'), cache.set('t', 'x', tags => ARRAY['a']), cache.set('k', 'x', cache => 'kept'), cache.set('t', 'x', tags => ARRAY['a'], cache => 'kept')")
            s.close()
            self.server.stop(mode)
            self.server.start()
            s = self.session()
            self.assertEqual(s.rows("SELECT cache.get('k'), cache.get('t'), cache.get('k', cache => 'kept'), cache.get('t', cache => 'kept')"), [expected], mode)


class Differences(Case):
    """Each row of the README's table on what differs from the native edition."""

    def test_above_read_committed_a_read_sees_the_snapshot_and_a_write_may_fail(self):
        s, other = self.session(), self.session()
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            other.run("SELECT cache.set('k', 'old')")
            s.run(f"BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class")
            other.run("SELECT cache.set('k', 'newer')")
            self.assertEqual(s.value("SELECT cache.get('k')"), "old")
            s.fails("SELECT cache.set('k', 'mine')", "40001")
            s.run("ROLLBACK")
            s.run(f"BEGIN ISOLATION LEVEL {level}")
            s.fails("SELECT cache.create_cache('pages')", "0A000")
            s.run("ROLLBACK")

    def test_read_only_transactions_read_and_do_not_write(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'x')")
        s.run("BEGIN READ ONLY")
        self.assertEqual(s.value("SELECT cache.get('k')"), "x")
        self.assertEqual(s.rows("SELECT * FROM cache.claim('none')"), [("miss", None, None)])
        s.run("SELECT cache.clock()")
        # Without a lease to have, nobody waits for one.
        started = time.monotonic()
        self.assertEqual(s.rows("SELECT * FROM cache.claim('none', wait => '10 s')"), [("miss", None, None)])
        self.assertEqual(s.value("SELECT cache.remember('SELECT 1 AS one', ttl => '1 min')"), [{"one": 1}])
        self.assertLess(time.monotonic() - started, 5)
        s.fails("SELECT cache.set('k', 'y')", "25006")
        s.run("ROLLBACK")

    def test_what_a_transaction_has_swept_stays_locked_until_it_ends(self):
        s, other = self.session(), self.session()
        s.run("SELECT cache.set('expired', 'x', ttl => '1 ms'), pg_sleep(0.01)")
        s.run("BEGIN; SELECT cache.sweep()")
        other.run("SET lock_timeout = '200 ms'")
        other.fails("SELECT cache.set('expired', 'y')", "55P03")
        s.run("COMMIT")
        other.run("SELECT cache.set('expired', 'y')")

    def test_a_parallel_query_may_read_what_has_been_invalidated(self):
        s = self.session()
        s.run("CREATE TABLE many AS SELECT i FROM generate_series(1, 10000) AS i; ANALYZE many")
        s.run("SELECT cache.clock()")
        s.run("SELECT cache.set('k', 'x', tags => ARRAY['a'], as_of => cache.clock())")
        s.run("SELECT cache.invalidate('a')")
        s.run("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
        s.run("SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'on', false)")
        self.assertEqual(s.value("SELECT count(cache.get('k')) FROM many"), 0)

    def test_a_prepared_transaction_carries_an_invalidation(self):
        server = Server("max_prepared_transactions = 2")
        self.addCleanup(server.remove)
        admin = Session(server, "postgres", "postgres")
        self.addCleanup(admin.close)
        server.psql("postgres", "postgres", SCRIPT)
        admin.run("SELECT cache.set('k', 'x', tags => ARRAY['a'])")
        admin.run("BEGIN; SELECT cache.invalidate('a'); PREPARE TRANSACTION 'p'")
        self.assertEqual(admin.value("SELECT cache.get('k')"), "x")
        admin.run("COMMIT PREPARED 'p'")
        self.assertIsNone(admin.value("SELECT cache.get('k')"))

    def test_the_first_value_stored_after_an_invalidation_may_miss(self):
        s, other = self.session(), self.session()
        s.run("SELECT cache.clock()")
        other.run("SELECT cache.invalidate('a')")
        s.run("SELECT cache.set('k', 'first', tags => ARRAY['a'])")
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        s.run("SELECT cache.set('k', 'second', tags => ARRAY['a'])")
        self.assertEqual(s.value("SELECT cache.get('k')"), "second")

    def test_an_entry_larger_than_the_budget_leaves_the_one_before(self):
        s = self.session()
        s.run("SELECT cache.create_cache('small', max_size => '2 kB')")
        s.run("SELECT cache.set('k', 'old', cache => 'small')")
        s.fails("SELECT cache.set('k', repeat('x', 3000), cache => 'small')", "54000")
        self.assertEqual(s.value("SELECT cache.get('k', cache => 'small')"), "old")

    def test_reads_are_not_counted_and_burn_no_transaction_ids(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'x')")
        before = s.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        for _ in range(200):
            s.run("SELECT cache.get('k'), cache.get('none'), cache.exists('k')")
        self.assertLess(s.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint") - before, 20)
        self.assertEqual(s.rows("SELECT hits, misses, hit_ratio, expired, evicted, invalidated FROM cache.stats"), [(None,) * 6])

    def test_a_call_that_waits_for_a_drop_fails_with_another_code(self):
        s, other = self.session(), self.session()
        s.run("SELECT cache.create_cache('pages')")
        other.run("SELECT cache.get('k', cache => 'pages')")
        s.run("BEGIN; SELECT cache.drop_cache('pages')")

        def work(number):
            if number == 0:
                try:
                    other.run("SELECT cache.get('k', cache => 'pages')")
                except psycopg.Error as error:
                    return error.diag.sqlstate
            while self.admin.value("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", other.pid) != "Lock":
                time.sleep(0.01)
            s.run("COMMIT")

        self.assertIn(in_threads(2, work)[0], ("42P01", "42704", "XX000"))
        other.fails("SELECT cache.get('k', cache => 'pages')", "42704")

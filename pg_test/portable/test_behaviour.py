"""What sessions do to each other, who may do what, and what sweeps and standbys do."""

import os
import signal
import threading
import time

import psycopg

from harness import SCRIPT, Case, Server, Session, in_threads


class Concurrency(Case):
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

    def wait_for_waiter(self, session):
        while self.admin.value("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", session.pid) != "Lock":
            time.sleep(0.01)


class Leases(Case):
    def test_a_claim_that_is_rolled_back_is_none_and_nobody_waits_for_an_open_transaction(self):
        s, other = self.session(), self.session()
        s.run("BEGIN; SELECT cache.claim('k')")
        other.run("SET statement_timeout = '2 s'")
        self.assertEqual(other.rows("SELECT * FROM cache.claim('k')"), [("miss", None, None)])
        s.run("ROLLBACK")
        self.assertIsNotNone(other.value("SELECT lease FROM cache.claim('k')"))

    def test_a_delete_waits_for_a_fill_that_has_not_committed(self):
        s, filler = self.session(), self.session()
        for delete in ("cache.delete('k')", "cache.delete_many(ARRAY['k'])", "cache.delete_prefix('k')", "cache.clear()"):
            token = filler.value("SELECT lease FROM cache.claim('k')")
            filler.run("BEGIN")
            self.assertTrue(filler.value("SELECT cache.fill(%s, 'old'::text)", token))
            deleter = self.session()
            thread = threading.Thread(target=deleter.run, args=(f"SELECT {delete}",))
            thread.start()
            waits = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
            while thread.is_alive() and self.admin.value(waits, deleter.pid) != "Lock":
                time.sleep(0.01)
            filler.run("COMMIT")
            thread.join()
            self.assertIsNone(s.value("SELECT cache.get('k')"), delete)


class Sweeping(Case):
    def test_writers_remove_what_has_expired(self):
        s = self.session()
        s.run("SELECT cache.set_many(array_agg('k' || i), array_agg('x'::text), ttl => '1 ms') FROM generate_series(1, 2000) AS i")
        for _ in range(3000):
            s.run("SELECT cache.set('busy', 'x')")
        self.assertLess(s.value("SELECT count(*) FROM cache.entries"), 100)

    def test_a_sweep_removes_what_is_invalidated_and_nothing_that_is_live(self):
        s = self.session()
        s.run("SELECT cache.set('a', 'x', tags => ARRAY['a']), cache.set('b', 'x', tags => ARRAY['b']), cache.set('long', 'x', ttl => '1 hour'), cache.set('never', 'x')")
        s.run("SELECT cache.invalidate('a')")
        s.run("SELECT cache.sweep()")
        self.assertEqual(s.column("SELECT key FROM cache.entries ORDER BY key"), ["b", "long", "never"])

    def test_the_sweeper_view_tells_the_last_pass(self):
        s = self.session()
        s.run("SET pg_stash.autostart = off; SELECT cache.set('a', 'x', ttl => '1 ms'), pg_sleep(0.01)")
        self.assertEqual(s.rows("SELECT cache, scanned, expired, evicted FROM cache.sweep()"), [("default", 1, 1, 0)])
        self.assertEqual(s.rows("SELECT database::text, pid, state, scanned, expired, evicted FROM cache.sweeper"), [(self.database, None, "absent", 1, 1, 0)])

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

    def test_a_budget_of_few_large_values_holds(self):
        s = self.session()
        s.run("SELECT cache.create_cache('single', max_size => '4 MB'), cache.create_cache('batch', max_size => '4 MB')")
        value = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 2500) WHERE i IS NOT NULL)"
        for name, write in (
            ("single", f"SELECT cache.set('%s-' || i, {value}, cache => 'single') FROM generate_series(1, 5) AS i"),
            ("batch", f"SELECT cache.set_many(array_agg('%s-' || i), array_agg({value}), cache => 'batch') FROM generate_series(1, 5) AS i"),
        ):
            largest = 0
            for round in range(60):
                s.run(write % round)
                largest = max(largest, s.value("SELECT live_bytes FROM cache.stats WHERE cache = %s", name))
            self.assertGreater(largest, (4 << 20) * 3 // 4, name)
            self.assertLessEqual(largest, (4 << 20) * 5 // 4, name)

    def test_what_sweeps_removes_nothing_that_lives_for_those_who_may_not_delete(self):
        s = self.session()
        s.run("SELECT cache.set('k' || i, 'x') FROM generate_series(1, 100) AS i")
        other = self.stranger(s)
        other.fails("SELECT cache._sweep_blocks('default', 0, 1000, NULL, 0, 0, NULL)", "42501")
        other.fails("SELECT cache.sweep('default')", "42501")
        other.run("SELECT cache._sweep_piece('default', 0, 1000), cache._evict_piece('default', 1000), cache._sweep_cache('default')")
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 100)

    def test_a_stranger_to_all_caches_can_take_and_end_leases_and_no_more(self):
        s = self.session()
        s.run("SELECT cache.set('there', 'x')")
        other = self.stranger(s)
        for call in ("get('there')", "claim('k')", "delete('there')", "clear()"):
            other.fails(f"SELECT cache.{call}", "42501")
        token = s.value("SELECT lease FROM cache.claim('k')")
        other.run("SELECT cache._end_leases('default', ARRAY['k', 'there'])")
        self.assertFalse(s.value("SELECT cache.fill(%s, 'x'::text)", token))
        self.assertIsNotNone(other.value("SELECT cache._take_lease('default', 'k', '1 minute', NULL)"))
        self.assertIsNone(s.value("SELECT lease FROM cache.claim('k')"))
        self.assertEqual(s.value("SELECT cache.get('there')"), "x")

    def stranger(self, owner):
        """A session of a role that has USAGE on the schema, and no privilege on a cache."""
        self.admin.run("DO 'BEGIN CREATE ROLE stranger LOGIN; EXCEPTION WHEN duplicate_object THEN END'")
        owner.run("GRANT USAGE ON SCHEMA cache TO stranger")
        return self.session("stranger")


class Growth(Case):
    settings = ("autovacuum_naptime = 1s",)

    def test_the_file_stays_as_it_is_under_overwrites(self):
        s = self.session()
        s.run("SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 200))) FROM generate_series(1, 100000) AS i")
        size = "SELECT pg_relation_size('cache.entries') + pg_relation_size('cache.entries_pkey')"
        first = s.value(size)

        def overwrite(number):
            t = self.session()
            for round in range(10):
                t.run("DO $$ BEGIN FOR i IN 1 .. 10000 LOOP PERFORM cache.set('k' || (random() * 99999 + 1)::int, repeat('y', 200)); COMMIT; END LOOP; END $$")

        in_threads(4, overwrite)
        self.assertLessEqual(s.value(size) / first, 1.3)
        self.assertEqual(s.value("SELECT count(*) FROM cache.entries"), 100000)
        # While ANALYZE ran, its snapshot would keep what is overwritten. VACUUM's does not, and it has come.
        upkeep = "SELECT autovacuum_count, autoanalyze_count FROM pg_stat_user_tables WHERE relid = 'cache.entries'::regclass"
        until = time.monotonic() + 60
        while s.rows(upkeep)[0][0] < 2:
            self.assertLess(time.monotonic(), until, "autovacuum has not come")
            time.sleep(0.1)
            s.run("SELECT cache.set('k' || i, 'z') FROM generate_series(1, 5000) AS i")
        self.assertEqual(s.rows(upkeep)[0][1], 0)


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
        s.run("SET pg_stash.autostart = off; SELECT cache.set('expired', 'x', ttl => '1 ms'), pg_sleep(0.01)")
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

    def test_a_row_written_by_hand_that_is_no_entry_harms_nobody(self):
        s = self.session()
        s.run("INSERT INTO cache.entries (expires_at, key) VALUES ('infinity', 'none')")
        s.run("INSERT INTO cache.entries (expires_at, key, value_text, value_int) VALUES ('infinity', repeat('k', 2000), 'x', 1)")
        s.fails("SELECT cache.get('none')", "42804")
        s.run("SELECT cache.sweep()")
        s.run("SELECT cache.set('none', 'x')")
        self.assertEqual(s.value("SELECT cache.get('none')"), "x")

    def test_the_value_of_a_column_in_a_tag_has_the_text_of_its_output_function(self):
        superuser, s = self.session("postgres"), self.session()
        superuser.run("""
            CREATE TYPE public.number;
            CREATE FUNCTION public.number_in(cstring) RETURNS public.number LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
            CREATE FUNCTION public.number_out(public.number) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
            CREATE TYPE public.number (INPUT = public.number_in, OUTPUT = public.number_out, LIKE = int4);
            CREATE FUNCTION public.as_text(public.number) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'cast'::text $$;
            CREATE CAST (public.number AS text) WITH FUNCTION public.as_text(public.number)""")
        s.run("CREATE TABLE visits (at public.number)")
        s.run("SELECT cache.watch('visits', 'at:{at}')")
        for key, tag in [("output", "at:7"), ("cast", "at:cast")]:
            s.run("SELECT cache.set(%s, 'x', tags => ARRAY[%s], as_of => cache.clock())", key, tag)
        self.assertEqual(s.rows("SELECT cache.get('output'), cache.get('cast')"), [("x", "x")])
        s.run("INSERT INTO visits VALUES ('7')")
        self.assertEqual(s.rows("SELECT cache.get('output'), cache.get('cast')"), [(None, "x")])

    def test_the_first_value_stored_after_an_invalidation_may_miss(self):
        s, other = self.session(), self.session()
        s.run("SELECT cache.clock()")
        other.run("SELECT cache.invalidate('a')")
        s.run("SELECT cache.set('k', 'first', tags => ARRAY['a'])")
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        s.run("SELECT cache.set('k', 'second', tags => ARRAY['a'])")
        self.assertEqual(s.value("SELECT cache.get('k')"), "second")

    def test_reads_are_not_counted_and_burn_no_transaction_ids(self):
        s = self.session()
        s.run("SELECT cache.set('k', 'x')")
        before = s.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        for _ in range(200):
            s.run("SELECT cache.get('k'), cache.get('none'), cache.exists('k')")
        self.assertLess(s.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint") - before, 20)
        self.assertEqual(s.rows("SELECT hits, misses, hit_ratio, expired, evicted, invalidated FROM cache.stats"), [(None,) * 6])


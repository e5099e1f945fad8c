"""Once a transaction that changed a watched table has committed, nobody reads an entry that depended on the old rows."""

import random
import threading
import time

from harness import Case, in_threads

ROWS = 20
SECONDS = 10


class Exactness(Case):
    def watched(self):
        s = self.session()
        s.run("CREATE TABLE items (id integer PRIMARY KEY, version bigint NOT NULL)")
        s.run(f"INSERT INTO items SELECT i, 0 FROM generate_series(1, {ROWS}) AS i")
        s.run("SELECT cache.watch('items', 'item:{id}'), cache.watch('items')")
        return s

    def check(self, read, seconds=SECONDS, sabotage=None):
        """Has writers raise the versions of rows, and readers read them through the cache. Returns how many reads gave a
        version older than one whose commit had been acknowledged before the read began, how many reads hit, and how
        many writes were acknowledged."""
        s = self.watched()
        if sabotage:
            s.run(sabotage)
        # What the writers have been told is committed: a plain store in this process, read before each cached read.
        acknowledged = [0] * (ROWS + 1)
        locks = [threading.Lock() for _ in range(ROWS + 1)]
        end = time.monotonic() + seconds
        counts = {"stale": 0, "hits": 0, "writes": 0, "reads": 0}
        counting = threading.Lock()

        def writer(number):
            chance = random.Random(number)
            connection = self.server.connect(self.database, "app", autocommit=False)
            writes = 0
            while time.monotonic() < end:
                row = chance.randint(1, ROWS)
                with locks[row]:
                    version = acknowledged[row] + 1
                    kind = chance.randrange(12)
                    if kind == 0:
                        connection.execute("UPDATE items SET version = version + 1000000 WHERE id = %s", (row,))
                        connection.rollback()
                        continue
                    if kind == 1:
                        # A subtransaction that is rolled back, and one that is not.
                        connection.execute("SAVEPOINT a")
                        connection.execute("UPDATE items SET version = -1 WHERE id = %s", (row,))
                        connection.execute("ROLLBACK TO a")
                        connection.execute("SAVEPOINT b")
                        connection.execute("UPDATE items SET version = %s WHERE id = %s", (version, row))
                        connection.execute("RELEASE b")
                    elif kind == 2:
                        connection.execute("DELETE FROM items WHERE id = %s", (row,))
                        connection.execute("INSERT INTO items VALUES (%s, %s)", (row, version))
                    else:
                        connection.execute("UPDATE items SET version = %s WHERE id = %s", (version, row))
                    if chance.randrange(3) == 0:
                        time.sleep(chance.random() * 0.01)
                    connection.commit()
                    acknowledged[row] = version
                    writes += 1
            connection.close()
            with counting:
                counts["writes"] += writes

        def truncater():
            connection = self.server.connect(self.database, "app", autocommit=False)
            while time.monotonic() < end:
                time.sleep(0.5)
                for lock in locks[1:]:
                    lock.acquire()
                connection.execute("TRUNCATE items")
                for row in range(1, ROWS + 1):
                    connection.execute("INSERT INTO items VALUES (%s, %s)", (row, acknowledged[row] + 1))
                connection.commit()
                for row in range(1, ROWS + 1):
                    acknowledged[row] += 1
                for lock in locks[1:]:
                    lock.release()
            connection.close()

        def reader(number):
            chance = random.Random(1000 + number)
            connection = self.server.connect(self.database, "app")
            stale = hits = reads = 0
            while time.monotonic() < end:
                row = chance.randint(1, ROWS)
                known = acknowledged[row]
                version, is_hit = read(connection, row)
                reads += 1
                hits += is_hit
                if version is None or version < known:
                    stale += 1
            connection.close()
            with counting:
                counts["stale"] += stale
                counts["hits"] += hits
                counts["reads"] += reads

        in_threads(9, lambda n: writer(n) if n < 4 else reader(n) if n < 8 else truncater())
        return counts

    def assert_exact(self, counts):
        self.assertEqual(counts["stale"], 0, counts)
        self.assertGreater(counts["hits"], counts["reads"] // 20, counts)
        self.assertGreater(counts["writes"], 50, counts)

    def test_claim_and_fill(self):
        self.assert_exact(self.check(by_claim))

    def test_clock_and_as_of(self):
        self.assert_exact(self.check(by_clock))

    def test_set_in_the_transaction_that_has_read(self):
        self.assert_exact(self.check(by_transaction))

    def test_remember(self):
        self.assert_exact(self.check(by_remember))

    def test_the_checker_finds_what_is_broken(self):
        # Values that are said to be newer than what they were read from.
        broken = self.check(by_late_clock, seconds=4)
        self.assertGreater(broken["stale"], 0, broken)

    def test_the_checker_finds_invalidations_that_come_too_early(self):
        # Invalidations that count as seen by whoever began after them, committed or not.
        broken = self.check(by_claim, seconds=4, sabotage="""
            CREATE OR REPLACE FUNCTION cache._sees(basis pg_snapshot, xid xid8, is_bound boolean) RETURNS boolean
            LANGUAGE sql IMMUTABLE AS 'SELECT $2 < pg_snapshot_xmax($1)'""")
        self.assertGreater(broken["stale"], 0, broken)

    def test_a_value_read_before_an_invalidation_commits_is_dead_whenever_it_is_stored(self):
        s, writer, reader = self.watched(), self.session(), self.session()
        # The invalidation is older than the read, and commits later.
        writer.run("BEGIN")
        writer.run("UPDATE items SET version = 1 WHERE id = 1")
        as_of = reader.value("SELECT cache.clock()")
        old = reader.value("SELECT version FROM items WHERE id = 1")
        lease = reader.value("SELECT lease FROM cache.claim('claimed')")
        writer.run("COMMIT")
        s.value("SELECT cache.clock()")
        reader.run("SELECT cache.set('set', %s::text, tags => ARRAY['item:1'], as_of => %s)", str(old), as_of)
        self.assertFalse(reader.value("SELECT cache.fill(%s, %s::text, tags => ARRAY['item:1'])", lease, str(old)))
        self.assertEqual(s.column("SELECT cache.get(k) FROM unnest(ARRAY['set', 'claimed']) AS k"), [None, None])

    def test_the_horizon_of_another_cluster_is_not_believed(self):
        s = self.watched()
        s.run("SELECT cache.clock()")
        s.run("SELECT cache.set('k', 'x', tags => ARRAY['a']), cache.set('plain', 'y')")
        self.assertEqual(s.value("SELECT cache.get('k')"), "x")
        # What a restore does: the same rows, written by another transaction.
        s.run("UPDATE cache._horizon SET at = at")
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        self.assertIsNone(s.value("SELECT cache.get('k')"))
        self.assertEqual(s.value("SELECT cache.get('plain')"), "y")
        s.run("SELECT cache.set('k', 'again', tags => ARRAY['a'])")
        self.assertEqual(s.value("SELECT cache.get('k')"), "again")

    def test_an_heir_of_a_watched_table_notices_what_comes_from_above_both(self):
        s = self.session()
        s.run("CREATE TABLE top (n integer); CREATE TABLE middle () INHERITS (top); CREATE TABLE low () INHERITS (middle)")
        s.run("INSERT INTO low VALUES (1)")
        s.run("SELECT cache.watch('middle')")
        s.run("SELECT cache.clock()")
        s.run("SELECT cache.set('k', 'x', tags => ARRAY['public.middle'])")
        self.assertEqual(s.value("SELECT cache.get('k')"), "x")
        s.run("UPDATE top SET n = 2")
        self.assertIsNone(s.value("SELECT cache.get('k')"))

    def test_what_unwatch_leaves_to_an_heir(self):
        s = self.session()
        s.run("CREATE TABLE mother (n integer); CREATE TABLE child () INHERITS (mother)")
        s.run("SELECT cache.watch('mother'), cache.watch('child')")
        s.run("SELECT cache.unwatch('mother')")
        self.assertEqual(s.column("SELECT tag FROM cache.watched"), ["public.child"])

    def looked_at(self, session):
        """How many invalidations a new session has looked at in its transaction."""
        return session.value("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'cache._invalidations'::regclass")

    def test_neither_reads_nor_invalidations_look_at_those_of_other_tags(self):
        s = self.session()
        s.run("SELECT cache.clock(); SELECT cache.set('k', 'x', tags => ARRAY['a', 'b'])")
        s.run("BEGIN; SELECT cache.invalidate('other' || i % 2000) FROM generate_series(1, 6000) AS i")
        self.assertLessEqual(self.looked_at(s), 20000)
        s.run("COMMIT")
        self.assertEqual(s.value("SELECT count(*) FROM cache._invalidations"), 2000)
        reader = self.session()
        reader.run("BEGIN")
        self.assertEqual([reader.value("SELECT cache.get('k')") for _ in range(20)], ["x"] * 20)
        self.assertEqual(self.looked_at(reader), 0)
        reader.run("COMMIT")
        s.run("SELECT cache.invalidate('b')")
        self.assertIsNone(reader.value("SELECT cache.get('k')"))

    def test_forgetting_invalidations_brings_nothing_back(self):
        s = self.watched()
        s.run("SELECT cache.clock()")
        s.run("SELECT cache.set('old', 'x', tags => ARRAY['a']), cache.set('kept', 'y', tags => ARRAY['b'])")
        for _ in range(30):
            s.run("SELECT cache.invalidate('a')")
        s.run("SELECT cache.get('old')")
        s.run("SELECT cache.set('new', 'z', tags => ARRAY['a'])")
        # What is newer than some seconds is left as it is.
        time.sleep(5.2)
        s.run("SELECT cache._compact()")
        self.assertLess(s.value("SELECT count(*) FROM cache._invalidations WHERE tag = 'a'"), 3)
        s.run("UPDATE cache.entries SET expires_at = 'infinity'")
        got = s.column("SELECT cache.get(k) FROM unnest(ARRAY['old', 'new', 'kept']) AS k")
        self.assertEqual(got, [None, "z", "y"])


def version_of(connection, row):
    found = connection.execute("SELECT version FROM items WHERE id = %s", (row,)).fetchone()
    return found[0] if found else None


def by_claim(connection, row):
    state, value, lease = connection.execute("SELECT * FROM cache.claim(%s, wait => '1 second')", (f"c{row}",)).fetchone()
    if value is not None:
        return int(value), True
    version = version_of(connection, row)
    if lease is not None:
        connection.execute("SELECT cache.fill(%s, %s::text, tags => %s)", (lease, str(version), [f"item:{row}"]))
    return version, False


def by_clock(connection, row, late=False):
    value = connection.execute("SELECT cache.get(%s)", (f"k{row}",)).fetchone()[0]
    if value is not None:
        return int(value), True
    as_of = connection.execute("SELECT cache.clock()").fetchone()[0]
    version = version_of(connection, row)
    if late:
        time.sleep(0.002)
        as_of = connection.execute("SELECT cache.clock()").fetchone()[0]
    connection.execute(
        "SELECT cache.set(%s, %s::text, tags => %s, as_of => %s)", (f"k{row}", str(version), [f"item:{row}"], as_of)
    )
    return version, False


def by_late_clock(connection, row):
    return by_clock(connection, row, late=True)


def by_transaction(connection, row):
    with connection.transaction():
        value = connection.execute("SELECT cache.get(%s)", (f"t{row}",)).fetchone()[0]
        if value is not None:
            return int(value), True
        version = version_of(connection, row)
        connection.execute("SELECT cache.set(%s, %s::text, tags => %s)", (f"t{row}", str(version), [f"item:{row}"]))
        return version, False


def by_remember(connection, row):
    rows = connection.execute(
        "SELECT cache.remember('SELECT version FROM items WHERE id = $1', jsonb_build_array(%s::int))", (row,)
    ).fetchone()[0]
    # Whether it was a hit is not told. Most are.
    return (rows[0]["version"] if rows else None), True

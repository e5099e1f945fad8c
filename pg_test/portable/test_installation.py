"""Installing, upgrading, removing and moving the portable edition; that each object has a comment."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import PG_BIN, ROOT, SCRIPT, Case, Server, Session

PORTABLE = ROOT / "sql/portable"

OBJECTS = """
    SELECT count(*) FROM pg_depend AS d JOIN pg_namespace AS n ON n.oid = d.refobjid
    WHERE d.refclassid = 'pg_namespace'::regclass AND n.nspname IN ('cache', 'cache_aside')"""


class Installation(Case):
    def fill(self, s):
        s.run("SELECT cache.create_cache('pages', '1 hour', '10 MB', 500), cache.create_cache('kept', durable => true)")
        s.run("SELECT cache.alter_cache('default', max_size => '64 MB')")
        s.run("SELECT cache.set('k', 'v'), cache.set('n', 7::bigint, cache => 'pages'), cache.set('k', 'v', cache => 'kept')")
        s.run("CREATE TABLE items (id integer PRIMARY KEY)")
        s.run("SELECT cache.watch('items'), cache.watch('items', 'item:{id}')")
        self.admin.run(f"DROP ROLE IF EXISTS reader_{self.database}")
        self.admin.run(f"CREATE ROLE reader_{self.database} LOGIN")
        s.run(f"GRANT USAGE ON SCHEMA cache TO reader_{self.database}")
        s.run(f"GRANT SELECT ON cache.entries_pages TO reader_{self.database}")

    def check(self, user="app"):
        s = self.session(user)
        policies = "SELECT string_agg(concat_ws(' ', name, default_ttl, max_size, max_entries, durable), ', ' ORDER BY name) FROM cache.caches"
        self.assertEqual(s.value(policies), "default 67108864 f, kept t, pages 01:00:00 10485760 500 f")
        self.assertEqual(s.value("SELECT cache.get('k') || cache.get('n', cache => 'pages') || cache.get('k', cache => 'kept')"), "v7v")
        reader = self.session(f"reader_{self.database}")
        self.assertEqual(reader.value("SELECT cache.get('n', cache => 'pages')"), "7")
        reader.fails("SELECT cache.get('k')", "42501")
        return s

    def test_running_it_again_keeps_everything(self):
        s = self.session()
        self.fill(s)
        s.run("SELECT cache.get('k'); SELECT cache.set('tagged', 'x', tags => ARRAY['a'])")
        before = s.value(OBJECTS)
        self.server.psql(self.database, "app", SCRIPT)
        s = self.check()
        self.assertEqual(s.value(OBJECTS), before)
        self.assertEqual(len(s.rows("SELECT * FROM cache.watched")), 2)
        # A default cache that has been dropped does not come back.
        s.run("SELECT cache.drop_cache('default')")
        self.server.psql(self.database, "app", SCRIPT)
        self.assertEqual(s.column("SELECT name FROM cache.caches ORDER BY name"), ["kept", "pages"])

    def test_it_runs_as_one_string_through_any_client(self):
        self.admin.run(f"CREATE DATABASE {self.database}_c OWNER app")
        connection = self.server.connect(f"{self.database}_c", "app")
        connection.execute(SCRIPT.read_text())
        connection.execute("SELECT cache.set('k', 'v')")
        self.assertEqual(connection.execute("SELECT cache.get('k')").fetchone(), ("v",))
        connection.close()

    def test_uninstall_removes_all_of_it_and_nothing_else(self):
        s = self.session()
        self.fill(s)
        s.run("CREATE VIEW uses_it AS SELECT cache.get('k')")
        with self.assertRaisesRegex(RuntimeError, "uses_it"):
            self.server.psql(self.database, "app", PORTABLE / "uninstall.sql")
        self.assertEqual(s.value("SELECT cache.get('k')"), "v")
        s.run("DROP VIEW uses_it")
        self.server.psql(self.database, "app", PORTABLE / "uninstall.sql")
        self.assertEqual(s.value(OBJECTS), 0)
        self.assertIsNone(s.value("SELECT to_regnamespace('cache')"))
        s.run("INSERT INTO items VALUES (1)")
        self.assertEqual(s.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), 0)
        self.server.psql(self.database, "app", SCRIPT)
        s.run("SELECT cache.set('k', 'v')")

    def test_every_object_has_a_comment(self):
        bare = self.session().column("""
            SELECT 'cache.' || p.proname FROM pg_proc AS p
            WHERE p.pronamespace = 'cache'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
            UNION ALL
            SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace = 'cache'::regnamespace AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL
            UNION ALL
            SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'cache'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
                AND col_description(a.attrelid, a.attnum) IS NULL
            UNION ALL
            SELECT t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
            WHERE c.relnamespace = 'cache'::regnamespace AND NOT t.tgisinternal AND obj_description(t.oid, 'pg_trigger') IS NULL""")
        self.assertEqual(bare, [])

    def test_a_dump_brings_back_all_but_entries_with_tags(self):
        s = self.session()
        self.fill(s)
        s.run("SELECT cache.get('k'); SELECT cache.clock()")
        s.run("SELECT cache.set('tagged', 'x', tags => ARRAY['a'], as_of => cache.clock())")
        self.assertEqual(s.value("SELECT cache.get('tagged')"), "x")
        dump = self.server.directory / f"{self.database}.sql"
        self.server.run("pg_dump", "-h", self.server.directory, "-U", "postgres", "-f", dump, self.database)
        s.close()
        source, self.database = self.database, f"{self.database}_copy"
        self.admin.run(f"CREATE DATABASE {self.database}")
        self.admin.run(f"ALTER ROLE reader_{source} RENAME TO reader_{self.database}")
        dump.write_text(dump.read_text().replace(f"reader_{source}", f"reader_{self.database}"))
        self.server.psql(self.database, "postgres", dump)
        s = self.check()
        self.assertIsNone(s.value("SELECT cache.get('tagged')"))
        s.run("SELECT cache.set('tagged', 'y', tags => ARRAY['a'])")
        self.assertEqual(s.value("SELECT cache.get('tagged')"), "y")
        self.assertEqual(len(s.rows("SELECT * FROM cache.watched")), 2)


class Package(unittest.TestCase):
    """The package of pg_tle. What pg_tle would run is run as the script of an ordinary extension, in a private copy of
    PostgreSQL that has it."""

    def test_the_package_is_an_extension(self):
        tree = pathlib.Path(tempfile.mkdtemp(prefix="pg_stash-portable-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, tree)
        tree.chmod(0o755)
        programs = pathlib.Path(PG_BIN)
        share = pathlib.Path(subprocess.check_output([programs / "pg_config", "--sharedir"], text=True).strip())
        for directory in (programs.parent, share):
            shutil.copytree(directory, tree / directory.relative_to("/"), symlinks=True)
        extensions = tree / share.relative_to("/") / "extension"
        (extensions / "pg_stash.control").write_text("default_version = '1'\nrelocatable = false\n")
        script = (PORTABLE / "pg_stash--pgtle.sql").read_text().split("$_pg_tle_$")[1]
        (extensions / "pg_stash--1.sql").write_text(script)
        server = Server(pg_bin=tree / programs.relative_to("/"))
        self.addCleanup(server.remove)
        s = Session(server, "postgres", "postgres")
        self.addCleanup(s.close)
        s.run("CREATE EXTENSION pg_stash")
        s.run("SELECT cache.create_cache('pages', '1 hour'), cache.create_cache('gone'), cache.set('k', 'v', cache => 'pages')")
        s.run("SELECT cache.drop_cache('gone')")
        dump = server.directory / "dump.sql"
        server.run("pg_dump", "-h", server.directory, "-U", "postgres", "-f", dump, "postgres")
        s.run("CREATE DATABASE copy")
        server.psql("copy", "postgres", dump)
        copy = Session(server, "copy", "postgres")
        self.addCleanup(copy.close)
        self.assertEqual(copy.column("SELECT name FROM cache.caches ORDER BY name"), ["default", "pages"])
        copy.run("SELECT cache.set('k', 'v', cache => 'pages')")
        self.assertTrue(copy.value("SELECT cache.ttl('k', cache => 'pages') > '59 min'"))
        copy.run("DROP EXTENSION pg_stash")
        self.assertIsNone(copy.value("SELECT to_regnamespace('cache')"))


NATIVE_BIN = os.environ.get("PG_NATIVE_BIN")


@unittest.skipUnless(NATIVE_BIN, "PG_NATIVE_BIN does not name the programs of a PostgreSQL that has the native edition")
class Moving(Installation):
    """From one edition to the other and back. The tests of the installation run on that server, too."""

    pg_bin = NATIVE_BIN

    def test_to_the_native_edition_and_back(self):
        s = self.session()
        self.fill(s)
        s.run("SELECT cache.clock()")
        s.run("SELECT cache.set('tagged', 'x', tags => ARRAY['a'])")
        s.run("INSERT INTO cache.entries (expires_at, key) VALUES ('infinity', 'no entry')")
        s.close()
        self.server.psql(self.database, "postgres", PORTABLE / "to_native.sql")
        s = self.check()
        self.assertEqual(s.value("SELECT count(*) FROM pg_extension WHERE extname = 'pg_stash'"), 1)
        self.assertEqual(s.value("SELECT lanname FROM pg_proc JOIN pg_language AS l ON l.oid = prolang WHERE pg_proc.oid = 'cache.get(text,text)'::regprocedure"), "c")
        self.assertIsNone(s.value("SELECT cache.get('tagged')"))
        self.assertFalse(s.value("SELECT cache.exists('no entry')"))
        s.run("SELECT cache.set('k', 'v'), cache.create_cache('more'), cache.drop_cache('more')")
        self.assertIsNone(s.value("SELECT to_regnamespace('cache_aside')"))
        with self.assertRaisesRegex(RuntimeError, "the native edition of pg_stash is installed"):
            self.server.psql(self.database, "postgres", SCRIPT)
        s.close()
        self.server.psql(self.database, "postgres", PORTABLE / "to_portable.sql")
        self.server.psql(self.database, "postgres", SCRIPT)
        s = self.check()
        self.assertEqual(s.value("SELECT count(*) FROM pg_extension WHERE extname = 'pg_stash'"), 0)
        s.run("SELECT cache.set('k', 'v'), cache.create_cache('more'), cache.drop_cache('more')")
        self.assertIsNone(s.value("SELECT to_regnamespace('cache_aside')"))

    def test_a_move_that_fails_leaves_everything_as_it_was(self):
        s = self.session()
        self.fill(s)
        s.run("CREATE VIEW uses_it AS SELECT cache.get('k')")
        with self.assertRaisesRegex(RuntimeError, "uses_it"):
            self.server.psql(self.database, "postgres", PORTABLE / "to_native.sql")
        self.check()
        self.assertEqual(len(s.rows("SELECT * FROM cache.watched")), 2)

    def test_create_extension_over_the_portable_edition_fails_and_changes_nothing(self):
        s = self.session()
        self.fill(s)
        superuser = self.session("postgres")
        self.assertIn("already exists", superuser.fails("CREATE EXTENSION pg_stash", "42723"))
        self.check()

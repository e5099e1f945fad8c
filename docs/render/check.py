"""Checks that a Flask site caches in PostgreSQL: python check.py MODULE:APPLICATION"""

import importlib
import os
import sys

WANTED = "pg_stash.flask.PostgresCache"


def fail(what):
    sys.exit(f"the site does not cache in PostgreSQL: {what}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    module, _, name = sys.argv[1].partition(":")
    sys.path.insert(0, os.getcwd())
    app = getattr(importlib.import_module(module), name or "app")
    print(f"cache type: {app.config.get('CACHE_TYPE')}")
    if app.config.get("CACHE_TYPE") != WANTED:
        fail(f"CACHE_TYPE is not {WANTED}")
    caches = list(app.extensions.get("cache", {}).values())
    if len(caches) != 1:
        fail(f"it has {len(caches)} caches of Flask-Caching, not one")
    with app.app_context():
        cache = caches[0]
        cache.set("test", "ok", timeout=60)
        got = cache.get("test")
    print(f"cache.get('test') gives {got}")
    if got != "ok":
        fail("what was set did not come back")


main()

"""Flask-Caching's own tests of a backend."""

import os
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from test_backend_cache import GenericCacheTests  # of Flask-Caching's source distribution

from pg_stash.flask import PostgresCache

URL = os.environ["PG_STASH_URL"]


def _fixtures():
    spec = spec_from_file_location("flask_caching_fixtures", os.environ["FOREIGN_TESTS"] + "/conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clock = _fixtures().clock


class TestPostgresCache(GenericCacheTests):
    _can_use_fast_sleep = False

    @pytest.fixture
    def make_cache(self):
        cache = PostgresCache(URL, key_prefix="suite:", fail_open=False)
        yield lambda: cache
        cache.clear()
        cache.client.close()

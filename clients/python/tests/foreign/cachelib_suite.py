"""cachelib's own tests of a cache, with the default serializer and one of cachelib's."""

import os

import pytest
from cachelib.serializers import SimpleSerializer
from clear import ClearTests  # this and the following: of cachelib's source distribution
from common import CommonTests
from conftest import key_prefix  # noqa: F401
from delete_many_with_prefix import DeleteManyWithPrefixTests
from has import HasTests
from serializer import SerializerTests

from pg_stash.cachelib import PostgresCache

URL = os.environ["PG_STASH_URL"]


@pytest.fixture(autouse=True, params=[None, SimpleSerializer()], ids=["own", "cachelib's"])
def cache_factory(request, key_prefix):  # noqa: F811
    made = []

    def factory(_self, **options):
        options.setdefault("key_prefix", key_prefix)
        cache = PostgresCache(URL, serializer=request.param, fail_open=False, **options)
        cache.client.clear()
        made.append(cache)
        return cache

    request.cls.cache_factory = factory
    yield
    for cache in made:
        cache.client.close()


class TestPostgresCache(CommonTests, ClearTests, HasTests, DeleteManyWithPrefixTests, SerializerTests):
    pass

"""Django's own tests of a cache backend, on the database of the project and on one of the cache's own."""

from cache.tests import BaseCacheTests, caches_setting_for_tests  # of Django's source distribution
from django.test import TestCase, override_settings
from django_run import URL

# There is no culling: the cache's budget is the server's affair. Django's three tests of it skip themselves.
CULLING = {"cull", "zero_cull"}


def _caches(location):
    base = {"BACKEND": "pg_stash.django.PostgresCache", "LOCATION": location, "OPTIONS": {"fail_open": False}}
    return override_settings(CACHES=caches_setting_for_tests(base=base, exclude=CULLING))


@_caches("")
class DefaultDatabaseTests(BaseCacheTests, TestCase):
    pass


@_caches(URL)
class OwnDatabaseTests(BaseCacheTests, TestCase):
    pass

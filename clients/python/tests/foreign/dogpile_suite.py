"""dogpile.cache's own tests of a backend: values, serializers, and locks within the process and across processes."""

import os
from typing import ClassVar

import psycopg
import pytest
from dogpile.testing.fixtures import (
    _GenericBackendTestSuite,
    _GenericMutexTestSuite,
    _GenericSerializerTestSuite,
)

ARGUMENTS = {"url": os.environ["PG_STASH_URL"], "fail_open": False}


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """The tests draw their keys at random from so few that two may have the same, and do not delete all of them."""
    with psycopg.connect(ARGUMENTS["url"], autocommit=True) as connection:
        connection.execute("SELECT cache.clear()")


class TestBackend(_GenericBackendTestSuite):
    backend = "pg_stash"
    config_args: ClassVar = {"arguments": {**ARGUMENTS, "distributed_lock": False}}


class TestSerializer(_GenericSerializerTestSuite, TestBackend):
    pass


class TestDistributedLock(_GenericBackendTestSuite, _GenericMutexTestSuite):
    backend = "pg_stash"
    config_args: ClassVar = {"arguments": {**ARGUMENTS, "distributed_lock": True, "lock_timeout": 30}}

"""dogpile.cache's own tests of a backend: values, serializers, and locks within the process and across processes."""

import os
from typing import ClassVar

from dogpile.testing.fixtures import (
    _GenericBackendTestSuite,
    _GenericMutexTestSuite,
    _GenericSerializerTestSuite,
)

ARGUMENTS = {"url": os.environ["PG_STASH_URL"], "fail_open": False}


class TestBackend(_GenericBackendTestSuite):
    backend = "pg_stash"
    config_args: ClassVar = {"arguments": {**ARGUMENTS, "distributed_lock": False}}


class TestSerializer(_GenericSerializerTestSuite, TestBackend):
    pass


class TestDistributedLock(_GenericBackendTestSuite, _GenericMutexTestSuite):
    backend = "pg_stash"
    config_args: ClassVar = {"arguments": {**ARGUMENTS, "distributed_lock": True, "lock_timeout": 30}}

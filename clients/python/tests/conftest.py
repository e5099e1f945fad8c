"""Fixtures: a private server for the run, and clients of both kinds behind one face."""

from __future__ import annotations

import asyncio
import inspect
import os
import uuid

import pytest

from pg_stash import AsyncClient, Client

from .server import Server


@pytest.fixture(scope="session")
def server():
    """A server that tests leave running."""
    with Server() as server:
        yield server


@pytest.fixture
def own_server():
    """A server that a test may stop."""
    with Server() as server:
        yield server


@pytest.fixture
def cache_name(server):
    """A cache of the test's own."""
    name = f"c{uuid.uuid4().hex[:12]}"
    server.sql(f"SELECT cache.create_cache('{name}')")
    yield name
    server.sql(f"SELECT cache.drop_cache('{name}')")


class Blocking:
    """An AsyncClient whose coroutines are run to their end, so that a test is written once for both clients."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        attribute = getattr(self._client, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute
        return lambda *args, **kwargs: self.blocking(attribute(*args, **kwargs))

    def blocking(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    def close(self):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


def connection_of(client):
    """The connection that the client would use next."""
    if isinstance(client, Blocking):
        return client.blocking(_take_and_give_back(client._pool))
    connection = client._pool.take()
    client._pool.give_back(connection)
    return connection


async def _take_and_give_back(pool):
    connection = await pool.take()
    await pool.give_back(connection)
    return connection


@pytest.fixture(params=[Client, AsyncClient])
def connect(request):
    """Makes clients of one kind, with blocking methods."""
    made = []

    def connect(url, cache="default", **options):
        client = request.param(url, cache, **{"fail_open": False, **options})
        if request.param is AsyncClient:
            client = Blocking(client)
        made.append(client)
        return client

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def client(connect, server, cache_name):
    return connect(server.url(), cache_name)


def pytest_report_header():
    return f"PostgreSQL of {os.environ.get('PG_BIN')}"

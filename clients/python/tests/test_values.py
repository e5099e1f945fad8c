"""What goes in comes out, equal and of the same type, and SQL reads what it can."""

import enum
import json
import math
import pickle
import random
from collections import OrderedDict, namedtuple
from datetime import datetime, timezone
from decimal import Decimal
from itertools import chain

import pytest

from pg_stash import PickleSerializer, Undecodable
from pg_stash.values import Codec

Point = namedtuple("Point", "x y")


class Colour(str, enum.Enum):
    RED = "red"


NATIVE = {
    "text": ["", "hello", "Iñtërnâtiônàlizætiøn", "🐘" * 1000, "a\nb\\c'\""],
    "int": [0, 1, -1, 2**63 - 1, -(2**63)],
    "bytes": [b"", b"\0\xff", bytes(range(256)) * 100, b"\x93pg_stas"],
    "json": [
        None,
        True,
        False,
        0.0,
        1.0,
        -2.5,
        0.1,
        1e-300,
        5e-324,
        9999999999999998.0,
        [],
        {},
        [1, 2.0, "x", None, True, [[]]],
        {"a": {"b": [1, {"c": None}]}, "": "empty", "ü": 2**63 - 1},
    ],
}
SERIALIZED = [
    2**63,
    -(2**63) - 1,
    float("inf"),
    -0.0,
    1e16,
    1e300,
    "zero\0byte",
    "lone \ud800 surrogate",
    b"\x93pg_stash:pickle\nlooks like ours",
    (1, 2),
    [1, (2,)],
    {1: "a"},
    {"a": 2**63},
    {"a": 1e22},
    [-0.0],
    {"a\0": 1},
    ["\udfff"],
    Point(1, 2),
    OrderedDict(a=1),
    Colour.RED,
    {1, 2},
    Decimal("1.10"),
    datetime(2026, 1, 2, tzinfo=timezone.utc),
    bytearray(b"x"),
]


def same(a, b):
    """Equal, of the same types all through, and of the same sign."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


@pytest.mark.parametrize("column", NATIVE)
def test_native_types_are_stored_as_such(client, server, cache_name, column):
    for value in NATIVE[column]:
        client.set("k", value)
        assert same(client.get("k", "miss"), value), value
        stored = server.sql(f"SELECT value_{column} IS NOT NULL FROM cache.entries_{cache_name}")
        assert stored == "t", value


def test_all_else_goes_through_the_serializer(client, server, cache_name):
    for value in SERIALIZED:
        client.set("k", value)
        assert same(client.get("k", "miss"), value), value
        assert server.sql(f"SELECT value_bytes IS NOT NULL FROM cache.entries_{cache_name}") == "t", value


def test_all_types_in_one_batch(client):
    values = {f"k{n}": value for n, value in enumerate([*chain(*NATIVE.values()), *SERIALIZED])}
    assert client.set_many(values) == len(values)
    found = client.get_many([*values, "nothing"])
    assert found.keys() == values.keys()
    assert all(same(found[key], value) for key, value in values.items())


def test_cycles_and_deep_nesting_are_serialized(client):
    cycle = []
    cycle.append(cycle)
    client.set("k", cycle)
    found = client.get("k")
    assert found[0] is found
    deep = []
    for _ in range(200):
        deep = [deep]
    client.set("k", deep)
    assert client.get("k") == deep


def test_not_a_number(client):
    client.set("k", float("nan"))
    assert math.isnan(client.get("k"))


def random_value(rng, depth=0):
    scalars = [
        lambda: rng.getrandbits(rng.randrange(1, 80)) * rng.choice([1, -1]),
        lambda: rng.uniform(-1, 1) * 10.0 ** rng.randrange(-320, 308),
        lambda: "".join(
            chr(rng.choice([*range(0x20, 0x7F), 0, 0xE9, 0xD801, 0x1F418])) for _ in range(rng.randrange(6))
        ),
        lambda: rng.choice([None, True, False, "", 0, 0.0, -0.0]),
        lambda: rng.randbytes(rng.randrange(5)),
    ]
    containers = [
        lambda: [random_value(rng, depth + 1) for _ in range(rng.randrange(4))],
        lambda: tuple(random_value(rng, depth + 1) for _ in range(rng.randrange(3))),
        lambda: {rng.choice(["a", "b", "é", 1, None]): random_value(rng, depth + 1) for _ in range(rng.randrange(4))},
    ]
    return rng.choice(scalars if depth > 3 else scalars + containers)()


def test_random_values(client):
    rng = random.Random(20)
    for _ in range(30):
        values = {f"k{n}": random_value(rng) for n in range(50)}
        client.set_many(values)
        found = client.get_many(values)
        for key, value in values.items():
            assert same(found[key], value), value


def test_values_written_by_sql_are_read(client, server, cache_name):
    for sql, value in {
        "'x'::text": "x",
        "'[1, 2.5, {\"a\": null}]'::jsonb": [1, 2.5, {"a": None}],
        "'\\x00ff'::bytea": b"\0\xff",
        "7::bigint": 7,
        "'null'::jsonb": None,
    }.items():
        server.sql(f"SELECT cache.set('k', {sql}, cache => '{cache_name}')")
        assert same(client.get("k", "miss"), value)


def test_json_false_keeps_the_order_of_keys(connect, server, cache_name):
    plain = connect(server.url(), cache_name, json=False)
    plain.set("k", {"long": 1, "a": 2})
    assert list(plain.get("k")) == ["long", "a"]


class JsonSerializer:
    name = "json"

    def dumps(self, value):
        return json.dumps(value, default=list).encode()

    def loads(self, data):
        return json.loads(data)


def test_another_serializer_is_not_given_what_it_did_not_write(connect, server, cache_name):
    plain = connect(server.url(), cache_name, serializer=JsonSerializer())
    pickling = connect(server.url(), cache_name)
    open_ = connect(server.url(), cache_name, fail_open=True)
    pickling.set("k", (1, 2))
    with pytest.raises(Undecodable, match="'pickle', not 'json'"):
        plain.get("k")
    assert plain.get_many(["k"]) == {}
    plain.set("k", (1, 2))
    assert plain.get("k") == [1, 2]
    assert open_.get("k", "miss") == "miss"


def test_only_what_carries_the_mark_is_unpickled(client):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    harmless = pickle.dumps(Bomb())
    client.set("k", harmless)
    assert client.get("k") == harmless


def test_what_cannot_be_unpickled_any_more_is_a_miss(connect, server, cache_name):
    broken = Codec().encode((1,))[1][:-3]
    strict = connect(server.url(), cache_name)
    lenient = connect(server.url(), cache_name, fail_open=True)
    server.sql(f"SELECT cache.set('k', '\\x{broken.hex()}'::bytea, cache => '{cache_name}')")
    with pytest.raises(Undecodable):
        strict.get("k")
    assert lenient.get("k", "miss") == "miss"


def test_what_cannot_be_pickled_is_an_error_and_stores_nothing(client):
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        client.set("k", lambda: None)
    assert not client.exists("k")


def test_pickle_serializer_round_trip():
    serializer = PickleSerializer()
    assert serializer.loads(serializer.dumps({1: (2,)})) == {1: (2,)}

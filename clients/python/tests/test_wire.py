"""The short way to send keys says the same as the long one."""

import json

import psycopg
import pytest

from pg_stash.wire import TEXT_ARRAY, array, texts

LISTS = [
    [],
    [""],
    ["k"],
    ["a", "", "bc", "a"],
    ["x" * 127],
    ["x" * 128],
    ["short", "x" * 1000, "short"],
    ["ü"],
    ["ascii", "🐘", "x" * 200],
    ["line\nbreak", "\x7f", "\x01", '{"a",NULL}'],
    [f"key:{n}" for n in range(1000)],
]


@pytest.mark.parametrize("strings", LISTS, ids=lambda strings: f"{len(strings)} of {len(strings and strings[0])}")
def test_both_ways_agree_and_the_server_reads_them(server, strings):
    sent = texts(strings)
    assert sent == array(TEXT_ARRAY, [string.encode() for string in strings])
    assert texts(iter(strings)) == sent
    with psycopg.connect(server.url()) as connection:
        result = connection.pgconn.exec_params(b"SELECT to_json($1)::text", [sent], [TEXT_ARRAY], [1])
        assert json.loads(result.get_value(0, 0)) == strings


def test_a_string_that_says_it_is_shorter_is_sent_whole():
    class Short(str):
        def __len__(self):
            return 1

    assert texts([Short("key"), "b"]) == array(TEXT_ARRAY, [b"key", b"b"])


@pytest.mark.parametrize("wrong", ["one string", [b"bytes"], ["a", None], [["a"]], [1]], ids=repr)
def test_what_is_not_a_list_of_strings_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        texts(wrong)


def test_no_list_is_null():
    assert texts(None) is None

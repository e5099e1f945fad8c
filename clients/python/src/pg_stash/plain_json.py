"""JSON that comes out of a jsonb as it went in."""

from __future__ import annotations

import json
from math import copysign
from typing import Any, Callable, cast

_MAX_DEPTH = 64
# jsonb holds strings and arrays of up to 256 MB; what comes close goes in as bytes.
_MAX_LENGTH = 64 * 1024 * 1024
# jsonb writes a number out in full: where repr() uses an exponent, the fraction that makes it a float is lost.
_FLOAT_LIMIT = 1e16
_INT_LIMIT = 2**63

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
# json.loads looks for the encoding and for options at each call; this is what it ends in.
decode = cast("Callable[[str], Any]", json.JSONDecoder().decode)


def encode(value: Any) -> bytes | None:
    """The JSON text of a value, or None where jsonb would not give back an equal value of the same types.

    Excluded are: tuples and subclasses of the JSON types, keys that are no strings, NaN and infinities, floats and
    integers that jsonb would change, strings with a zero byte, and nesting beyond 64 levels (and so, cycles).
    """
    if not _is_plain(value, 0):
        return None
    try:
        text = _encode(value).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return text if len(text) <= _MAX_LENGTH else None


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is str:
        return "\0" not in value
    if kind is int:
        return bool(-_INT_LIMIT <= value < _INT_LIMIT)
    if kind is bool or value is None:
        return True
    if kind is float:
        return -_FLOAT_LIMIT < value < _FLOAT_LIMIT and (value != 0 or copysign(1, value) > 0)
    if depth >= _MAX_DEPTH:
        return False
    if kind is list:
        return all(_is_plain(item, depth + 1) for item in value)
    if kind is dict:
        return all(type(key) is str and "\0" not in key and _is_plain(item, depth + 1) for key, item in value.items())
    return False

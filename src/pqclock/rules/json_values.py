"""What may be stored as JSON: arguments and results are plain JSON values, checked with the path of the bad one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from pqclock.errors import ArgumentError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 64
# Python neither writes nor reads whole numbers of more than 4,300 digits.
MAX_DIGITS = 4_000
_TOO_LARGE = 10**MAX_DIGITS
_SMALL = 10**18
# What is left for `default` are mappings other than dict.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict)
_quoted = json.encoder.encode_basestring


def check_object(value: Mapping[str, object], what: str) -> str:
    """The JSON text of `value`; raises ArgumentError naming `what` and the path of the first value that is none."""
    text = _flat(value)
    return check_value(value, what) if text is None else _within_limit(text, what)


def _flat(value: Mapping[str, object]) -> str | None:
    """The JSON text of what most calls have: names and simple values, looked at and written in one go; else None."""
    pairs = []
    for key, item in value.items():
        if isinstance(item, str):
            # Others need a look at each character.
            if not item.isascii() or "\x00" in item:
                return None
            text = _quoted(item)
        elif isinstance(item, bool):
            text = "true" if item else "false"
        elif type(item) is int:
            if not -_SMALL < item < _SMALL:
                return None
            text = str(item)
        elif item is None:
            text = "null"
        else:
            return None
        if type(key) is not str or not key.isidentifier():
            return None
        pairs.append(f'"{key}":{text}')
    return f"{{{','.join(pairs)}}}"


def check_value(value: object, what: str) -> str:
    """The JSON text of any JSON value, with the same limits as `check_object`."""
    _check(value, what, 1)
    return _within_limit(_ENCODER.encode(value), what)


def _within_limit(text: str, what: str) -> str:
    # A character takes four bytes at most, and most texts are far from the limit.
    if len(text) > MAX_BYTES // 4 and (size := len(text.encode())) > MAX_BYTES:
        raise ArgumentError(
            f"{what} takes {size:,} bytes as JSON, the limit is {MAX_BYTES:,}: store the data and pass its id instead"
        )
    return text


def _check(value: object, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ArgumentError(f"{path[:200]} is nested deeper than {MAX_DEPTH} levels: pass flatter data")
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"{path} is {value!r}, which JSON does not have: pass None or a text")
    elif isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise ArgumentError(f"{path} is a whole number of more than {MAX_DIGITS:,} digits: pass it as a text")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentError(
                    f"{path} has the key {key!r:.60}, but keys of JSON objects are texts: pass str(key)"
                )
            _check_text(key, f"a key of {path}")
            _check(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        raise ArgumentError(
            f"{path} is {value!r:.60} of type {type(value).__name__}, which is not a JSON value: pass a text, number, "
            f"boolean, None, list or dict"
        )


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise ArgumentError(f"{path} holds a NUL character, which PostgreSQL cannot store: remove it")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ArgumentError(f"{path} holds half a surrogate pair, which is no Unicode text: decode the bytes first")


def storable_text(text: str, limit: int) -> str:
    """`text` as PostgreSQL can store it: no NUL, no lone surrogates, at most `limit` bytes with the middle cut out."""
    data = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) > limit:
        half = (limit - 20) // 2
        data = data[:half] + b"\n... cut ...\n" + data[-half:]
    return data.decode("utf-8", "ignore")

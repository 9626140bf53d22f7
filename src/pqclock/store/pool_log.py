"""What the pools of pqclock would log of each attempt in vain, many a second: kept for the one sentence of whoever asked."""

from __future__ import annotations

import itertools
import logging

_PREFIX = "pqclock-"
_KEPT = 100
_numbers = itertools.count(1)
_reasons: dict[str, BaseException] = {}


class _Kept(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Let pass what is of other pools."""
        args = record.args
        if not (isinstance(args, tuple) and args and isinstance(args[0], str) and args[0].startswith(_PREFIX)):
            return True
        if len(args) > 1 and isinstance(args[1], BaseException):
            _reasons[args[0]] = args[1]
            while len(_reasons) > _KEPT:
                _reasons.pop(next(iter(_reasons)), None)
        return False


_kept = _Kept()


def pool_name() -> str:
    """A name for a pool of ours, whose attempts are not logged."""
    # Once: it is compared with those that are there.
    logging.getLogger("psycopg.pool").addFilter(_kept)
    return f"{_PREFIX}{next(_numbers)}"


def reason(name: str, error: Exception) -> BaseException:
    """Why the pool of that name has no connection, as its last attempt has found; else the error itself."""
    return _reasons.get(name, error)

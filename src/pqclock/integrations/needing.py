"""Libraries that come with an extra: one that is not there is told of by the extra's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(library: str, extra: str) -> Iterator[None]:
    """Around the imports of a library; raises ModuleNotFoundError with the way out where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        # What is missing inside of the library is its own affair.
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        raise ModuleNotFoundError(
            f"pqclock.integrations.{extra} needs the package {library}, which is not installed: "
            f"pip install 'pqclock[{extra}]'",
            name=error.name,
        ) from None

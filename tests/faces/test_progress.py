"""How far a job has come, in words."""

from __future__ import annotations

from typing import Any

import pytest

from pqclock.rules.progress import progress_words


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (None, ""),
        ({"done": None, "total": 5, "spent": 1.0}, ""),
        ({"done": 1200, "total": None, "spent": 1.0}, "1,200 done"),
        ({"done": 1200, "total": 0, "spent": 1.0}, "1,200 done"),
        ({"done": 1200, "total": 5000, "spent": 60.0}, "1,200 of 5,000 (24 %), about 3m10s left"),
        ({"done": 0, "total": 5000, "spent": 60.0}, "0 of 5,000 (0 %)"),
        ({"done": 5000, "total": 5000, "spent": 60.0}, "5,000 of 5,000 (100 %)"),
        ({"done": 4999, "total": 5000, "spent": 0.1}, "4,999 of 5,000 (99 %), about 1s left"),
    ],
)
def test_progress_is_told_with_the_time_that_is_left(progress: dict[str, Any] | None, words: str) -> None:
    assert progress_words(progress) == words

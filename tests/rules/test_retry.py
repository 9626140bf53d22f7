"""When a failed job runs again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import ArgumentError, DurationError
from pqclock.rules.retry import BACKOFFS, Retry, class_names
from rules.cron_examples import examples


@pytest.mark.parametrize(
    ("backoff", "seconds"),
    [("exponential", [5, 10, 20, 40, 60, 60]), ("linear", [5, 10, 15, 20, 25, 30]), ("constant", [5] * 6)],
)
def test_the_wait_grows_as_declared_up_to_the_limit(backoff: str, seconds: list[int]) -> None:
    retry = Retry(backoff=backoff, base="5s", limit="1m", jitter=0)
    assert [retry.delay(attempt, 1).total_seconds() for attempt in range(1, 7)] == seconds


@pytest.mark.parametrize("backoff", BACKOFFS)
def test_the_thousandth_attempt_waits_no_longer_than_the_limit(backoff: str) -> None:
    retry = Retry(max_attempts=1000, backoff=backoff, base="100d", limit="36525d", jitter=0)
    assert retry.delay(1000, 1) == timedelta(days=100 if backoff == "constant" else 36_525)


@examples(200)
@given(st.floats(0, 1), st.integers(1, 1000), st.integers(1, 2**63 - 1))
def test_jitter_takes_off_its_share_at_most(jitter: float, attempt: int, job_id: int) -> None:
    full = Retry(jitter=0).delay(attempt, job_id)
    delay = Retry(jitter=jitter).delay(attempt, job_id)
    assert full * (1 - jitter) - timedelta(microseconds=1) <= delay <= full


def test_jitter_is_the_same_for_ever_and_differs_between_jobs() -> None:
    retry = Retry(base="100s", jitter=1.0)
    assert retry.delay(1, 7) == timedelta(seconds=69.893824)
    assert len({retry.delay(1, job_id) for job_id in range(100)}) == 100


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"max_attempts": 1001}, "max_attempts=1001"),
        ({"max_attempts": True}, "max_attempts=True"),
        ({"max_attempts": 2.0}, "max_attempts=2.0"),
        ({"backoff": "random"}, "backoff='random'"),
        ({"backoff": None}, "backoff=None"),
        ({"backoff": []}, "list of 1 to 1000 durations"),
        ({"only": "ValueError"}, "only='ValueError'"),
        ({"never": [3]}, "has 3, which is no exception"),
        ({"discard": ["shop.Gone"]}, "without the module"),
        ({"per": {"ValueError": 3}}, "a pqclock.Retry each"),
        ({"jitter": -0.1}, "jitter=-0.1"),
        ({"jitter": 1.1}, "jitter=1.1"),
        ({"jitter": float("nan")}, "jitter=nan"),
        ({"jitter": "0.1"}, "jitter='0.1'"),
        ({"jitter": True}, "jitter=True"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        Retry(**options)


@pytest.mark.parametrize("options", [{"base": "5"}, {"base": 5}, {"limit": "soon"}, {"limit": timedelta(-1)}])
def test_a_wrong_duration_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DurationError):
        Retry(**options)


def test_the_published_policy_is_json() -> None:
    assert Retry(3, "linear", timedelta(seconds=90), "2h", 0).to_options() == {
        "max_attempts": 3, "backoff": "linear", "base": "1m30s", "limit": "2h", "jitter": 0,
    }  # fmt: skip


def test_a_list_of_waits_is_walked_and_its_last_one_stays() -> None:
    retry = Retry(backoff=["1s", timedelta(minutes=2), "3h"], jitter=0, limit="1h")
    assert [retry.delay(attempt, 1).total_seconds() for attempt in range(1, 6)] == [1, 120, 10_800, 10_800, 10_800]


class Gone(LookupError):
    pass


RETRY = Retry(
    never=[ValueError],
    discard=[Gone],
    per={"ConnectionError": Retry(max_attempts=2, backoff="constant", base="1s", never=["BrokenPipeError"])},
)


@pytest.mark.parametrize(
    ("error", "attempt", "verdict"),
    [
        (OSError, 1, "again"),
        (OSError, 5, "failed"),
        (UnicodeError, 1, "failed"),
        (Gone, 1, "discarded"),
        (LookupError, 1, "again"),
        (ConnectionResetError, 1, "again"),
        (ConnectionResetError, 2, "failed"),
        (BrokenPipeError, 1, "failed"),
    ],
)
def test_exceptions_are_told_apart_by_their_classes_and_those_above(
    error: type[BaseException], attempt: int, verdict: str
) -> None:
    assert RETRY.verdict(class_names(error), attempt, 5) == verdict


PATIENT = Retry(max_attempts=2, per={"ConnectionError": Retry(max_attempts=5), "KeyError": Retry(max_attempts=1)})


@pytest.mark.parametrize(
    ("error", "asked", "allowed"),
    [(ValueError, 5, 2), (ConnectionError, 5, 5), (KeyError, 5, 1), (ValueError, 3, 3), (ConnectionError, 3, 3),
     (KeyError, 3, 1), (ValueError, 8, 8), (ConnectionError, 8, 5)],
)  # fmt: skip
def test_a_policy_of_its_own_may_be_more_patient_and_a_call_goes_before(
    error: type[BaseException], asked: int, allowed: int
) -> None:
    assert PATIENT.most == 5
    verdicts = [PATIENT.verdict(class_names(error), attempt, asked) for attempt in range(1, 10)]
    assert verdicts.index("failed") + 1 == allowed


def test_only_what_is_named_is_tried_again() -> None:
    retry = Retry(only=[OSError, "Later"])
    assert retry.verdict(class_names(ConnectionResetError), 1, 5) == "again"
    assert retry.verdict(("Later", "Exception"), 1, 5) == "again"
    assert retry.verdict(class_names(KeyError), 1, 5) == "failed"


def test_a_policy_of_its_own_gives_its_own_waits_and_travels_whole() -> None:
    assert RETRY.policy(class_names(ConnectionResetError)).base == "1s"
    assert RETRY.policy(class_names(KeyError)) is RETRY
    assert RETRY.to_options()["per"]["ConnectionError"]["never"] == ["BrokenPipeError"]  # type: ignore[index]

"""`Cron` as a value: immutable, comparable, shared by threads, cheap to import and to keep."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from pqclock.rules.cron import Cron

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_equality_is_that_of_the_normalised_arguments() -> None:
    cron = Cron("0 2 * * mon", "Europe/Berlin")
    assert cron == Cron(" 0  2 *\t* MON ", "Europe/Berlin", "shift", "first")
    assert len({cron, Cron("0 2 * * MON", "Europe/Berlin")}) == 1
    assert Cron("@daily") == Cron("0 0 * * *")
    others = [
        Cron("0 3 * * MON", "Europe/Berlin"),
        Cron("0 2 * * MON", "Europe/Paris"),
        Cron("0 2 * * MON", "Europe/Berlin", gap="skip"),
        Cron("0 2 * * MON", "Europe/Berlin", fold="both"),
    ]
    assert cron not in others
    assert cron != "0 2 * * MON"


def test_attributes() -> None:
    cron = Cron("  0 2 * *   mon", "Europe/Berlin", gap="skip", fold="both")
    assert (cron.expression, cron.timezone, cron.gap, cron.fold) == ("0 2 * * mon", "Europe/Berlin", "skip", "both")
    assert repr(cron) == "Cron('0 2 * * mon', timezone='Europe/Berlin', gap='skip', fold='both')"
    assert eval(repr(cron)) == cron


@pytest.mark.parametrize("name", ["expression", "timezone", "gap", "fold", "wildcard", "other"])
def test_nothing_can_be_set(name: str) -> None:
    cron = Cron("0 2 * * *")
    with pytest.raises(AttributeError):
        setattr(cron, name, "x")
    with pytest.raises(AttributeError):
        delattr(cron, name)
    assert not hasattr(cron, "__dict__")


def test_copies_are_equal() -> None:
    cron = Cron("0 2 * * *", "Europe/Berlin", fold="second")
    for twin in (copy.copy(cron), copy.deepcopy(cron), pickle.loads(pickle.dumps(cron))):
        assert twin == cron
        assert twin.next(START) == cron.next(START)


@pytest.mark.parametrize(
    ("expr", "wildcard"),
    [
        ("* 2 * * *", True),
        ("*/15 2 * * *", True),
        ("*,5 2 * * *", True),
        ("0 * * * *", True),
        ("5 */2 * * *", True),
        ("@hourly", True),
        ("*/20 5 2 * * *", True),
        ("5 */7 2 * * *", True),
        ("0-59 2 * * *", False),
        ("0 0-23 * * *", False),
        ("5,* 2 * * *", False),
        ("0 2 */2 * *", False),
        ("30 0 2 * * *", False),
        ("@daily", False),
    ],
)
def test_wildcard(expr: str, wildcard: bool) -> None:
    assert Cron(expr).wildcard is wildcard


@pytest.mark.parametrize(
    ("expr", "notes"),
    [
        ("*/15 * * * *", []),
        ("0 9-17/3 * * 1-5", []),
        ("0 0 1 JAN ?", []),
        ("*/40 * * * *", ["minute '*/40' fires at :00 and :40, then starts anew"]),
        ("0 5/7 * * *", ["hour '5/7' fires at hour 5, 12 and 19, then starts anew"]),
        ("0-30/45 0 * * *", ["minute '0-30/45' fires at :00 only: a wide step"]),
        ("0 0 */10 * *", ["day '*/10' fires on the 1st, 11th, 21st and 31st, then starts anew"]),
        ("0 0 1 */5 *", ["month '*/5' fires in Jan, Jun and Nov, then starts anew"]),
        ("0 0 * * */3", ["weekday '*/3' fires on Sunday, Wednesday and Saturday, then starts anew"]),
        ("0 0 * * */7", ["weekday '*/7' fires on Sunday only: a wide step"]),
        (
            "*/7 0 * * *",
            ["minute '*/7' fires at :00, :07, :14, :21, :28, :35, ... and :56, then starts anew"],
        ),
        (
            "0 0 15 * FRI",
            [
                "day and weekday are both restricted: fires on the 15th OR on Fridays, not only where both meet",
            ],
        ),
        (
            "0 0 1-7,L * TUE#1,5L",
            [
                "day and weekday are both restricted: fires on the 1st to the 7th and the last day of the month"
                " OR on the 1st Tuesday and the last Friday, not only where both meet",
            ],
        ),
        ("0 0 31 * *", ["fires only in months that have the 31st: L is the last day of every month"]),
        ("0 0 31 1,3 *", []),
    ],
)
def test_notes(expr: str, notes: list[str]) -> None:
    assert Cron(expr).notes() == notes


@pytest.mark.parametrize(
    "expr", ["0 0 LW,3 * 1-5", "0 0 15W * 0-6", "0 0 1,3,5,7,9,11,13,15,17,19,21 * MON/2", "1/99 1/99 1/99 1/99 6/99"]
)
def test_notes_of_anything_are_sentences(expr: str) -> None:
    assert all(len(note) < 250 and note.isprintable() for note in Cron(expr).notes())


def test_threads_share_one() -> None:
    cron = Cron("*/7 1-3 * * *", "Europe/Berlin")
    starts = [START + timedelta(hours=7) * n for n in range(2000)]
    expected = [Cron("*/7 1-3 * * *", "Europe/Berlin").next(start) for start in starts]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: [cron.next(start) for start in starts], range(8)))
    assert all(answer == expected for answer in answers)


def test_importing_does_not_load_croniter() -> None:
    code = (
        "import sys; from pqclock.rules.cron import Cron; import pqclock.rules.intervals;"
        "assert 'croniter' not in sys.modules;"
        "Cron('0 2 * * *'); assert 'croniter' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

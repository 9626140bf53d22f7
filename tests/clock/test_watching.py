"""When schedule files count as changed: only when they stand still again, and hold something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pqclock.clock.service import ClockService
from pqclock.clock.watching import ScheduleFiles, Settling, differences
from pqclock.schedule_files import Snapshot
from pqclock.settings import Settings, load

A, B, C = {"a": (1,)}, {"a": (2,)}, {"a": (2,), "b": (1,)}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        (A, A, []),
        (A, B, ["a was changed"]),
        (B, C, ["b is new"]),
        (C, A, ["a was changed", "b is gone"]),
        (A, {}, ["a is gone"]),
    ],
)
def test_differences(before: Snapshot, after: Snapshot, told: list[str]) -> None:
    assert list(differences(before, after)) == told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([A, A], [[], []]),
        ([B, B, B], [[], ["a was changed"], []]),
        ([{}, {}], [[], ["a is gone"]]),
        # Something is written all the time: nothing is read until it is done.
        ([B, C, B, C, C], [[], [], [], [], ["a was changed", "b is new"]]),
        # There and back between two looks that count.
        ([B, A, A], [[], [], []]),
        ([B, B, A, A], [[], ["a was changed"], [], ["a was changed"]]),
    ],
)
def test_changes_count_when_they_stand_still(looks: list[Snapshot], told: list[list[str]]) -> None:
    settling = Settling(A)
    assert [settling.look(seen) for seen in looks] == told


ONE = '[schedule.one]\ntask = "t"\nevery = "1h"\n'
TWO = ONE.replace("one", "two")
CALENDAR = '[calendar.off]\nfile = "off.toml"\n[schedule.one]\ntask = "t"\ncron = "0 0 * * *"\nexclude = ["off"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one schedule file."""
    made = tmp_path / "schedules"
    made.mkdir()
    (made / "a.toml").write_text(ONE)
    return made


@pytest.fixture
def files(folder: Path) -> ScheduleFiles:
    """Its files, read once."""
    found = ScheduleFiles(load({"schedules": (str(folder),)}, environ={}, folder=folder))
    found.read()
    return found


def changed(files: ScheduleFiles) -> bool:
    """Whether enough looks tell of a change; if so, the files are read."""
    told = [files.changed() for _ in range(3)]
    if any(told):
        files.read()
    return any(told)


def edit(folder: Path) -> None:
    (folder / "a.toml").write_text(TWO)


def same_size_and_times(folder: Path) -> None:
    old = (folder / "a.toml").stat()
    (folder / "a.toml").write_text(TWO)
    os.utime(folder / "a.toml", ns=(old.st_atime_ns, old.st_mtime_ns))


def rename_over(folder: Path) -> None:
    (folder / ".a.toml.swp").write_text(TWO)
    (folder / ".a.toml.swp").rename(folder / "a.toml")


def another_file(folder: Path) -> None:
    (folder / "b.toml").write_text(TWO)


def delete(folder: Path) -> None:
    (folder / "a.toml").unlink()


def break_it(folder: Path) -> None:
    (folder / "a.toml").write_text("[schedule")


def vanish(folder: Path) -> None:
    delete(folder)
    folder.rmdir()


@pytest.mark.parametrize("act", [edit, same_size_and_times, rename_over, another_file, delete, break_it, vanish])
def test_changes_are_seen_once(folder: Path, files: ScheduleFiles, act: Callable[[Path], None]) -> None:
    assert not changed(files)
    act(folder)
    assert changed(files)
    assert not changed(files)
    folder.mkdir(exist_ok=True)
    (folder / "b.toml").unlink(missing_ok=True)
    (folder / "a.toml").write_text(ONE)
    assert changed(files)


def touch(folder: Path) -> None:
    (folder / "a.toml").touch()


def leftovers(folder: Path) -> None:
    for name in (".a.toml.swp", "a.toml~", "#a.toml#", ".#a.toml", "notes.txt"):
        (folder / name).write_text(TWO)


def the_same_again(folder: Path) -> None:
    vanish(folder)
    folder.mkdir()
    (folder / "a.toml").write_text(ONE)


@pytest.mark.parametrize("act", [touch, leftovers, the_same_again])
def test_the_same_content_is_no_change(folder: Path, files: ScheduleFiles, act: Callable[[Path], None]) -> None:
    assert not changed(files)
    act(folder)
    assert not changed(files)


def test_calendar_files_are_watched(folder: Path, files: ScheduleFiles) -> None:
    (folder / "a.toml").write_text(CALENDAR)
    assert changed(files)
    (folder.parent / "unheeded.toml").write_text("dates = [2026-12-25]\n")
    assert not changed(files)
    for text in ("dates = [2026-12-25]\n", "dates = [2026-12-26]\n"):
        (folder / "off.toml").write_text(text)
        assert changed(files)
    (folder / "off.toml").unlink()
    assert changed(files)


def test_the_default_folder_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = ScheduleFiles(Settings())
    assert files.read() is None
    assert not changed(files)
    Path("schedules").mkdir()
    (Path("schedules") / "a.toml").write_text(ONE)
    assert changed(files)


def test_a_fault_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    stop = SimpleNamespace(asked=False)
    looks = []

    def look_and_fail() -> bool:
        looks.append(1)
        stop.asked = len(looks) == 2
        raise RuntimeError("odd")

    wakeup = SimpleNamespace(wait=lambda seconds: None)
    watch = SimpleNamespace(_stop=stop, _settings=Settings(), _watcher_wakeup=wakeup, _tend_files_once=look_and_fail)
    ClockService._tend_files(cast(ClockService, watch))
    assert len(looks) == 2 and "by a fault of pqclock itself" in caplog.text and "odd" in caplog.text

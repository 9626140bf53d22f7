"""Killed keepers, killed servers, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pqclock.embedded import attach, locks, start
from pqclock.embedded.children import Lifeline
from pqclock.embedded.postmaster import end_orphan
from pqclock.embedded.state import State, publish, read_live

Eventually = Callable[[Callable[[], bool], float], float]
Runs = Callable[[int], bool]


def state_of(folder: Path) -> State:
    """The live state of a folder that must have one."""
    found = read_live(folder / "state.json")
    assert found is not None
    return found


def remember(url: str) -> None:
    """Write a row that must survive."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS number")


def recall(url: str) -> object:
    """Read what `remember` wrote."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT number FROM kept").fetchone()


def answers(url: str) -> bool:
    """Say whether the server takes connections."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_killed_keeper_takes_the_server_along(folder: Path, eventually: Eventually, runs: Runs) -> None:
    with start(folder) as server:
        remember(server.url)
        found = state_of(folder)
        os.kill(found.keeper, signal.SIGKILL)
        eventually(lambda: not runs(found.postmaster), 3)
        assert attach(folder) is None
        with start(folder, durable=False) as again:
            assert recall(again.url) == (42,)
            assert not Path(found.socket_dir).exists()


def test_a_start_right_after_the_keeper_was_killed_works(folder: Path, eventually: Eventually, runs: Runs) -> None:
    with start(folder, durable=False) as server:
        remember(server.url)
        for _ in range(3):
            keeper = state_of(folder).keeper
            os.kill(keeper, signal.SIGKILL)
            eventually(lambda killed=keeper: not runs(killed), 3)  # type: ignore[misc]
            with start(folder, durable=False) as again:
                assert recall(again.url) == (42,)


def test_a_killed_server_comes_back_at_the_same_address(folder: Path, eventually: Eventually) -> None:
    with start(folder) as server:
        remember(server.url)
        found = state_of(folder)
        os.kill(found.postmaster, signal.SIGKILL)
        eventually(lambda: (read_live(folder / "state.json") or found).postmaster not in (0, found.postmaster), 10)
        eventually(lambda: answers(server.url), 10)
        assert recall(server.url) == (42,)
        assert state_of(folder).keeper == found.keeper
        assert state_of(folder).url == server.url


def test_a_server_that_keeps_crashing_is_started_again_each_time(folder: Path, eventually: Eventually) -> None:
    with start(folder, durable=False) as server:
        for _ in range(3):
            crashed = state_of(folder).postmaster
            os.kill(crashed, signal.SIGKILL)
            eventually(lambda old=crashed: state_of(folder).postmaster not in (0, old), 10)  # type: ignore[misc]
        eventually(lambda: answers(server.url), 10)


def test_a_keeper_asked_to_end_stops_its_server_in_good_order(folder: Path, eventually: Eventually, runs: Runs) -> None:
    with start(folder, durable=False):
        found = state_of(folder)
        os.kill(found.keeper, signal.SIGTERM)
        eventually(lambda: not runs(found.postmaster) and not runs(found.keeper), 3)
    assert "database system is shut down" in (folder / "server.log").read_text()
    assert not Path(found.socket_dir).exists()


def test_a_keeper_killed_while_it_makes_the_data_leaves_nothing_half_done(
    new_folder: Path,
    begin_user: Callable[[Path], subprocess.Popen[str]],
    heard: Callable[[subprocess.Popen[str]], dict[str, str]],
    eventually: Eventually,
) -> None:
    user = begin_user(new_folder)
    eventually(lambda: any(new_folder.glob("data.unfinished-*/global")), 10)
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    keepers = [line.split()[0] for line in listed.splitlines() if f"embedded.keeper {new_folder} " in line]
    os.kill(int(keepers[0]), signal.SIGKILL)
    with start(new_folder, durable=False) as server:
        assert answers(server.url)
        assert heard(user) == {"url": server.url}
    assert sorted(path.name for path in new_folder.glob("data*")) == ["data"]


def test_a_server_without_a_folder_ends(folder: Path, eventually: Eventually, runs: Runs) -> None:
    with start(folder, durable=False):
        found = state_of(folder)
        folder.rename(folder.with_name("moved away"))
        eventually(lambda: not runs(found.postmaster) and not runs(found.keeper), 3)


def test_a_process_id_that_means_another_process_now_is_forgotten(open_dir: Path) -> None:
    pid_file = open_dir / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{open_dir}\n")
    end_orphan(open_dir, time.monotonic() + 1)
    assert not pid_file.exists()


@pytest.mark.parametrize("cut", [True, False])
def test_the_lifeline_interrupts_unless_it_is_cut(cut: bool, eventually: Eventually) -> None:
    with subprocess.Popen(["sleep", "60"]) as watched:
        line = Lifeline(watched.pid)
        shell = line._shell
        if cut:
            line.cut()
            assert watched.poll() is None
            watched.kill()
        else:
            assert shell.stdin is not None
            shell.stdin.close()  # what the kernel does when the keeper dies
            eventually(lambda: watched.poll() == -signal.SIGINT, 3)
            shell.wait()


def test_a_state_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    state = State(**dict.fromkeys(State._fields, 1))  # type: ignore[arg-type]
    held = [publish(path, state)]
    real = locks.take

    def replaced_before(fd: int, *, alone: bool) -> bool:
        if len(held) == 1 and not alone:
            held.append(publish(path, state))
            os.close(held[0])
        return real(fd, alone=alone)

    monkeypatch.setattr(locks, "take", replaced_before)
    assert read_live(path) == state
    os.close(held[1])
    assert read_live(path) is None

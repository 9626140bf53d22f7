"""One server for all users of a folder, for as long as there are any."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pqclock.embedded import attach, erase, start
from pqclock.embedded.state import State, read_live
from pqclock.errors import EmbeddedServerError

Eventually = Callable[[Callable[[], bool], float], float]
Begin = Callable[..., "subprocess.Popen[str]"]
Heard = Callable[["subprocess.Popen[str]"], dict[str, str]]
Runs = Callable[[int], bool]


def state_of(folder: Path) -> State:
    """The live state of a folder that must have one."""
    found = read_live(folder / "state.json")
    assert found is not None
    return found


def test_a_started_server_answers_and_ends_with_its_only_user(
    new_folder: Path, eventually: Eventually, runs: Runs
) -> None:
    with start(new_folder, durable=False) as server, psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT current_database(), current_setting('listen_addresses')").fetchone()
        version = connection.execute("SHOW server_version").fetchone()
        found = state_of(new_folder)
    assert row == ("pqclock", "")
    assert version is not None and version[0].startswith(server.version)
    took = eventually(lambda: not runs(found.postmaster) and not runs(found.keeper), 3)
    assert took < 3
    assert not Path(found.socket_dir).exists()
    assert not (new_folder / "state.json").exists()


def test_close_may_be_called_again_and_leaves_the_server_to_the_others(folder: Path) -> None:
    with start(folder, durable=False) as first, start(folder, durable=False) as second:
        assert first.url == second.url
        first.close()
        first.close()
        keeper = state_of(folder).keeper
        time.sleep(0.8)  # longer than the keeper looks away
        with psycopg.connect(second.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert state_of(folder).keeper == keeper


def test_two_processes_share_one_server(folder: Path, begin_user: Begin, heard: Heard) -> None:
    with start(folder, durable=False) as server:
        assert heard(begin_user(folder)) == {"url": server.url}


def test_ten_processes_at_once_start_one_server(new_folder: Path, begin_user: Begin, heard: Heard) -> None:
    users = [begin_user(new_folder) for _ in range(10)]
    urls = {heard(user)["url"] for user in users}
    assert len(urls) == 1
    log = (new_folder / "server.log").read_text()
    assert log.count("database system is ready to accept connections") == 1


def test_a_killed_user_keeps_no_server(
    folder: Path, begin_user: Begin, heard: Heard, eventually: Eventually, runs: Runs
) -> None:
    user = begin_user(folder)
    heard(user)
    found = state_of(folder)
    user.kill()
    assert eventually(lambda: not runs(found.postmaster) and not runs(found.keeper), 3) < 3


def test_who_comes_while_the_keeper_stops_gets_a_working_server(folder: Path) -> None:
    start(folder, durable=False).close()
    for step in range(5):
        time.sleep(0.42 + step * 0.03)  # about when the keeper looks
        with start(folder, durable=False) as server, psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_attach_gives_none_where_nothing_runs(new_folder: Path) -> None:
    assert attach(new_folder) is None
    assert not new_folder.exists()
    new_folder.mkdir()
    assert attach(new_folder) is None
    assert list(new_folder.iterdir()) == []


def test_attach_joins_and_keeps_the_server(folder: Path) -> None:
    first = start(folder, durable=False)
    second = attach(folder)
    first.close()
    assert second is not None and second.url == first.url
    with second, psycopg.connect(second.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_attach_costs_next_to_nothing_without_a_folder(new_folder: Path) -> None:
    began = time.monotonic()
    for _ in range(100):
        attach(new_folder)
    assert time.monotonic() - began < 0.5


def test_the_import_is_light() -> None:
    heavy = "{'psycopg', 'subprocess', 'tempfile', 'hashlib', 'dataclasses'} & set(sys.modules)"
    code = f"import sys; before = {heavy}; import pqclock.embedded; print(({heavy}) - before or '')"
    bare = "import sys; import pqclock; " + code.removeprefix("import sys; ")
    done = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_erase_spares_a_server_in_use_and_deletes_it_afterwards(folder: Path) -> None:
    with start(folder, durable=False) as server:
        data = Path(state_of(folder).data)
        with pytest.raises(EmbeddedServerError, match="in use, so its data stays"):
            erase(folder)
        assert server.url
    erase(folder)
    assert not data.exists()

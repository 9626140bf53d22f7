"""Folders of every kind: long, shared, out of reach, somebody else's."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pqclock.embedded import attach, erase, start
from pqclock.embedded.layout import Layout
from pqclock.errors import EmbeddedServerError

Begin = Callable[..., "subprocess.Popen[str]"]
Heard = Callable[["subprocess.Popen[str]"], dict[str, str]]


@pytest.fixture
def out_of_reach(tmp_path: Path) -> Iterator[Path]:
    """A folder below a directory that only its owner can enter."""
    tmp_path.chmod(0o700)
    yield tmp_path / ".pqclock"
    erase(tmp_path / ".pqclock")


def modes_above(folder: Path) -> list[int]:
    """The modes of all directories above the folder."""
    return [parent.stat().st_mode for parent in folder.parents]


def test_a_folder_with_spaces_and_a_long_path_reached_by_a_link(open_dir: Path) -> None:
    long = open_dir / "a project of ours" / ("x" * 120) / ".pqclock"
    link = open_dir / "link"
    link.symlink_to(long)
    try:
        with start(link, durable=False) as server, psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            again = attach(long)
            assert again is not None and again.url == server.url
            again.close()
        assert server.folder == long
    finally:
        erase(long)


def test_a_folder_out_of_reach_gets_its_data_elsewhere_and_no_mode_is_changed(out_of_reach: Path) -> None:
    before = modes_above(out_of_reach)
    with start(out_of_reach, durable=False) as server, psycopg.connect(server.url) as connection:
        shown = connection.execute("SHOW data_directory").fetchone()
    assert shown is not None
    data = Path(shown[0])
    if os.geteuid() == 0:
        assert (out_of_reach / "data-location.txt").read_text().strip() == str(data)
        assert data.parent.stat().st_mode & 0o777 == 0o700
    assert modes_above(out_of_reach) == before
    erase(out_of_reach)
    assert not data.exists()


def test_data_elsewhere_is_found_again(out_of_reach: Path) -> None:
    with start(out_of_reach, durable=False) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
    with start(out_of_reach, durable=False) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (42,)


@pytest.mark.usefixtures("only_root")
def test_a_moved_folder_does_not_lose_its_data_in_silence(out_of_reach: Path) -> None:
    out_of_reach.mkdir()
    Layout(out_of_reach).pointer.write_text("/var/lib/pqclock/another/data\n")
    with pytest.raises(EmbeddedServerError, match="was moved or copied"):
        start(out_of_reach, durable=False)


@pytest.mark.usefixtures("only_root")
def test_an_ordinary_user_needs_no_demotion(open_dir: Path, begin_user: Begin, heard: Heard) -> None:
    nobody = pwd.getpwnam("nobody")
    home = open_dir / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    user = begin_user(home / ".pqclock", account=nobody)
    url = heard(user)["url"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert {path.stat().st_uid for path in (home / ".pqclock").iterdir()} == {nobody.pw_uid}
    user.kill()
    erase(home / ".pqclock")


@pytest.mark.usefixtures("only_root")
def test_root_joins_and_then_runs_the_server_of_an_ordinary_user(
    open_dir: Path, begin_user: Begin, heard: Heard
) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(open_dir, nobody.pw_uid, nobody.pw_gid)
    user = begin_user(open_dir / ".pqclock", account=nobody)
    url = heard(user)["url"]
    joined = attach(open_dir / ".pqclock")
    assert joined is not None and joined.url == url
    user.kill()
    joined.close()
    with start(open_dir / ".pqclock", durable=False) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        again = begin_user(open_dir / ".pqclock", account=nobody)
        assert heard(again) == {"url": server.url}
        again.kill()
    erase(open_dir / ".pqclock")


@pytest.mark.usefixtures("only_root")
def test_another_users_server_is_refused_in_one_sentence(folder: Path, begin_user: Begin, heard: Heard) -> None:
    with start(folder, durable=False):
        said = heard(begin_user(folder, account=pwd.getpwnam("nobody")))
    assert said["error"] == (
        f"The embedded server in {folder} belongs to user root, and you are nobody: "
        "set PQCLOCK_DATABASE_URL to a server you may use, or choose another folder"
    )


@pytest.mark.usefixtures("only_root")
def test_a_folder_that_cannot_be_made_is_refused_in_one_sentence(
    open_dir: Path, begin_user: Begin, heard: Heard
) -> None:
    open_dir.chmod(0o755)
    said = heard(begin_user(open_dir / "x", account=pwd.getpwnam("nobody")))
    assert said["error"].startswith(
        f"The embedded server cannot keep its files in {open_dir / 'x'} (permission denied): set PQCLOCK_DATABASE_URL"
    )


def test_a_file_in_the_folders_place_is_refused(open_dir: Path) -> None:
    (open_dir / "x").write_text("")
    with pytest.raises(EmbeddedServerError, match="cannot keep its files"):
        start(open_dir / "x")
    assert [path.name for path in open_dir.iterdir()] == ["x"]


def test_what_is_no_data_is_refused_and_left_alone(new_folder: Path) -> None:
    (new_folder / "data").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(new_folder / "data", pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(EmbeddedServerError, match="no readable PG_VERSION"):
        start(new_folder)
    assert (new_folder / "data").is_dir()

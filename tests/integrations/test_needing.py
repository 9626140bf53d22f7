"""A library that is not installed is told of by the name of the extra."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

LIBRARIES = {"django": "django", "sqlalchemy": "sqlalchemy", "sentry": "sentry_sdk"}


@pytest.mark.parametrize("extra", LIBRARIES)
def test_the_extra_is_named(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pqclock.integrations.{extra}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == LIBRARIES[extra]]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [_Missing(LIBRARIES[extra]), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=rf"{name} needs .*: pip install 'pqclock\[{extra}\]'"):
        import_module(name)


class _Missing:
    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_nothing_is_loaded_that_nobody_asked_for() -> None:
    look = "import sys, pqclock, pqclock.worker.service, pqclock.testing\n"
    look += (
        "print([n for n in sys.modules if n.startswith(('pqclock.integrations', 'django', 'sqlalchemy', 'sentry'))])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"

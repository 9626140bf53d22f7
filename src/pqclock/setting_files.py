"""The files that settings come from: `[tool.pqclock]` of `pyproject.toml`, or `pqclock.toml` with the same keys at its top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# A setting's name, what it was given, and where.
Given = tuple[str, object, str]


def from_files(folder: Path, known: Mapping[str, object], faults: list[str]) -> Iterator[Given]:
    """The settings that files in the folder hold: a name, a value, and where it is."""
    project = _parse(folder / "pyproject.toml", faults).get("tool", {})
    inner = project.get("pqclock", {}) if isinstance(project, dict) else {}
    own = _parse(folder / "pqclock.toml", faults)
    if inner and own:
        faults.append("pyproject.toml:tool.pqclock and pqclock.toml both hold settings: keep one of them")
    yield from _of_table(inner, "pyproject.toml:tool.pqclock", ".", known, faults)
    yield from _of_table(own, "pqclock.toml", ":", known, faults)


def _of_table(table: object, where: str, joint: str, known: Mapping[str, object], faults: list[str]) -> Iterator[Given]:
    if not isinstance(table, dict):
        faults.append(f"{where}: {table!r:.60} is not allowed: use a table, [tool.pqclock]")
        return
    for key, value in table.items():
        if key in known:
            yield key, value, f"{where}{joint}{key}"
        else:
            suggestion = nearest(key, known, 0.6)
            way_out = f"did you mean {suggestion}?" if suggestion else f"there are {', '.join(known)}"
            faults.append(f"{where}{joint}{key!r:.60} is not a setting: {way_out}")


def _parse(path: Path, faults: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    if not path.is_file():
        faults.append(f"{path.name} is not a file: put the settings into a file, or remove it")
        return {}
    import tomli

    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{path.name} cannot be read ({error.strerror}): make it readable")
    except (tomli.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        faults.append(f"{path.name} is not TOML ({error}): correct it there")
    return {}


def nearest(word: str, names: Mapping[str, object], cutoff: float) -> str | None:
    """The name that a word was probably meant to be."""
    from difflib import get_close_matches

    close = get_close_matches(word[:100], names, n=1, cutoff=cutoff)
    return close[0] if close else None

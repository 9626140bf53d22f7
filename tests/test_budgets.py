"""How long files and functions may be, and what must be documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pqclock

FOLDER = Path(pqclock.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
FILE_LINES = 300
FUNCTION_LINES = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def path(request: pytest.FixtureRequest) -> Path:
    """Each file of the package in turn."""
    found: Path = request.param
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """The public classes and functions of a module."""
    return (node for node in tree.body if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"))


def test_files_and_functions_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, Function)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


def test_what_is_public_is_documented(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree), "the module has no docstring"
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == []


def test_most_functions_are_very_short() -> None:
    nodes = [node for path in FILES for node in ast.walk(parsed(path)) if isinstance(node, Function)]
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for node in nodes)
    assert lengths[len(lengths) // 2] < 10

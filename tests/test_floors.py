"""Portico is a house of floors, and a module imports only from floors below its own.

Read from the source, so imports inside functions and those for type checkers count as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

# The floor of everything whose name begins so; the longest name decides. Within a floor, modules
# may import each other, though not in a circle. The package itself is the front door: it shows what
# the floors offer. Its version, a constant, may be read everywhere.
FLOORS = {
    "portico.bounded": 0,
    "portico.budget": 0,
    "portico.http": 0,
    "portico.config": 0,
    "portico.site": 1,
    "portico.server": 2,
    "portico.cli": 3,
    "portico.pytest_plugin": 3,
    "portico.__main__": 4,
    "portico": 5,
}
CONSTANTS = {"portico.__version__"}

Imports = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """All modules of the package that lies in `root`, by name."""
    found = {}
    for path in sorted((root / "portico").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def read_imports(root: Path) -> Imports:
    """The modules of the package that each of its modules imports."""
    known = modules(root)
    return {
        name: {
            target
            for wanted in wanted_names(ast.parse(path.read_bytes()), name, path)
            if wanted not in CONSTANTS and (target := module_of(wanted, known)) is not None
        }
        for name, path in known.items()
    }


def wanted_names(tree: ast.AST, module: str, path: Path) -> Iterator[str]:
    """The dotted names that a module's import statements name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                depth = node.level - (path.name == "__init__.py")
                package = module.split(".")[: -depth or None]
                source = ".".join([*package, *([source] if source else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def module_of(name: str, known: dict[str, Path]) -> str | None:
    """The module that a dotted name is, or in which it lies; None outside the package."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def floor(module: str) -> int:
    name = module
    while name not in FLOORS:
        name = name.rpartition(".")[0]
    if name == "portico" != module:
        pytest.fail(f"{module} stands on no floor: give it one in FLOORS")
    return FLOORS[name]


def arrows_up(imports: Imports) -> list[str]:
    return [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if floor(target) > floor(module)
    ]


def circle(imports: Imports) -> list[str]:
    """The modules of a circle of imports, or nothing: what remains when leaves are taken away."""
    left = {module: targets - {module} for module, targets in imports.items()}
    while leaves := [module for module, targets in left.items() if not targets & left.keys()]:
        for leaf in leaves:
            del left[leaf]
    return sorted(left)


def test_no_import_runs_up_the_floors() -> None:
    assert arrows_up(read_imports(REPOSITORY)) == []


def test_no_imports_run_in_a_circle() -> None:
    assert circle(read_imports(REPOSITORY)) == []


def test_the_whole_package_is_read() -> None:
    found = modules(REPOSITORY)
    assert {
        "portico",
        "portico.__main__",
        "portico.http.h1.grammar",
        "portico.site",
    } <= found.keys()
    assert "portico.config.config" in read_imports(REPOSITORY)["portico.cli.main"]


# --- the test itself, on a small house


def house(root: Path, sources: dict[str, str]) -> Imports:
    package = root / "portico"
    for name in ("__init__", "http/__init__", "site/__init__", *sources):
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sources.get(name, ""))
    return read_imports(root)


@pytest.mark.parametrize(
    "source",
    [
        "import portico.site.files",
        "from portico.site.files import Files",
        "from portico.site import files",
        "from portico import site",
        "from ..site.files import Files",
        "from .. import site",
        "def f():\n    from portico.site import files",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from portico.site import files",
    ],
)
def test_an_import_from_above_is_found(tmp_path: Path, source: str) -> None:
    up = arrows_up(house(tmp_path, {"http/h1": source, "site/files": ""}))
    assert len(up) == 1
    assert up[0].startswith("portico.http.h1 imports portico.site")


@pytest.mark.parametrize(
    "source", ["import os", "from portico.http import h1", "from portico import __version__"]
)
def test_an_import_from_below_is_none(tmp_path: Path, source: str) -> None:
    imports = house(tmp_path, {"http/h1": "", "site/files": source})
    assert arrows_up(imports) == []
    assert circle(imports) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    sources = {
        "http/a": "from portico.http.b import B",
        "http/b": "from . import c",
        "http/c": "def f():\n    import portico.http.a",
        "http/d": "import portico.http.a",
    }
    imports = house(tmp_path, sources)
    assert arrows_up(imports) == []
    assert {"portico.http.a", "portico.http.b", "portico.http.c"} <= set(circle(imports))


def test_a_module_without_a_floor_is_found(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"portico\.attic stands on no floor"):
        arrows_up(house(tmp_path, {"attic": "import portico.http"}))

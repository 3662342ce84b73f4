"""The floors of the house (docs/architecture.md): imports run down only, and the command line does no numerics."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "theory": set(),
    "core": set(),
    "nets": {"core"},
    "probing": {"core", "nets"},
    "signal": {"core"},
    "runs": {"core", "experiments"},  # the registry scans the package `experiments`; nothing else of runs may
    "training": {"core", "nets"},
    "experiments": {"core", "theory", "nets", "signal", "probing", "training"},
    "report": {"core", "runs"},
    "chapter": {"core", "report", "runs"},
    "scaffold": {"core", "experiments"},
}
ONLY_CONSOLE_MAY_IMPORT = "rich"
CONSOLE = ROOT / "cli" / "resexp_cli" / "console"
NOT_AT_IMPORT = {"torch", "scipy", "matplotlib", "pandas", "polars", "dask"}
DECLARATIONS = ["core/experiment.py", "core/ensemble.py", "core/table.py", "core/result.py", "core/lab.py"]


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """Names of the modules a file imports; top_only: only what is imported when the file is."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_down_only(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    for path in (ROOT / "resexp" / package).rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "resexp_cli" or (parts[0] == "resexp" and len(parts) > 1 and parts[1] != "__version__"):
                assert parts[0] == "resexp", f"{path} imports {name}"
                assert parts[1] in allowed, f"{path} imports {name}"


def test_only_the_registry_looks_into_experiments() -> None:
    for path in (ROOT / "resexp" / "runs").glob("*.py"):
        if any(name.startswith("resexp.experiments") for name in imports(path)):
            assert path.name == "registry.py"


def test_command_line_does_no_numerics_and_one_package_imports_rich() -> None:
    for path in (ROOT / "cli" / "resexp_cli").rglob("*.py"):
        found = {name.split(".")[0] for name in imports(path)}
        assert not found & {"numpy", "scipy"}, path
        assert not any(name.startswith(("resexp.theory", "resexp.signal")) for name in imports(path)), path
        if path.parent != CONSOLE:
            assert ONLY_CONSOLE_MAY_IMPORT not in found, path


def test_declarations_import_nothing_heavy() -> None:
    files = [ROOT / "resexp" / name for name in DECLARATIONS]
    files += (ROOT / "resexp" / "experiments").glob("*.py")
    for path in files:
        found = {name.split(".")[0] for name in imports(path, top_only=True)}
        assert not found & (NOT_AT_IMPORT | {"numpy"}), path

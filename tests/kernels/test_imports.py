"""The order of the modules of kernels: no circle, nothing above it but errors, and no tool in what a model imports."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.conftest import REPOSITORY

ROOT = REPOSITORY / "kernels"
PREFIX = "ofa_mi.kernels"
TOOLS = ("benchmarks", "resources")  # run by hand: python -m ofa_mi.kernels.TOOL
FILES = {
    ".".join((PREFIX, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports(name: str) -> set[str]:
    """Absolute names of all that a module imports, at its top and inside functions."""
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join((*above, *filter(None, [node.module])))
            # of `from package import name` the name may be a module, and then the package itself counts for nothing
            modules = {f"{base}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= modules | ({base} if len(modules) < len(node.names) else set())
    return found


GRAPH = {name: imports(name) for name in FILES}


def tool(name: str) -> str | None:
    """The tool that a module belongs to."""
    return next((t for t in TOOLS if f"{name}.".startswith(f"{PREFIX}.{t}.")), None)


def test_the_modules_import_each_other_without_a_circle():
    assert GRAPH[f"{PREFIX}.attention.op"] >= {f"{PREFIX}.attention.forward", f"{PREFIX}.position_bias.op"}
    try:
        TopologicalSorter({name: found & FILES.keys() for name, found in GRAPH.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_of_the_package_kernels_imports_errors_only():
    """The benchmarks, which stand above the package's files, also write atomically."""
    above = {
        name: {other for other in found if other.partition(".")[0] == "ofa_mi"} - FILES.keys() - {"ofa_mi.errors"}
        for name, found in GRAPH.items()
    }
    writers = {name: others for name, others in above.items() if others}
    assert {tool(name) for name in writers} <= {"benchmarks"}, writers
    assert {other.rpartition(".")[2] for others in writers.values() for other in others} <= {"files"}, writers


def test_no_model_imports_a_tool():
    """And no tool another one, but what all of them share."""
    for name, found in GRAPH.items():
        foreign = {other for other in found if tool(other) not in (None, tool(name))}
        assert not foreign, f"{name} imports {foreign}"

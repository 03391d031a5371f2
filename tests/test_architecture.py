"""The order of packages that README lists: each imports only those above it, and no modules import each other.

An import counts wherever it stands: at the top, inside a function, for type checking only, or by ``import_module``
with the name of a module written out.
"""

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile

import pytest

from tests.conftest import REPOSITORY

ROOT = "ofa_mi"
OUTER = ("data_prep", "kernels")  # folders beside ofa_mi/ that are imported as its sub-packages


def module_files():
    """Path of every module, by its name."""
    files = [path.relative_to(REPOSITORY) for folder in (ROOT, *OUTER) for path in (REPOSITORY / folder).rglob("*.py")]
    parts = {path: path.with_suffix("").parts for path in sorted(files)}
    names = {path: found if found[0] == ROOT else (ROOT, *found) for path, found in parts.items()}
    return {".".join(found).removesuffix(".__init__"): REPOSITORY / path for path, found in names.items()}


def imported(text, package, modules):
    """Names of the modules that a module's text imports.

    Args:
        text: The text.
        package: The package that the module is in, or is.
        modules: All modules that count.
    """
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join((*above, *filter(None, [node.module])))
            # of `from package import name` the name may be a module, and then the package itself counts for nothing
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found & set(modules)


FILES = module_files()
PACKAGES = {name: name if path.stem == "__init__" else name.rpartition(".")[0] for name, path in FILES.items()}
GRAPH = {
    name: imported(path.read_text(encoding="utf-8"), PACKAGES[name], FILES) - {name} for name, path in FILES.items()
}


def order():
    """Names of the packages in README's list, the lowest first."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## The house")[2]
    lines = readme.partition("| package | what |")[2].splitlines()[2:]
    rows = [line.split("|")[1] for line in takewhile(lambda line: line.startswith("|"), lines)]
    names = [name for row in rows for name in re.findall(r"`([\w/.]+)`", row)]
    dotted = [name.removesuffix(".py").replace("/", ".") for name in names]
    return [ROOT if name == f"{ROOT}.__init__" else f"{ROOT}.{name}" for name in dotted]


def package_of(module, packages):
    """The package of the list that a module is in: that of the longest name; None if it is in none."""
    around = [p for p in packages if f"{module}.".startswith(f"{p}.") and (p != ROOT or module == ROOT)]
    return max(around, key=len, default=None)


def circle(graph):
    """A circle in a graph, as text; None if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " <- ".join(error.args[1])
    return None


def siblings(graph):
    """What stands side by side in a package, files and folders, and which of them import each other."""
    found = defaultdict(set)
    for module, others in graph.items():
        for other in others:
            parts, rest = module.split("."), other.split(".")
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, rest, strict=False)))
            mine, its = (".".join(name[: shared + 1]) for name in (parts, rest))
            if mine != its and shared < min(len(parts), len(rest)):  # else one of them is the package of the other
                found[mine].add(its)
    return found


def test_every_module_is_in_a_package_of_the_list():
    packages = order()
    assert len(packages) == len(set(packages)) > 15
    assert [module for module in FILES if package_of(module, packages) is None] == []
    assert [package for package in packages if package not in FILES] == []


def test_packages_import_only_those_above_them_in_the_list():
    rank = {package: number for number, package in enumerate(order())}
    upward = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in sorted(others)
        if rank[package_of(other, rank)] > rank[package_of(module, rank)]
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    assert (found := circle(GRAPH)) is None, found


def test_no_folders_import_each_other_in_a_circle():
    assert (found := circle(siblings(GRAPH))) is None, found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from ofa_mi.errors import shown", {"ofa_mi.errors"}),
        ("import ofa_mi.errors", {"ofa_mi.errors"}),
        ("def late():\n    from ofa_mi.utils import files, text", {"ofa_mi.utils.files", "ofa_mi.utils"}),
        ("if TYPE_CHECKING:\n    from ofa_mi.utils.files import lock", {"ofa_mi.utils.files"}),
        ("from . import files", {"ofa_mi.utils.files"}),
        ("from ..errors import shown", {"ofa_mi.errors"}),
        ('importlib.import_module("ofa_mi.errors").shown(1)', {"ofa_mi.errors"}),
        ("import json", set()),
    ],
)
def test_imports_are_found_in_any_form(text, found):
    assert imported(text, "ofa_mi.utils", {"ofa_mi.errors", "ofa_mi.utils", "ofa_mi.utils.files"}) == found


def test_circles_are_found():
    graph = {"ofa_mi.a.one": {"ofa_mi.b.one"}, "ofa_mi.b.two": {"ofa_mi.a.two"}, "ofa_mi.a.two": set()}
    assert circle(graph) is None and set(circle(siblings(graph)).split(" <- ")) == {"ofa_mi.a", "ofa_mi.b"}
    assert circle({"ofa_mi.a": {"ofa_mi.b"}, "ofa_mi.b": {"ofa_mi.a"}})

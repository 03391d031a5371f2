"""Packaging: what is installed, under which names, and that set-up scripts fail with one clear line."""

import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ofa_mi.source_tree import SourceTreeFinder, install_finder
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the tree, built in a copy because setuptools leaves folders behind."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("ofa_mi", "kernels", "data_prep"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(REPOSITORY / name, root)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
    (path,) = (root / "out").glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_wheel_holds_every_module_and_data_file_under_one_name(wheel):
    names = set(wheel.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ofa_mi"}
    folders = {"ofa_mi": "ofa_mi", "kernels": "ofa_mi/kernels", "data_prep": "ofa_mi/data_prep"}
    for folder, installed in folders.items():
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".css", ".js") or path.name == "versions.json":
                assert f"{installed}/{path.relative_to(REPOSITORY / folder).as_posix()}" in names


def test_installed_package_finds_its_parts(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "import ofa_mi, ofa_mi.data_prep, ofa_mi.kernels, ofa_mi.instructions.registry, importlib.util as u;"
        "import ofa_mi.document.html; ofa_mi.document.html.document('its style sheets and script', [], browsable=True);"
        "print(ofa_mi.__file__, ofa_mi.data_prep.__file__, ofa_mi.kernels.__file__, sep='\\n');"
        "print(u.find_spec('data_prep'), sum(1 for _ in ofa_mi.instructions.registry.default_registry()) > 60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-P", "-W", "error::ImportWarning", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    installed = tmp_path / "ofa_mi"
    files = [installed / "__init__.py", installed / "data_prep" / "__init__.py", installed / "kernels" / "__init__.py"]
    assert done.stdout.splitlines() == [*map(str, files), "None True"]
    assert done.stderr == "", "importing is silent"


def test_lock_satisfies_the_ranges(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    lines = (line.strip() for line in (REPOSITORY / "requirements-lock.txt").read_text().splitlines())
    lock = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    lock = {canonicalize_name(name): version for name, version in lock.items()}
    for requirement in map(Requirement, metadata.get_all("Requires-Dist")):
        assert lock[canonicalize_name(requirement.name)] in requirement.specifier


# -- the source tree


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """An uninstalled tree of a package with outer packages beside it, found by path."""
    for folder, code in (("borrowed", "installed = True"), ("kernels", "here = 1"), ("kernels/deep", "here = 2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "borrowed"]:
        del sys.modules[name]


def test_outer_packages_of_a_tree_are_found_as_sub_packages(tree):
    install_finder(tree / "borrowed", "borrowed")
    assert importlib.import_module("borrowed.kernels").here == 1
    assert importlib.import_module("borrowed.kernels.deep").here == 2
    assert find_spec("borrowed.data_prep") is None, "it does not exist in this tree"
    assert find_spec("borrowed.tests") is None, "only the outer packages are taken in"


def test_others_packages_beside_an_installed_one_are_left_alone(tree):
    """In site-packages a `kernels` beside the package belongs to others: its own lies inside it."""
    (tree / "borrowed" / "kernels").mkdir()
    (tree / "borrowed" / "kernels" / "__init__.py").write_text("here = 3")
    install_finder(tree / "borrowed", "borrowed")
    assert not any(isinstance(f, SourceTreeFinder) and "borrowed.kernels" in f.folders for f in sys.meta_path)
    assert importlib.import_module("borrowed.kernels").here == 3


# -- scripts


def bash(script, **environment):
    return subprocess.run(
        ["bash", "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, cwd="/"
    )


@pytest.mark.parametrize("path", sorted((REPOSITORY / "run_scripts").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse(path):
    assert bash(f"bash -n '{path}'").returncode == 0


def fake_python(path, version):
    """An executable that answers as a Python of this version without any package."""
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *version_info*) exit {0 if version == "3.11" else 1};; esac\necho torch\n'
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: str(folder / "absent"), "absent is not an executable"),
        (lambda folder: fake_python(folder / "python", "3.9"), "python is not Python 3.11 or 3.12"),
        (lambda folder: fake_python(folder / "python", "3.11"), "python cannot import: torch. Install them with: "),
    ],
)
def test_set_up_says_what_is_wrong_with_a_given_interpreter(tmp_path, make, message):
    done = bash(f"source '{REPOSITORY}/run_scripts/env.sh'; set_up", OFA_MI_PYTHON=make(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("[ofa-mi] error: ") and message in line


def test_set_up_names_every_requirement_that_is_missing(tmp_path):
    """Of setup.py, with what the tests and the quickstart need; an interpreter without site-packages has none."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    done = bash(f"source '{REPOSITORY}/run_scripts/env.sh'; set_up", OFA_MI_PYTHON=str(python), PYTHONPATH="")
    missing = done.stderr.split("cannot import: ")[1].split(". Install them with: ")[0].split(" ")
    assert missing[:2] == ["torch", "torchvision"] and {"ve-fairseq", "PyYAML", "pytest-timeout"} <= set(missing)
    assert "easy-vqa" in missing and "fairscale" not in missing
    assert "triton" not in missing, "it is not for every platform"


def test_set_up_takes_a_given_interpreter_and_this_tree(tmp_path):
    script = f"source '{REPOSITORY}/run_scripts/env.sh'; set_up; command -v ofa-mi; pwd; cd '{tmp_path}'; "
    script += """"$PYTHON" -c 'import importlib.util as u; print(u.find_spec("ofa_mi").origin)'"""
    done = bash(script, OFA_MI_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    scripts, working_directory, origin = done.stdout.splitlines()
    assert Path(scripts).parent == Path(sys.executable).parent
    assert working_directory == "/", "sourcing must not change the directory"
    assert origin == str(REPOSITORY / "ofa_mi" / "__init__.py")

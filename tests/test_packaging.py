"""Packaging: what is installed, under which names, and that set-up scripts fail with one clear line."""

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import ofa_mi
from ofa_mi.source_tree import SourceTreeFinder, install_finder
from tests.conftest import REPOSITORY

PARTS = {
    "ofa_mi": "ofa_mi",
    "kernels": "ofa_mi/kernels",
    "data_prep": "ofa_mi/data_prep",
}  # folder -> place in the wheel


def in_python(code, folder):
    """Run some code in a folder in a process of its own."""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel from a source distribution from a copy of the tree, because setuptools leaves folders behind."""
    root = tmp_path_factory.mktemp("tree")
    for name in PARTS:
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, root)
    in_python("from setuptools.build_meta import build_sdist; build_sdist('dist')", root)
    (archive,) = (root / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(root / "unpacked", filter="data")
    (source,) = (root / "unpacked").iterdir()
    in_python("from setuptools.build_meta import build_wheel; build_wheel('dist')", source)
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.mark.slow
def test_wheel_holds_every_file_under_one_name(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ofa_mi"}
    for folder, installed in PARTS.items():
        for path in (REPOSITORY / folder).rglob("*.*"):
            if path.suffix not in (".pyc", ".md"):
                assert f"{installed}/{path.relative_to(REPOSITORY / folder).as_posix()}" in names


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder of the commands of a new environment with the wheel, which borrows from this one what it depends on."""
    root = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True, timeout=120)
    install = ("--disable-pip-version-check", "--python", str(root), "install", "--quiet", "--no-deps", "--no-index")
    subprocess.run([sys.executable, "-m", "pip", *install, str(wheel)], check=True, capture_output=True, timeout=120)
    site, borrowed = (sysconfig.get_path("purelib", vars={"base": base}) for base in (str(root), sys.prefix))
    Path(site, "borrowed.pth").write_text(f"{borrowed}\n")
    return root / "bin"


def run_installed(installed, folder, *command, status=0):
    """What a command of the new environment said in another folder, with nothing of this environment's set."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    program, *arguments = command
    done = subprocess.run(
        [installed / program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.slow
def test_installed_package_finds_its_parts(installed, tmp_path):
    code = (
        "import ofa_mi, ofa_mi.data_prep, ofa_mi.kernels, ofa_mi.instructions.registry, importlib.util as u;"
        "print(ofa_mi.__file__, ofa_mi.data_prep.__file__, ofa_mi.kernels.__file__, sep='\\n');"
        "print(u.find_spec('data_prep'), sum(1 for _ in ofa_mi.instructions.registry.default_registry()) > 60)"
    )
    done = run_installed(installed, tmp_path, "python", "-W", "error::ImportWarning", "-c", code)
    assert done.stderr == "", "importing is silent"
    *files, rest = done.stdout.splitlines()
    assert rest == "None True"
    package = Path(files[0]).parent
    assert package.is_relative_to(installed.parent)
    assert [Path(file) for file in files[1:]] == [package / f"{name}/__init__.py" for name in ("data_prep", "kernels")]


@pytest.mark.slow
def test_commands_of_an_installation_work_from_any_folder(installed, tmp_path):
    assert run_installed(installed, tmp_path, "ofa-mi", "--version").stdout == f"ofa-mi {ofa_mi.__version__}\n"
    assert "\n  predict " in run_installed(installed, tmp_path, "ofa-mi", "--help").stdout
    assert "nlvr" in run_installed(installed, tmp_path, "ofa-mi", "tasks").stdout
    Image.new("RGB", (64, 64), "red").save(tmp_path / "image.png")
    question = ("--image", "image.png", "--instruction", "what is the color of the shape?", "--beam", "1")
    assert run_installed(installed, tmp_path, "ofa-mi", "predict", "--checkpoint", "nano", *question).stdout.strip()


@pytest.mark.slow
def test_fairseq_finds_the_plugin_of_an_installation(installed, tmp_path):
    output = run_installed(installed, tmp_path, "ofa-mi", "train", "--task", "multiinstruct", "--help").stdout
    assert "--skip-bad-instances" in output and "--max-epoch" in output
    package = run_installed(installed, tmp_path, "python", "-c", "import ofa_mi; print(ofa_mi.__path__[0])").stdout
    options = ("--task", "multiinstruct", "--arch", "ofa_nano", "--optimizer", "adam", "--batch-size", "1", "--cpu")
    stock = ("python", "-m", "fairseq_cli.train", "absent", "--user-dir", package.strip(), *options)
    refused = run_installed(installed, tmp_path, *stock, status=1)
    assert refused.stderr.endswith(" error: absent: no such data directory\n"), "as the plugin says it"


# -- what pyproject.toml says


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(project):
    """Of the package and of all its optional dependencies, by name."""
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def test_lock_satisfies_the_ranges(project):
    lines = (line.strip() for line in (REPOSITORY / "requirements-lock.txt").read_text().splitlines())
    lock = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    lock = {canonicalize_name(name): version for name, version in lock.items()}
    for name, requirement in requirements(project).items():
        assert lock[name] in requirement.specifier, name


def test_hooks_have_the_versions_of_the_test_command(project):
    """`ruff` and `codespell` before a commit find what they find in `run_scripts/test.sh`."""
    repositories = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {repository["repo"].rsplit("/", 1)[1]: repository["rev"] for repository in repositories}
    pinned = {name: str(requirement.specifier) for name, requirement in requirements(project).items()}
    assert pinned["ruff"] == revisions["ruff-pre-commit"].replace("v", "==")
    assert pinned["codespell"] == revisions["codespell"].replace("v", "==")


def test_one_version_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ofa_mi.__version__


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


@pytest.mark.parametrize("extra", ["", "dev"])
def test_set_up_names_every_requirement_that_is_missing(tmp_path, extra):
    """Of pyproject.toml, with what the quickstart and, if told so, the tests need; there are no packages with -S."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    done = bash(f"source '{REPOSITORY}/run_scripts/env.sh'; set_up {extra}", OFA_MI_PYTHON=str(python), PYTHONPATH="")
    missing = done.stderr.split("cannot import: ")[1].split(". Install them with: ")[0].split(" ")
    assert missing[:2] == ["torch", "torchvision"] and {"ve-fairseq", "PyYAML", "easy-vqa"} <= set(missing)
    assert {"ruff", "pytest-timeout"} & set(missing) == ({"ruff", "pytest-timeout"} if extra else set())
    assert "fairscale" not in missing
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

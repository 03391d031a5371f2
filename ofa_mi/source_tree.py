"""Finding `ofa_mi.kernels` and `ofa_mi.data_prep` when ofa_mi runs from a source tree.

In the repository the two folders lie beside `ofa_mi/`; `setup.py` maps them into the package when it is
installed. `fairseq-train --user-dir ofa_mi` however imports the folder it is given by path, installed or not,
and then nothing tells Python where the two are. Extending `ofa_mi.__path__` by the root of the repository would
also turn `tests/` or `docs/` into sub-packages, and leaving it to an editable installation could mix the packages
of two clones; so one finder answers for exactly these two names, and always with the folders of its own tree.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

OUTER_PACKAGES = ("kernels", "data_prep")


class SourceTreeFinder(MetaPathFinder):
    """Finds the packages that lie beside `ofa_mi/`; everything below them is found by their own `__path__`."""

    def __init__(self, folders: dict[str, Path]):
        self.folders = folders  # import name -> folder

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        folder = self.folders.get(fullname)
        if folder is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def install_finder(package_dir: Path, package: str = "ofa_mi") -> None:
    """Install the finder for each outer package that lies beside `package_dir` and not inside it.

    After a regular installation they are inside, and nothing is done: a `kernels` package of others that lies
    beside `ofa_mi` in site-packages is never touched.
    """
    folders = {
        f"{package}.{name}": package_dir.parent / name
        for name in OUTER_PACKAGES
        if not (package_dir / name).exists() and (package_dir.parent / name / "__init__.py").is_file()
    }
    if folders:
        sys.meta_path.insert(0, SourceTreeFinder(folders))

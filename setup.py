"""Which folders are installed, and by which names; all else about the package stands in pyproject.toml.

The folders `kernels/` and `data_prep/` lie at the top of the repository, but their names are generic
(`kernels` is somebody else's package), so `package_dir` installs them as `ofa_mi.kernels` and
`ofa_mi.data_prep`, and by no other name.
"""

from setuptools import find_packages, setup

# Folders beside ofa_mi/ that are installed inside it; ofa_mi/source_tree.py does the same for an uninstalled tree.
OUTER_PACKAGES = ("kernels", "data_prep")


def packages() -> list[str]:
    """Return the import names of all packages, outer folders included under `ofa_mi.`."""
    names = find_packages(include=["ofa_mi", "ofa_mi.*"])
    for folder in OUTER_PACKAGES:
        names += [f"ofa_mi.{folder}", *(f"ofa_mi.{folder}.{name}" for name in find_packages(folder))]
    return names


setup(packages=packages(), package_dir={f"ofa_mi.{folder}": folder for folder in OUTER_PACKAGES})

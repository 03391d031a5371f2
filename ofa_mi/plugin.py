"""Registration with fairseq: when it happens, and what it costs a process that needs no model.

fairseq finds models, tasks, criterions and schedules in registries that importing their modules fills. Importing them
takes PyTorch, fairseq and timm, seconds of processor time that `ofa-mi data build` has no use for. So the package
registers exactly when there is a fairseq to register with:

- fairseq is there when `ofa_mi` is imported, as `fairseq-train --user-dir ofa_mi` does: at once;
- it is not: as soon as anybody imports it, in the same `import` statement, before its next line runs. `import ofa_mi`
  and `from fairseq import tasks` therefore work in either order, in a user's script as in this package, whose modules
  import fairseq like any other library and find it ready (`fairseq_compat`).

Beware of circles: if one of our own modules is the first to import fairseq, registration begins in the middle of that
module. What is registered must not need it whole at that time: it imports such a module, not names out of it.
"""

import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FAIRSEQ = "fairseq"
# Packages of ours that stand above this module: it knows them by their names only.
COMPATIBILITY = "ofa_mi.fairseq_compat"
REGISTERING = ("criterions", "models", "optim", "tasks")


def install() -> None:
    """Register now if fairseq has been imported, otherwise when it is."""
    if FAIRSEQ in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, FairseqFinder())


def register() -> None:
    """Make fairseq ready, and register everything; calling it again changes nothing."""
    importlib.import_module(COMPATIBILITY).apply()
    for name in REGISTERING:
        importlib.import_module(f"ofa_mi.{name}")


class FairseqFinder(MetaPathFinder):
    """Finds fairseq where the finders behind it do, and has us registered at the end of its import."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != FAIRSEQ:
            return None
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:  # None: just a folder of that name
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: self._load(execute, module)
        return spec

    def _load(self, execute, module: ModuleType) -> None:
        with importlib.import_module(COMPATIBILITY).importing_fairseq():
            execute(module)
        register()
        sys.meta_path.remove(self)

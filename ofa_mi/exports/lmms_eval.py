"""Evaluation tasks for lmms-eval: each instruction of each task is one of its tasks, on a data directory's instances.

The folder holds, for every task and instruction, ``multiinstruct_TASK_N.yaml`` and ``TASK_N.jsonl`` (the questions);
``multiinstruct.yaml``, the group of all; ``utils.py``, by which lmms-eval finds the functions of this package; and the
images.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ofa_mi.data_prep.building.output import IMAGES, instance_line
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.exports.asked import Asker
from ofa_mi.exports.folder import begin
from ofa_mi.instances.open import open_store
from ofa_mi.instances.store import LineStore
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.spec import TaskSpec
from ofa_mi.utils.files import atomic_write, open_atomic
from ofa_mi.utils.progress import progress_bar

logger = logging.getLogger(__name__)

GROUP = "multiinstruct"
GROUP_FILE = f"{GROUP}.yaml"  # written last
CORPUS = ("bleu", "chrf")  # metrics that are no mean of scores
UTILS = '''"""Written by `ofa-mi tasks --lmms-eval`; lmms-eval's environment needs ofa-mi, too."""

from pathlib import Path

from ofa_mi.exports import lmms_eval_functions


def doc_to_visual(doc):
    return lmms_eval_functions.images(doc, Path(__file__).parent)


def process_results(doc, results):
    return lmms_eval_functions.scores(doc, results)
'''


class _Function(str):
    """A name that YAML writes as lmms-eval's ``!function``."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


def write_tasks(
    directory: str | Path, out: str | Path, registry: Registry, *, regions: str = "pixels", split: str = "test"
) -> list[str]:
    """Write the benchmark's evaluation tasks that a data directory has instances of.

    Args:
        directory: Data directory.
        out: Folder to write; what an earlier call wrote there is written anew.
        registry: The tasks.
        regions: How boxes are written, one of :data:`~ofa_mi.other_models.REGION_FORMS`.
        split: Of the data directory.

    Returns:
        Names of lmms-eval's tasks.

    Raises:
        ConfigError: Regions of a task cannot be drawn.
        DataError: There are no such instances, one cannot be used, or the folder cannot be written.
    """
    specs = [spec for spec in registry.values() if spec.benchmark and spec.split == "eval"]
    store = open_store(Path(directory), split)
    if store is None:
        raise DataError(f"{directory}: holds no {split}.jsonl")
    present = [spec for spec in specs if spec.name in store.task_names]
    if not present:
        raise DataError(f"{store.path}: holds no instance of {', '.join(spec.name for spec in specs)}")
    if absent := [spec.name for spec in specs if spec not in present]:
        logger.warning("%s: holds no instance of %s, which is left out", store.path, ", ".join(absent))
    if drawn := [spec.name for spec in present if regions == "drawn" and spec.output.endswith(("region", "regions"))]:
        raise ConfigError(f"--regions drawn: {drawn[0]} asks for boxes of its own; choose another form")
    out = begin(out, ["*.yaml", "*.jsonl", "utils.py", IMAGES])
    asker = Asker(out, regions)
    names = [name for spec in present for name in _write_task(store, spec, asker)]
    atomic_write(out / "utils.py", UTILS.encode())
    atomic_write(out / GROUP_FILE, _yaml({"group": GROUP, "task": names}))
    return names


def _write_task(store: LineStore, spec: TaskSpec, asker: Asker) -> Iterator[str]:
    """Write the files of one task; the names of lmms-eval's tasks."""
    chosen = np.flatnonzero(store.task_ids == store.task_names.index(spec.name)).tolist()
    for number in range(len(spec.instructions)):
        name, path = f"{GROUP}_{spec.name}_{number + 1}", asker.out / f"{spec.name}_{number + 1}.jsonl"
        with open_atomic(path) as file:
            for index in progress_bar(chosen, desc=name, unit="instances"):
                file.write(
                    json.dumps(_document(store, index, spec, number, asker), ensure_ascii=False).encode() + b"\n"
                )
        atomic_write(asker.out / f"{name}.yaml", _yaml(_task(name, path, spec)))
        yield name


def _document(store: LineStore, index: int, spec: TaskSpec, number: int, asker: Asker) -> dict[str, Any]:
    """One question as lmms-eval's data set holds it; every document of a file has the same fields and types."""
    instance = store[index]
    asked = asker.ask(store, instance, spec, number)
    form = asked.message.form
    return {
        "id": instance.unique_id,
        "image": asked.image or "",
        "question": asked.message.text,
        "answer": asked.answer,
        "instance": instance_line(instance),
        "metrics": " ".join(_metrics(spec)),
        "regions": asker.regions if form is not None and asked.message.reads_regions else "",
        "boxes": json.dumps(getattr(form, "boxes", [])),
    }


def _metrics(spec: TaskSpec) -> list[str]:
    return [name for name in spec.metrics if name not in CORPUS]


def _task(name: str, path: Path, spec: TaskSpec) -> dict[str, Any]:
    """lmms-eval's configuration. It looks data files up from where it is started, so that their paths are whole."""
    return {
        "task": name,
        "tag": f"{GROUP}_{spec.name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path.resolve())}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_visual": _Function("utils.doc_to_visual"),
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "generation_kwargs": {"max_new_tokens": 64, "temperature": 0, "do_sample": False},
        "process_results": _Function("utils.process_results"),
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in _metrics(spec)
        ],
        "metadata": {"version": spec.version},
    }


def _yaml(value: dict[str, Any]) -> bytes:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000).encode()

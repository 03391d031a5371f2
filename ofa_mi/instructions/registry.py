"""The registry of tasks: what each one reads, answers and is scored by, and its instructions.

Tasks are data: one YAML file per task group in ``tasks/``, checked when it is loaded. Users add
tasks and replace instructions with YAML files of their own (``docs/instructions.md``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ofa_mi.errors import ConfigError, shown
from ofa_mi.instructions.schema import Report, TaskFile, raise_error
from ofa_mi.instructions.spec import (
    ENGLISH,
    EVERYTHING,
    GROUP_PREFIX,
    PRETRAINING_GROUP,
    SPLITS,
    TaskSpec,
    suggestion,
)

TASK_DIR = Path(__file__).parent / "tasks"
LANGUAGE_DIR = Path(__file__).parent / "languages"  # one folder per language


class Registry(Mapping[str, TaskSpec]):
    """Tasks by name, in the order in which their files were read.

    Attributes:
        language: Code of the language of their instructions.
    """

    def __init__(self, tasks: Iterable[TaskSpec], language: str = ENGLISH) -> None:
        self._tasks = {task.name: task for task in tasks}
        self.language = language

    def __getitem__(self, name: str) -> TaskSpec:
        """The task called ``name``; raises :class:`ConfigError` with the closest names if there is none."""
        if name not in self._tasks:
            raise ConfigError(f"unknown task {shown(name)}{suggestion(name, self._tasks)}; `ofa-mi tasks` lists them")
        return self._tasks[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def get(self, name: str, default: TaskSpec | None = None) -> TaskSpec | None:
        """The task called ``name``, or ``default`` if there is none."""
        return self._tasks.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def groups(self) -> tuple[str, ...]:
        """Names of the task groups, in order."""
        return tuple(dict.fromkeys(task.group for task in self._tasks.values()))

    def select(self, include: Sequence[str], exclude: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the tasks in ``include`` and not in ``exclude``, in the registry's order.

        Args:
            include: Names of tasks, names of groups, ``"train"``, ``"eval"`` or ``"all"``. A name
                that a task and a group share (``image_text_matching``) means the task;
                ``"group:NAME"`` always means the group. ``"train"`` is what instruction tuning trains:
                the group ``pretraining`` is not part of it.
            exclude: The same, for tasks to leave out.

        Raises:
            ConfigError: A name is unknown (the closest known ones are suggested), or nothing is left.
        """
        chosen, dropped = ({task for name in names for task in self._resolve(name)} for names in (include, exclude))
        selected = tuple(name for name in self if name in chosen - dropped)
        if not selected:
            without = f" without {', '.join(exclude)}" if exclude else ""
            raise ConfigError(f"no task is selected by {', '.join(include) or 'an empty list'}{without}")
        return selected

    def _resolve(self, name: str) -> list[str]:
        """Names of the tasks that one word of a selection stands for."""
        if name == EVERYTHING:
            return list(self)
        if name in self._tasks:
            return [name]
        group = name.removeprefix(GROUP_PREFIX)
        members = [
            task.name
            for task in self._tasks.values()
            if group == task.group or (name == task.split and task.group != PRETRAINING_GROUP)
        ]
        if not members:
            known = [*self, *self.groups(), *SPLITS, EVERYTHING]
            raise ConfigError(
                f"unknown task or group {shown(name)}{suggestion(group, known)}; give task names, group names, "
                f"{', '.join(SPLITS)} or {EVERYTHING} (`ofa-mi tasks` lists them)"
            )
        return members


@functools.cache
def default_registry() -> Registry:
    """The packaged tasks."""
    return load_registry()


def load_registry(*extra_dirs: str | Path, language: str = ENGLISH) -> Registry:
    """Load the packaged tasks and then every ``*.yaml`` file of the given directories.

    Args:
        extra_dirs: Directories whose files add tasks (``tasks:``), replace the instructions of
            tasks that are already known (``replace:``) or add instructions in a language
            (``language:``). Files are read in the order of their names, those of languages last.
        language: Code of the language of the instructions. Tasks that have none in it are in the
            registry all the same; using one of them is an error.

    Raises:
        ConfigError: A file breaks the schema (the message names the file, the task and the key), or
            no task has instructions in ``language``.
    """
    tasks = read_tasks(*extra_dirs)
    known = {code for task in tasks.values() for code in task.languages}
    if language not in known:
        raise ConfigError(
            f"no task has instructions in language {shown(language)}; there are {', '.join(sorted(known))} "
            "(docs/instructions.md says how to add one)"
        )
    return Registry((task.in_language(language) for task in tasks.values()), language)


def read_tasks(*extra_dirs: str | Path, report: Report = raise_error) -> dict[str, TaskSpec]:
    """The tasks of :func:`load_registry` by name, in English, with their translations.

    Args:
        extra_dirs: As for :func:`load_registry`.
        report: What to do with an error of the schema. If it returns, what is wrong is left out,
            except single instructions, which are kept, and reading goes on.
    """
    tasks: dict[str, TaskSpec] = {}
    packaged = [*_yaml_files(TASK_DIR), *sorted(LANGUAGE_DIR.glob("*/*.yaml"))]
    for paths, is_packaged in ((packaged, True), *((_yaml_files(Path(name)), False) for name in extra_dirs)):
        files = []
        for path in paths:
            try:
                files.append(TaskFile(path, packaged=is_packaged, report=report))
            except ConfigError as error:
                report(error)
        for file in sorted(files, key=lambda file: file.language is not None):
            file.add_to(tasks)
    return tasks


def _yaml_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise ConfigError(f"instruction directory {directory} does not exist or is not a directory")
    paths = sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    if not paths:
        raise ConfigError(f"instruction directory {directory} holds no .yaml file")
    return paths

"""A linter for tasks and instructions: what the schema cannot say, every finding at once.

It works for any language; of English it knows a little more. Two instructions are compared by the words that they
share and by their order (:mod:`~ofa_mi.instructions.likeness`).

Within a task both must stay low, since an instruction that only swaps a few words teaches and tests
nothing new. Across tasks short instructions must resemble each other ("overlaps most", "overlaps
least"), so only those that are alike by both measures are found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import Instance, Text, plain
from ofa_mi.instructions.likeness import (
    order,
    order_allowed,
    perhaps_in_order,
    perhaps_shared,
    shared_words,
    words,
)
from ofa_mi.instructions.prompt import OPTION_SEPARATOR, OPTIONS_MARKER
from ofa_mi.instructions.registry import LANGUAGE_DIR, TASK_DIR, read_tasks
from ofa_mi.instructions.rendering import render, render_target
from ofa_mi.instructions.spec import ENGLISH, TaskSpec, split_template
from ofa_mi.instructions.versions import VERSIONS_FILE, compare, entry_name, read_versions, write_versions

MAX_SHARED, MAX_ORDER = 0.4, 0.45  # of two instructions of one task; either is too much
MAX_SHARED_ACROSS, MAX_ORDER_ACROSS = 0.75, 0.85  # of two instructions of different tasks; both together are
OPENING = 3  # no two instructions of a task open with the same words, so many of them
MIN_FIRST_WORDS = 4  # different first words (or placeholders) among the instructions of a task
MIN_WORDS, MAX_WORDS = 4, 40
ENDINGS = (".", "?", "!", ":", "}")
JARGON = frozenset({"benchmark", "dataset", "token", "tokens", "bin", "bins", "multiinstruct", "ofa"})
# An instruction may say that the answer takes one of these forms: it does not say which one is right.
ANSWER_FORMS = frozenset({"yes", "no", "not sure", "none"})
# Words of labels that give no label away.
_EMPTY_WORDS = frozenset(
    ("yes", "no", "not", "sure", "none", "one", "or", "and", "too", "other", "others", "a", "the", "of")
)
_FIELD_OF_INPUT = {"region": "regions", "region_1": "regions", "region_2": "regions"}
_INPUT_FIELDS = ("question", "text", "context", "regions", "options")
_PLACEHOLDER = re.compile(r"\{\w")  # what begins with it begins with a placeholder; two braces are one of the text
_OPENING_MARKS = '"„“«¿¡'
_QUOTES = '"„“”«»'  # every language pairs them in its own way, but always two


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is wrong.

    Attributes:
        place: ``file: task X: instruction 3``, as far as it is known.
        message: What is wrong.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def lint(*extra_dirs: str | Path, language: str | None = None, update: bool = False) -> list[Finding]:
    """Everything that is wrong with the packaged tasks or, if directories are given, with the tasks in them.

    Args:
        extra_dirs: Directories as for :func:`~ofa_mi.instructions.registry.load_registry`. Their
            instructions are compared with the packaged ones too, but the packaged are not judged.
        language: Only the instructions in this language; None for all languages.
        update: Record the versions of the tasks (``versions.json``), except where one should have
            risen and did not. A directory without that file is not checked for versions otherwise.

    Raises:
        ConfigError: A directory cannot be read, or its file of versions is damaged.
    """
    findings: list[Finding] = []
    tasks = read_tasks(*extra_dirs, report=lambda error: findings.append(Finding("", str(error))))
    sound = not findings
    # Where the versions of the tasks of each judged directory are recorded.
    version_files = {Path(name): Path(name) / VERSIONS_FILE for name in extra_dirs}
    if not extra_dirs:
        version_files = dict.fromkeys((TASK_DIR, *_folders(LANGUAGE_DIR)), TASK_DIR.parent / VERSIONS_FILE)
    specs = [spec for task in tasks.values() for spec in _in_every_language(task)]
    judged = [spec for spec in specs if Path(spec.path).parent in version_files]
    for spec in judged:
        if language in (None, spec.language):
            findings += _lint_task(spec, tasks[spec.name])
    findings += alike_across_tasks(
        [spec for spec in specs if language in (None, spec.language)], {spec.path for spec in judged}
    )
    for path in dict.fromkeys(version_files.values()):
        if sound and (update or not extra_dirs or path.exists()):
            here = [spec for spec in judged if version_files[Path(spec.path).parent] == path]
            findings += _lint_versions(here, path, update)
    return list(dict.fromkeys(findings))


# -- one task


def _in_every_language(task: TaskSpec) -> Iterator[TaskSpec]:
    yield task
    if not task.own_instruction:
        yield from map(task.in_language, task.translations)


def _folders(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()] if directory.is_dir() else []


def _lint_task(spec: TaskSpec, task: TaskSpec) -> Iterator[Finding]:
    """Findings about one task in one language; ``task`` is the same one in English."""
    place = _place(spec)
    if not spec.instructions:
        yield Finding(place, f"has no instructions; write {spec.least_instructions}")
    if spec.example is None:
        yield Finding(place, "has no example; give a typical instance under the key example")
    else:
        yield from _lint_example(spec, spec.example)
    if spec.language != ENGLISH:
        yield from _lint_translation(spec, task.version)
    if spec.own_instruction:
        return
    usable = [(number, text) for number, text in enumerate(spec.instructions, start=1) if _usable(spec, text)]
    for number, text in usable:
        for message in faults(spec, text):
            yield Finding(_place(spec, number), message)
    yield from _alike_within(spec, usable)


def _place(spec: TaskSpec, number: int | None = None) -> str:
    language = "" if spec.language == ENGLISH else f" in {spec.language}"
    instruction = "" if number is None else f": instruction {number}"
    return f"{spec.path}: task {spec.name}{language}{instruction}"


def _usable(spec: TaskSpec, text: str) -> bool:
    """Whether the placeholders are right; if not, the schema has said so."""
    try:
        return sorted(split_template(text)[1::2]) == sorted(spec.inputs)
    except ConfigError:
        return False


def _lint_example(spec: TaskSpec, example: Instance) -> Iterator[Finding]:
    """The example has the inputs of the task and no others, and every instruction and the target can be rendered."""
    place = f"{_place(spec)}: example"
    expected = {_FIELD_OF_INPUT.get(name, name) for name in spec.inputs}
    for name in _INPUT_FIELDS:
        if getattr(example, name) and name not in expected:
            field = name.removesuffix("s") if name == "regions" else name
            yield Finding(place, f"has {field}, which is not an input of the task")
    try:
        for text in spec.instructions:
            if _usable(spec, text):
                render(spec, text, example)
        render_target(spec, example)
    except DataError as error:
        yield Finding("", str(error))


def _lint_translation(spec: TaskSpec, version: int) -> Iterator[Finding]:
    """Whether the instructions were written after the ``version`` that the English ones are at."""
    translated = spec.translations[spec.language].translates
    if translated < version:
        yield Finding(
            _place(spec),
            f"translates version {translated} of the task, which is at {version}; compare the instructions "
            f"with the English ones, then write translates: {version}",
        )


def _lint_versions(specs: Sequence[TaskSpec], path: Path, update: bool) -> Iterator[Finding]:
    """Compare the versions of tasks with those recorded at ``path``, or record them."""
    stored = read_versions(path)
    entries, problems = compare(specs, stored)
    if update and entries != stored:
        write_versions(path, entries)
    for spec in specs:
        name = entry_name(spec)
        if name in problems:
            yield Finding(_place(spec), problems[name])
        elif not update and entries[name] != stored.get(name):
            yield Finding(_place(spec), f"version {spec.version} is not recorded; run `ofa-mi lint --update`")
    if not update:
        for name in sorted(stored.keys() - entries.keys()):
            yield Finding(str(path), f"task {name} does not exist any more; `ofa-mi lint --update` removes it")


# -- one instruction


def faults(spec: TaskSpec, text: str) -> list[str]:
    """What is wrong with one instruction whose placeholders are right: its form, or answers that it names."""
    return [*_form(spec, text), *_answers_named(spec, text)]


def _form(spec: TaskSpec, text: str) -> Iterator[str]:
    """What is wrong with an instruction as a piece of text."""
    if spec.language == ENGLISH and not text.isascii():
        yield "has characters that are not ASCII"
    if re.search(r"\s{2}|[^\S ]", text):
        yield "has two spaces or a line break"
    marks = ".,?!;:" if spec.language == ENGLISH else ".,"  # French has a space before the others
    if re.search(rf"\s[{marks}]|\.\.|\?\?|,,", text):
        yield "has a space before a punctuation mark, or a mark twice"
    if not (start := text.lstrip(_OPENING_MARKS)) or not (start[0].isupper() or _PLACEHOLDER.match(start)):
        yield "must begin with a capital letter or a placeholder"
    if not text.endswith(ENDINGS):
        yield f"must end with one of {' '.join(ENDINGS)}"
    if not MIN_WORDS <= len(words(text)) <= MAX_WORDS:
        yield f"has {len(words(text))} words; {MIN_WORDS} to {MAX_WORDS} are good to read"
    if sum(map(text.count, _QUOTES)) % 2:
        yield "has a quotation mark without its partner"
    if re.search(r"\{question\}[\"“”»]?\?", text):
        yield "puts a question mark after {question}, which brings its own"
    if OPTION_SEPARATOR in text or OPTIONS_MARKER.lower() in text.lower():
        yield f"writes {OPTIONS_MARKER} or {OPTION_SEPARATOR} itself; {{options}} brings its marker"
    if "options" in spec.inputs and not text.endswith(" {options}"):
        yield "must end with a space and {options}"
    if spec.language == ENGLISH and (jargon := sorted(JARGON & {*words(text)})):
        yield f"speaks of {', '.join(jargon)}, which an instance knows nothing about"


def _answers_named(spec: TaskSpec, text: str) -> Iterator[str]:
    """Answers of the task that an instruction names, so that it leads the model to them."""
    said = words(text)
    for answer in _known_answers(spec):
        if _contains(said, words(answer)):
            yield f"names the answer {answer!r}"
    owners: dict[str, set[str]] = {}
    for label in spec.labels:
        for word in {*words(label)} - _EMPTY_WORDS:
            owners.setdefault(word, set()).add(label)
    # A word that several labels share, such as "damage", does not tell them apart.
    for word in dict.fromkeys(said):
        if len(owners.get(word, ())) == 1:
            (label,) = owners[word]
            if label.lower() != word:
                yield f"has the word {word!r} of the answer {label!r}"


def _known_answers(spec: TaskSpec) -> list[str]:
    """Labels, and the options and the answer of the example; boxes and forms of an answer are left out."""
    texts: list[Text] = [(label,) for label in spec.labels]
    if spec.example is not None:
        texts += [*(spec.example.options or ()), spec.example.target]
    answers = (plain(text) for text in texts if text and all(isinstance(piece, str) for piece in text))
    return [answer for answer in dict.fromkeys(answers) if answer.lower() not in ANSWER_FORMS]


def _contains(said: Sequence[str], phrase: Sequence[str]) -> bool:
    size = len(phrase)
    return size > 0 and any(said[i : i + size] == phrase for i in range(len(said) - size + 1))


# -- two instructions


def _alike_within(spec: TaskSpec, instructions: Iterable[tuple[int, str]]) -> Iterator[Finding]:
    numbers, texts = [], []
    for number, text in instructions:
        numbers.append(number)
        texts.append(text)
    said = list(map(words, texts))
    for i, j in sorted({*perhaps_shared(said, MAX_SHARED), *perhaps_in_order(said, MAX_ORDER), *_same_openings(said)}):
        a, b, first, place = said[i], said[j], numbers[i], _place(spec, numbers[j])
        if (share := shared_words(a, b)) >= MAX_SHARED:
            yield Finding(place, f"shares {share:.0%} of its words with instruction {first} (below {MAX_SHARED:.0%})")
        elif (ratio := order(a, b)) >= MAX_ORDER:
            yield Finding(place, f"is {ratio:.0%} in the order of instruction {first} (below {MAX_ORDER:.0%})")
        if a[:OPENING] == b[:OPENING]:
            yield Finding(place, f"opens with the same {OPENING} words as instruction {first}")
    first_words = {bool(_PLACEHOLDER.match(text)) or text.split()[0].lower() for text in texts}
    if len(texts) >= MIN_FIRST_WORDS and len(first_words) < MIN_FIRST_WORDS:
        yield Finding(_place(spec), f"its instructions have {len(first_words)} different first words; vary them")


def _same_openings(said: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Pairs of instructions that open with the same words."""
    by_opening: dict[Sequence[str], list[int]] = defaultdict(list)
    for number, instruction in enumerate(said):
        by_opening[instruction[:OPENING]].append(number)
    for numbers in by_opening.values():
        yield from combinations(numbers, 2)


def alike_across_tasks(specs: Iterable[TaskSpec], judged: set[str]) -> Iterator[Finding]:
    """Instructions of different tasks that nobody could tell apart; the later one is named first."""
    entries = [
        (spec, number, words(text))
        for spec in specs
        if not spec.own_instruction
        for number, text in enumerate(spec.instructions, start=1)
    ]
    said = [instruction for _, _, instruction in entries]
    pairs = (
        (i, j) for i, j in perhaps_shared(said, MAX_SHARED_ACROSS) if _compared(entries[i][0], entries[j][0], judged)
    )
    for i, j in sorted(order_allowed(pairs, said, MAX_ORDER_ACROSS)):
        (first, first_number, _), (second, number, _) = entries[i], entries[j]
        if shared_words(said[i], said[j]) > MAX_SHARED_ACROSS and order(said[i], said[j]) > MAX_ORDER_ACROSS:
            yield Finding(_place(second, number), f"is nearly that of {first.name}, instruction {first_number}")


def _compared(first: TaskSpec, second: TaskSpec, judged: set[str]) -> bool:
    """Whether two tasks, or languages of one, are different tasks of which one is judged."""
    return first.name != second.name and bool({first.path, second.path} & judged)

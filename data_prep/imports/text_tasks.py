"""Small text-only tasks with instructions, made on the spot in the format of Natural Instructions.

They take the place of Natural Instructions where it is not at hand: every task is a file of definition, examples and
instances as :mod:`ofa_mi.data_prep.imports.natural_instructions` imports them, and some tasks are held out for
evaluation. The words are few and the operations simple, so that models of a few million parameters can learn some of
them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_mi.errors import ConfigError
from ofa_mi.utils.files import atomic_write
from ofa_mi.utils.progress import progress_bar

ANIMALS = [
    "cat", "dog", "horse", "cow", "sheep", "bird", "duck",
    "fish", "mouse", "fox", "bear", "wolf", "lion", "tiger", "frog",
]  # fmt: skip
FOODS = [
    "apple", "bread", "cheese", "rice", "soup", "cake", "pear",
    "plum", "bean", "egg", "honey", "milk", "tea", "corn",
]  # fmt: skip
THINGS = [
    "box", "cup", "ball", "hat", "key", "lamp", "chair",
    "table", "book", "clock", "door", "coat", "spoon", "brush",
]  # fmt: skip
COLORS = ["red", "blue", "green", "yellow", "black", "white", "brown", "gray"]
KINDS = {"animal": ANIMALS, "food": FOODS, "thing": THINGS, "color": COLORS}
WORDS = [*ANIMALS, *FOODS, *THINGS, *COLORS]
NAMES = ["Ann", "Ben", "Carl", "Dora", "Eva", "Finn", "Gus", "Hana", "Ida", "Jon"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PLACES = ("on", "under", "behind", "near")

Example = tuple[str, str]  # input, output


@dataclass(frozen=True, slots=True)
class TextTask:
    """One task.

    Attributes:
        name: Name of its file, without the number that goes before.
        category: Category in the sense of Natural Instructions.
        held_out: Whether it is for evaluation only.
        definition: The instruction.
        make: Draws an input and its output.
    """

    name: str
    category: str
    held_out: bool
    definition: str
    make: Callable[[random.Random], Example]


TASKS: list[TextTask] = []


def task(category: str, definition: str, *, held_out: bool = False) -> Callable[[Any], Any]:
    """Decorator: the function draws the instances of the task of its name."""

    def register(make: Callable[[random.Random], Example]):
        TASKS.append(TextTask(make.__name__, category, held_out, definition, make))
        return make

    return register


def generate(out_dir: str | Path, *, instances: int = 200, seed: int = 0) -> dict[str, int]:
    """Write the tasks as a folder in the format of the Natural Instructions release; files that exist stay.

    Args:
        out_dir: Folder to write ``tasks/`` and ``splits/default/`` into.
        instances: Most instances of each task; a task with fewer different inputs has fewer.
        seed: Seed of what is drawn.

    Returns:
        Task → number of instances.

    Raises:
        ConfigError: ``instances`` is less than 1.
        DataError: The folder cannot be written.
    """
    if instances < 1:
        raise ConfigError(f"--instances {instances}: must be at least 1")
    out_dir = Path(out_dir)
    counts = {}
    names: dict[bool, list[str]] = {False: [], True: []}
    for number, entry in enumerate(progress_bar(TASKS, desc="text tasks", unit="tasks"), 1):
        name = f"task{number:03d}_{entry.name}"
        names[entry.held_out].append(name)
        content = _content(entry, name, instances, seed)
        counts[name] = len(content["Instances"])
        path = out_dir / "tasks" / f"{name}.json"
        if not path.exists():
            atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())
    for split, held_out in (("train", False), ("test", True)):
        lines = "".join(f"{name}\n" for name in names[held_out])
        atomic_write(out_dir / "splits" / "default" / f"{split}_tasks.txt", lines.encode())
    return counts


def _content(entry: TextTask, name: str, instances: int, seed: int) -> dict[str, Any]:
    """The JSON object of a task; three examples are drawn first, and are not instances."""
    rng = random.Random(f"{seed}/{entry.name}")
    drawn: dict[str, str] = {}
    for _ in range(20 * instances):
        given, answer = entry.make(rng)
        drawn.setdefault(given, answer)
        if len(drawn) == instances + 3:
            break
    pairs = list(drawn.items())
    examples = [{"input": given, "output": answer, "explanation": ""} for given, answer in pairs[:3]]
    return {
        "Contributors": ["OFA-MI"],
        "Source": ["generated"],
        "Categories": [entry.category],
        "Definition": [entry.definition],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instruction_language": ["English"],
        "Domains": ["Generated"],
        "Positive Examples": examples,
        "Negative Examples": [],
        "Instances": [
            {"id": f"{name}-{number}", "input": given, "output": [answer]}
            for number, (given, answer) in enumerate(pairs[3:])
        ],
        "Instance License": ["Apache-2.0"],
    }


def _words(rng: random.Random, least: int = 3, most: int = 5) -> list[str]:
    return rng.sample(WORDS, rng.randint(least, most))


def _line(words: list[str]) -> str:
    return " ".join(words)


def _kind(word: str) -> str:
    return next(kind for kind, words in KINDS.items() if word in words)


@task("Text Manipulation", "You are given several words. Repeat the first word and nothing else.")
def first_word(rng: random.Random) -> Example:
    words = _words(rng)
    return _line(words), words[0]


@task("Text Manipulation", "You are given several words. Write the one that comes last.", held_out=True)
def last_word(rng: random.Random) -> Example:
    words = _words(rng)
    return _line(words), words[-1]


@task("Text Manipulation", "A few words are listed. Answer with the second of them.")
def second_word(rng: random.Random) -> Example:
    words = _words(rng)
    return _line(words), words[1]


@task("Text Manipulation", "Write the given words again in the opposite order.")
def reverse_order(rng: random.Random) -> Example:
    words = _words(rng, 2, 4)
    return _line(words), _line(words[::-1])


@task("Text Manipulation", "Copy the words exactly as they are given.")
def copy_words(rng: random.Random) -> Example:
    words = _words(rng, 1, 4)
    return _line(words), _line(words)


@task("Text Manipulation", "Leave out the first word and write the rest of the line.")
def without_first(rng: random.Random) -> Example:
    words = _words(rng)
    return _line(words), _line(words[1:])


@task("Text Manipulation", "Write everything but the last word of the line.", held_out=True)
def without_last(rng: random.Random) -> Example:
    words = _words(rng)
    return _line(words), _line(words[:-1])


@task("Text Manipulation", "Put the words into alphabetical order.")
def sort_words(rng: random.Random) -> Example:
    words = _words(rng, 2, 4)
    return _line(words), _line(sorted(words))


@task("Text Manipulation", "Say the given word twice.")
def say_twice(rng: random.Random) -> Example:
    word = rng.choice(WORDS)
    return word, f"{word} {word}"


@task("Text Manipulation", "Swap the two words.")
def swap_words(rng: random.Random) -> Example:
    words = rng.sample(WORDS, 2)
    return _line(words), _line(words[::-1])


@task("Text Categorization", "Is the word the name of an animal? Answer yes or no.")
def is_animal(rng: random.Random) -> Example:
    return _is_kind(rng, "animal")


@task("Text Categorization", "Answer yes if the word names something to eat or drink, and no if it does not.")
def is_food(rng: random.Random) -> Example:
    return _is_kind(rng, "food")


@task("Text Categorization", "Decide whether the given word is a color. Write yes or no.", held_out=True)
def is_color(rng: random.Random) -> Example:
    return _is_kind(rng, "color")


def _is_kind(rng: random.Random, kind: str) -> Example:
    if rng.random() < 0.5:
        return rng.choice(KINDS[kind]), "yes"
    return rng.choice([word for word in WORDS if word not in KINDS[kind]]), "no"


@task("Text Categorization", "What does the word name: an animal, a food, a thing or a color? Write one of these.")
def kind_of_word(rng: random.Random) -> Example:
    word = rng.choice(WORDS)
    return word, _kind(word)


@task("Text Categorization", "One word does not belong to the others. Find it.")
def odd_one_out(rng: random.Random) -> Example:
    kind, other = rng.sample(sorted(KINDS), 2)
    odd = rng.choice(KINDS[other])
    words = [*rng.sample(KINDS[kind], 3), odd]
    rng.shuffle(words)
    return _line(words), odd


@task("Information Extraction", "Find the animal in the list and write its name.")
def find_animal(rng: random.Random) -> Example:
    return _find(rng, "animal")


@task("Information Extraction", "Which of the words is a color? Write it down.")
def find_color(rng: random.Random) -> Example:
    return _find(rng, "color")


@task("Information Extraction", "Name the food that is among the words.", held_out=True)
def find_food(rng: random.Random) -> Example:
    return _find(rng, "food")


def _find(rng: random.Random, kind: str) -> Example:
    wanted = rng.choice(KINDS[kind])
    words = [wanted, *rng.sample([word for word in WORDS if word not in KINDS[kind]], 3)]
    rng.shuffle(words)
    return _line(words), wanted


@task("Question Answering", "The sentence says what a thing looks like. Answer with its color.")
def color_of_thing(rng: random.Random) -> Example:
    color, thing = rng.choice(COLORS), rng.choice(THINGS)
    return f"The {thing} is {color}.", color


@task("Question Answering", "A sentence tells where something is. Write the place.")
def where_is_it(rng: random.Random) -> Example:
    thing, other = rng.sample(THINGS, 2)
    place = f"{rng.choice(PLACES)} the {other}"
    return f"The {thing} is {place}.", place


@task("Question Answering", "Read the sentence and say who has the thing.")
def who_has_it(rng: random.Random) -> Example:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    return f"{name} has the {thing}.", name


@task("Question Answering", "Read the sentence and say what the person wants to eat.", held_out=True)
def what_to_eat(rng: random.Random) -> Example:
    name, food = rng.choice(NAMES), rng.choice(FOODS)
    return f"{name} wants to eat {food}.", food


@task("Question Answering", "Two people are introduced with their animals. Answer the question about one of them.")
def whose_animal(rng: random.Random) -> Example:
    names, animals = rng.sample(NAMES, 2), rng.sample(ANIMALS, 2)
    asked = rng.randrange(2)
    told = f"{names[0]} has a {animals[0]}. {names[1]} has a {animals[1]}."
    return f"{told} What does {names[asked]} have?", animals[asked]


@task("Textual Entailment", "Does the second sentence follow from the first? Answer yes or no.")
def follows(rng: random.Random) -> Example:
    thing, color, other = rng.choice(THINGS), *rng.sample(COLORS, 2)
    said = color if (truth := rng.random() < 0.5) else other
    return f"The {thing} is {color}. The {thing} is {said}.", "yes" if truth else "no"


@task("Textual Entailment", "Do the two sentences say the same? Write yes or no.", held_out=True)
def same_meaning(rng: random.Random) -> Example:
    thing, other = rng.sample(THINGS, 2)
    place, wrong = rng.sample(PLACES, 2)
    said = place if (truth := rng.random() < 0.5) else wrong
    return f"The {thing} is {place} the {other}. You find the {thing} {said} the {other}.", "yes" if truth else "no"


@task("Program Execution", "Count the words and write the number as a word.")
def count_words(rng: random.Random) -> Example:
    words = _words(rng, 1, 5)
    return _line(words), NUMBERS[len(words)]


@task("Program Execution", "How many of the words are animals? Write a number as a word.")
def count_animals(rng: random.Random) -> Example:
    number = rng.randint(0, 3)
    words = rng.sample(ANIMALS, number) + rng.sample([*FOODS, *THINGS], rng.randint(1, 3))
    rng.shuffle(words)
    return _line(words), NUMBERS[number]


@task("Program Execution", "Add the two numbers. All numbers are written as words.")
def add_numbers(rng: random.Random) -> Example:
    a, b = rng.randint(0, 5), rng.randint(0, 5)
    return f"{NUMBERS[a]} plus {NUMBERS[b]}", NUMBERS[a + b]


@task("Program Execution", "Write the number that comes after the given one.")
def next_number(rng: random.Random) -> Example:
    number = rng.randint(0, 9)
    return NUMBERS[number], NUMBERS[number + 1]


@task("Program Execution", "Which of the two numbers is larger? Write it as a word.")
def larger_number(rng: random.Random) -> Example:
    a, b = rng.sample(range(11), 2)
    return f"{NUMBERS[a]} {NUMBERS[b]}", NUMBERS[max(a, b)]


@task("Data to Text", "Turn the list of thing and color into a sentence.")
def describe_thing(rng: random.Random) -> Example:
    thing, color = rng.choice(THINGS), rng.choice(COLORS)
    return f"{thing}, {color}", f"The {thing} is {color}."


@task("Data to Text", "You get a name and a food. Write a sentence which says that this person eats this food.")
def describe_meal(rng: random.Random) -> Example:
    name, food = rng.choice(NAMES), rng.choice(FOODS)
    return f"{name}, {food}", f"{name} eats {food}."


@task("Question Rewriting", "Turn the statement into a question.")
def ask_it(rng: random.Random) -> Example:
    thing, color = rng.choice(THINGS), rng.choice(COLORS)
    return f"The {thing} is {color}.", f"Is the {thing} {color}?"


@task("Question Rewriting", "Turn the question into a statement.")
def state_it(rng: random.Random) -> Example:
    animal, place, thing = rng.choice(ANIMALS), rng.choice(PLACES), rng.choice(THINGS)
    return f"Is the {animal} {place} the {thing}?", f"The {animal} is {place} the {thing}."


@task("Text Completion", "Choose the color from the two words and finish the sentence with it.")
def finish_with_color(rng: random.Random) -> Example:
    thing, color, other = rng.choice(THINGS), rng.choice(COLORS), rng.choice(ANIMALS)
    words = [color, other]
    rng.shuffle(words)
    return f"{_line(words)} The {thing} is", color

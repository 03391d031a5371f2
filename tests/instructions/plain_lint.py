"""The linter's comparison of instructions without any shortcut: every pair, by the measures themselves.

It is what the linter did before it looked for candidates first; its findings are those that must come out.
"""

from itertools import combinations

from ofa_mi.instructions import lint
from ofa_mi.instructions.likeness import order, shared_words, words
from ofa_mi.instructions.lint import Finding


def alike_within(spec, instructions):
    """In the place of ``lint._alike_within``."""
    by_number = {number: (text, words(text)) for number, text in instructions}
    for first, second in combinations(by_number, 2):
        a, b = by_number[first][1], by_number[second][1]
        place = lint._place(spec, second)
        if (share := shared_words(a, b)) >= lint.MAX_SHARED:
            message = f"shares {share:.0%} of its words with instruction {first} (below {lint.MAX_SHARED:.0%})"
            yield Finding(place, message)
        elif (ratio := order(a, b)) >= lint.MAX_ORDER:
            message = f"is {ratio:.0%} in the order of instruction {first} (below {lint.MAX_ORDER:.0%})"
            yield Finding(place, message)
        if a[: lint.OPENING] == b[: lint.OPENING]:
            yield Finding(place, f"opens with the same {lint.OPENING} words as instruction {first}")
    first_words = {bool(lint._PLACEHOLDER.match(text)) or text.split()[0].lower() for text, _ in by_number.values()}
    if len(by_number) >= lint.MIN_FIRST_WORDS and len(first_words) < lint.MIN_FIRST_WORDS:
        message = f"its instructions have {len(first_words)} different first words; vary them"
        yield Finding(lint._place(spec), message)


def alike_across_tasks(specs, judged):
    """In the place of ``lint.alike_across_tasks``."""
    entries = [
        (spec, number, words(text))
        for spec in specs
        if not spec.own_instruction
        for number, text in enumerate(spec.instructions, start=1)
    ]
    word_sets = [frozenset(entry[2]) for entry in entries]
    for i, j in combinations(range(len(entries)), 2):
        a, b = word_sets[i], word_sets[j]
        if min(len(a), len(b)) <= lint.MAX_SHARED_ACROSS * max(len(a), len(b)):
            continue
        if len(a & b) <= lint.MAX_SHARED_ACROSS * len(a | b):
            continue
        (first, first_number, first_words), (second, number, second_words) = entries[i], entries[j]
        if first.name == second.name or not {first.path, second.path} & judged:
            continue
        if order(first_words, second_words) > lint.MAX_ORDER_ACROSS:
            place = lint._place(second, number)
            yield Finding(place, f"is nearly that of {first.name}, instruction {first_number}")

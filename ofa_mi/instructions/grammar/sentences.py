"""One instruction: a draw from the tree of sentence patterns.

An instruction consists of sentences in this order; all but the core may be absent::

    lead        "Look at the picture."
    inputs      "The region is {region}."            those that are presented before
    core        "Can you say what the region shows?"  a frame around a phrase of the task
    inputs      "Caption: {text}"                    those that are presented after; or behind the next one
    form        "Answer with a short phrase."
    options     "Choose one of these captions."      always last, before {options}

In a phrase ``{region}`` is a *mention*: the input itself with or without its name (``the region {region}``), or only
its name (``the region``) where a sentence of its own presents the input. ``<a|b>`` is one of its parts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofa_mi.instructions.grammar.phrases import KINDS, Phrases, patterns
from ofa_mi.instructions.spec import TaskSpec

INLINE, BEFORE, AFTER = "inline", "before", "after"
LEAD, FORM = 0.3, 0.3  # shares of the instructions that have them
IN_PLACE = 0.5  # share of the mentions that hold the input itself
FORM_BEFORE_INPUTS = 0.3
PAIR = ("region_1", "region_2")  # they are presented together
# Of each of these there is at most one in an instruction; two are clumsy.
_IMAGE = re.compile(r"\{image\}|\{an image\}")  # in lead and core
_PERSON = re.compile(
    r"\b(some(?:one|body)|friend|colleague|visitor|child|customer|user|person|people who)\b", re.IGNORECASE
)
_VERDICT = re.compile(r"\b(verdict|judgment|opinion|decision|view)\b", re.IGNORECASE)
_TWICE = re.compile(r"\b(\w+) \1\b", re.IGNORECASE)

_ALTERNATIVES = re.compile(r"<([^<>]*)>")
_MENTION = re.compile(r'(?<!")\{(?!image\})(\w+)\}|(?<=")\{(?!image\})(\w+)\}(?!")')
_ANSWERING = re.compile(r"\b(answer|reply|respond|output)", re.IGNORECASE)  # in frame and phrase
_QUOTED_END = re.compile(r' "\{question\}"\.$')
_VOWELS = "aeiou"


class Draw:
    """Choices that follow from a seed alone: of Python's generator only :meth:`~random.Random.random` promises that."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def one(self, items: Sequence[str]) -> str:
        """One of the items."""
        return items[int(self._random.random() * len(items))]

    def happens(self, share: float) -> bool:
        """True in a share of the cases."""
        return self._random.random() < share

    def text(self, items: Sequence[str]) -> str:
        """One of the items, with one of each of its ``<alternatives>``."""
        return _ALTERNATIVES.sub(lambda found: self.one(found[1].split("|")), self.one(items))


@dataclass(frozen=True)
class Called:
    """What an input is called in an instruction: ``region``, ``regions``."""

    one: str
    several: str

    @classmethod
    def of(cls, name: str) -> Called:
        """From ``name`` or ``name/names``."""
        one, _, several = name.partition("/")
        return cls(one, several or f"{one}s")

    def fill(self, pattern: str) -> str:
        """A pattern with ``{name}``, ``{names}``, ``{Name}``, ``{Names}`` and ``{a name}`` filled in."""
        values = {"{name}": self.one, "{names}": self.several, "{a name}": with_article(self.one)}
        values |= {"{Name}": capital(self.one), "{Names}": capital(self.several)}
        return _filled(pattern, values)


class Sentences:
    """The grammar of one task.

    Args:
        spec: The task.
        phrases: What it is called by.
    """

    def __init__(self, spec: TaskSpec, phrases: Phrases) -> None:
        self.spec, self.phrases, self.patterns = spec, phrases, patterns()
        self.kinds = tuple(kind for kind in KINDS if getattr(phrases, kind))
        self.inputs = tuple(name for name in spec.inputs if name != "options")
        self.image = phrases.image or tuple(self.patterns["image"])
        self.answers = phrases.answer or tuple(self.patterns["answers"][spec.output])

    def compose(self, kind: str, draw: Draw) -> str | None:
        """One instruction of a kind; None where the draw does not make a good one."""
        phrase = draw.text(getattr(self.phrases, kind))
        frame = draw.text(self._frames(kind, phrase))
        places = self._places(phrase, draw)
        # An input that the phrase does not mention goes by its first name, of which the phrase may be speaking.
        names = {
            name: Called.of(draw.one(self._names(name)) if f"{{{name}}}" in phrase else self._names(name)[0])
            for name in self.inputs
        }
        names |= {name: names[PAIR[0]] for name in PAIR if name in names}
        core = frame.replace("{phrase}", self._mentioned(phrase, places, names, draw))
        lead = draw.text(self.patterns["lead"]) if draw.happens(LEAD) else ""
        before = self._presented(BEFORE, places, names, draw)
        after = self._presented(AFTER, places, names, draw)
        form = self._form(core, draw)
        behind = [form, *after] if draw.happens(FORM_BEFORE_INPUTS) else [*after, form]
        sentences = [lead, *before, core, *behind, *self._options(draw)]
        if _repeats(frame, phrase, f"{lead} {core}", sentences) or _misquotes(frame, core, places):
            return None
        text = " ".join(capital(sentence) for sentence in sentences if sentence)
        image = draw.one(self.image)
        text = _filled(text, {"{image}": image, "{an image}": with_article(image)})
        return _sentence_starts(_QUOTED_END.sub(": {question}", text))

    def _frames(self, kind: str, phrase: str) -> Sequence[str]:
        frames = self.patterns["frames"]
        whether = kind == "know" and phrase.startswith("whether")
        return (*frames[kind], *frames["whether"]) if whether else frames[kind]

    def _names(self, name: str) -> Sequence[str]:
        return self.phrases.names.get(name) or self._patterns_of(name)["names"]

    def _patterns_of(self, name: str) -> Mapping[str, list[str]]:
        return self.patterns["inputs"]["two_regions" if name in PAIR else name]

    def _places(self, phrase: str, draw: Draw) -> dict[str, str]:
        """Where each input stands: in the phrase, before it or after it."""
        mentioned = {found[1] or found[2] for found in _MENTION.finditer(phrase)}
        places: dict[str, str] = {}
        for name in self.inputs:
            can_be_inline = name in mentioned and self._patterns_of(name)["inline"]
            apart = BEFORE if draw.happens(0.5) and mentioned else AFTER  # "find a word": which one is said then
            places[name] = INLINE if can_be_inline and draw.happens(IN_PLACE) else apart
            if f'"{{{name}}}"' in phrase:
                places[name] = INLINE
        if PAIR[0] in places:
            places[PAIR[1]] = places[PAIR[0]]
        return places

    def _mentioned(self, phrase: str, places: Mapping[str, str], names: Mapping[str, Called], draw: Draw) -> str:
        """The phrase with its mentions written out."""
        chosen: dict[str, str] = {}  # both of a pair are referred to in the same way

        def written(found: re.Match) -> str:
            name = found[1] or found[2]
            key = PAIR[0] if name in PAIR else name
            if key not in chosen:
                chosen[key] = draw.one(self._patterns_of(name)[places[name]])
            pattern = chosen[key].replace("{nth}", "second" if name == PAIR[1] else "first")
            if name in PAIR:
                pattern = pattern.replace("{region}", f"{{{name}}}")
            return names[name].fill(pattern)

        return _MENTION.sub(written, phrase)

    def _presented(self, place: str, places: Mapping[str, str], names: Mapping[str, Called], draw: Draw) -> list[str]:
        """A sentence for each input, or pair of inputs, that stands in a place apart."""
        apart = [name for name in self.inputs if places[name] == place and name != PAIR[1]]
        if draw.happens(0.5):
            apart.reverse()
        key = "present" if place == BEFORE else "follow"
        return [names[name].fill(draw.text(self._patterns_of(name)[key])) for name in apart]

    def _form(self, core: str, draw: Draw) -> str:
        """What the answer shall look like, where the core does not speak of the answer."""
        if not self.answers or not draw.happens(FORM) or _ANSWERING.search(core):
            return ""
        return draw.text(self.patterns["form"]).replace("{answer}", draw.one(self.answers))

    def _options(self, draw: Draw) -> list[str]:
        """What brings in the options, and the options."""
        if "options" not in self.spec.inputs:
            return []
        if isinstance(self.phrases.options, str):
            return [draw.text(self.patterns["verdicts"][self.phrases.options]), "{options}"]
        names = Called.of(draw.one(self.phrases.options or self.patterns["option_names"]["options"]))
        several = self.spec.output == "options"
        return [names.fill(draw.text(self.patterns["several" if several else "options"])), "{options}"]


def _repeats(frame: str, phrase: str, beginning: str, sentences: Sequence[str]) -> bool:
    """Whether something is said twice; ``beginning`` is lead and core."""
    whole = " ".join(sentences)
    openings = [sentence.lower().split()[:2] for sentence in sentences if " " in sentence]
    return (
        len(_IMAGE.findall(beginning)) > 1
        or any(len(words.findall(whole)) > 1 for words in (_PERSON, _VERDICT))
        or all(_ANSWERING.search(part) for part in (frame, phrase))
        or any(openings.count(opening) > 1 for opening in openings)
        or _TWICE.search(whole) is not None
    )


def _misquotes(frame: str, core: str, places: Mapping[str, str]) -> bool:
    """Whether words that a frame puts in quotes have quotes themselves, or point at what stands behind."""
    return '"{phrase}' in frame and (core.count('"') > frame.count('"') or AFTER in places.values())


def capital(text: str) -> str:
    """The text with its first letter in upper case; a placeholder at the beginning stays as it is."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """``an image``, ``a box``."""
    return f"{'an' if noun[0] in _VOWELS else 'a'} {noun}"


def _filled(text: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def _sentence_starts(text: str) -> str:
    """Capital letters behind the end of a sentence, for frames that hold more than one."""
    return re.sub(r"(?<=[.?!] )[a-z]", lambda found: found[0].upper(), text)

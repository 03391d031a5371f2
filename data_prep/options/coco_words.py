"""Words for the categories of MSCOCO: which of them a text names, and which a question takes for granted.

Categories are bits of an integer, numbered as in the annotations' list of category names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Further words for a category; its name is one by itself, and plurals in -s and -es are added.
_WORDS = {
    "person": "people man men woman women boy girl child children kid baby babies guy lady ladies gentleman gentlemen "
    "toddler adult player batter catcher pitcher umpire surfer skier snowboarder skateboarder skater rider cyclist "
    "pedestrian passenger worker chef waiter waitress couple crowd bride groom officer policeman policemen fireman "
    "firemen cowboy swimmer driver spectator customer student teacher soldier tourist shopper biker jockey "
    "motorcyclist teenager audience family human someone somebody",
    "bicycle": "bike",
    "car": "automobile suv sedan taxi cab minivan jeep convertible",
    "motorcycle": "motorbike scooter moped",
    "airplane": "plane aeroplane aircraft airliner jet biplane",
    "bus": "busses",
    "train": "locomotive tram trolley",
    "truck": "pickup lorry van firetruck",
    "boat": "ship canoe kayak sailboat yacht raft ferry",
    "traffic light": "stoplight traffic_signal stop_light",
    "fire hydrant": "hydrant",
    "bird": "duck goose geese seagull gull pigeon parrot owl swan eagle hawk ostrich peacock flamingo crow chicken "
    "pelican hummingbird heron sparrow",
    "cat": "kitten kitty kitties",
    "dog": "puppy puppies",
    "horse": "pony ponies foal",
    "sheep": "lamb ram",
    "cow": "cattle bull calf calves ox oxen",
    "backpack": "knapsack rucksack",
    "umbrella": "parasol",
    "handbag": "purse",
    "tie": "necktie bowtie",
    "suitcase": "luggage baggage",
    "skis": "ski",
    "sports ball": "ball baseball basketball football soccer_ball tennis_ball volleyball",
    "baseball bat": "bat",
    "baseball glove": "glove mitt",
    "tennis racket": "racket racquet tennis_racquet",
    "wine glass": "glass wineglass goblet",
    "cup": "mug glass",
    "knife": "knives",
    "hot dog": "hotdog",
    "donut": "doughnut",
    "cake": "cupcake",
    "couch": "sofa loveseat",
    "potted plant": "plant houseplant flowerpot",
    "dining table": "table desk",
    "toilet": "urinal",
    "tv": "television screen monitor",
    "laptop": "notebook computer",
    "remote": "remote_control wiimote controller",
    "cell phone": "phone cellphone smartphone mobile telephone",
    "oven": "stove",
    "refrigerator": "fridge freezer",
    "teddy bear": "teddy stuffed_bear stuffed_animal",
    "hair drier": "hair_dryer blow_dryer hairdryer",
}
# Not taken for granted by a question: they are a colour, or too often something that MSCOCO does not annotate.
_VAGUE_WORDS = (
    "orange oranges glass glasses table tables desk desks screen screens monitor monitors computer computers plant "
    "plants controller controllers mobile football someone somebody human humans"
)
_VAGUE = frozenset(_VAGUE_WORDS.split())
# "the train station" does not speak of a train.
_COMPOUND_WORDS = (
    "station stations track tracks stop stops house houses food park parks yard lane lanes terminal shop store "
    "statue statues toy toys picture pictures photo painting poster logo sign signs print costume shelter path trail "
    "crossing rack garage dock pier game court match shirt style board boards lift slope pole poles resort boot boots"
)
_COMPOUNDS = frozenset(_COMPOUND_WORDS.split())
# Between "the" and its noun there is none of these.
_FUNCTION_WORDS = (
    "a an and or but not of in on at by to for from with without near behind under over above below into onto out up "
    "down off as is are was were be been being do does did has have had can could will would should there it its he "
    "she they his her their them who whom whose what which when where why how"
)
_FUNCTION = frozenset(_FUNCTION_WORDS.split())
_DETERMINERS = frozenset(("the", "these", "those", "this", "that"))
_ADJECTIVES = 2  # at most so many words between a determiner and its noun
# "Are these cats?" asks what they are, "is the cat visible?" whether it is there.
_ASKS_WHAT = re.compile(r"(?:is|are|was|were) (?:this|that|these|those|it|they|he|she)\b")
_ASKS_WHETHER = re.compile(
    r"(?:is|are|was|were) (?:the|this|that|these|those) [\w ]*?\b"
    r"(?:visible|present|shown|pictured|seen|in (?:the|this) (?:picture|photo|image|scene|shot|frame))$"
)


class CategoryWords:
    """Finds categories in texts.

    Args:
        categories: Names of the categories; bit *n* stands for the *n*-th.
    """

    def __init__(self, categories: Sequence[str]) -> None:
        self._bits: dict[str, int] = {}
        for place, category in enumerate(categories):
            for word in (category, *_WORDS.get(category, "").split()):
                for form in _forms(word.replace("_", " ")):
                    self._bits[form] = self._bits.get(form, 0) | 1 << place
        # First word → how many words a name that begins with it may have, the most first.
        lengths: dict[str, set[int]] = {}
        for form in self._bits:
            first, *rest = form.split()
            lengths.setdefault(first, set()).add(1 + len(rest))
        self._lengths = {first: sorted(numbers, reverse=True) for first, numbers in lengths.items()}

    def named(self, text: str) -> int:
        """Every category that some word of a text may mean."""
        bits = 0
        for _, _, name in self._names(_words(text)):
            bits |= self._bits[name]
        return bits

    def presupposed(self, question: str) -> int:
        """The categories that a question takes for granted.

        Those are named with "the", "this", "that", "these" or "those" before them, as in "What color is the dog's
        collar?" or "Is this man happy?", and neither what the question asks for ("Is this a dog?", "Are these dogs?")
        nor whether it exists ("Is there a dog?", "Is the dog visible?"). Words for several categories count for all.
        """
        words = _words(question)
        plain = " ".join(words)
        if _ASKS_WHETHER.match(plain):
            return 0
        asks_what = _ASKS_WHAT.match(plain) is not None
        bits = 0
        for start, end, name in self._names(words):
            compound = end < len(words) and words[end] in _COMPOUNDS
            asked_for = asks_what and end == len(words)
            if name not in _VAGUE and not compound and not asked_for and _definite(words, start):
                bits |= self._bits[name]
        return bits

    def _names(self, words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
        """Where names of categories begin and end, and what they are; the longest, from left to right."""
        start = 0
        while start < len(words):
            end = start + 1
            for length in self._lengths.get(words[start], ()):
                name = " ".join(words[start : start + length])
                if name in self._bits:
                    end = start + len(name.split())
                    yield start, end, name
                    break
            start = end


def _definite(words: Sequence[str], start: int) -> bool:
    """Whether the noun at ``start`` has a determiner, with at most two adjectives between them."""
    for word in reversed(words[max(start - 1 - _ADJECTIVES, 0) : start]):
        if word in _DETERMINERS:
            return True
        if word in _FUNCTION:
            return False
    return False


def _words(text: str) -> list[str]:
    """Words in lower case, without the mark of the genitive: "The man's hat?" → the, man, hat."""
    return re.findall(r"\w+", re.sub(r"['\u2019]s\b", "", text.lower()))


def _forms(word: str) -> tuple[str, ...]:
    return (word, f"{word}s", f"{word}es")

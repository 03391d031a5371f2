"""When two short answers to a question about a photo could both be right: plurals, synonyms, a kind and its members.

Used to keep such answers out of the wrong options. The word lists are small and written for VQA's answers; they lean
towards finding too much, which costs an option, rather than too little, which makes a right answer wrong.
"""

from __future__ import annotations

import functools

YES_NO, NUMBER, OTHER = "yes/no", "number", "other"

_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())}
_SKIPPED = frozenset(("a", "an", "the", "play", "playing", "color", "colored", "colour"))
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "knives": "knife",
    "leaves": "leaf",
    "wolves": "wolf",
    "loaves": "loaf",
    "shelves": "shelf",
    "calves": "calf",
    "skis": "ski",
    "buses": "bus",
    "busses": "bus",
    "grey": "gray",
    "colour": "color",
    "tv": "television",
    "racquet": "racket",
}
# Words of one line can be said of the same thing. Of a kind and its members the first is the kind: "animal" goes with
# each of the others, but these do not go with each other.
_SAME = """
couch sofa loveseat
bike bicycle
motorbike motorcycle moped scooter
phone cellphone cell telephone smartphone iphone mobile
plane airplane jet aircraft airliner
fridge refrigerator freezer
donut doughnut
trash garbage rubbish bin can
luggage suitcase bag baggage backpack purse
television screen monitor
computer laptop
cup mug glass
plate dish
road street highway
sidewalk pavement path
cement concrete asphalt
stone rock
sea ocean water
water lake river
beach sea ocean
dirt ground soil mud sand
grass lawn
field pasture meadow grass
forest tree wood jungle
mountain hill
city town urban downtown street
countryside rural country farm
outside outdoor outdoors
inside indoor indoors
day daytime afternoon noon
day daytime morning
night nighttime evening dusk dark
sunset dusk evening dawn sunrise morning
cloudy overcast gray foggy hazy gloomy
sunny clear bright warm
rainy wet rain stormy
snowy snow cold winter
happy smile joy excited content fun pleased cheerful happiness joyful amused
sad unhappy upset sadness depressed
angry mad anger annoyed upset frustrated
scared afraid fear fearful frightened nervous worried
calm relax relaxed peaceful content
tired sleepy exhausted bored
gray silver
beige tan cream brown
gold yellow blond blonde
teal turquoise aqua
purple violet lavender
lay lie rest sleep relax
sit rest relax
eat graze
talk speak
run jog walk
surf surfboard
skateboard skate
snowboard board
hat cap
shirt jacket coat sweater
pants jeans
shoe sneaker boot
soccer football
racket bat
sofa chair
table desk
table counter
guy male man gentleman
girl lady female woman
boy kid child
oven stove
rug carpet mat
curtain drape blind
"""
_KINDS = """
person man woman boy girl child kid lady guy baby adult player male female surfer skier skateboarder snowboarder batter
animal dog cat horse cow sheep elephant giraffe zebra bear bird goat lion tiger monkey rabbit deer duck goose bull
bird duck goose seagull pigeon parrot owl swan eagle chicken
dog puppy
cat kitten
cow bull calf cattle
sheep lamb
vehicle car truck bus van train motorcycle bike boat airplane taxi suv plane jeep tractor
car taxi suv van sedan jeep
truck van pickup
boat ship canoe sailboat
food pizza sandwich cake hotdog salad fruit vegetable bread meat rice pasta soup donut cheese burger banana apple
fruit banana apple orange strawberry grape lemon pear pineapple berry
vegetable broccoli carrot pepper onion tomato lettuce potato
furniture chair table couch sofa bed desk bench dresser shelf bookshelf cabinet
drink water wine beer coffee juice soda tea milk
appliance refrigerator oven microwave toaster stove dishwasher
electronics computer laptop television phone camera
clothes shirt pants jacket coat dress shorts suit hat
building house church tower hotel
tree palm
toy teddy doll
room kitchen bathroom bedroom office
store shop market
sport baseball tennis soccer football basketball skiing ski surfing surf snowboard skateboard frisbee volleyball
ball baseball football basketball soccer
red maroon burgundy pink
blue navy teal turquoise aqua
green olive lime teal turquoise aqua
"""


def kind_of(answer: str) -> str:
    """Yes or no, a number, or another answer: an option of another kind gives itself away."""
    words = answer.lower().split()
    if words in (["yes"], ["no"]):
        return YES_NO
    return NUMBER if len(words) == 1 and (words[0] in NUMBERS or words[0].isdigit()) else OTHER


@functools.lru_cache(maxsize=1 << 17)
def concept(answer: str) -> str:
    """What an answer says whatever its form: "the dogs" → dog, "playing tennis" → tennis, "two" → 2."""
    words = answer.lower().replace("-", " ").split()
    kept = [word for word in words if word not in _SKIPPED] or words
    return " ".join(map(_stem, kept))


@functools.lru_cache(maxsize=1 << 17)
def compatible(p: str, q: str) -> bool:
    """Whether two answers could both be right, as far as words tell.

    They could if they are the same concept, if one has all words of the other ("red" and "dark red"), or if a word of
    one goes with a word of the other.
    """
    left, right = set(concept(p).split()), set(concept(q).split())
    if left <= right or right <= left:
        return True
    raw_left, raw_right = set(p.lower().split()), set(q.lower().split())
    if raw_left <= raw_right or raw_right <= raw_left:
        return True
    return any(b in _partners().get(a, ()) for a in left for b in right)


def _stem(word: str) -> str:
    """A word without the ending of a plural or of a verb; numbers as digits. It need not be a word of English."""
    word = NUMBERS.get(word, _IRREGULAR.get(word, word))
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "toes")):
        word = word[:-2]
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ing") and len(word) > 5:
        word = word[:-3]
        if word[-1] == word[-2] and word[-1] not in "ls":
            word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


@functools.cache
def _partners() -> dict[str, frozenset[str]]:
    """Stem → stems of the words that it goes with."""
    found: dict[str, set[str]] = {}

    def join(p: str, q: str) -> None:
        found.setdefault(p, set()).add(q)
        found.setdefault(q, set()).add(p)

    for line in filter(None, _SAME.splitlines()):
        words = [_stem(word) for word in line.split()]
        for i, p in enumerate(words):
            for q in words[i + 1 :]:
                join(p, q)
    for line in filter(None, _KINDS.splitlines()):
        kind, *members = (_stem(word) for word in line.split())
        for member in members:
            join(kind, member)
    return {word: frozenset(others) for word, others in found.items()}

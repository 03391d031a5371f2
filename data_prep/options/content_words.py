"""What the caption of a region is about: its words without grammar, so that captions can be compared.

Two captions that have no word in common hardly describe the same thing; a caption whose words are all in another one
says nothing that the other does not say as well. Words that are often used for the same thing count as one: this finds
too much in common rather than too little.
"""

from __future__ import annotations

import functools
import re

_GRAMMAR_WORDS = """
a an the this that these those it its his her hers their our your my he she they them him we you i one some any all each
both other another and or but nor as if so than then not no very too also just only there here is are was were be been
being am has have had having do does doing did done can could will would may might must of in on at by to into onto from
with without for off out up down over under above below about around near next beside behind between through across
along against inside outside toward towards upon within front back top bottom side left right middle center part piece
photo image scene area edge background foreground visible seen shown showing which who whose what where when while s t
"""
_GRAMMAR = frozenset(_GRAMMAR_WORDS.split())
# Words of one line may well be said of the same thing.
_SAME_WORDS = """
person people man men woman women guy lady boy girl kid child children baby toddler adult male female human player rider
    skier surfer snowboarder skateboarder batter pitcher catcher umpire pedestrian someone somebody crowd group family
    couple friend passenger driver spectator
car vehicle automobile truck van suv bus buses taxi cab
bike bicycle motorcycle motorbike scooter moped
airplane plane aircraft jet airliner
train locomotive engine railcar
boat ship canoe kayak sailboat
tv television monitor screen
phone cellphone telephone smartphone
couch sofa loveseat
cup mug glass
bag purse handbag backpack luggage suitcase
shirt tshirt t-shirt blouse sweater jacket coat
pants jeans trousers shorts
shoe sneaker boot footwear
hat cap helmet
street road roadway highway pavement ground sidewalk
grass lawn field
tree bush bushes shrub plant foliage leaf leaves branch branches
cow cattle calf bull
sheep lamb
cat kitten kitty
dog puppy pup
building house skyscraper
gray grey silver
water ocean sea lake river wave
sky cloud
picture painting poster drawing
beach sand shore
sign signboard
wood wooden
"""
_SAME = {
    word: words[0]
    for words in map(str.split, _SAME_WORDS.replace("\n    ", " ").strip().splitlines())
    for word in words
}
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


@functools.lru_cache(maxsize=1 << 16)
def content_words(caption: str) -> frozenset[str]:
    """The words of a caption that have a meaning of their own, without endings of plurals and possessives."""
    words = (_stem(word) for word in _WORD.findall(caption.lower().replace("\u2019", "'")))
    return frozenset(_SAME.get(word, word) for word in words if word not in _GRAMMAR)


@functools.lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("'")
    if word in _SAME or word in _GRAMMAR or len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word.removesuffix("s")

"""Every instance is true of its scene: recomputed from ``meta_data`` and the texts, without the generator's code."""

import math
import re
from dataclasses import replace

from ofa_mi.data_prep.scenes.tasks import BUILDERS

AXIS = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}
EXTREMES = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "bottommost": (1, -1)}
NOUNS = ("object", "circle", "square", "triangle", "star", "diamond", "heart", "ring")
SINGULAR = {"crosses": "cross", **{f"{noun}s": noun for noun in NOUNS}}
RELATION = re.compile(r"^(.*) (left of|right of|above|below) (.*)$")


def test_instances_are_true_of_their_scenes(by_task):
    assert set(CHECKS) == set(BUILDERS)
    for task, check in CHECKS.items():
        assert by_task[task], task
        for instance in by_task[task]:
            assert check(instance, Things(instance.meta_data)), instance.to_record()


def test_every_other_option_is_wrong(by_task):
    """Also shows that the checks can fail."""
    tested = 0
    for task, check in CHECKS.items():
        for instance in by_task[task][:40]:
            for option in instance.options or ():
                if instance.target and option != instance.target:
                    assert not check(replace(instance, target=option), Things(instance.meta_data)), instance.to_record()
                    tested += 1
    assert tested > 1000


class Thing(dict):
    def values_of(self):
        return {self["shape"], self["color"], self.get("size", "")}

    @property
    def name(self):
        return f"{self['color']} {self['shape']}"


class Things(list):
    """The things of a scene with what the checks ask about them."""

    def __init__(self, meta):
        super().__init__(map(Thing, meta["things"]))
        self.look, self.panels = meta["look"], meta.get("panels", [])

    def at(self, box):
        return next(thing for thing in self if tuple(thing["box"]) == tuple(box))

    def fitting(self, phrase):
        """All things that a noun phrase fits; articles and a plural ending are dropped."""
        words = re.sub(r"^(the|a|an) ", "", phrase).split()
        words[-1] = SINGULAR.get(words[-1], words[-1])
        return [thing for thing in self if all(word in {*thing.values_of(), "object"} for word in words)]

    def the(self, phrase):
        (thing,) = self.fitting(phrase)
        return thing

    def referred(self, expression):
        """The one thing that a referring expression means."""
        match = RELATION.match(expression)
        if match:
            head, relation, anchor = match.groups()
            return self.only(self.fitting(head), relation, self.the(anchor))
        extreme = re.match(r"^the (\w+most) (\w+)$", expression)
        if extreme:
            axis, sign = EXTREMES[extreme[1]]
            ranked = sorted(self.fitting(extreme[2]), key=lambda thing: sign * middle(thing)[axis])
            assert len(ranked) > 1 and abs(middle(ranked[0])[axis] - middle(ranked[1])[axis]) >= 8
            return ranked[0]
        return self.the(expression)

    def only(self, candidates, relation, anchor):
        """The one candidate on a side of the anchor, which must be clearly there."""
        axis, sign = AXIS[relation]
        there = [
            thing
            for thing in candidates
            if thing is not anchor and sign * (middle(anchor)[axis] - middle(thing)[axis]) > 0
        ]
        assert len(there) == 1 and clearly(there[0], relation, anchor)
        return there[0]

    def names(self):
        return sorted(f"{thing['color']} {thing['shape']}" for thing in self)


def middle(thing):
    x0, y0, x1, y1 = thing["box"]
    return (x0 + x1) / 2, (y0 + y1) / 2


def clearly(first, relation, second):
    axis, sign = AXIS[relation]
    offset = [q - p for p, q in zip(middle(first), middle(second), strict=True)]
    low, high = (first, second) if sign > 0 else (second, first)
    apart = low["box"][axis + 2] <= high["box"][axis]
    return apart and sign * offset[axis] >= 1.5 * abs(offset[1 - axis])


def shared(p, q):
    return max(0, min(p[2], q[2]) - max(p[0], q[0])) * max(0, min(p[3], q[3]) - max(p[1], q[1]))


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(p, q):
    return shared(p, q) / (area(p) + area(q) - shared(p, q))


def union(p, q):
    return min(p[0], q[0]), min(p[1], q[1]), max(p[2], q[2]), max(p[3], q[3])


def said(instance):
    return instance.text[0]


def answer(instance):
    return instance.target[0]


def answers_yes(instance, truth):
    return answer(instance) == ("yes" if truth else "no")


def caption_names(caption):
    """The names in a caption of the whole image, repeated as often as it counts them, in order."""
    names = []
    for part in re.split(r", | and ", caption):
        number, noun = part.split(" ", 1)
        count = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}[number]
        color, shape = noun.split()
        names += [f"{color} {SINGULAR.get(shape, shape)}"] * count
    return names


def describes(things, box, caption):
    """Whether a caption of a region is true of it; a region with two things holds just these."""
    match = RELATION.match(caption)
    inside = [thing for thing in things if shared(thing["box"], box)]
    if not match:
        return len(inside) == 1 and tuple(inside[0]["box"]) == tuple(box) and inside[0] in things.fitting(caption)
    first, second = things.fitting(match[1]), things.fitting(match[3])
    assert len(first) == len(second) == 1 and len(inside) == 2
    return clearly(first[0], match[2], second[0]) and union(first[0]["box"], second[0]["box"]) == tuple(box)


def regions_described(things, caption):
    candidates = [tuple(thing["box"]) for thing in things]
    if RELATION.match(caption):
        candidates = [
            union(p["box"], q["box"])
            for i, p in enumerate(things)
            for q in things[:i]
            if sum(shared(t["box"], union(p["box"], q["box"])) > 0 for t in things) == 2
        ]
    return {box for box in candidates if describes(things, box, caption)}


def best_overlap(instance, things, sign):
    region = instance.regions[0]
    by_area = sorted(instance.options, key=lambda option: sign * shared(region, option[0]))
    by_iou = sorted(instance.options, key=lambda option: sign * iou(region, option[0]))
    clear = iou(region, by_iou[0][0]) != iou(region, by_iou[1][0])
    all_overlap = sign < 0 or all(shared(region, option[0]) for option in instance.options)
    return clear and all_overlap and by_area[0] == by_iou[0] == instance.target


def overlapping(instance):
    return [option for option in instance.options if shared(instance.regions[0], option[0])]


def question_answer(question, things):
    """Answer of a question of any form that the generator asks."""
    for pattern, reply in QUESTIONS:
        match = re.fullmatch(pattern, question)
        if match:
            return reply(things, *match.groups())
    raise AssertionError(f"no form fits {question!r}")


def truth(value):
    return "yes" if value else "no"


def same(things, first, second, part):
    return truth(things.the(first)[part] == things.the(second)[part])


def presence_of_two(things, first, word, second):
    there = [bool(things.fitting(phrase)) for phrase in (first, second)]
    return truth(all(there) if word == "and" else any(there))


QUESTIONS = [
    (r"what color is (the .*)\?", lambda t, e: t.referred(e)["color"]),
    (r"what is the color of (the .*)\?", lambda t, e: t.referred(e)["color"]),
    (r"what shape is (the .*)\?", lambda t, e: t.the(e)["shape"]),
    (r"what is the shape of (the .*)\?", lambda t, e: t.the(e)["shape"]),
    (r"what size is (the .*)\?", lambda t, e: t.the(e)["size"]),
    (r"is (the .*) small or large\?", lambda t, e: t.the(e)["size"]),
    (r"how many (.*) are there\?", lambda t, e: str(len(t.fitting(e)))),
    (r"is there (an? .*) (and|or) (an? .*)\?", presence_of_two),
    (r"is there (an? .*)\?", lambda t, e: truth(t.fitting(e))),
    (r"do (the \w+) and (the \w+) have the same (\w+)\?", same),
    (r"are there more (.*) than (.*)\?", lambda t, p, q: truth(len(t.fitting(p)) > len(t.fitting(q)))),
    (r"what is (left of|right of|above|below) (the .*)\?", lambda t, r, e: t.only(t, r, t.the(e)).name),
    (r"which object is (.*)\?", lambda t, e: tuple(t.referred(e)["box"])),
]


def check_question(instance, things):
    return question_answer(instance.question[0], things) == answer(instance)


def check_position(instance, things):
    match = re.fullmatch(r"where in the image is (the .*)\?", instance.question[0])
    if not match:
        others = [option for option in instance.options if option != instance.target]
        return check_question(instance, things) and all(option[0] in things.names() for option in others)
    (x, y), (width, height) = middle(things.the(match[1])), instance.image_size
    assert abs(x / width - 0.5) >= 0.1 and abs(y / height - 0.5) >= 0.1
    return answer(instance) == f"{'top' if y < height / 2 else 'bottom'} {'left' if x < width / 2 else 'right'}"


def check_attribute(instance, things):
    true = things.at(instance.regions[0]).values_of()
    return [option for option in instance.options if option[0] in true] == [instance.target]


def check_missing(instance, things):
    present = {things.at(region)["shape"] for region in instance.regions}
    absent = tuple(option for option in instance.options if option[0] not in {*present, "none"})
    return set(instance.target_set) == set(absent or (("none",),)) and ("none",) in instance.options


def check_question_match(instance, things):
    phrase = re.match(r"what \w+ is (the .*)\?", instance.question[0])[1]
    number = len(things.fitting(phrase))
    return number in (0, 1) and answers_yes(instance, number == 1)


def check_selected_captions(instance, things):
    true = [option for option in instance.options if sorted(caption_names(option[0])) == things.names()]
    return true == [instance.target]


def check_caption_order(instance, things):
    in_order = [f"{t['color']} {t['shape']}" for t in sorted(things, key=middle)]
    return list(dict.fromkeys(caption_names(answer(instance)))) == list(dict.fromkeys(in_order)) and (
        sorted(caption_names(answer(instance))) == things.names()
    )


def check_subject(instance, things, value):
    given = things.at(instance.regions[0])
    return value(things.only(things, said(instance), given)) == answer(instance)


def check_object(instance, things, value):
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[said(instance)]
    given = things.at(instance.regions[0])
    return value(things.only(things, opposite, given)) == answer(instance)


def check_spatial(instance, things):
    first, relation, second = RELATION.match(said(instance).replace(" is ", " ", 1).removesuffix(".")).groups()
    first, second = things.the(first), things.the(second)
    holds = clearly(first, relation, second)
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[relation]
    return (holds or clearly(first, opposite, second)) and answers_yes(instance, holds)


def check_entailment(instance, things):
    word = re.fullmatch(r"the (\w+) sign says (\w+)\.", said(instance))
    if word:
        (sign,) = [thing for thing in things if "word" in thing and thing["color"] == word[1]]
        expected = truth(sign["word"] == word[2]) if sign["legible"] else "not sure"
    else:
        phrase, color = re.fullmatch(r"(the .*) is (\w+)\.", said(instance)).groups()
        expected = truth(things.the(phrase)["color"] == color)
        expected = "not sure" if things.look == "black and white" else expected
    return answer(instance) == expected


def check_nlvr(instance, things):
    numbers = {"one": 1, "two": 2, "three": 3, "four": 4}
    statement = said(instance)

    def in_boxes(phrase):
        found = things.fitting(phrase)
        return [sum(shared(t["box"], panel) > 0 for t in found) for panel in things.panels]

    every = re.fullmatch(r"every box contains (.*)\.", statement)
    if every:
        return answers_yes(instance, all(in_boxes(every[1])))
    exactly = re.fullmatch(r"there is a box with exactly (\w+) (.*)\.", statement)
    if exactly:
        return answers_yes(instance, numbers[exactly[1]] in in_boxes(exactly[2]))
    total = re.fullmatch(r"the boxes contain (\w+) (.*) in all\.", statement)
    return answers_yes(instance, numbers[total[1]] == sum(in_boxes(total[2])))


def check_commonsense(instance, things):
    start, first, _, second, _ = instance.question
    first, second = things.at(first), things.at(second)
    if start.startswith("which way"):
        ways = {"right of": "left", "left of": "right", "below": "up", "above": "down"}
        (way,) = [way for relation, way in ways.items() if clearly(first, relation, second)]
        return answer(instance) == f"it must move {way}"
    common = [part for part in ("color", "shape", "size") if first[part] == second[part]]
    assert len(common) <= 1
    return answer(instance) == (f"their {common[0]}" if common else "nothing")


def check_dialogue(instance, things):
    it = things.the(re.fullmatch(r"is there (an? \w+)\? yes", instance.context[0][0])[1])
    turns = [re.fullmatch(r"(.*\?) (\w+)", turn[0]).groups() for turn in instance.context[1:]]
    for question, reply in [*turns, (instance.question[0], answer(instance))]:
        side = re.fullmatch(r"is it (left of|right of|above|below) (the .*)\?", question)
        color = re.fullmatch(r"is it (\w+)\?", question)
        if side:
            expected = truth(clearly(it, side[1], things.the(side[2])))
        elif color:
            expected = truth(it["color"] == color[1])
        else:
            expected = it["color"] if question == "what color is it?" else it["size"]
        if reply != expected:
            return False
    return bool(turns)


def check_extraction(instance, things):
    signs = sorted((thing for thing in things if "word" in thing), key=lambda thing: thing["box"][1])
    return all(sign["legible"] for sign in signs) and answer(instance) == " ".join(sign["word"] for sign in signs)


def check_text_vqa(instance, things):
    color = re.search(r"the (\w+ )?sign", instance.question[0])[1]
    signs = [t for t in things if "word" in t and (color is None or t["color"] == color.strip())]
    return len(signs) == 1 and signs[0]["legible"] and signs[0]["word"] == answer(instance)


def check_two_attributes(instance, things):
    phrase = re.fullmatch(r"how many (.*) are there\?", instance.question[0])[1]
    size, without_size = phrase.split(" ", 1)
    assert size in ("small", "large")
    return check_question(instance, things) and len(things.fitting(without_size)) != int(answer(instance))


def check_same_color(instance, things):
    first, second = map(things.at, instance.regions)
    return first["shape"] != second["shape"] and answers_yes(instance, first["color"] == second["color"])


def check_place(instance, things):
    relation, anchor = re.fullmatch(r"(left of|right of|above|below) (the .*)", said(instance)).groups()
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[relation]
    thing, anchor = things.at(instance.regions[0]), things.the(anchor)
    assert clearly(thing, relation, anchor) or clearly(thing, opposite, anchor)
    # There is such a thing on either side, so that the region alone does not tell.
    sides = {side for side in (relation, opposite) for other in things if clearly(thing, side, other)}
    return sides == {relation, opposite} and answers_yes(instance, clearly(thing, relation, anchor))


def inside(things, box):
    """The things in a region, each of which lies in it as a whole."""
    found = [thing for thing in things if shared(thing["box"], box)]
    assert all(shared(thing["box"], box) == area(thing["box"]) for thing in found)
    return found


def check_odd(instance, things):
    held = [inside(things, option[0]) for option in instance.options]
    assert all(len(found) == 1 for found in held)
    values = [found[0][said(instance)] for found in held]
    others = [value for value, option in zip(values, instance.options, strict=True) if option != instance.target]
    return len(set(values)) == 2 and len(others) == 3 and len(set(others)) == 1


def check_larger(instance, things):
    held = [inside(things, option[0]) for option in instance.options]
    assert all(len(found) == 1 for found in held) and len({area(option[0]) for option in instance.options}) == 1
    largest = max(instance.options, key=lambda option: area(inside(things, option[0])[0]["box"]))
    return largest == instance.target and inside(things, largest[0])[0]["size"] == "large"


def check_neighbor(instance, things):
    given, (axis, sign) = things.at(instance.regions[0]), AXIS[said(instance)]
    there = [t for t in things if t is not given and sign * (middle(given)[axis] - middle(t)[axis]) > 0]
    first, second = sorted(there, key=lambda thing: math.dist(middle(thing), middle(given)))[:2]
    assert clearly(first, said(instance), given)
    assert math.dist(middle(second), middle(given)) >= 1.2 * math.dist(middle(first), middle(given))
    return first["color"] == answer(instance)


def full_name(thing):
    return f"{thing['size']} {thing.name}"


def check_detection(instance, things):
    boxes, labels = instance.target[::2], instance.target[1::2]
    in_order = sorted(things, key=middle)
    assert len(things) <= 6
    return list(boxes) == list(map(box_of, in_order)) and [label.strip() for label in labels] == [
        thing.name for thing in in_order
    ]


def check_descriptions(things, boxes, descriptions):
    """Whether all things are there, each box with its description."""
    named = descriptions.split(", ")
    assert len(things) <= 6
    return sorted(boxes) == sorted(map(box_of, things)) and named == [full_name(things.at(box)) for box in boxes]


def replies(instance):
    return answer(instance).split(", ")


def check_answers(instance, things):
    """Up to six different questions in one text, and their answers."""
    asked = [f"{question}?" for question in instance.question[0].rstrip("?").split("? ")]
    assert 1 <= len(asked) == len(set(asked)) <= 6
    return [question_answer(question, things) for question in asked] == replies(instance)


def check_phrases(instance, things):
    """A phrase for every thing; a wrong one would be right with another word in one place."""
    phrases, held = phrases_and_things(instance, things)
    for phrase, thing in zip(phrases, held, strict=True):
        assert sum(word not in {*thing.values_of(), "object"} for word in phrase.split()) <= 1
    return replies(instance) == [truth(t in things.fitting(p)) for p, t in zip(phrases, held, strict=True)]


def phrases_and_things(instance, things):
    phrases, held = said(instance).split(", "), [things.at(box) for box in instance.regions]
    assert sorted(map(box_of, held)) == sorted(map(box_of, things)) and len(phrases) == len(held)
    return phrases, held


def check_corrected_phrases(instance, things):
    """What is there, in the attributes that the phrase tells, and whether the phrase says the same."""
    phrases, held = phrases_and_things(instance, things)
    for reply, phrase, thing in zip(replies(instance), phrases, held, strict=True):
        seen, verdict = reply.rsplit(" ", 1)
        assert thing in things.fitting(seen) and len(seen.split()) == len(phrase.split())
        if verdict != truth(seen == phrase):
            return False
    return True


def check_found_or_none(instance, things):
    """A box for every name that is there, and none for the others, in the order of the names."""
    found = [things.fitting(phrase) for phrase in said(instance).split(", ")]
    assert all(len(fitting) <= 1 for fitting in found)
    return pieces_of(instance) == [box_of(fitting[0]) if fitting else "none" for fitting in found]


def check_counted(instance, things):
    """The boxes of each kind, then their number."""
    expected = []
    for phrase in said(instance).split(", "):
        fitting = things.fitting(phrase)
        expected += [*sorted(map(box_of, fitting)), str(len(fitting))]
    return pieces_of(instance) == expected


def pieces_of(instance):
    """Boxes and numbers of an answer, in their order."""
    split = [[part] if isinstance(part, tuple) else part.replace(",", " ").split() for part in instance.target]
    return [piece for part in split for piece in part]


def check_named_like_the_first(instance, things):
    first, *others = map(things.at, instance.regions)
    assert len(others) == len(things) - 1
    verdicts = [f"{other['shape']} {truth(other['shape'] == first['shape'])}" for other in others]
    return replies(instance) == [first["shape"], *verdicts]


def check_captions_after_the_right_one(instance, things):
    right, verdicts = answer(instance).split(". ")
    own = replace(instance, target=(right,))
    return check_caption_order(own, things) and check_captions(replace(instance, target=(verdicts,)), things)


def check_shared_parts(instance, things):
    first, *others = instance.regions
    expected = []
    for other in others:
        if shared(first, other):
            corner, end = zip(first[:2], other[:2], strict=True), zip(first[2:], other[2:], strict=True)
            expected.append((*map(max, corner), *map(min, end)))
        expected.append(str(round(10 * shared(first, other) / area(first))))
    return pieces_of(instance) == expected


def check_captions(instance, things):
    captions = said(instance).rstrip(".").split(". ")
    assert len(captions) == 3
    return replies(instance) == [truth(sorted(caption_names(caption)) == things.names()) for caption in captions]


def check_like_the_first(instance, things):
    first, *others = map(things.at, instance.regions)
    assert len(others) == len(things) - 1
    return replies(instance) == [truth(other["shape"] == first["shape"]) for other in others]


def check_relations_to_the_first(instance, things):
    first, *others = map(things.at, instance.regions)
    clear = [other for other in things if other is not first and any(clearly(other, side, first) for side in AXIS)]
    assert sorted(map(box_of, clear)) == sorted(map(box_of, others))
    return all(clearly(other, side, first) for other, side in zip(others, replies(instance), strict=True))


def check_neighbors(instance, things):
    boxes, labels = instance.target[::2], [label.strip() for label in instance.target[1::2]]
    given, sides = map(things.at, instance.regions), said(instance).split(", ")
    found = [things.only(things, side, thing) for side, thing in zip(sides, given, strict=True)]
    return list(boxes) == list(map(box_of, found)) and labels == list(map(name_of, found))


def check_references(instance, things):
    return list(instance.target) == [box_of(things.referred(phrase)) for phrase in said(instance).split(", ")]


def check_covered(instance, things):
    first, *others = instance.regions
    assert len(others) == 6
    return [int(reply) for reply in replies(instance)] == [
        round(10 * shared(first, other) / area(first)) for other in others
    ]


def box_of(thing):
    return tuple(thing["box"])


def name_of(thing):
    return thing.name


CHECKS = {
    "image_captioning": check_caption_order,
    "grounded_captioning": lambda i, t: regions_described(t, answer(i)) == {i.regions[0]},
    "visual_grounding": lambda i, t: regions_described(t, said(i)) == {answer(i)},
    "grounded_object_identification": lambda i, t: t.at(i.regions[0])["shape"] == answer(i),
    "object_grounding": lambda i, t: list(i.target) == sorted(box_of(thing) for thing in t.fitting(said(i))),
    "referring_expression_grounding": lambda i, t: box_of(t.referred(said(i))) == answer(i),
    "referring_expression_generation": lambda i, t: (
        {box_of(t.referred(e)) for e in (answer(i), *i.references)} == {i.regions[0]}
    ),
    "text_localization": lambda i, t: [b["box"] for b in t if b.get("word") == said(i)] == [list(answer(i))],
    "most_overlapping_region_selection": lambda i, t: best_overlap(i, t, -1),
    "least_overlapping_region_selection": lambda i, t: best_overlap(i, t, 1),
    "overlapping_region_selection": lambda i, t: overlapping(i) == [i.target],
    "non_overlapping_region_selection": lambda i, t: set(i.options) - set(overlapping(i)) == {i.target},
    "region_overlap_detection": lambda i, t: answers_yes(i, shared(*i.regions) > 0),
    "region_area": lambda i, t: answer(i) == str(area(i.regions[0])),
    "region_caption_matching": lambda i, t: answers_yes(i, describes(t, i.regions[0], said(i))),
    "grounded_caption_selection": lambda i, t: [o for o in i.options if describes(t, i.regions[0], o[0])] == [i.target],
    "visual_grounding_selection": lambda i, t: [o for o in i.options if describes(t, o[0], said(i))] == [i.target],
    "referring_expression_selection": lambda i, t: box_of(t.referred(said(i))) == answer(i),
    "object_region_matching": lambda i, t: answers_yes(i, t.at(i.regions[0])["shape"] == said(i)),
    "object_region_selection": lambda i, t: [o for o in i.options if t.at(o[0])["shape"] == said(i)] == [i.target],
    "object_matching": lambda i, t: answers_yes(i, len({t.at(region)["shape"] for region in i.regions}) == 1),
    "missing_object_selection": check_missing,
    "region_text_matching": lambda i, t: (
        t.at(i.regions[0])["legible"] and answers_yes(i, t.at(i.regions[0])["word"] == said(i))
    ),
    "color_understanding": check_question,
    "object_detection": check_question,
    "object_recognition": check_question,
    "counting": check_question,
    "position_reasoning": check_position,
    "image_quality": lambda i, t: answer(i) == t.look,
    "object_relationship": lambda i, t: clearly(t.at(i.regions[0]), answer(i), t.at(i.regions[1])),
    "visual_object_identification": lambda i, t: check_object(i, t, name_of),
    "visual_subject_identification": lambda i, t: check_subject(i, t, name_of),
    "visual_object_localization": lambda i, t: check_object(i, t, box_of),
    "visual_subject_localization": lambda i, t: check_subject(i, t, box_of),
    "grounded_object_attribute_identification": check_attribute,
    "image_text_matching": lambda i, t: answers_yes(i, sorted(caption_names(said(i))) == t.names()),
    "image_text_selection": check_selected_captions,
    "question_image_matching": check_question_match,
    "open_domain_vqa": check_question,
    "compositional_vqa": check_question,
    "text_legibility": lambda i, t: (answer(i) == "legible") == t.at(i.regions[0])["legible"],
    "grounded_vqa": check_question,
    "visual_entailment": check_entailment,
    "visual_spatial_reasoning": check_spatial,
    "nlvr": check_nlvr,
    "commonsense_vqa": check_commonsense,
    "text_vqa": check_text_vqa,
    "visual_text_extraction": check_extraction,
    "visual_dialogue": check_dialogue,
    "two_attribute_counting": check_two_attributes,
    "color_matching": check_same_color,
    "region_relation_matching": check_place,
    "odd_region_selection": check_odd,
    "color_region_selection": lambda i, t: [o for o in i.options if t.at(o[0])["color"] == said(i)] == [i.target],
    "region_counting": lambda i, t: str(len(inside(t, i.regions[0]))) == answer(i) and len(t) > int(answer(i)),
    "larger_object_selection": check_larger,
    "neighbor_color_identification": check_neighbor,
    "dense_detection": check_detection,
    "dense_captioning": lambda i, t: check_descriptions(t, i.regions, answer(i)),
    "dense_grounding": lambda i, t: check_descriptions(t, i.target, said(i)),
    "dense_question_answering": check_answers,
    "dense_region_matching": check_phrases,
    "dense_caption_matching": check_captions,
    "dense_object_matching": check_like_the_first,
    "dense_object_relationship": check_relations_to_the_first,
    "dense_object_localization": check_neighbors,
    "dense_referring_expression_grounding": check_references,
    "dense_region_overlap": check_covered,
    "dense_existence": check_found_or_none,
    "dense_counting": check_counted,
    "explained_region_matching": check_corrected_phrases,
    "explained_object_matching": check_named_like_the_first,
    "explained_caption_matching": check_captions_after_the_right_one,
    "explained_region_overlap": check_shared_parts,
}

"""VAW (Pham et al., 2021): attributes that things in Visual Genome's photos have, and attributes that they do not have.

Official files: ``train_part1.json`` and ``train_part2.json``, lists of instances with ``image_id`` (of Visual Genome),
``instance_id``, ``instance_bbox`` ``[x, y, width, height]``, ``object_name``, ``positive_attributes`` and
``negative_attributes``, both lists of words that annotators confirmed.

The right option is an attribute that the thing has; the wrong ones are attributes that it was said not to have, so that
none of them is right, too. Some attributes are far more often true than false. So options are used only if each of
them is right for some thing, and among all instances with the same options every one of them is right equally often:
the words alone say nothing about the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from ofa_mi.data_prep.draft import Balance, Draft, text
from ofa_mi.data_prep.formats.reading import read_json, tidy
from ofa_mi.data_prep.images.vg_images import IMAGE_DATA, IMAGES, vg_image, vg_photos
from ofa_mi.data_prep.images.visual_genome import visible_box
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, Source
from ofa_mi.errors import DataError

PAGE = "https://github.com/adobe-research/vaw_dataset"
TASK = "grounded_object_attribute_identification"
MAX_OPTIONS = 4
FREQUENT = 100  # things for which the exchanged pair must hold before more than two options are offered


class Instance(msgspec.Struct):
    """A thing in a photo."""

    image_id: int | str
    instance_id: int | str
    instance_bbox: tuple[float, float, float, float]
    object_name: str
    positive_attributes: list[str]
    negative_attributes: list[str]


def _part(number: int) -> RawFile:
    name = f"train_part{number}.json"
    return RawFile(
        path=f"vaw/{name}",
        page=PAGE,
        url=f"https://raw.githubusercontent.com/adobe-research/vaw_dataset/main/data/{name}",
    )


class Vaw(Source):
    """Training set → ``grounded_object_attribute_identification``: at most one instance per thing."""

    name = "vaw"
    title = "VAW"
    page = PAGE
    licence = "Adobe Research License, non-commercial (annotations); the photos' own licences on Flickr"
    size = "0.1 GB, and the photos of Visual Genome"
    tasks = (TASK,)
    version = 2
    files = (_part(1), _part(2), IMAGE_DATA, *IMAGES)

    def load(self) -> Sequence[Instance]:
        """One unit per thing."""
        instances = [instance for file in self.files[:2] for instance in read_json(self.raw.find(file), list[Instance])]
        self.photos = vg_photos(self.raw.find(IMAGE_DATA))
        unknown = next((one for one in instances if int(one.image_id) not in self.photos), None)
        if unknown is not None:
            raise DataError(
                f"{self.raw.find(self.files[0]).parent}: instance {unknown.instance_id} is of image "
                f"{unknown.image_id}, which {self.raw.find(IMAGE_DATA)} does not have; download both again"
            )
        # How many things have the first attribute and lack the second.
        self.having: Counter[tuple[str, str]] = Counter()
        for instance in instances:
            negative = _attributes(instance.negative_attributes)
            for has in _attributes(instance.positive_attributes):
                self.having.update((has, lacks) for lacks in negative)
        return instances

    def convert(self, unit: Instance) -> Iterator[Candidate]:
        """The thing's instance, if its attributes can be exchanged with those of others."""
        photo = self.photos[int(unit.image_id)]
        box = visible_box(*unit.instance_bbox, photo.size)
        if box is None:
            self.drop(TASK, "the box is not in the image")
            return
        rng = self.rng(TASK, unit.instance_id)
        positive, negative = _attributes(unit.positive_attributes), _attributes(unit.negative_attributes)
        for answer in rng.sample(positive, len(positive)):
            wrong = [other for other in negative if other not in positive and self.having[other, answer]]
            often = [other for other in wrong if self.having[other, answer] >= FREQUENT]
            if wrong:
                full = len(often) >= MAX_OPTIONS - 1
                chosen = [answer, *(rng.sample(often, MAX_OPTIONS - 1) if full else [rng.choice(wrong)])]
                yield Candidate(
                    TASK,
                    str(unit.instance_id),
                    Draft(
                        regions=(box,),
                        options=tuple(map(text, rng.sample(chosen, len(chosen)))),
                        target=text(answer),
                        balance=Balance(answer, tuple(sorted(chosen)), "\0".join(sorted(chosen))),
                    ),
                    vg_image(int(unit.image_id), photo.size, coco_id=photo.coco_id),
                    {"object": unit.object_name},
                )
                return
        self.drop(TASK, "no attribute of it is lacking elsewhere, in exchange for one that it lacks")


def _attributes(words: Sequence[str]) -> list[str]:
    """Usable attributes, each once."""
    return list(dict.fromkeys(word for raw in words if (word := tidy(raw))))

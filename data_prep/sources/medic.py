"""MEDIC (Alam et al., 2021): images from social media, labelled for those who respond to disasters.

Official files: ``MEDIC_test.tsv``, a table with a header and the columns ``image_path`` (below the folder of the
table), ``damage_severity``, ``informative``, ``disaster_types`` and others; labels have underscores for spaces. The
images lie below ``data/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ofa_mi.data_prep.draft import one_of
from ofa_mi.data_prep.formats.reading import read_table
from ofa_mi.data_prep.raw import RawFile
from ofa_mi.data_prep.source import Candidate, ImageFile, Source
from ofa_mi.errors import DataError, shown

PAGE = "https://crisisnlp.qcri.org/medic/"
ARCHIVE = {"page": PAGE, "url": "https://crisisnlp.qcri.org/data/medic/MEDIC.tar.gz", "unpack": "medic"}
# Column → task, and its labels as the file has them (without underscores) → as they are written in options.
DISASTERS = ("earthquake", "fire", "flood", "hurricane", "landslide", "not disaster", "other disaster")
COLUMNS = {
    "disaster_types": ("disaster_type_classification", {label: label for label in DISASTERS}),
    "informative": (
        "disaster_informativeness",
        {"informative": "informative", "not informative": "not informative"},
    ),
    "damage_severity": (
        "damage_severity_classification",
        {"severe": "severe damage", "mild": "mild damage", "little or none": "little or none damage"},
    ),
}

Row = tuple[int, dict[str, str]]  # number of the row, from 1, and its columns


class Medic(Source):
    """Test set → ``disaster_type_classification`` and two further tasks, each with its own labels as options."""

    name = "medic"
    title = "MEDIC"
    page = PAGE
    licence = "CC BY-NC-SA 4.0"
    size = "about 10 GB"
    tasks = tuple(task for task, _ in COLUMNS.values())
    files = (RawFile(path="medic/MEDIC_test.tsv", **ARCHIVE), RawFile(path="medic/data/", **ARCHIVE))

    def load(self) -> Sequence[Row]:
        """One unit per image."""
        self.path = self.raw.find(self.files[0])
        rows = read_table(self.path, delimiter="\t", columns=("image_path", *COLUMNS))
        return list(enumerate(rows, 1))

    def convert(self, unit: Row) -> Iterator[Candidate]:
        """One instance per wanted column."""
        number, row = unit
        path = row["image_path"]
        image = ImageFile(f"medic/{path.removeprefix('data/')}", (f"medic/{path}",))
        for column, (task, labels) in COLUMNS.items():
            if not self.wants(task):
                continue
            label = " ".join(row[column].replace("_", " ").lower().split())
            if label not in labels:
                raise DataError(
                    f"{self.path}: row {number}: {column} {shown(row[column])} is none of {', '.join(labels)}"
                )
            key = f"test-{number}"
            draft = one_of(labels[label], tuple(labels.values()), self.rng(task, key))
            yield Candidate(task, key, draft, image)

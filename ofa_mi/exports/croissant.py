"""A Croissant file beside an export: what its files and their fields are, for data set search and loaders.

The format is MLCommons' Croissant 1.0 (http://mlcommons.org/croissant/1.0), JSON-LD of schema.org.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_mi.exports.folder import sha256

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


@dataclass(frozen=True)
class Field:
    """One field of the records.

    Attributes:
        name: Its name.
        kind: Its type, e.g. ``sc:Text``.
        text: What it holds.
        extract: Where it lies in a file, e.g. ``{"column": "image"}``.
        transform: What is done to what lies there, or None.
    """

    name: str
    kind: str
    text: str
    extract: Mapping[str, str]
    transform: Mapping[str, str] | None = None


def describe(
    name: str, text: str, files: Mapping[str, Sequence[Path]], *, root: Path, encoding: str, fields: Sequence[Field]
) -> dict[str, Any]:
    """The JSON-LD of an export.

    Args:
        name: Of the data set.
        text: What it is.
        files: Split → its files.
        root: Folder of the description, which paths are relative to.
        encoding: Their media type.
        fields: Of each record.

    Returns:
        One ``FileObject`` with its SHA-256 and one record set per file: that of a split's only file is called as the
        split. (Sets of files are for archives and repositories.)
    """
    objects, records = [], []
    for split, paths in files.items():
        for path in paths:
            file = path.relative_to(root).as_posix()
            part = split if len(paths) == 1 else path.stem
            objects.append(
                {
                    "@type": "cr:FileObject",
                    "@id": file,
                    "name": file,
                    "contentUrl": file,
                    "contentSize": f"{path.stat().st_size} B",
                    "encodingFormat": encoding,
                    "sha256": sha256(path),
                }
            )
            records.append(
                {
                    "@type": "cr:RecordSet",
                    "@id": part,
                    "name": part,
                    "field": [_field(part, field, file) for field in fields],
                }
            )
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": text,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": objects,
        "recordSet": records,
    }


def _field(part: str, field: Field, file: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{part}/{field.name}",
        "name": field.name,
        "description": field.text,
        "dataType": field.kind,
        "source": {
            "fileObject": {"@id": file},
            "extract": dict(field.extract),
            **({} if field.transform is None else {"transform": dict(field.transform)}),
        },
    }

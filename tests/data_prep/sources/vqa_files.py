"""Questions and annotations in VQA's format."""

from __future__ import annotations

from typing import Any


def question(number: int, image_id: int, asked: str) -> dict[str, Any]:
    return {"question_id": number, "image_id": image_id, "question": asked}


def annotation(number: int, image_id: int, answers: list[str], **fields: Any) -> dict[str, Any]:
    said = [{"answer": a, "answer_confidence": "yes", "answer_id": n} for n, a in enumerate(answers, 1)]
    return {"question_id": number, "image_id": image_id, "answers": said, **fields}


def files(questions: str, annotations: str, rows: list[tuple[dict, dict]]) -> dict[str, Any]:
    """The two files, with the fields that the official ones have around the lists."""
    around = {"info": {"version": "2.0"}, "license": {"name": "CC BY 4.0"}, "data_type": "mscoco"}
    return {
        questions: {**around, "questions": [asked for asked, _ in rows]},
        annotations: {**around, "annotations": [known for _, known in rows]},
    }

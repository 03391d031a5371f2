"""The model of a server: one request at a time, and no more waiting than it can answer in time.

What a model computes cannot be stopped in the middle, so that a request is asked in small batches, and one whose time
is over ends between two of them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ofa_mi.decoding.predictor import Prediction, Predictor
from ofa_mi.errors import OfaMiError
from ofa_mi.evaluation.attention.weights import image_attention
from ofa_mi.instances.instance import plain
from ofa_mi.serving.questions import Prompted, Questions

BATCH = 16  # prompts asked at once
DIGITS = 5  # of an attention weight


class BusyError(OfaMiError):
    """So many requests wait already that another one would not be answered in time."""


class TooSlowError(OfaMiError):
    """A request took longer than it may."""


class Answerer:
    """Asks a model the questions of requests, in the order in which they come.

    Args:
        predictor: The model.
        seconds: That a request may take, waiting included.
        waiting: Requests that may be there at once.
    """

    def __init__(self, predictor: Predictor, *, seconds: float = 60, waiting: int = 8) -> None:
        self.predictor, self.seconds, self.waiting = predictor, seconds, waiting
        self._there = 0
        self._thread = ThreadPoolExecutor(1, "model")

    async def answer(self, questions: Questions) -> list[list[dict[str, Any]]]:
        """Answers as ``/api/predict`` gives them, for each question one for each of its instructions.

        Raises:
            BusyError: Too many requests wait.
            TooSlowError: It took too long.
            DataError: A prompt or an option cannot be encoded.
        """
        if self._there >= self.waiting:
            raise BusyError(f"{self._there} requests wait already; try again later")
        self._there += 1
        try:
            end = time.monotonic() + self.seconds
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, questions, end)
        finally:
            self._there -= 1

    def close(self) -> None:
        """Wait for what is being answered, and take nothing more."""
        self._thread.shutdown(cancel_futures=True)

    def _answer(self, questions: Questions, end: float) -> list[list[dict[str, Any]]]:
        prompted = [one for question in questions.prompted for one in question]
        answers: list[dict[str, Any]] = []
        for start in range(0, len(prompted), BATCH):
            if time.monotonic() >= end:
                raise TooSlowError(f"took longer than {self.seconds:g} seconds; ask less at once, or try again later")
            answers += self._batch(prompted[start : start + BATCH], questions)
        rest = iter(answers)
        return [[next(rest) for _ in question] for question in questions.prompted]

    def _batch(self, batch: Sequence[Prompted], questions: Questions) -> list[dict[str, Any]]:
        queries = [one.query for one in batch]
        predictions = self.predictor.predict(queries, questions.mode)
        answers = [self._record(one, found) for one, found in zip(batch, predictions, strict=True)]
        with_options = [row for row, query in enumerate(queries) if query.options]
        if questions.mode == "rank":
            scored = {row: predictions[row] for row in with_options}
        elif questions.scores and with_options:
            ranked = self.predictor.predict([queries[row] for row in with_options], "rank")
            scored = dict(zip(with_options, ranked, strict=True))
        else:
            scored = {}
        for row, prediction in scored.items():
            answers[row]["option_probabilities"] = prediction.option_probabilities
        if questions.attention:
            self._add_attention(queries, answers)
        return answers

    def _record(self, asked: Prompted, prediction: Prediction) -> dict[str, Any]:
        return {
            "instruction_id": asked.instruction_id,
            "instruction": asked.instruction,
            "prompt": self.predictor.encoder.describe(asked.query.prompt),
            "text": prediction.text,
            "boxes": [[round(corner, 2) for corner in box] for box in prediction.boxes],
            "score": prediction.score,
            "options": [plain(option) for option in asked.query.options or ()] or None,
            "option_probabilities": None,
            "attention": None,
        }

    def _add_attention(self, queries: Sequence[Any], answers: list[dict[str, Any]]) -> None:
        """Add to each answer about an image where its prompt looks, layer by layer."""
        seen = [row for row, query in enumerate(queries) if query.image is not None]
        if not seen:
            return
        weights = image_attention(self.predictor.model, self.predictor.net_input([queries[row] for row in seen]))
        side = math.isqrt(weights.shape[-1])  # images are made square
        for place, row in enumerate(seen):
            layers = [[round(weight, DIGITS) for weight in layer] for layer in weights[:, place].tolist()]
            answers[row]["attention"] = {"columns": side, "rows": side, "layers": layers}

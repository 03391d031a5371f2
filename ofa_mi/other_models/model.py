"""What both kinds of other models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ofa_mi.decoding.predictor import Prediction, Query
from ofa_mi.errors import ConfigError
from ofa_mi.instructions.registry import TaskSpec
from ofa_mi.other_models.messages import OWN_BOXES, PROMPT_VERSION, MessageWriter


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How an answer is drawn; ``run.json`` records it.

    Attributes:
        temperature: 0 for the likeliest word, always.
        seed: For servers that draw even so; None for a model that does not draw.
        max_len: Longest answer, in the model's tokens.
    """

    temperature: float = 0.0
    seed: int | None = None
    max_len: int = 64

    def __post_init__(self) -> None:
        if self.max_len < 1:
            raise ConfigError(f"--max-len must be at least 1, not {self.max_len}")


class OtherModel(ABC):
    """A model that is asked by messages.

    Args:
        regions: How regions are written.
        generation: How answers are drawn.
        system: What the model is told before every question; None for nothing.
        precision: What it computes in, for ``run.json``.

    Attributes:
        encoder: Questions to messages.
        option_markers: Options are written as the paper writes them, unless told otherwise.
        modes: Those of :data:`~ofa_mi.decoding.modes.MODES` in which it can answer.
    """

    option_markers = True
    modes: tuple[str, ...] = ("generate",)

    def __init__(self, regions: str, generation: Sampling, system: str | None, precision: str) -> None:
        self.encoder, self.generation = MessageWriter(regions), generation
        self.system, self.precision = system, precision

    @property
    @abstractmethod
    def label(self) -> str:
        """How people call the model."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells it from other models, and nothing secret; ``run.json`` records it."""

    @abstractmethod
    def answers(self, queries: Iterable[Query], mode: str = "generate") -> Iterator[tuple[int, Prediction]]:
        """Answer questions, each given as soon as there is an answer: (its number from 0, answer).

        Args:
            queries: Taken as they are needed, so that few images are in memory.
            mode: How, one of ``modes``.
        """

    def description(self) -> dict[str, Any]:
        """Everything of model and messages that a run's directory must agree about before it may go on."""
        return {
            **self.identity,
            "regions": self.encoder.regions,
            "system": self.system,
            "prompt_version": PROMPT_VERSION,
        }

    def check(self, specs: Iterable[TaskSpec], mode: str, image: str) -> None:
        """Raise :class:`ConfigError` if the model cannot be asked in this way.

        Args:
            specs: The tasks.
            mode: How it should answer.
            image: Which image is shown.
        """
        if mode not in self.modes:
            raise ConfigError(
                f"--mode {mode} needs --checkpoint; {self.label} cannot be asked so: choose --mode "
                f"{' or '.join(self.modes)}"
            )
        specs = list(specs)
        if mode == "rank" and (others := [spec.name for spec in specs if spec.output != "option"]):
            raise ConfigError(
                f"--mode rank: the answers of {', '.join(others)} are no single options; leave them out with "
                "--exclude-tasks, or choose --mode generate"
            )
        if self.encoder.regions != "drawn":
            return
        if image == "none":
            raise ConfigError("--regions drawn needs an image to draw on; with --image none choose pixels")
        if own := [spec.name for spec in specs if spec.output in OWN_BOXES]:
            raise ConfigError(
                f"--regions drawn: {', '.join(own)} ask for boxes of their own, which no number stands for; choose "
                "pixels or thousandths, or leave them out with --exclude-tasks"
            )

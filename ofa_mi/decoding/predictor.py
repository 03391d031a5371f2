"""From a question about an image to an answer: everything between a `Prompt` and a `Prediction`.

Three modes:

- ``generate``: free decoding over the whole vocabulary, as the MultiInstruct paper evaluates.
- ``constrained``: only what can be an answer: one of the options, a set of them, or complete regions. A task whose
  answer is free text has nothing to be constrained to and is decoded freely.
- ``rank``: every option is scored by its log-probability, and the best one is the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ofa_mi import checkpoint
from ofa_mi.data.collation import pad_right
from ofa_mi.data.encoding import REGION_TOKENS, PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.decoding.beam import GenerationConfig, Hypothesis
from ofa_mi.decoding.kinds import generate_answers
from ofa_mi.decoding.modes import MODES
from ofa_mi.decoding.ranking import rank_options
from ofa_mi.decoding.trie import Automaton, OptionSetGrammar, RegionGrammar, Trie
from ofa_mi.errors import CheckpointError, ConfigError, shown
from ofa_mi.geometry import Box
from ofa_mi.instances.instance import Text
from ofa_mi.instructions.prompt import OPTION_SEPARATOR, Prompt, TextSegment, text_segments
from ofa_mi.instructions.rendering import EMPTY_SET
from ofa_mi.models.inference import for_inference
from ofa_mi.precision import check_precision

DEFAULT_PATCH_IMAGE_SIZE, DEFAULT_MAX_IMAGE_SIZE = 480, 512  # of checkpoints that do not say; the released ones


@dataclass(frozen=True)
class Query:
    """One question to the model.

    Attributes:
        prompt: The rendered instruction.
        image: RGB image, None for text only.
        image_size: (width, height) in pixels that boxes refer to; None for text only.
        options: Answers to choose from, None if there are none.
        output: Kind of answer: ``text``, ``option``, ``options``, ``region`` or ``regions``.
        name: How an error message names the question.
    """

    prompt: Prompt
    image: Image.Image | None = None
    image_size: tuple[int, int] | None = None
    options: tuple[Text, ...] | None = None
    output: str = "text"
    name: str = "the question"


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Attributes:
        text: The words of the answer.
        boxes: The regions of the answer, (x0, y0, x1, y1) in pixels of the original image.
        tokens: Token ids with ``</s>``.
        score: Of the best hypothesis, as :class:`~ofa_mi.decoding.beam.Hypothesis`; in mode ``rank`` the score of
            the best option.
        option_scores: In mode ``rank`` one score per option, otherwise None.
        probability: Of the answer: of these tokens, given the question, among all that the mode allows; in mode
            ``rank`` among the options. None for a model that does not tell.
        option_probabilities: In mode ``rank`` that of each option among the options, otherwise None. An answer is
            chosen by its score, a mean over its tokens, so that of options of different lengths the most probable
            one need not be it.
        reply: The words of a model that answers in text alone, from which ``text`` and ``boxes`` were read.
        trouble: What is wrong with them, such as that they hold no region where one was asked for.
    """

    text: str
    boxes: tuple[Box, ...]
    tokens: tuple[int, ...]
    score: float
    option_scores: tuple[float, ...] | None = None
    probability: float | None = None
    option_probabilities: tuple[float, ...] | None = None
    reply: str | None = None
    trouble: str | None = None


class Predictor:
    """A model with all it takes to ask it questions.

    Args:
        model: OFA model; it is moved to ``device`` and put into evaluation mode. What computes is the attribute
            ``model``, made of it by :func:`~ofa_mi.models.inference.for_inference`.
        encoder: Prompts to tokens and back.
        transform: Images to pixels.
        generation: Settings of the search. Its length limits and ``no_repeat_ngram`` are for text: a region is
            always four tokens. ``normalize`` holds for ranking, too.
        device: Where to compute.
        black_image: Give a question without an image a black one, for models trained like that.
        option_markers: How the model was taught to read options; for whoever renders its prompts.
        precision: One of ``ofa_mi.precision.PRECISIONS``, in which matrices are held and multiplied.

    Raises:
        ConfigError: The device lacks the precision.
    """

    def __init__(
        self,
        model,
        encoder: PromptEncoder,
        transform: ImageTransform,
        *,
        generation: GenerationConfig | None = None,
        device: str | torch.device = "cpu",
        black_image: bool = False,
        option_markers: bool = True,
        precision: str = "fp32",
    ) -> None:
        check_precision(precision, torch.device(device), f"--precision {precision}")
        self.precision = precision
        self.model = for_inference(model.to(device).eval(), precision)
        self.encoder, self.transform = encoder, transform
        self.generation = generation or GenerationConfig()
        self.device = torch.device(device)
        self.black_image, self.option_markers = black_image, option_markers
        self._black = Image.new("RGB", (self.transform.patch_image_size,) * 2)
        self.dtype = next(model.parameters()).dtype
        bins = self._bins()
        self._region = RegionGrammar(bins)
        self._regions = RegionGrammar(bins, max_regions=max(1, self.generation.max_len // REGION_TOKENS))

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        bpe_dir: str | Path | None = None,
        weights: str = "model",
        device: str | torch.device | None = None,
        generation: GenerationConfig | None = None,
        precision: str = "fp32",
    ) -> Predictor:
        """Load a checkpoint with the vocabulary, image size and lengths that it was trained with.

        Args:
            path: Checkpoint of fairseq-train, or of the released format.
            bpe_dir: Folder of the vocabulary's files, for a checkpoint without a vocabulary of its own.
            weights: ``"model"``, or ``"ema"`` for the averaged weights of training with ``--store-ema``.
            device: Where to compute; None takes a GPU if there is one.
            generation: Settings of the search.
            precision: As in the constructor.

        Raises:
            CheckpointError: The checkpoint cannot be read or does not fit.
            ConfigError: There is no such device, or it lacks the precision.
        """
        device = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        loaded = checkpoint.load(path, bpe_dir=bpe_dir, weights=weights)
        task = loaded.task_config
        size = task.get("patch_image_size", DEFAULT_PATCH_IMAGE_SIZE)
        try:
            codec = RegionCodec(
                num_bins=task.get("num_bins", loaded.vocabulary.num_bins),
                max_image_size=task.get("max_image_size", DEFAULT_MAX_IMAGE_SIZE),
                patch_image_size=size,
            )
            transform = ImageTransform(size)
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from None
        encoder = PromptEncoder(
            loaded.vocabulary,
            codec,
            **{name: task[name] for name in ("max_src_length", "max_tgt_length", "text_case") if name in task},
        )
        return cls(
            loaded.model,
            encoder,
            transform,
            generation=generation,
            device=device,
            black_image=task.get("black_image", False),
            option_markers=task.get("option_markers", "on") == "on",
            precision=precision,
        )

    @torch.no_grad()
    def predict(self, queries: Sequence[Query], mode: str = "generate") -> list[Prediction]:
        """Answer ``queries`` as one batch, in their order.

        Raises:
            ConfigError: Unknown mode, or ``rank`` for a question without options.
            DataError: A prompt or an option cannot be encoded; the message names the question.
        """
        if mode not in MODES:
            raise ConfigError(f"unknown mode {shown(mode)}; choose one of {', '.join(MODES)}")
        if not queries:
            return []
        if mode == "rank":
            return self._rank(queries)
        allowed = [self._automaton(query) for query in queries] if mode == "constrained" else None
        outputs = [query.output for query in queries]
        found = generate_answers(self.model, self.net_input(queries), outputs, self.generation, allowed=allowed)
        return [self._found(query, best) for query, (best, *_) in zip(queries, found, strict=True)]

    def net_input(self, queries: Sequence[Query]) -> dict[str, Tensor | None]:
        """The encoder's inputs for ``queries`` as one batch; images only of those that have one.

        Queries with the same image object share its row, which ``patch_index`` then gives.

        Raises:
            DataError: A prompt cannot be encoded; the message names the question.
        """
        sources = [self.encoder.source(query.prompt, query.image_size, name=query.name) for query in queries]
        images = [self._image(query) for query in queries]
        present = [image for image in images if image is not None]
        different = list({id(image): image for image in present}.values())
        inputs = {
            "src_tokens": pad_right(sources).to(self.device),
            "src_lengths": torch.tensor([len(source) for source in sources], device=self.device),
            "patch_images": self._pixels(different) if present else None,
            "patch_masks": torch.tensor([image is not None for image in images], device=self.device),
        }
        if len(different) < len(present):
            rows = {id(image): row for row, image in enumerate(different)}
            inputs["patch_index"] = torch.tensor([rows[id(image)] for image in present], device=self.device)
        return inputs

    def _rank(self, queries: Sequence[Query]) -> list[Prediction]:
        for query in queries:
            if not query.options:
                raise ConfigError(f"{query.name}: mode rank needs options to choose from, and there are none")
        options = [[self.encoder.option(option, query.image_size) for option in query.options] for query in queries]
        sums = rank_options(self.model, self.net_input(queries), options, normalize=False)
        return [self._ranked(query, choices, row) for query, choices, row in zip(queries, options, sums, strict=True)]

    def _ranked(self, query: Query, options: Sequence[Sequence[int]], sums: Sequence[float]) -> Prediction:
        """The best option, from the sum of log-probabilities of each one's tokens."""
        scores = sums
        if self.generation.normalize:
            scores = [total / len(option) for total, option in zip(sums, options, strict=True)]
        best = max(range(len(scores)), key=scores.__getitem__)
        probabilities = tuple(torch.tensor(sums, dtype=torch.float64).softmax(0).tolist())
        return replace(
            self._prediction(query, options[best], scores[best]),
            option_scores=tuple(scores),
            probability=probabilities[best],
            option_probabilities=probabilities,
        )

    def _found(self, query: Query, best: Hypothesis) -> Prediction:
        """The answer that a search found."""
        total = best.score
        if self.generation.normalize:
            total *= len(best.tokens) ** self.generation.lenpen
        return replace(self._prediction(query, best.tokens, best.score), probability=min(1.0, math.exp(total)))

    def _prediction(self, query: Query, tokens: Sequence[int], score: float) -> Prediction:
        answer = self.encoder.decode(tokens, query.image_size)
        return Prediction(answer.text, answer.boxes, tuple(tokens), score)

    def _automaton(self, query: Query) -> Automaton | None:
        """What can be an answer to ``query``; None if anything can."""
        if query.options and query.output == "options":
            return self._option_sets(query)
        if query.options:
            return Trie(self.encoder.option(option, query.image_size) for option in query.options)
        if query.output == "region":
            return self._region
        return self._regions if query.output == "regions" else None

    def _bins(self) -> range:
        """Location tokens that lie inside the image; below ``max_image_size`` the highest ones do not."""
        regions = self.encoder.regions
        last = round(regions.patch_image_size / regions.max_image_size * (regions.num_bins - 1))
        first = self.encoder.vocabulary.first_bin
        return range(first, first + last + 1)

    def _option_sets(self, query: Query) -> OptionSetGrammar:
        """Sets of the options as targets write them."""

        def encode(*segments) -> list[int]:
            return self.encoder.target(segments, query.image_size, name=query.name)[:-1]

        options = [text_segments(option, truncatable=False) for option in query.options]
        first = [encode(*option) for option in options]
        following = [encode(*options[0], TextSegment(OPTION_SEPARATOR), *option)[len(first[0]) :] for option in options]
        return OptionSetGrammar(first, following, encode(TextSegment(EMPTY_SET)))

    def _image(self, query: Query) -> Image.Image | None:
        """The image that the model sees."""
        return self._black if query.image is None and self.black_image else query.image

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([self.transform(image) for image in images]).to(self.device, self.dtype)


def usable_device(device: str | torch.device) -> torch.device:
    """``device``, after trying it."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch's errors for unknown names and for missing hardware
        raise ConfigError(f"device {shown(device)} cannot be used: {str(error).splitlines()[0]}") from None

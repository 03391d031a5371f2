"""A model of `transformers` in a folder: text and images in, text out (its class of *image-text-to-text* models).

Only the library's own code is run, and only weights in safetensors are read: nothing of the folder is executed or
unpickled, and nothing is fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ofa_mi.decoding.predictor import Prediction, Query, usable_device
from ofa_mi.errors import CheckpointError, ConfigError, shown
from ofa_mi.other_models.messages import Message
from ofa_mi.other_models.model import OtherModel, Sampling
from ofa_mi.precision import check_precision

try:
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging as library_logging
except ImportError as error:
    raise ConfigError(
        "--model transformers: needs the package transformers; install it with pip install "
        f"'ofa-mi[transformers]' ({shown(error)})"
    ) from None

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SUFFIXES = (".json", ".jinja", ".model", ".safetensors", ".txt")  # of files that decide what a model says


class LocalModel(OtherModel):
    """A model in a folder, answering greedily in batches.

    Args:
        folder: As ``save_pretrained`` of a model and its processor writes it, with a chat template.
        regions: How regions are written.
        generation: How answers are drawn; the temperature is 0.
        system: What the model is told before every question.
        device: Where to compute; None takes a GPU if there is one.
        precision: One of ``ofa_mi.precision.PRECISIONS``, of weights and computation.
        batch_size: Questions at once.

    Raises:
        CheckpointError: The folder holds no such model.
        ConfigError: There is no such device, it lacks the precision, or another argument cannot work.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        regions: str = "pixels",
        generation: Sampling | None = None,
        system: str | None = None,
        device: str | None = None,
        precision: str = "fp32",
        batch_size: int = 16,
    ) -> None:
        super().__init__(regions, generation or Sampling(), system, precision)
        if batch_size < 1:
            raise ConfigError(f"--batch-size must be at least 1, not {batch_size}")
        self.folder, self.batch_size = Path(folder), batch_size
        self.device = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        check_precision(precision, self.device, f"--precision {precision}")
        if not (self.folder / "config.json").is_file():
            raise CheckpointError(f"{shown(self.folder)}: is no folder of transformers: it has no config.json")
        self._digest = _digest(self.folder)
        self.processor, self.model = self._load()

    @property
    def label(self) -> str:
        """As in :class:`OtherModel`."""
        return str(self.folder)

    @property
    def identity(self) -> dict[str, Any]:
        """As in :class:`OtherModel`."""
        return {"kind": "transformers", "files": self._digest}

    def answers(self, queries: Iterable[Query], mode: str = "generate") -> Iterator[tuple[int, Prediction]]:
        """As in :class:`OtherModel`, batch by batch."""
        numbered = enumerate(queries)
        while batch := list(islice(numbered, self.batch_size)):
            messages = {number: self.encoder.message(query) for number, query in batch}
            for with_image in (True, False):  # which processors cannot mix
                chosen = {n: message for n, message in messages.items() if (message.image is not None) == with_image}
                yield from zip(chosen, self._say(list(chosen.values())), strict=True)

    def _load(self) -> tuple[Any, Any]:
        library_logging.disable_progress_bar()
        safe = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoProcessor.from_pretrained(self.folder, **safe)
            model = AutoModelForImageTextToText.from_pretrained(
                self.folder, dtype=DTYPES[self.precision], use_safetensors=True, **safe
            )
        except Exception as error:  # of many types, and of the folder's files
            raise CheckpointError(
                f"{shown(self.folder)}: transformers cannot load it as an image-text-to-text model with weights in "
                f"safetensors and without code of its own: {shown(error)}"
            ) from error
        if getattr(processor, "tokenizer", None) is None or not getattr(processor, "chat_template", None):
            raise CheckpointError(f"{shown(self.folder)}: has no tokenizer, or no chat template, to ask questions with")
        processor.tokenizer.padding_side = "left"  # answers continue the end of their prompt
        return processor, model.to(self.device).eval()

    @torch.no_grad()
    def _say(self, messages: Sequence[Message]) -> list[Prediction]:
        if not messages:
            return []
        inputs = self.processor.apply_chat_template(
            [self._conversation(message) for message in messages],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
            sanitize_control_tokens=True,  # <image> in a text is text
        ).to(self.device, DTYPES[self.precision])
        said = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=self.generation.max_len)
        said = said[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(said, skip_special_tokens=True)
        cut = [not self._ended(row.tolist()) for row in said]
        return [message.answer(text, cut=end) for message, text, end in zip(messages, texts, cut, strict=True)]

    def _conversation(self, message: Message) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
        if message.image is not None:
            content.insert(0, {"type": "image", "image": message.image})
        system = [{"role": "system", "content": [{"type": "text", "text": self.system}]}] if self.system else []
        return [*system, {"role": "user", "content": content}]

    def _ended(self, tokens: Sequence[int]) -> bool:
        """Whether an answer ended by itself."""
        ends = self.model.generation_config.eos_token_id
        return not set(tokens).isdisjoint(ends if isinstance(ends, list) else [ends])


def _digest(folder: Path) -> str:
    """Hash of the names and contents of the files that make a model."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()

"""Fitting a checkpoint's weights to a model that has other tables, or other names for the same tensor.

This stands below the models, which load their weights by it, and below the reading of checkpoints, which fairseq needs
before the models are registered.
"""

import logging
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ofa_mi.errors import CheckpointError

logger = logging.getLogger(__name__)

# The first option whose value would make a tensor of another shape fit.
OPTIONS = (
    (r"embed_tokens\.weight$|output_projection\.weight$", "the vocabulary: --bpe-dir"),
    (r"encoder\.(embed_positions\.weight|token_rp_bucket)$", "--max-source-positions"),
    (r"decoder\.(embed_positions\.weight|token_rp_bucket)$", "--max-target-positions"),
    (r"token_rel_pos_table_list\.", "--token-bucket-size"),
    (r"embed_image_positions\.weight$|image_rel_pos_table_list\.|image_rp_bucket$", "--image-bucket-size"),
    (r"embed_images\.", "--resnet-type"),
    (r"\.lora_[AB]$", "--lora-rank"),
    (r"\.adapter\.", "--adapter-dim"),
)
# Tables whose rows stand for themselves, so that a longer table only adds rows.
GROWING = re.compile(r"(embed_tokens|output_projection|embed_positions|embed_image_positions)\.weight$")
# Index tables that follow from the settings; a checkpoint's copy of another size is of no use.
COMPUTED = re.compile(r"\.(token_rp_bucket|image_rp_bucket|image_position_idx)$")

# Weights that tuning a small part of a model adds to it.
ADDED = re.compile(r"\.(lora_[AB]|adapter\.(down|up)_proj\.(weight|bias))$")


def without_tables(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the index tables, which the model computes; they are most of a small one's bytes."""
    return {name: tensor for name, tensor in weights.items() if not COMPUTED.search(name)}


@dataclass
class FitReport:
    """What happened to the entries of a state dict: each list holds their names.

    Attributes:
        missing: In the model only; they keep their initialisation.
        unexpected: In the checkpoint only; they are not used.
        grown: Found with fewer rows; the further rows are new.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)

    def log(self) -> None:
        """Name every entry in the log; a checkpoint that fits as it is logs nothing."""
        for names, fate in (
            (self.missing, "not in the checkpoint: keeps its initialisation"),
            (self.unexpected, "in the checkpoint only: not used"),
            (self.grown, "has fewer rows in the checkpoint: the further rows are new"),
        ):
            for name in names:
                logger.warning("%s %s", name, fate)


def fit_state_dict(state_dict: dict[str, Tensor], model: nn.Module) -> FitReport:
    """Fit a checkpoint's entries to a model's names and shapes, in place, and log each one that did not fit.

    Afterwards `state_dict` loads strictly. As in OFA, tables of tokens and positions grow by rows drawn from
    normal(0, dim^-0.5) (the same ones on every rank and in every run), a trailing `<mask>` that the model's
    vocabulary lacks is cut off, and index tables are the model's own. One of several tied entries is enough.

    Raises:
        CheckpointError: A shape cannot be made to fit, tied entries differ, or no entry belongs to the model.
    """
    own = model.state_dict()
    if not own.keys() & state_dict.keys():
        raise CheckpointError(f"none of the checkpoint's {len(state_dict)} entries belongs to the model")
    report = FitReport()
    leaders = _share_tied(state_dict, own)
    _cut_mask(state_dict, model)
    for name, wanted in own.items():
        leader = leaders.get(name, name)
        if name not in state_dict:
            if not COMPUTED.search(name):
                report.missing.append(name)
            state_dict[name] = wanted
        elif leader != name:
            state_dict[name] = state_dict[leader]
        elif state_dict[name].shape != wanted.shape:
            state_dict[name] = _refit(name, state_dict[name], wanted, report)
    report.unexpected = [name for name in state_dict if name not in own]
    for name in report.unexpected:
        del state_dict[name]
    report.log()
    return report


def begin_added(state_dict: dict[str, Tensor], model: nn.Module) -> None:
    """Let a tuning begin: give a checkpoint that has none of the weights which it adds the model's own, in place."""
    added = {name: weight for name, weight in model.state_dict().items() if ADDED.search(name)}
    if added and not added.keys() & state_dict.keys():
        state_dict.update(added)
        logger.info("%d tensors that are tuned beside the checkpoint's weights begin anew", len(added))


def with_low_rank(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """``weight + scale * b @ a`` (LoRA, arXiv 2106.09685), added in single precision, in the precision of ``weight``.

    Args:
        weight: (out, in).
        a: (rank, in).
        b: (out, rank).
        scale: Of the change.
    """
    return (weight.float() + scale * (b.float() @ a.float())).to(weight.dtype)


def _refit(name: str, found: Tensor, wanted: Tensor, report: FitReport) -> Tensor:
    """An entry of another shape as the model needs it: the model's own, or grown."""
    if COMPUTED.search(name):
        return wanted
    if not GROWING.search(name) or found.shape[1:] != wanted.shape[1:] or len(found) > len(wanted):
        raise CheckpointError(
            f"{name} is {list(found.shape)} in the checkpoint and {list(wanted.shape)} in the model; "
            f"check {_option(name, found, wanted)}"
        )
    report.grown.append(name)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    rows = torch.empty(len(wanted) - len(found), *wanted.shape[1:])
    rows.normal_(0, wanted.shape[-1] ** -0.5, generator=generator)
    return torch.cat([found, rows.to(found)])


def _option(name: str, found: Tensor, wanted: Tensor) -> str:
    """The option that most likely explains two shapes; a difference beyond the rows is one of width."""
    if found.shape[1:] == wanted.shape[1:] or "embed_images" in name:
        for pattern, option in OPTIONS:
            if re.search(pattern, name):
                return option
    return "--arch"


def tied_names(own: Mapping[str, Tensor]) -> list[list[str]]:
    """The groups of names in a model's state dict that are one tensor."""
    groups: dict[tuple[int, torch.Size], list[str]] = {}
    for name, tensor in own.items():
        if tensor.data_ptr():  # 0 where there is no memory to share: an empty tensor, or one on the meta device
            groups.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _share_tied(state_dict: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, str]:
    """Give names that are one parameter of the model (OFA ties its embeddings) the checkpoint's one tensor.

    Returns:
        Each tied name with the first name of its group.
    """
    leaders = {}
    for names in tied_names(own):
        leaders |= dict.fromkeys(names, names[0])
        present = [name for name in names if name in state_dict]
        for name in present[1:]:
            if not torch.equal(state_dict[name], state_dict[present[0]]):
                raise CheckpointError(f"{name} and {present[0]} differ in the checkpoint but are one in the model")
        if present:
            state_dict.update(dict.fromkeys(names, state_dict[present[0]]))
    return leaders


def _cut_mask(state_dict: dict[str, Tensor], model: nn.Module) -> None:
    """Drop the last row of the embedding when it is that of a `<mask>` that the model's vocabulary lacks."""
    dictionary = getattr(getattr(model, "encoder", None), "dictionary", None)
    embedding = state_dict.get("encoder.embed_tokens.weight")
    if (
        dictionary is None
        or embedding is None
        or "<mask>" in dictionary.indices
        or len(embedding) != len(dictionary) + 1
    ):
        return
    logger.warning("the embedding's last row, <mask>, is not used: the vocabulary has no <mask>")
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "decoder.output_projection"):
        if f"{name}.weight" in state_dict:
            state_dict[f"{name}.weight"] = state_dict[f"{name}.weight"][:-1]

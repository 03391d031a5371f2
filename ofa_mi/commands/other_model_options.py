"""Options of models that are not OFA: which one, how it is asked, and which other options are not for it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ofa_mi.errors import ConfigError, shown
from ofa_mi.other_models import REGION_FORMS

if TYPE_CHECKING:  # imported when such a model is made: they take PyTorch
    from ofa_mi.other_models.model import OtherModel

SERVED, LOCAL, CHECKPOINT = "--model openai:…", "--model transformers:…", "--checkpoint"
ONLY_FOR = {  # by name of the option's value: what it is for
    "bpe_dir": (CHECKPOINT,),
    "weights": (CHECKPOINT,),
    "beam": (CHECKPOINT,),
    "lenpen": (CHECKPOINT,),
    "device": (CHECKPOINT, LOCAL),
    "precision": (CHECKPOINT, LOCAL),
    "batch_size": (CHECKPOINT, LOCAL),
    "regions": (SERVED, LOCAL),
    "system": (SERVED, LOCAL),
    "model_name": (SERVED,),
    "api_key_env": (SERVED,),
    "parallel": (SERVED,),
    "timeout": (SERVED,),
    "retries": (SERVED,),
}


def add_other_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and what belongs to it, as a group of options."""
    group = parser.add_argument_group(
        "another model than OFA", "instead of --checkpoint; it is asked by text and image, and answers in text"
    )
    group.add_argument(
        "--model",
        metavar="KIND:PLACE",
        help="openai:URL: a server with OpenAI's chat completions, such as openai:http://localhost:8000/v1; "
        "transformers:FOLDER: an image-text-to-text model of transformers",
    )
    group.add_argument("--model-name", metavar="NAME", help="how the server calls the model")
    group.add_argument(
        "--regions",
        choices=REGION_FORMS,
        default="pixels",
        help="how regions are written: [left, top, right, bottom] in pixels or in thousandths of the image, or as "
        "numbers of boxes drawn on it",
    )
    group.add_argument("--system", metavar="TEXT", help="what the model is told before every question")
    group.add_argument(
        "--api-key-env",
        metavar="VARIABLE",
        help="environment variable with the server's key (default: OPENAI_API_KEY, if there is one)",
    )
    group.add_argument("--parallel", type=int, default=8, metavar="N", help="requests to the server at once")
    group.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="longest time of a request")
    group.add_argument(
        "--retries", type=int, default=6, metavar="N", help="how often a request that failed in passing is sent again"
    )


def check_model_options(args: argparse.Namespace) -> None:
    """Raise :class:`ConfigError` unless one model is given, and only options that are for it.

    ``args.defaults`` has the values of those in :data:`ONLY_FOR` that are not given.
    """
    if (args.checkpoint is None) == (args.model is None):
        raise ConfigError("give one model: --checkpoint C for OFA, or --model KIND:PLACE for another one")
    kind = CHECKPOINT if args.model is None else SERVED if args.model.startswith("openai:") else LOCAL
    for name, kinds in ONLY_FOR.items():
        if kind not in kinds and getattr(args, name) != args.defaults[name]:
            raise ConfigError(f"--{name.replace('_', '-')} is for {' and '.join(kinds)} only, not for {kind}")


def make_other_model(args: argparse.Namespace) -> OtherModel:
    """The model that ``--model`` names.

    Raises:
        ConfigError: There is no such kind, a package is missing, or an option cannot work.
    """
    from ofa_mi.other_models.model import Sampling

    kind, _, place = args.model.partition(":")
    if kind == "openai":
        from ofa_mi.other_models.served import ServedModel

        return ServedModel(
            place,
            args.model_name or "",
            regions=args.regions,
            generation=Sampling(seed=args.seed, max_len=args.max_len),
            system=args.system,
            key_variable=args.api_key_env,
            parallel=args.parallel,
            timeout=args.timeout,
            retries=args.retries,
        )
    if kind == "transformers" and place:
        from ofa_mi.other_models.local import LocalModel

        return LocalModel(
            place,
            regions=args.regions,
            generation=Sampling(max_len=args.max_len),
            system=args.system,
            device=args.device,
            precision=args.precision,
            batch_size=args.batch_size,
        )
    raise ConfigError(f"--model {shown(args.model)}: must be openai:URL or transformers:FOLDER")

"""How fairseq starts its processes."""

import functools
import importlib
import importlib.util
import os
from types import ModuleType

import torch

from ofa_mi.errors import ConfigError


def wrap_distribution(models: ModuleType) -> None:
    """Let data parallelism know that some parameters have no gradient."""
    wrap = models.DistributedFairseqModel

    @functools.wraps(wrap)
    def distributed_fairseq_model(args, model, *others, **named):
        if isinstance(model, importlib.import_module("ofa_mi.models").OFAModel):
            args.find_unused_parameters = True
        return wrap(args, model, *others, **named)

    models.DistributedFairseqModel = distributed_fairseq_model


def wrap_launching(distributed_utils: ModuleType) -> None:
    """Let torchrun's numbers come first."""
    infer = distributed_utils.infer_init_method

    @functools.wraps(infer)
    def infer_init_method(cfg, force_distributed=False):
        if cfg.ddp_backend == "fully_sharded" and importlib.util.find_spec("fairscale") is None:
            raise ConfigError("--ddp-backend fully_sharded needs fairscale: pip install fairscale==0.4.13")
        torchrun = all(name in os.environ for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"))
        if cfg.distributed_init_method is None and torchrun:
            cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
            if not torch.cuda.is_available() and cfg.distributed_world_size > 1:
                cfg.distributed_init_method, cfg.distributed_no_spawn = "env://", True
                cfg.distributed_rank = int(os.environ["RANK"])
                cfg.distributed_backend = "gloo"
                if cfg.ddp_backend in ("c10d", "pytorch_ddp"):  # which takes GPUs only, as fairseq calls it
                    cfg.ddp_backend = "legacy_ddp"
        infer(cfg, force_distributed)

    distributed_utils.infer_init_method = infer_init_method

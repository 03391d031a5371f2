"""``--store-ema``: the exponential moving average of a run's weights."""

import torch
from fairseq.models.ema import EMA
from torch import Tensor

from ofa_mi.state_dict import fit_state_dict, tied_names


class Average(EMA):
    """fairseq's average of a model, for models with tied parameters and integer buffers.

    After every update of the run, or every ``--ema-update-freq``-th, ``average = decay * average + (1 - decay) *
    weight`` for floating-point entries of the state dict, each tensor once whatever the number of its names. Counters
    and index tables have no average: the latest is kept.

    Attributes:
        model: The model with the averages as its weights, as fairseq saves it.
        fp32_params: With ``--ema-fp32``, the averages in single precision, by name.
    """

    def build_fp32_params(self, state_dict: dict[str, Tensor] | None = None) -> None:
        """Take over averages in single precision, by default the model's; tied names share one tensor."""
        own = self.model.state_dict()
        if state_dict is not None:
            state_dict = dict(state_dict)
            fit_state_dict(state_dict, self.model)
        super().build_fp32_params(state_dict)
        for first, *others in tied_names(own):
            self.fp32_params.update(dict.fromkeys(others, self.fp32_params[first]))

    def step(self, new_model, updates: int | None = None) -> None:
        """fairseq's step; which update is due follows from their number, so that a resumed run goes on in step."""
        if updates is not None:
            self.update_freq_counter = (updates - 1) % self.config.ema_update_freq
        super().step(new_model, updates)

    @torch.no_grad()
    def _step_internal(self, new_model, updates: int | None = None) -> None:
        own = self.model.state_dict()
        averages = self.fp32_params if self.config.ema_fp32 else own
        further = {name for _, *others in tied_names(own) for name in others}
        for name, new in new_model.state_dict().items():
            if name in further:
                continue
            average = averages[name]
            if new.is_floating_point():
                average.mul_(self.decay).add_(new.to(average.dtype), alpha=1 - self.decay)
            else:
                average.copy_(new)
            if average is not own[name]:
                own[name].copy_(average)

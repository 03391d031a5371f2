"""The released code, in a process of its own: run by :mod:`ofa_mi.benchmark.released`, never imported.

    python released_child.py FOLDER

FOLDER is a checkout of OFA. Its packages are called ``models``, ``data`` and ``utils``, and it registers the same names
with fairseq as ofa_mi does, so the two cannot live in one process. Commands come as lines of JSON on the standard
input; each is answered by one line on what was the standard output. Tensors travel in safetensors files.

The released code was written for older libraries: :func:`shims` gives it the names that they have dropped since. Of
its fork of fairseq only the parts are used that equal the published fairseq, so the installed one serves.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from argparse import Namespace
from types import SimpleNamespace


def shims() -> None:
    """Names that numpy and PyTorch had when the released code was written."""
    import numpy

    for name, kind in {"float": float, "int": int, "bool": bool, "object": object}.items():
        if name not in vars(numpy):
            setattr(numpy, name, kind)


class Released:
    """The released model, its search and its way to rank and to read images."""

    def build(self, arch: str, vocabulary: int, weights: str, threads: int, device: str, patch_image_size: int) -> None:
        """Build the model and load the weights, every name and shape of which must fit."""
        import models.ofa  # noqa: F401, registers the architectures
        import torch
        from fairseq.data import Dictionary
        from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
        from safetensors.torch import load_file

        torch.set_num_threads(threads)
        self.dictionary = Dictionary()
        for index in range(vocabulary - len(self.dictionary)):
            self.dictionary.add_symbol(str(index))
        # What the released recipes give on the command line.
        switches = (
            "layernorm_embedding patch_layernorm_embedding code_layernorm_embedding add_type_embedding scale_attn "
            "scale_fc scale_heads disable_entangle share_all_embeddings encoder_normalize_before "
            "decoder_normalize_before no_scale_embedding"
        )
        chance = (
            "dropout attention_dropout activation_dropout encoder_drop_path_rate decoder_drop_path_rate "
            "resnet_drop_path_rate"
        )
        off, on = dict.fromkeys(chance.split(), 0.0), dict.fromkeys(switches.split(), True)
        args = Namespace(**on, **off, patch_image_size=patch_image_size)
        ARCH_CONFIG_REGISTRY[arch](args)
        task = SimpleNamespace(source_dictionary=self.dictionary, target_dictionary=self.dictionary)
        self.model = ARCH_MODEL_REGISTRY[arch].build_model(args, task)
        tensors = load_file(weights)
        tied = dict.fromkeys(("decoder.embed_tokens.weight", "decoder.output_projection.weight"))
        tensors |= dict.fromkeys(tied, tensors["encoder.embed_tokens.weight"])
        torch.nn.Module.load_state_dict(self.model, tensors)
        self.device = torch.device(device)
        self.model.to(self.device).eval()
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.0  # training steps leave the statistics
        self.optimizer = None
        torch.set_grad_enabled(False)

    def inputs(self, file: str) -> None:
        """The batch of the following runs."""
        from safetensors.torch import load_file

        tensors = load_file(file)
        self.batch = {name: value.to(self.device) for name, value in tensors.items()}

    def net_input(self) -> dict:
        """What the encoder takes of the batch."""
        return {name: self.batch[name] for name in ("src_tokens", "src_lengths", "patch_images", "patch_masks")}

    def encode(self) -> list:
        """The encoder alone: one number for each position's output, (B, L)."""
        return self.model.encoder(**self.net_input())["encoder_out"][0][..., 0].t().tolist()

    def generate(self, beam: int, length: int, options: list | None = None) -> list:
        """Hypotheses, (tokens, score) each, of so many tokens or out of ``options``."""
        from models.sequence_generator import SequenceGenerator
        from utils.trie import Trie

        trie = None
        if options is not None:
            trie = Trie(self.dictionary.eos())
            for option in options:
                trie.insert([self.dictionary.bos(), *option])
        generator = SequenceGenerator(
            [self.model],
            self.dictionary,
            beam_size=beam,
            max_len_b=length,
            min_len=1 if options is not None else length,
            constraint_trie=trie,
        )
        found = generator.generate([self.model], {"net_input": self.net_input()})
        return [[[h["tokens"].tolist(), h["score"].item()] for h in sentence] for sentence in found]

    def rank(self, options: list) -> list:
        """Mean log-probability of every option, as the released ``eval_snli_ve`` computes it, without its mask."""
        import torch

        out = self.model.encoder(**self.net_input())
        count, pad = len(options), self.dictionary.pad()
        sentences = len(self.batch["src_tokens"])
        length = max(map(len, options))
        target = torch.full((count, length), pad)
        for row, option in zip(target, options, strict=True):
            row[: len(option)] = torch.tensor(option)
        before = torch.cat([torch.full_like(target[:, :1], self.dictionary.bos()), target[:, :-1]], 1)
        before = before.masked_fill(before.eq(self.dictionary.eos()), pad)
        target, before = (t.repeat(sentences, 1).to(self.device) for t in (target, before))
        repeated = {
            "encoder_out": [out["encoder_out"][0].repeat_interleave(count, dim=1)],
            "encoder_padding_mask": [out["encoder_padding_mask"][0].repeat_interleave(count, dim=0)],
            "position_embeddings": [out["position_embeddings"][0].repeat_interleave(count, dim=0)],
        }
        decoded = self.model.decoder(before, encoder_out=repeated)
        log_probs = self.model.get_normalized_probs(decoded, log_probs=True)
        scores = log_probs.gather(dim=-1, index=target.unsqueeze(-1)).squeeze(-1)
        scores = scores.masked_fill(target.eq(pad), 0)
        return (scores.sum(1) / target.ne(pad).sum(1)).view(sentences, count).tolist()

    def train(self, fixed: bool, compared: list, epsilon: float, adam: dict) -> list:
        """A training step as its trainer makes it: the loss per token, and logarithms of norms of gradients."""
        import torch
        from fairseq.optim import build_optimizer
        from omegaconf import OmegaConf

        if self.optimizer is None:
            options = {"_name": "adam", "use_old_adam": False, "fp16_adam_stats": False, "tpu": False}
            self.optimizer = build_optimizer(OmegaConf.create(options | adam), list(self.model.parameters()))
            self.criterion = self._criterion(epsilon)
        target = self.batch["target"]
        before = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], dim=1)
        sample = {"net_input": self.net_input() | {"prev_output_tokens": before}, "target": target}
        sample |= {"ntokens": target.numel(), "nsentences": len(target)}
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train(not fixed)
        with torch.enable_grad():
            loss, count, _ = self.criterion(self.model, sample)
            loss.backward()
        parameters = dict(self.model.named_parameters())
        gradients = [parameters[name].grad for name in compared if name in parameters]
        values = [loss.item() / count, *((g.norm() / count).log().item() for g in gradients if g is not None)]
        self.optimizer.multiply_grads(1 / count)
        values.append(self.optimizer.clip_grad_norm(1.0).log().item())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.eval()
        return [values]

    def _criterion(self, epsilon: float):
        """The released loss, from its file: the package around it needs tools of other tasks."""
        import importlib.util

        file = os.path.join(sys.path[0], "criterions", "label_smoothed_cross_entropy.py")
        spec = importlib.util.spec_from_file_location("released_criterion", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        task = SimpleNamespace(target_dictionary=self.dictionary)
        return module.AdjustLabelSmoothedCrossEntropyCriterion(task, False, epsilon)

    def evaluate(self, images: list, questions: list, size: int, beam: int, length: int, batch: int) -> list:
        """Answers to ``questions``, (number of the image, source tokens) each; every question reads its own image."""
        import torch
        from PIL import Image
        from torchvision import transforms

        resize = transforms.Compose(
            [
                lambda image: image.convert("RGB"),
                transforms.Resize((size, size), interpolation=Image.BICUBIC),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.5] * 3, std=[0.5] * 3),
            ]
        )
        answers = []
        for first in range(0, len(questions), batch):
            chosen = questions[first : first + batch]
            width = max(len(tokens) for _, tokens in chosen)
            src_tokens = torch.full((len(chosen), width), self.dictionary.pad())
            for row, (_, tokens) in zip(src_tokens, chosen, strict=True):
                row[: len(tokens)] = torch.tensor(tokens)
            pixels = torch.stack([resize(Image.open(images[number])) for number, _ in chosen])
            self.batch = {
                "src_tokens": src_tokens.to(self.device),
                "src_lengths": src_tokens.ne(self.dictionary.pad()).sum(1).to(self.device),
                "patch_images": pixels.to(self.device),
                "patch_masks": torch.ones(len(chosen), dtype=torch.bool, device=self.device),
            }
            answers += self.generate(beam, length)
        return answers


def resident(field: str) -> int:
    """Bytes of this process: ``VmRSS`` now, or ``VmHWM`` at its highest."""
    with open("/proc/self/status") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith(field + ":")), 0)


def measured(released: Released, function, arguments: dict) -> dict:
    """Run once: what came out, the time, and the memory beyond what was there."""
    import torch

    gpu = getattr(released, "device", None) is not None and released.device.type == "cuda"
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        memory = torch.cuda.memory_allocated()
    else:
        with contextlib.suppress(OSError, AttributeError):  # where the system cannot, memory is not counted
            ctypes.CDLL(None).malloc_trim(0)
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        memory = resident("VmRSS")
    wall, process = time.perf_counter(), time.process_time()
    values = function(**arguments)
    if gpu:
        torch.cuda.synchronize()
    process, wall = time.process_time() - process, time.perf_counter() - wall
    peak = torch.cuda.max_memory_allocated() if gpu else resident("VmHWM")
    return {"values": values, "process": process, "wall": wall, "memory": max(0, peak - memory)}


def main() -> None:
    """Answer commands until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the released code prints
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path[0] = sys.argv[1]
    shims()
    released = Released()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = measured(released, getattr(released, command["do"]), command.get("with", {}))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

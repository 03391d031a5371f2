"""The released code beside this one: a checkout in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from ofa_mi.benchmark.measure import Sample
from ofa_mi.benchmark.setting import Setting
from ofa_mi.errors import ConfigError, shown

CHILD = Path(__file__).with_name("released_child.py")
TIED = ("decoder.embed_tokens.weight", "decoder.output_projection.weight")  # with the encoder's embedding


class Released:
    """A checkout of OFA that has been given a model; use it as a context.

    Args:
        folder: The checkout.
        model: Whose weights it gets.
        setting: Of the model.
        threads: To compute with on a CPU.

    Raises:
        ConfigError: The folder holds no OFA, or it does not run here.
    """

    def __init__(self, folder: Path, model: nn.Module, setting: Setting, threads: int) -> None:
        if not (folder / "models" / "ofa" / "unify_transformer.py").is_file():
            raise ConfigError(f"--released {folder}: holds no models/ofa/unify_transformer.py; give a checkout of OFA")
        self._files = tempfile.TemporaryDirectory(prefix="ofa-mi-benchmark-")
        self._log = open(Path(self._files.name) / "log", "w+")  # noqa: SIM115, closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(CHILD), str(folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        weights = Path(self._files.name) / "weights.safetensors"
        state = {name: value.contiguous() for name, value in model.state_dict().items() if name not in TIED}
        save_file(state, weights)
        self.run(
            "build",
            arch=setting.arch,
            vocabulary=setting.vocabulary,
            weights=str(weights),
            threads=threads,
            device=setting.device,
            patch_image_size=setting.image_size,
        )

    def inputs(self, batch: dict[str, Tensor]) -> None:
        """The batch of the following runs."""
        file = Path(self._files.name) / "inputs.safetensors"
        save_file({name: value.contiguous() for name, value in batch.items()}, file)
        self.run("inputs", file=str(file))

    def run(self, do: str, **arguments) -> Sample:
        """Let it do something, once.

        Raises:
            ConfigError: It failed; the message says how.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or '{"error": "its process ended"}')
        except BrokenPipeError:
            answer = {"error": "its process ended"}
        if "error" in answer:
            self._log.seek(0)
            lines = [*self._log.read().splitlines(), ""]
            raise ConfigError(f"--released: cannot {do}: {answer['error']} {shown(lines[-2] if lines[1:] else '')}")
        return Sample(**answer)

    def __enter__(self) -> Released:
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._log.close()
        self._files.cleanup()

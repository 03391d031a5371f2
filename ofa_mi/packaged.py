"""Checkpoints that the package ships, by name; what each of them is, its card beside it says."""

from pathlib import Path

FOLDER = Path(__file__).parent / "checkpoints"
NAMES = {"nano": "ofa_nano.safetensors"}


def checkpoint_path(name: str) -> str:
    """The file that a checkpoint's name means: a file of this name if there is one, else what the package ships."""
    if name in NAMES and not Path(name).exists():
        return str(FOLDER / NAMES[name])
    return name

"""The names of checkpoints: those that the package ships, and a base with the small part of a tuning, ``BASE+SMALL``.

What each shipped one is, its card beside it says.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "checkpoints"
NAMES = {"nano": "ofa_nano.safetensors"}
AND = "+"


def checkpoint_path(name: str) -> str:
    """The file that a checkpoint's name means: a file of this name if there is one, else what the package ships.

    Of ``BASE+SMALL`` each part is looked up.
    """
    return AND.join(
        str(FOLDER / NAMES[part]) if part in NAMES and not Path(part).exists() else part for part in parts_of(name)
    )


def parts_of(name: str) -> tuple[str, ...]:
    """Base and small part of ``BASE+SMALL``; any other name, a file's that holds a plus among them, is one part."""
    if not os.path.exists(name):
        for place in (place for place, letter in enumerate(name) if letter == AND):
            base, small = name[:place], name[place + 1 :]
            if base and small and (os.path.isfile(base) or os.path.isfile(small)):
                return base, small
    return (name,)

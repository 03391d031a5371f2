"""Scenes: drawn pictures of coloured shapes and exact instances of the benchmark's tasks.

``shapes`` says what things look like, ``world`` samples scenes of them, ``draw`` draws them, ``language`` describes
them, ``tasks`` makes instances of them, and ``generate`` writes a data directory.
"""

from ofa_mi.data_prep.scenes.generate import generate

__all__ = ["generate"]

"""Natural Instructions v2 as text-only instances of ``natural_instructions`` and ``natural_instructions_test``.

Source: https://github.com/allenai/natural-instructions (Wang et al., 2022, "Super-NaturalInstructions", arXiv
2204.07705): ``tasks/NAME.json`` holds a task with its definition, examples and up to 6,500 instances, and
``splits/default/{train,test,excluded}_tasks.txt`` names the tasks of the English track, one per line.
``docs/natural_instructions.md`` describes the import.
"""

from ofa_mi.data_prep.imports.natural_instructions.convert import ImportOptions, convert
from ofa_mi.data_prep.imports.natural_instructions.release import FILES, LICENCE, NAME, PAGE, PAPER_TASKS, SIZE, TITLE

__all__ = ["FILES", "LICENCE", "NAME", "PAGE", "PAPER_TASKS", "SIZE", "TITLE", "ImportOptions", "convert"]

"""OFA-MI: MultiInstruct instruction tuning of OFA, as a fairseq user directory.

Importing the package registers the model, the task, the criterion and the learning-rate schedule with fairseq, so that
both `fairseq-train DATA --user-dir ofa_mi --task multiinstruct …` and `ofa-mi train DATA …` know them.
"""

from pathlib import Path

from ofa_mi import fairseq_compat
from ofa_mi.source_tree import install_finder

__version__ = "0.1.0"

install_finder(Path(__file__).parent)
fairseq_compat.apply()

# Registers with fairseq, which has to be ready by now.
from ofa_mi import criterions, models, optim, tasks  # noqa: E402, F401

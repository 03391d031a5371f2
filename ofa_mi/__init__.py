"""OFA-MI: MultiInstruct instruction tuning of OFA, as a fairseq user directory.

Importing the package registers the model, the task and the criterion with fairseq, so that both
`fairseq-train DATA --user-dir ofa_mi --task multiinstruct …` and `ofa-mi train DATA …` know them.
"""

from pathlib import Path

from ofa_mi.source_tree import install_finder

__version__ = "0.1.0"

install_finder(Path(__file__).parent)

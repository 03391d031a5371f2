"""OFA-MI: MultiInstruct instruction tuning of OFA, as a fairseq user directory.

Importing the package registers the model, the task, the criterion and the learning-rate schedule with fairseq, so that
both `fairseq-train DATA --user-dir ofa_mi --task multiinstruct …` and `ofa-mi train DATA …` know them. Where fairseq has
not been imported, they are registered as soon as it is (`plugin`): what needs no model starts without it.
"""

from pathlib import Path

from ofa_mi import plugin
from ofa_mi.source_tree import install_finder

__version__ = "0.1.0"

install_finder(Path(__file__).parent)
plugin.install()

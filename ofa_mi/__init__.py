"""OFA-MI: MultiInstruct instruction tuning of OFA, as a fairseq user directory.

Importing the package registers the model, the task, the criterion and the learning-rate schedule with fairseq, so that
both `fairseq-train DATA --user-dir ofa_mi --task multiinstruct …` and `ofa-mi train DATA …` know them. If fairseq has
not been imported yet, they are registered when it is (`plugin`), so that commands without a model start fast.
"""

from pathlib import Path

from ofa_mi import plugin
from ofa_mi.source_tree import install_finder

__version__ = "0.1.0"

install_finder(Path(__file__).parent)
plugin.install()

"""The OFA model; importing this package registers it with fairseq."""

from ofa_mi.models.ofa import OFAModel
from ofa_mi.models.sizes import SIZES, Config

__all__ = ["SIZES", "Config", "OFAModel"]

"""fairseq criterions; importing this package registers them."""

from ofa_mi.criterions.adjust_label_smoothed_cross_entropy import AdjustLabelSmoothedCrossEntropyCriterion

__all__ = ["AdjustLabelSmoothedCrossEntropyCriterion"]

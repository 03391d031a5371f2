"""Metrics, the zero-shot protocol, predictions on disk, and reports made from them."""

from ofa_mi.evaluation.scoring.protocol import (
    TaskScores,
    aggregated,
    inter_task_sensitivity,
    sensitivity,
    sensitivity_report,
)

__all__ = ["TaskScores", "aggregated", "inter_task_sensitivity", "sensitivity", "sensitivity_report"]

"""Which candidates a build keeps: at most so many of each task, with balanced answers, chosen by their hashes."""

from __future__ import annotations

import numpy as np

# One candidate. `group` is a task in a split; `labels` is the number of labels that are balanced, 0 for none, and
# `label` one of them; `stratum` and `priority` are hashes. Candidates with low priorities are kept first.
CANDIDATE = np.dtype([("group", "<i4"), ("labels", "<i4"), ("label", "<i4"), ("stratum", "<u8"), ("priority", "<u8")])


def select(candidates: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Choose candidates.

    In each stratum of a group they are put into sets that hold one of every label (a candidate that is not balanced
    is a set by itself); what is left over is dropped. Whole sets are kept, those of the lowest priorities, up to the
    cap.

    Args:
        candidates: ``(N,)`` of :data:`CANDIDATE` fields; others are ignored.
        caps: Most candidates of each group, int64 ``(groups,)``; 0 for all.

    Returns:
        True for what is kept, bool ``(N,)``.
    """
    keep = np.zeros(len(candidates), dtype=bool)
    order = np.argsort(candidates["group"], kind="stable")
    # One group after the other: sorting needs several times the memory of what is sorted.
    for places in np.split(order, np.flatnonzero(np.diff(candidates["group"][order])) + 1):
        keep[places] = _select(candidates[places], caps)
    return keep


def _select(candidates: np.ndarray, caps: np.ndarray) -> np.ndarray:
    keep = np.zeros(len(candidates), dtype=bool)
    if not len(candidates):
        return keep
    order = np.lexsort([candidates[name] for name in ("priority", "label", "stratum", "group")])
    rank, complete = _ranks(candidates[order])
    order, rank = order[complete], rank[complete]
    if not len(order):
        return keep
    by_set = np.lexsort((rank, candidates["stratum"][order], candidates["group"][order]))
    order, rank = order[by_set], rank[by_set]
    rows = candidates[order]
    starts = _run_starts(rows["group"], rows["stratum"], rank)
    sizes = np.diff([*starts, len(rows)])
    priorities = np.maximum.reduceat(rows["priority"], starts)
    kept = _cap_sets(rows["group"][starts], sizes, priorities, caps)
    keep[order[np.repeat(kept, sizes)]] = True
    return keep


def _ranks(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For rows sorted by group, stratum, label and priority: the number of the set of each, and whether it is complete.

    The n-th candidates of all labels of a stratum are its n-th set.
    """
    label_starts = _run_starts(rows["group"], rows["stratum"], rows["label"])
    counts = np.diff([*label_starts, len(rows)])
    rank = np.arange(len(rows)) - np.repeat(label_starts, counts)
    heads = rows[label_starts]
    stratum_starts = _run_starts(heads["group"], heads["stratum"])
    labels_found = np.diff([*stratum_starts, len(heads)])
    sets = np.minimum.reduceat(counts, stratum_starts)
    sets[labels_found < heads["labels"][stratum_starts]] = 0  # a label that nothing has
    return rank, rank < np.repeat(np.repeat(sets, labels_found), counts)


def _cap_sets(group: np.ndarray, sizes: np.ndarray, priorities: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Which sets to keep: of each group the first by priority whose sizes add up to at most its cap."""
    order = np.lexsort((priorities, group))
    totals = np.cumsum(sizes[order])
    starts = _run_starts(group[order])
    before = np.repeat(totals[starts] - sizes[order][starts], np.diff([*starts, len(order)]))
    limits = caps[group[order]]
    kept = np.empty(len(order), dtype=bool)
    kept[order] = (limits == 0) | (totals - before <= limits)
    return kept


def _run_starts(*columns: np.ndarray) -> np.ndarray:
    """Where a new combination of values begins in sorted columns."""
    new = np.zeros(len(columns[0]), dtype=bool)
    new[0] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)

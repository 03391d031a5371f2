"""Speed and memory of ofa_mi against the released code, by one command.

    python -m ofa_mi.benchmark                                    # every work, ofa_tiny, on one thread of a CPU
    python -m ofa_mi.benchmark rank --arch ofa_base --released OFA --out docs/results/speed
    python -m ofa_mi.benchmark generate --device cuda --growth

Values first: outputs of all contenders are compared, and what differs is not timed. Contenders take turns, so that
other work on the machine meets all alike. `baseline` does, with this package's weights, what the released code does
(:mod:`~ofa_mi.benchmark.baseline`); ``--released FOLDER`` adds the released code itself, from a checkout of it.

In the order of the flow: `setting` (model and inputs), `case` and the works `train`, `generate`, `rank` and `evaluate`
(what is timed), `baseline` and `released` (others that do it), `measure` (time and memory), `run`, `table` (files of
results).
"""

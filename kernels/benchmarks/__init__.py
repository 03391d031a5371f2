"""Benchmarks of the kernels against everything public that does the same.

    python -m ofa_mi.kernels.benchmarks                  # attention, stem and step
    python -m ofa_mi.kernels.benchmarks attention --out docs/results/kernels

Before anything is timed its values are compared with exact ones: a contender that is further off than three times plain
PyTorch in the same format is reported as wrong and not timed, one that refuses the case is reported with its reason.
Every measurement is written at once, to ``OUT/BENCHMARK-DEVICE.csv``; the same command again measures only what is
missing there or was measured with other code, versions or on another device. A plot lies beside each table.

On a GPU every time is the median of Triton's ``do_bench``, which empties the L2 cache before each run. On a CPU the
sizes are small, and the figures are a CPU's: Triton's kernels do not run there.
"""

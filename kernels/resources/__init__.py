"""What the Triton kernels compile to, for a GPU that need not be there.

    python -m ofa_mi.kernels.resources                 # everything that ships, for Hopper
    python -m ofa_mi.kernels.resources forward --arch 80

For every kernel and configuration: registers and local memory (spills) of a thread, shared memory of a program, and the
number of tensor-core instructions: HGMMA, Hopper's asynchronous ones, need tiles of 64 rows; smaller ones take HMMA.
Tile sizes are chosen by these figures where no GPU can measure them.

A tool: no model imports it. ``compiler.py`` compiles one configuration; beside it stands a file for each operation with
the configurations that ship.
"""

"""``ofa-mi experiment``: what the scripts of ``run_scripts/`` call; docs/experiments.md describes them.

    ofa-mi experiment check                      the values in the environment: prints what follows from them
    ofa-mi experiment need-data DIRS SPLIT       an error if a data directory lacks the split
    ofa-mi experiment run OPTIONS -- PLAN        runs the jobs of a plan (ofa_mi.experiments.plan)
    ofa-mi experiment why LOG                    the line of a log that says why a command stopped

It speaks as the scripts do: lines begin with ``[ofa-mi]``, and an error ends it with status 1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial

from ofa_mi.errors import OfaMiError, root_error

HELP = "run the trainings and evaluations of a script of run_scripts/ (called by the scripts)"


def run_raw(arguments: Sequence[str]) -> int:
    """Run a subcommand; returns the exit status."""
    from ofa_mi.experiments.logs import say

    split = arguments.index("--") if "--" in arguments else len(arguments)
    args = _parser().parse_args(arguments[:split])
    try:
        return args.function(args, arguments[split + 1 :])
    except (OfaMiError, OSError) as error:
        if (found := root_error(error)) is None:
            raise
        say(f"error: {found}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ofa-mi experiment", description=HELP, allow_abbrev=False)
    subcommands = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
    check = subcommands.add_parser(
        "check", help="check the values in the environment; print processes of all nodes, UPDATE_FREQ, options of run"
    )
    check.set_defaults(function=run_check)
    need = subcommands.add_parser("need-data", help="check that data directories have a split")
    need.add_argument("data", metavar="DIRS", help="joined by ':'")
    need.add_argument("split", metavar="SPLIT")
    need.set_defaults(function=run_need_data)
    run = subcommands.add_parser("run", help="run the jobs of a plan, which follows after --")
    run.add_argument("--out", required=True, metavar="DIR", help="the folder OUT")
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="jobs at once")
    run.add_argument("--dry-run", action="store_true", help="print the commands of trainings and evaluations")
    run.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs of each node; 0: the CPU")
    run.add_argument("--local", type=int, default=1, metavar="N", help="processes of this node")
    run.add_argument("--nodes", type=int, default=1, metavar="N", help="machines")
    run.add_argument("--node-rank", type=int, default=0, metavar="N", help="number of this one")
    run.add_argument("--master-addr", default="", metavar="HOST", help="of node 0, for several nodes")
    run.add_argument("--master-port", type=int, default=29500, metavar="N", help="of node 0")
    run.set_defaults(function=run_plan)
    why = subcommands.add_parser("why", help="print the line of a log that says why a command stopped")
    why.add_argument("log", metavar="LOG")
    why.set_defaults(function=run_why)
    return parser


def run_check(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Check the values in the environment and print what follows from them."""
    from ofa_mi.experiments.values import check

    processes, update_freq, machine = check(os.environ)
    print(processes, update_freq, *machine)
    return 0


def run_need_data(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Check that data directories have a split."""
    from ofa_mi.experiments.needs import check_needs, data_needs

    check_needs(data_needs(args.data, args.split))
    return 0


def run_why(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Print why a command stopped."""
    from ofa_mi.experiments.logs import last_error

    print(last_error(args.log) or "no error in its output")
    return 0


def run_plan(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Run the jobs of a plan, or print their commands; 128 + the signal if one has stopped them."""
    from ofa_mi.experiments.logs import say
    from ofa_mi.experiments.plan import read_plan, run_job
    from ofa_mi.experiments.processes import AGAIN, Processes, Stopped, run_jobs, stop_on_signals
    from ofa_mi.experiments.steps import Machine, Run

    machine = Machine(args.gpus, args.local, args.nodes, args.node_rank, args.master_addr, args.master_port)
    jobs, processes = read_plan(words), Processes()
    run = Run(machine, args.out, args.jobs == 1, args.dry_run, processes)
    try:
        stop_on_signals()
        run_jobs([partial(run_job, job, run) for job in jobs], 1 if args.dry_run else args.jobs)
    except Stopped as stopped:
        processes.stop()
        say(f"stopped; {AGAIN}")
        return 128 + stopped.number
    finally:
        processes.stop()
    return 0

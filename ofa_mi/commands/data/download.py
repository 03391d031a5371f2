"""``ofa-mi data download``: fetch the official files of source data sets.

ofa-mi data download --list
ofa-mi data download vqa_v2 gqa --raw RAW
ofa-mi data download all --raw RAW --dry-run
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_mi.errors import ConfigError

if TYPE_CHECKING:
    from ofa_mi.data_prep.download.downloading import Plan
    from ofa_mi.data_prep.raw import RawFile

HELP = "fetch the official files of source data sets"
STILL_MISSING = 1  # exit status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="source data sets, or all; --list shows them")
    parser.add_argument("--raw", type=Path, metavar="DIR", help="folder of the raw data sets, made if needed")
    parser.add_argument("--list", action="store_true", help="show what there is, and what of it --raw holds")
    parser.add_argument("--markdown", action="store_true", help="with --list: as the tables of docs/download.md")
    parser.add_argument("--dry-run", action="store_true", help="show what would be fetched")
    parser.add_argument("--keep-archives", action="store_true", help="keep archives once they are unpacked")
    parser.add_argument(
        "--accept-changed", action="store_true", help="take files that differ from the recorded size or checksum"
    )
    parser.add_argument(
        "--retries", type=int, default=5, help="times in a row that a transfer may break off without a further byte"
    )


def run(args: argparse.Namespace) -> int:
    """Fetch, or show what there is; the exit status."""
    from ofa_mi.data_prep.download import downloading

    data_sets = downloading.catalogue()
    known = downloading.all_files(data_sets.values())
    chosen = downloading.select(args.names or ([downloading.ALL] if args.list else []), data_sets)
    if args.list:
        print(downloading.markdown(chosen) if args.markdown else downloading.listing(chosen, args.raw))
        return 0
    if not chosen:
        raise ConfigError("name a source data set, or all; `ofa-mi data download --list` shows them")
    if args.raw is None:
        raise ConfigError("--raw DIR is needed: the folder to fetch into")
    if args.dry_run:
        _show_plan(downloading.plan(downloading.all_files(chosen), args.raw, known), args.raw)
        return 0
    return _fetch(args, downloading.all_files(chosen), known)


def _show_plan(plan: Plan, raw: Path) -> None:
    from ofa_mi.data_prep.download import downloading

    for item in plan.downloads:
        print(downloading.describe(item))
    for file in plan.by_hand:
        print(downloading.by_hand(file, raw))
    known, unknown = downloading.total_size(plan.downloads)
    more = f" and {unknown} whose size is not known" if unknown else ""
    print(f"{len(plan.present)} present; to fetch: {downloading.human_size(known)}{more}; {len(plan.by_hand)} by hand")


def _fetch(args: argparse.Namespace, files: tuple[RawFile, ...], known: tuple[RawFile, ...]) -> int:
    from ofa_mi.data_prep.download import downloading

    options = downloading.Options(
        keep_archives=args.keep_archives, accept_changed=args.accept_changed, retries=args.retries
    )
    missing = downloading.download(files, args.raw, options, known=known)
    for file in missing:
        print(f"missing: {args.raw / file.path}")
    print(f"{len(files) - len(missing)} of {len(files)} files and folders are in {args.raw}")
    return STILL_MISSING if missing else 0

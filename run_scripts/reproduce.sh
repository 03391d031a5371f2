#!/usr/bin/env bash
# Shows: everything: the transfer strategies in the paper's tables, ablations, robustness and attention, as one report.
# Needs: PROFILE=cpu: nothing. PROFILE=paper: CHECKPOINT, BPE_DIR, DATA and NI_DATA (docs/experiments.md).
# Costs: PROFILE=cpu: about an hour on two cores. PROFILE=paper: thirteen trainings of OFA-large a seed, and four shorter ones.
#
#   PROFILE=cpu bash run_scripts/reproduce.sh
#   CHECKPOINT=ofa_large.pt BPE_DIR=… DATA=… NI_DATA=… SEEDS="1 2 3" bash run_scripts/reproduce.sh
#
# Every step resumes: after an interruption run the same command again. Result: OUT/report/index.html.
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"
experiment

export PROFILE OUT DRY_RUN SEEDS

step() {
  say "== $1"
  spawn bash "$ROOT/run_scripts/$1"
  join
}

# strategies SCRIPT…: each of them for every seed, JOBS at once.
strategies() {
  local script seed
  for script in "$@"; do
    for seed in $SEEDS; do
      spawn env SEEDS="$seed" JOBS=1 bash "$ROOT/run_scripts/$script"
    done
  done
  join
}

step data/prepare.sh
[[ "$CHECKPOINT" != "$(checkpoint_of pretrained 1)" ]] || step pretrain/small.sh
say "== strategies"
strategies transfer/natural_instructions.sh # the first part of transfer/sequential.sh
strategies finetune/multiinstruct.sh transfer/{task_name,mixed,sequential}.sh
step evaluate/untuned.sh
step evaluate/zero_shot.sh
step evaluate/natural_instructions.sh
step ablation/num_instructions.sh
step ablation/task_groups.sh
step ablation/presentations.sh
step evaluate/robustness.sh
step analysis/attention.sh
step report.sh
